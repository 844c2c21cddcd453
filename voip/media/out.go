package media

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// outTrack sends one track of the device's to the person (webrtc.TrackLocal). Safe for concurrent use.
type outTrack struct {
	id     string
	codecs []Codec
	held   *atomic.Bool // nothing is wanted now
	fresh  func()       // of a stream that begins with the packet just sent

	mu    sync.Mutex
	w     webrtc.TrackLocalWriter // nil: the person does not take it
	codec Codec                   // the one that is spoken
	pt    uint8
	ssrc  uint32
	rw    rewriter
	head  rtp.Header // kept, since the writer would make a new one escape
	toned bool       // a tone is played instead

	sent counter
	far  farEnd
}

// Bind takes the codec of the other side's that is ours: it is told in their order. None is no error, since the rest of the
// call goes on.
func (t *outTrack) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, theirs := range c.CodecParameters() {
		for _, ours := range t.codecs {
			if codecOf(theirs.RTPCodecCapability).Is(ours) {
				t.w, t.ssrc, t.pt, t.codec = c.WriteStream(), uint32(c.SSRC()), uint8(theirs.PayloadType), ours
				return theirs, nil
			}
		}
	}
	return webrtc.RTPCodecParameters{RTPCodecCapability: t.codecs[0].capability()}, nil
}

func codecOf(c webrtc.RTPCodecCapability) Codec {
	return Codec{MimeType: c.MimeType, ClockRate: c.ClockRate, Channels: c.Channels, Fmtp: c.SDPFmtpLine}
}

// Unbind is of webrtc.TrackLocal.
func (t *outTrack) Unbind(webrtc.TrackLocalContext) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.w = nil
	return nil
}

func (t *outTrack) ID() string                { return t.id }
func (*outTrack) RID() string                 { return "" }
func (*outTrack) StreamID() string            { return streamID }
func (t *outTrack) Kind() webrtc.RTPCodecType { return t.codecs[0].kind() }

// chosen is the codec that is spoken; the zero Codec for none.
func (t *outTrack) chosen() Codec {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.codec
}

// send forwards a packet of the device's.
func (t *outTrack) send(p *rtp.Packet) {
	t.mu.Lock()
	fresh := !t.toned && t.write(p)
	if t.toned {
		t.rw.pause()
	}
	t.mu.Unlock()
	if fresh {
		t.fresh()
	}
}

// write sends a packet with numbers that go on; it says whether a stream began with it. Call with mu held.
func (t *outTrack) write(p *rtp.Packet) (fresh bool) {
	if t.w == nil {
		return false
	}
	if t.held.Load() {
		t.rw.pause()
		return false
	}
	resumed := t.rw.resuming
	t.head = rtp.Header{Version: 2, Marker: p.Marker, PayloadType: t.pt, SSRC: t.ssrc}
	t.head.SequenceNumber, t.head.Timestamp, fresh = t.rw.next(&p.Header, time.Now(), t.codec.ClockRate)
	if _, err := t.w.WriteRTP(&t.head, p.Payload); err == nil { // else it is lost on the way, or the call is over
		t.sent.add(len(p.Payload))
	}
	return fresh || resumed
}

// keyframeGap is how often a device is asked for a whole picture at most: browsers repeat themselves until it comes.
const keyframeGap = 300 * time.Millisecond

// serve reads what the other side says about the track (RFC 4585), which the interceptors see only when it is read. keyframe
// is called for each wish for a whole picture that counts.
func (t *outTrack) serve(sender *webrtc.RTPSender, keyframe func()) {
	var asked time.Time
	for {
		list, _, err := sender.ReadRTCP()
		if err != nil {
			return // the call is over
		}
		for _, p := range list {
			switch p := p.(type) {
			case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
				if now := time.Now(); now.Sub(asked) >= keyframeGap {
					asked = now
					keyframe()
				}
			case *rtcp.ReceiverReport:
				t.far.report(p.Reports, t.chosen().ClockRate)
			case *rtcp.SenderReport:
				t.far.report(p.Reports, t.chosen().ClockRate)
			}
		}
	}
}
