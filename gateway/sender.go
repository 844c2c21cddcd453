package gateway

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/internal/logkey"
)

// The sender drains the lanes: one record of a lane is in flight at a time, and workers take the lanes in turn. One
// dispatcher goroutine owns the schedule; workers send, commit what came of it, and report when the lane may go on.
const workers = 4

// sender is the schedule. wake may be called from everywhere; the rest belongs to the dispatcher goroutine.
type sender struct {
	g *Gateway

	mu    sync.Mutex
	woken map[ids.RoomKey]bool
	bell  chan struct{}

	ready  []ids.RoomKey // in the order in which they may go
	state  map[ids.RoomKey]*laneState
	free   int
	work   chan ids.RoomKey
	result chan laneResult
}

// laneState is what the dispatcher knows of a lane that is not simply idle.
type laneState struct {
	busy, queued, again bool // with a worker; in ready; woken while busy
	rest                rest
}

// rest says when a lane goes on.
type rest struct {
	until time.Time // zero: when woken
	firm  bool      // not before, even if woken: somebody asked for the pause
}

type laneResult struct {
	key  ids.RoomKey
	rest rest
}

func newSender(g *Gateway) *sender {
	return &sender{g: g, woken: map[ids.RoomKey]bool{}, bell: make(chan struct{}, 1), state: map[ids.RoomKey]*laneState{},
		free: workers, work: make(chan ids.RoomKey), result: make(chan laneResult, workers)}
}

// wake says that a lane may have something to send. It does not block.
func (s *sender) wake(key ids.RoomKey) {
	s.mu.Lock()
	s.woken[key] = true
	s.mu.Unlock()
	select {
	case s.bell <- struct{}{}:
	default:
	}
}

func (s *sender) run(ctx context.Context) {
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			w := &worker{g: s.g, tries: s.g.tries}
			for key := range s.work {
				s.result <- laneResult{key, w.sendNext(ctx, key)}
			}
		})
	}
	timer := time.NewTimer(time.Hour)
	for _, l := range s.g.store.Lanes() {
		s.wake(l.Lane)
	}
	for ctx.Err() == nil {
		now := time.Now()
		timer.Reset(s.release(now).Sub(now))
		var work chan ids.RoomKey
		var first ids.RoomKey
		if s.free > 0 && len(s.ready) > 0 {
			work, first = s.work, s.ready[0]
		}
		select {
		case <-ctx.Done():
		case work <- first:
			s.ready = s.ready[1:]
			s.free--
			st := s.state[first]
			st.queued, st.busy = false, true
		case r := <-s.result:
			s.free++
			st := s.state[r.key]
			again := st.again
			st.busy, st.again, st.rest = false, false, r.rest
			if again {
				s.enqueue(r.key, st)
			} else if r.rest.until.IsZero() {
				delete(s.state, r.key)
			}
		case <-s.bell:
			s.mu.Lock()
			woken := s.woken
			s.woken = map[ids.RoomKey]bool{}
			s.mu.Unlock()
			for key := range woken {
				st := s.state[key]
				if st == nil {
					st = &laneState{}
					s.state[key] = st
				}
				s.enqueue(key, st)
			}
		case <-timer.C:
		}
	}
	timer.Stop()
	close(s.work)
	for s.free < workers { // workers end with ctx
		<-s.result
		s.free++
	}
	wg.Wait()
}

func (s *sender) enqueue(key ids.RoomKey, st *laneState) {
	switch {
	case st.busy:
		st.again = true
	case !st.queued && !st.rest.firm:
		st.queued, st.rest = true, rest{}
		s.ready = append(s.ready, key)
	}
}

// release makes ready what has waited long enough, and says when to look again.
func (s *sender) release(now time.Time) time.Time {
	next := now.Add(time.Hour)
	for key, st := range s.state {
		if st.busy || st.queued || st.rest.until.IsZero() {
			continue
		}
		if !st.rest.until.After(now) {
			st.rest.firm = false
			s.enqueue(key, st)
		} else if st.rest.until.Before(next) {
			next = st.rest.until
		}
	}
	return next
}

