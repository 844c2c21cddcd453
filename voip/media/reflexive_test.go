package media

import (
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"

	"github.com/pion/stun/v4"

	"github.com/gatepost/gatepost/voip"
)

// mirror is a STUN server that sees askers where it likes; the zero Addr: where they are.
func mirror(t *testing.T, sees *net.UDPAddr) string {
	t.Helper()
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, mtu)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			m := &stun.Message{Raw: buf[:n]}
			if m.Decode() != nil || m.Type != stun.BindingRequest {
				continue // an allocation, which it does not make
			}
			at := from.(*net.UDPAddr)
			if sees != nil {
				at = sees
			}
			if r, err := stun.Build(m, stun.BindingSuccess, &stun.XORMappedAddress{IP: at.IP, Port: at.Port}); err == nil {
				_, _ = c.WriteTo(r.Raw, from) // or it is lost
			}
		}
	}()
	t.Cleanup(func() { _ = c.Close(); <-done })
	return "stun:" + c.LocalAddr().String()
}

// The one port of all calls is what the world is told, as a STUN server sees it, and no other.
func TestTheServerReflexiveCandidate(t *testing.T) {
	for name, c := range map[string]struct {
		sees *net.UDPAddr
		want string
	}{
		"behind a NAT": {&net.UDPAddr{IP: net.IPv4(203, 0, 113, 9), Port: 4444}, "203.0.113.9 4444"},
		"without one":  {},
	} {
		t.Run(name, func(t *testing.T) {
			e := engine(t, everywhere)
			call := Call{Source: newCamera(Track{Codecs: []Codec{Opus()}}), TURN: &TURN{URIs: []string{"turn:127.0.0.1:9?transport=tcp", mirror(t, c.sees)}, Username: "u", Password: "p"}}
			l, p := openCall(t, e, call), newPerson(t)
			l.Do(voip.Record{}, voip.LegInvite{Offer: p.describe(p.CreateOffer(nil))})
			text := says[voip.LegAnswered](l).Answer.SDP
			var want []string
			if c.want != "" {
				want = []string{fmt.Sprintf("%s typ srflx raddr 127.0.0.1 rport %d", c.want, e.ports.port())}
			}
			got := regexp.MustCompile(`\S+ \d+ typ srflx raddr \S+ rport \d+`).FindAllString(text, -1)
			if strings.Join(got, ",") != strings.Join(want, ",") {
				t.Errorf("candidates %q, want %q in\n%s", got, want, text)
			}
		})
	}
}
