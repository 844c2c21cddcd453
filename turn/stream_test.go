package turn

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pion/stun/v4"
)

// ends waits until the server ends a connection.
func ends(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	for {
		if _, err := conn.Read(buf); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("the connection stays")
		} else if err != nil {
			return
		}
	}
}

func TestStreamsEnd(t *testing.T) {
	cert, key := writeCertificate(t, t.TempDir(), "first")
	const soon, never = 20 * time.Millisecond, time.Hour
	for _, c := range []struct {
		name   string
		listen string
		times  streamTimes
		do     func(*wire)
	}{
		{"nothing is said", "tcp", streamTimes{soon, never, never, never}, func(*wire) {}},
		{"no TLS handshake", "tls", streamTimes{soon, never, never, never}, nil},
		{"a message does not end", "tcp", streamTimes{soon, never, never, never}, func(w *wire) { w.write([]byte{0, 1, 0, 0}) }},
		{"the second message does not end", "tcp", streamTimes{soon, never, never, never}, func(w *wire) {
			w.ask(stun.MethodBinding)
			w.write([]byte{0, 1, 0, 0})
		}},
		{"no allocation", "tcp", streamTimes{never, soon, never, never}, func(w *wire) { w.ask(stun.MethodBinding) }},
		{"no allocation over TLS", "tls", streamTimes{never, soon, never, never}, func(w *wire) { w.ask(stun.MethodBinding) }},
		{"the allocation is given back", "tcp", streamTimes{never, soon, never, never}, func(w *wire) {
			w.allocate()
			w.ask(stun.MethodRefresh, uint32Attr(stun.AttrLifetime, 0))
		}},
		{"silent with an allocation", "tcp", streamTimes{never, never, soon, never}, func(w *wire) { w.allocate() }},
		{"garbage", "tcp", streamTimes{never, never, never, never}, func(w *wire) { w.write([]byte("\xffgarbage")) }},
		{"too long", "tcp", streamTimes{never, never, never, never}, func(w *wire) { w.write([]byte{0x40, 0, 0xff, 0xff}) }},
		{"garbage after an allocation", "tls", streamTimes{never, never, never, never}, func(w *wire) {
			w.allocate()
			w.write([]byte("\xffgarbage"))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachPath(t, func(t *testing.T, portable bool) {
				s := startServerWith(t, portable, c.times, func(cfg *Config) {
					cfg.Listen, cfg.CertFile, cfg.KeyFile = []string{c.listen + "://127.0.0.1:0"}, cert, key
				})
				if c.do == nil {
					conn, err := net.Dial("tcp", s.Addrs()[0].String())
					if err != nil {
						t.Fatal(err)
					}
					defer conn.Close()
					ends(t, conn)
					return
				}
				w := s.wire(0, "a")
				c.do(w)
				ends(t, w.conn)
				within(t, "nothing is left of it", func() bool { return len(s.Allocations()) == 0 && s.streams.gate.count() == 0 })
			})
		})
	}
}

