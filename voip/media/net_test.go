package media

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/rtp"
	"github.com/pion/stun/v4"
	"github.com/pion/webrtc/v4"

	"github.com/gatepost/gatepost/voip"
)

// engineWith is one that runs until the end of the test.
func engineWith(t *testing.T, cfg Config) *Engine {
	t.Helper()
	if cfg.Permit == nil {
		cfg.Permit = everywhere
	}
	e, err := New(cfg)
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

// A device such as one with libpeer waits for the other side to begin with DTLS.
func TestPassiveOfferIsAnsweredActive(t *testing.T) {
	t.Parallel()
	l, p := open(t, engine(t, everywhere), "tone:1000"), newPerson(t)
	offer := p.describe(p.CreateOffer(nil))
	offer.SDP = strings.ReplaceAll(offer.SDP, "a=setup:actpass", "a=setup:passive")
	l.Do(voip.Record{}, voip.LegInvite{Offer: offer})
	if a := says[voip.LegAnswered](l); !strings.Contains(a.Answer.SDP, "a=setup:active") {
		t.Error(a.Answer.SDP)
	}
}

// Browsers close DTLS just before their hangup arrives: the call goes on until then.
func TestClosedDTLSIsNoEnd(t *testing.T) {
	t.Parallel()
	l, p := call(t, "tone:1000")
	p.frequency()
	offer := p.describe(p.CreateOffer(nil)) // of before
	p.must(p.Close())
	for range 20 { // long enough for the news to arrive
		l.Do(voip.Record{}, voip.LegNegotiate{Desc: offer})
		says[voip.LegNegotiated](l)
	}
}

// All calls share one port, and each hears what is its own.
func TestManyCallsOnOnePort(t *testing.T) {
	t.Parallel()
	e := engine(t, everywhere)
	var wg sync.WaitGroup
	for i := range 8 {
		hz := 400 + 200*i
		l, p := open(t, e, "tone:"+itoa(hz)), newPerson(t)
		p.calls(l)
		wg.Go(func() {
			if f := p.frequency(); f < float64(hz)-30 || f > float64(hz)+30 {
				t.Errorf("%f Hz are heard, not %d", f, hz)
			}
		})
	}
	wg.Wait()
}

func itoa(n int) string { return strconv.Itoa(n) }

func TestOverTCP(t *testing.T) {
	t.Parallel()
	e := engineWith(t, Config{ListenUDP: "127.0.0.1:0", ListenTCP: "127.0.0.1:0"})
	l := open(t, e, "tone:1000")
	p := newPerson(t, func(s *webrtc.SettingEngine) { s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeTCP4}) })
	p.calls(l)
	if f := p.frequency(); f < 980 || f > 1020 {
		t.Errorf("%f Hz are heard", f)
	}
	if s := l.Stats(); s.Path.Protocol != "tcp" {
		t.Errorf("%+v", s.Path)
	}
}

// Connections that say nothing are bounded.
func TestTCPConnectionsAreBounded(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &limited{Listener: ln, from: map[netip.Addr]int{}}
	accepted, done := make(chan net.Conn, 100), make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	var last net.Conn
	for range maxConnsOfHost {
		dial()
		last = receive(t, "connection", accepted)
	}
	refused := dial()
	_ = refused.SetReadDeadline(time.Now().Add(patience))
	if _, err := refused.Read(make([]byte, 1)); err == nil {
		t.Error("one too many is served")
	}
	_, _ = last.Close(), last.Close() // twice
	dial()
	receive(t, "connection in the place of one that ended", accepted)
	_ = ln.Close()
	<-done
}

func TestIPv6(t *testing.T) {
	t.Parallel()
	e := engineWith(t, Config{ListenUDP: "[::1]:0"})
	l := open(t, e, "tone:1000")
	conn, err := net.ListenPacket("udp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	mux := ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: conn})
	t.Cleanup(func() { _ = mux.Close() })
	p := newPerson(t, func(s *webrtc.SettingEngine) {
		s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP6})
		s.SetICEUDPMux(mux)
	})
	p.calls(l)
	if f := p.frequency(); f < 980 || f > 1020 {
		t.Errorf("%f Hz are heard", f)
	}
}

