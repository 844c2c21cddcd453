package gateway

import (
	"context"
	"sync"
	"time"

	"github.com/gatepost/gatepost/internal/ids"
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
	due    time.Time // nothing in state has waited long enough before
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
	return &sender{
		g: g, woken: map[ids.RoomKey]bool{}, bell: make(chan struct{}, 1), state: map[ids.RoomKey]*laneState{},
		free: workers, work: make(chan ids.RoomKey), result: make(chan laneResult, workers),
	}
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
			w := &worker{g: s.g}
			for key := range s.work {
				s.result <- laneResult{key, w.sendNext(ctx, key)}
			}
		})
	}
	timer := time.NewTimer(time.Hour)
	beat := time.NewTicker(beatTime)
	defer beat.Stop()
	for _, l := range s.g.store.Lanes() {
		s.wake(l.Lane)
	}
	for ctx.Err() == nil {
		now := time.Now()
		if !now.Before(s.due) {
			s.due = s.release(now)
			timer.Reset(s.due.Sub(now))
		}
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
			again := st.again && !r.rest.firm
			st.busy, st.again, st.rest = false, false, r.rest
			if again {
				s.enqueue(r.key, st)
			} else if r.rest.until.IsZero() {
				delete(s.state, r.key)
			} else if r.rest.until.Before(s.due) {
				s.due = r.rest.until
				timer.Reset(max(time.Until(s.due), 0))
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
		case <-beat.C:
			s.g.cfg.Beat(PartSender)
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
