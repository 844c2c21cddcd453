package store

import (
	"encoding/binary"

	"go.etcd.io/bbolt"
)

// fileName is the store's file inside its folder.
const fileName = "gatepost.db"

// schemaVersion is the version of everything below. A change that an older gatepost would misread needs the next one and
// a step in migrations.
const schemaVersion = 1

// The buckets. Sequence numbers are 8 bytes, big endian. Every value is in an envelope.
//
// Records of all lanes share one bucket in the order in which they came, so that a commit for many lanes writes few pages;
// their heads say which lane they belong to.
type bucketNames struct {
	meta      []byte // "schema", "identity"
	records   []byte // seq -> record (record.go); the bucket's own sequence is the last one given out
	inbox     []byte // seq -> event as JSON; likewise
	positions []byte // source -> position
	seen      []byte // hash of event id -> nothing
	seenOrder []byte // seq -> when, hash: the oldest first
	spaces    []byte // space, 0, key -> value
	dead      []byte // seq -> dead letter (dead.go)
	damaged   []byte // seq -> bucket, key and bytes of what was set aside
}

func buckets() bucketNames {
	return bucketNames{
		meta: []byte("meta"), records: []byte("records"), inbox: []byte("inbox"), positions: []byte("positions"),
		seen: []byte("seen"), seenOrder: []byte("seen_order"), spaces: []byte("spaces"), dead: []byte("dead"),
		damaged: []byte("damaged"),
	}
}

func (n bucketNames) all() [][]byte {
	return [][]byte{n.meta, n.records, n.inbox, n.positions, n.seen, n.seenOrder, n.spaces, n.dead, n.damaged}
}

const (
	keySchema   = "schema"
	keyIdentity = "identity"
)

func seqKey(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

// keySeq is the opposite of seqKey; a key of another length is not one of ours.
func keySeq(key []byte) (seq uint64, ok bool) {
	if len(key) != 8 {
		return 0, false
	}
	return binary.BigEndian.Uint64(key), true
}

func readSchema(tx *bbolt.Tx) (version uint64, err error) {
	meta := tx.Bucket(buckets().meta)
	if meta == nil {
		return 0, errDamaged
	}
	payload, err := unseal(meta.Get([]byte(keySchema)))
	if err != nil {
		return 0, err
	}
	version, n := binary.Uvarint(payload)
	if n != len(payload) {
		return 0, errDamaged
	}
	return version, nil
}

func writeSchema(tx *bbolt.Tx, version uint64) error {
	return tx.Bucket(buckets().meta).Put([]byte(keySchema), seal(nil, binary.AppendUvarint(nil, version)))
}

// layOut makes the buckets of the newest schema in an empty file.
func layOut(tx *bbolt.Tx) error {
	for _, name := range buckets().all() {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	return writeSchema(tx, schemaVersion)
}
