package media

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/gatepost/gatepost/voip"
)

// camera is a device of tests.
type camera struct {
	tracks    []Track
	err       error // of Open
	link      chan Link
	got       chan uint16 // sequence numbers of what the person sends
	keyframes chan int
	closed    chan struct{}
}

func newCamera(tracks ...Track) *camera {
	return &camera{tracks: tracks, link: make(chan Link, 1), got: make(chan uint16, 1000), keyframes: make(chan int, 100), closed: make(chan struct{})}
}

func (c *camera) Open(context.Context) ([]Track, error) { return c.tracks, c.err }

func (c *camera) Run(ctx context.Context, to Link) error {
	c.link <- to
	<-ctx.Done()
	return nil
}

func (c *camera) Receive(_ int, p *rtp.Packet) {
	select {
	case c.got <- p.SequenceNumber:
	default:
	}
}

func (c *camera) Keyframe(track int) { c.keyframes <- track }

func (c *camera) Close() error {
	close(c.closed)
	return nil
}

// said collects what people in the room read.
type said struct {
	mu   sync.Mutex
	list []string
}

func (s *said) say(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, text)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.list, "\n")
}

func openSource(t *testing.T, e *Engine, src Source, words *said) *leg {
	t.Helper()
	return openCall(t, e, Call{Source: src, Say: words.say})
}

func openCall(t *testing.T, e *Engine, c Call) *leg {
	t.Helper()
	l := &leg{t: t, said: make(chan voip.Event, 100), keys: make(chan rune, 100)}
	c.Record.ID, c.Digit, c.Tell = "C1", func(_ *Leg, r rune) { l.keys <- r }, func(ev voip.Event) { l.said <- ev }
	var err error
	l.Leg, err = e.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Do(voip.Record{}, voip.LegClose{}) })
	return l
}

// calls lets the person call the leg until they are connected.
func (p *person) calls(l *leg) {
	p.t.Helper()
	l.Do(voip.Record{}, voip.LegInvite{Offer: p.describe(p.CreateOffer(nil))})
	a := says[voip.LegAnswered](l)
	p.must(p.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: a.Answer.SDP}))
	says[voip.LegConnected](l)
}

func receive[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("no %s", what)
		panic("not reached")
	}
}

// seen reads the person's track of a kind.
func (p *person) seen(kind webrtc.RTPCodecType) (<-chan *rtp.Packet, <-chan *webrtc.TrackRemote) {
	packets, tracks := make(chan *rtp.Packet, 1000), make(chan *webrtc.TrackRemote, 1)
	p.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		if track.Kind() == kind {
			tracks <- track
		}
		for {
			pkt, _, err := track.ReadRTP()
			if err != nil {
				return
			}
			if track.Kind() == kind {
				packets <- pkt
			}
		}
	})
	return packets, tracks
}

// A picture goes through as it is, and goes on without a jump when the camera begins anew; what the person asks for reaches
// the camera.
func TestVideoIsForwarded(t *testing.T) {
	t.Parallel()
	cam := newCamera(Track{Codecs: []Codec{H264("4d0028")}}, Track{Codecs: []Codec{PCMA(), PCMU()}, Receives: true})
	l, p := openSource(t, engine(t, everywhere), cam, &said{}), newPerson(t)
	_, err := p.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
	p.must(err)
	packets, tracks := p.seen(webrtc.RTPCodecTypeVideo)
	p.calls(l)
	link := receive(t, "link", cam.link)
	if !link.Codecs[0].Is(H264("")) || !link.Codecs[1].Is(PCMA()) {
		t.Fatalf("%+v", link.Codecs)
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() { // two streams, one after the other
		defer close(done)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-tick.C:
			case <-stop:
				return
			}
			h := rtp.Header{Version: 2, SSRC: 7, SequenceNumber: uint16(65500 + i), Timestamp: uint32(3000 * i), Marker: true}
			if i >= 100 {
				h = rtp.Header{Version: 2, SSRC: 8, SequenceNumber: uint16(9 + i), Timestamp: 77_000_000 + uint32(3000*i), Marker: true}
			}
			link.Send(0, &rtp.Packet{Header: h, Payload: []byte{0x65, byte(i)}})
		}
	}()
	t.Cleanup(func() { close(stop); <-done })
	first := receive(t, "packet", packets)
	last, seq, ts := first.Payload[1], first.SequenceNumber, first.Timestamp
	for last < 150 {
		pkt := receive(t, "packet", packets)
		steps := uint32(pkt.Payload[1] - last)
		if pkt.SequenceNumber-seq != uint16(steps) || pkt.SSRC != first.SSRC || !pkt.Marker {
			t.Fatalf("packet %d has number %d after %d of packet %d", pkt.Payload[1], pkt.SequenceNumber, seq, last)
		}
		if d := pkt.Timestamp - ts; d == 0 || d > 90_000 {
			t.Fatalf("packet %d has timestamp %d after %d", pkt.Payload[1], pkt.Timestamp, ts)
		}
		last, seq, ts = pkt.Payload[1], pkt.SequenceNumber, pkt.Timestamp
	}
	for range 2 { // at the begin of each stream
		if n := receive(t, "wish for a whole picture", cam.keyframes); n != 0 {
			t.Fatal(n)
		}
	}
	track := receive(t, "track", tracks)
	deadline := time.Now().Add(patience)
	for asked := false; !asked; {
		p.must(p.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(track.SSRC())}}))
		select {
		case <-cam.keyframes:
			asked = true
		case <-time.After(50 * time.Millisecond):
			if time.Now().After(deadline) {
				t.Fatal("the person's wish for a whole picture does not reach the camera")
			}
		}
	}
	s := l.Stats()
	if len(s.Out) != 2 || s.Out[0].Codec != "H264" || s.Out[0].Packets < 150 || s.Out[0].Bytes < 300 || s.Path.Protocol != "udp" || s.Path.Local != "host" {
		t.Errorf("%+v", s)
	}
	l.Do(voip.Record{}, voip.LegClose{})
	receive(t, "end of the camera", cam.closed)
}

