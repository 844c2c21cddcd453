//go:build e2e

package turn

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/gatepost/gatepost/test/turn/relay"
	"github.com/gatepost/gatepost/test/turn/wire"
)

// refused are one address of each range that no stranger may reach through a relay.
func refused4() []string {
	return []string{
		"0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.1.2.3", "169.254.169.254", "172.16.0.1", "172.31.255.254",
		"192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1",
		"239.255.255.250", "240.0.0.1", "255.255.255.255", "168.63.129.16",
	}
}

func refused6() []string {
	return []string{
		"::", "::7f00:1", "100::1", "2001::1", "2001:db8::1", "3fff::1", "5f00::1", "fc00::1", "fd12:3456::1", "fe80::1",
		"fec0::1", "ff02::1", "64:ff9b:1::1",
	}
}

// disguises are the forms of an IPv4 address in IPv6: mapped, translated, NAT64, 6to4, Teredo (its client, inverted, and its
// server).
func disguises(v4 string) []netip.Addr {
	a := netip.MustParseAddr(v4).As4()
	at := func(hex string, offset int, mask byte) netip.Addr {
		b := netip.MustParseAddr(hex).As16()
		for i := range a {
			b[offset+i] = a[i] ^ mask
		}
		return netip.AddrFrom16(b)
	}
	return []netip.Addr{
		at("::ffff:0:0", 12, 0), at("::ffff:0:0:0", 12, 0), at("64:ff9b::", 12, 0), at("2002::1", 2, 0),
		at("2001:0:808:808::", 12, 0xFF), at("2001::f7f7:f7f7", 4, 0),
	}
}

// Every range of the deny list in every form is refused, by permission and by channel, and what is sent to one all the same
// goes nowhere.
func TestRefusedPeers(t *testing.T) {
	s := serve(t, func(o *relay.Options) {
		both(o)
		o.Relay[0] = netip.MustParseAddr("127.0.0.9") // not the host's own, which may be named in a permission: see below
	})
	alice := s.allocated("@alice:turn.example", "")
	knocks := 0
	check := func(c *wire.Client, peer netip.Addr) {
		t.Helper()
		at := netip.AddrPortFrom(peer, 4444)
		for name, ask := range map[string]func() (wire.Message, error){
			"permission": func() (wire.Message, error) { return c.Permit(at) },
			"channel":    func() (wire.Message, error) { return c.Bind(0x4000, at) },
		} {
			// 443: an IPv6 peer of an IPv4 allocation, or the other way round (RFC 8656 sections 10.2 and 12.2).
			if m, err := ask(); !errors.Is(err, wire.ErrRefused) || m.Code() != 403 && m.Code() != 443 {
				t.Errorf("%s for %v: %d, %v", name, peer, m.Code(), err)
			}
		}
		must(t, c.SendTo(at, []byte("knock")))
		knocks++
	}
	for _, v4 := range refused4() {
		check(alice, netip.MustParseAddr(v4))
		for _, a := range disguises(v4) {
			check(alice, a)
		}
	}
	if s.udp6 == "" {
		absent(t, "IPv6 on the loopback interface")
	}
	six := s.dial("@alice:turn.example", "")
	_, err := six.Allocate(6)
	must(t, err)
	for _, v6 := range refused6() {
		check(six, netip.MustParseAddr(v6))
	}
	for _, v4 := range refused4() {
		for _, a := range disguises(v4) {
			check(six, a)
		}
	}
	until(t, "all knocks to be dropped", func() bool { return s.metric("gatepost_turn_dropped_total") >= float64(knocks) })
	if n := s.metric("gatepost_turn_relayed_packets_total"); n != 0 {
		t.Errorf("%v packets were relayed", n)
	}
	// The public Internet is not refused; nothing is sent there.
	if _, err := alice.Permit(netip.MustParseAddrPort("9.9.9.9:1")); err != nil {
		t.Errorf("a public peer: %v", err)
	}
	if _, err := six.Permit(netip.MustParseAddrPort("[2620:fe::9]:1")); err != nil {
		t.Errorf("a public peer: %v", err)
	}
}

// A permission that one client has is no way to what listens on the relay's own host, though its address is the relay's.
func TestTheHostsOwnPorts(t *testing.T) {
	s := serve(t, nil) // nothing of 127.0.0.0/8 is opened, but the relayed addresses are there
	alice, bob := s.allocated("@alice:turn.example", ""), s.allocated("@bob:turn.example", "")
	service, at := peer(t, "127.0.0.1")
	if m, err := alice.Bind(0x4000, at); !errors.Is(err, wire.ErrRefused) || m.Code() != 403 {
		t.Errorf("a service of the host: %d, %v", m.Code(), err)
	}
	_, err := alice.Bind(0x4001, bob.Relay)
	must(t, err)
	_, err = bob.Bind(0x4001, alice.Relay)
	must(t, err)
	must(t, alice.SendTo(at, []byte("knock"))) // the permission is for the address, which both have
	must(t, alice.SendOn(0x4001, []byte("hello")))
	p, err := bob.Receive(deadline())
	must(t, err)
	if p.Channel != 0x4001 || string(p.Data) != "hello" {
		t.Errorf("bob hears %+v", p)
	}
	if got := hears(t, service, lull); got != "" {
		t.Errorf("the service of the host hears %q", got)
	}
}
