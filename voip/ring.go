package voip

import (
	"slices"

	"github.com/gatepost/gatepost/internal/ids"
)

// Ring is a device that wants somebody of several people: each is a call of its own, in a room of its own. The first who
// answers has it. Make it with NewRing.
type Ring struct {
	left    []ids.UserID // not called yet
	ringing []ids.UserID
	taken   ids.UserID // who answered; "": nobody yet
	turn    bool
	over    bool
}

// NewRing calls people all at once, or in turn: the next when one has not answered. People named twice are called once.
func NewRing(people []ids.UserID, inTurn bool) *Ring {
	var list []ids.UserID
	for _, p := range people {
		if !slices.Contains(list, p) {
			list = append(list, p)
		}
	}
	return &Ring{left: list, turn: inTurn}
}

// RingEffect is something that must now happen for a Ring.
type RingEffect interface{ isRing() }

type (
	// RingCall places a call to a person.
	RingCall struct{ Person ids.UserID }
	// RingStop ends the call to a person: another one has answered, or the time is over.
	RingStop struct {
		Person ids.UserID
		Reason Reason
	}
	// RingMissed says that nobody came. It is the last effect of a Ring that nobody answers.
	RingMissed struct{}
)

func (RingCall) isRing()   {}
func (RingStop) isRing()   {}
func (RingMissed) isRing() {}

// Start begins.
func (r *Ring) Start() []RingEffect { return r.next(nil) }

// Answered says that a person has it.
func (r *Ring) Answered(person ids.UserID) []RingEffect {
	if r.over || r.taken != "" || !slices.Contains(r.ringing, person) {
		return nil
	}
	r.taken, r.left = person, nil
	return r.stop(person, Elsewhere)
}

// Ended says that the call to a person is over.
func (r *Ring) Ended(person ids.UserID) []RingEffect {
	i := slices.Index(r.ringing, person)
	if i < 0 {
		return nil
	}
	r.ringing = slices.Delete(slices.Clone(r.ringing), i, i+1)
	if r.over || r.taken != "" {
		return nil
	}
	return r.next(nil)
}

// Turn says that the one who is being rung in turn has had their time.
func (r *Ring) Turn() []RingEffect {
	if !r.turn || r.over || r.taken != "" {
		return nil
	}
	return r.stop("", InviteTimeout)
}

// Over tells whether nothing more will happen: nobody came, or whoever answered has ended the call.
func (r *Ring) Over() bool { return r.over || r.taken != "" && len(r.ringing) == 0 }

// Expired says that the time for ringing is over. Who has answered talks on.
func (r *Ring) Expired() []RingEffect {
	if r.over || r.taken != "" {
		return nil
	}
	r.left, r.over = nil, true
	return append(r.stop("", InviteTimeout), RingMissed{})
}

func (r *Ring) stop(but ids.UserID, why Reason) []RingEffect {
	var out []RingEffect
	for _, p := range r.ringing {
		if p != but {
			out = append(out, RingStop{p, why})
		}
	}
	return out
}

// next calls who is to be called now.
func (r *Ring) next(out []RingEffect) []RingEffect {
	for len(r.left) > 0 && (!r.turn || len(r.ringing) == 0) {
		p := r.left[0]
		r.left = r.left[1:]
		r.ringing = append(slices.Clone(r.ringing), p)
		out = append(out, RingCall{p})
	}
	if len(r.ringing) == 0 {
		r.over = true
		out = append(out, RingMissed{})
	}
	return out
}