// What a client did not get it asks for, and gets once more.
func TestLostPacketsAreSentAgain(t *testing.T) {
	cam := newCamera(Track{Codecs: []Codec{VP8()}})
	l := openSource(t, engine(t, everywhere), cam, &said{})
	p := newPerson(t, func(s *webrtc.SettingEngine) { s.DisableSRTPReplayProtection(true) }) // to see what it has already
	_, err := p.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
	p.must(err)
	packets, _ := p.seen(webrtc.RTPCodecTypeVideo)
	p.calls(l)
	link := receive(t, "link", cam.link)
	var pkt *rtp.Packet
	for i := uint16(0); pkt == nil; i++ {
		link.Send(0, &rtp.Packet{Header: rtp.Header{Version: 2, SSRC: 7, SequenceNumber: i, Timestamp: uint32(i) * 3000}, Payload: []byte{1, 2}})
		select {
		case pkt = <-packets:
		case <-time.After(10 * time.Millisecond):
		}
	}
	p.must(p.WriteRTCP([]rtcp.Packet{&rtcp.TransportLayerNack{MediaSSRC: pkt.SSRC, Nacks: []rtcp.NackPair{{PacketID: pkt.SequenceNumber}}}}))
	for {
		if again := receive(t, "packet once more", packets); again.SequenceNumber == pkt.SequenceNumber {
			return
		}
	}
}

// Two-way audio: what the person says reaches the device.
func TestTheDeviceHears(t *testing.T) {
	cam := newCamera(Track{Codecs: []Codec{Opus()}, Receives: true})
	l, p := openSource(t, engine(t, everywhere), cam, &said{}), newPerson(t)
	p.calls(l)
	receive(t, "link", cam.link)
	deadline := time.Now().Add(patience)
	for seq := uint16(100); ; seq++ {
		if time.Now().After(deadline) {
			t.Fatal("the device hears nothing")
		}
		p.must(p.mic.say(111, seq, 960*uint32(seq)))
		select {
		case n := <-cam.got:
			if in := l.Stats().In; len(in) != 1 || in[0].Packets == 0 || n < 100 {
				t.Errorf("%d %+v", n, in)
			}
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (m *microphone) say(pt uint8, seq uint16, timestamp uint32) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := rtp.Header{Version: 2, PayloadType: pt, SequenceNumber: seq, Timestamp: timestamp, SSRC: uint32(m.to)}
	_, err := m.out.WriteRTP(&h, []byte{0xf8, 0xff, 0xfe})
	return err
}

func TestTheRoomReadsWhyACallCantBe(t *testing.T) {
	e := engine(t, everywhere)
	for name, c := range map[string]struct {
		cam  *camera
		want string
	}{
		"nothing shared": {newCamera(Track{Codecs: []Codec{{MimeType: "audio/L16", ClockRate: 44100}}}, Track{Codecs: []Codec{{MimeType: "video/theora", ClockRate: 90000}}}), "L16 and theora"},
		"no picture":     {newCamera(Track{Codecs: []Codec{H264("42e01f")}}), "Make it a video call."},
		"silent":         {&camera{err: &Failure{Text: "The camera does not answer.", Err: errors.New("no route to 10.0.0.1")}, closed: make(chan struct{})}, "The camera does not answer."},
	} {
		t.Run(name, func(t *testing.T) {
			words, p := &said{}, newPerson(t)
			l := openSource(t, e, c.cam, words)
			l.Do(voip.Record{}, voip.LegInvite{Offer: p.describe(p.CreateOffer(nil))})
			if h := says[voip.LegHungUp](l); h.Reason != voip.MediaFailed {
				t.Error(h)
			}
			if !strings.Contains(words.String(), c.want) || strings.Contains(words.String(), "10.0.0.1") {
				t.Errorf("the room reads %q", words)
			}
			l.Do(voip.Record{}, voip.LegClose{})
			receive(t, "end of the camera", c.cam.closed)
		})
	}
}

// A person's client that takes the sound alone gets the sound.
func TestAudioWithoutThePicture(t *testing.T) {
	cam := newCamera(Track{Codecs: []Codec{H264("42e01f")}}, Track{Codecs: []Codec{Opus()}})
	l, p := openSource(t, engine(t, everywhere), cam, &said{}), newPerson(t)
	p.calls(l)
	link := receive(t, "link", cam.link)
	if link.Codecs[0] != (Codec{}) || !link.Codecs[1].Is(Opus()) {
		t.Errorf("%+v", link.Codecs)
	}
	link.Send(0, &rtp.Packet{Payload: []byte{1}}) // it goes nowhere
}
