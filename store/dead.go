package store

import (
	"bytes"
	"fmt"
	"math"
	"time"

	"go.etcd.io/bbolt"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
)

// So many dead letters are kept, the newest, and no more bytes of them than an eighth of MaxSize.
const maxDead = 1000

// appendDead appends a dead letter as it is sealed: its reason and time, then the stored record.
func appendDead(dst []byte, d *lane.DeadLetter) []byte {
	dst = appendString(dst, d.Reason)
	dst = appendTime(dst, d.At)
	return appendRecord(dst, &d.Record)
}

func decodeDead(seq uint64, sealed []byte) (d lane.DeadLetter, err error) {
	payload, err := unseal(sealed)
	if err != nil {
		return d, err
	}
	r := newDecoder(payload[:min(len(payload), maxReason+32)])
	d.Seq, d.Reason, d.At = seq, r.string(), r.time()
	if r.bad {
		return d, errDamaged
	}
	d.Record, err = decodeRecord(payload[min(len(payload), maxReason+32)-len(r.b):])
	d.Lane = d.Record.Lane
	return d, err
}

// maxReason is how much of a reason is kept, in bytes.
const maxReason = 1 << 10

// bury makes a dead letter of a record and takes that out of its lane. A record that has left its lane already is left
// alone; one with Seq 0 never was in a lane.
func (b *batch) bury(d lane.DeadLetter) error {
	if d.Record.Seq != 0 {
		x := b.s.lanes[d.Record.Lane]
		if x == nil {
			return nil
		}
		if _, ok := x.find(d.Record.Seq); !ok {
			return nil
		}
		if err := b.finishRecord(lane.Ref{Lane: d.Record.Lane, Seq: d.Record.Seq}); err != nil {
			return err
		}
	}
	d.Reason = d.Reason[:min(len(d.Reason), maxReason)]
	if d.At.IsZero() {
		d.At = b.now
	}
	dead := b.tx.Bucket(buckets().dead)
	seq, err := dead.NextSequence()
	if err != nil {
		return err
	}
	value := b.keep(func(dst []byte) []byte {
		start := len(dst)
		dst = appendDead(append(dst, formatPlain, 0, 0, 0, 0), &d)
		finishSeal(dst[start:])
		return dst
	})
	if err := dead.Put(seqKey(seq), value); err != nil {
		return err
	}
	b.s.dead.n++
	b.s.dead.bytes += int64(len(value))
	for b.s.dead.n > maxDead || b.s.dead.bytes > b.s.opts.MaxSize/8 && b.s.dead.n > 1 {
		k, v := dead.Cursor().First()
		if k == nil {
			break
		}
		b.deadOut++
		if err := b.dropDead(dead, k, v); err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) dropDead(dead *bbolt.Bucket, k, v []byte) error {
	b.s.dead.n--
	b.s.dead.bytes -= int64(len(v))
	return dead.Delete(bytes.Clone(k))
}

// DeadLetters lists dead letters after a sequence, at most n, in order. Safe for concurrent use.
func (s *Store) DeadLetters(after uint64, n int) (letters []lane.DeadLetter, err error) {
	if after == math.MaxUint64 {
		return nil, nil
	}
	name := buckets().dead
	var damaged [][]byte
	err = s.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(name).Cursor()
		for k, v := c.Seek(seqKey(after + 1)); k != nil && len(letters) < n; k, v = c.Next() {
			seq, ok := keySeq(k)
			d, err := decodeDead(seq, v)
			if !ok || err != nil {
				damaged = append(damaged, bytes.Clone(k))
				continue
			}
			letters = append(letters, d)
		}
		return nil
	})
	s.dropDamaged(name, damaged, func(k, v []byte) bool { _, err := decodeDead(0, v); return err != nil || len(k) != 8 })
	return letters, err
}

// DeadLetter is the one with that sequence; ok is false when there is none. Safe for concurrent use.
func (s *Store) DeadLetter(seq uint64) (d lane.DeadLetter, ok bool, err error) {
	if seq == 0 {
		return d, false, nil
	}
	letters, err := s.DeadLetters(seq-1, 1)
	if err != nil || len(letters) == 0 || letters[0].Seq != seq {
		return d, false, err
	}
	return letters[0], true, nil
}

// Retry puts a dead letter at the end of its lane, as a new record: a retry by a person is a new send, so it has a new ID,
// no expiry, and may be sent at once. ErrNotFound when there is no such letter. Safe for concurrent use.
func (s *Store) Retry(seq uint64) error {
	damaged := false
	err := s.editDead(seq, func(b *batch, value []byte) error {
		d, err := decodeDead(seq, value)
		if damaged = err != nil; damaged {
			return b.putAside(buckets().dead, seqKey(seq), value, "checksum")
		}
		r := d.Record
		r.Seq, r.ID, r.Expires, r.NotBefore = 0, ids.NewULID(b.now), time.Time{}, time.Time{}
		return b.append(&r)
	})
	if err == nil && damaged {
		return fmt.Errorf("%w: dead letter %d was set aside", errDamaged, seq)
	}
	return err
}

// Drop deletes a dead letter; ErrNotFound when there is no such letter. Safe for concurrent use.
func (s *Store) Drop(seq uint64) error {
	return s.editDead(seq, func(*batch, []byte) error { return nil })
}

// editDead commits what f makes of a dead letter, and its end.
func (s *Store) editDead(seq uint64, f func(b *batch, value []byte) error) error {
	found := false
	r := s.request(func(b *batch) error {
		dead := b.tx.Bucket(buckets().dead)
		value := dead.Get(seqKey(seq))
		if found = value != nil; !found {
			return nil
		}
		if err := f(b, value); err != nil {
			return err
		}
		return b.dropDead(dead, seqKey(seq), value)
	}, 1, 0)
	r.relief = true
	if err := s.do(r); err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("%w: dead letter %d", ErrNotFound, seq)
	}
	return nil
}
