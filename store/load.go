package store

import (
	"bytes"
	"fmt"
	"runtime/debug"

	"go.etcd.io/bbolt"

	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/internal/logkey"
)

// guard runs f, which reads pages. bbolt panics or faults on mangled ones; that comes back as ErrCorrupt.
func guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %w: %v", ErrCorrupt, errPanic, p)
		}
	}()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	return f()
}

// load builds what is kept in memory from the file: the index of the lanes and a few counts. It reads heads only. The keys
// of records whose head is damaged come back.
func (s *Store) load(tx *bbolt.Tx) (damaged [][]byte, err error) {
	names := buckets()
	for _, name := range names.all() {
		if tx.Bucket(name) == nil {
			return nil, fmt.Errorf("%w: bucket %s is missing", ErrCorrupt, name)
		}
	}
	s.lanes = map[ids.RoomKey]*index{}
	records := tx.Bucket(names.records)
	s.lastSeq = records.Sequence()
	err = records.ForEach(func(k, v []byte) error {
		seq, ok := keySeq(k)
		e, key, err := s.entryOf(seq, v)
		if !ok || err != nil {
			damaged = append(damaged, bytes.Clone(k))
			return nil
		}
		x := s.lanes[ids.RoomKey(key)]
		if x == nil {
			x = newIndex(ids.RoomKey(key))
			s.lanes[x.key] = x
		}
		x.push(e)
		s.lastSeq = max(s.lastSeq, seq)
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.damaged = int(tx.Bucket(names.damaged).Sequence())
	s.dead = deadCount{}
	return damaged, tx.Bucket(names.dead).ForEach(func(_, v []byte) error {
		s.dead.n++
		s.dead.bytes += int64(len(v))
		return nil
	})
}

// entryOf makes the entry of a stored record, by its head alone.
func (s *Store) entryOf(seq uint64, value []byte) (e entry, key string, err error) {
	hb, _, err := splitRecord(value)
	if err != nil {
		return e, "", err
	}
	h, err := decodeHead(hb)
	if err != nil {
		return e, "", err
	}
	e = entry{
		seq: seq, at: h.at, expires: h.expires, after: h.after, size: clamp32(len(value)), count: clamp32(h.count),
		class: h.class, flags: h.flags & (flagUrgent | flagGap | flagDigest),
	}
	if e.counts() {
		e.merge = mergeHash(s.seed, h.class, h.device, h.key)
	}
	return e, h.lane, nil
}

// rebuild makes the index again after a transaction that was not written. What is in flight stays so.
func (s *Store) rebuild(b *batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.lanes
	err := guard(func() error {
		return s.db.View(func(tx *bbolt.Tx) error {
			_, err := s.load(tx)
			return err
		})
	})
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrFatal, err)
		s.failed.CompareAndSwap(nil, &err)
	}
	for key, old := range before {
		x := s.lanes[key]
		if x == nil {
			continue
		}
		for i := range old.entries {
			e := &old.entries[i]
			if pos, ok := x.find(e.seq); ok && e.is(flagTried) && e.seq != old.inFlight {
				x.take(pos)
				x.release()
			}
		}
		if pos, ok := x.find(old.inFlight); ok && old.inFlight != 0 {
			x.take(pos)
		}
	}
	b.touched = b.touched[:0]
	s.metrics.recount(s.lanes)
	s.idle.Broadcast()
}

// setDamagedAside moves records with a damaged head away; no lane knows of them.
func (s *Store) setDamagedAside(keys [][]byte) {
	for _, key := range keys {
		s.log.Error("damaged record found, its lane cannot be told", logkey.ID, fmt.Sprintf("%x", key))
	}
	s.dropDamaged(buckets().records, keys, func(k, v []byte) bool {
		_, ok := keySeq(k)
		_, _, err := s.entryOf(0, v)
		return !ok || err != nil
	})
}

// deadCount is what the dead letters come to.
type deadCount struct {
	n     int
	bytes int64
}
