package voip

import (
	"time"

	"github.com/gatepost/gatepost/internal/ids"
)

// Event is something that a Call is told.
type Event interface{ isEvent() }

// What the person's side says. From is who says it; the adapter has dropped what came back from ourselves.
type (
	// Invited begins a call that the person places. Left is how long the invitation is good for from now on.
	Invited struct {
		From    Party
		Version Version
		Offer   Description
		Left    time.Duration
		Streams Streams
		Auto    bool // the person answers a ring of ours: there is nothing left to ask
	}
	// Answered accepts our invitation.
	Answered struct {
		From    Party
		Version Version
		Answer  Description
		Streams Streams
		DTMF    bool // the party can send digits
	}
	// Candidates are ICE candidates of a party. An empty one says that there are no more.
	Candidates struct {
		From Party
		List []Candidate
	}
	// Selected tells which party's answer the caller has chosen (m.call.select_answer).
	Selected struct {
		From  Party
		Party ids.PartyID
	}
	// Rejected refuses our invitation, for all devices of the person.
	Rejected struct {
		From   Party
		Reason Reason
	}
	// HungUp ends the call.
	HungUp struct {
		From   Party
		Reason Reason
	}
	// Negotiated is a new offer, or the answer to one, within a call.
	Negotiated struct {
		From    Party
		Desc    Description
		Streams Streams
	}
	// StreamsChanged tells what is muted, without an offer.
	StreamsChanged struct {
		From    Party
		Streams Streams
	}
	// PeerLeft says that the person is no longer in the room.
	PeerLeft struct{ User ids.UserID }
	// Echoed says that our own negotiation came back from the homeserver, so that it has its place in the order of the room.
	Echoed struct{}
)

// What the leg says.
type (
	// LegOffered is the offer of an outgoing call, as LegPrepare asked for.
	LegOffered struct {
		Offer   Description
		Streams Streams
	}
	// LegAnswered accepts an incoming call.
	LegAnswered struct {
		Answer  Description
		Streams Streams
	}
	// LegAccepted says that the leg works with the answer it was given.
	LegAccepted struct{}
	// LegCandidates are candidates of the leg.
	LegCandidates struct{ List []Candidate }
	// LegNegotiated is the leg's answer to an offer within the call, or an offer of its own.
	LegNegotiated struct {
		Desc    Description
		Streams Streams
	}
	// LegConnected says that media can flow.
	LegConnected struct{}
	// LegDisconnected says that it can't for now; a new path may be found.
	LegDisconnected struct{}
	// LegHungUp ends the call from the leg's side, or refuses it.
	LegHungUp struct{ Reason Reason }
)

// What the gateway says.
type (
	// Dialed begins a call to the person.
	Dialed struct{}
	// Expired says that a timer has run out.
	Expired struct{ Timer Timer }
	// Ended asks for the end: a person's or an owner's wish, the gateway's stop, or the discovery after a start that the
	// call was alive when the process died.
	Ended struct{ Reason Reason }
)

func (Invited) isEvent()         {}
func (Answered) isEvent()        {}
func (Candidates) isEvent()      {}
func (Selected) isEvent()        {}
func (Rejected) isEvent()        {}
func (HungUp) isEvent()          {}
func (Negotiated) isEvent()      {}
func (StreamsChanged) isEvent()  {}
func (PeerLeft) isEvent()        {}
func (Echoed) isEvent()          {}
func (LegOffered) isEvent()      {}
func (LegAnswered) isEvent()     {}
func (LegAccepted) isEvent()     {}
func (LegCandidates) isEvent()   {}
func (LegNegotiated) isEvent()   {}
func (LegConnected) isEvent()    {}
func (LegDisconnected) isEvent() {}
func (LegHungUp) isEvent()       {}
func (Dialed) isEvent()          {}
func (Expired) isEvent()         {}
func (Ended) isEvent()           {}
