package media

import (
	"context"
	"strings"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// Source is the device's side of one call. The methods are called in this order: Open, then Run unless the call ends before,
// then Close, once each; Receive and Keyframe while Run runs, from other goroutines and at the same time.
type Source interface {
	// Open makes contact with the device and says what it has: at least one track, at most one of audio and one of video.
	// ctx bounds it to some seconds. An error that wraps a *Failure has words for the person who calls.
	Open(ctx context.Context) ([]Track, error)
	// Run plays until ctx is done, or until there is no more; then nil, and the call ends. It begins when the person can
	// hear. A device that breaks off may be sought again meanwhile; an error ends the call.
	Run(ctx context.Context, to Link) error
	// Receive takes a packet that the person sent for a track that Receives, in the codec of Link.Codecs. The packets have
	// one SSRC, and sequence numbers and timestamps that go on, with gaps where some were lost. It must not block nor keep p.
	Receive(track int, p *rtp.Packet)
	// Keyframe asks the device for a whole picture; it must not block. There may be many.
	Keyframe(track int)
	// Close ends what Open began, also when that failed.
	Close() error
}

// Track is something that a device plays, and maybe hears.
type Track struct {
	Codecs   []Codec // that it can send as it is, the best first; all of audio or all of video
	Receives bool    // it takes the same from the person
}

// Video tells it from audio.
func (t Track) Video() bool { return len(t.Codecs) > 0 && t.Codecs[0].video() }

// Link is the person's end of a call, as a Source sees it.
type Link struct {
	// Codecs has for each track the one to send; the zero Codec: the person does not take the track.
	Codecs []Codec
	// Send takes a packet for a track by its number; it does not keep it, nor block. Safe for concurrent use with different
	// tracks. Payload type and SSRC are of no matter. After a new SSRC, as when a device was sought again, sequence and timestamp go
	// on for the person without a jump.
	Send func(track int, p *rtp.Packet)
	// Say tells the people in the device's room something, such as that the device is being sought again. It does not block.
	Say func(text string)
}

// Codec is a format of RTP payloads.
type Codec struct {
	MimeType  string // such as audio/opus
	ClockRate uint32 // Hz
	Channels  uint16 // of audio, as SDP has it: 2 for Opus always; 0 for 1 in others
	Fmtp      string
}

// Opus is Opus as browsers speak it (RFC 7587).
func Opus() Codec {
	return Codec{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2, Fmtp: "minptime=10;useinbandfec=1"}
}

// PCMU is G.711 with the law of America and Japan (RFC 3551).
func PCMU() Codec { return Codec{MimeType: webrtc.MimeTypePCMU, ClockRate: 8000} }

// PCMA is G.711 with the law of Europe (RFC 3551).
func PCMA() Codec { return Codec{MimeType: webrtc.MimeTypePCMA, ClockRate: 8000} }

// VP8 is VP8 (RFC 7741).
func VP8() Codec { return Codec{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000} }

// H264 is H.264 with a profile, such as 42e01f, in packets of more than a slice (RFC 6184, packetization-mode 1).
func H264(profile string) Codec {
	return Codec{MimeType: webrtc.MimeTypeH264, ClockRate: 90000, Fmtp: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=" + profile}
}

// H265 is H.265 (RFC 7798), which few clients take.
func H265() Codec { return Codec{MimeType: webrtc.MimeTypeH265, ClockRate: 90000} }

// Is tells whether both are the same format, whatever their parameters.
func (c Codec) Is(o Codec) bool {
	return strings.EqualFold(c.MimeType, o.MimeType) && c.ClockRate == o.ClockRate && max(c.Channels, 1) == max(o.Channels, 1)
}

func (c Codec) video() bool { return strings.HasPrefix(c.MimeType, "video/") }

func (c Codec) kind() webrtc.RTPCodecType {
	if c.video() {
		return webrtc.RTPCodecTypeVideo
	}
	return webrtc.RTPCodecTypeAudio
}

// name is what people call it.
func (c Codec) name() string {
	_, name, _ := strings.Cut(c.MimeType, "/")
	return name
}

func (c Codec) capability() webrtc.RTPCodecCapability {
	out := webrtc.RTPCodecCapability{MimeType: c.MimeType, ClockRate: c.ClockRate, Channels: c.Channels, SDPFmtpLine: c.Fmtp}
	if c.video() {
		out.RTCPFeedback = []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}, {Type: "ccm", Parameter: "fir"}}
	}
	return out
}
