//go:build linux

package nat

import (
	"context"
	"strings"
)

// side is one of the two networks.
type side struct {
	name     string // a or b
	gateway  string // wan's address towards the NAT
	public   string // the NAT's
	internal string // the first three bytes of the network behind it
}

func sides() []side {
	return []side{{"a", "203.0.113.1", "203.0.113.2", "10.10.1"}, {"b", "203.0.113.5", "203.0.113.6", "10.10.2"}}
}

// script runs commands until one fails. Each is words; what begins with @ is a host's namespace.
type script struct {
	ctx context.Context
	w   *World
	err error
}

// ip runs an ip command, with @host standing for its namespace.
func (s *script) ip(line string) {
	if s.err != nil {
		return
	}
	words := strings.Fields(line)
	for i, word := range words {
		if host, ok := strings.CutPrefix(word, "@"); ok {
			words[i] = s.w.Netns(host)
		}
	}
	s.err = run(s.ctx, "ip", words...)
}

// in runs a command on a host; the last argument is not split.
func (s *script) in(host, line string, last ...string) {
	if s.err != nil {
		return
	}
	args := append([]string{"netns", "exec", s.w.Netns(host)}, strings.Fields(line)...)
	s.err = run(s.ctx, "ip", append(args, last...)...)
}

func (w *World) make(ctx context.Context) error {
	s := &script{ctx: ctx, w: w}
	for _, h := range hosts() {
		s.ip("netns add @" + h)
		s.in(h, "ip link set lo up")
		s.in(h, "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1")
	}
	s.in("wan", "ip addr add "+Server+"/32 dev lo")
	s.in("wan", "sysctl -qw net.ipv4.ip_forward=1")
	// A server has a default route: without one, sending to a peer's private address would be an error at once. This one
	// leads nowhere.
	s.in("wan", "ip link add null0 type veth peer name null1")
	s.in("wan", "ip addr add 203.0.113.9/30 dev null0")
	s.in("wan", "ip link set null0 up")
	s.in("wan", "ip link set null1 up")
	s.in("wan", "ip neigh add 203.0.113.10 lladdr 02:00:00:00:00:01 dev null0 nud permanent")
	s.in("wan", "ip route add default via 203.0.113.10")
	for _, x := range sides() {
		w.side(s, x)
	}
	s.in("wan", "nft", "add table ip direct; add chain ip direct f { type filter hook forward priority 0; }; "+
		"add rule ip direct f iifname wa oifname wb counter; add rule ip direct f iifname wb oifname wa counter")
	return s.err
}

func (w *World) side(s *script, x side) {
	nat := "nat" + x.name
	s.ip("link add w" + x.name + " netns @wan type veth peer name out netns @" + nat)
	s.ip("link add in netns @" + nat + " type veth peer name eth0 netns @" + x.name)
	s.in("wan", "ip addr add "+x.gateway+"/30 dev w"+x.name)
	s.in("wan", "ip link set w"+x.name+" up")
	s.in(nat, "ip addr add "+x.public+"/30 dev out")
	s.in(nat, "ip link set out up")
	s.in(nat, "ip addr add "+x.internal+".1/24 dev in")
	s.in(nat, "ip link set in up")
	s.in(x.name, "ip addr add "+x.internal+".2/24 dev eth0")
	s.in(x.name, "ip link set eth0 up")
	s.in(nat, "ip route add default via "+x.gateway)
	s.in(x.name, "ip route add default via "+x.internal+".1")
	s.in(nat, "sysctl -qw net.ipv4.ip_forward=1")

	masquerade := "masquerade"
	if w.Kind != Cone {
		masquerade += " random"
	}
	rules := "add table ip nat; add chain ip nat post { type nat hook postrouting priority 100; }; " +
		"add rule ip nat post oifname out " + masquerade + "; " +
		"add table ip flt; add chain ip flt forw { type filter hook forward priority 0; }; " +
		"add rule ip flt forw iifname out ct state new drop; " +
		// Stray packets to the public address are dropped: an ICMP answer, or the connection that the peer's first packet
		// would leave behind, breaks hole punching.
		"add chain ip flt inp { type filter hook input priority 0; }; " +
		"add rule ip flt inp iifname out ct state new drop"
	if w.Kind == NoUDP {
		rules += "; add rule ip flt forw meta l4proto udp drop"
	}
	s.in(nat, "nft", rules)
}
