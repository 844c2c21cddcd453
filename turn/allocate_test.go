package turn

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/pion/stun/v4"
)

// RFC 8656 section 7.2, Receiving an Allocate Request.
func TestAllocate(t *testing.T) {
	c := newKit(t, nil).client("9.9.9.9:4000", "@a:example.org").login()
	m := c.do(stun.MethodAllocate, requestedTransport())
	c.want("Allocate", m, 0)
	relayed := addressOf(t, m, stun.AttrXORRelayedAddress)
	if relayed.Addr().String() != "5.5.5.5" || relayed.Port() < 50000 || relayed.Port() > 50999 {
		t.Errorf("relayed address %s", relayed)
	}
	if mapped := addressOf(t, m, stun.AttrXORMappedAddress); mapped != c.from.client.addrPort() {
		t.Errorf("mapped address %s", mapped)
	}
	if got := lifetime(t, m); got != 600 {
		t.Errorf("lifetime %d", got)
	}
	if !m.Contains(stun.AttrMessageIntegrity) {
		t.Error("the answer is not signed")
	}
	if a := c.allocation(); a == nil || len(c.sockets) != 1 || c.sockets[a.relay[ipv4].handle] != relayed {
		t.Errorf("sockets %v for %s", c.sockets, relayed)
	}
}

func TestAllocateLifetime(t *testing.T) {
	for _, row := range []struct{ asked, want uint32 }{{0, 600}, {1, 600}, {600, 600}, {777, 777}, {3600, 3600}, {3601, 3600}, {1<<32 - 1, 3600}} {
		c := newKit(t, nil).client("9.9.9.9:4000", "a").login()
		m := c.do(stun.MethodAllocate, requestedTransport(), uint32Attr(stun.AttrLifetime, row.asked))
		c.want("Allocate", m, 0)
		if got := lifetime(t, m); got != row.want {
			t.Errorf("asked for %d: got %d, want %d", row.asked, got, row.want)
		}
		if got := c.allocation().expires; got != c.now+instant(row.want)*second {
			t.Errorf("asked for %d: expires at %d", row.asked, got)
		}
	}
}

