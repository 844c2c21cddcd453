package source

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/gatepost/gatepost/internal/logkey"
	"github.com/gatepost/gatepost/voip/media"
)

// party is the gateway as a WebRTC peer of a device, or of the server that stands for it. Its media goes straight to the
// device, from a port of its own; no STUN or TURN server is asked.
type party struct {
	pc    *webrtc.PeerConnection
	voice *voice
	log   *slog.Logger
	wg    sync.WaitGroup // one for each track that is read

	up, gone chan struct{} // closed when media can flow, and when it can't any more
	upOnce   sync.Once
	goneOnce sync.Once
	arrived  chan struct{} // has something when came has more

	mu     sync.Mutex
	closed bool
	came   map[webrtc.RTPCodecType]*webrtc.TrackRemote // what packets have come for

	sink atomic.Pointer[sink] // nil: nobody listens yet
}

// sink is where packets go during Run.
type sink struct {
	tracks []partyTrack
	send   func(int, *rtp.Packet)
}

// partyTrack is one track, as it was agreed.
type partyTrack struct {
	kind  webrtc.RTPCodecType
	codec media.Codec
	talks bool // the device hears
}

// offered are the codecs that we know, with the payload types that we offer them with.
func offered() []webrtc.RTPCodecParameters {
	var out []webrtc.RTPCodecParameters
	for _, c := range []struct {
		codec media.Codec
		pt    webrtc.PayloadType
	}{
		{media.Opus(), 111}, {media.PCMU(), 0}, {media.PCMA(), 8}, {media.H264("42e01f"), 96}, {media.VP8(), 97}, {media.H265(), 98},
	} {
		capability := webrtc.RTPCodecCapability{MimeType: c.codec.MimeType, ClockRate: c.codec.ClockRate, Channels: c.codec.Channels, SDPFmtpLine: c.codec.Fmtp}
		if isVideo(c.codec) {
			capability.RTCPFeedback = []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}}
		}
		out = append(out, webrtc.RTPCodecParameters{RTPCodecCapability: capability, PayloadType: c.pt})
	}
	return out
}

// newParty makes a peer that sends checks to addresses that permit lets pass. It must be closed.
func newParty(permit func(netip.Addr) bool, log *slog.Logger) (*party, error) {
	var m webrtc.MediaEngine
	for _, c := range offered() {
		kind := webrtc.RTPCodecTypeAudio
		if strings.HasPrefix(c.MimeType, "video/") {
			kind = webrtc.RTPCodecTypeVideo
		}
		if err := m.RegisterCodec(c, kind); err != nil {
			return nil, err
		}
	}
	var r interceptor.Registry
	if err := errors.Join(webrtc.ConfigureNack(&m, &r), webrtc.ConfigureRTCPReports(&r)); err != nil {
		return nil, err
	}
	var s webrtc.SettingEngine
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6})
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	s.SetIncludeLoopbackCandidate(permit(netip.AddrFrom4([4]byte{127, 0, 0, 1})))
	s.SetIPFilter(func(ip net.IP) bool { return !ip.IsLinkLocalUnicast() })
	s.SetICETimeouts(5*time.Second, 10*time.Second, time.Second)
	s.SetPrflxAcceptanceMinWait(100 * time.Millisecond)
	s.SetRemoteIPFilter(func(ip net.IP) bool {
		addr, ok := netip.AddrFromSlice(ip)
		return ok && permit(addr.Unmap())
	})
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(&m), webrtc.WithInterceptorRegistry(&r), webrtc.WithSettingEngine(s)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, err
	}
	p := &party{
		pc: pc, voice: &voice{}, log: log, up: make(chan struct{}), gone: make(chan struct{}), arrived: make(chan struct{}, 1),
		came: map[webrtc.RTPCodecType]*webrtc.TrackRemote{},
	}
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		switch s {
		case webrtc.PeerConnectionStateConnected:
			p.upOnce.Do(func() { close(p.up) })
		case webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed:
			p.goneOnce.Do(func() { close(p.gone) })
		}
	})
	pc.OnTrack(func(t *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { p.track(t) })
	return p, nil
}

