//go:build linux && interop

package nat

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"
)

func up(t *testing.T, kind Kind) *World {
	t.Helper()
	if err := Check(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	w, err := Up(t.Context(), kind)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Down(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// What the NATs do is what their names say, seen by servers on the outside: the ports of one socket at two destinations, and
// whether packets come at all.
func TestKinds(t *testing.T) {
	for kind, want := range map[Kind]string{Cone: "same port", Symmetric: "other port", NoUDP: "nothing"} {
		t.Run(string(kind), func(t *testing.T) {
			w := up(t, kind)
			// A connected socket is one flow; two of them on one local port are what one socket would do to two servers.
			ports := map[uint16]bool{}
			for _, at := range []string{Server, "203.0.113.1"} {
				server, err := within(w, "wan", func() (net.PacketConn, error) { return net.ListenPacket("udp4", at+":7000") })
				if err != nil {
					t.Fatal(err)
				}
				c, err := within(w, "a", func() (net.Conn, error) {
					return net.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(10, 10, 1, 2), Port: 5000}, &net.UDPAddr{IP: net.ParseIP(at), Port: 7000})
				})
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprint(c, "x")
				buf := make([]byte, 10)
				if err := server.SetReadDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
					t.Fatal(err)
				}
				_, from, err := server.ReadFrom(buf)
				if err == nil {
					a := netip.MustParseAddrPort(from.String())
					if a.Addr().String() != "203.0.113.2" {
						t.Errorf("the server sees %v", a)
					}
					ports[a.Port()] = true
				}
				c.Close()
				server.Close()
			}
			got := map[int]string{0: "nothing", 1: "same port", 2: "other port"}[len(ports)]
			if got != want {
				t.Errorf("%s: %v", got, ports)
			}
			conn, err := w.Dial(t.Context(), "wan", "tcp", Server+":9")
			if !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("the server's own port 9: %v, %v", conn, err)
			}
			if n, err := w.Direct(t.Context()); n != 0 || err != nil {
				t.Errorf("%d packets directly, %v", n, err)
			}
		})
	}
}

// Nothing of a world is left when it is down, and taking it down twice is no mistake.
func TestDownLeavesNothing(t *testing.T) {
	w := up(t, Cone)
	if _, err := os.Stat("/run/netns/" + w.Netns("a")); err != nil {
		t.Fatal(err)
	}
	if err := w.Down(); err != nil {
		t.Fatal(err)
	}
	for _, h := range hosts() {
		if _, err := os.Stat("/run/netns/" + w.Netns(h)); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", h, err)
		}
	}
	if err := w.Down(); err != nil {
		t.Errorf("down again: %v", err)
	}
}