func TestAllocateRefusals(t *testing.T) {
	tokenAttr := attr(stun.AttrReservationToken, 1, 2, 3, 4, 5, 6, 7, 8)
	even, pair := attr(stun.AttrEvenPort, 0), attr(stun.AttrEvenPort, 0x80)
	family4, family6 := attr(stun.AttrRequestedAddressFamily, 1, 0, 0, 0), attr(stun.AttrRequestedAddressFamily, 2, 0, 0, 0)
	more := attr(attrAdditionalFamily, 2, 0, 0, 0)
	for _, row := range []struct {
		name string
		with []stun.Setter
		want int
	}{
		{"no REQUESTED-TRANSPORT", nil, 400},
		{"REQUESTED-TRANSPORT too short", []stun.Setter{attr(stun.AttrRequestedTransport, 17)}, 400},
		{"REQUESTED-TRANSPORT TCP (RFC 6062)", []stun.Setter{attr(stun.AttrRequestedTransport, 6, 0, 0, 0)}, 442},
		{"LIFETIME too short", []stun.Setter{requestedTransport(), attr(stun.AttrLifetime, 1, 1)}, 400},
		{"RESERVATION-TOKEN unknown", []stun.Setter{requestedTransport(), tokenAttr}, 508},
		{"RESERVATION-TOKEN of zeros", []stun.Setter{requestedTransport(), attr(stun.AttrReservationToken, make([]byte, 8)...)}, 508},
		{"RESERVATION-TOKEN too short", []stun.Setter{requestedTransport(), attr(stun.AttrReservationToken, 1)}, 400},
		{"RESERVATION-TOKEN and EVEN-PORT", []stun.Setter{requestedTransport(), tokenAttr, even}, 400},
		{"RESERVATION-TOKEN and REQUESTED-ADDRESS-FAMILY", []stun.Setter{requestedTransport(), tokenAttr, family4}, 400},
		{"RESERVATION-TOKEN and ADDITIONAL-ADDRESS-FAMILY", []stun.Setter{requestedTransport(), tokenAttr, more}, 400},
		{"EVEN-PORT too long", []stun.Setter{requestedTransport(), attr(stun.AttrEvenPort, 0, 0)}, 400},
		{"EVEN-PORT with a pair and ADDITIONAL-ADDRESS-FAMILY", []stun.Setter{requestedTransport(), pair, more}, 400},
		{"REQUESTED-ADDRESS-FAMILY unknown", []stun.Setter{requestedTransport(), attr(stun.AttrRequestedAddressFamily, 3, 0, 0, 0)}, 440},
		{"REQUESTED-ADDRESS-FAMILY too short", []stun.Setter{requestedTransport(), attr(stun.AttrRequestedAddressFamily, 1)}, 400},
		{"REQUESTED- and ADDITIONAL-ADDRESS-FAMILY", []stun.Setter{requestedTransport(), family6, more}, 400},
		{"ADDITIONAL-ADDRESS-FAMILY IPv4", []stun.Setter{requestedTransport(), attr(attrAdditionalFamily, 1, 0, 0, 0)}, 400},
		{"ADDITIONAL-ADDRESS-FAMILY too short", []stun.Setter{requestedTransport(), attr(attrAdditionalFamily, 2)}, 400},
		{"an unknown attribute that must be understood (RFC 8489 section 6.3.1)", []stun.Setter{requestedTransport(), attr(0x7ff0, 1)}, 420},
		{"an unknown attribute that need not be", []stun.Setter{requestedTransport(), attr(0x8ff0, 1)}, 0},
		{"MOBILITY-TICKET (RFC 8016) is not understood, and need not be", []stun.Setter{requestedTransport(), attr(0x8030)}, 0},
		{"DONT-FRAGMENT", []stun.Setter{requestedTransport(), attr(stun.AttrDontFragment)}, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := newKit(t, nil).client("9.9.9.9:4000", "a").login()
			m := c.do(stun.MethodAllocate, row.with...)
			c.want("Allocate", m, row.want)
			if !m.Contains(stun.AttrMessageIntegrity) {
				t.Error("the answer is not signed")
			}
			if row.want == 420 {
				if v, _ := m.Get(stun.AttrUnknownAttributes); !bytes.Equal(v, []byte{0x7f, 0xf0}) {
					t.Errorf("UNKNOWN-ATTRIBUTES %x", v)
				}
			}
			if row.want != 0 && (c.allocation() != nil || len(c.sockets) != 0 || c.h.quotas.live() != 0) {
				t.Error("something is left of it")
			}
		})
	}
}

// DONT-FRAGMENT where the system can't do it is an unknown attribute (RFC 8656 section 7.2).
func TestDontFragmentWhereItCannotBe(t *testing.T) {
	c := newKit(t, nil).client("9.9.9.9:4000", "a")
	c.h.dontFragment = false
	c.login()
	m := c.do(stun.MethodAllocate, requestedTransport(), attr(stun.AttrDontFragment))
	c.want("Allocate", m, 420)
	if v, _ := m.Get(stun.AttrUnknownAttributes); !bytes.Equal(v, []byte{0, 0x1a}) {
		t.Errorf("UNKNOWN-ATTRIBUTES %x", v)
	}
}

// RFC 8656 section 7.2: a repeated request gets the same answer, another one 437.
func TestAllocateAgain(t *testing.T) {
	c := newKit(t, nil).client("9.9.9.9:4000", "a").allocated(attr(stun.AttrEvenPort, 0x80))
	first, answer := c.last, c.lastReply
	c.pass(5 * time.Second)
	c.want("Refresh", c.do(stun.MethodRefresh, uint32Attr(stun.AttrLifetime, 900)), 0)
	c.want("the same again", c.send(first), 0)
	if !bytes.Equal(answer, c.lastReply) {
		t.Errorf("answered %x, then %x", answer, c.lastReply)
	}
	c.want("another Allocate", c.do(stun.MethodAllocate, requestedTransport()), 437)
	if c.table.len() != 1 || len(c.sockets) != 1 {
		t.Errorf("%d allocations, %d sockets", c.table.len(), len(c.sockets))
	}
	other := c.client(c.from.client.addrPort().String(), "thief")
	other.login()
	other.want("another user's Allocate on the same 5-tuple", other.do(stun.MethodAllocate, requestedTransport()), 437)
}

