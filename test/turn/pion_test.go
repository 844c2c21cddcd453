//go:build e2e

package turn

import (
	"crypto/tls"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/logging"
	"github.com/pion/turn/v5"

	"github.com/gatepost/gatepost/test/turn/relay"
)

// pion/turn's client talks to a peer and to another client of its kind, over each transport.
func TestPionClients(t *testing.T) {
	s := serve(t, func(o *relay.Options) {
		opened(o)
		o.Cert, o.Key = certificate(t)
	})
	transports := map[string]func() net.PacketConn{
		"udp": func() net.PacketConn {
			c, err := net.ListenPacket("udp4", "127.0.0.1:0")
			must(t, err)
			return c
		},
		"tcp": func() net.PacketConn {
			c, err := net.Dial("tcp", s.tcp)
			must(t, err)
			return turn.NewSTUNConn(c)
		},
		"tls": func() net.PacketConn {
			c, err := tls.Dial("tcp", s.tls, &tls.Config{InsecureSkipVerify: true})
			must(t, err)
			return turn.NewSTUNConn(c)
		},
	}
	for name, open := range transports {
		t.Run(name, func(t *testing.T) {
			alice := s.pion(t, "@alice:turn.example", open())
			bob := s.pion(t, "@bob:turn.example", open())
			far, at := peer(t, "127.0.0.1")
			// The first packets go by indication until the client has bound a channel, the later ones by channel.
			for range 20 {
				exchange(t, alice, far, at)
			}
			relayed, err := netip.ParseAddrPort(bob.LocalAddr().String())
			must(t, err)
			_, err = bob.WriteTo([]byte("opens bob's permission"), alice.LocalAddr())
			must(t, err)
			for range 20 {
				exchange(t, alice, bob, relayed)
			}
		})
	}
	// Each exchange is two packets, and between clients each passes two allocations.
	const packets = 3 * (20*2 + 20*4)
	until(t, "the packets to be counted", func() bool { return s.metric("gatepost_turn_relayed_packets_total") >= packets })
}

// exchange sends a packet from a to b, who is at an address, and one back to where it came from. What is lost is sent again.
func exchange(t *testing.T, a, b net.PacketConn, at netip.AddrPort) {
	t.Helper()
	send := func(from, to net.PacketConn, addr net.Addr, text string) net.Addr {
		buf := make([]byte, 1500)
		for last := time.Now().Add(patience); time.Now().Before(last); {
			_, err := from.WriteTo([]byte(text), addr)
			must(t, err)
			must(t, to.SetReadDeadline(time.Now().Add(time.Second)))
			for {
				n, source, err := to.ReadFrom(buf)
				if err != nil {
					break
				}
				if string(buf[:n]) == text {
					return source
				}
			}
		}
		t.Fatalf("%q does not arrive", text)
		return nil
	}
	source := send(a, b, toUDP(at), "there "+time.Now().String())
	send(b, a, source, "back "+time.Now().String())
}

// pion is a client of pion/turn with an allocation.
func (s *site) pion(t *testing.T, user string, conn net.PacketConn) net.PacketConn {
	t.Helper()
	cred := credential(user)
	log := logging.NewDefaultLoggerFactory()
	log.DefaultLogLevel = logging.LogLevelDisabled
	client, err := turn.NewClient(&turn.ClientConfig{
		STUNServerAddr: s.udp, TURNServerAddr: s.udp, Conn: conn, Username: cred.Username, Password: cred.Password, Realm: realm, LoggerFactory: log,
	})
	must(t, err)
	t.Cleanup(func() { client.Close(); conn.Close() })
	must(t, client.Listen())
	relayed, err := client.Allocate()
	must(t, err)
	t.Cleanup(func() { relayed.Close() })
	return relayed
}
