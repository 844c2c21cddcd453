package legacy

import (
	"encoding/json"
	"time"

	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/voip"
)

// Message is an event to be sent.
type Message struct {
	Type    string
	Content json.RawMessage
}

// Encode makes the event of an effect; ok is false when the effect is none that is sent. call and self are of the Call.
// invitee is whom an invitation is for: with it clients see when both sides call each other. dtmf tells them that we take
// digits, which is when they show a dial pad.
func Encode(e voip.Effect, call ids.CallID, self voip.Party, invitee ids.UserID, dtmf bool) (m Message, ok bool) {
	c := content{CallID: string(call), PartyID: string(self.ID), Version: json.RawMessage(`"1"`)}
	switch e := e.(type) {
	case voip.SendInvite:
		m.Type = TypeInvite
		c.Offer, c.Streams, c.Invitee = describe(e.Offer), metadata(e.Streams), string(invitee)
		c.Lifetime, c.Caps = milliseconds(e.Lifetime), &capabilities{DTMF: dtmf}
	case voip.SendAnswer:
		m.Type = TypeAnswer
		c.Answer, c.Streams, c.Caps = describe(e.Answer), metadata(e.Streams), &capabilities{DTMF: dtmf}
	case voip.SendCandidates:
		m.Type = TypeCandidates
		for _, in := range e.List {
			out := candidate{Candidate: in.Candidate}
			if in.Candidate != "" {
				out.MID, out.Index = &in.MID, in.Index
			}
			c.Candidates = append(c.Candidates, out)
		}
	case voip.SendSelect:
		m.Type, c.Selected = TypeSelectAnswer, string(e.Party)
	case voip.SendReject:
		m.Type, c.Reason = TypeReject, string(e.Reason)
	case voip.SendHangup:
		m.Type, c.Reason = TypeHangup, string(e.Reason)
	case voip.SendNegotiate:
		m.Type = TypeNegotiate
		c.Desc, c.Streams, c.Lifetime = describe(e.Desc), metadata(e.Streams), milliseconds(negotiateLifetime)
	default:
		return Message{}, false
	}
	m.Content, _ = json.Marshal(c) // strings, numbers and maps of them can be written
	return m, true
}

// negotiateLifetime is how long an offer within a call is good for.
const negotiateLifetime = 30 * time.Second

func milliseconds(d time.Duration) *float64 {
	ms := float64(d.Milliseconds())
	return &ms
}

func describe(d voip.Description) *description { return &description{d.Type, d.SDP} }

func metadata(from voip.Streams) streams {
	if len(from) == 0 {
		return nil
	}
	to := streams{}
	for id, s := range from {
		to[id] = stream(s)
	}
	return to
}
