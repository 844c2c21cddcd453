package leg

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/voip"
)

// ErrMalformed is wrapped by what is wrong with a device's message. The message is dropped; the text names the mistake and
// holds nothing else of it.
var ErrMalformed = errors.New("not a message of a call")

// The types of messages. Those of Matrix's VoIP module carry its fields.
const (
	typeRing       = "ring"
	typeInvite     = "invite"
	typeAnswer     = "answer"
	typeCandidates = "candidates"
	typeNegotiate  = "negotiate"
	typeStands     = "negotiate_stands"
	typeDropped    = "negotiate_dropped"
	typeStreams    = "sdp_stream_metadata_changed"
	typeHangup     = "hangup"
	typeReject     = "reject"
)

// Bounds on what a device may say.
const (
	maxMessage    = 128 << 10 // bytes
	maxCallID     = 255
	maxCandidate  = 1 << 10 // bytes
	maxCandidates = 64      // of one message
	maxStreams    = 32
	maxText       = 255 // bytes of a stream id, purpose, mid or reason
)

// message is the union of all messages, both ways.
type message struct {
	V          int                    `json:"v"`
	Type       string                 `json:"type"`
	CallID     string                 `json:"call_id,omitempty"`
	PartyID    string                 `json:"party_id,omitempty"`
	Person     string                 `json:"person,omitempty"`
	Lifetime   int64                  `json:"lifetime,omitempty"` // ms
	Auto       bool                   `json:"auto,omitempty"`
	DTMF       bool                   `json:"dtmf,omitempty"`
	Offer      *description           `json:"offer,omitempty"`
	Answer     *description           `json:"answer,omitempty"`
	Desc       *description           `json:"description,omitempty"`
	Candidates []candidate            `json:"candidates,omitempty"`
	Streams    map[string]streamsItem `json:"sdp_stream_metadata,omitempty"`
	Reason     string                 `json:"reason,omitempty"`
	TURN       *TURN                  `json:"turn,omitempty"`
}

type description struct {
	Type string `json:"type"`
	SDP  string `json:"sdp"`
}

type candidate struct {
	Candidate string  `json:"candidate"`
	MID       *string `json:"sdpMid,omitempty"`
	Index     *int    `json:"sdpMLineIndex,omitempty"`
}

type streamsItem struct {
	Purpose    string `json:"purpose"`
	AudioMuted bool   `json:"audio_muted"`
	VideoMuted bool   `json:"video_muted"`
}

// TURN is a relay and the credentials for one call, with the field names of Matrix's /voip/turnServer.
type TURN struct {
	URIs     []string `json:"uris"`
	Username string   `json:"username"`
	Password string   `json:"password"`
	TTL      int64    `json:"ttl"` // s
}

// encode is what the device is told of an effect; ok is false when it is told nothing.
func encode(e voip.Effect, r voip.Record, prepare time.Duration, turn *TURN) (payload []byte, ok bool) {
	m := message{V: 1, CallID: string(r.ID)}
	switch e := e.(type) {
	case voip.LegPrepare:
		m.Type, m.Person, m.Lifetime, m.TURN = typeRing, string(r.Person), prepare.Milliseconds(), turn
	case voip.LegInvite:
		m.Type, m.Person, m.PartyID, m.Auto, m.TURN = typeInvite, string(r.Person), string(r.Peer), e.Auto, turn
		m.Offer, m.Streams = describe(e.Offer), streamsOut(e.Streams)
	case voip.LegAnswer:
		m.Type, m.PartyID, m.DTMF = typeAnswer, string(r.Peer), e.DTMF
		m.Answer, m.Streams = describe(e.Answer), streamsOut(e.Streams)
	case voip.LegAdd:
		m.Type, m.Candidates = typeCandidates, candidatesOut(e.List)
	case voip.LegNegotiate:
		m.Type, m.Desc, m.Streams = typeNegotiate, describe(e.Desc), streamsOut(e.Streams)
	case voip.LegStreams:
		m.Type, m.Streams = typeStreams, streamsOut(e.Streams)
	case voip.LegOfferStands:
		m.Type = typeStands
	case voip.LegOfferDropped:
		m.Type = typeDropped
	case voip.LegClose:
		m.Type, m.Reason = typeHangup, string(e.Reason)
	default:
		return nil, false
	}
	payload, _ = json.Marshal(m) // strings, numbers and maps of them can be written
	return payload, true
}

