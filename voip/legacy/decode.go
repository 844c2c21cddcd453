package legacy

import (
	"encoding/json"
	"math"
	"time"

	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/voip"
)

// Known tells whether events of a type are for Decode.
func Known(eventType string) bool {
	switch eventType {
	case TypeInvite, TypeAnswer, TypeCandidates, TypeSelectAnswer, TypeReject, TypeHangup, TypeNegotiate, TypeStreams, typeOldStreams:
		return true
	}
	return false
}

// Decode reads an event. self is as whom we speak in the call: its own events are ErrOurs, save a negotiation, which is
// Echoed. age is how old the event is: the time of an invitation is what is left of its lifetime. raw is not kept.
func Decode(eventType string, sender ids.UserID, raw []byte, age time.Duration, self voip.Party) (ids.CallID, voip.Event, error) {
	if !Known(eventType) {
		return "", nil, ErrNotCall
	}
	if len(raw) > maxContent {
		return "", nil, malformed("%d bytes, more than %d", len(raw), maxContent)
	}
	var c content
	if err := json.Unmarshal(raw, &c); err != nil {
		return "", nil, malformed("not as the specification has it: a field has the wrong type")
	}
	from, version, err := c.head(sender)
	if err != nil {
		return "", nil, err
	}
	call := ids.CallID(c.CallID)
	if from == self {
		if eventType == TypeNegotiate && c.Desc != nil && c.Desc.Type == "offer" {
			return call, voip.Echoed{}, nil
		}
		return call, nil, ErrOurs
	}
	ev, err := c.event(eventType, from, version, max(age, 0), self)
	return call, ev, err
}

func (c *content) event(eventType string, from voip.Party, version voip.Version, age time.Duration, self voip.Party) (voip.Event, error) {
	streams, err := c.streams()
	if err != nil {
		return nil, err
	}
	reason := voip.Reason(c.Reason[:min(len(c.Reason), maxReason)])
	switch eventType {
	case TypeInvite:
		if c.Invitee != "" && c.Invitee != string(self.User) {
			return nil, ErrInvitee
		}
		offer, err := c.Offer.take("offer", "offer")
		if err != nil {
			return nil, err
		}
		left, err := c.left(age)
		if err != nil {
			return nil, err
		}
		return voip.Invited{From: from, Version: version, Offer: offer, Left: left, Streams: streams}, nil
	case TypeAnswer:
		answer, err := c.Answer.take("answer", "answer")
		if err != nil {
			return nil, err
		}
		return voip.Answered{From: from, Version: version, Answer: answer, Streams: streams, DTMF: c.Caps != nil && c.Caps.DTMF}, nil
	case TypeCandidates:
		list, err := c.candidates()
		return voip.Candidates{From: from, List: list}, err
	case TypeSelectAnswer:
		if !validID(c.Selected) {
			return nil, malformed("selected_party_id is missing")
		}
		return voip.Selected{From: from, Party: ids.PartyID(c.Selected)}, nil
	case TypeReject:
		return voip.Rejected{From: from, Reason: reason}, nil
	case TypeHangup:
		return voip.HungUp{From: from, Reason: reason}, nil
	case TypeNegotiate:
		desc, err := c.Desc.take("description", "offer", "answer")
		return voip.Negotiated{From: from, Desc: desc, Streams: streams}, err
	}
	if streams == nil {
		return nil, malformed("sdp_stream_metadata is missing")
	}
	return voip.StreamsChanged{From: from, Streams: streams}, nil
}

// left is how long an invitation is good for from now.
func (c *content) left(age time.Duration) (time.Duration, error) {
	const most = float64(24 * time.Hour / time.Millisecond)
	if c.Lifetime == nil || math.IsNaN(*c.Lifetime) || *c.Lifetime < 0 {
		return 0, malformed("lifetime is missing or negative")
	}
	return time.Duration(min(*c.Lifetime, most))*time.Millisecond - age, nil
}
