package media

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/stun/v4"
	"github.com/pion/webrtc/v4"

	"github.com/gatepost/gatepost/voip"
)

// What is too much is refused or cut although it is well formed.
func TestDescriptionsAreBounded(t *testing.T) {
	e := &Engine{cfg: Config{Permit: everywhere}}
	const head = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"
	const section = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"
	candidates := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "a=candidate:%d 1 udp 1 203.0.113.1 %d typ host\r\n", i, 1+i)
		}
		return b.String()
	}
	for name, c := range map[string]struct {
		text string
		left int // candidates; -1: it is refused
	}{
		"usual":             {head + section + candidates(5), 5},
		"many candidates":   {head + section + candidates(1000), maxCandidates},
		"in many sections":  {head + strings.Repeat(section+candidates(30), 10), maxCandidates},
		"as many sections":  {head + strings.Repeat(section, maxSections), 0},
		"too many sections": {head + strings.Repeat(section, maxSections+1), -1},
		"a megabyte":        {head + section + strings.Repeat("a=x:"+strings.Repeat("y", 1020)+"\r\n", 1024), -1},
		"a little too long": {head + section + strings.Repeat("a=x\r\n", voip.MaxSDP/5), -1},
	} {
		text, err := e.checked(voip.Description{Type: "offer", SDP: c.text})
		if c.left < 0 {
			if !errors.Is(err, ErrDescription) {
				t.Errorf("%s: %v", name, err)
			}
		} else if n := strings.Count(text, "\r\na=candidate:"); err != nil || n != c.left {
			t.Errorf("%s: %d candidates, %v", name, n, err)
		}
	}
}

// hiddenPlace is an address that no test permits; openPlace is one that is permitted. Both are of this host, so that what is
// sent to them arrives.
var hiddenPlace, openPlace = netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3")

// probes are the checks that come to an address.
type probes struct {
	*net.UDPConn
	came chan *stun.Message
}

func listenAt(t *testing.T, at netip.Addr) *probes {
	t.Helper()
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, 0)))
	if err != nil {
		t.Fatal(err)
	}
	p, done := &probes{conn, make(chan *stun.Message, 1000)}, make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			m := &stun.Message{Raw: append([]byte(nil), buf[:n]...)}
			if m.Decode() == nil && m.Type.Class == stun.ClassRequest {
				p.came <- m
			}
		}
	}()
	t.Cleanup(func() { _ = conn.Close(); <-done })
	return p
}

func (p *probes) candidate(kind string) string {
	a := p.LocalAddr().(*net.UDPAddr).AddrPort()
	return fmt.Sprintf("candidate:7 1 udp 2130706431 %s %d typ %s", a.Addr(), a.Port(), kind) + map[bool]string{true: " raddr 0.0.0.0 rport 0"}[kind == "relay"]
}

