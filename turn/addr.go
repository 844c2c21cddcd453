package turn

import "net/netip"

// endpoint is an IP address and a UDP port in a form of fixed size without pointers, so that maps of it are cheap and the
// packet path makes no garbage. IPv4 is written as ::ffff:a.b.c.d, and only so: the edge makes endpoints with endpointOf
// or from a kernel's address in the same form.
type endpoint struct {
	ip   [16]byte
	port uint16 // host byte order
}

// endpointOf is a in canonical form; zones are dropped.
func endpointOf(a netip.AddrPort) endpoint { return endpoint{ip: a.Addr().As16(), port: a.Port()} }

// addr is the address of e; IPv4 comes back as IPv4.
func (e endpoint) addr() netip.Addr { return netip.AddrFrom16(e.ip).Unmap() }

// addrPort is e as the standard library has it.
func (e endpoint) addrPort() netip.AddrPort { return netip.AddrPortFrom(e.addr(), e.port) }

// family is the address family of e.
func (e endpoint) family() family { return familyOf(e.ip) }

var v4Prefix = [12]byte{10: 0xff, 11: 0xff}

func familyOf(ip [16]byte) family {
	if [12]byte(ip[:12]) == v4Prefix {
		return ipv4
	}
	return ipv6
}

// family is an address family, and an index into arrays with a place for each.
type family uint8

// The families.
const (
	ipv4 family = iota
	ipv6
	families // how many there are
)

// The families as they are on the wire (RFC 8656 sections 18.6 and 18.11).
const (
	wireIPv4 = 1
	wireIPv6 = 2
)

func (f family) wire() byte {
	if f == ipv6 {
		return wireIPv6
	}
	return wireIPv4
}

// transport is what a client speaks to us over.
type transport uint8

// The transports.
const (
	overUDP transport = iota
	overTCP
	overTLS
)

func (t transport) String() string {
	switch t {
	case overTCP:
		return "tcp"
	case overTLS:
		return "tls"
	}
	return "udp"
}

// tuple says whose a message is: the 5-tuple of RFC 8656 section 2.2. The listener (the server's own index of its
// listening sockets; over TCP and TLS of the listener that accepted) stands for the server's address and the transport.
type tuple struct {
	client   endpoint
	listener uint16
}