func TestATrickleIsNotWaitedFor(t *testing.T) {
	s := startServerWith(t, false, streamTimes{message: 50 * time.Millisecond, idle: time.Hour, live: time.Hour, write: time.Hour}, func(c *Config) {
		c.Listen = []string{"tcp://127.0.0.1:0"}
	})
	w := s.wire(0, "a")
	message := w.build(stun.MethodBinding, attr(stun.AttrSoftware, make([]byte, 400)...))
	begin := time.Now()
	for _, b := range message { // a byte now and then, each well before the deadline
		if _, err := w.conn.Write([]byte{b}); err != nil {
			return
		}
		if time.Since(begin) > patience {
			t.Fatal("a message that trickles in puts its own deadline off")
		}
		if err := w.conn.SetReadDeadline(time.Now().Add(2 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := w.conn.Read(make([]byte, 1)); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
	}
	t.Fatal("the whole message was taken")
}

func TestConnectionsAreBounded(t *testing.T) {
	s := startServer(t, false, func(c *Config) {
		c.Listen = []string{"tcp://127.0.0.1:0"}
		c.Limits.Connections, c.Limits.ConnectionsPerIP = 100, 2
	})
	first, second := s.wire(0, "a"), s.wire(0, "a")
	first.ask(stun.MethodBinding)
	second.ask(stun.MethodBinding)
	ends(t, s.wire(0, "a").conn)
	first.conn.Close()
	within(t, "there is room again", func() bool { return s.streams.gate.count() == 1 })
	s.wire(0, "a").ask(stun.MethodBinding)
	second.ask(stun.MethodBinding)
}

func TestAClientThatDoesNotReadLosesPackets(t *testing.T) {
	eachPath(t, func(t *testing.T, portable bool) {
		s := startServerWith(t, portable, streamTimes{message: time.Hour, idle: time.Hour, live: time.Hour, write: 300 * time.Millisecond}, func(c *Config) {
			c.Listen = []string{"tcp://127.0.0.1:0", "udp://127.0.0.1:0"}
			c.Limits.BytesPerSecondPerUser = 1 << 40
		})
		lazy, busy, to := s.wire(0, "lazy"), s.wire(1, "busy"), newPeer(t, "127.0.0.1")
		if err := lazy.conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
			t.Fatal(err)
		}
		relayed := net.UDPAddrFromAddrPort(lazy.allocate())
		lazy.permit(to.LocalAddr())
		other := net.UDPAddrFromAddrPort(busy.allocate())
		busy.permit(to.LocalAddr())
		flood := make([]byte, 8000)
		within(t, "the client that does not read is let go", func() bool {
			for range 50 {
				sender(t, to, relayed, string(flood))()
			}
			// Meanwhile nobody else waits for it.
			sender(t, to, other, "hello")()
			if b, err := busy.read(); err != nil || !busy.isDataFrom(to.LocalAddr(), b, []byte("hello")) {
				t.Fatalf("%x, %v", b, err)
			}
			return len(s.Allocations()) == 1
		})
	})
}

func TestANewCertificateIsTakenAndCallsGoOn(t *testing.T) {
	dir := t.TempDir()
	cert, key := writeCertificate(t, dir, "first")
	s := startServer(t, false, func(c *Config) {
		c.Listen, c.CertFile, c.KeyFile = []string{"tls://127.0.0.1:0"}, cert, key
	})
	name := func(w *wire) string {
		return w.conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	old := s.wire(0, "a")
	old.allocate()
	if got := name(old); got != "first" {
		t.Fatalf("certificate %q", got)
	}
	writeCertificate(t, dir, "second")
	forget := func() { // when it was last looked at
		s.cert.mu.Lock()
		defer s.cert.mu.Unlock()
		s.cert.looked = time.Time{}
	}
	forget()
	if got := name(s.wire(0, "a")); got != "second" {
		t.Errorf("certificate %q after the change", got)
	}
	old.want("Refresh", old.ask(stun.MethodRefresh), 0)
	if err := os.WriteFile(filepath.Join(dir, "cert.pem"), []byte("half a fi"), 0o600); err != nil {
		t.Fatal(err)
	}
	forget()
	if got := name(s.wire(0, "a")); got != "second" {
		t.Errorf("certificate %q although the new one is none", got)
	}
}

func TestAStreamsEndEndsItsAllocation(t *testing.T) {
	eachPath(t, func(t *testing.T, portable bool) {
		reasons := make(chan EndReason, 1)
		s := startServer(t, portable, func(c *Config) {
			c.Listen = []string{"tcp://127.0.0.1:0"}
			c.OnEnd = func(e Ended) { reasons <- e.Reason }
		})
		w := s.wire(0, "a")
		w.allocate()
		w.conn.Close()
		if got := <-reasons; got != EndDisconnected {
			t.Errorf("ended: %s", got)
		}
	})
}
