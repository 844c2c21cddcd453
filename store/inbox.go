package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"go.etcd.io/bbolt"

	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
)

// An event id is remembered for this long, and no more of them than that, the newest.
const (
	seenFor = 7 * 24 * time.Hour
	maxSeen = 200_000
)

// acceptBytes is the size from which what one Accept brings is committed in parts: a store with little room left could
// never take a large one at once, and the homeserver would bring the same again for ever.
const acceptBytes = 256 << 10

// Accept takes what a homeserver delivered: the events that were not seen before go to the end of the inbox, and position
// (the transaction id of an appservice, the next_batch of a sync) is remembered for source together with the last of them,
// all fsynced before it returns. fresh is the number of events that were new. Errors are those of Commit; with one some of
// the events may be in the inbox, which fresh counts, and the position is as it was: when they come again they are known.
// Safe for concurrent use; nothing of events is kept.
func (s *Store) Accept(source, position string, events []room.Event) (fresh int, err error) {
	if source == "" || len(source) > maxKey {
		return 0, fmt.Errorf("%w: source of %d bytes", ErrInvalid, len(source))
	}
	part := inboxPart{}
	for i := range events {
		payload, err := json.Marshal(&events[i])
		if err != nil {
			return fresh, fmt.Errorf("%w: event: %w", ErrInvalid, err)
		}
		if len(part.ids) > 0 && part.size+len(payload) > acceptBytes {
			n, err := s.acceptPart(&part)
			if fresh += n; err != nil {
				return fresh, err
			}
			part = inboxPart{}
		}
		part.ids = append(part.ids, events[i].ID)
		part.values = append(part.values, seal(nil, payload))
		part.size += len(payload) + envelopeBytes
	}
	part.source, part.position = source, position
	part.size += len(position)
	n, err := s.acceptPart(&part)
	return fresh + n, err
}

// inboxPart is what Accept commits at once.
type inboxPart struct {
	source, position string // "": the position stays
	ids              []ids.EventID
	values           [][]byte // the events, sealed
	size             int
}

func (s *Store) acceptPart(p *inboxPart) (fresh int, err error) {
	r := s.request(func(b *batch) error {
		fresh = 0
		names := buckets()
		if p.source != "" {
			if err := b.tx.Bucket(names.positions).Put([]byte(p.source), seal(nil, []byte(p.position))); err != nil {
				return err
			}
		}
		inbox := b.tx.Bucket(names.inbox)
		inbox.FillPercent = appendFill
		for i, id := range p.ids {
			isNew, err := b.firstSight(id)
			if err != nil {
				return err
			}
			if !isNew {
				continue
			}
			fresh++
			seq, err := inbox.NextSequence()
			if err != nil {
				return err
			}
			if err := inbox.Put(seqKey(seq), p.values[i]); err != nil {
				return err
			}
		}
		return b.forgetSeen(2*fresh + 16)
	}, 1+len(p.ids), p.size)
	if err := s.do(r); err != nil {
		return 0, err
	}
	return fresh, nil
}

// firstSight remembers an event id and says whether it was new. An event without an id is always new.
func (b *batch) firstSight(id ids.EventID) (bool, error) {
	if id == "" {
		return true, nil
	}
	names := buckets()
	seen, order := b.tx.Bucket(names.seen), b.tx.Bucket(names.seenOrder)
	order.FillPercent = appendFill
	sum := sha256.Sum256([]byte(id))
	hash := sum[:16]
	if seen.Get(hash) != nil {
		return false, nil
	}
	seq, err := order.NextSequence()
	if err != nil {
		return false, err
	}
	if err := order.Put(seqKey(seq), seal(nil, append(appendTime(nil, b.now), hash...))); err != nil {
		return false, err
	}
	return true, seen.Put(hash, seal(nil, nil))
}

// forgetSeen forgets up to n of the event ids that are too old or too many.
func (b *batch) forgetSeen(n int) error {
	names := buckets()
	seen, order := b.tx.Bucket(names.seen), b.tx.Bucket(names.seenOrder)
	limit := b.now.Add(-seenFor)
	for range n {
		k, v := order.Cursor().First()
		first, ok := keySeq(k)
		if !ok {
			return nil
		}
		payload, err := unseal(v)
		if err == nil {
			d := newDecoder(payload)
			if when := d.time(); !when.Before(limit) && order.Sequence()-first < maxSeen {
				return nil
			}
			if err := seen.Delete(d.b); err != nil {
				return err
			}
		}
		if err := order.Delete(seqKey(first)); err != nil {
			return err
		}
	}
	return nil
}

// Position is the position last accepted for source; "" none. Safe for concurrent use.
func (s *Store) Position(source string) (position string, err error) {
	name := buckets().positions
	damaged := false
	err = s.view(func(tx *bbolt.Tx) error {
		sealed := tx.Bucket(name).Get([]byte(source))
		if sealed == nil {
			return nil
		}
		payload, err := unseal(sealed)
		position, damaged = string(payload), err != nil
		return nil
	})
	if damaged {
		s.dropDamaged(name, [][]byte{[]byte(source)}, unsealed)
	}
	return position, err
}

// Events lists what waits in the inbox after a sequence, at most n, in order. Events leave it by Change.Handled. Safe for
// concurrent use.
func (s *Store) Events(after uint64, n int) (events []room.Event, err error) {
	if after == math.MaxUint64 {
		return nil, nil
	}
	name := buckets().inbox
	var damaged [][]byte
	err = s.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(name).Cursor()
		for k, v := c.Seek(seqKey(after + 1)); k != nil && len(events) < n; k, v = c.Next() {
			e, ok := decodeEvent(k, v)
			if !ok {
				damaged = append(damaged, bytes.Clone(k))
				continue
			}
			events = append(events, e)
		}
		return nil
	})
	s.dropDamaged(name, damaged, func(k, v []byte) bool { _, ok := decodeEvent(k, v); return !ok })
	return events, err
}

func decodeEvent(k, v []byte) (e room.Event, ok bool) {
	payload, err := unseal(v)
	if err != nil || json.Unmarshal(payload, &e) != nil {
		return e, false
	}
	e.Seq, ok = keySeq(k)
	return e, ok
}
