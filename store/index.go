package store

import (
	"hash/maphash"
	"slices"
	"sort"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
)

// entry is what the index keeps in memory of one waiting record. Times are nanoseconds, 0 means none.
type entry struct {
	seq                uint64
	merge              uint64 // hash of class, device and key; 0 never merges
	at, expires, after int64  // after is NotBefore
	size               uint32 // bytes as stored
	count              uint32 // messages it stands for
	class              lane.Class
	flags              byte // of the record, and the ones below
}

const (
	flagTried = 1 << 6 // was given out by Take: may have reached the homeserver, so nothing merges into it
	flagDead  = 1 << 7 // no longer waits; its place in the slice is taken back later
)

func (e *entry) is(flag byte) bool { return e.flags&flag != 0 }

// counts says whether the bounds of the lane apply to e.
func (e *entry) counts() bool { return e.flags&(flagUrgent|flagGap) == 0 }

// index is one lane in memory. Its owner is the holder of Store.mu.
type index struct {
	key      ids.RoomKey
	entries  []entry // by seq
	dead     int     // of entries
	head     int     // everything before is dead
	inFlight uint64  // 0 none
	busy     bool    // the commit that is going on changes this lane: readers wait

	load    lane.Load
	counts  laneCounts // records by class, without gap markers
	counted laneCounts // what the metrics know of it
	bytes   int64
	urgent  int

	first      [lane.Alarm + 1]int // before it no entry of the class may give way
	expiring   expiries
	merge      map[uint64]uint64 // hash -> seq of the record that a new one merges into
	released   map[uint64]uint64 // hash -> seq of state that was tried and waits again
	superseded []uint64          // state of which a newer one waits
	gaps       []uint64          // gap markers in order
}

func newIndex(key ids.RoomKey) *index { return &index{key: key, merge: map[uint64]uint64{}} }

// size is the number of records that wait.
func (x *index) size() int { return len(x.entries) - x.dead }

// find is the position of the record seq.
func (x *index) find(seq uint64) (pos int, ok bool) {
	rest := x.entries[x.head:]
	i := sort.Search(len(rest), func(i int) bool { return rest[i].seq >= seq })
	if i == len(rest) || rest[i].seq != seq || rest[i].is(flagDead) {
		return 0, false
	}
	return x.head + i, true
}

// push adds e, whose seq is above all others, at the end.
func (x *index) push(e entry) int {
	x.entries = append(x.entries, e)
	pos := len(x.entries) - 1
	x.enter(pos)
	return pos
}

// replace puts e, which has the seq of the entry there, at pos.
func (x *index) replace(pos int, e entry) {
	x.leave(pos)
	x.entries[pos] = e
	x.enter(pos)
}

// remove takes the entry at pos away. Positions found before are void afterwards.
func (x *index) remove(pos int) {
	x.leave(pos)
	if x.inFlight == x.entries[pos].seq {
		x.inFlight = 0
	}
	x.entries[pos].flags = flagDead
	x.dead++
	for x.head < len(x.entries) && x.entries[x.head].is(flagDead) {
		x.head++
	}
	if x.dead > 64 && x.dead*2 > len(x.entries) {
		x.compact()
	}
}

// compact takes back the places of the dead, and most of the memory when few are left.
func (x *index) compact() {
	live := x.entries[:0]
	if x.size()*4 < cap(x.entries) {
		live = make([]entry, 0, x.size()*2)
	}
	for _, e := range x.entries {
		if !e.is(flagDead) {
			live = append(live, e)
		}
	}
	x.entries, x.dead, x.head = live, 0, 0
	clear(x.first[:])
}

// enter counts the entry at pos.
func (x *index) enter(pos int) {
	e := &x.entries[pos]
	x.bytes += int64(e.size)
	switch {
	case e.is(flagGap):
		i, _ := slices.BinarySearch(x.gaps, e.seq)
		x.gaps = slices.Insert(x.gaps, i, e.seq)
		return
	case e.is(flagUrgent):
		x.urgent++
		x.counts[e.class]++
		return
	}
	x.counts[e.class]++
	x.load.Add(e.class, 1, int64(e.size))
	x.first[e.class] = min(x.first[e.class], pos)
	if e.expires != 0 {
		x.expiring.push(expiry{e.expires, e.seq}, x)
	}
	if e.merge == 0 {
		return
	}
	if e.class == lane.State {
		for _, old := range []map[uint64]uint64{x.merge, x.released} {
			if seq, ok := old[e.merge]; ok && seq != e.seq {
				x.superseded = append(x.superseded, seq)
				delete(old, e.merge)
			}
		}
	}
	if !e.is(flagTried) {
		x.merge[e.merge] = e.seq
	}
}

