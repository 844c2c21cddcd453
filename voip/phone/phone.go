// Package phone is one device that can be called, and rings people: the machine of package voip, between the events of
// Matrix (voip/legacy) and the signalling of the device (voip/leg).
package phone

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/internal/logkey"
	"github.com/gatepost/gatepost/voip"
	"github.com/gatepost/gatepost/voip/leg"
	"github.com/gatepost/gatepost/voip/legacy"
)

// Place is the room where the device and a person call each other.
type Place struct {
	Room   ids.RoomID
	Self   ids.UserID // as whom we speak in it
	Person ids.UserID
}

// Config says what a Phone works with. Journal, Send and Place are required, and one of Publish and Open.
type Config struct {
	Journal voip.Journal
	// Send makes an event of a call durable and puts it on its way; it is pointless after lifetime.
	Send func(at Place, eventType string, content []byte, lifetime time.Duration) error
	// Publish brings a message to the device.
	Publish func(ctx context.Context, payload []byte) error
	// Open makes the leg of a call, for a device of which the gateway is the WebRTC party. Nil: the device speaks for itself,
	// by Publish and Said.
	Open func(key voip.Key, r voip.Record, tell func(voip.Event)) (voip.Leg, error)
	// Place finds or makes the room where the device calls a person.
	Place func(ctx context.Context, person ids.UserID) (Place, error)
	// TURN makes credentials for a call that is live, until it is Ended; nil: there is no relay.
	TURN func(voip.Record) *leg.TURN
	// Note says a line about calls in the device's room, to the people it mentions. It does not block.
	Note func(text string, mention []ids.UserID)
	// Ringing is told that the device begins to ring people, Missed, after the note, that nobody answered. They do not block.
	// Nil: nobody listens.
	Ringing, Missed func()
	// Ended is told of each call that is over, and says by which way its media went, for people; "" nobody knows. It does not
	// block. Nil: nobody listens.
	Ended func(voip.Summary) string

	People  []ids.UserID  // whom the device rings
	AtOnce  bool          // all of them; else in turn
	Timeout time.Duration // how long in all; 45 s
	MaxCall time.Duration // 1 h

	Metrics *Metrics     // nil: none
	Log     *slog.Logger // nil: silent
	Now     func() time.Time
}

// Phone is one device in calls. Made by New, run by Run. Safe for concurrent use.
type Phone struct {
	cfg     Config
	runner  *voip.Runner
	signals *leg.Signals // nil with Config.Open
	bell    chan struct{}
	ringer  *ringer

	strange, garbled seldom // what people's clients and the device say that is no event of a call
}

// seldom says now and then that something is worth a line in the log. The zero value is ready. Safe for concurrent use.
type seldom struct {
	mu   sync.Mutex
	last time.Time
}

// seldomTime is how long the same is not logged again.
const seldomTime = 10 * time.Minute

func (s *seldom) due(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.last.IsZero() && now.Sub(s.last) < seldomTime {
		return false
	}
	s.last = now
	return true
}

// New checks cfg and starts nothing.
func New(cfg Config) (*Phone, error) {
	if cfg.Send == nil || cfg.Place == nil {
		return nil, errors.New("phone: Send and Place are needed")
	}
	if cfg.Note == nil {
		cfg.Note = func(string, []ids.UserID) {}
	}
	if cfg.Ringing == nil {
		cfg.Ringing = func() {}
	}
	if cfg.Missed == nil {
		cfg.Missed = func() {}
	}
	if cfg.Ended == nil {
		cfg.Ended = func(voip.Summary) string { return "" }
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 45 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	desk := voip.DeskConfig{Call: voip.Config{Blind: cfg.Open == nil, Max: cfg.MaxCall}}
	if cfg.AtOnce {
		desk.Ring = len(cfg.People)
	}
	p := &Phone{cfg: cfg, bell: make(chan struct{}, 1), ringer: &ringer{changed: make(chan struct{}, 1)}}
	open := cfg.Open
	var err error
	if open == nil {
		p.signals, err = leg.NewSignals(leg.SignalsConfig{Publish: cfg.Publish, TURN: cfg.TURN, Rings: p.Ring, Log: cfg.Log})
		if err != nil {
			return nil, err
		}
		open = p.signals.Open
	}
	p.runner, err = voip.NewRunner(voip.RunnerConfig{
		Desk: desk, Journal: cfg.Journal, Open: open, Send: p.send, Answered: p.answered, Report: p.report, Log: cfg.Log, Now: cfg.Now,
	})
	return p, err
}

// Run works until ctx is done, then ends what is live, and returns after the last goroutine. An error is the Journal's or
// Send's: nothing more is promised.
func (p *Phone) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	said, hush := context.WithCancel(context.WithoutCancel(ctx))
	if p.signals != nil {
		wg.Go(func() { _ = p.signals.Run(said) }) // it outlives the runner, so that the device hears the end of its calls
	}
	wg.Go(func() { p.ringPeople(ctx) })
	err := p.runner.Run(ctx)
	cancel()
	hush()
	wg.Wait()
	return err
}

