package voip

import (
	"time"

	"github.com/gatepost/gatepost/internal/ids"
)

// Effect is something that must now happen.
type Effect interface{ isEffect() }

// What is sent to the person.
type (
	// SendInvite rings (m.call.invite). Lifetime begins when it is sent.
	SendInvite struct {
		Offer    Description
		Streams  Streams
		Lifetime time.Duration
	}
	// SendAnswer accepts (m.call.answer).
	SendAnswer struct {
		Answer  Description
		Streams Streams
	}
	// SendCandidates tells our candidates; an empty one ends them (m.call.candidates).
	SendCandidates struct{ List []Candidate }
	// SendSelect names the party whose answer, or rejection, counts (m.call.select_answer).
	SendSelect struct{ Party ids.PartyID }
	// SendReject refuses (m.call.reject). Reason may be empty.
	SendReject struct{ Reason Reason }
	// SendHangup ends (m.call.hangup).
	SendHangup struct{ Reason Reason }
	// SendNegotiate is an answer, or an offer of ours as caller (m.call.negotiate).
	SendNegotiate struct {
		Desc    Description
		Streams Streams
	}
)

// What the leg is told.
type (
	// LegPrepare asks for an offer.
	LegPrepare struct{}
	// LegInvite hands it the person's offer and asks for an answer. Auto: do not ring, the person answers a ring of yours.
	LegInvite struct {
		Offer   Description
		Streams Streams
		Auto    bool
	}
	// LegAnswer hands it the person's answer.
	LegAnswer struct {
		Answer  Description
		Streams Streams
		DTMF    bool
	}
	// LegAdd hands it candidates of the person.
	LegAdd struct{ List []Candidate }
	// LegNegotiate hands it an offer or answer within the call.
	LegNegotiate struct {
		Desc    Description
		Streams Streams
	}
	// LegStreams tells it what the person muted.
	LegStreams struct{ Streams Streams }
	// LegOfferStands says that its own offer has no competitor: it may be applied.
	LegOfferStands struct{}
	// LegOfferDropped says that its own offer is void.
	LegOfferDropped struct{}
	// LegClose is the last that it hears.
	LegClose struct{ Reason Reason }
)

// What the runner does.
type (
	// SetTimer makes Expired come after a time; one that runs under the same name is replaced.
	SetTimer struct {
		Timer Timer
		After time.Duration
	}
	// StopTimer makes it not come.
	StopTimer struct{ Timer Timer }
	// ReportAnswer says that both sides are in the call now.
	ReportAnswer struct{}
	// Report says that the call is over, for log, metrics and the room. It is the last effect of a call.
	Report struct{ Summary Summary }
)

func (SendInvite) isEffect()      {}
func (SendAnswer) isEffect()      {}
func (SendCandidates) isEffect()  {}
func (SendSelect) isEffect()      {}
func (SendReject) isEffect()      {}
func (SendHangup) isEffect()      {}
func (SendNegotiate) isEffect()   {}
func (LegPrepare) isEffect()      {}
func (LegInvite) isEffect()       {}
func (LegAnswer) isEffect()       {}
func (LegAdd) isEffect()          {}
func (LegNegotiate) isEffect()    {}
func (LegStreams) isEffect()      {}
func (LegOfferStands) isEffect()  {}
func (LegOfferDropped) isEffect() {}
func (LegClose) isEffect()        {}
func (SetTimer) isEffect()        {}
func (StopTimer) isEffect()       {}
func (ReportAnswer) isEffect()    {}
func (Report) isEffect()          {}
