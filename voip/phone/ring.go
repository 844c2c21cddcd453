package phone

import (
	"context"
	"sync"
	"time"

	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/internal/logkey"
	"github.com/gatepost/gatepost/voip"
)

// Ring calls the people whom the device rings, unless they are being called. It does not block.
func (p *Phone) Ring() {
	select {
	case p.bell <- struct{}{}:
	default:
	}
}

// ringer is what the runner tells about the calls of a ring. Safe for concurrent use.
type ringer struct {
	mu      sync.Mutex
	calls   map[voip.Key]ids.UserID // of the ring that goes on; nil: none does
	events  []ringEvent
	changed chan struct{}
}

type ringEvent struct {
	key      voip.Key
	person   ids.UserID
	answered bool // else ended
}

// tell passes an event on if its call belongs to a ring. It does not block.
func (r *ringer) tell(ev ringEvent) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	person, ok := r.calls[ev.key]
	if !ok {
		return false
	}
	ev.person = person
	r.events = append(r.events, ev) // two a call at most
	select {
	case r.changed <- struct{}{}:
	default:
	}
	return true
}

func (r *ringer) take() []ringEvent {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.events
	r.events = nil
	return list
}

func (r *ringer) set(calls map[voip.Key]ids.UserID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls, r.events = calls, nil
}

func (r *ringer) add(key voip.Key, person ids.UserID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls[key] = person
}

// ringPeople waits for the bell, and performs one ring at a time.
func (p *Phone) ringPeople(ctx context.Context) {
	for {
		select {
		case <-p.bell:
			missed := len(p.cfg.People) > 0 && p.ringOnce(ctx)
			select {
			case <-p.bell: // impatience
			default:
			}
			if missed { // who presses again from here on rings again
				p.cfg.Note("Rang; nobody answered.", p.cfg.People)
				p.cfg.Missed()
			}
		case <-ctx.Done():
			return
		}
	}
}

// ringOnce performs one ring from the bell to its end: somebody's call is over, or (missed) nobody came.
func (p *Phone) ringOnce(ctx context.Context) (missed bool) {
	ring := voip.NewRing(p.cfg.People, !p.cfg.AtOnce)
	p.ringer.set(map[voip.Key]ids.UserID{})
	defer p.ringer.set(nil)
	p.cfg.Ringing()
	keys := map[ids.UserID]voip.Key{}
	each := p.cfg.Timeout / time.Duration(len(p.cfg.People)) // those who are called in turn share the time
	turn, total := time.NewTimer(each), time.NewTimer(p.cfg.Timeout)
	defer turn.Stop()
	defer total.Stop()
	effects := ring.Start()
	for {
		for len(effects) > 0 {
			e := effects[0]
			effects = effects[1:]
			switch e := e.(type) {
			case voip.RingCall:
				turn.Reset(each)
				key, err := p.call(ctx, e.Person)
				if err != nil {
					p.cfg.Log.Warn("a person could not be rung", logkey.User, string(e.Person), logkey.Error, err)
					effects = append(effects, ring.Ended(e.Person)...)
					continue
				}
				keys[e.Person] = key
			case voip.RingStop:
				_ = p.runner.Do(ctx, voip.Local{Key: keys[e.Person], Event: voip.Ended{Reason: e.Reason}}) // it ends with the runner
			case voip.RingMissed:
				return true
			}
		}
		if ring.Over() {
			return false
		}
		select {
		case <-ctx.Done():
			return false
		case <-turn.C:
			effects = ring.Turn()
		case <-total.C:
			effects = ring.Expired()
		case <-p.ringer.changed:
			for _, ev := range p.ringer.take() {
				if ev.answered {
					effects = append(effects, ring.Answered(ev.person)...)
				} else {
					effects = append(effects, ring.Ended(ev.person)...)
				}
			}
		}
	}
}

// call places one call of a ring.
func (p *Phone) call(ctx context.Context, person ids.UserID) (voip.Key, error) {
	at, err := p.cfg.Place(ctx, person)
	if err != nil {
		return voip.Key{}, err
	}
	key := p.newKey(at)
	p.ringer.add(key, person)
	return key, p.dial(ctx, key, at)
}
