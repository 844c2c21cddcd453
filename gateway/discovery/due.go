package discovery

import (
	"container/heap"
	"time"
)

// dueHeap has the groups that something is due for, the next first.
type dueHeap []*group

func (d dueHeap) Len() int           { return len(d) }
func (d dueHeap) Less(i, j int) bool { return d[i].next.Before(d[j].next) }
func (d dueHeap) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].place, d[j].place = i, j
}

// Push is for container/heap.
func (d *dueHeap) Push(x any) {
	g := x.(*group)
	g.place = len(*d)
	*d = append(*d, g)
}

// Pop is for container/heap.
func (d *dueHeap) Pop() any {
	old := *d
	g := old[len(old)-1]
	old[len(old)-1] = nil
	*d = old[:len(old)-1]
	g.place = -1
	return g
}

// arm makes Tick look at g at a time, or earlier.
func (h *Host) arm(g *group, at time.Time) {
	switch {
	case g.place < 0:
		g.next = at
		heap.Push(&h.due, g)
	case at.Before(g.next):
		g.next = at
		heap.Fix(&h.due, g.place)
	}
}

// later makes Tick look at g again at a time; zero: not before arm.
func (h *Host) later(g *group, at time.Time) {
	switch {
	case at.IsZero():
		if g.place >= 0 {
			heap.Remove(&h.due, g.place)
		}
	case g.place < 0:
		g.next = at
		heap.Push(&h.due, g)
	default:
		g.next = at
		heap.Fix(&h.due, g.place)
	}
}

// earliest is the earlier of two times; zero is none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// work does what is due for a group, and says when something is due next.
func (h *Host) work(g *group, now time.Time) (next time.Time) {
	switch g.stage {
	case fresh:
		at := earliest(g.changed.Add(settleTime), g.began.Add(settleMost))
		if at.After(now) {
			return at
		}
		return h.ripen(g, now)
	case Waiting:
		if g.tell.IsZero() || g.tell.After(now) {
			return g.tell
		}
		g.tell = time.Time{}
		h.refresh(g)
		if g.told != g.version() {
			h.untold[g] = true
			h.news.Asked = true
		}
		return time.Time{}
	case Admitted:
	default:
		return time.Time{}
	}
	if g.stale {
		h.refresh(g)
	}
	if !g.gone.IsZero() {
		if at := g.gone.Add(goneTime); at.After(now) {
			next = at
		} else {
			g.gone = time.Time{}
			h.unindex(g)
			g.bare(g.dev.Is.Name, g.dev.Is.Kind, g.dev.Is.Area)
			g.reads, g.triggers, g.avail, g.due = nil, nil, nil, nil
			h.saveGroup(g)
			h.news.Gone = append(h.news.Gone, g.id)
		}
	}
	for i := range g.due {
		switch at := g.due[i]; {
		case at.IsZero():
		case at.After(now):
			next = earliest(next, at)
		default:
			g.due[i] = time.Time{}
			h.lapse(g, i, now)
			next = earliest(next, g.due[i])
		}
	}
	return next
}
