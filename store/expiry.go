package store

import "container/heap"

// expiry is the time (nanoseconds) when the record seq of a lane expires.
type expiry struct {
	when int64
	seq  uint64
}

// expiries is a heap of them, the next on top. An expiry whose record is gone, or expires at another time by now, is
// dropped when it comes up, or when there are many of them.
type expiries []expiry

func (h expiries) Len() int           { return len(h) }
func (h expiries) Less(i, j int) bool { return h[i].when < h[j].when }
func (h expiries) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *expiries) Push(v any)        { *h = append(*h, v.(expiry)) }

func (h *expiries) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

func (h *expiries) push(e expiry, x *index) {
	if len(*h) > 64 && len(*h) > 2*x.size() {
		h.rebuild(x)
	}
	heap.Push(h, e)
}

func (h *expiries) rebuild(x *index) {
	*h = (*h)[:0]
	for i := range x.entries {
		if e := &x.entries[i]; !e.is(flagDead) && e.counts() && e.expires != 0 {
			*h = append(*h, expiry{e.expires, e.seq})
		}
	}
	heap.Init(h)
}

// first is the position of the record that expired first, if one did before now and may give way.
func (h *expiries) first(now int64, x *index) (pos int, ok bool) {
	for len(*h) > 0 && (*h)[0].when < now {
		top := (*h)[0]
		pos, ok = x.find(top.seq)
		if ok && x.entries[pos].expires == top.when && top.seq != x.inFlight && x.entries[pos].counts() {
			return pos, true
		}
		heap.Pop(h) // a record in flight comes back by release
	}
	return 0, false
}
