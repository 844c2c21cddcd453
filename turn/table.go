package turn

import "github.com/pion/stun/v4"

// table holds the allocations of one worker, by 5-tuple. Only its worker touches it.
type table struct {
	byTuple map[tuple]*allocation
	list    []*allocation // the same, unordered; allocation.slot is the place in it
	swept   int           // where the next sweep begins
	recent  recent

	in  stun.Message // the message that is handled
	out answer       // and its answer
}

func newTable() *table { return &table{byTuple: map[tuple]*allocation{}} }

// find is the allocation of a 5-tuple, or nil. It may have expired since the last sweep; see allocation.expires.
func (t *table) find(of tuple) *allocation { return t.byTuple[of] }

// len is the number of allocations.
func (t *table) len() int { return len(t.list) }

func (t *table) add(a *allocation) {
	a.slot = len(t.list)
	t.list = append(t.list, a)
	t.byTuple[a.tuple] = a
}

// drop takes a out; what it holds of the shared quotas and ports is the handler's to give back.
func (t *table) drop(a *allocation) {
	last := t.list[len(t.list)-1]
	t.list[a.slot], last.slot = last, a.slot
	t.list[len(t.list)-1] = nil
	t.list = t.list[:len(t.list)-1]
	delete(t.byTuple, a.tuple)
}
