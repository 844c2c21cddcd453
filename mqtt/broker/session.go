package broker

import (
	"sync"
	"sync/atomic"
	"time"
)

// session is what a client has at the broker: subscriptions, and what is on its way in both directions. One with a number
// is durable: it outlives its connection, and what is on its way is in the Store; here is only what the client gets next.
// The other kind ends with its connection and is in memory as a whole.
type session struct {
	id      string // sessionID
	account string
	client  string // as the client calls itself
	number  uint64 // in the Store; 0: not durable

	conn   atomic.Pointer[conn] // nil: away. Set under mu
	rights atomic.Pointer[heldRights]

	mu       sync.Mutex
	gone     bool // it has ended; nothing is added any more
	dirty    bool // the Store does not have all of it, for want of room
	version  byte
	expiry   time.Duration
	since    time.Time // when it was connected, or went away
	address  string    // of the last connection
	via      string    // its transport
	subs     map[string]*subscription
	received map[uint16]bool // QoS 2 packet ids of the client whose PUBREL has not come

	// What goes to the client. Positions count the messages of QoS 1 and 2; a packet id is made of a position. All between
	// flight and tail has been sent and acknowledged, or has been dropped.
	last         uint64             // the position given last
	sent         uint64             // the highest that was sent; up to here DUP is set
	evicted      uint64             // the highest that was dropped for want of room; before it only released ones are left
	loaded       uint64             // the highest that has been in tail on this connection
	settled      uint64             // the highest that has become durable since the start
	behind       bool               // there may be messages after loaded in the Store
	tail         []item             // to be sent next
	tailLen      int                // bytes of it
	flight       map[uint16]flight  // sent, not acknowledged, by packet id
	acked        map[uint64]ackedBy // acknowledged, but still in the Store
	count        int                // QoS 1 and 2 messages that are not acknowledged
	bytes        int64              // of them
	nextExpiry   int64              // Unix seconds from which on a message in the Store may have expired; 0: none does
	wasConnected bool               // when the broker ended the last time; see restore
	fast         []item             // QoS 0
	fastLen      int                // bytes of them
	turn         bool               // what QoS 1 and 2 have is next
}

// ackedBy is empty; only the keys count.
type ackedBy struct{}

// item is a message for one session.
type item struct {
	m        *message // nil with released
	pos      uint64   // 0: QoS 0
	size     int
	qos      byte
	retain   bool
	dup      bool
	released bool // PUBREL is to be sent
	ids      []int
}

// flight is a message that was sent.
type flight struct {
	pos      uint64
	body     uint64 // see message
	size     int
	qos      byte
	released bool // PUBREC has come
}

// Bounds of what is kept in memory for one session.
const (
	tailItems  = 256
	tailBytes  = 256 << 10
	fastItems  = 4096
	sendWindow = 4096 // messages on their way, if the client does not ask for fewer
	packetIDs  = 65535

	maxFilterBytes = 1 << 20 // of its subscriptions together
)

// packetID is the packet id of a position, from 1 to 65535. It is the same after a restart, although only positions are
// stored. Two messages that are on their way at the same time never have the same: see session.next.
func packetID(pos uint64) uint16 { return uint16((pos-1)%packetIDs) + 1 }

// filterBytes is how long the filters of its subscriptions are together.
func (s *session) filterBytes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for f := range s.subs {
		n += len(f)
	}
	return n
}

func (s *session) durable() bool   { return s.number != 0 }
func (s *session) connected() bool { return s.conn.Load() != nil }

// record is what the Store is to have of s. Under mu.
func (s *session) record() sessionRecord {
	return sessionRecord{
		number: s.number, version: s.version, expiry: s.expiry, connected: s.connected(), left: s.since, sent: s.sent, last: s.last,
	}
}

// over says whether the session has lived long enough without its client. Under mu.
func (s *session) over(now time.Time) bool {
	return !s.connected() && now.Sub(s.since) >= s.expiry
}

// take gives s to a connection, from the first message on that is not acknowledged. Under mu.
func (s *session) take(c *conn) {
	s.conn.Store(c)
	s.version, s.since, s.address, s.via = c.version, time.Now(), c.RemoteAddr().String(), c.transport()
	s.rewind()
}

// leave notes that the connection has ended. Under mu.
func (s *session) leave() {
	s.conn.Store(nil)
	s.since = time.Now()
	s.rewind()
	s.fast, s.fastLen = nil, 0
}

// rewind forgets what is in memory of what the Store has. Under mu.
func (s *session) rewind() {
	s.tail, s.tailLen, s.flight, s.loaded, s.behind = nil, 0, map[uint16]flight{}, 0, true
}