func TestInterfaces(t *testing.T) {
	for name, want := range map[string]bool{"eth0": true, "wlan0": true, "docker0": false, "br-1a2b": false, "veth12": false, "podman0": false} {
		if got := (&Engine{}).useInterface(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	e := &Engine{cfg: Config{Interfaces: []string{"docker0", "lo"}}}
	if !e.useInterface("docker0") || e.useInterface("eth0") {
		t.Error("what is configured does not count")
	}
	list, err := e.addresses()
	if err != nil || !slices.Contains(list, netip.MustParseAddr("127.0.0.1")) {
		t.Errorf("%v %v", list, err)
	}
	if useIP(net.ParseIP("fe80::1")) || useIP(net.ParseIP("169.254.1.1")) || !useIP(net.ParseIP("2001:db8::1")) {
		t.Error("link-local addresses are of no use to others, and no others are left out")
	}
}

func TestNamesOfTheLocalNetwork(t *testing.T) {
	const name = "candidate:1 1 udp 1 0a1b2c3d-0000-4000-8000-000000000000.local 5000 typ host"
	nowhere := func(netip.Addr) bool { return false }
	for _, names := range []bool{false, true} {
		e := &Engine{cfg: Config{Permit: nowhere, LocalNames: names}}
		if e.permitted(name) != names || e.permitted(strings.Replace(name, ".local", ".example", 1)) || e.permitted(strings.Replace(name, "0000", strings.Repeat("a", 64), 1)) {
			t.Errorf("with names %v", names)
		}
	}
}

// A relay that does not answer holds nobody up.
func TestASilentRelay(t *testing.T) {
	t.Parallel()
	relay, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = relay.Close() }()
	e := engineWith(t, Config{ListenUDP: "127.0.0.1:0"})
	l, p := openBy(t, e, "tone:1000", &TURN{URIs: []string{"turn:" + relay.LocalAddr().String() + "?transport=udp"}, Username: "u", Password: "p"}), newPerson(t)
	l.Do(voip.Record{}, voip.LegInvite{Offer: p.describe(p.CreateOffer(nil))})
	a := says[voip.LegAnswered](l)
	if strings.Contains(a.Answer.SDP, "end-of-candidates") || !strings.Contains(a.Answer.SDP, "typ host") {
		t.Error("the answer waited for the relay, or has nothing:", a.Answer.SDP)
	}
	p.must(p.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: a.Answer.SDP}))
	says[voip.LegConnected](l)
}

// credentialsOf a description.
func credentialsOf(text string) credentials {
	p := newPath(false, nil)
	p.described(text, true)
	return p.local
}

// stunOn reads what is no media from a socket, and answers checks with a password.
type stunOn struct {
	net.PacketConn
	pwd      string
	requests chan *stun.Message
	media    chan []byte
	from     chan net.Addr
}

func listenSTUN(t *testing.T, pwd string) *stunOn {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &stunOn{c, pwd, make(chan *stun.Message, 100), make(chan []byte, 1000), make(chan net.Addr, 100)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			if !stun.IsMessage(buf[:n]) {
				select {
				case s.media <- slices.Clone(buf[:n]):
				default:
				}
				continue
			}
			m := &stun.Message{Raw: slices.Clone(buf[:n])}
			if m.Decode() != nil || m.Type != stun.BindingRequest {
				continue
			}
			s.requests <- m
			a := from.(*net.UDPAddr)
			r, err := stun.Build(m, stun.BindingSuccess, &stun.XORMappedAddress{IP: a.IP, Port: a.Port}, stun.NewShortTermIntegrity(pwd), stun.Fingerprint)
			if err == nil {
				_, _ = c.WriteTo(r.Raw, from)
			}
		}
	}()
	t.Cleanup(func() { _ = c.Close(); <-done })
	return s
}

