package broker

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/gatepost/gatepost/internal/logkey"
)

// restore reads what the Store has. Rows that make no sense are left out, and said; those that belong to nothing any more
// are deleted later.
func (b *Broker) restore() error {
	now, bad := time.Now(), 0
	err := b.cfg.Store.View(func(rows Rows) error {
		byNumber, lost := b.restoreSessions(rows, now)
		bad += lost
		bad += b.restoreSubscriptions(rows, byNumber)
		bad += b.restoreQueues(rows, byNumber)
		bad += b.restoreMessages(rows)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read what clients have left: %w", err)
	}
	if bad > 0 {
		b.log.Error("rows of the broker make no sense and are left out", logkey.Count, bad)
	}
	return nil
}

// firstYear is before any time that a clock which is right could have told.
const firstYear = 2025

func (b *Broker) restoreSessions(rows Rows, now time.Time) (byNumber map[uint64]*session, bad int) {
	byNumber = map[uint64]*session{}
	rows.Each(inSessions, nil, func(k, v []byte) bool {
		r, err := decodeSessionRecord(v)
		if err != nil || r.number == 0 || byNumber[r.number] != nil {
			bad++
			return true
		}
		s := newSession(string(k), r.number)
		s.version, s.expiry, s.since, s.sent, s.last = r.version, r.expiry, r.left, r.sent, r.last
		if r.connected || s.since.Year() < firstYear || s.since.After(now) { // until a moment ago; or the clock was wrong
			s.since = now
		}
		s.wasConnected = r.connected
		s.rewind()
		b.sessions.byID[s.id], byNumber[s.number] = s, s
		b.sessions.number = max(b.sessions.number, s.number)
		return true
	})
	return byNumber, bad
}

// orphan notes rows of a session that is not there.
func (b *Broker) orphan(known map[uint64]*session, number uint64) {
	if _, seen := known[number]; seen {
		return
	}
	known[number] = nil
	b.sessions.number = max(b.sessions.number, number)
	b.lazy.end(number)
}

func (b *Broker) restoreSubscriptions(rows Rows, byNumber map[uint64]*session) (bad int) {
	rows.Each(inSubscriptions, nil, func(k, v []byte) bool {
		number, filter, ok := splitKey(k)
		s := byNumber[number]
		if !ok {
			bad++
			return true
		}
		if s == nil {
			b.orphan(byNumber, number)
			return true
		}
		sub, err := newSubscription(s, string(filter), v)
		if err != nil {
			bad++
			return true
		}
		s.subs[sub.filter] = sub
		b.subs.add(sub)
		return true
	})
	rows.Each(inReceived, nil, func(k, _ []byte) bool {
		number, id, ok := splitKey(k)
		if !ok || len(id) != 2 {
			bad++
		} else if s := byNumber[number]; s == nil {
			b.orphan(byNumber, number)
		} else {
			s.received[binary.BigEndian.Uint16(id)] = true
		}
		return true
	})
	return bad
}

// smallRow is a size that every reference and place has at most, and that is read without much ado.
const smallRow = 64

func (b *Broker) restoreQueues(rows Rows, byNumber map[uint64]*session) (bad int) {
	rows.Keys(inQueue, nil, func(k []byte, size int) bool {
		number, pos, ok := splitKey(k)
		if !ok || len(pos) != 8 {
			bad++
			return true
		}
		s := byNumber[number]
		if s == nil {
			b.orphan(byNumber, number)
			return true
		}
		if size <= smallRow {
			if q, err := decodeQueued(rows.Get(inQueue, k), false); err == nil && q.body != 0 {
				size = q.size
			} else if err == nil && q.released {
				size = 0
			}
		}
		s.last = max(s.last, binary.BigEndian.Uint64(pos))
		s.count++
		s.bytes += int64(size)
		s.nextExpiry = 1 // not known: to be looked at
		return true
	})
	for _, s := range byNumber {
		if s != nil && s.wasConnected { // what was in its queue may have been sent, all of it
			s.sent = s.last
		}
	}
	return bad
}

func (b *Broker) restoreMessages(rows Rows) (bad int) {
	rows.Keys(inMessages, nil, func(k []byte, _ int) bool {
		if len(k) == 8 {
			b.nextBody = max(b.nextBody, binary.BigEndian.Uint64(k))
		}
		return true
	})
	rows.Each(inRetained, nil, func(k, v []byte) bool {
		if m, err := decodeMessage(v); err != nil || m.topic != string(k) {
			bad++
		} else {
			b.retained.set(m, false)
		}
		return true
	})
	rows.Each(inWills, nil, func(k, v []byte) bool {
		if w, err := decodeWill(v); err != nil {
			bad++
		} else {
			b.wills.byID[string(k)] = w
		}
		return true
	})
	return bad
}
