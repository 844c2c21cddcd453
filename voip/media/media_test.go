package media

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"github.com/thesyncim/gopus"
	"go.uber.org/goleak"

	"github.com/gatepost/gatepost/voip"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

func everywhere(netip.Addr) bool { return true }

// engine is one that runs on loopback until the end of the test.
func engine(t *testing.T, permit func(netip.Addr) bool) *Engine {
	t.Helper()
	e, err := New(Config{ListenUDP: "127.0.0.1:0", Permit: permit})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := e.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return e
}

// leg is a call's, and what it said.
type leg struct {
	*Leg
	t    *testing.T
	said chan voip.Event
	keys chan rune
}

func open(t *testing.T, e *Engine, announce string) *leg {
	t.Helper()
	return openBy(t, e, announce, nil)
}

// openBy is open with a relay.
func openBy(t *testing.T, e *Engine, announce string, relay *TURN) *leg {
	t.Helper()
	a, err := LoadAnnouncement(announce)
	if err != nil {
		t.Fatal(err)
	}
	l := &leg{t: t, said: make(chan voip.Event, 100), keys: make(chan rune, 100)}
	l.Leg, err = e.Open(Call{
		Record: voip.Record{ID: "C1"}, Source: a.Source(), TURN: relay, Digit: func(_ *Leg, r rune) { l.keys <- r }, Tell: func(ev voip.Event) { l.said <- ev },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Do(voip.Record{}, voip.LegClose{}) })
	return l
}

// says waits for an event of a type.
func says[T voip.Event](l *leg) T {
	l.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case ev := <-l.said:
			if want, ok := ev.(T); ok {
				return want
			}
		case <-deadline:
			var want T
			l.t.Fatalf("the leg never said %T", want)
		}
	}
}

// microphone is a track that sends keys, which pion's own tracks can't.
type microphone struct {
	mu  sync.Mutex
	out webrtc.TrackLocalWriter
	to  webrtc.SSRC
}

func (m *microphone) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.out, m.to = c.WriteStream(), c.SSRC()
	return c.CodecParameters()[0], nil
}

func (*microphone) Unbind(webrtc.TrackLocalContext) error { return nil }
func (*microphone) ID() string                            { return "mic" }
func (*microphone) RID() string                           { return "" }
func (*microphone) StreamID() string                      { return "person" }
func (*microphone) Kind() webrtc.RTPCodecType             { return webrtc.RTPCodecTypeAudio }

func (m *microphone) key(event byte, seq uint16, timestamp uint32) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := rtp.Header{Version: 2, PayloadType: 110, SequenceNumber: seq, Timestamp: timestamp, SSRC: uint32(m.to)}
	_, err := m.out.WriteRTP(&h, []byte{event, 10, 0, 160})
	return err
}

// person is a client that hears.
type person struct {
	*webrtc.PeerConnection
	t     *testing.T
	mic   *microphone
	heard chan []byte // Opus
}

func newPerson(t *testing.T, options ...func(*webrtc.SettingEngine)) *person {
	t.Helper()
	var m webrtc.MediaEngine
	if err := errors.Join(m.RegisterDefaultCodecs(), m.RegisterCodec(webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: mimeEvents, ClockRate: 48000, SDPFmtpLine: "0-15"}, PayloadType: 110,
	}, webrtc.RTPCodecTypeAudio)); err != nil {
		t.Fatal(err)
	}
	var s webrtc.SettingEngine
	s.SetIncludeLoopbackCandidate(true)
	s.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	for _, o := range options {
		o(&s)
	}
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(&m), webrtc.WithSettingEngine(s)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	p := &person{PeerConnection: pc, t: t, heard: make(chan []byte, 1000)}
	t.Cleanup(func() {
		if err := pc.Close(); err != nil {
			t.Error(err)
		}
	})
	p.mic = &microphone{}
	if _, err := pc.AddTrack(p.mic); err != nil {
		t.Fatal(err)
	}
	pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		for {
			pkt, _, err := track.ReadRTP()
			if err != nil {
				return
			}
			select {
			case p.heard <- pkt.Payload:
			default:
			}
		}
	})
	return p
}

func (p *person) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// describe applies an offer or answer of the person's and gives it with all candidates.
func (p *person) describe(d webrtc.SessionDescription, err error) voip.Description {
	p.t.Helper()
	p.must(err)
	done := webrtc.GatheringCompletePromise(p.PeerConnection)
	p.must(p.SetLocalDescription(d))
	<-done
	return voip.Description{Type: d.Type.String(), SDP: p.LocalDescription().SDP}
}

// frequency of the sound that comes, by its zero crossings over half a second.
func (p *person) frequency() float64 {
	p.t.Helper()
	dec, err := gopus.NewDecoder(gopus.DefaultDecoderConfig(sampleRate, 1))
	p.must(err)
	pcm := make([]int16, 5760)
	samples, crossings := 0, 0
	last := int16(0)
	deadline := time.After(patience)
	for i := range 35 {
		select {
		case b := <-p.heard:
			n, err := dec.DecodeInt16(b, pcm)
			p.must(err)
			for _, s := range pcm[:n] {
				if i >= 10 { // the decoder has settled
					samples++
					if last < 0 && s >= 0 {
						crossings++
					}
				}
				last = s
			}
		case <-deadline:
			p.t.Fatal("nothing is heard")
		}
	}
	return float64(crossings) * sampleRate / float64(samples)
}

