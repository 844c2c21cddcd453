package store

import (
	"cmp"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/internal/logkey"
)

// OnAppend sets what is called with the key of a lane after a commit that appended to it. Called once, before the first
// Commit; wake must not block, and must not call Commit.
func (s *Store) OnAppend(wake func(ids.RoomKey)) { s.wake.Store(&wake) }

// Take gives the record of a lane that is to be sent now and marks it as in flight (in memory): it is neither merged into
// nor evicted nor given again until Release, Finish or Bury. While one is in flight the lane gives no other. Without one,
// next says when there may be one; zero: not before the next append (or Release). Records whose time is over, and damaged
// ones, are not given but counted in a gap marker, which is one commit. Safe for concurrent use.
func (s *Store) Take(key ids.RoomKey, now time.Time) (r lane.Record, ok bool, next time.Time, err error) {
	for {
		seq, expired, later, err := s.pick(key, nanos(now))
		switch {
		case err != nil:
			return r, false, next, err
		case expired:
			if err := s.expire(key, nanos(now)); err != nil {
				return r, false, next, err
			}
			continue
		case seq == 0:
			return r, false, timeOf(later), nil
		}
		r, damaged, err := s.readRecord(seq)
		if err != nil {
			s.Release(lane.Ref{Lane: key, Seq: seq})
			return r, false, next, err
		}
		if !damaged {
			return r, true, next, nil
		}
		if err := s.setRecordAside(key, seq); err != nil {
			return r, false, next, err
		}
	}
}

// pick finds the record to be sent and marks it.
func (s *Store) pick(key ids.RoomKey, now int64) (seq uint64, expired bool, later int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.settled(key)
	if err := s.failure(); err != nil || x == nil || x.inFlight != 0 {
		return 0, false, 0, err
	}
	pos, expired, ok, later := x.next(now)
	if !ok || expired {
		return 0, expired, later, nil
	}
	x.take(pos)
	return x.inFlight, false, 0, nil
}

// settled is the index of a lane once no commit is changing it; nil for a lane that holds nothing. Under s.mu, which it
// gives up while it waits.
func (s *Store) settled(key ids.RoomKey) *index {
	for {
		x := s.lanes[key]
		if x == nil || !x.busy || s.failure() != nil {
			return x
		}
		s.idle.Wait()
	}
}

// readRecord reads a record from the file.
func (s *Store) readRecord(seq uint64) (r lane.Record, damaged bool, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		var bad error
		r, bad = decodeRecord(tx.Bucket(buckets().records).Get(seqKey(seq)))
		damaged = bad != nil
		return nil
	})
	r.Seq = seq
	return r, damaged, err
}

// expire counts all records of a lane whose time is over in gap markers.
func (s *Store) expire(key ids.RoomKey, now int64) error {
	return s.tend(key, func(b *batch, x *index) error {
		var gone []uint64
		for i := range x.entries {
			if e := &x.entries[i]; !e.is(flagDead) && e.expires != 0 && e.expires < now && e.seq != x.inFlight {
				gone = append(gone, e.seq)
			}
		}
		for _, seq := range gone {
			pos, ok := x.find(seq)
			if !ok {
				continue
			}
			if err := b.evict(x, pos, true); err != nil {
				return err
			}
		}
		return nil
	})
}

// setRecordAside takes a damaged record out of its lane.
func (s *Store) setRecordAside(key ids.RoomKey, seq uint64) error {
	return s.tend(key, func(b *batch, x *index) error {
		pos, ok := x.find(seq)
		if !ok {
			return nil
		}
		if x.inFlight == seq {
			x.inFlight = 0
		}
		x.entries[pos].flags &^= flagTried
		return b.spoiled(x, pos, b.records.Get(seqKey(seq)))
	})
}

// tend commits a change to one lane that adds nothing.
func (s *Store) tend(key ids.RoomKey, f func(*batch, *index) error) error {
	r := s.request(func(b *batch) error {
		x := s.lanes[key]
		if x == nil {
			return nil
		}
		b.touch(x)
		return f(b, x)
	}, 1, 0)
	r.relief = true
	return s.do(r)
}

// Release lets a record that Take gave wait again. It keeps its place. Safe for concurrent use.
func (s *Store) Release(ref lane.Ref) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := s.lanes[ref.Lane]; x != nil && x.inFlight == ref.Seq && ref.Seq != 0 {
		x.release()
	}
}

// Lanes lists the lanes that hold records, by name. Safe for concurrent use.
func (s *Store) Lanes() []lane.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]lane.Status, 0, len(s.lanes))
	for key, x := range s.lanes {
		if x.size() == 0 {
			continue
		}
		st := lane.Status{Lane: key, Records: x.size(), Bytes: x.bytes, Classes: map[lane.Class]int{}, Oldest: x.oldestAt(), Last: x.last()}
		for c, n := range x.counts {
			if n > 0 {
				st.Classes[lane.Class(c)] = n
			}
		}
		all = append(all, st)
	}
	slices.SortFunc(all, func(a, b lane.Status) int { return cmp.Compare(a.Lane, b.Lane) })
	return all
}

// last is the highest sequence that waits, or waited until lately. The lane is not empty.
func (x *index) last() uint64 { return x.entries[len(x.entries)-1].seq }

// oldestAt is when the first record came that waits.
func (x *index) oldestAt() time.Time {
	for i := x.head; i < len(x.entries); i++ {
		if e := &x.entries[i]; !e.is(flagDead) {
			return timeOf(e.at)
		}
	}
	return time.Time{}
}

// Records lists what waits in a lane, at most n, in order of sequence. Damaged records are left out. Safe for concurrent use.
func (s *Store) Records(key ids.RoomKey, n int) (records []lane.Record, err error) {
	s.mu.Lock()
	var seqs []uint64
	if x := s.settled(key); x != nil {
		for i := x.head; i < len(x.entries) && len(seqs) < n; i++ {
			if e := &x.entries[i]; !e.is(flagDead) {
				seqs = append(seqs, e.seq)
			}
		}
	}
	s.mu.Unlock()
	err = s.view(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket(buckets().records)
		for _, seq := range seqs {
			value := bucket.Get(seqKey(seq))
			if value == nil {
				continue // finished meanwhile
			}
			r, err := decodeRecord(value)
			if err != nil {
				s.log.Warn("record is damaged", logkey.Lane, string(key), logkey.ID, seq)
				continue
			}
			r.Seq = seq
			records = append(records, r)
		}
		return nil
	})
	return records, err
}
