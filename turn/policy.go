package turn

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"sync/atomic"
)

// deniedPeers are refused unless Config.AllowPeers opens them: what is not the public Internet (IANA's special-purpose
// registries), what is reachable only from inside a provider's network, and every range of IPv6 that carries IPv4.
func deniedPeers() []netip.Prefix {
	texts := []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
		"192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
		"224.0.0.0/4", "240.0.0.0/4",
		"168.63.129.16/32", // Azure's host
		"::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23",
		"2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
	}
	prefixes := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		prefixes[i] = netip.MustParsePrefix(text)
	}
	return prefixes
}

// verdict says what may be sent to a peer.
type verdict uint8

// The verdicts.
const (
	refuse verdict = iota
	allow          // by the relay socket
	local          // a relayed address of this server that lives: inside the process, never by a socket
)

// policy decides which peers may be talked to. It reads without locks. Safe for concurrent use.
type policy struct {
	deny, allow []netip.Prefix
	ports       *ports
	mediaPort   uint16
	host        atomic.Pointer[map[[16]byte]bool] // all addresses of this host
}

func newPolicy(allowed []netip.Prefix, p *ports, mediaPort uint16) *policy {
	out := &policy{deny: deniedPeers(), ports: p, mediaPort: mediaPort}
	for _, prefix := range allowed {
		out.allow = append(out.allow, unmapped(prefix))
	}
	out.setHost(nil)
	return out
}

// unmapped is a prefix of mapped addresses as the IPv4 prefix it stands for; peers are compared in that form.
func unmapped(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}

// setHost puts the addresses of all interfaces in place of those known.
func (p *policy) setHost(addrs []netip.Addr) {
	set := make(map[[16]byte]bool, len(addrs))
	for _, a := range addrs {
		set[a.As16()] = true
	}
	p.host.Store(&set)
}

// judge says what may be sent to a peer.
func (p *policy) judge(peer endpoint) verdict {
	if peer.port == 0 {
		return refuse
	}
	pool := p.ports.pool(peer.ip)
	if pool != nil && pool.isLive(peer.port) {
		return local
	}
	addr := peer.addr()
	if pool != nil || (*p.host.Load())[peer.ip] {
		if p.mediaPort != 0 && peer.port == p.mediaPort || p.openLoopback(addr) {
			return allow
		}
		return refuse
	}
	if p.reachable(addr) {
		return allow
	}
	return refuse
}

// permits says whether a permission may be made for an address (RFC 8656 section 9: it has no port). What is sent under it
// is judged again.
func (p *policy) permits(ip [16]byte) bool {
	if p.ports.pool(ip) != nil {
		return true // relayed addresses of other clients
	}
	addr := netip.AddrFrom16(ip).Unmap()
	if (*p.host.Load())[ip] {
		return p.mediaPort != 0 || p.openLoopback(addr)
	}
	return p.reachable(addr)
}

// openLoopback says whether addr is a loopback address that Config.AllowPeers names.
func (p *policy) openLoopback(addr netip.Addr) bool {
	return addr.IsLoopback() && contains(p.allow, addr)
}

// reachable judges an address that is not the host's. An IPv6 address that carries an IPv4 address must be allowed as
// both: otherwise a translator on the way would reach what was refused. The unspecified addresses are the host's in
// disguise: kernels send what is for them to the loopback.
func (p *policy) reachable(addr netip.Addr) bool {
	if addr.IsUnspecified() {
		return false
	}
	if !contains(p.allow, addr) && contains(p.deny, addr) {
		return false
	}
	for _, inner := range embedded(addr) {
		ip := inner.As16()
		if inner.IsUnspecified() || p.ports.pool(ip) != nil || (*p.host.Load())[ip] || !contains(p.allow, inner) && contains(p.deny, inner) {
			return false
		}
	}
	return true
}

func contains(prefixes []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// embedded are the IPv4 addresses in an IPv6 address: of IPv4-compatible (RFC 4291), IPv4-translated (RFC 2765), NAT64
// (RFC 6052), 6to4 (RFC 3056) and Teredo (RFC 4380: the server, and the client with all bits turned). Mapped ones are
// IPv4 here already.
func embedded(addr netip.Addr) []netip.Addr {
	if addr.Is4() {
		return nil
	}
	ip := addr.As16()
	v4 := func(at int) netip.Addr { return netip.AddrFrom4([4]byte(ip[at : at+4])) }
	head := binary.BigEndian.Uint64(ip[:8])
	middle := binary.BigEndian.Uint32(ip[8:12])
	switch {
	case head == 0 && (middle == 0 || middle == 0xffff0000), head == 0x0064ff9b<<32 && middle == 0:
		return []netip.Addr{v4(12)}
	case head>>48 == 0x2002:
		return []netip.Addr{v4(2)}
	case head>>32 == 0x20010000:
		turned := [4]byte{^ip[12], ^ip[13], ^ip[14], ^ip[15]}
		return []netip.Addr{v4(4), netip.AddrFrom4(turned)}
	}
	return nil
}
