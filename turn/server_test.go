package turn

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/logging"
	"github.com/pion/turn/v5"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second // for what real sockets do

// server is a Server that runs for a test, on the loopback addresses, with loopback peers allowed.
type server struct {
	*Server
	t    testing.TB
	stop func() error
}

// eachPath runs a test with every data path there is.
func eachPath(t *testing.T, f func(t *testing.T, portable bool)) {
	t.Run("native", func(t *testing.T) { f(t, false) })
	t.Run("portable", func(t *testing.T) { f(t, true) })
}

func startServer(t testing.TB, portable bool, change func(*Config)) *server {
	t.Helper()
	return startServerWith(t, portable, defaultTimes(), change)
}

// startServerWith has other deadlines for streams.
func startServerWith(t testing.TB, portable bool, times streamTimes, change func(*Config)) *server {
	t.Helper()
	cfg := Config{
		Listen:     []string{"udp://127.0.0.1:0"},
		Realm:      testRealm,
		Secrets:    []string{testSecret},
		AllowPeers: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
	}
	if change != nil {
		change(&cfg)
	}
	s, err := newServer(cfg, portable)
	if err != nil {
		t.Fatal(err)
	}
	s.streams.times = times
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	within(t, "the server runs", s.running.Load)
	stopped := false
	out := &server{Server: s, t: t}
	out.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(patience):
			t.Fatal("Run does not return")
			return nil
		}
	}
	t.Cleanup(func() {
		if err := out.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return out
}

// within polls until f says yes.
func within(t testing.TB, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
		wait, stop := context.WithTimeout(t.Context(), time.Millisecond)
		<-wait.Done()
		stop()
	}
}

// pionClient is pion/turn's client, logged in at address i of the server.
func (s *server) pionClient(i int, user string) *turn.Client {
	s.t.Helper()
	username, password := Mint(testSecret, user, time.Now().Add(time.Hour))
	return s.pionClientAs(i, username, password, turn.RequestedAddressFamilyIPv4)
}

