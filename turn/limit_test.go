package turn

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v4"
)

func TestQuotas(t *testing.T) {
	k := newKit(t, func(c *Config) {
		c.Limits = Limits{Allocations: 3, AllocationsPerUser: 2, Permissions: 5, PermissionsPerUser: 4, Channels: 3, ChannelsPerUser: 2}
	})
	var a []*client
	for i := range 4 {
		a = append(a, k.client(fmt.Sprintf("9.9.9.9:%d", 4000+i), "a").login())
	}
	// A fresh credential is no fresh user.
	a[1].name, a[1].password = Mint(testSecret, "a", testNow.Add(time.Minute))
	a[0].allocated()
	a[1].allocated()
	a[2].want("the user's third", a[2].do(stun.MethodAllocate, requestedTransport()), 486)
	b := k.client("8.8.8.8:1", "b").allocated()
	d := k.client("8.8.8.8:2", "d").login()
	d.want("the fourth of all", d.do(stun.MethodAllocate, requestedTransport()), 508)

	a[0].want("permissions", a[0].do(stun.MethodCreatePermission, peer("1.1.1.1:1"), peer("1.1.1.2:1"), peer("1.1.1.3:1")), 0)
	a[1].want("two more than the user may", a[1].do(stun.MethodCreatePermission, peer("1.1.1.1:1"), peer("1.1.1.2:1")), 508)
	a[1].want("one more", a[1].do(stun.MethodCreatePermission, peer("1.1.1.1:1")), 0)
	b.want("more than all may", b.do(stun.MethodCreatePermission, peer("1.1.1.1:1"), peer("1.1.1.2:1")), 508)
	b.want("one more", b.do(stun.MethodCreatePermission, peer("1.1.1.1:1")), 0)
	bind := func(c *client, n uint16) *stun.Message {
		return c.do(stun.MethodChannelBind, channelNumber(n), peer(fmt.Sprintf("1.1.1.1:%d", n)))
	}
	a[0].want("channel", bind(a[0], 0x4000), 0)
	a[1].want("channel", bind(a[1], 0x4000), 0)
	a[1].want("a channel more than the user may", bind(a[1], 0x4001), 508)
	b.want("channel", bind(b, 0x4000), 0)
	b.want("a channel more than all may", bind(b, 0x4001), 508)

	a[0].want("Refresh", a[0].do(stun.MethodRefresh, uint32Attr(stun.AttrLifetime, 0)), 0)
	b.want("a channel when there is room", bind(b, 0x4001), 0)
	d.want("an allocation when there is room", d.do(stun.MethodAllocate, requestedTransport()), 0)
	k.pass(time.Hour)
	k.sweepAll()
	if q := k.h.quotas; q.allocations != 0 || q.permissions != 0 || q.channels != 0 || len(q.accounts) != 0 {
		t.Errorf("%d allocations, %d permissions, %d channels, %d accounts are left", q.allocations, q.permissions, q.channels, len(q.accounts))
	}
	if k.freePorts() != 2000 || len(k.h.limiter.live) != 0 {
		t.Errorf("%d ports are free, %d addresses are known", k.freePorts(), len(k.h.limiter.live))
	}
}

func TestTakingBytes(t *testing.T) {
	q := newQuotas(Limits{Allocations: 5, AllocationsPerUser: 5, BytesPerSecondPerUser: 1000})
	a, _ := q.allocate("a", 0)
	take := func(now instant, n int, want bool) {
		t.Helper()
		if got := a.take(now, n); got != want {
			t.Errorf("%d bytes at %v: %v", n, time.Duration(now), got)
		}
	}
	take(0, 1001, false)
	take(0, 600, true)
	take(0, 400, true)
	take(0, 1, false)
	take(second/2, 501, false)
	take(second/2, 500, true)
	take(10*second, 1000, true)
	take(10*second, 1, false)
	// Nobody gets a full bucket by giving the allocation back.
	q.release(a, 0, 0, 10*second)
	a, _ = q.allocate("a", 10*second)
	take(10*second, 1, false)
	q.release(a, 0, 0, 11*second)
	if len(q.accounts) != 0 {
		t.Error("an account with nothing is kept")
	}
}

