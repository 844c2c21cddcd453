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
	mu      sync.Mutex
	lanes   map[ids.RoomKey]*try
	pause   map[ids.UserID]time.Time
	stop    time.Time // nothing is sent before
	refused map[speaker]time.Time
}

// speaker is a user in a room.
type speaker struct {
	lane ids.RoomKey
	user ids.UserID
}

func newTries() *tries {
	return &tries{lanes: map[ids.RoomKey]*try{}, pause: map[ids.UserID]time.Time{}, refused: map[speaker]time.Time{}}
}

// So long a homeserver must say that a user may not speak in a room before it is believed: one that is about to stop says
// so of users that it cannot look up any more (seen on Dendrite).
const sureTime = 20 * time.Second

// surely notes that who was refused now, and says whether that has been so for long enough.
func (t *tries) surely(who speaker, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	first, ok := t.refused[who]
	if !ok {
		t.refused[who] = now
		return false
	}
	return now.Sub(first) >= sureTime
}

// accepted notes that who may speak.
func (t *tries) accepted(who speaker) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.refused, who)
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

// uncertain knows which records may have been sent by the process before this one. One record of a lane is in flight at a
// time, and it was the first of its kind in line: so of the records that waited at the start only the first urgent one can
// be one, the first of the others, or one that was waiting for its time. Safe for concurrent use.
type uncertain struct {
	began time.Time // when we started: what the process before us sent, it sent before

	mu    sync.Mutex
	lanes map[ids.RoomKey]*doubt
}

type doubt struct {
	last   uint64 // highest sequence at the start
	urgent bool   // the first urgent one is settled
	plain  bool   // the first that is neither urgent nor waiting for its time is settled
}

func newUncertain(lanes []lane.Status, now time.Time) *uncertain {
	u := &uncertain{began: now, lanes: map[ids.RoomKey]*doubt{}}
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
	switch {
	case d == nil || r.Seq > d.last:
		return false
	case r.Urgent:
		return !d.urgent
	default:
		return !r.NotBefore.IsZero() || !d.plain
	}
}

// looks is how many looks for a record that may have been sent before we started are not worth their while any more: after
// a while one is enough.
func (u *uncertain) looks(now time.Time) int {
	last := len(lookAt) - 1
	if now.Sub(u.began) >= lookAt[last] {
		return last
	}
	return 0
}

// settled says that r is done: of its kind none behind it was in flight.
func (u *uncertain) settled(r lane.Record) {
	u.mu.Lock()
	defer u.mu.Unlock()
	d := u.lanes[r.Lane]
	switch {
	case d == nil:
	case r.Urgent:
		d.urgent = true
	case r.NotBefore.IsZero():
		d.plain = true
	}
}
