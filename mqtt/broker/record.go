package broker

import (
	"encoding/binary"
	"math"
	"time"
)

// sessionRecord is what the Store has of a session.
type sessionRecord struct {
	number    uint64
	version   byte          // of the protocol
	expiry    time.Duration // after the connection has ended
	connected bool
	left      time.Time // when the connection ended; while it is there, when it began
	sent      uint64    // the highest position that may have been sent before
	last      uint64    // the highest position that was given out
}

func (r sessionRecord) append(dst []byte) []byte {
	flags := byte(0)
	if r.connected {
		flags = 1
	}
	dst = append(dst, r.version, flags)
	for _, v := range []uint64{r.number, uint64(r.expiry), uint64(r.left.UnixNano()), r.sent, r.last} {
		dst = binary.AppendUvarint(dst, v)
	}
	return dst
}

func decodeSessionRecord(b []byte) (sessionRecord, error) {
	d := &decoder{b: b}
	r := sessionRecord{version: d.byte(), connected: d.byte() == 1, number: d.uvarint()}
	r.expiry = time.Duration(d.uvarint() & math.MaxInt64)
	r.left = time.Unix(0, int64(d.uvarint()&math.MaxInt64))
	r.sent, r.last = d.uvarint(), d.uvarint()
	if d.bad || len(d.b) > 0 || r.version < 3 || r.version > 5 {
		return sessionRecord{}, errDamaged
	}
	return r, nil
}

// queued is a row of a queue: a message of its own, a reference to one that others have too, or, once the client has the
// message and said so with PUBREC, only its place.
type queued struct {
	qos      byte // as granted
	retain   bool // as to be sent
	released bool
	ids      []int // subscription identifiers
	body     uint64
	size     int      // of the message; as the bounds count it
	expires  int64    // Unix seconds; of a reference
	m        *message // nil for a reference and a place
}

const (
	rowRetain   = 1 << 2
	rowReleased = 1 << 3
	rowBody     = 1 << 4
)

// appendQueued writes q; with body 0 the message itself is in it.
func appendQueued(dst []byte, q *queued) []byte {
	flags := q.qos
	if q.retain {
		flags |= rowRetain
	}
	switch {
	case q.released:
		return append(dst, flags|rowReleased)
	case q.body != 0:
		flags |= rowBody
	}
	dst = append(dst, flags)
	dst = binary.AppendUvarint(dst, uint64(len(q.ids)))
	for _, id := range q.ids {
		dst = binary.AppendUvarint(dst, uint64(id))
	}
	if q.body != 0 {
		for _, v := range []uint64{q.body, uint64(q.size), uint64(q.expires)} {
			dst = binary.AppendUvarint(dst, v)
		}
		return dst
	}
	return appendMessage(dst, q.m)
}

// decodeQueued reads what appendQueued wrote. Nothing of b is kept. whole is false for who only wants to know what refers
// to a body: then a message is not decoded.
func decodeQueued(b []byte, whole bool) (queued, error) {
	d := &decoder{b: b}
	flags := d.byte()
	q := queued{qos: flags & flagQoS, retain: flags&rowRetain != 0, released: flags&rowReleased != 0}
	if q.released {
		if d.bad || len(d.b) > 0 {
			return queued{}, errDamaged
		}
		return q, nil
	}
	for range min(d.uvarint(), uint64(len(d.b))) {
		q.ids = append(q.ids, int(d.uvarint()&math.MaxInt32))
	}
	if flags&rowBody != 0 {
		q.body, q.size, q.expires = d.uvarint(), int(d.uvarint()&math.MaxInt32), int64(d.uvarint()&math.MaxInt64)
		if d.bad || len(d.b) > 0 || q.body == 0 {
			return queued{}, errDamaged
		}
		return q, nil
	}
	if d.bad || q.qos > 2 {
		return queued{}, errDamaged
	}
	if !whole {
		return q, nil
	}
	var err error
	if q.m, err = decodeMessage(d.b); err == nil {
		q.size, q.expires = q.m.size(), q.m.expires
	}
	return q, err
}

// longestName is the most bytes of a topic, of a filter, and of user and client id together. They are in the keys of rows,
// and a Store need not take keys above 32 KiB; MQTT lets each be twice as long.
const longestName = 32_000

// numberKey is the beginning of the keys of a session's rows.
func numberKey(number uint64) []byte { return binary.BigEndian.AppendUint64(nil, number) }

func queueKey(number, pos uint64) []byte {
	return binary.BigEndian.AppendUint64(numberKey(number), pos)
}

func receivedKey(number uint64, id uint16) []byte {
	return binary.BigEndian.AppendUint16(numberKey(number), id)
}

func subscriptionKey(number uint64, filter string) []byte {
	return append(numberKey(number), filter...)
}

// splitKey gives the number of a session and the rest of a key; ok is false for one that is too short.
func splitKey(key []byte) (number uint64, rest []byte, ok bool) {
	if len(key) < 8 {
		return 0, nil, false
	}
	return binary.BigEndian.Uint64(key), key[8:], true
}
