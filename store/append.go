package store

import (
	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
)

// append puts r at the end of its lane, or into the record that it merges with, and makes the lane keep its bounds.
func (b *batch) append(r *lane.Record) error {
	x := b.lane(r.Lane)
	b.woken = append(b.woken, r.Lane)
	hash := mergeHash(b.s.seed, r.Class, string(r.Device), r.Key)
	if hash != 0 && r.Mergeable() {
		if merged, err := b.merge(x, hash, r); merged || err != nil {
			return err
		}
	}
	b.s.lastSeq++
	e, err := b.write(b.s.lastSeq, r)
	if err != nil {
		return err
	}
	pos := x.push(e)
	if !e.is(flagGap) && !b.s.bounds.Fits(e.class, int64(e.size)) {
		return b.giveWay(x, pos, false)
	}
	return b.shrink(x)
}

// write stores r under seq and returns its entry for the index.
func (b *batch) write(seq uint64, r *lane.Record) (entry, error) {
	value := b.keep(func(dst []byte) []byte { return appendRecord(dst, r) })
	e := entry{
		seq: seq, at: nanos(r.At), expires: nanos(r.Expires), after: nanos(r.NotBefore), size: clamp32(len(value)),
		count: clamp32(r.Count()), class: r.Class, flags: recordFlags(r),
	}
	if r.Mergeable() {
		e.merge = mergeHash(b.s.seed, r.Class, string(r.Device), r.Key)
	}
	return e, b.records.Put(seqKey(seq), value)
}

// merge merges r into the record of the same reading that waits, if there is one.
func (b *batch) merge(x *index, hash uint64, r *lane.Record) (merged bool, err error) {
	seq, ok := x.merge[hash]
	if !ok {
		return false, nil
	}
	pos, ok := x.find(seq)
	if !ok {
		return false, nil
	}
	older, err := b.read(x, pos)
	if err != nil || older.Seq == 0 {
		return false, err
	}
	sum, ok := lane.Merge(older, *r)
	if !ok {
		return false, nil
	}
	e, err := b.write(seq, &sum)
	if err != nil {
		return false, err
	}
	x.replace(pos, e)
	return true, b.shrink(x) // it may be larger than before
}

// read is the record at pos. A damaged one is set aside, leaves a gap, and comes back with Seq 0.
func (b *batch) read(x *index, pos int) (lane.Record, error) {
	e := x.entries[pos]
	value := b.records.Get(seqKey(e.seq))
	r, err := decodeRecord(value)
	if err == nil {
		r.Seq = e.seq
		return r, nil
	}
	return lane.Record{}, b.spoiled(x, pos, value)
}

// spoiled sets a damaged record aside and leaves a gap at its place; the index still knows what that needs.
func (b *batch) spoiled(x *index, pos int, value []byte) error {
	e := x.entries[pos]
	if e.is(flagGap) {
		gap, err := b.gapAt(x, pos)
		if err != nil {
			return err
		}
		return b.joinAt(x, []uint64{e.seq}, gap)
	}
	if err := b.putAside(buckets().records, seqKey(e.seq), value, "checksum"); err != nil {
		return err
	}
	return b.evict(x, pos, false)
}

// finishRecord takes a record out of its lane. It is no mistake if it has gone already.
func (b *batch) finishRecord(ref lane.Ref) error {
	x := b.s.lanes[ref.Lane]
	if x == nil {
		return nil
	}
	pos, ok := x.find(ref.Seq)
	if !ok {
		return nil
	}
	b.touch(x)
	return b.drop(x, pos)
}

// drop takes the record at pos out of file and index.
func (b *batch) drop(x *index, pos int) error {
	err := b.records.Delete(seqKey(x.entries[pos].seq))
	x.remove(pos)
	return err
}

// shrink lets records give way until the lane keeps its bounds.
func (b *batch) shrink(x *index) error {
	now := nanos(b.now)
	for {
		pos := 0
		rank, ok := b.s.bounds.Victim(x.load, func(r lane.Rank) (found bool) {
			pos, found = x.victim(r, now)
			return found
		})
		if !ok {
			return nil
		}
		if err := b.giveWay(x, pos, rank == lane.RankExpired); err != nil {
			return err
		}
	}
}