// Event takes an event of a call. ring is false when an invitation must not ring. What is malformed, or not for us, is
// dropped; the error is only that it was not taken, and is to be told again.
func (p *Phone) Event(ctx context.Context, at Place, sender ids.UserID, eventType string, content []byte, age time.Duration, ring bool) error {
	self := voip.Party{User: at.Self, ID: party}
	call, ev, err := legacy.Decode(eventType, sender, content, age, self)
	switch {
	case errors.Is(err, legacy.ErrOurs), errors.Is(err, legacy.ErrInvitee), errors.Is(err, legacy.ErrNotCall):
		return nil
	case err != nil:
		if p.strange.due(p.cfg.Now()) {
			p.cfg.Log.Warn("an event of a call is dropped; more of them are not logged for a while", logkey.User, string(sender), logkey.Error, err)
		}
		return nil
	}
	in := voip.Remote{Key: voip.Key{Room: at.Room, Call: call}, Self: self, Event: ev}
	_, invited := ev.(voip.Invited)
	in.Forbidden = invited && !ring || sender != at.Person && sender != at.Self
	if _, echo := ev.(voip.Echoed); echo {
		return p.runner.Do(ctx, voip.Local{Key: in.Key, Event: ev})
	}
	return p.runner.Do(ctx, in)
}

// party is our device in every call: there is one gateway.
const party ids.PartyID = "gatepost"

// BatchDone says that no more events wait: what was called may ring.
func (p *Phone) BatchDone(ctx context.Context) error { return p.runner.Do(ctx, voip.BatchDone{}) }

// Left says that one of the two is no longer in the room.
func (p *Phone) Left(ctx context.Context, at Place) error {
	return p.runner.Do(ctx, voip.PersonLeft{Room: at.Room, User: at.Person})
}

// Dial places a call. The id begins with "zz": clients that compare ids then let theirs win, and so do we.
func (p *Phone) Dial(ctx context.Context, at Place) error { return p.dial(ctx, p.newKey(at), at) }

func (p *Phone) newKey(at Place) voip.Key {
	return voip.Key{Room: at.Room, Call: ids.CallID("zz" + ids.NewULID(p.cfg.Now()))}
}

func (p *Phone) dial(ctx context.Context, key voip.Key, at Place) error {
	return p.runner.Do(ctx, voip.Dial{Key: key, Self: voip.Party{User: at.Self, ID: party}, Person: at.Person})
}

// Calls are those that are live, in the order in which they began.
func (p *Phone) Calls() []voip.Record { return p.runner.Calls() }

// Said takes what the device published on PREFIX/call/out, if it speaks for itself. It blocks while its calls have too much to do.
func (p *Phone) Said(payload []byte) {
	if p.signals == nil {
		return
	}
	if err := p.signals.Receive(payload); err != nil && p.garbled.due(p.cfg.Now()) {
		p.cfg.Log.Warn("a device's word about a call is dropped; more of them are not logged for a while", logkey.Error, err)
	}
}

// send gives an event to Matrix. What fails to be an event is a mistake of ours.
func (p *Phone) send(key voip.Key, r voip.Record, e voip.Effect) error {
	m, ok := legacy.Encode(e, r.ID, r.Self, r.Person, false)
	if !ok {
		return fmt.Errorf("%T is not sent", e)
	}
	lifetime := 2 * time.Minute
	if inv, ok := e.(voip.SendInvite); ok {
		lifetime = inv.Lifetime
	}
	return p.cfg.Send(Place{key.Room, r.Self.User, r.Person}, m.Type, m.Content, lifetime)
}

func (p *Phone) answered(key voip.Key, r voip.Record) {
	p.cfg.Metrics.answered(r.Answered.Sub(r.Began))
	p.ringer.tell(ringEvent{key: key, answered: true})
}

// report says in the device's room what became of a call, unless a ring does that.
func (p *Phone) report(s voip.Summary) {
	p.cfg.Metrics.ended(s)
	key := voip.Key{Room: s.Room, Call: s.ID}
	rung := p.ringer.tell(ringEvent{key: key}) // first: until it is told, who presses again is not heard
	path := p.cfg.Ended(s)
	if path != "" {
		path = ", " + path
	}
	switch {
	case s.Reason == voip.Replaced:
	case s.Talked > 0 && s.Role == voip.Callee:
		p.cfg.Note(fmt.Sprintf("%s called: %s%s.", s.Person, s.Talked.Round(time.Second), path), nil)
	case s.Talked > 0:
		p.cfg.Note(fmt.Sprintf("%s was called: %s%s.", s.Person, s.Talked.Round(time.Second), path), nil)
	case s.Role == voip.Callee:
		p.cfg.Note(fmt.Sprintf("%s called: %s.", s.Person, words(s.Reason)), nil)
	case !rung:
		p.cfg.Note(fmt.Sprintf("%s was called: %s.", s.Person, words(s.Reason)), nil)
	}
}

// words is a reason as people read it.
func words(r voip.Reason) string {
	switch r {
	case voip.InviteTimeout:
		return "nobody answered"
	case voip.UserBusy:
		return "busy"
	case voip.Elsewhere:
		return "answered elsewhere"
	case voip.UserHangup, voip.Rejection, voip.Left:
		return "not answered"
	case voip.MediaFailed:
		return "the device did not answer"
	default:
		return "it failed"
	}
}
