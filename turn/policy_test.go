package turn

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/pion/stun/v4"
)

// refusedRanges is the list of docs/turn.md, written down apart from the code's: each must be refused in every form.
var refusedRanges = []string{
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
	"192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
	"168.63.129.16/32",
	"::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32",
	"2002::/16", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
}

// samples are the first and the last address of a range and one in the middle.
func samples(p netip.Prefix) []net.IP {
	first := p.Masked().Addr().AsSlice()
	last, inside := append([]byte(nil), first...), append([]byte(nil), first...)
	for i := range last {
		if free := (i+1)*8 - p.Bits(); free >= 8 {
			last[i], inside[i] = 0xff, 0x5a
		} else if free > 0 {
			last[i] |= 1<<free - 1
			inside[i] |= 0x5a & (1<<free - 1)
		}
	}
	return []net.IP{first, last, inside}
}

// forms are the ways to write an IPv4 address in IPv6.
func forms(ip net.IP) map[string]net.IP {
	out := map[string]net.IP{"plain": ip}
	if len(ip) != net.IPv4len {
		return out
	}
	join := func(parts ...[]byte) net.IP {
		var b []byte
		for _, p := range parts {
			b = append(b, p...)
		}
		return b
	}
	zero := make([]byte, 16)
	turned := []byte{^ip[0], ^ip[1], ^ip[2], ^ip[3]}
	out["mapped"] = join(zero[:10], []byte{0xff, 0xff}, ip)
	out["translated"] = join(zero[:8], []byte{0xff, 0xff, 0, 0}, ip)
	out["compatible"] = join(zero[:12], ip)
	out["NAT64"] = join([]byte{0, 0x64, 0xff, 0x9b}, zero[:8], ip)
	out["6to4"] = join([]byte{0x20, 0x02}, ip, zero[:10])
	out["Teredo client"] = join([]byte{0x20, 0x01, 0, 0, 8, 8, 8, 8, 0, 0, 0x12, 0x34}, turned)
	out["Teredo server"] = join([]byte{0x20, 0x01, 0, 0}, ip, zero[:8])
	return out
}

// Every range, in every form, through each of the three ways to name a peer.
func TestRefusedPeers(t *testing.T) {
	c := newKit(t, nil).client("9.9.9.9:4000", "a").allocated(attr(attrAdditionalFamily, 2, 0, 0, 0))
	n := 0
	for _, text := range refusedRanges {
		for _, ip := range samples(netip.MustParsePrefix(text)) {
			for form, written := range forms(ip) {
				n++
				if addr, _ := netip.AddrFromSlice(written); text != "::ffff:0:0/96" && Public(addr.Unmap()) {
					t.Errorf("%s (%s of %s) is said to be public", written, form, text)
				}
				refusedEverywhere(t, c, fmt.Sprintf("%s (%s of %s)", written, form, text), written)
			}
		}
	}
	if n < 300 {
		t.Fatalf("only %d addresses were tried", n)
	}
}

func refusedEverywhere(t *testing.T, c *client, what string, ip net.IP) {
	t.Helper()
	to := peerSetter{ip, 4433}
	if got := code(c.do(stun.MethodCreatePermission, to)); got != 403 {
		t.Errorf("%s: CreatePermission is answered %d", what, got)
	}
	if got := code(c.do(stun.MethodChannelBind, channelNumber(0x4000), to)); got != 403 {
		t.Errorf("%s: ChannelBind is answered %d", what, got)
	}
	// Even if a permission were there, Send judges for itself.
	a := c.allocation()
	a.permissions = []permission{{[16]byte(ip.To16()), c.now + permissionLifetime}}
	if c.indicate(to, attr(stun.AttrData, 1)) {
		t.Errorf("%s: Send is relayed", what)
	}
	a.permissions = nil
}

