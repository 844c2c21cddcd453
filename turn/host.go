package turn

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/gatepost/gatepost/internal/logkey"
)

// hostEvery is how often the host's addresses are looked up: peers there are refused.
const hostEvery = 15 * time.Second

// hostAddrs are the addresses of all interfaces.
func hostAddrs() ([]netip.Addr, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var addrs []netip.Addr
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok {
			if addr, ok := netip.AddrFromSlice(n.IP); ok {
				addrs = append(addrs, addr.Unmap())
			}
		}
	}
	return addrs, nil
}

// watchHost keeps what the policy knows of the host's addresses up to date until ctx is done. When they can't be read, what
// was known stays.
func (s *Server) watchHost(ctx context.Context) {
	every := time.NewTicker(hostEvery)
	defer every.Stop()
	for {
		select {
		case <-every.C:
		case <-ctx.Done():
			return
		}
		addrs, err := hostAddrs()
		if err != nil {
			s.log.Warn("the addresses of the host can't be read", logkey.Error, err)
			continue
		}
		s.handler.policy.setHost(addrs)
	}
}

// relayAddrs are the addresses that relayed addresses are made of: the public ones, or where none is given those of the
// listeners. Loopback ones are left out where a family has others: what they are good for is tests.
func relayAddrs(public []netip.Addr, listen []netip.AddrPort, host []netip.Addr) []netip.Addr {
	var addrs []netip.Addr
	for _, a := range public {
		addrs = append(addrs, a.Unmap())
	}
	if len(addrs) == 0 {
		for _, l := range listen {
			a := l.Addr().Unmap()
			if a.IsUnspecified() {
				a = outward(a.Is4(), host)
			}
			if a.IsValid() {
				addrs = append(addrs, a)
			}
		}
	}
	var out []netip.Addr
	for _, a := range addrs {
		better := func(b netip.Addr) bool { return b.Is4() == a.Is4() && !b.IsLoopback() }
		if slices.Contains(out, a) || a.IsLoopback() && slices.ContainsFunc(addrs, better) {
			continue
		}
		out = append(out, a)
	}
	return out
}

// outward is the address of the host that packets to the Internet leave from, or where there is no way to it, any address
// of the family. Not valid: there is none. Nothing is sent.
func outward(v4 bool, host []netip.Addr) netip.Addr {
	network, far := "udp6", "[2001:4860:4860::8888]:9"
	if v4 {
		network, far = "udp4", "8.8.8.8:9"
	}
	if conn, err := net.Dial(network, far); err == nil {
		defer conn.Close()
		return addrPortOf(conn.LocalAddr()).Addr().WithZone("")
	}
	var found netip.Addr
	for _, a := range host {
		if a.Is4() != v4 || a.IsLinkLocalUnicast() || found.IsValid() && a.IsLoopback() {
			continue
		}
		if !found.IsValid() || found.IsLoopback() {
			found = a
		}
	}
	return found
}

// bindAddr is the address of the host that a relay socket with the public address is bound to: itself; behind a NAT the
// one we listen on, or any.
func bindAddr(public netip.Addr, host []netip.Addr, listen []netip.AddrPort) netip.Addr {
	if slices.Contains(host, public) || public.IsLoopback() {
		return public
	}
	for _, l := range listen {
		if a := l.Addr(); a.Is4() == public.Is4() && !a.IsUnspecified() && !a.IsLoopback() {
			return a
		}
	}
	if public.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}