// permitting lets everything pass that can be a device's address, and loopback only if asked.
func permitting(loopback bool) func(netip.Addr) bool {
	return func(a netip.Addr) bool {
		return !a.IsUnspecified() && !a.IsMulticast() && !a.IsLinkLocalUnicast() && (loopback || !a.IsLoopback())
	}
}

// close ends it and returns after its last goroutine.
func (p *party) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	if err := p.pc.Close(); err != nil {
		p.log.Debug("a device's media did not close well", logkey.Error, err)
	}
	p.goneOnce.Do(func() { close(p.gone) })
	p.wg.Wait()
}

// track begins to read what packets have come for. Until Run they are dropped here, so that they are not late then.
func (p *party) track(t *webrtc.TrackRemote) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.came[t.Kind()] != nil {
		return // of each kind one
	}
	p.came[t.Kind()] = t
	select {
	case p.arrived <- struct{}{}:
	default:
	}
	p.wg.Go(func() { p.read(t) })
}

func (p *party) read(t *webrtc.TrackRemote) {
	codec, _ := known(t.Codec().RTPCodecCapability)
	fw := newForwarder(0, codec, rand.Uint32(), func(_ int, q *rtp.Packet) { //nolint:gosec // no secret
		s := p.sink.Load()
		if s == nil {
			return
		}
		for i, agreed := range s.tracks {
			if agreed.kind == t.Kind() && agreed.codec == codec {
				s.send(i, q)
			}
		}
	})
	for {
		pkt, _, err := t.ReadRTP()
		if err != nil {
			return
		}
		if pkt.PayloadType == uint8(t.PayloadType()) {
			fw.take(pkt)
		}
	}
}

// known is the codec that a negotiated one is.
func known(c webrtc.RTPCodecCapability) (media.Codec, bool) {
	for _, o := range offered() {
		if strings.EqualFold(o.MimeType, c.MimeType) {
			return media.Codec{MimeType: o.MimeType, ClockRate: o.ClockRate, Channels: o.Channels, Fmtp: o.SDPFmtpLine}, true
		}
	}
	return media.Codec{}, false
}

// lateTime is how long the second track may be behind the first.
const lateTime = time.Second

// tracks says what the device sends, once descriptions are exchanged. Where several codecs were agreed, the first packet
// shows which it is.
func (p *party) tracks(ctx context.Context) ([]partyTrack, error) {
	var late <-chan time.Time
	for {
		list, sure := p.agreed()
		switch {
		case len(list) == 0:
			return nil, fail("The device sends neither picture nor sound that calls can carry.", nil)
		case sure:
			return list, nil
		}
		select {
		case <-p.arrived:
			if late == nil {
				t := time.NewTimer(lateTime)
				defer t.Stop()
				late = t.C
			}
		case <-late:
			return list, nil
		case <-p.gone:
			return nil, fail("There is no way for media to and from the device.", nil)
		case <-ctx.Done():
			return nil, fail("The device sends no media.", ctx.Err())
		}
	}
}

// agreed is what was negotiated, the picture first; sure: nothing is left to be seen.
func (p *party) agreed() (list []partyTrack, sure bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	sure = true
	remote := p.pc.RemoteDescription()
	if remote == nil {
		return nil, true
	}
	theirs := directions(remote.SDP)
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecTypeAudio} {
		for _, tr := range p.pc.GetTransceivers() {
			dir := theirs[kind]
			if tr.Kind() != kind || tr.Receiver() == nil || dir != webrtc.RTPTransceiverDirectionSendrecv && dir != webrtc.RTPTransceiverDirectionSendonly {
				continue
			}
			params := tr.Receiver().GetParameters().Codecs
			t := p.came[kind]
			if t == nil && len(params) == 0 {
				continue
			}
			at := partyTrack{kind: kind, talks: dir == webrtc.RTPTransceiverDirectionSendrecv && kind == webrtc.RTPCodecTypeAudio}
			if t != nil {
				at.codec, _ = known(t.Codec().RTPCodecCapability)
			} else {
				at.codec, _ = known(params[0].RTPCodecCapability)
				sure = sure && len(params) == 1
			}
			if at.codec != (media.Codec{}) {
				list = append(list, at)
			}
			break
		}
	}
	return list, sure
}

