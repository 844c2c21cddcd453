package gateway

import (
	"sync"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
)

// heldRecords are the records whose send had no whole answer: they stay in flight in the store, so that nothing is merged
// into them, until it is known whether they arrived. Safe for concurrent use.
type heldRecords struct {
	mu    sync.Mutex
	byKey map[ids.RoomKey]*lane.Record
}

func newHeld() *heldRecords { return &heldRecords{byKey: map[ids.RoomKey]*lane.Record{}} }

func (h *heldRecords) put(r lane.Record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.byKey[r.Lane] = &r
}

func (h *heldRecords) take(key ids.RoomKey) *lane.Record {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.byKey[key]
	delete(h.byKey, key)
	return r
}

// uncertain knows which records may have been sent by the process before this one: those that were first in line when it
// started. One record of a lane is in flight at a time, so of the records that waited at the start only the first that is
// taken can be one, or the first urgent one, or one that was waiting for its time. Safe for concurrent use.
type uncertain struct {
	mu    sync.Mutex
	lanes map[ids.RoomKey]*doubt
}

type doubt struct {
	last  uint64 // highest sequence at the start
	plain bool   // the first that is neither urgent nor waiting for its time was taken
}

func newUncertain(lanes []lane.Status) *uncertain {
	u := &uncertain{lanes: map[ids.RoomKey]*doubt{}}
	for _, l := range lanes {
		u.lanes[l.Lane] = &doubt{last: l.Last}
	}
	return u
}

// may says whether r may have been sent before we started.
func (u *uncertain) may(r lane.Record) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	d := u.lanes[r.Lane]
	if d == nil || r.Seq > d.last {
		return false
	}
	return r.Urgent || !r.NotBefore.IsZero() || !d.plain
}

// settled says that r is done: of the plain ones behind it none was in flight.
func (u *uncertain) settled(r lane.Record) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if d := u.lanes[r.Lane]; d != nil && !r.Urgent && r.NotBefore.IsZero() {
		d.plain = true
	}
}
