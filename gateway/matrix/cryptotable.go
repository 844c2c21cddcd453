package matrix

// CryptoTable is the file in which the bot's keys and ratchets are kept, apart from everything else: it is never part of a
// backup, since a ratchet that was brought back would encrypt two texts with one key. store.Table is the one in the binary.
// Safe for concurrent use.
type CryptoTable interface {
	// View calls f with the rows as they are. f must not call the table.
	View(f func(CryptoRows) error) error
	// Commit makes what f does durable, all of it or nothing: nil means fsynced. An error of f is an error of the rows.
	Commit(bytes int, f func(CryptoRows) error) error
}

// CryptoRows are the rows of a CryptoTable within one transaction. What it returns lives until the transaction ends.
type CryptoRows interface {
	Get(bucket string, key []byte) []byte // nil: none
	Put(bucket string, key, value []byte) error
	Delete(bucket string, key []byte) error
	Each(bucket string, from []byte, f func(key, value []byte) bool)
}

// The buckets of the crypto file.
const (
	bucketSelf     = "self"     // our device, its account, what there is only one of
	bucketOlm      = "olm"      // sessions with a device, by its identity key
	bucketSeen     = "seen"     // hashes of to-device messages that were decrypted
	bucketInbound  = "inbound"  // sessions by which messages of a room are read
	bucketWithheld = "withheld" // sessions that we will not be given
	bucketOutbound = "outbound" // the session by which a room's next message is encrypted
	bucketIndices  = "indices"  // which message was read at which index of a session
	bucketPeople   = "people"   // devices of a user
	bucketKeys     = "keys"     // cross-signing keys of a user
	bucketSigned   = "signed"   // signatures on keys of a user
	bucketRooms    = "rooms"    // what is known of an encrypted room
	bucketSent     = "sent"     // ciphertexts of records that may be on their way
)

// CryptoBuckets are the buckets that the crypto file has.
func CryptoBuckets() []string {
	return []string{
		bucketSelf, bucketOlm, bucketSeen, bucketInbound, bucketWithheld, bucketOutbound, bucketIndices, bucketPeople, bucketKeys,
		bucketSigned, bucketRooms, bucketSent,
	}
}