// directions are those of a description's first picture and first sound, where they are not refused (RFC 8829 section 5.3.1).
func directions(text string) map[webrtc.RTPCodecType]webrtc.RTPTransceiverDirection {
	out := map[webrtc.RTPCodecType]webrtc.RTPTransceiverDirection{}
	var kind webrtc.RTPCodecType
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if m, ok := strings.CutPrefix(line, "m="); ok {
			f := strings.Fields(m)
			kind = 0
			if len(f) > 1 && f[1] != "0" && out[webrtc.NewRTPCodecType(f[0])] == 0 {
				if kind = webrtc.NewRTPCodecType(f[0]); kind != 0 {
					out[kind] = webrtc.RTPTransceiverDirectionSendrecv // where nothing is said
				}
			}
		}
		if a, ok := strings.CutPrefix(line, "a="); ok && kind != 0 {
			if d := webrtc.NewRTPTransceiverDirection(a); d != webrtc.RTPTransceiverDirectionUnknown {
				out[kind] = d
			}
		}
	}
	return out
}

// open gives the tracks as a Source does.
func (p *party) open(ctx context.Context) ([]partyTrack, []media.Track, error) {
	list, err := p.tracks(ctx)
	if err != nil {
		return nil, nil, err
	}
	var out []media.Track
	for _, t := range list {
		out = append(out, media.Track{Codecs: []media.Codec{t.codec}, Receives: t.talks})
	}
	return list, withSound(out), nil
}

// run hands on packets until ctx is done or the device is gone.
func (p *party) run(ctx context.Context, tracks []partyTrack, to media.Link) error {
	var sent []media.Codec
	for _, t := range tracks {
		sent = append(sent, t.codec)
	}
	if err := untaken(sent, to.Codecs); err != nil {
		return err
	}
	for i, t := range tracks {
		if t.talks {
			p.voice.speak(to.Codecs[i])
		}
	}
	p.sink.Store(&sink{tracks: tracks, send: to.Send})
	defer p.sink.Store(nil)
	select {
	case <-ctx.Done():
		return nil
	case <-p.gone:
		return fail("The device is gone.", nil)
	}
}

// keyframe asks for a picture that can be decoded alone.
func (p *party) keyframe(kind webrtc.RTPCodecType) {
	p.mu.Lock()
	t := p.came[kind]
	p.mu.Unlock()
	if t != nil {
		_ = p.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(t.SSRC())}}) // asked again, if it is lost
	}
}

// voice is what the person says, as a track to the device. Its codec is chosen when it is known.
type voice struct {
	mu    sync.Mutex
	out   webrtc.TrackLocalWriter
	ssrc  webrtc.SSRC
	types map[string]webrtc.PayloadType // by MIME type in small letters
	pt    webrtc.PayloadType
	on    bool
}

// Bind is of webrtc.TrackLocal, as are the next ones.
func (v *voice) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	list := c.CodecParameters()
	if len(list) == 0 {
		return webrtc.RTPCodecParameters{}, webrtc.ErrUnsupportedCodec
	}
	v.out, v.ssrc, v.types = c.WriteStream(), c.SSRC(), map[string]webrtc.PayloadType{}
	for _, p := range list {
		v.types[strings.ToLower(p.MimeType)] = p.PayloadType
	}
	return list[0], nil
}

// Unbind ends it.
func (v *voice) Unbind(webrtc.TrackLocalContext) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.out = nil
	return nil
}

// ID and the rest name it.
func (*voice) ID() string { return "person" }

// RID is none.
func (*voice) RID() string { return "" }

// StreamID names its stream.
func (*voice) StreamID() string { return "gatepost" }

// Kind is audio.
func (*voice) Kind() webrtc.RTPCodecType { return webrtc.RTPCodecTypeAudio }

// speak chooses the codec of what follows.
func (v *voice) speak(c media.Codec) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.pt, v.on = v.types[strings.ToLower(c.MimeType)]
}

// take sends a packet of the person.
func (v *voice) take(p *rtp.Packet) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.out == nil || !v.on {
		return
	}
	h := rtp.Header{
		Version: 2, Marker: p.Marker, PayloadType: uint8(v.pt), SequenceNumber: p.SequenceNumber, Timestamp: p.Timestamp, SSRC: uint32(v.ssrc),
	}
	_, _ = v.out.WriteRTP(&h, p.Payload) // lost, like any packet
}