// What lies beside a range is the Internet, unless it is in another range.
func TestAllowedPeers(t *testing.T) {
	c := newKit(t, nil).client("9.9.9.9:4000", "a").allocated(attr(attrAdditionalFamily, 2, 0, 0, 0))
	for _, text := range []string{
		"1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255",
		"169.255.0.0", "172.15.255.255", "172.32.0.0", "191.255.255.255", "192.0.1.0", "192.0.3.0", "192.88.98.255", "192.88.100.0",
		"192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "198.51.99.255", "198.51.101.0", "203.0.112.255",
		"203.0.114.0", "223.255.255.255", "168.63.129.15", "168.63.129.17", "8.8.8.8",
		"2001:200::", "2001:db7:ffff::1", "2001:db9::", "2003::", "2606:4700::1111", "3ffe::1", "2a00:1450::1",
	} {
		ip := netip.MustParseAddr(text).AsSlice()
		to := peerSetter{ip, 4433}
		if got := code(c.do(stun.MethodCreatePermission, to)); got != 0 {
			t.Errorf("%s: CreatePermission is answered %d", text, got)
		}
		if !Public(netip.MustParseAddr(text)) {
			t.Errorf("%s is said not to be public", text)
		}
		if !c.indicate(to, attr(stun.AttrData, 1)) {
			t.Errorf("%s: Send is not relayed", text)
		}
		a := c.allocation()
		c.h.fewer(a, len(a.permissions), 0)
		a.account.permissions = 0
		a.permissions = nil
	}
}

// A mapped address is refused even if it stands for one on the Internet: it is IPv6 on the wire (RFC 8656 section 10.2).
func TestMappedPublicPeer(t *testing.T) {
	c := newKit(t, nil).client("9.9.9.9:4000", "a").allocated(attr(attrAdditionalFamily, 2, 0, 0, 0))
	refusedEverywhere(t, c, "mapped 8.8.8.8", net.ParseIP("8.8.8.8"))
}

