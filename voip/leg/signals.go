package leg

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/internal/logkey"
	"github.com/gatepost/gatepost/voip"
)

// SignalsConfig says how a Signals speaks. Publish is required.
type SignalsConfig struct {
	// Publish brings a message to PREFIX/call/in. An error means that the device can't be reached now: its call ends.
	Publish func(ctx context.Context, payload []byte) error
	// TURN makes credentials for a call that is live; nil, or a nil answer: there is no relay.
	TURN func(voip.Record) *TURN
	// Rings is called when the device wants people (type "ring"). It does not block. Nil: nobody is called.
	Rings func()
	// Prepare is how long the device has for its offer, which it is told; 10 s.
	Prepare time.Duration
	Log     *slog.Logger // nil: silent
}

// Signals is the signalling of one device over MQTT. Safe for concurrent use.
type Signals struct {
	cfg SignalsConfig
	out chan outgoing

	mu   sync.Mutex
	live map[ids.CallID]*signalled
}

type outgoing struct {
	leg     *signalled
	payload []byte
}

// queue is how many messages to one device may wait for the broker; then its calls end.
const queue = 64

// ErrSameCall is returned by Open: two people chose the same call id at the same time, and the device could not tell them
// apart. The later call is refused.
var ErrSameCall = errors.New("leg: there is a call with this id")

// NewSignals checks cfg and starts nothing.
func NewSignals(cfg SignalsConfig) (*Signals, error) {
	if cfg.Publish == nil {
		return nil, errors.New("leg: Publish is needed")
	}
	if cfg.TURN == nil {
		cfg.TURN = func(voip.Record) *TURN { return nil }
	}
	if cfg.Rings == nil {
		cfg.Rings = func() {}
	}
	if cfg.Prepare == 0 {
		cfg.Prepare = 10 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Signals{cfg: cfg, out: make(chan outgoing, queue), live: map[ids.CallID]*signalled{}}, nil
}

// Run publishes, in order, what the device is to be told, until ctx is done; what waits then is tried for another second,
// so that the device hears of the end of its calls.
func (s *Signals) Run(ctx context.Context) error {
	for {
		select {
		case o := <-s.out:
			s.publish(ctx, o)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			for {
				select {
				case o := <-s.out:
					s.publish(last, o)
				default:
					return nil
				}
			}
		}
	}
}

func (s *Signals) publish(ctx context.Context, o outgoing) {
	if err := s.cfg.Publish(ctx, o.payload); err != nil {
		s.cfg.Log.Warn("a device could not be told of its call", logkey.Error, err)
		o.leg.tell(voip.LegHungUp{Reason: voip.MediaFailed})
	}
}

// Open makes the leg of a call, for voip.RunnerConfig.
func (s *Signals) Open(_ voip.Key, r voip.Record, tell func(voip.Event)) (voip.Leg, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live[r.ID] != nil {
		return nil, ErrSameCall
	}
	l := &signalled{s: s, tell: tell}
	s.live[r.ID] = l
	return l, nil
}

// Receive takes what the device published on PREFIX/call/out. The error wraps ErrMalformed; the message had no effect then.
// It blocks while the calls of the device have too much to do.
func (s *Signals) Receive(payload []byte) error {
	call, said, err := decode(payload)
	if err != nil {
		return err
	}
	if _, ok := said.(rings); ok {
		s.cfg.Rings()
		return nil
	}
	s.mu.Lock()
	l := s.live[call]
	s.mu.Unlock()
	if l != nil { // else it is over, and the device was told
		l.tell(said.(voip.Event))
	}
	return nil
}

// signalled is one call of the device.
type signalled struct {
	s    *Signals
	tell func(voip.Event)
}

// Do is of voip.Leg. The device applies an answer by itself, and hangs up if it can't; so it counts as accepted.
func (l *signalled) Do(r voip.Record, e voip.Effect) {
	var turn *TURN
	switch e.(type) {
	case voip.LegPrepare, voip.LegInvite:
		turn = l.s.cfg.TURN(r)
	}
	if payload, ok := encode(e, r, l.s.cfg.Prepare, turn); ok {
		select {
		case l.s.out <- outgoing{l, payload}:
		default:
			l.s.cfg.Log.Warn("a device does not take what its call says", logkey.ID, string(r.ID))
			go l.tell(voip.LegHungUp{Reason: voip.MediaFailed})
		}
	}
	switch e.(type) {
	case voip.LegAnswer:
		go l.tell(voip.LegAccepted{})
	case voip.LegClose:
		l.s.mu.Lock()
		delete(l.s.live, r.ID)
		l.s.mu.Unlock()
	}
}
