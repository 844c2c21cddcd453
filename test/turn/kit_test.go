//go:build e2e || interop

package turn

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatepost/gatepost/test/harness"
	"github.com/gatepost/gatepost/test/turn/relay"
	"github.com/gatepost/gatepost/test/turn/wire"
)

const (
	realm    = "turn.example"
	secret   = "not a very good secret"
	patience = 20 * time.Second // for what must happen
	lull     = 300 * time.Millisecond
)

var loopback = netip.MustParseAddr("127.0.0.1")

// site is a running relay.
type site struct {
	*relay.Server
	t        *testing.T
	ctx      context.Context
	udp, tcp string // host:port
	tls      string // "" without
	udp6     string // "" without
}

// serve runs gatepost on 127.0.0.1 over UDP and TCP; change may ask for more. It is stopped with the test, and must end well.
func serve(t *testing.T, change func(*relay.Options)) *site {
	t.Helper()
	return serveWith(t, gatepost, change)
}

// server starts a relay.
type server func(*testing.T, relay.Options) (*relay.Server, error)

func gatepost(t *testing.T, o relay.Options) (*relay.Server, error) {
	return relay.Gatepost(t.Context(), program(t), o)
}

func serveWith(t *testing.T, start server, change func(*relay.Options)) *site {
	t.Helper()
	ports, err := harness.FreePorts(2)
	must(t, err)
	s := &site{t: t, ctx: t.Context()}
	s.udp = fmt.Sprintf("127.0.0.1:%d", ports[0])
	s.tcp = s.udp
	o := relay.Options{
		Dir: t.TempDir(), Listen: []string{"udp://" + s.udp, "tcp://" + s.tcp}, Relay: []netip.Addr{loopback},
		Realm: realm, Secret: secret,
	}
	if change != nil {
		change(&o)
	}
	if o.Cert != "" {
		s.tls = fmt.Sprintf("127.0.0.1:%d", ports[1])
		o.Listen = append(o.Listen, "tls://"+s.tls)
	}
	if has6(o.Relay) {
		s.udp6 = fmt.Sprintf("[::1]:%d", ports[0])
		o.Listen = append(o.Listen, "udp://"+s.udp6, "tcp://"+s.udp6)
	}
	s.run(start, o)
	return s
}

func has6(addrs []netip.Addr) bool { return slices.ContainsFunc(addrs, netip.Addr.Is6) }

func (s *site) run(start server, o relay.Options) {
	s.t.Helper()
	var err error
	s.Server, err = start(s.t, o)
	must(s.t, err)
	s.t.Cleanup(func() {
		code, err := s.Stop(patience)
		if err != nil || code != 0 && s.Name == "gatepost" {
			s.t.Errorf("%s ended with %d: %v", s.Name, code, err)
		}
		if s.t.Failed() {
			s.t.Logf("the end of the log of %s:\n%s", s.Name, s.Tail())
		}
	})
}

func program(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../../bin/gatepost")
	must(t, err)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("make build makes it: %v", err)
	}
	return path
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// until asks again and again, with a deadline.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !done(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for: %s", patience, what)
		}
	}
}

// credential is a fresh one of a user.
func credential(user string) wire.Credential {
	return wire.Mint(secret, user, time.Now().Add(time.Hour))
}

// dial connects a user over UDP, from an address (port 0) if one is given.
func (s *site) dial(user, from string) *wire.Client {
	s.t.Helper()
	var local net.Addr
	if from != "" {
		local = &net.UDPAddr{IP: net.ParseIP(from)}
	}
	c, err := wire.Dial("udp", s.udp, local, credential(user))
	must(s.t, err)
	s.t.Cleanup(func() { c.Close() })
	return c
}

// allocated is a user with an allocation.
func (s *site) allocated(user, from string) *wire.Client {
	s.t.Helper()
	c := s.dial(user, from)
	_, err := c.Allocate(0)
	must(s.t, err)
	return c
}

// peer is a socket that nobody tells of.
func peer(t *testing.T, addr string) (net.PacketConn, netip.AddrPort) {
	t.Helper()
	p, err := net.ListenPacket("udp", net.JoinHostPort(addr, "0"))
	must(t, err)
	t.Cleanup(func() { p.Close() })
	return p, netip.MustParseAddrPort(p.LocalAddr().String())
}

// hears is what comes to the peer next, "" if nothing does within d.
func hears(t *testing.T, p net.PacketConn, d time.Duration) string {
	t.Helper()
	must(t, p.SetReadDeadline(time.Now().Add(d)))
	buf := make([]byte, 2048)
	n, _, err := p.ReadFrom(buf)
	if err != nil {
		return ""
	}
	return string(buf[:n])
}

// metric sums a metric of gatepost over the label sets that hold all of the words.
func (s *site) metric(name string, words ...string) float64 {
	s.t.Helper()
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", s.Socket)
		},
	}}
	req, err := http.NewRequestWithContext(s.ctx, http.MethodGet, "http://gatepost/metrics", nil)
	must(s.t, err)
	resp, err := client.Do(req)
	must(s.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(s.t, err)
	sum, found := 0.0, false
lines:
	for line := range strings.Lines(string(body)) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		for _, w := range words {
			if !strings.Contains(rest, w) {
				continue lines
			}
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(rest[strings.LastIndexByte(rest, ' ')+1:]), 64)
		must(s.t, err)
		sum, found = sum+v, true
	}
	if !found && !strings.Contains(string(body), "# TYPE "+name+" ") && !strings.HasPrefix(name, "gatepost_turn_") {
		s.t.Fatalf("there is no metric %s", name)
	}
	return sum
}

func deadline() time.Time { return time.Now().Add(patience) }

// both has relay addresses of both families, where the machine has them.
func both(o *relay.Options) {
	if l, err := net.ListenPacket("udp6", "[::1]:0"); err == nil {
		l.Close()
		o.Relay = append(o.Relay, netip.IPv6Loopback())
	}
}

func toUDP(a netip.AddrPort) *net.UDPAddr { return net.UDPAddrFromAddrPort(a) }
