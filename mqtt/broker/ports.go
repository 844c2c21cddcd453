package broker

// Store keeps what clients must not lose: sessions, subscriptions, queues, retained messages, wills. Rows are in buckets
// (Buckets), in the order of their keys. Package store has one, tests another.
type Store interface {
	// Commit makes the rows of c durable, together with what others commit meanwhile. An error with a method NoSpace() bool
	// that answers true means that nothing was written and a later try may succeed; after any other one the process must end.
	Commit(c Commit) error
	// View calls f with the rows as they are. f must not call the Store.
	View(f func(Rows) error) error
}

// Commit is one change of the Store.
type Commit struct {
	// Work changes the rows. There is never more than one Work at a time, in all the Store, so what only Works touch needs
	// no lock. It may run again when what it ran with was not written. An error ends the Store. nil: Commit only waits for
	// the Works that have begun, and their Settled.
	Work func(Rows) error
	// Settled is called once after each run of Work: with true when its rows are durable, in the order of the Works and
	// before any later one; with false when they were not written, in the opposite order. nil: not called.
	Settled func(ok bool)
	Bytes   int  // about how much Work adds
	Relief  bool // it takes away more than it adds, or is small and must be possible when there is no room
}

// Rows are the rows within one transaction. What they return lives until it ends.
type Rows interface {
	Get(bucket string, key []byte) []byte // nil: not there
	Put(bucket string, key, value []byte) error
	Delete(bucket string, key []byte) error
	// Each calls f for every key from from on, in order, until f returns false. f must change nothing.
	Each(bucket string, from []byte, f func(key, value []byte) bool)
	// Keys is Each with the size of the value instead of the value, which is not looked at.
	Keys(bucket string, from []byte, f func(key []byte, size int) bool)
}

// The buckets. A session has an id (sessionID) and, while it is in the Store, a number, which is never used again while
// there are rows of it. Numbers and positions are 8 bytes, big endian, so that keys are in their order.
const (
	inSessions      = "sessions"      // id -> session (record.go)
	inSubscriptions = "subscriptions" // number, filter -> options
	inQueue         = "queue"         // number, position -> a message or a reference to one (queued)
	inMessages      = "messages"      // body number -> message, when more than one queue has it
	inReferences    = "references"    // body number -> in how many queues it is
	inReceived      = "received"      // number, packet id -> nothing: QoS 2 messages whose PUBREL has not come
	inRetained      = "retained"      // topic -> message
	inWills         = "wills"         // id -> delay and message of a client that is or was connected
)

// Buckets are those that a Store must have.
func Buckets() []string {
	return []string{inSessions, inSubscriptions, inQueue, inMessages, inReferences, inReceived, inRetained, inWills}
}
