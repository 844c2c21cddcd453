package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/gatepost/gatepost/internal/logkey"
)

// Part is one thing with a life of its own. Every function may be nil.
type Part struct {
	Name string
	// Start makes the part usable (binds listeners, opens files) and returns. Its context ends when the group is to stop.
	// After an error the parts before it are stopped, and neither Run nor Close of this one is called.
	Start func(ctx context.Context) error
	// Run works until ctx is done and returns nil after its last goroutine ended.
	Run func(ctx context.Context) error
	// Close is called once, after Run returned. It is for what has no goroutine, such as a store.
	Close func() error
	// Deadline is how long the part may take from the end of its context to the return of Close; 0 means 5 s.
	Deadline time.Duration
}

const defaultDeadline = 5 * time.Second

// Group is an ordered list of parts. The zero value is an empty group that logs nothing. Not safe for concurrent use.
type Group struct {
	Log   *slog.Logger // nil: silent
	parts []Part
}

// Add puts p behind the parts that are there already.
func (g *Group) Add(p Part) {
	if p.Deadline <= 0 {
		p.Deadline = defaultDeadline
	}
	g.parts = append(g.parts, p)
}

// running is a part whose Start succeeded.
type running struct {
	Part
	cancel context.CancelFunc
	ended  chan struct{} // closed when Run returned
}

// Run starts all parts, waits until stop is done or a part fails, and stops them in reverse order. When cut is done too it
// stops waiting for anything and returns at once. Nil means that it was asked to stop and every part ended well; else the
// first cause comes first in the joined error. Run is called once.
func (g *Group) Run(stop, cut context.Context) error {
	log := g.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	starting, stopStarting := context.WithCancel(stop)
	defer stopStarting()
	failed := make(chan error, len(g.parts)) // every Run reports at most once, so nobody blocks
	var up []*running
	var errs []error
	for _, p := range g.parts {
		if stop.Err() != nil || len(failed) > 0 {
			break
		}
		if p.Start != nil {
			begin := time.Now()
			if err := p.Start(starting); err != nil {
				if stop.Err() == nil && len(failed) == 0 {
					errs = append(errs, fmt.Errorf("%s: %w", p.Name, err))
				}
				break
			}
			log.Debug("part started", logkey.Part, p.Name, logkey.Took, time.Since(begin).String())
		}
		up = append(up, launch(p, failed, stopStarting))
	}
	if len(errs) == 0 {
		select {
		case <-stop.Done():
		case err := <-failed:
			errs = append(errs, err)
		}
	}
	stopStarting()
	for i := len(up) - 1; i >= 0; i-- {
		if err := up[i].stop(cut); err != nil {
			errs = append(errs, err)
		}
	}
	for {
		select {
		case err := <-failed: // what others reported while all were stopping
			errs = append(errs, err)
		default:
			if cut.Err() != nil && len(up) > 0 {
				errs = append(errs, ErrCut)
			}
			return errors.Join(errs...)
		}
	}
}

// launch runs p.Run in a goroutine of its own, under a context that only stop ends: the order of stopping is the group's.
// When it fails, interrupt is called after failed has the error.
func launch(p Part, failed chan<- error, interrupt func()) *running {
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Part: p, cancel: cancel, ended: make(chan struct{})}
	if p.Run == nil {
		close(r.ended)
		return r
	}
	go func() {
		defer close(r.ended)
		err := p.Run(ctx)
		asked := ctx.Err() != nil
		if asked && (err == nil || errors.Is(err, context.Canceled)) {
			return
		}
		if err == nil {
			err = ErrEnded
		}
		failed <- fmt.Errorf("%s: %w", p.Name, err)
		interrupt()
	}()
	return r
}

// stop ends Run and calls Close, all within the deadline, and not at all patiently once cut is done.
func (r *running) stop(cut context.Context) error {
	r.cancel()
	deadline := time.NewTimer(r.Deadline)
	defer deadline.Stop()
	closed := make(chan error, 1)
	ended := r.ended
	for {
		select {
		case <-ended:
			ended = nil
			if r.Close == nil {
				return nil
			}
			go func() { closed <- r.Close() }()
		case err := <-closed:
			if err != nil {
				return fmt.Errorf("%s: close: %w", r.Name, err)
			}
			return nil
		case <-deadline.C:
			return fmt.Errorf("%s: %w (%v)", r.Name, ErrStuck, r.Deadline)
		case <-cut.Done():
			return nil // Run says ErrCut once for all
		}
	}
}