// tries is what is known of sends that did not end well, by content id. Safe for concurrent use.
type tries struct {
	mu    sync.Mutex
	byID  map[string]*try
	pause map[ids.UserID]time.Time
	stop  time.Time // nothing is sent before
}

type try struct {
	held    bool // kept in flight: nobody knows whether it arrived
	looks   int  // look-ups that found nothing
	fails   int
	settled bool // looked for long enough: it is not there
}

func newTries() *tries { return &tries{byID: map[string]*try{}, pause: map[ids.UserID]time.Time{}} }

// of finds the try of r, or begins it.
func (t *tries) of(r lane.Record) *try {
	t.mu.Lock()
	defer t.mu.Unlock()
	y := t.byID[r.ID]
	if y == nil {
		y = &try{}
		t.byID[r.ID] = y
	}
	return y
}

func (t *tries) drop(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byID, id)
}

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

// When an unanswered send is looked for: reads may lag behind writes, and a homeserver may still be at it.
var lookAt = []time.Duration{0, 300 * time.Millisecond, time.Second, 2 * time.Second}

// worker sends for the lanes it is given, one at a time.
type worker struct {
	g     *Gateway
	tries *tries
}

// sendNext sends the next record of a lane and says when the lane goes on.
func (w *worker) sendNext(ctx context.Context, key ids.RoomKey) rest {
	g, now := w.g, w.g.now()
	r, next, ok := w.take(key, now)
	if !ok {
		return rest{until: next}
	}
	user := g.who.Load().user(r.Device)
	t := w.tries.of(r)
	if until, yes := w.tries.paused(user, now); yes {
		w.giveBack(r, t)
		return rest{until, true}
	}
	id, err := g.rooms.ensure(ctx, key, r.Device)
	if err != nil {
		return w.failed(ctx, r, t, user, lane.OutcomeOf(err), true)
	}
	if r.Post.Kind == lane.Room && r.Gap == nil {
		return w.done(ctx, r, "")
	}
	if r.Gap != nil {
		r.Post = gapPost(r.Gap, g.zone)
	}
	r.Post = sumUp(r.Post, r.Digest)
	if t.held || !t.settled && g.uncertain.may(r) {
		e, found, err := w.look(ctx, id, user, r)
		switch {
		case err != nil && ctx.Err() == nil:
			w.hold(r, t)
			g.log.Info("an unanswered send could not be looked for", logkey.Lane, key, logkey.Error, err)
			t.fails++
			return rest{now.Add(retryAfter(t.fails)), true}
		case found:
			g.metrics.lookups.Inc("found")
			return w.done(ctx, r, e)
		case t.looks+1 < len(lookAt):
			t.looks++
			w.hold(r, t)
			return rest{now.Add(lookAt[t.looks] - lookAt[t.looks-1]), true}
		}
		g.metrics.lookups.Inc("missing")
		t.settled, t.held = true, false
	}
	out := g.matrix.Send(ctx, id, user, r)
	if out.Verdict == lane.Done {
		return w.done(ctx, r, out.Event)
	}
	return w.failed(ctx, r, t, user, out, false)
}

// take gives the record that is held in flight because its answer was not seen, or else the lane's next.
func (w *worker) take(key ids.RoomKey, now time.Time) (r lane.Record, next time.Time, ok bool) {
	if h := w.g.held.take(key); h != nil {
		return *h, time.Time{}, true
	}
	r, ok, next, err := w.g.store.Take(key, now)
	if err != nil {
		w.g.log.Error("a lane can't be read", logkey.Lane, key, logkey.Error, err)
		return r, now.Add(time.Minute), false
	}
	return r, next, ok
}

func (w *worker) look(ctx context.Context, id ids.RoomID, user ids.UserID, r lane.Record) (ids.EventID, bool, error) {
	if e, ok := w.g.shown.get(r.ID); ok {
		return e, true, nil
	}
	return w.g.matrix.Find(ctx, id, user, r)
}

// hold keeps r in flight until it is known whether it arrived.
func (w *worker) hold(r lane.Record, t *try) {
	t.held = true
	w.g.held.put(r)
}