// No check goes to an address that is not permitted, however it is told: the gateway is no way to look into a network.
func TestRefusedAddressesAreNeverChecked(t *testing.T) {
	t.Parallel()
	permit := func(a netip.Addr) bool { return a == openPlace }
	// called is a leg with an offer that names a candidate, none if it is empty.
	called := func(t *testing.T, candidate string) (l *leg, offer, answer string) {
		t.Helper()
		e := engineWith(t, Config{ListenUDP: "127.0.0.1:0", Permit: permit})
		l = open(t, e, "tone:1000")
		p := newPerson(t) // who does nothing else
		o, err := p.CreateOffer(nil)
		p.must(err)
		p.must(p.SetLocalDescription(o))
		offer = o.SDP
		if candidate != "" {
			offer += "a=" + candidate + "\r\n"
		}
		l.Do(voip.Record{}, voip.LegInvite{Offer: voip.Description{Type: "offer", SDP: offer}})
		return l, offer, says[voip.LegAnswered](l).Answer.SDP
	}
	for name, tell := range map[string]func(t *testing.T, hidden, seen *probes){
		"in the offer": func(t *testing.T, hidden, seen *probes) {
			l, _, _ := called(t, hidden.candidate("host"))
			l.Do(voip.Record{}, voip.LegAdd{List: []voip.Candidate{{Candidate: seen.candidate("host"), MID: "0"}}})
		},
		"after the offer": func(t *testing.T, hidden, seen *probes) {
			l, _, _ := called(t, "")
			l.Do(voip.Record{}, voip.LegAdd{List: []voip.Candidate{{Candidate: hidden.candidate("host"), MID: "0"}, {Candidate: seen.candidate("host"), MID: "0"}}})
		},
		"as a relay": func(t *testing.T, hidden, seen *probes) {
			l, _, _ := called(t, "")
			l.Do(voip.Record{}, voip.LegAdd{List: []voip.Candidate{{Candidate: hidden.candidate("relay"), MID: "0"}, {Candidate: seen.candidate("relay"), MID: "0"}}})
			for { // the check that comes late, too
				var prio ice.PriorityAttr
				if m := receive(t, "late check", seen.came); prio.GetFrom(m) == nil && prio == checkPriority {
					seen.came <- m
					return
				}
			}
		},
		"in another offer": func(t *testing.T, hidden, seen *probes) {
			l, offer, _ := called(t, "")
			offer = strings.ReplaceAll(offer, credentialsOf(offer).ufrag, "another")
			l.Do(voip.Record{}, voip.LegNegotiate{Desc: voip.Description{Type: "offer", SDP: offer + "a=" + hidden.candidate("host") + "\r\na=" + seen.candidate("host") + "\r\n"}})
			says[voip.LegNegotiated](l)
		},
		"by a check from there": func(t *testing.T, hidden, seen *probes) {
			l, offer, answer := called(t, "")
			theirs, ours := credentialsOf(offer), credentialsOf(answer)
			must := func(err error) {
				if err != nil {
					t.Fatal(err)
				}
			}
			for _, from := range []*probes{seen, hidden, listenAt(t, openPlace)} { // one after the other: the leg is ready, then asked, then has been
				m, err := stun.Build(stun.BindingRequest, stun.TransactionID, stun.NewUsername(ours.ufrag+":"+theirs.ufrag), ice.AttrControlling(1),
					ice.PriorityAttr(1), ice.UseCandidate(), stun.NewShortTermIntegrity(ours.pwd), stun.Fingerprint)
				must(err)
				for n := 0; n == 0; {
					_, err = from.WriteTo(m.Raw, l.e.ports.udp[0].LocalAddr())
					must(err)
					if from == hidden {
						break
					}
					select {
					case c := <-from.came:
						from.came <- c
						n++
					case <-time.After(20 * time.Millisecond): // it was not ready
					}
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hidden, seen := listenAt(t, hiddenPlace), listenAt(t, openPlace)
			tell(t, hidden, seen)
			for range 3 { // checks are repeated to all pairs in turn, so the other would have come by now
				receive(t, "check of what is permitted", seen.came)
			}
			mark, err := stun.Build(stun.BindingRequest, stun.NewSoftware("the test"))
			if err == nil {
				_, err = seen.WriteTo(mark.Raw, hidden.LocalAddr())
			}
			if err != nil {
				t.Fatal(err)
			}
			if m := receive(t, "packet at the other address", hidden.came); !m.Contains(stun.AttrSoftware) {
				t.Errorf("a check of what is not: %s", m)
			}
		})
	}
}

// Each codec that the device does not speak is passed over; what is left is the call.
func TestUnknownCodecsAreNotAnswered(t *testing.T) {
	t.Parallel()
	l, p := open(t, engine(t, everywhere), "tone:1000"), newPerson(t)
	offer := p.describe(p.CreateOffer(nil))
	offer.SDP = strings.Replace(offer.SDP, "SAVPF 111", "SAVPF 35 111", 1) + "a=rtpmap:35 mystery/12345/9\r\na=fmtp:35 " + strings.Repeat("x", 4000) + "\r\n"
	l.Do(voip.Record{}, voip.LegInvite{Offer: offer})
	a := says[voip.LegAnswered](l)
	if strings.Contains(a.Answer.SDP, "mystery") || !strings.Contains(a.Answer.SDP, "opus/48000/2") {
		t.Error(a.Answer.SDP)
	}
	p.must(p.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: a.Answer.SDP}))
	says[voip.LegConnected](l)
}

// stuck is a device that does not say what it has, nor that it has nothing.
type stuck struct {
	*camera
	until chan struct{}
}

func (s stuck) Open(context.Context) ([]Track, error) {
	<-s.until
	return nil, errors.New("stuck")
}

// What waits for a leg is bounded; then the call ends.
func TestAFloodOfEffectsEndsTheCall(t *testing.T) {
	t.Parallel()
	src := stuck{newCamera(), make(chan struct{})}
	l, p := openSource(t, engine(t, everywhere), src, &said{}), newPerson(t)
	t.Cleanup(func() { close(src.until) })
	l.Do(voip.Record{}, voip.LegInvite{Offer: p.describe(p.CreateOffer(nil))})
	for range todoQueue + 1 { // it is busy with the first
		l.Do(voip.Record{}, voip.LegAdd{List: make([]voip.Candidate, 200)})
	}
	if h := says[voip.LegHungUp](l); h.Reason != voip.MediaFailed {
		t.Error(h)
	}
}
