package gateway

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
)

// try is what is known of the record that a lane is trying to send. It belongs to the worker that has the lane.
type try struct {
	id       string       // of the record
	held     *lane.Record // it stays in flight in the store, so that nothing is merged into it: nobody knows whether it arrived
	looks    int          // look-ups that found nothing
	fails    int
	settled  bool // looked for long enough: it is not there
	rejoined bool // its ghost was sent back into the room
}

// tries has the tries that did not end well, by lane, and the pauses that the homeserver asked for. Safe for concurrent use.
type tries struct {
	mu    sync.Mutex
	lanes map[ids.RoomKey]*try
	pause map[ids.UserID]time.Time
	stop  time.Time // nothing is sent before
}

func newTries() *tries {
	return &tries{lanes: map[ids.RoomKey]*try{}, pause: map[ids.UserID]time.Time{}}
}

// held takes the record of a lane of which nobody knows whether it arrived; nil when there is none.
func (t *tries) held(key ids.RoomKey) (r *lane.Record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if y := t.lanes[key]; y != nil {
		r = y.held
	}
	return r
}

// of finds the try of r, or begins it.
func (t *tries) of(r lane.Record) *try {
	t.mu.Lock()
	defer t.mu.Unlock()
	y := t.lanes[r.Lane]
	if y == nil || y.id != r.ID {
		y = &try{id: r.ID}
		t.lanes[r.Lane] = y
	}
	return y
}

func (t *tries) drop(key ids.RoomKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.lanes, key)
}

// paused says until when nothing may be sent as u.
func (t *tries) paused(u ids.UserID, now time.Time) (time.Time, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	until := t.stop
	if p := t.pause[u]; p.After(until) {
		until = p
	}
	if !until.After(now) {
		delete(t.pause, u)
		return time.Time{}, false
	}
	return until, true
}

func (t *tries) pauseUser(u ids.UserID, until time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pause[u] = until
}

func (t *tries) stopAll(until time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stop = until
}

// When an unanswered send is looked for: reads may lag behind writes, and a homeserver may still be at it.
var lookAt = []time.Duration{0, 300 * time.Millisecond, time.Second, 2 * time.Second}

// retryAfter is how long to wait after so many failures: 0.5 s, doubling to a minute, less up to a fifth.
func retryAfter(fails int) time.Duration {
	d := min(500*time.Millisecond<<min(max(fails-1, 0), 10), time.Minute)
	return d - time.Duration(rand.Int64N(int64(d)/5)) //nolint:gosec // jitter
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
