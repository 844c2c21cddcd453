package turn

import (
	"fmt"
	"testing"
	"time"

	"github.com/pion/stun/v4"
	"pgregory.net/rapid"
)

// Any sequence of requests and steps of the clock keeps quotas, counts and ports right, and what was permitted or bound ends
// in its time and with its allocation.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		k := newKit(t, func(c *Config) {
			c.RelayPorts = Ports{50000, 50005}
			c.Limits = Limits{
				Allocations: 6, AllocationsPerUser: 3, Permissions: 8, PermissionsPerUser: 5, Channels: 5, ChannelsPerUser: 3,
				AnswersPerSource: 1 << 20, Answers: 1 << 20,
			}
		})
		m := newModel(k)
		rt.Repeat(map[string]func(*rapid.T){
			"":          func(*rapid.T) { m.check(t) },
			"allocate":  m.allocate,
			"refresh":   m.refresh,
			"permit":    m.permit,
			"bind":      m.bind,
			"send":      func(rt *rapid.T) { m.send(t, rt) },
			"repeat":    m.repeat,
			"pass":      m.pass,
			"sweep":     func(*rapid.T) { k.sweepAll() },
			"break":     m.breakPort,
			"cut":       m.cut,
			"new nonce": m.login,
		})
		k.pass(3 * time.Hour)
		k.sweepAll()
		k.checkEmpty(t)
	})
}

// model is what a client may believe: until when what it made is good.
type model struct {
	*kit
	clients []*client
	permits map[string]instant // client and peer address
	binds   map[string]instant // client, number and peer
}

func newModel(k *kit) *model {
	m := &model{kit: k, permits: map[string]instant{}, binds: map[string]instant{}}
	for i := range 9 {
		m.clients = append(m.clients, k.client(fmt.Sprintf("9.9.9.%d:4000", i), fmt.Sprint(i%3)))
	}
	return m
}

func (m *model) client(rt *rapid.T) (*client, int) {
	i := rapid.IntRange(0, len(m.clients)-1).Draw(rt, "client")
	c := m.clients[i]
	if c.nonce == nil {
		c.login()
	}
	c.name, c.password = Mint(testSecret, fmt.Sprint(i%3), m.wall.Add(time.Hour))
	if a := c.allocation(); a != nil && a.expires > m.now {
		c.name, c.password = a.username, ephemeral([]byte(testSecret), a.username)
	}
	return c, i
}

func (m *model) peer(rt *rapid.T) string {
	return rapid.SampledFrom([]string{"1.1.1.1:1", "1.1.1.1:2", "1.1.1.2:1", "1.1.1.3:1", "1.1.1.4:1", "[2606:4700::1]:1", "10.0.0.1:1"}).Draw(rt, "peer")
}

// forget drops what a client made: its allocation is gone.
func (m *model) forget(i int) {
	for _, of := range []map[string]instant{m.permits, m.binds} {
		for key := range of {
			if key[0] == byte('0'+i) {
				delete(of, key)
			}
		}
	}
}

func (m *model) allocate(rt *rapid.T) {
	c, i := m.client(rt)
	with := [][]stun.Setter{
		{},
		{attr(stun.AttrEvenPort, 0)},
		{attr(stun.AttrEvenPort, 0x80)},
		{attr(attrAdditionalFamily, 2, 0, 0, 0)},
		{attr(stun.AttrRequestedAddressFamily, 2, 0, 0, 0)},
		{uint32Attr(stun.AttrLifetime, 3600)},
	}[rapid.IntRange(0, 5).Draw(rt, "with")]
	if code(c.do(stun.MethodAllocate, append(with, requestedTransport())...)) == 0 {
		m.forget(i)
	}
}

func (m *model) refresh(rt *rapid.T) {
	c, i := m.client(rt)
	with := []stun.Setter{uint32Attr(stun.AttrLifetime, rapid.SampledFrom([]uint32{0, 600, 3600}).Draw(rt, "lifetime"))}
	if rapid.Bool().Draw(rt, "family") {
		with = append(with, attr(stun.AttrRequestedAddressFamily, 2, 0, 0, 0))
	}
	c.do(stun.MethodRefresh, with...)
	if c.allocation() == nil {
		m.forget(i)
	}
}

