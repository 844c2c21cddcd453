package broker

import (
	"encoding/binary"
	"maps"
	"slices"

	"github.com/gatepost/gatepost/internal/logkey"
)

// change is what one Work has done to queues, so that it can be taken back. Of a Work and its Settled only.
type change struct {
	b       *Broker
	acks    []ack
	placed  []added
	dropped []evicted
	saved   []*session
}

type added struct {
	s    *session
	size int
}

type evicted struct {
	s      *session
	size   int
	before uint64 // what evicted was
}

// ack is a row that nobody needs any more.
type ack struct {
	s      *session
	pos    uint64 // in the queue; 0: the row is a received id, or a will
	body   uint64
	will   string // session id
	serial uint64 // of the will
	ended  string // session id: the record of s is to go
}

// begin starts a change. What was acknowledged meanwhile is deleted first.
func (b *Broker) begin(rows Rows) (*change, error) {
	ch := &change{b: b, acks: b.lazy.takeAcks()}
	for i := range ch.acks {
		if err := b.forget(rows, &ch.acks[i]); err != nil {
			return nil, err
		}
	}
	return ch, nil
}

// forget deletes one row. Those of a session that has ended are deleted all together elsewhere.
func (b *Broker) forget(rows Rows, a *ack) error {
	if a.will != "" {
		if w, err := decodeWill(rows.Get(inWills, []byte(a.will))); err != nil || w.serial != a.serial {
			return nil // another one is there
		}
		return rows.Delete(inWills, []byte(a.will))
	}
	if a.ended != "" {
		return deleteRecord(rows, a.s)
	}
	key := queueKey(a.s.number, a.pos)
	if a.body != 0 {
		if rows.Get(inQueue, key) == nil {
			return nil // deleted already, and counted
		}
		if err := b.release(rows, a.body); err != nil {
			return err
		}
	}
	return rows.Delete(inQueue, key)
}

// release takes one queue off a body, and deletes that with the last.
func (b *Broker) release(rows Rows, body uint64) error {
	key := numberKey(body)
	n, _ := binary.Uvarint(rows.Get(inReferences, key))
	if n > 1 {
		return rows.Put(inReferences, key, binary.AppendUvarint(nil, n-1))
	}
	if err := rows.Delete(inReferences, key); err != nil {
		return err
	}
	return rows.Delete(inMessages, key)
}

// place puts a message at the end of a session's queue and gives its position. 0: there is no session any more, or no room.
// What gives way is the oldest that has not been read from the Store to be sent.
func (ch *change) place(rows Rows, s *session, q *queued) (uint64, error) {
	b := ch.b
	value := appendQueued(nil, q)
	if q.body == 0 {
		q.size = len(value)
	}
	for {
		s.mu.Lock()
		if s.gone {
			s.mu.Unlock()
			return 0, nil
		}
		if !b.queue.exceeded(s.count+1, s.bytes+int64(q.size)) {
			break
		}
		s.mu.Unlock()
		ok, err := ch.drop(rows, s)
		if err != nil {
			return 0, err
		}
		if !ok {
			b.tellDropped(s)
			return 0, nil
		}
	}
	s.last++
	pos := s.last
	s.count++
	s.bytes += int64(q.size)
	if q.expires != 0 && (s.nextExpiry == 0 || q.expires < s.nextExpiry) {
		s.nextExpiry = q.expires
	}
	dirty := s.dirty
	s.mu.Unlock()
	ch.placed = append(ch.placed, added{s, q.size})
	if dirty {
		if err := ch.save(rows, s); err != nil {
			return 0, err
		}
	}
	return pos, rows.Put(inQueue, queueKey(s.number, pos), value)
}

