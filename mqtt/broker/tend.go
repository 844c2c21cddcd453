package broker

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/gatepost/gatepost/internal/logkey"
)

const (
	lazyTime   = 100 * time.Millisecond // after which what nobody waits for goes into the Store by itself
	retryTime  = time.Second            // when there is no room
	tendTime   = time.Second
	sweepRows  = 256 // deleted in one change
	sweepItems = 1000
)

// tend does what nobody waits for, until the broker stops.
func (b *Broker) tend() {
	tick := time.NewTicker(tendTime)
	defer tick.Stop()
	for {
		pause := time.Duration(0)
		select {
		case <-b.stopping:
			return
		case <-tick.C:
			b.expire(time.Now())
		case <-b.lazy.due:
			pause = lazyTime
		}
		for pause > 0 {
			select {
			case <-b.stopping:
				return
			case <-time.After(pause):
			}
			if pause = 0; !b.flush() || !b.sweepEnded() {
				pause = retryTime
			}
		}
	}
}

// flush puts what nobody waits for into the Store; false: there is no room.
func (b *Broker) flush() bool {
	var ch *change
	touched := b.lazy.takeSessions()
	err := b.commit(Commit{
		Relief: true,
		Work: func(rows Rows) (err error) {
			if ch, err = b.begin(rows); err != nil {
				return err
			}
			for s := range touched {
				if err := ch.save(rows, s); err != nil {
					return err
				}
			}
			return nil
		},
		Settled: func(ok bool) { ch.settle(ok) },
	})
	if err != nil {
		for s := range touched {
			b.lazy.touch(s)
		}
	}
	return err == nil || !isNoSpace(err)
}

// sweepEnded deletes the rows of sessions that have ended, a few at a time; false: there is no room.
func (b *Broker) sweepEnded() bool {
	ended := b.lazy.takeEnded()
	for i, number := range ended {
		for more := true; more; {
			if b.isStopping() {
				return true // the next start finds what is left
			}
			err := b.commit(Commit{Relief: true, Work: func(rows Rows) (err error) {
				more, err = b.sweep(rows, number)
				return err
			}})
			if err != nil {
				for _, number := range ended[i:] {
					b.lazy.end(number)
				}
				return !isNoSpace(err)
			}
		}
	}
	return true
}

// sweep deletes some rows of a session; more: there may be others.
func (b *Broker) sweep(rows Rows, number uint64) (more bool, err error) {
	left := sweepRows
	for _, bucket := range []string{inSubscriptions, inReceived, inQueue} {
		var keys [][]byte
		var bodies []uint64
		rows.Each(bucket, numberKey(number), func(k, v []byte) bool {
			if n, _, ok := splitKey(k); !ok || n != number || left == 0 {
				return false
			}
			left--
			keys = append(keys, slices.Clone(k))
			if q, err := decodeQueued(v, false); bucket == inQueue && err == nil && q.body != 0 {
				bodies = append(bodies, q.body)
			}
			return true
		})
		for _, k := range keys {
			if err := rows.Delete(bucket, k); err != nil {
				return false, err
			}
		}
		for _, body := range bodies {
			if err := b.release(rows, body); err != nil {
				return false, err
			}
		}
	}
	return left == 0, nil
}

// expire ends what has lived long enough: sessions, retained messages, and what waits for clients that are away.
func (b *Broker) expire(now time.Time) {
	for _, s := range b.sessions.all() {
		s.mu.Lock()
		away := !s.connected() && !s.gone
		over := away && s.over(now)
		look := away && s.durable() && s.nextExpiry != 0 && now.Unix() >= s.nextExpiry
		s.mu.Unlock()
		switch {
		case over:
			b.log.Info("session has expired", logkey.Client, s.client, logkey.User, s.account)
			b.tryEnd(s)
		case look:
			b.expireQueue(s, now)
		}
	}
	if names := b.retained.expired(now); len(names) > 0 {
		b.expireRetained(names, now)
	}
}

// expireQueue takes messages that have expired out of the queue of a session that is away.
func (b *Broker) expireQueue(s *session, now time.Time) {
	type row struct {
		pos, body uint64
		size      int
	}
	var found []row
	next, all := int64(0), true
	err := b.cfg.Store.View(func(rows Rows) error {
		rows.Each(inQueue, numberKey(s.number), func(k, v []byte) bool {
			number, rest, ok := splitKey(k)
			if !ok || number != s.number || len(rest) != 8 {
				return false
			}
			if len(found) == sweepItems {
				all = false
				return false
			}
			q, err := decodeQueued(v, true)
			switch {
			case err != nil || q.released || q.expires == 0:
			case now.Unix() >= q.expires:
				size := q.size
				if q.body == 0 {
					size = len(v)
				}
				found = append(found, row{binary.BigEndian.Uint64(rest), q.body, size})
			case next == 0 || q.expires < next:
				next = q.expires
			}
			return true
		})
		return nil
	})
	if err != nil {
		b.fail(err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.connected() || s.gone {
		return
	}
	for _, r := range found {
		if _, acked := s.acked[r.pos]; acked || r.pos <= s.evicted {
			continue
		}
		s.acked[r.pos] = ackedBy{}
		s.done(r.size)
		b.lazy.ack(ack{s: s, pos: r.pos, body: r.body})
	}
	if all {
		s.nextExpiry = next
	}
}

// expireRetained deletes retained messages, unless they have been replaced.
func (b *Broker) expireRetained(names []string, now time.Time) {
	var gone []*message
	err := b.commit(Commit{
		Relief: true,
		Work: func(rows Rows) error {
			gone = nil
			for _, name := range names {
				if p, ok := b.retained.pending[name]; ok && (p == nil || !p.expired(now)) {
					continue
				}
				if m := b.retained.byName(name); m == nil || !m.expired(now) {
					continue
				}
				m := &message{topic: name}
				if err := b.storeRetained(rows, m); err != nil {
					return err
				}
				gone = append(gone, m)
			}
			return nil
		},
		Settled: func(ok bool) {
			for _, m := range gone {
				b.retained.settle(m, ok)
			}
		},
	})
	if err != nil && b.news.due("expire") {
		b.log.Warn("expired messages could not be deleted", logkey.Error, err)
	}
}