func describe(d voip.Description) *description { return &description{d.Type, d.SDP} }

func streamsOut(from voip.Streams) map[string]streamsItem {
	if from == nil {
		return nil
	}
	to := map[string]streamsItem{}
	for id, s := range from {
		to[id] = streamsItem(s)
	}
	return to
}

func candidatesOut(list []voip.Candidate) []candidate {
	var out []candidate
	for _, c := range list {
		o := candidate{Candidate: c.Candidate}
		if c.Candidate != "" {
			o.MID, o.Index = &c.MID, c.Index
		}
		out = append(out, o)
	}
	return out
}

// rings is what a device says when it wants people.
type rings struct{}

// decode reads a device's message: which call it is about and what it says of it, or rings{}, which is about none.
func decode(payload []byte) (ids.CallID, any, error) {
	if len(payload) > maxMessage {
		return "", nil, malformed("%d bytes, more than %d", len(payload), maxMessage)
	}
	var m message
	if json.Unmarshal(payload, &m) != nil {
		return "", nil, malformed("not JSON, or a field has the wrong type")
	}
	if m.V != 1 {
		return "", nil, malformed("v is not 1")
	}
	if m.Type == typeRing {
		return "", rings{}, nil
	}
	if m.CallID == "" || len(m.CallID) > maxCallID {
		return "", nil, malformed("call_id is missing or has more than %d bytes", maxCallID)
	}
	ev, err := m.event()
	return ids.CallID(m.CallID), ev, err
}

func (m *message) event() (voip.Event, error) {
	streams, err := m.streams()
	if err != nil {
		return nil, err
	}
	reason := voip.Reason(m.Reason)
	if len(reason) > maxText {
		return nil, malformed("reason has more than %d bytes", maxText)
	}
	switch m.Type {
	case typeInvite:
		d, err := m.Offer.take("offer", "offer")
		return voip.LegOffered{Offer: d, Streams: streams}, err
	case typeAnswer:
		d, err := m.Answer.take("answer", "answer")
		return voip.LegAnswered{Answer: d, Streams: streams}, err
	case typeCandidates:
		list, err := m.candidates()
		return voip.LegCandidates{List: list}, err
	case typeNegotiate:
		d, err := m.Desc.take("description", "offer", "answer")
		return voip.LegNegotiated{Desc: d, Streams: streams}, err
	case typeHangup, typeReject:
		return voip.LegHungUp{Reason: reason}, nil
	}
	return nil, malformed("type is none that a device sends")
}

func (d *description) take(name string, types ...string) (voip.Description, error) {
	if d == nil || d.SDP == "" {
		return voip.Description{}, malformed("%s is missing", name)
	}
	if len(d.SDP) > voip.MaxSDP {
		return voip.Description{}, malformed("%s has more than %d bytes of SDP", name, voip.MaxSDP)
	}
	for _, t := range types {
		if d.Type == t {
			return voip.Description{Type: t, SDP: d.SDP}, nil
		}
	}
	return voip.Description{}, malformed("%s.type is not one of %v", name, types)
}

func (m *message) streams() (voip.Streams, error) {
	if m.Streams == nil {
		return nil, nil
	}
	if len(m.Streams) > maxStreams {
		return nil, malformed("more than %d streams", maxStreams)
	}
	to := voip.Streams{}
	for id, s := range m.Streams {
		if id == "" || len(id) > maxText || len(s.Purpose) > maxText {
			return nil, malformed("a stream's id or purpose is empty or has more than %d bytes", maxText)
		}
		to[id] = voip.Stream(s)
	}
	return to, nil
}

func (m *message) candidates() ([]voip.Candidate, error) {
	if len(m.Candidates) > maxCandidates {
		return nil, malformed("more than %d candidates", maxCandidates)
	}
	var list []voip.Candidate
	for _, in := range m.Candidates {
		if len(in.Candidate) > maxCandidate || in.MID != nil && len(*in.MID) > maxText {
			return nil, malformed("a candidate has more than %d bytes", maxCandidate)
		}
		out := voip.Candidate{Candidate: in.Candidate}
		if in.Candidate != "" {
			out.Index = in.Index
			if in.MID != nil {
				out.MID = *in.MID
			}
		}
		list = append(list, out)
	}
	return list, nil
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}