// call lets the person call, and gives both when they are connected.
func call(t *testing.T, announce string) (*leg, *person) {
	t.Helper()
	l, p := open(t, engine(t, everywhere), announce), newPerson(t)
	l.Do(voip.Record{}, voip.LegInvite{Offer: p.describe(p.CreateOffer(nil))})
	a := says[voip.LegAnswered](l)
	if a.Answer.Type != "answer" || a.Streams[streamID].Purpose != "m.usermedia" || !strings.Contains(a.Answer.SDP, "msid:"+streamID+" ") {
		t.Fatalf("%+v", a)
	}
	p.must(p.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: a.Answer.SDP}))
	says[voip.LegConnected](l)
	return l, p
}

func TestAPersonCallsAndHearsTheTone(t *testing.T) {
	t.Parallel()
	_, p := call(t, "tone:1000")
	if f := p.frequency(); math.Abs(f-1000) > 20 {
		t.Errorf("%f Hz are heard", f)
	}
}

func TestAPersonIsCalledAndHearsTheTone(t *testing.T) {
	t.Parallel()
	l, p := open(t, engine(t, everywhere), "tone:440"), newPerson(t)
	l.Do(voip.Record{}, voip.LegPrepare{})
	o := says[voip.LegOffered](l)
	p.must(p.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: o.Offer.SDP}))
	l.Do(voip.Record{}, voip.LegAnswer{Answer: p.describe(p.CreateAnswer(nil))})
	says[voip.LegAccepted](l)
	says[voip.LegConnected](l)
	if f := p.frequency(); math.Abs(f-440) > 20 {
		t.Errorf("%f Hz are heard", f)
	}
}

// js-sdk holds with sendonly; an answer of sendrecv is refused by browsers.
func TestHoldAndUnhold(t *testing.T) {
	t.Parallel()
	l, p := call(t, "tone:1000")
	offer := p.describe(p.CreateOffer(nil))
	for _, step := range []struct{ theirs, ours string }{{"sendonly", "recvonly"}, {"sendrecv", "sendrecv"}} {
		o := offer
		o.SDP = strings.Replace(o.SDP, "a=sendrecv", "a="+step.theirs, 1)
		l.Do(voip.Record{}, voip.LegNegotiate{Desc: o})
		if a := says[voip.LegNegotiated](l); !strings.Contains(a.Desc.SDP, "a="+step.ours) || a.Desc.Type != "answer" {
			t.Errorf("%s is answered with\n%s", step.theirs, a.Desc.SDP)
		}
		if held := l.held.Load(); held != (step.theirs == "sendonly") {
			t.Errorf("%s: held %v", step.theirs, held)
		}
	}
}

func TestICERestart(t *testing.T) {
	t.Parallel()
	l, p := call(t, "tone:1000")
	l.Do(voip.Record{}, voip.LegNegotiate{Desc: p.describe(p.CreateOffer(&webrtc.OfferOptions{ICERestart: true}))})
	a := says[voip.LegNegotiated](l)
	p.must(p.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: a.Desc.SDP}))
	p.frequency()
}

