package legacy

import (
	"encoding/json"
	"fmt"

	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/voip"
)

// The types of the events.
const (
	TypeInvite       = "m.call.invite"
	TypeAnswer       = "m.call.answer"
	TypeCandidates   = "m.call.candidates"
	TypeSelectAnswer = "m.call.select_answer"
	TypeReject       = "m.call.reject"
	TypeHangup       = "m.call.hangup"
	TypeNegotiate    = "m.call.negotiate"
	TypeStreams      = "m.call.sdp_stream_metadata_changed"
	// typeOldStreams is what clients send that wrote it before it was in the specification (MSC3291).
	typeOldStreams = "org.matrix.call.sdp_stream_metadata_changed"
)

// Bounds on what is read.
const (
	maxContent    = 256 << 10 // bytes; the specification allows an event 64 KiB
	maxID         = 255       // bytes of a call or party id
	maxCandidate  = 1 << 10   // bytes of one candidate
	maxCandidates = 64        // of one event; the rest is left out
	maxStreams    = 32
	maxStreamID   = 255
	maxReason     = 64
)

// content is the union of all of them: what belongs to which type is checked by its decoder.
type content struct {
	CallID     string          `json:"call_id"`
	PartyID    string          `json:"party_id,omitempty"`
	Version    json.RawMessage `json:"version"`
	Lifetime   *float64        `json:"lifetime,omitempty"` // ms
	Invitee    string          `json:"invitee,omitempty"`
	Offer      *description    `json:"offer,omitempty"`
	Answer     *description    `json:"answer,omitempty"`
	Desc       *description    `json:"description,omitempty"`
	Candidates []candidate     `json:"candidates,omitempty"`
	Selected   string          `json:"selected_party_id,omitempty"`
	Reason     string          `json:"reason,omitempty"`
	Caps       *capabilities   `json:"capabilities,omitempty"`
	Streams    streams         `json:"sdp_stream_metadata,omitempty"`
	OldStreams streams         `json:"org.matrix.msc3077.sdp_stream_metadata,omitempty"`
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

type capabilities struct {
	DTMF       bool `json:"m.call.dtmf"`
	Transferee bool `json:"m.call.transferee"`
}

type streams map[string]stream

type stream struct {
	Purpose    string `json:"purpose"`
	AudioMuted bool   `json:"audio_muted"`
	VideoMuted bool   `json:"video_muted"`
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// validID checks an id as version 1 has it; earlier ones fit in as well.
func validID(id string) bool {
	if id == "" || len(id) > maxID {
		return false
	}
	for _, r := range []byte(id) {
		switch {
		case '0' <= r && r <= '9', 'A' <= r && r <= 'Z', 'a' <= r && r <= 'z', r == '.', r == '_', r == '~', r == '-':
		default:
			return false
		}
	}
	return true
}

// head checks what every event has, and says who sent it.
func (c *content) head(sender ids.UserID) (voip.Party, voip.Version, error) {
	if !validID(c.CallID) {
		return voip.Party{}, "", malformed("call_id is not 1 to %d characters of 0-9 A-Z a-z . _ ~ -", maxID)
	}
	if string(c.Version) == "0" {
		return voip.Party{User: sender}, voip.Version0, nil
	}
	if !validID(c.PartyID) {
		return voip.Party{}, "", malformed("party_id is not 1 to %d characters of 0-9 A-Z a-z . _ ~ -", maxID)
	}
	return voip.Party{User: sender, ID: ids.PartyID(c.PartyID)}, voip.Version1, nil
}

func (d *description) take(name string, types ...string) (voip.Description, error) {
	if d == nil || d.SDP == "" {
		return voip.Description{}, malformed("%s is missing", name)
	}
	if len(d.SDP) > voip.MaxSDP {
		return voip.Description{}, malformed("%s has %d bytes of SDP, more than %d", name, len(d.SDP), voip.MaxSDP)
	}
	for _, t := range types {
		if d.Type == t {
			return voip.Description{Type: t, SDP: d.SDP}, nil
		}
	}
	return voip.Description{}, malformed("%s is not of the type %v", name, types)
}

func (c *content) streams() (voip.Streams, error) {
	from := c.Streams
	if from == nil {
		from = c.OldStreams
	}
	if from == nil {
		return nil, nil
	}
	if len(from) > maxStreams {
		return nil, malformed("%d streams, more than %d", len(from), maxStreams)
	}
	to := voip.Streams{}
	for id, s := range from {
		if id == "" || len(id) > maxStreamID || len(s.Purpose) > maxReason {
			return nil, malformed("a stream's id or purpose is empty or too long")
		}
		to[id] = voip.Stream(s)
	}
	return to, nil
}

func (c *content) candidates() ([]voip.Candidate, error) {
	var list []voip.Candidate
	for _, in := range c.Candidates[:min(len(c.Candidates), maxCandidates)] {
		if len(in.Candidate) > maxCandidate || in.MID != nil && len(*in.MID) > maxReason {
			return nil, malformed("a candidate has more than %d bytes", maxCandidate)
		}
		out := voip.Candidate{Candidate: in.Candidate}
		if in.Candidate != "" {
			if in.MID != nil {
				out.MID = *in.MID
			}
			out.Index = in.Index
		}
		list = append(list, out)
	}
	return list, nil
}
