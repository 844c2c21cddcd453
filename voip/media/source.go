package media

import (
	"context"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// Track is something that a Source plays.
type Track struct {
	MimeType  string // such as audio/opus
	ClockRate uint32 // Hz
	Channels  uint16 // of audio, as SDP has it: 2 for Opus always
	Fmtp      string
}

func (t Track) capability() webrtc.RTPCodecCapability {
	return webrtc.RTPCodecCapability{MimeType: t.MimeType, ClockRate: t.ClockRate, Channels: t.Channels, SDPFmtpLine: t.Fmtp}
}

// Opus is Opus as browsers speak it (RFC 7587).
func Opus() Track {
	return Track{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2, Fmtp: "minptime=10;useinbandfec=1"}
}

// Source is the device's side of one call.
type Source interface {
	// Tracks are what it plays, always the same and at least one.
	Tracks() []Track
	// Run plays until ctx is done, or until there is no more; then nil, and the call ends. It is called once, when the
	// person can hear. send takes a packet for a track by its number; it does not keep it, nor block.
	Run(ctx context.Context, send func(track int, p *rtp.Packet)) error
}