// leave is the opposite of enter.
func (x *index) leave(pos int) {
	e := &x.entries[pos]
	x.bytes -= int64(e.size)
	switch {
	case e.is(flagGap):
		if i, ok := slices.BinarySearch(x.gaps, e.seq); ok {
			x.gaps = slices.Delete(x.gaps, i, i+1)
		}
		return
	case e.is(flagUrgent):
		x.urgent--
		x.counts[e.class]--
		return
	}
	x.counts[e.class]--
	x.load.Add(e.class, -1, -int64(e.size))
	for _, m := range []map[uint64]uint64{x.merge, x.released} {
		if m[e.merge] == e.seq {
			delete(m, e.merge)
		}
	}
	x.superseded = slices.DeleteFunc(x.superseded, func(seq uint64) bool { return seq == e.seq })
}

// take marks the entry at pos as in flight: nothing merges into it from now on, and it does not give way.
func (x *index) take(pos int) {
	e := &x.entries[pos]
	x.inFlight = e.seq
	e.flags |= flagTried
	if x.merge[e.merge] == e.seq {
		delete(x.merge, e.merge)
	}
}

// release lets the record in flight wait again.
func (x *index) release() {
	pos, ok := x.find(x.inFlight)
	x.inFlight = 0
	if !ok {
		return
	}
	e := &x.entries[pos]
	if !e.counts() {
		return
	}
	x.first[e.class] = min(x.first[e.class], pos)
	if e.expires != 0 {
		x.expiring.push(expiry{e.expires, e.seq}, x)
	}
	if e.class != lane.State || e.merge == 0 || slices.Contains(x.superseded, e.seq) {
		return
	}
	if _, newer := x.merge[e.merge]; newer {
		x.superseded = append(x.superseded, e.seq)
		return
	}
	if x.released == nil {
		x.released = map[uint64]uint64{}
	}
	x.released[e.merge] = e.seq
}

// next is the record to be sent now, if there is one: the first urgent one, else the first that may be sent. expired says
// that its time is over. Otherwise later is when the first may be sent, 0 for not at all.
func (x *index) next(now int64) (pos int, expired, ok bool, later int64) {
	urgentLeft := x.urgent > 0
	for pass := 0; pass < 2; pass++ {
		if pass == 0 && !urgentLeft {
			continue
		}
		for i := x.head; i < len(x.entries); i++ {
			e := &x.entries[i]
			if e.is(flagDead) || e.is(flagUrgent) != (pass == 0) {
				continue
			}
			if e.expires != 0 && e.expires < now {
				return i, true, true, 0
			}
			if e.after <= now {
				return i, false, true, 0
			}
			if later == 0 || e.after < later {
				later = e.after
			}
		}
	}
	return 0, false, false, later
}

// oldest is the position of the first record of class c that may give way.
func (x *index) oldest(c lane.Class) (pos int, ok bool) {
	for i := max(x.first[c], x.head); i < len(x.entries); i++ {
		e := &x.entries[i]
		if !e.is(flagDead) && e.counts() && e.class == c && e.seq != x.inFlight {
			x.first[c] = i
			return i, true
		}
	}
	x.first[c] = len(x.entries)
	return 0, false
}

// victim is the position of the first record of a rank that may give way.
func (x *index) victim(r lane.Rank, now int64) (pos int, ok bool) {
	switch r {
	case lane.RankExpired:
		return x.expiring.first(now, x)
	case lane.RankTelemetry:
		return x.oldest(lane.Telemetry)
	case lane.RankSuperseded:
		for _, seq := range x.superseded {
			if pos, ok := x.find(seq); ok && seq != x.inFlight {
				return pos, true
			}
		}
		return 0, false
	case lane.RankState:
		return x.oldest(lane.State)
	case lane.RankEvent:
		return x.oldest(lane.Event)
	default:
		return x.oldest(lane.Alarm)
	}
}

// neighbours are the positions of the gap markers right before and after pos that more may be counted in; -1 for none.
// Urgent records are looked over: they have an order of their own.
func (x *index) neighbours(pos int) (before, after int) {
	before, after = -1, -1
	for i := pos - 1; i >= x.head; i-- {
		if e := &x.entries[i]; !e.is(flagDead | flagUrgent) {
			if x.open(e) {
				before = i
			}
			break
		}
	}
	for i := pos + 1; i < len(x.entries); i++ {
		if e := &x.entries[i]; !e.is(flagDead | flagUrgent) {
			if x.open(e) {
				after = i
			}
			break
		}
	}
	return before, after
}

// open says whether e is a gap marker in which more may be counted.
func (x *index) open(e *entry) bool {
	return e.is(flagGap) && !e.is(flagTried|flagDead) && e.seq != x.inFlight
}

// mergeHash names what a record may merge with. It is never 0, and the same only within one process.
func mergeHash(seed maphash.Seed, c lane.Class, device, key string) uint64 {
	if key == "" || c != lane.State && c != lane.Telemetry {
		return 0
	}
	var h maphash.Hash
	h.SetSeed(seed)
	_ = h.WriteByte(byte(c))
	_, _ = h.WriteString(device)
	_ = h.WriteByte(0)
	_, _ = h.WriteString(key)
	return h.Sum64() | 1
}
