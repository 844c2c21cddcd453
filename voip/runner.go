package voip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/gatepost/gatepost/internal/logkey"
)

// Journal keeps the records of live calls. Nil means durable. It is used by one goroutine.
type Journal interface {
	Put(key Key, r Record) error
	Delete(key Key) error
	Each(f func(Key, Record)) error
}

// Leg is the device's side of one call. Do is given the Leg effects of the call in order, the last of them LegClose, and the
// call as it is then; it must not block, nor call back before it returns.
type Leg interface{ Do(r Record, e Effect) }

// RunnerConfig says how a Runner runs. All of it but Answered, Log and Now is required.
type RunnerConfig struct {
	Desk    DeskConfig
	Journal Journal
	// Open makes the leg of a call. What the leg has to say it gives to tell, from any goroutine but not from within Open.
	Open func(key Key, r Record, tell func(Event)) (Leg, error)
	// Send makes an event of the call durable and puts it on its way to the person, in the order of the room.
	Send func(key Key, r Record, e Effect) error
	// Answered is told when both sides are in a call. It does not block.
	Answered func(key Key, r Record)
	// Report is told of each call that is over. It does not block. After a crash it may be told twice.
	Report func(Summary)

	Log *slog.Logger     // nil: silent
	Now func() time.Time // nil: time.Now
}

// Runner performs a Desk: the calls of one device. It makes each step durable before it performs it.
type Runner struct {
	cfg  RunnerConfig
	in   chan request
	live atomic.Pointer[[]Record]
	done chan struct{} // closed when Run has ended

	// Owned by the goroutine of Run.
	desk   *Desk
	legs   map[Key]Leg
	timers map[timerKey]*time.Timer
}

type request struct {
	in    Input
	timer *time.Timer // of an Expired: it counts only if it is still the one that runs
	done  chan<- error
}

type timerKey struct {
	key   Key
	timer Timer
}

// ErrRunnerStopped is returned by Do when the Runner has ended; the input had no effect.
var ErrRunnerStopped = errors.New("voip: the runner has stopped")

const runnerQueue = 64 // inputs that wait; then whoever brings more waits