func TestKeysAreHeard(t *testing.T) {
	t.Parallel()
	l, p := call(t, "tone:1000")
	p.frequency() // both sides have their keys now: what is sent earlier is lost
	seq := uint16(100)
	for i, event := range []byte{9, 11, 0} {
		for range 3 { // an event is many packets
			seq++
			p.must(p.mic.key(event, seq, uint32(1000+4800*i)))
		}
	}
	for _, want := range "9#0" {
		select {
		case got := <-l.keys:
			if got != want {
				t.Errorf("heard %c, not %c", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("%c was not heard", want)
		}
	}
}

// No checks are sent to what is refused, and no name is looked up.
func TestCandidatesThatAreRefused(t *testing.T) {
	public := func(a netip.Addr) bool { return a == netip.MustParseAddr("203.0.113.1") }
	for text, want := range map[string]bool{
		"candidate:1 1 udp 1 203.0.113.1 5000 typ host":                   true,
		"candidate:1 1 udp 1 ::ffff:203.0.113.1 5000 typ host":            true,
		"candidate:1 1 udp 1 127.0.0.1 5000 typ host":                     false,
		"candidate:1 1 udp 1 192.168.1.7 5000 typ host":                   false,
		"candidate:1 1 udp 1 fe80::1%lo 5000 typ host":                    false,
		"candidate:1 1 udp 1 0a1b2c3d-0000.local 5000 typ host":           false,
		"candidate:1 1 udp 1 example.org 5000 typ host":                   false,
		"candidate:1 1 udp 1 203.0.113.1":                                 false,
		"":                                                                false,
		"1 1 udp 1 203.0.113.1 5000 typ srflx raddr 10.0.0.1 rport 50000": true,
	} {
		if got := (&Engine{cfg: Config{Permit: public}}).permitted(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	p := newPerson(t)
	offer := p.describe(p.CreateOffer(nil))
	if !strings.Contains(offer.SDP, "a=candidate") {
		t.Fatal("the offer has no candidates, so nothing is tested")
	}
	text, err := (&Engine{cfg: Config{Permit: public}}).checked(offer)
	if err != nil || strings.Contains(text, "a=candidate") {
		t.Errorf("%v\n%s", err, text)
	}
}

func TestBadDescriptionsEndTheCall(t *testing.T) {
	e := engine(t, everywhere)
	video := "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n" +
		"m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=rtpmap:96 VP8/90000\r\na=mid:0\r\na=ice-ufrag:abcd\r\n" +
		"a=ice-pwd:abcdabcdabcdabcdabcdabcd\r\na=fingerprint:sha-256 " + strings.Repeat("00:", 31) + "00\r\na=setup:actpass\r\na=sendrecv\r\na=rtcp-mux\r\n"
	for name, text := range map[string]string{
		"empty": "", "garbage": "v=0 from alice", "long": "v=0\r\n" + strings.Repeat("a=x\r\n", 1<<18),
		"no media": "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n", "no codec in common": video,
	} {
		t.Run(name, func(t *testing.T) {
			l := open(t, e, "tone:1000")
			l.Do(voip.Record{}, voip.LegInvite{Offer: voip.Description{Type: "offer", SDP: text}})
			if h := says[voip.LegHungUp](l); h.Reason != voip.MediaFailed {
				t.Error(h)
			}
		})
	}
}

func TestNoCallsAfterTheEnd(t *testing.T) {
	e, err := New(Config{ListenUDP: "127.0.0.1:0", Permit: everywhere})
	if err != nil {
		t.Fatal(err)
	}
	a := Announcement{tone: 1000}
	if _, err := e.Open(Call{Source: a.Source(), Tell: func(voip.Event) {}}); !errors.Is(err, ErrClosed) {
		t.Errorf("before Listen: %v", err)
	}
}

func wav(rate uint32, channels uint16, samples ...int16) []byte {
	b := append([]byte("RIFF\x00\x00\x00\x00WAVELIST\x03\x00\x00\x00abc\x00fmt \x10\x00\x00\x00\x01\x00"), 0, 0)
	binary.LittleEndian.PutUint16(b[len(b)-2:], channels)
	b = binary.LittleEndian.AppendUint32(b, rate)
	b = append(b, 0, 0, 0, 0, 0, 0, 16, 0)
	b = binary.LittleEndian.AppendUint32(append(b, "data"...), uint32(2*len(samples)))
	for _, s := range samples {
		b = binary.LittleEndian.AppendUint16(b, uint16(s))
	}
	return b
}

func TestAnnouncements(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	a, err := LoadAnnouncement(write("good.wav", wav(24000, 2, 100, 300, -100, -300)))
	if err != nil || len(a.pcm) != 4 || a.pcm[0] != 200 || a.pcm[1] != 200 || a.pcm[3] != -200 {
		t.Errorf("%v %v", a, err)
	}
	for _, text := range []string{
		"tone:", "tone:99", "tone:8001", "tone:x", filepath.Join(dir, "none.wav"), write("text.wav", []byte("hello, this is no sound")),
		write("rate.wav", wav(44100, 1, 1)), write("channels.wav", wav(48000, 3, 1)), write("empty.wav", wav(48000, 1)[:44]),
	} {
		if a, err := LoadAnnouncement(text); !errors.Is(err, ErrAnnouncement) {
			t.Errorf("%s: %v %v", text, a, err)
		}
	}
}

// An announcement that is over ends the call.
func TestAFileIsPlayedOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "short.wav")
	if err := os.WriteFile(path, wav(8000, 1, make([]int16, 800)...), 0o600); err != nil {
		t.Fatal(err)
	}
	l, _ := call(t, path)
	if h := says[voip.LegHungUp](l); h.Reason != voip.UserHangup {
		t.Error(h)
	}
}

func FuzzDescription(f *testing.F) {
	f.Add("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=candidate:1 1 udp 1 127.0.0.1 5000 typ host\r\na=sendonly\r\n")
	e := &Engine{cfg: Config{Permit: func(netip.Addr) bool { return false }}}
	f.Fuzz(func(t *testing.T, text string) {
		out, err := e.checked(voip.Description{Type: "offer", SDP: text})
		if err != nil {
			return
		}
		if strings.Contains(out, "\na=candidate:") {
			t.Errorf("a refused candidate is left in %q", out)
		}
		if len(text) > voip.MaxSDP {
			t.Errorf("%d bytes are taken", len(text))
		}
		if _, _, err := mirrored(text, out); err != nil {
			t.Error(err)
		}
	})
}