// RFC 8656 section 18.7 and 18.9: an even port, and the one after it for the next allocation.
func TestEvenPortAndReservationToken(t *testing.T) {
	k := newKit(t, nil)
	c := k.client("9.9.9.9:4000", "a").login()
	m := c.do(stun.MethodAllocate, requestedTransport(), attr(stun.AttrEvenPort, 0x80))
	c.want("Allocate", m, 0)
	port := addressOf(t, m, stun.AttrXORRelayedAddress).Port()
	token, err := m.Get(stun.AttrReservationToken)
	if port%2 != 0 || err != nil || len(token) != 8 {
		t.Fatalf("port %d, token %x", port, token)
	}
	thief := k.client("8.8.8.8:1", "thief").login()
	thief.want("another user's token", thief.do(stun.MethodAllocate, requestedTransport(), attr(stun.AttrReservationToken, token...)), 508)
	second := k.client("9.9.9.9:4001", "a").login()
	m = second.do(stun.MethodAllocate, requestedTransport(), attr(stun.AttrReservationToken, token...))
	second.want("Allocate with the token", m, 0)
	if got := addressOf(t, m, stun.AttrXORRelayedAddress).Port(); got != port+1 {
		t.Errorf("the second port is %d after %d", got, port)
	}
	third := k.client("9.9.9.9:4002", "a").login()
	third.want("the token again", third.do(stun.MethodAllocate, requestedTransport(), attr(stun.AttrReservationToken, token...)), 508)
}

func TestReservationExpires(t *testing.T) {
	k := newKit(t, func(c *Config) { c.RelayPorts = Ports{50000, 50001} })
	c := k.client("9.9.9.9:4000", "a").login()
	m := c.do(stun.MethodAllocate, requestedTransport(), attr(stun.AttrEvenPort, 0x80))
	c.want("Allocate", m, 0)
	token, _ := m.Get(stun.AttrReservationToken)
	other := k.client("9.9.9.9:4001", "a").login()
	other.want("while it is set aside", other.do(stun.MethodAllocate, requestedTransport()), 508)
	k.pass(31 * time.Second)
	late := k.client("9.9.9.9:4002", "a").login()
	late.want("the token too late", late.do(stun.MethodAllocate, requestedTransport(), attr(stun.AttrReservationToken, token...)), 508)
	other.want("then", other.do(stun.MethodAllocate, requestedTransport()), 0)
}

// RFC 8656 section 7.2 with IPv6.
func TestAddressFamilies(t *testing.T) {
	both := attr(attrAdditionalFamily, 2, 0, 0, 0)
	only4 := func(c *Config) { c.PublicIP = c.PublicIP[:1] }
	only6 := func(c *Config) { c.PublicIP = c.PublicIP[1:] }
	for _, row := range []struct {
		name   string
		change func(*Config)
		with   stun.Setter
		want   string // families of the relayed addresses, then of ADDRESS-ERROR-CODE with its code; or the error
	}{
		{"IPv6", nil, attr(stun.AttrRequestedAddressFamily, 2, 0, 0, 0), "6"},
		{"IPv4", nil, attr(stun.AttrRequestedAddressFamily, 1, 0, 0, 0), "4"},
		{"both", nil, both, "46"},
		{"both, without IPv6", only4, both, "4 6:440"},
		{"both, without IPv4", only6, both, "6 4:440"},
		{"IPv6 without IPv6", only4, attr(stun.AttrRequestedAddressFamily, 2, 0, 0, 0), "error 440"},
		{"nothing said, without IPv4", only6, attr(0x8ff0), "error 440"},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := newKit(t, row.change).client("9.9.9.9:4000", "a").login()
			m := c.do(stun.MethodAllocate, requestedTransport(), row.with)
			got := ""
			if n := code(m); n != 0 {
				got = fmt.Sprintf("error %d", n)
			}
			for _, a := range m.Attributes {
				switch a.Type {
				case stun.AttrXORRelayedAddress:
					got += map[byte]string{1: "4", 2: "6"}[a.Value[1]]
				case attrAddressError:
					got += fmt.Sprintf(" %s:%d%02d", map[byte]string{1: "4", 2: "6"}[a.Value[0]], a.Value[2], a.Value[3])
				}
			}
			if got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
			first := c.lastReply
			if c.send(c.last); !bytes.Equal(first, c.lastReply) && code(m) == 0 {
				t.Error("the same again is answered otherwise")
			}
		})
	}
}