// NewRunner checks cfg and starts nothing.
func NewRunner(cfg RunnerConfig) (*Runner, error) {
	if cfg.Journal == nil || cfg.Open == nil || cfg.Send == nil || cfg.Report == nil {
		return nil, errors.New("voip: a runner needs Journal, Open, Send and Report")
	}
	if cfg.Answered == nil {
		cfg.Answered = func(Key, Record) {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Runner{
		cfg: cfg, in: make(chan request, runnerQueue), done: make(chan struct{}),
		desk: NewDesk(cfg.Desk), legs: map[Key]Leg{}, timers: map[timerKey]*time.Timer{},
	}, nil
}

// Do hands an input over and returns when what follows from it is durable and performed, or with the error of ctx; then it
// may still be. Safe for concurrent use; inputs of one caller keep their order.
func (r *Runner) Do(ctx context.Context, in Input) error {
	done := make(chan error, 1)
	select {
	case r.in <- request{in: in, done: done}:
	case <-r.done:
		return ErrRunnerStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-done:
		return err
	case <-r.done:
		return ErrRunnerStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Calls are those that are live, in the order in which they began. Safe for concurrent use.
func (r *Runner) Calls() []Record {
	if list := r.live.Load(); list != nil {
		return *list
	}
	return nil
}

// Run first ends the calls that were alive when the process died, then performs the Desk until ctx is done, and then ends
// what is live. It returns the error of a Journal or a Send that fails; the next start ends what was live then.
func (r *Runner) Run(ctx context.Context) error {
	defer close(r.done)
	if err := r.bury(); err != nil {
		return err
	}
	for {
		select {
		case q := <-r.in:
			if err := r.take(q); err != nil {
				return err
			}
		case <-ctx.Done():
			return r.perform(EndAll{UserHangup})
		}
	}
}

// take performs one request, unless it is of a timer that was stopped or set again meanwhile.
func (r *Runner) take(q request) error {
	if q.timer != nil {
		l := q.in.(Local)
		k := timerKey{l.Key, l.Event.(Expired).Timer}
		if r.timers[k] != q.timer {
			return nil
		}
		delete(r.timers, k)
	}
	err := r.perform(q.in)
	if q.done != nil {
		q.done <- err
	}
	return err
}

// bury ends the calls of another life.
func (r *Runner) bury() error {
	records := map[Key]Record{}
	if err := r.cfg.Journal.Each(func(k Key, rec Record) { records[k] = rec }); err != nil {
		return fmt.Errorf("read the calls: %w", err)
	}
	for key, rec := range records {
		r.cfg.Log.Info("call ended after a restart", logkey.Room, string(key.Room))
		for _, e := range Revive(rec).Step(r.cfg.Now(), Ended{UnknownError}) {
			if err := r.do(key, rec, e); err != nil {
				return err
			}
		}
		if err := r.forget(key); err != nil {
			return err
		}
	}
	return nil
}

// perform steps a copy of the desk. What begins or changes is durable before anything of it is done; what ends is forgotten
// after, since a hangup that is sent twice is better than none.
func (r *Runner) perform(in Input) error {
	next := r.desk.Clone()
	out := next.Step(r.cfg.Now(), in)
	before, after := records(r.desk), records(next)
	for key, rec := range after {
		if before[key] != rec {
			if err := r.cfg.Journal.Put(key, rec); err != nil {
				return fmt.Errorf("keep a call: %w", err)
			}
		}
	}
	r.desk = next
	var list []Record
	for _, c := range next.Calls() {
		list = append(list, c.Record())
	}
	r.live.Store(&list)
	for _, o := range out {
		if err := r.do(o.Key, o.Call, o.Effect); err != nil {
			return err
		}
	}
	for key := range before {
		if _, live := after[key]; !live {
			if err := r.forget(key); err != nil {
				return err
			}
		}
	}
	return nil
}

func records(d *Desk) map[Key]Record {
	all := map[Key]Record{}
	for _, c := range d.Calls() {
		all[Key{c.Room, c.ID}] = c.Record()
	}
	return all
}

func (r *Runner) forget(key Key) error {
	if err := r.cfg.Journal.Delete(key); err != nil {
		return fmt.Errorf("forget a call: %w", err)
	}
	return nil
}

func (r *Runner) do(key Key, rec Record, e Effect) error {
	switch e := e.(type) {
	case SetTimer:
		r.set(timerKey{key, e.Timer}, e.After)
	case StopTimer:
		r.stop(timerKey{key, e.Timer})
	case ReportAnswer:
		r.cfg.Answered(key, rec)
	case Report:
		r.cfg.Report(e.Summary)
	case LegPrepare, LegInvite:
		r.open(key, rec)
		r.tellLeg(key, rec, e)
	case LegAnswer, LegAdd, LegNegotiate, LegStreams, LegOfferStands, LegOfferDropped:
		r.tellLeg(key, rec, e)
	case LegClose:
		r.tellLeg(key, rec, e)
		delete(r.legs, key)
	default:
		if err := r.cfg.Send(key, rec, e); err != nil {
			return fmt.Errorf("send %T: %w", e, err)
		}
	}
	return nil
}

func (r *Runner) tellLeg(key Key, rec Record, e Effect) {
	if l := r.legs[key]; l != nil {
		l.Do(rec, e)
	}
}

// open makes the leg. One that can't be made hangs up.
func (r *Runner) open(key Key, rec Record) {
	tell := func(ev Event) {
		select {
		case r.in <- request{in: Local{key, ev}}:
		case <-r.done:
		}
	}
	l, err := r.cfg.Open(key, rec, tell)
	if err != nil {
		r.cfg.Log.Warn("no leg for a call", logkey.Room, string(key.Room), logkey.Error, err)
		go tell(LegHungUp{MediaFailed})
		return
	}
	r.legs[key] = l
}

func (r *Runner) set(k timerKey, after time.Duration) {
	r.stop(k)
	fire := make(chan *time.Timer, 1)
	t := time.AfterFunc(after, func() {
		t := <-fire
		select {
		case r.in <- request{in: Local{k.key, Expired{k.timer}}, timer: t}:
		case <-r.done:
		}
	})
	fire <- t
	r.timers[k] = t
}

func (r *Runner) stop(k timerKey) {
	if t := r.timers[k]; t != nil {
		t.Stop()
		delete(r.timers, k)
	}
}