// push adds a durable message, which is in the Store now.
func (s *session) push(it item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settled = it.pos
	c := s.conn.Load()
	if c == nil || it.pos <= s.loaded {
		return
	}
	if s.behind || len(s.tail) > 0 && (len(s.tail) >= tailItems || s.tailLen+it.size > tailBytes) {
		s.behind = true
	} else {
		s.loaded = it.pos
		s.append(it)
	}
	c.wakeUp()
}

// append adds to tail. Under mu.
func (s *session) append(it item) {
	s.tail = append(s.tail, it)
	s.tailLen += it.size
}

// first takes the first of tail. Under mu.
func (s *session) first() item {
	it := s.tail[0]
	s.tail[0] = item{} // so that nothing keeps its message
	if s.tail = s.tail[1:]; len(s.tail) == 0 {
		s.tail = nil
	}
	s.tailLen -= it.size
	return it
}

// keep adds a message of QoS 1 or 2 to a session that is not durable, within bounds.
func (s *session) keep(it item, b bounds) (dropped int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.conn.Load()
	if c == nil || s.gone {
		return 0
	}
	for b.exceeded(s.count+1, s.bytes+int64(it.size)) {
		dropped++
		if len(s.tail) == 0 {
			return dropped // all that it has is on its way
		}
		s.done(s.first().size)
	}
	s.last++
	it.pos = s.last
	s.count++
	s.bytes += int64(it.size)
	s.append(it)
	c.wakeUp()
	return dropped
}

// hasRoom tells whether a message of that size fits.
func (s *session) hasRoom(size int, b bounds) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !b.exceeded(s.count+1, s.bytes+int64(size))
}

// done takes one message out of the counts. Under mu.
func (s *session) done(size int) {
	s.count--
	s.bytes -= int64(size)
}

// pushFast adds a message of QoS 0; false: there is no room, or nobody.
func (s *session) pushFast(it item, most int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.conn.Load()
	if c == nil {
		return true // QoS 0 is for who is there
	}
	if len(s.fast) > 0 && (len(s.fast) >= fastItems || s.fastLen+it.size > most) {
		return false
	}
	s.fast = append(s.fast, it)
	s.fastLen += it.size
	c.wakeUp()
	return true
}

// fastRoom waits until less than half of what pushFast allows waits, or c has gone. Only c's reader calls it.
func (s *session) fastRoom(c *conn, most int) {
	for {
		before := c.chunksSent()
		s.mu.Lock()
		much := s.conn.Load() == c && (len(s.fast) >= fastItems/2 || s.fastLen >= most/2)
		s.mu.Unlock()
		if !much || !c.waitSent(before) {
			return
		}
	}
}

// bounds of what may wait in a queue.
type bounds struct {
	messages int
	bytes    int64
}

func (b bounds) exceeded(count int, bytes int64) bool {
	return count > b.messages || bytes > b.bytes && count > 1
}

// What next found.
type found uint8

const (
	foundNothing found = iota
	foundItem
	foundLater   // load has more
	foundExpired // the item is not to be sent; it is done with
)

// next takes what is to be sent next on c. What is of QoS 1 and 2 is on its way then.
func (s *session) next(c *conn, now time.Time) (it item, what found) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn.Load() != c {
		return item{}, foundNothing
	}
	slow := len(s.tail) > 0 && s.mayStart(c, &s.tail[0])
	if len(s.fast) > 0 && (!s.turn || !slow) {
		it = s.fast[0]
		s.fast[0] = item{}
		if s.fast = s.fast[1:]; len(s.fast) == 0 {
			s.fast = nil
		}
		s.fastLen -= it.size
		s.turn = true
		if it.m.expired(now) {
			return item{}, foundExpired
		}
		return it, foundItem
	}
	s.turn = false
	if !slow {
		if len(s.tail) == 0 && s.behind && s.durable() && len(s.flight) < c.window {
			return item{}, foundLater
		}
		return item{}, foundNothing
	}
	it = s.first()
	if !it.released && it.m.expired(now) {
		return it, foundExpired
	}
	it.dup = it.pos <= s.sent
	f := flight{pos: it.pos, size: it.size, qos: it.qos, released: it.released}
	if it.m != nil {
		f.body = it.m.body
	}
	s.flight[packetID(it.pos)] = f
	s.sent = max(s.sent, it.pos)
	return it, foundItem
}

// mayStart tells whether a message may go on its way: the client takes one more, and its packet id is free. Under mu.
func (s *session) mayStart(c *conn, it *item) bool {
	if len(s.flight) >= c.window {
		return false
	}
	_, used := s.flight[packetID(it.pos)]
	return !used
}