// giveBack lets others have r again, unless it may have arrived.
func (w *worker) giveBack(r lane.Record, t *try) {
	if t.held {
		w.g.held.put(r)
		return
	}
	w.g.store.Release(lane.Ref{Lane: r.Lane, Seq: r.Seq})
}

// done takes a record out of its lane because event e shows it.
func (w *worker) done(ctx context.Context, r lane.Record, e ids.EventID) rest {
	w.tries.drop(r.ID)
	w.g.uncertain.settled(r)
	w.g.state.sending(nil)
	w.commit(ctx, r, lane.Change{Finish: []lane.Ref{{Lane: r.Lane, Seq: r.Seq}}}, e)
	return rest{until: w.g.now()}
}

// commit records what came of r. Records that show a command go through the router, which owns the command.
func (w *worker) commit(ctx context.Context, r lane.Record, c lane.Change, e ids.EventID) {
	var err error
	if r.Post.Kind == lane.Reaction && r.Post.Command != "" && e != "" {
		err = w.g.inside(ctx, func(b *batch) {
			b.change.Finish = append(b.change.Finish, c.Finish...)
			w.g.commands.shown(b, r, e)
		})
	} else {
		err = w.g.store.Commit(c)
	}
	if err != nil && ctx.Err() == nil && !errors.Is(err, ErrStopped) {
		w.g.fail(err)
	}
}

// failed decides what becomes of a record that was not sent, or may have been.
func (w *worker) failed(ctx context.Context, r lane.Record, t *try, user ids.UserID, o lane.Outcome, room bool) rest {
	g, now := w.g, w.g.now()
	if ctx.Err() != nil {
		w.giveBack(r, t)
		return rest{}
	}
	t.fails++
	g.state.sending(o)
	log := g.log.With(logkey.Lane, r.Lane, logkey.ID, r.ID, logkey.Attempt, t.fails)
	switch o.Verdict {
	case lane.Unknown:
		log.Warn("no answer from the homeserver; looking whether it did it", logkey.Error, o)
		if room {
			w.giveBack(r, t) // a step of the room: done again, it does no harm
		} else {
			t.settled, t.looks = false, 0
			w.hold(r, t)
		}
		return rest{now.Add(retryAfter(t.fails)), true}
	case lane.Stop:
		log.Error("the homeserver does not know us any more: nothing is sent until that is mended", logkey.Error, o)
		w.tries.mu.Lock()
		w.tries.stop = now.Add(time.Minute)
		w.tries.mu.Unlock()
		w.giveBack(r, t)
		return rest{now.Add(time.Minute), true}
	case lane.Dead:
		if o.Code == "M_FORBIDDEN" && !room && t.fails == 1 && g.rooms.rejoin(r.Lane, user) {
			w.giveBack(r, t) // the ghost may have lost its place in the room
			return rest{until: now}
		}
		log.Error("refused for good; see gatepost deadletters", logkey.Error, o)
		if r.Lane != ids.ControlRoom {
			g.Alert(fmt.Sprintf("Something for %s could not be posted: %v. “gatepost deadletters” shows it.", r.Lane, o), "dead "+string(r.Lane))
		}
		w.tries.drop(r.ID)
		g.uncertain.settled(r)
		w.commit(ctx, r, lane.Change{Bury: []lane.DeadLetter{{Record: r, Lane: r.Lane, Reason: o.Error(), At: now}}}, "")
		return rest{until: now}
	default:
		after := max(o.After, retryAfter(t.fails))
		if o.Limited {
			w.tries.mu.Lock()
			w.tries.pause[user] = now.Add(after)
			w.tries.mu.Unlock()
		} else {
			log.Info("not sent; trying again", logkey.Wait, after, logkey.Error, o)
		}
		w.giveBack(r, t)
		return rest{now.Add(after), true}
	}
}

// retryAfter is how long to wait after so many failures: 0.5 s, doubling to a minute, less up to a fifth.
func retryAfter(fails int) time.Duration {
	d := min(500*time.Millisecond<<min(max(fails-1, 0), 10), time.Minute)
	return d - time.Duration(rand.Int64N(int64(d)/5)) //nolint:gosec // jitter
}