// A relayed address that is told in the midst of a call is checked, with what proves who asks.
func TestRelaysThatComeLateAreChecked(t *testing.T) {
	t.Parallel()
	e := engine(t, everywhere)
	l, p := open(t, e, "tone:1000"), newPerson(t)
	p.calls(l)
	theirs, ours := credentialsOf(p.LocalDescription().SDP), credentialsOf(p.RemoteDescription().SDP)
	relay := listenSTUN(t, "not the password: nobody answers as far as the stack can tell")
	port := relay.LocalAddr().(*net.UDPAddr).Port
	l.Do(voip.Record{}, voip.LegAdd{List: []voip.Candidate{{Candidate: "candidate:9 1 udp 100 127.0.0.1 " + itoa(port) + " typ relay raddr 0.0.0.0 rport 0", MID: "0"}}})
	for {
		m := receive(t, "check", relay.requests)
		var prio ice.PriorityAttr
		if prio.GetFrom(m) != nil || prio != checkPriority {
			continue // one of the stack beneath
		}
		var user stun.Username
		if err := user.GetFrom(m); err != nil || user.String() != theirs.ufrag+":"+ours.ufrag {
			t.Errorf("user %s %v", user, err)
		}
		if err := stun.NewShortTermIntegrity(theirs.pwd).Check(m); err != nil || !m.Contains(stun.AttrICEControlled) || m.Contains(stun.AttrUseCandidate) {
			t.Errorf("%v %s", err, m)
		}
		return
	}
}

// The person's client moves to a way that is worth less: media follows it, and not before it was checked.
func TestMediaFollowsTheOtherSide(t *testing.T) {
	t.Parallel()
	e := engine(t, everywhere)
	l, p := open(t, e, "tone:1000"), newPerson(t)
	p.calls(l)
	p.frequency()
	theirs, ours := credentialsOf(p.LocalDescription().SDP), credentialsOf(p.RemoteDescription().SDP)
	other := listenSTUN(t, theirs.pwd)
	check := func(more ...stun.Setter) {
		m, err := stun.Build(append(append([]stun.Setter{
			stun.BindingRequest, stun.TransactionID, stun.NewUsername(ours.ufrag + ":" + theirs.ufrag), ice.AttrControlling(1), ice.PriorityAttr(1),
		}, more...), stun.NewShortTermIntegrity(ours.pwd), stun.Fingerprint)...)
		p.must(err)
		_, err = other.WriteTo(m.Raw, e.ports.udp[0].LocalAddr())
		p.must(err)
	}
	// the leg checks the way, and the other side moves
	deadline := time.Now().Add(patience)
	for moved := false; !moved; {
		if time.Now().After(deadline) {
			t.Fatal("no media on the new way")
		}
		check(ice.UseCandidate())
		select {
		case b := <-other.media:
			if moved = b[0]>>6 == 2; !moved {
				t.Errorf("%x", b)
			}
		case <-time.After(50 * time.Millisecond):
		}
	}
	if s := l.Stats(); s.Path.Remote != "prflx" {
		t.Errorf("%+v", s.Path)
	}
}

// A person hears a tone instead of the device, in the codec of the call.
func TestTonesAreHeard(t *testing.T) {
	t.Parallel()
	for _, codec := range []Codec{Opus(), PCMU(), PCMA()} {
		t.Run(codec.name(), func(t *testing.T) {
			cam := newCamera(Track{Codecs: []Codec{codec}})
			l, p := openSource(t, engine(t, everywhere), cam, &said{}), newPerson(t)
			packets, _ := p.seen(webrtc.RTPCodecTypeAudio)
			p.calls(l)
			link := receive(t, "link", cam.link)
			deadline := time.Now().Add(patience)
			for n := 0; n < 5; {
				l.Play(Done)
				link.Send(0, &rtp.Packet{Payload: []byte{1}})
				select {
				case pkt := <-packets:
					if len(pkt.Payload) > 1 {
						n++
					}
				case <-time.After(20 * time.Millisecond):
				}
				if time.Now().After(deadline) {
					t.Fatal("no tone is heard")
				}
			}
		})
	}
}

// What a call took is given back.
func TestCallsInTurnLeaveNothing(t *testing.T) {
	e := engine(t, everywhere)
	for range 5 {
		a := Announcement{tone: 1000}
		l := &leg{t: t, said: make(chan voip.Event, 100)}
		var err error
		l.Leg, err = e.Open(Call{Source: a.Source(), Tell: func(ev voip.Event) { l.said <- ev }})
		if err != nil {
			t.Fatal(err)
		}
		p := newPerson(t)
		p.calls(l)
		receive(t, "sound", p.heard)
		l.Do(voip.Record{}, voip.LegClose{})
		e.legs.Wait()
		if s := l.Stats(); len(s.Out) != 1 || s.Out[0].Packets == 0 || s.Path.Remote == "" {
			t.Errorf("%+v", s)
		}
		p.must(p.Close())
	}
	// TestMain counts the goroutines
}