// giveWay evicts the record at pos because the lane has no room for it, which OnEvict is told.
func (b *batch) giveWay(x *index, pos int, expired bool) error {
	if b.evicted == nil {
		b.evicted = map[ids.RoomKey]int{}
	}
	b.evicted[x.key] += int(x.entries[pos].count)
	return b.evict(x, pos, expired)
}

// evict drops the record at pos and counts it in a gap marker at its place. A run of drops is one marker; it stands where
// the last of them stood, so that it comes after all that it counts.
func (b *batch) evict(x *index, pos int, expired bool) error {
	e := x.entries[pos]
	gap := lane.Dropped(b.outline(&e), expired)
	b.dropped += gap.Count()
	chain := make([]uint64, 0, 3) // sequences, not positions: removing one entry moves the others
	before, after := x.neighbours(pos)
	if before >= 0 {
		chain = append(chain, x.entries[before].seq)
		old, err := b.gapAt(x, before)
		if err != nil {
			return err
		}
		gap = gap.Join(old)
	}
	chain = append(chain, e.seq)
	if after >= 0 {
		chain = append(chain, x.entries[after].seq)
		old, err := b.gapAt(x, after)
		if err != nil {
			return err
		}
		gap = gap.Join(old)
	}
	if err := b.joinAt(x, chain, gap); err != nil {
		return err
	}
	return b.fewerGaps(x)
}

// outline is what a gap needs to know of the record of e. Only a digest has to be read for it.
func (b *batch) outline(e *entry) lane.Record {
	if e.is(flagDigest) {
		if r, err := decodeRecord(b.records.Get(seqKey(e.seq))); err == nil {
			return r
		}
	}
	r := lane.Record{Class: e.class, At: timeOf(e.at)}
	if e.count > 1 {
		r.Digest = &lane.Digest{N: int(e.count), Since: r.At}
	}
	return r
}

// gapAt is what the marker at pos counts. Of a damaged one the index knows the number and the worst class.
func (b *batch) gapAt(x *index, pos int) (lane.Gap, error) {
	e := x.entries[pos]
	value := b.records.Get(seqKey(e.seq))
	if r, err := decodeRecord(value); err == nil && r.Gap != nil {
		return *r.Gap, nil
	}
	return lane.Dropped(b.outline(&e), false), b.putAside(buckets().records, seqKey(e.seq), value, "checksum")
}

// joinAt makes one marker of all the entries of chain, at the place of the last.
func (b *batch) joinAt(x *index, chain []uint64, gap lane.Gap) error {
	last := len(chain) - 1
	for _, seq := range chain[:last] {
		if pos, ok := x.find(seq); ok {
			if err := b.drop(x, pos); err != nil {
				return err
			}
		}
	}
	e, err := b.write(chain[last], &lane.Record{Lane: x.key, ID: ids.NewULID(b.now), Class: gap.Worst(), At: gap.To, Gap: &gap})
	if err != nil {
		return err
	}
	if pos, ok := x.find(chain[last]); ok {
		x.replace(pos, e)
	}
	return nil
}

// fewerGaps joins the two oldest markers while there are too many, whatever stands between them.
func (b *batch) fewerGaps(x *index) error {
	for len(x.gaps) > b.s.bounds.MaxGapMarkers {
		pair, gap := make([]uint64, 0, 2), lane.Gap{}
		for _, seq := range x.gaps {
			pos, ok := x.find(seq)
			if !ok || !x.open(&x.entries[pos]) {
				continue
			}
			one, err := b.gapAt(x, pos)
			if err != nil {
				return err
			}
			gap = gap.Join(one)
			if pair = append(pair, seq); len(pair) == 2 {
				break
			}
		}
		if len(pair) < 2 {
			return nil
		}
		if err := b.joinAt(x, pair, gap); err != nil {
			return err
		}
	}
	return nil
}

func clamp32(n int) uint32 { return uint32(min(n, 1<<31-1)) }
