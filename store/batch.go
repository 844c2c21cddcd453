package store

import (
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/internal/logkey"
)

// batch is one transaction in the making. There is one at a time; it belongs to the leader of the queue, and what it does
// to the index happens under Store.mu.
type batch struct {
	s       *Store
	tx      *bbolt.Tx
	now     time.Time
	records *bbolt.Bucket
	spaces  *bbolt.Bucket

	arena   arena
	first   uint64 // the record sequence before this batch
	touched []*index
	woken   []ids.RoomKey
	evicted map[ids.RoomKey]int
	dropped int // messages counted in gap markers
	aside   []setAside
	deadOut int
}

// setAside is a damaged value that this batch found.
type setAside struct {
	bucket, reason string
	seq            uint64
}

func (b *batch) begin(s *Store, tx *bbolt.Tx, now time.Time) {
	names := buckets()
	b.s, b.tx, b.now = s, tx, now
	b.records, b.spaces = tx.Bucket(names.records), tx.Bucket(names.spaces)
	b.records.FillPercent = appendFill
	b.first = s.lastSeq
	b.touched, b.woken, b.aside, b.dropped, b.deadOut = b.touched[:0], b.woken[:0], b.aside[:0], 0, 0
	clear(b.evicted)
	b.arena.reset()
}

// appendFill is how full pages are packed that are only ever added to at the end.
const appendFill = 0.95

// keep gives room for an encoded value that lives until the transaction has ended. f appends to what it gets.
func (b *batch) keep(f func(dst []byte) []byte) []byte { return b.arena.keep(f) }

// lane is the index of a lane that this batch is going to change; made if there is none.
func (b *batch) lane(key ids.RoomKey) *index {
	x := b.s.lanes[key]
	if x == nil {
		x = newIndex(key)
		b.s.lanes[key] = x
	}
	b.touch(x)
	return x
}

func (b *batch) touch(x *index) {
	if !x.busy {
		x.busy = true
		b.touched = append(b.touched, x)
	}
}

// change applies one lane.Change. What it takes away goes first, to make room for the rest.
func (b *batch) change(c *lane.Change) error {
	for _, item := range c.Put {
		if err := b.put(item); err != nil {
			return err
		}
	}
	for _, ref := range c.Finish {
		if err := b.finishRecord(ref); err != nil {
			return err
		}
	}
	for i := range c.Bury {
		if err := b.bury(c.Bury[i]); err != nil {
			return err
		}
	}
	if len(c.Handled) > 0 {
		inbox := b.tx.Bucket(buckets().inbox)
		for _, seq := range c.Handled {
			if err := inbox.Delete(seqKey(seq)); err != nil {
				return err
			}
		}
	}
	for i := range c.Append {
		if err := b.append(&c.Append[i]); err != nil {
			return err
		}
	}
	return nil
}

// finish writes what holds for the batch as a whole.
func (b *batch) finish() error {
	if b.s.lastSeq != b.first {
		return b.records.SetSequence(b.s.lastSeq)
	}
	return nil
}

// settle makes what the batch did to the index visible, after the transaction is durable. Under Store.mu.
func (b *batch) settle() {
	for _, x := range b.touched {
		x.busy = false
		b.s.metrics.count(x)
		if x.size() == 0 {
			delete(b.s.lanes, x.key)
		}
	}
	b.s.idle.Broadcast()
	b.s.metrics.show()
	b.s.damaged += len(b.aside)
	b.s.metrics.deadLetters.Set(float64(b.s.dead.n))
}

// tell lets others know what became durable. Without locks.
func (b *batch) tell() {
	s := b.s
	for _, a := range b.aside {
		s.log.Error("damaged value set aside", logkey.Part, a.bucket, logkey.ID, a.seq, logkey.Reason, a.reason)
		s.metrics.damaged.Inc()
	}
	if b.dropped > 0 {
		s.metrics.gapRecords.Add(float64(b.dropped))
	}
	if b.deadOut > 0 {
		s.log.Warn("oldest dead letters dropped, there are too many", logkey.Count, b.deadOut)
	}
	for key, n := range b.evicted {
		if s.opts.OnEvict != nil {
			s.opts.OnEvict(key, n)
		}
	}
	if wake := s.wake.Load(); wake != nil {
		slices.Sort(b.woken)
		for _, key := range slices.Compact(b.woken) {
			(*wake)(key)
		}
	}
}