func TestAccountsAreBounded(t *testing.T) {
	q := newQuotas(Limits{Allocations: 2, AllocationsPerUser: 5, BytesPerSecondPerUser: 1000})
	for i := range 4 {
		a, full := q.allocate(fmt.Sprint(i), 0)
		if full != "" {
			t.Fatalf("user %d: %s", i, full)
		}
		a.take(0, 1000)
		q.release(a, 0, 0, 0)
	}
	if _, full := q.allocate("5", 0); full != refusedTotalQuota {
		t.Errorf("a fifth account: %q", full)
	}
	if _, full := q.allocate("5", 2*second); full != "" || len(q.accounts) != 1 {
		t.Errorf("later: %q, %d accounts", full, len(q.accounts))
	}
}

// How many of a burst are answered.
func answered(l *limiter, n int, over transport, now instant, from func(i int) string) (count int) {
	for i := range n {
		if l.answer(endpointOf(addrPort(from(i))), over, now) {
			count++
		}
	}
	return count
}

func TestLimiter(t *testing.T) {
	one := func(int) string { return "9.9.9.9:1" }
	net24 := func(i int) string { return fmt.Sprintf("9.9.9.%d:1", i%256) }
	net64 := func(i int) string { return fmt.Sprintf("[2a00::%x]:1", i+1) }
	many := func(i int) string { return fmt.Sprintf("9.%d.%d.1:1", i/256%256, i%256) }
	for _, row := range []struct {
		name string
		over transport
		from func(int) string
		want int
	}{
		{"one address", overUDP, one, 10},
		{"a /24", overUDP, net24, 10},
		{"a /64", overUDP, net64, 10},
		{"many networks", overUDP, many, 200},
		{"one address over TCP", overTCP, one, 10},
	} {
		l := newLimiter(10, 200)
		if got := answered(l, 3000, row.over, 0, row.from); got != row.want {
			t.Errorf("%s: %d answers at once, want %d", row.name, got, row.want)
		}
		if got := answered(l, 3000, row.over, second, row.from); got != row.want {
			t.Errorf("%s: %d answers a second later, want %d", row.name, got, row.want)
		}
	}
	l := newLimiter(10, 200)
	answered(l, 3000, overUDP, 0, many)
	if answered(l, 1, overTCP, 0, func(int) string { return "1.2.3.4:1" }) != 1 {
		t.Error("a flood over UDP locks out TCP")
	}
	l.began(endpointOf(addrPort("1.2.3.4:1")).ip)
	if answered(l, 500, overUDP, 0, func(int) string { return "1.2.3.4:9" }) != 500 {
		t.Error("a flood locks out who has an allocation")
	}
	l.ended(endpointOf(addrPort("1.2.3.4:1")).ip)
	if answered(l, 500, overUDP, 0, func(int) string { return "1.2.3.4:9" }) != 0 {
		t.Error("who has none any more is still exempt")
	}
}

// Above the limit there is no answer at all, to whatever a stranger sends; who has an allocation is answered.
func TestFloodsAreNotAnswered(t *testing.T) {
	k := newKit(t, func(c *Config) { c.Limits.AnswersPerSource = 20 })
	owner := k.client("9.9.9.9:4000", "a").allocated()
	for name, message := range map[string]func(c *client) []byte{
		"Binding":        func(c *client) []byte { return c.build(stun.MethodBinding) },
		"Allocate":       func(c *client) []byte { return c.build(stun.MethodAllocate, requestedTransport()) },
		"wrong password": func(c *client) []byte { return c.build(stun.MethodRefresh) },
		"bad request":    func(c *client) []byte { return c.build(stun.MethodBinding, attr(0x7ff0)) },
	} {
		k.pass(time.Minute)
		c := k.client("9.9.8.9:4001", "x")
		if name == "wrong password" {
			c.login()
			c.password = "x"
		}
		n := 0
		for range 100 {
			if c.send(message(c)) != nil {
				n++
			}
		}
		if n < 19 || n > 20 {
			t.Errorf("%s: %d of 100 are answered", name, n)
		}
	}
	owner.want("who has an allocation", owner.do(stun.MethodRefresh), 0)
	owner.nonce = nil
	owner.want("and lost its nonce", owner.do(stun.MethodRefresh), 401)
}

