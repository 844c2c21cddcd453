package media

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
)

// payload is a codec and the number that stands for it in one call.
type payload struct {
	codec Codec
	pt    uint8
}

// fixed are the payload types that RFC 3551 gives.
var fixed = []payload{{PCMU(), 0}, {PCMA(), 8}}

// The payload types of our offers.
const (
	firstPT   = 96
	lastPT    = 125
	eventsPT  = 110 // telephone-event beside Opus, as browsers number it
	events8PT = 126 // beside G.711
)

// allCodecs numbers what the device speaks, for an offer.
func allCodecs(tracks []Track) [][]payload {
	out, next := make([][]payload, len(tracks)), uint8(firstPT)
	for i, t := range tracks {
		for _, c := range t.Codecs {
			if f := slices.IndexFunc(fixed, func(p payload) bool { return p.codec.Is(c) }); f >= 0 {
				out[i] = append(out[i], payload{c, fixed[f].pt})
				continue
			}
			if next == eventsPT {
				next++
			}
			if next > lastPT {
				break
			}
			out[i] = append(out[i], payload{c, next})
			next++
		}
	}
	return out
}

// sharedCodecs gives for each track the one codec of an offer that answers it, or none: the device's best of those that the
// person's client takes, with its number and parameters there.
func sharedCodecs(tracks []Track, offer string) ([][]payload, error) {
	var s sdp.SessionDescription
	if err := s.UnmarshalString(offer); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDescription, err)
	}
	out := make([][]payload, len(tracks))
	for _, m := range s.MediaDescriptions {
		for i, t := range tracks {
			kind := "audio"
			if t.Video() {
				kind = "video"
			}
			if m.MediaName.Media != kind || len(out[i]) > 0 {
				continue
			}
			if p, ok := shared(t.Codecs, offered(m)); ok {
				out[i] = []payload{p}
			}
		}
	}
	return out, nil
}

// takesVideo says whether a description has a section of video that is not refused.
func takesVideo(text string) bool {
	var s sdp.SessionDescription
	return s.UnmarshalString(text) == nil && slices.ContainsFunc(s.MediaDescriptions, func(m *sdp.MediaDescription) bool {
		return m.MediaName.Media == "video" && m.MediaName.Port.Value != 0
	})
}

// shared is the best of ours that is theirs; where several of theirs are the same format, the one with the most alike
// parameters.
func shared(ours []Codec, theirs []payload) (payload, bool) {
	for _, c := range ours {
		best, alike := payload{}, -1
		for _, p := range theirs {
			if n := likeness(c, p.codec); p.codec.Is(c) && n > alike {
				best, alike = p, n
			}
		}
		if alike >= 0 {
			return best, true
		}
	}
	return payload{}, false
}

// likeness of the parameters of H.264: the packetization mode must not be missed, since without it packets are refused; the
// profile is what decoders care little about.
func likeness(a, b Codec) int {
	if !strings.EqualFold(a.MimeType, webrtc.MimeTypeH264) || !strings.EqualFold(b.MimeType, a.MimeType) {
		return 0
	}
	n := 0
	if parameter(a.Fmtp, "packetization-mode") == parameter(b.Fmtp, "packetization-mode") {
		n += 4
	}
	pa, pb := strings.ToLower(parameter(a.Fmtp, "profile-level-id")), strings.ToLower(parameter(b.Fmtp, "profile-level-id"))
	if len(pa) == 6 && len(pb) == 6 {
		if pa[:2] == pb[:2] {
			n += 2
		}
		if pa[:4] == pb[:4] {
			n++
		}
	}
	return n
}

func parameter(fmtp, key string) string {
	for part := range strings.SplitSeq(fmtp, ";") {
		if k, v, ok := strings.Cut(strings.TrimSpace(part), "="); ok && strings.EqualFold(k, key) {
			return v
		}
	}
	return ""
}

// offered are the codecs of a media section, in its order (RFC 8866 sections 6.6 and 6.15).
func offered(m *sdp.MediaDescription) []payload {
	var out []payload
	for _, f := range m.MediaName.Formats {
		pt, err := strconv.ParseUint(f, 10, 7)
		if err != nil {
			continue
		}
		p := payload{pt: uint8(pt)}
		if i := slices.IndexFunc(fixed, func(p payload) bool { return p.pt == uint8(pt) }); i >= 0 {
			p.codec = fixed[i].codec
		}
		for _, a := range m.Attributes {
			value, ok := strings.CutPrefix(a.Value, f+" ")
			switch {
			case !ok:
			case a.Key == "rtpmap":
				p.codec = rtpmap(m.MediaName.Media, value, p.codec)
			case a.Key == "fmtp":
				p.codec.Fmtp = value
			}
		}
		if p.codec.MimeType != "" {
			out = append(out, p)
		}
	}
	return out
}

// rtpmap reads name/rate or name/rate/channels.
func rtpmap(media, value string, was Codec) Codec {
	f := strings.Split(strings.TrimSpace(value), "/")
	if len(f) < 2 {
		return was
	}
	rate, err := strconv.ParseUint(f[1], 10, 32)
	if err != nil {
		return was
	}
	c := Codec{MimeType: media + "/" + f[0], ClockRate: uint32(rate), Fmtp: was.Fmtp}
	if len(f) > 2 {
		if n, err := strconv.ParseUint(f[2], 10, 8); err == nil {
			c.Channels = uint16(n)
		}
	}
	return c
}

// names says what tracks speak, as people call it.
func names(tracks []Track) string {
	var out []string
	for _, t := range tracks {
		for _, c := range t.Codecs {
			if n := c.name(); !slices.Contains(out, n) {
				out = append(out, n)
			}
		}
	}
	switch len(out) {
	case 0:
		return "nothing"
	case 1:
		return out[0]
	}
	return strings.Join(out[:len(out)-1], ", ") + " and " + out[len(out)-1]
}

// mediaEngine registers codecs for one call, and the keys of a telephone.
func mediaEngine(codecs [][]payload) (*webrtc.MediaEngine, error) {
	var m webrtc.MediaEngine
	for _, list := range codecs {
		for _, p := range list {
			c := webrtc.RTPCodecParameters{RTPCodecCapability: p.codec.capability(), PayloadType: webrtc.PayloadType(p.pt)}
			if err := m.RegisterCodec(c, p.codec.kind()); err != nil {
				return nil, fmt.Errorf("media: codec %s: %w", p.codec.MimeType, err)
			}
		}
	}
	for pt, rate := range map[webrtc.PayloadType]uint32{eventsPT: 48000, events8PT: 8000} {
		c := webrtc.RTPCodecCapability{MimeType: mimeEvents, ClockRate: rate, SDPFmtpLine: "0-15"}
		if err := m.RegisterCodec(webrtc.RTPCodecParameters{RTPCodecCapability: c, PayloadType: pt}, webrtc.RTPCodecTypeAudio); err != nil {
			return nil, fmt.Errorf("media: %w", err)
		}
	}
	return &m, nil
}