func TestAllowPeers(t *testing.T) {
	for _, row := range []struct {
		allow, peer string
		want        bool
	}{
		{"10.1.0.0/16", "10.1.2.3:1", true},
		{"10.1.0.0/16", "10.2.2.3:1", false},
		{"::ffff:10.1.0.0/112", "10.1.2.3:1", true}, // mapped in the list
		{"10.0.0.0/8", "[64:ff9b::10.0.0.1]:1", false},
		{"64:ff9b::/96", "[64:ff9b::10.0.0.1]:1", false},
		{"64:ff9b::/96", "[64:ff9b::8.8.8.8]:1", true},
		{"64:ff9b::/96", "[64:ff9b::77.7.7.7]:1", false}, // the host's own
		{"64:ff9b::/96", "[64:ff9b::5.5.5.5]:50000", false},
		{"2002::/16", "[2002:a00:1::1]:1", false},
		{"2001::/32", "[2001:0:808:808::f7f7:f7f7]:1", true},  // client 8.8.8.8
		{"2001::/32", "[2001:0:808:808::f5ff:fffe]:1", false}, // client 10.0.0.1
		{"2001::/32", "[2001:0:a00:1::f7f7:f7f7]:1", false},   // server 10.0.0.1
		{"fd00::/8", "[fd00::1]:1", true},
		{"127.0.0.0/8", "127.0.0.1:9", true},
		{"127.0.0.0/8", "127.0.0.2:9", true},
		{"127.0.0.0/8", "[::1]:9", false},
		{"::1/128", "[::1]:9", true},
		{"77.0.0.0/8", "77.7.7.7:9", false}, // the host's own: never, although listed
		{"0.0.0.0/0", "77.7.7.7:9", false},
		{"0.0.0.0/0", "5.5.5.5:9", false},
		{"0.0.0.0/0", "8.8.8.8:0", false},
		{"0.0.0.0/0", "0.0.0.0:9", false}, // the kernel takes it for 127.0.0.1
		{"::/0", "[::]:9", false},         // and this for ::1
	} {
		p := newPolicy([]netip.Prefix{netip.MustParsePrefix(row.allow)}, newPorts([]netip.Addr{netip.MustParseAddr("5.5.5.5")}, Ports{50000, 50010}, &random{}), 0)
		p.setHost([]netip.Addr{netip.MustParseAddr("77.7.7.7"), netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")})
		if got := p.judge(endpointOf(addrPort(row.peer))) == allow; got != row.want {
			t.Errorf("%s opened: %s is reachable: %v", row.allow, row.peer, got)
		}
	}
}

// The host's own addresses: the relayed addresses of others are reached inside the process, the gateway's media by a
// socket, nothing else.
func TestOwnAddresses(t *testing.T) {
	k := newKit(t, func(c *Config) { c.MediaPort = 40000 })
	k.h.policy.setHost([]netip.Addr{netip.MustParseAddr("77.7.7.7"), netip.MustParseAddr("192.168.1.5"), netip.MustParseAddr("5.5.5.5")})
	other := k.client("8.8.8.8:1", "b").allocated()
	relayed := other.allocation().relay[ipv4].public
	c := k.client("9.9.9.9:4000", "a").allocated()
	if got := code(c.do(stun.MethodChannelBind, channelNumber(0x4000), peer(relayed.String()))); got != 0 {
		t.Fatalf("channel to a relayed address: %d", got)
	}
	if ch := c.allocation().channelByNumber(0x4000, k.now); !ch.local {
		t.Error("it would go by a socket")
	}
	data := attr(stun.AttrData, 1)
	if !c.indicate(peer(relayed.String()), data) || !c.lastRes.local {
		t.Error("Send to a relayed address is not delivered inside")
	}
	number := uint16(0x4100)
	for at, want := range map[string]int{
		"77.7.7.7:40000": 0, "192.168.1.5:40000": 0, "5.5.5.5:40000": 0,
		"77.7.7.7:22": 403, "192.168.1.5:22": 403, "5.5.5.5:22": 403, "5.5.5.5:49999": 403,
		netip.AddrPortFrom(relayed.Addr(), free(k)).String(): 403,
	} {
		number++
		if got := code(c.do(stun.MethodChannelBind, channelNumber(number), peer(at))); got != want {
			t.Errorf("%s: ChannelBind is answered %d, want %d", at, got, want)
		}
		if c.indicate(peer(at), data) != (want == 0) || c.lastRes.local {
			t.Errorf("%s: Send relayed %v", at, want != 0)
		}
	}
	other.want("Refresh", other.do(stun.MethodRefresh, uint32Attr(stun.AttrLifetime, 0)), 0)
	if c.indicate(peer(relayed.String()), data) {
		t.Error("Send to a relayed address that is gone is relayed")
	}
	if k.h.policy.mediaPort = 0; k.h.policy.permits(endpointOf(addrPort("77.7.7.7:1")).ip) {
		t.Error("a permission for the host without any port to reach")
	}
}

// free is a relay port that nobody has.
func free(k *kit) uint16 {
	for port := k.h.ports.first; ; port++ {
		if !k.h.ports.pools[0].isLive(port) {
			return port
		}
	}
}

func TestJudgeMakesNoGarbage(t *testing.T) {
	p := newPolicy(nil, newPorts([]netip.Addr{netip.MustParseAddr("5.5.5.5")}, Ports{50000, 50010}, &random{}), 0)
	for _, at := range []string{"8.8.8.8:1", "[2a00::1]:1", "5.5.5.5:50000"} {
		to := endpointOf(addrPort(at))
		if n := testing.AllocsPerRun(100, func() { p.judge(to) }); n != 0 {
			t.Errorf("%s: %v allocations", at, n)
		}
	}
}

func BenchmarkJudge(b *testing.B) {
	p := newPolicy(nil, newPorts([]netip.Addr{netip.MustParseAddr("5.5.5.5")}, Ports{50000, 50010}, &random{}), 0)
	to := endpointOf(addrPort("8.8.8.8:1"))
	for b.Loop() {
		p.judge(to)
	}
}