// No answer to a stranger is more than 4 times its request or longer than 120 bytes, whatever the realm.
func TestNoAmplification(t *testing.T) {
	for _, n := range []int{1, 11, 20, 33, 48, 60} {
		realm := fmt.Sprintf("%0*d", n, 0)
		k := newKit(t, func(c *Config) { c.Realm = realm })
		for _, from := range []string{"9.9.9.9:4000", "[2a00::9]:4000"} {
			c := k.client(from, "a")
			for _, finger := range []bool{false, true} {
				c.finger = finger
				for name, b := range map[string][]byte{
					"empty Allocate":   c.build(stun.MethodAllocate),
					"Allocate":         c.build(stun.MethodAllocate, requestedTransport()),
					"Binding":          c.build(stun.MethodBinding),
					"Refresh":          c.build(stun.MethodRefresh, uint32Attr(stun.AttrLifetime, 0)),
					"long":             c.build(stun.MethodAllocate, requestedTransport(), attr(stun.AttrSoftware, make([]byte, 500)...)),
					"unknown":          c.build(stun.MethodBinding, attr(0x7ff0), attr(0x7ff1), attr(0x7ff2)),
					"many unknown":     c.build(stun.MethodBinding, manyUnknown()...),
					"unsigned unknown": c.build(stun.MethodAllocate, attr(0x7ff0)),
				} {
					reply := k.raw(c.from, overUDP, b)
					if len(reply) > 4*len(b) || len(reply) > 120 {
						t.Errorf("realm of %d, %s: %d bytes for %d", n, name, len(reply), len(b))
					}
					if room := len(b) >= 28 && (!finger || name != "empty Allocate"); (room || n <= 28) && len(reply) == 0 {
						t.Errorf("realm of %d, %s (fingerprint %v): no answer for %d bytes", n, name, finger, len(b))
					}
				}
			}
		}
	}
}

func manyUnknown() (out []stun.Setter) {
	for i := range 100 {
		out = append(out, attr(stun.AttrType(0x7000+i)))
	}
	return out
}

// The short form of the nonce, for requests that leave no room for the long one, is good too.
func TestShortNonce(t *testing.T) {
	k := newKit(t, func(c *Config) { c.Realm = testRealm })
	c := k.client("9.9.9.9:4000", "a")
	m := c.do(stun.MethodAllocate)
	c.want("an empty Allocate", m, 401)
	nonce, _ := m.Get(stun.AttrNonce)
	if len(nonce) != nonceShort || m.Contains(stun.AttrPasswordAlgorithms) {
		t.Fatalf("nonce %s in %s", nonce, m)
	}
	c.nonce = append([]byte(nil), nonce...)
	c.want("Allocate", c.do(stun.MethodAllocate, requestedTransport()), 0)
}

func TestGate(t *testing.T) {
	g := newGate(3, 2)
	ip := func(s string) [16]byte { return netip.MustParseAddr(s).As16() }
	for _, row := range []struct{ from, want string }{
		{"1.1.1.1", ""}, {"1.1.1.1", ""}, {"1.1.1.1", refusedAddress}, {"1.1.1.2", ""}, {"1.1.1.3", refusedConnections},
	} {
		if got := g.enter(ip(row.from)); got != row.want {
			t.Errorf("%s: %q, want %q", row.from, got, row.want)
		}
	}
	g.leave(ip("1.1.1.1"))
	if got := g.enter(ip("1.1.1.3")); got != "" || g.count() != 3 {
		t.Errorf("when one has left: %q, %d", got, g.count())
	}
	g.leave(ip("1.1.1.1"))
	g.leave(ip("1.1.1.2"))
	g.leave(ip("1.1.1.3"))
	if len(g.addrs) != 0 || g.count() != 0 {
		t.Errorf("%d are left, of %d addresses", g.count(), len(g.addrs))
	}
}

// Who has one IPv6 address can use all of its /64.
func TestGateNetworks(t *testing.T) {
	g := newGate(9, 2)
	for _, row := range []struct{ from, want string }{
		{"2a00::1", ""}, {"2a00::2", ""}, {"2a00::3", refusedAddress}, {"2a00:0:0:1::1", ""},
	} {
		if got := g.enter(netip.MustParseAddr(row.from).As16()); got != row.want {
			t.Errorf("%s: %q, want %q", row.from, got, row.want)
		}
	}
	for _, from := range []string{"2a00::1", "2a00::2", "2a00:0:0:1::1"} {
		g.leave(netip.MustParseAddr(from).As16())
	}
	if len(g.addrs) != 0 || g.count() != 0 {
		t.Errorf("%d are left, of %d networks", g.count(), len(g.addrs))
	}
}