func (s *server) pionClientAs(i int, username, password string, family turn.RequestedAddressFamily) *turn.Client {
	s.t.Helper()
	conn := s.dial(i)
	c, err := turn.NewClient(&turn.ClientConfig{
		TURNServerAddr: s.Addrs()[i].String(), STUNServerAddr: s.Addrs()[i].String(), Conn: conn,
		Username: username, Password: password, Realm: testRealm, LoggerFactory: quiet{}, RequestedAddressFamily: family,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := c.Listen(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close(); conn.Close() })
	return c
}

// dial is a connection to address i of the server, in the form pion/turn wants.
func (s *server) dial(i int) net.PacketConn {
	s.t.Helper()
	to := s.Addrs()[i]
	if to.Network() == "udp" {
		host, _, _ := net.SplitHostPort(to.String())
		conn, err := net.ListenPacket("udp", net.JoinHostPort(host, "0"))
		if err != nil {
			s.t.Fatal(err)
		}
		return conn
	}
	conn, err := net.Dial("tcp", to.String())
	if err != nil {
		s.t.Fatal(err)
	}
	return turn.NewSTUNConn(conn)
}

// quiet makes loggers for pion that say nothing.
type quiet struct{}

func (quiet) NewLogger(string) logging.LeveledLogger {
	return logging.NewDefaultLeveledLoggerForScope("", logging.LogLevelDisabled, nil)
}

func allocate(t testing.TB, c *turn.Client) net.PacketConn {
	t.Helper()
	conn, err := c.Allocate()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// peer is somebody outside.
func newPeer(t testing.TB, host string) net.PacketConn {
	t.Helper()
	conn, err := net.ListenPacket("udp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// expect reads from conn until text comes, and says from whom. again is called before each try: datagrams may be lost.
func expect(t testing.TB, conn net.PacketConn, text string, again func()) net.Addr {
	t.Helper()
	deadline := time.Now().Add(patience)
	buf := make([]byte, 64<<10)
	for time.Now().Before(deadline) {
		again()
		_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				break
			}
			if string(buf[:n]) == text {
				return from
			}
		}
	}
	t.Fatalf("%.40q did not come", text)
	return nil
}

func sender(t testing.TB, conn net.PacketConn, to net.Addr, text string) func() {
	return func() {
		if _, err := conn.WriteTo([]byte(text), to); err != nil {
			t.Fatal(err)
		}
	}
}

// bothWays sends through a relayed address and back: first by indications, then, when pion has bound its channel, by it.
func bothWays(t *testing.T, relayed, peer net.PacketConn) {
	t.Helper()
	for _, size := range []int{1, 3, 172, 1200} {
		up, down := strings.Repeat("u", size), strings.Repeat("d", size)
		from := expect(t, peer, up, sender(t, relayed, peer.LocalAddr(), up))
		if from.String() != relayed.LocalAddr().String() {
			t.Errorf("the peer sees %s, the client was told %s", from, relayed.LocalAddr())
		}
		from = expect(t, relayed, down, sender(t, peer, relayed.LocalAddr(), down))
		if from.String() != peer.LocalAddr().String() {
			t.Errorf("the client sees %s for %s", from, peer.LocalAddr())
		}
	}
}

func TestRelayOverEachTransport(t *testing.T) {
	cert, key := writeCertificate(t, t.TempDir(), "first")
	eachPath(t, func(t *testing.T, portable bool) {
		for _, listen := range []string{"udp://127.0.0.1:0", "tcp://127.0.0.1:0", "udp://[::1]:0", "tcp://[::1]:0", "udp://0.0.0.0:0", "udp://[::]:0"} {
			t.Run(listen, func(t *testing.T) {
				s := startServer(t, portable, func(c *Config) {
					c.Listen, c.CertFile, c.KeyFile = []string{listen}, cert, key
					c.PublicIP = []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}
				})
				if strings.Contains(listen, "0.0.0.0") || strings.Contains(listen, "[::]") {
					s.reach(map[bool]string{true: "127.0.0.1", false: "::1"}[strings.Contains(listen, ".")])
				}
				family, host := turn.RequestedAddressFamilyIPv4, "127.0.0.1"
				if strings.Contains(listen, "[") {
					family, host = turn.RequestedAddressFamilyIPv6, "::1"
				}
				username, password := Mint(testSecret, "@a:b", time.Now().Add(time.Hour))
				relayed := allocate(t, s.pionClientAs(0, username, password, family))
				bothWays(t, relayed, newPeer(t, host))
			})
		}
	})
}

// reach has the test's clients use a host in place of an unspecified one.
func (s *server) reach(host string) {
	for i, a := range s.addrs {
		_, port, _ := net.SplitHostPort(a.String())
		s.addrs[i] = net.UDPAddrFromAddrPort(netip.MustParseAddrPort(net.JoinHostPort(host, port)))
	}
}

func TestClientsOfOneServerMeetInsideIt(t *testing.T) {
	eachPath(t, func(t *testing.T, portable bool) {
		for _, public := range []string{"127.0.0.1", "203.0.113.7"} { // 203.0.113.7: nothing of it could come back by a socket
			t.Run(public, func(t *testing.T) {
				s := startServer(t, portable, func(c *Config) {
					c.PublicIP = []netip.Addr{netip.MustParseAddr(public)}
					if !portable {
						c.Workers = 2
					}
				})
				var all []net.PacketConn
				for i := range 6 { // with two workers some are in one and some in another
					all = append(all, allocate(t, s.pionClient(0, fmt.Sprint("user", i))))
				}
				for i := range 5 {
					a, b := all[i], all[i+1]
					sender(t, b, a.LocalAddr(), "permission for a")()
					bothWays(t, a, b)
				}
			})
		}
	})
}

func TestEndIsToldOnce(t *testing.T) {
	eachPath(t, func(t *testing.T, portable bool) {
		var log bytes.Buffer
		ends := make(chan Ended, 10)
		s := startServer(t, portable, func(c *Config) {
			c.Log = slog.New(slog.NewTextHandler(&log, nil))
			c.OnEnd = func(e Ended) { ends <- e }
		})
		client, peer := s.pionClient(0, "@alice:example.org"), newPeer(t, "127.0.0.1")
		relayed := allocate(t, client)
		expect(t, peer, "12345", sender(t, relayed, peer.LocalAddr(), "12345"))
		all := s.Allocations()
		if len(all) != 1 || all[0].User != "@alice:example.org" || all[0].Relayed[0].String() != relayed.LocalAddr().String() {
			t.Fatalf("allocations: %+v", all)
		}
		if up, _ := s.Usage(all[0].Username); up.Bytes != 5*up.Packets || up.Packets == 0 {
			t.Errorf("usage %+v", up)
		}
		if n, err := s.Kick(func(i AllocationInfo) bool { return i.ID == "nobody" }); n != 0 || err != nil {
			t.Errorf("kicked %d, %v", n, err)
		}
		if n, err := s.Kick(func(i AllocationInfo) bool { return i.ID == all[0].ID }); n != 1 || err != nil {
			t.Errorf("kicked %d, %v", n, err)
		}
		e := <-ends
		if e.Reason != EndKicked || e.ToPeer.Bytes == 0 || e.ToPeer.Bytes%5 != 0 {
			t.Errorf("ended %+v", e)
		}
		if len(s.Allocations()) != 0 {
			t.Error("it is still there")
		}
		allocate(t, s.pionClient(0, "bob"))
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		if e := <-ends; e.Reason != EndStopped || e.User != "bob" {
			t.Errorf("ended %+v", e)
		}
		for _, want := range []string{`user=@alice:example.org`, `reason=kicked`, `user=bob`, `reason=stopped`, "to_peer_bytes="} {
			if n := strings.Count(log.String(), want); n == 0 || n > 1 && want != "to_peer_bytes=" {
				t.Errorf("%q is %d times in the log:\n%s", want, n, &log)
			}
		}
		if _, err := s.Kick(func(AllocationInfo) bool { return true }); err == nil {
			t.Error("kick after the end")
		}
	})
}
