//go:build e2e || interop

package turn

import (
	"errors"
	"fmt"
	"net"
	"testing"
)

// echo sends back what comes to a port and to the next one, as a peer with RTP and RTCP would.
func echo(t *testing.T, addr string) string {
	t.Helper()
	for range 100 {
		a, err := net.ListenPacket("udp", net.JoinHostPort(addr, "0"))
		must(t, err)
		port := a.LocalAddr().(*net.UDPAddr).Port
		b, err := net.ListenPacket("udp", net.JoinHostPort(addr, fmt.Sprint(port+1)))
		if port%2 != 0 || err != nil {
			a.Close()
			if err == nil {
				b.Close()
			}
			continue
		}
		for _, c := range []net.PacketConn{a, b} {
			t.Cleanup(func() { c.Close() })
			go func() {
				buf := make([]byte, 2048)
				for {
					n, from, err := c.ReadFrom(buf)
					if errors.Is(err, net.ErrClosed) {
						return
					}
					if err == nil {
						_, _ = c.WriteTo(buf[:n], from) // lost is lost
					}
				}
			}()
		}
		return a.LocalAddr().String()
	}
	t.Fatal("no two ports side by side")
	return ""
}