func (m *model) permit(rt *rapid.T) {
	c, i := m.client(rt)
	to := m.peer(rt)
	if code(c.do(stun.MethodCreatePermission, peer(to))) == 0 {
		m.permits[fmt.Sprint(i, addrPort(to).Addr())] = m.now + permissionLifetime
	}
}

func (m *model) bind(rt *rapid.T) {
	c, i := m.client(rt)
	to, n := m.peer(rt), rapid.Uint16Range(0x4000, 0x4003).Draw(rt, "number")
	if code(c.do(stun.MethodChannelBind, channelNumber(n), peer(to))) == 0 {
		m.permits[fmt.Sprint(i, addrPort(to).Addr())] = m.now + permissionLifetime
		m.binds[fmt.Sprint(i, " ", n, " ", to)] = m.now + channelLifetime
	}
}

func (m *model) send(t *testing.T, rt *rapid.T) {
	c, i := m.client(rt)
	to := m.peer(rt)
	until := m.permits[fmt.Sprint(i, addrPort(to).Addr())]
	if c.indicate(peer(to), attr(stun.AttrData, 1)) && until <= m.now {
		t.Fatalf("client %d sends to %s without a permission", i, to)
	}
}

func (m *model) repeat(rt *rapid.T) {
	c, i := m.client(rt)
	if c.last == nil {
		return
	}
	before := c.allocation()
	c.raw(c.from, c.over, c.last)
	if after := c.allocation(); after == nil || after != before {
		m.forget(i)
	} else {
		m.relearn(c, i)
	}
}

// relearn takes over what a repeated request renewed.
func (m *model) relearn(c *client, i int) {
	for _, p := range c.allocation().permissions {
		m.permits[fmt.Sprint(i, endpoint{ip: p.ip}.addr())] = max(p.expires, m.permits[fmt.Sprint(i, endpoint{ip: p.ip}.addr())])
	}
	for _, ch := range c.allocation().channels {
		key := fmt.Sprint(i, " ", ch.number, " ", ch.peer.addrPort())
		m.binds[key] = max(ch.expires, m.binds[key])
	}
}

func (m *model) pass(rt *rapid.T) {
	m.kit.pass(time.Duration(rapid.IntRange(1, 700).Draw(rt, "seconds")) * time.Second)
	m.busy = map[uint16]bool{}
}

func (m *model) breakPort(rt *rapid.T) {
	m.busy[rapid.Uint16Range(50000, 50005).Draw(rt, "port")] = true
}

// cut ends an allocation for a reason of the edge.
func (m *model) cut(rt *rapid.T) {
	c, i := m.client(rt)
	if a := c.allocation(); a != nil {
		m.h.end(m.table, a, m.now)
		m.close(a, EndKicked)
		m.forget(i)
	}
}

func (m *model) login(rt *rapid.T) {
	c, _ := m.client(rt)
	c.login()
}

// check compares the table with what clients may believe.
func (m *model) check(t *testing.T) {
	t.Helper()
	m.kit.check(t)
	for i, c := range m.clients {
		a := c.allocation()
		if a == nil {
			continue
		}
		for _, p := range a.permissions {
			if until := m.permits[fmt.Sprint(i, endpoint{ip: p.ip}.addr())]; p.expires > m.now && p.expires > until {
				t.Fatalf("client %d: the permission of %s lasts %v too long", i, endpoint{ip: p.ip}.addr(), time.Duration(p.expires-until))
			}
		}
		for _, ch := range a.channels {
			if until := m.binds[fmt.Sprint(i, " ", ch.number, " ", ch.peer.addrPort())]; ch.expires > m.now && ch.expires > until {
				t.Fatalf("client %d: channel %#x lasts %v too long", i, ch.number, time.Duration(ch.expires-until))
			}
			if ch.permitted > m.now != a.permitted(ch.peer.ip, m.now) {
				t.Fatalf("client %d: channel %#x knows other than its permission", i, ch.number)
			}
		}
	}
}