// A port that another program has is passed over, a few times.
func TestPortsThatCannotBeBound(t *testing.T) {
	k := newKit(t, func(c *Config) { c.RelayPorts = Ports{50000, 50003} })
	k.busy[50000], k.busy[50001], k.busy[50002] = true, true, true
	c := k.client("9.9.9.9:4000", "a").allocated()
	if got := c.allocation().relay[ipv4].public.Port(); got != 50003 {
		t.Errorf("port %d", got)
	}
	second := k.client("9.9.9.9:4001", "a").login()
	second.want("without a port", second.do(stun.MethodAllocate, requestedTransport()), 508)
	delete(k.busy, 50000)
	second.want("at once", second.do(stun.MethodAllocate, requestedTransport()), 508)
	k.pass(61 * time.Second)
	second.want("after the ports were left alone for a while", second.do(stun.MethodAllocate, requestedTransport()), 0)
}

func TestPortsThatCannotBeBoundAreTriedOnlySoOften(t *testing.T) {
	k := newKit(t, nil)
	for port := range uint16(1000) {
		k.busy[50000+port] = true
	}
	c := k.client("9.9.9.9:4000", "a").login()
	c.want("Allocate", c.do(stun.MethodAllocate, requestedTransport(), attr(stun.AttrEvenPort, 0x80)), 508)
	if got := len(k.h.ports.blocked); got != maxTries {
		t.Errorf("%d ports were tried", got)
	}
	if k.h.quotas.live() != 0 {
		t.Error("the quota was not given back")
	}
	k.busy = nil
	k.pass(61 * time.Second)
	c.want("both families", c.do(stun.MethodAllocate, requestedTransport(), attr(attrAdditionalFamily, 2, 0, 0, 0)), 0)
	if free := k.freePorts(); free != 2*1000-2 {
		t.Errorf("%d ports are free", free)
	}
}

func TestOneFamilyThatCannotBeBound(t *testing.T) {
	k := newKit(t, nil)
	c := k.client("9.9.9.9:4000", "a").login()
	k.h.ports.pools[1].taken.fill()
	m := c.do(stun.MethodAllocate, requestedTransport(), attr(attrAdditionalFamily, 2, 0, 0, 0))
	c.want("Allocate", m, 0)
	if v, _ := m.Get(attrAddressError); !bytes.Equal(v, []byte{2, 0, 5, 8}) {
		t.Errorf("ADDRESS-ERROR-CODE %x", v)
	}
}

func (s *portSet) fill() {
	for i := range s {
		s[i] = ^uint64(0)
	}
}

// freePorts counts what could be given out.
func (k *kit) freePorts() (n int) {
	for _, pool := range k.h.ports.pools {
		for port := int(k.h.ports.first); port <= int(k.h.ports.last); port++ {
			if !pool.taken.has(uint16(port)) {
				n++
			}
		}
	}
	return n
}

func TestDrainingRefusesNewAllocationsOnly(t *testing.T) {
	k := newKit(t, nil)
	c := k.client("9.9.9.9:4000", "a").allocated()
	k.h.draining.Store(true)
	late := k.client("9.9.9.9:4001", "a").login()
	late.want("Allocate", late.do(stun.MethodAllocate, requestedTransport()), 508)
	c.want("Refresh", c.do(stun.MethodRefresh), 0)
}