// drop deletes the oldest message that waits in the Store only; false: there is none.
func (ch *change) drop(rows Rows, s *session) (bool, error) {
	s.mu.Lock()
	from := max(s.loaded, s.evicted) + 1
	s.mu.Unlock()
	var pos uint64
	var q queued
	size := 0
	rows.Each(inQueue, queueKey(s.number, from), func(k, v []byte) bool {
		number, rest, ok := splitKey(k)
		if !ok || number != s.number || len(rest) != 8 {
			return false
		}
		var err error
		if q, err = decodeQueued(v, false); err != nil {
			q = queued{}
		}
		if q.released {
			return true // only a place, which the client will ask for
		}
		pos = binary.BigEndian.Uint64(rest)
		if size = q.size; q.body == 0 {
			size = len(v)
		}
		return false
	})
	if pos == 0 {
		return false, nil
	}
	s.mu.Lock()
	if pos <= s.loaded { // it was read meanwhile
		s.mu.Unlock()
		return true, nil
	}
	ch.dropped = append(ch.dropped, evicted{s, size, s.evicted})
	s.evicted = pos
	s.done(size)
	s.mu.Unlock()
	if q.body != 0 {
		if err := ch.b.release(rows, q.body); err != nil {
			return false, err
		}
	}
	return true, rows.Delete(inQueue, queueKey(s.number, pos))
}

// share stores a message that several queues refer to.
func share(rows Rows, m *message, queues int) error {
	key := numberKey(m.body)
	if err := rows.Put(inMessages, key, appendMessage(nil, m)); err != nil {
		return err
	}
	return rows.Put(inReferences, key, binary.AppendUvarint(nil, uint64(queues)))
}

// save writes a session and, when the Store does not have all of it, its subscriptions.
func (ch *change) save(rows Rows, s *session) error {
	s.mu.Lock()
	if s.gone || !s.durable() {
		s.mu.Unlock()
		return nil
	}
	record, dirty := s.record(), s.dirty
	var subs []*subscription
	if dirty {
		subs = slices.Collect(maps.Values(s.subs))
	}
	s.dirty = false
	s.mu.Unlock()
	if dirty {
		ch.saved = append(ch.saved, s)
		for _, sub := range subs {
			if err := rows.Put(inSubscriptions, subscriptionKey(s.number, sub.filter), sub.options()); err != nil {
				return err
			}
		}
	}
	return rows.Put(inSessions, []byte(s.id), record.append(nil))
}

// settle ends the change: for good, or as if it had not been.
func (ch *change) settle(ok bool) {
	b := ch.b
	if ok {
		for i := range ch.acks {
			if a := &ch.acks[i]; a.pos != 0 {
				a.s.mu.Lock()
				delete(a.s.acked, a.pos)
				a.s.mu.Unlock()
			}
		}
		for _, d := range ch.dropped {
			b.tellDropped(d.s)
		}
		return
	}
	for _, d := range slices.Backward(ch.dropped) {
		d.s.mu.Lock()
		d.s.evicted = d.before
		d.s.count++
		d.s.bytes += int64(d.size)
		d.s.mu.Unlock()
	}
	for _, p := range ch.placed {
		p.s.mu.Lock()
		p.s.done(p.size)
		p.s.mu.Unlock()
	}
	for _, s := range ch.saved {
		s.mu.Lock()
		s.dirty = true
		s.mu.Unlock()
	}
	b.lazy.putBack(ch.acks)
}

// tellDropped counts a message that a queue had no room for.
func (b *Broker) tellDropped(s *session) {
	b.m.dropped.Inc()
	b.stats.dropped.Add(1)
	if b.news.due("queue") {
		b.log.Warn("queue is full, its oldest message is dropped", logkey.Client, s.client, logkey.User, s.account)
	}
}

// tellSlow counts a message of QoS 0 that a client was too slow for.
func (b *Broker) tellSlow(s *session) {
	b.m.dropped.Inc()
	b.stats.dropped.Add(1)
	if b.news.due("dropped") {
		b.log.Warn("message dropped: the client reads too slowly", logkey.Client, s.client, logkey.User, s.account)
	}
}