// RFC 8656 section 8.2.
func TestRefresh(t *testing.T) {
	c := newKit(t, nil).client("9.9.9.9:4000", "a").allocated()
	c.pass(500 * time.Second)
	m := c.do(stun.MethodRefresh, uint32Attr(stun.AttrLifetime, 1000))
	c.want("Refresh", m, 0)
	if got := lifetime(t, m); got != 1000 || c.allocation().expires != c.now+1000*second {
		t.Errorf("lifetime %d", got)
	}
	c.want("LIFETIME too short", c.do(stun.MethodRefresh, attr(stun.AttrLifetime, 1)), 400)
	c.want("another family", c.do(stun.MethodRefresh, attr(stun.AttrRequestedAddressFamily, 2, 0, 0, 0)), 443)
	c.want("an unknown family", c.do(stun.MethodRefresh, attr(stun.AttrRequestedAddressFamily, 9, 0, 0, 0)), 443)
	c.want("a short family", c.do(stun.MethodRefresh, attr(stun.AttrRequestedAddressFamily, 1)), 400)
	c.want("the family", c.do(stun.MethodRefresh, attr(stun.AttrRequestedAddressFamily, 1, 0, 0, 0)), 0)

	m = c.do(stun.MethodRefresh, uint32Attr(stun.AttrLifetime, 0))
	c.want("the last Refresh", m, 0)
	if lifetime(t, m) != 0 || c.allocation() != nil || len(c.sockets) != 0 || c.reasons[0] != EndClient || c.freePorts() != 2000 || c.h.quotas.live() != 0 {
		t.Error("something is left of it")
	}
	last, answer := c.last, c.lastReply
	c.want("the same again", c.send(last), 0)
	if !bytes.Equal(answer, c.lastReply) {
		t.Error("the same again is answered otherwise")
	}
	c.want("another Refresh", c.do(stun.MethodRefresh), 437)
	c.pass(41 * time.Second)
	c.want("the same again, late", c.send(last), 437)
}

// RFC 8656 section 8.2: one family of two can be given back.
func TestRefreshOneFamilyOfTwo(t *testing.T) {
	c := newKit(t, nil).client("9.9.9.9:4000", "a").allocated(attr(attrAdditionalFamily, 2, 0, 0, 0))
	c.want("permissions", c.do(stun.MethodCreatePermission, peer("1.1.1.1:1"), peer("[2606:4700::1]:1")), 0)
	c.want("channel", c.do(stun.MethodChannelBind, channelNumber(0x4000), peer("[2606:4700::1]:1")), 0)
	c.want("Refresh", c.do(stun.MethodRefresh, uint32Attr(stun.AttrLifetime, 0), attr(stun.AttrRequestedAddressFamily, 2, 0, 0, 0)), 0)
	a := c.allocation()
	if a == nil || len(c.sockets) != 1 || a.relay[ipv6].public.IsValid() || len(a.permissions) != 1 || len(a.channels) != 0 || a.account.channels != 0 {
		t.Fatalf("left: %+v, %d sockets", a, len(c.sockets))
	}
	c.want("a peer of that family", c.do(stun.MethodCreatePermission, peer("[2606:4700::1]:1")), 443)
	c.want("the other family", c.do(stun.MethodRefresh, uint32Attr(stun.AttrLifetime, 0), attr(stun.AttrRequestedAddressFamily, 1, 0, 0, 0)), 0)
	if c.allocation() != nil || len(c.sockets) != 0 || c.freePorts() != 2000 {
		t.Error("something is left of it")
	}
}

func TestAllocationExpires(t *testing.T) {
	for _, swept := range []bool{true, false} {
		c := newKit(t, nil).client("9.9.9.9:4000", "a").allocated()
		c.pass(600*time.Second + 1)
		if swept {
			c.sweepAll()
		}
		c.want("Refresh", c.do(stun.MethodRefresh), 437)
		if len(c.sockets) != 0 || len(c.ended) != 1 || c.reasons[0] != EndExpired || c.h.quotas.live() != 0 || c.freePorts() != 2000 {
			t.Errorf("swept %v: %d sockets, %d ended", swept, len(c.sockets), len(c.ended))
		}
	}
	c := newKit(t, nil).client("9.9.9.9:4000", "a").allocated()
	c.pass(601 * time.Second)
	c.want("Allocate on the same 5-tuple", c.do(stun.MethodAllocate, requestedTransport()), 0)
	if len(c.sockets) != 1 || len(c.ended) != 1 || c.table.len() != 1 {
		t.Errorf("%d sockets, %d ended, %d live", len(c.sockets), len(c.ended), c.table.len())
	}
}
