package turn

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v4"
)

const (
	testRealm  = "example.org"
	testSecret = "north"
)

// testNow is what the system's clock says in tests of the control plane.
var testNow = time.Unix(1_800_000_000, 0)

// kit is a handler with an edge that binds nothing: a relay socket is a number.
type kit struct {
	t     testing.TB
	h     *handler
	table *table
	now   instant
	wall  time.Time

	sockets map[int32]netip.AddrPort
	busy    map[uint16]bool // ports that can't be bound
	handles int32
	ended   []*allocation
	reasons []EndReason
	lastRes result
}

// random is a source of bytes that are different in each test run of a seed, and no secret.
type random struct{ state uint64 }

func (r *random) Read(b []byte) (int, error) {
	for i := range b {
		r.state = r.state*6364136223846793005 + 1442695040888963407
		b[i] = byte(r.state >> 56)
	}
	return len(b), nil
}

func newKit(t testing.TB, change func(*Config)) *kit {
	t.Helper()
	cfg := Config{
		Listen:     []string{"udp://192.0.2.1:3478"},
		PublicIP:   []netip.Addr{netip.MustParseAddr("5.5.5.5"), netip.MustParseAddr("2a00::5")},
		Realm:      testRealm,
		Secrets:    []string{testSecret},
		RelayPorts: Ports{50000, 50999},
		Rand:       &random{state: 1},
	}
	if change != nil {
		change(&cfg)
	}
	cfg, err := cfg.checked()
	if err != nil {
		t.Fatal(err)
	}
	h, err := newHandler(&cfg, cfg.PublicIP, true, newMetrics(cfg.Metrics, nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	return &kit{t: t, h: h, table: newTable(), wall: testNow, sockets: map[int32]netip.AddrPort{}, busy: map[uint16]bool{}}
}

// raw handles one message and does what the result says.
func (k *kit) raw(from tuple, over transport, b []byte) []byte {
	res := k.h.handle(k.table, request{message: b, from: from, transport: over, now: k.now, wall: k.wall}, nil)
	for res.open != nil {
		o := res.open
		if k.busy[o.relay.Port()] {
			res = k.h.opened(k.table, o, 0, errors.New("in use"), nil)
			continue
		}
		for _, other := range k.sockets {
			if other == o.relay {
				k.t.Fatalf("%s is asked for twice", o.relay)
			}
		}
		k.handles++
		k.sockets[k.handles] = o.relay
		res = k.h.opened(k.table, o, k.handles, nil, nil)
	}
	if res.shrunk != nil {
		delete(k.sockets, res.dropped.handle)
	}
	if res.ended != nil {
		k.close(res.ended, res.why)
	}
	k.lastRes = res
	return res.reply
}

func (k *kit) close(a *allocation, why EndReason) {
	for _, r := range a.relay {
		delete(k.sockets, r.handle)
	}
	k.ended, k.reasons = append(k.ended, a), append(k.reasons, why)
}

func (k *kit) sweepAll() {
	for range sweepParts + 1 {
		k.h.sweep(k.table, k.now, func(a *allocation) { k.close(a, EndExpired) })
	}
}

// pass lets time go by, for the server and for the system.
func (k *kit) pass(d time.Duration) {
	k.now += instant(d)
	k.wall = k.wall.Add(d)
}

// client is somebody who speaks TURN as pion/stun does.
type client struct {
	*kit
	from      tuple
	over      transport
	name      string
	password  string
	nonce     []byte
	sha256    bool // password algorithm and signature
	finger    bool
	last      []byte // the last request
	lastReply []byte
}

func clientTuple(addr string) tuple {
	return tuple{client: endpointOf(netip.MustParseAddrPort(addr)), listener: 1}
}

func (k *kit) client(addr, user string) *client {
	name, password := Mint(testSecret, user, testNow.Add(time.Hour))
	return &client{kit: k, from: clientTuple(addr), name: name, password: password}
}

func attr(t stun.AttrType, value ...byte) stun.Setter {
	return stun.RawAttribute{Type: t, Value: value}
}

func uint32Attr(t stun.AttrType, v uint32) stun.Setter {
	return attr(t, binary.BigEndian.AppendUint32(nil, v)...)
}

func peer(addr string) stun.Setter {
	a := netip.MustParseAddrPort(addr)
	return peerSetter{net.IP(a.Addr().AsSlice()), int(a.Port())}
}

// peerSetter writes an XOR-PEER-ADDRESS, a mapped address in its IPv6 form.
type peerSetter struct {
	ip   net.IP
	port int
}

func (p peerSetter) AddTo(m *stun.Message) error {
	if len(p.ip) == net.IPv6len && p.ip.To4() != nil { // pion would write it as IPv4
		value := []byte{0, 2, byte(p.port>>8) ^ 0x21, byte(p.port) ^ 0x12}
		for i, b := range p.ip {
			value = append(value, b^m.Raw[4+i])
		}
		m.Add(stun.AttrXORPeerAddress, value)
		return nil
	}
	return stun.XORMappedAddress{IP: p.ip, Port: p.port}.AddToAs(m, stun.AttrXORPeerAddress)
}

func requestedTransport() stun.Setter { return attr(stun.AttrRequestedTransport, 17, 0, 0, 0) }

// build makes a signed request; without a nonce it is unsigned.
func (c *client) build(method stun.Method, setters ...stun.Setter) []byte {
	c.t.Helper()
	m := stun.New()
	if err := m.Build(append([]stun.Setter{stun.TransactionID, stun.NewType(method, stun.ClassRequest)}, setters...)...); err != nil {
		c.t.Fatal(err)
	}
	if c.nonce != nil {
		m.Add(stun.AttrUsername, []byte(c.name))
		m.Add(stun.AttrRealm, []byte(testRealm))
		m.Add(stun.AttrNonce, c.nonce)
		c.sign(m)
	}
	if c.finger {
		if err := stun.Fingerprint.AddTo(m); err != nil {
			c.t.Fatal(err)
		}
	}
	return bytes.Clone(m.Raw)
}

func (c *client) sign(m *stun.Message) {
	if !c.sha256 {
		if err := stun.NewLongTermIntegrity(c.name, testRealm, c.password).AddTo(m); err != nil {
			c.t.Fatal(err)
		}
		return
	}
	m.Add(stun.AttrPasswordAlgorithms, []byte{0, 2, 0, 0, 0, 1, 0, 0})
	m.Add(stun.AttrPasswordAlgorithm, []byte{0, 2, 0, 0})
	m.Add(stun.AttrMessageIntegritySHA256, c.sum256(m.Raw))
}

// sum256 signs a message as RFC 8489 section 14.6 says.
func (c *client) sum256(raw []byte) []byte {
	key := sha256.Sum256([]byte(c.name + ":" + testRealm + ":" + c.password))
	raw = bytes.Clone(raw)
	binary.BigEndian.PutUint16(raw[2:], uint16(len(raw)-20+4+32))
	mac := hmac.New(sha256.New, key[:])
	mac.Write(raw)
	return mac.Sum(nil)
}

// do sends a request and reads the answer, nil if there is none. A signed answer must be signed right.
func (c *client) do(method stun.Method, setters ...stun.Setter) *stun.Message {
	c.t.Helper()
	return c.send(c.build(method, setters...))
}

func (c *client) send(b []byte) *stun.Message {
	c.t.Helper()
	c.last = b
	c.lastReply = c.raw(c.from, c.over, b)
	if c.lastReply == nil {
		return nil
	}
	m := stun.New()
	if err := stun.Decode(c.lastReply, m); err != nil {
		c.t.Fatalf("the answer %x: %v", c.lastReply, err)
	}
	if [12]byte(b[8:20]) != m.TransactionID {
		c.t.Fatal("the answer has another transaction id")
	}
	if m.Contains(stun.AttrMessageIntegrity) {
		if err := stun.NewLongTermIntegrity(c.name, testRealm, c.password).Check(m); err != nil {
			c.t.Fatalf("the answer: %v", err)
		}
	}
	if m.Contains(stun.AttrFingerprint) {
		if err := stun.Fingerprint.Check(m); err != nil {
			c.t.Fatalf("the answer: %v", err)
		}
	}
	for _, no := range []stun.AttrType{stun.AttrSoftware} {
		if m.Contains(no) {
			c.t.Fatalf("the answer has %s", no)
		}
	}
	return m
}

// code is the error code of an answer: 0 success, -1 none.
func code(m *stun.Message) int {
	switch {
	case m == nil:
		return -1
	case m.Type.Class == stun.ClassSuccessResponse:
		return 0
	}
	var e stun.ErrorCodeAttribute
	if e.GetFrom(m) != nil || len(e.Reason) > 0 {
		return -2
	}
	return int(e.Code)
}

func (c *client) want(what string, m *stun.Message, want int) {
	c.t.Helper()
	if got := code(m); got != want {
		c.t.Fatalf("%s: answered %d, want %d", what, got, want)
	}
}

// login gets a nonce with an unsigned Allocate.
func (c *client) login() *client {
	c.t.Helper()
	c.nonce = nil
	m := c.do(stun.MethodAllocate, requestedTransport())
	c.want("first Allocate", m, 401)
	c.nonce, _ = m.Get(stun.AttrNonce)
	c.nonce = bytes.Clone(c.nonce)
	return c
}

// allocated is login and an Allocate that succeeds.
func (c *client) allocated(setters ...stun.Setter) *client {
	c.t.Helper()
	c.login()
	c.want("Allocate", c.do(stun.MethodAllocate, append([]stun.Setter{requestedTransport()}, setters...)...), 0)
	return c
}

func (c *client) allocation() *allocation { return c.table.find(c.from) }

// indicate sends a Send indication and says whether it would be relayed.
func (c *client) indicate(setters ...stun.Setter) bool {
	c.t.Helper()
	m := stun.New()
	if err := m.Build(append([]stun.Setter{stun.TransactionID, stun.NewType(stun.MethodSend, stun.ClassIndication)}, setters...)...); err != nil {
		c.t.Fatal(err)
	}
	if reply := c.raw(c.from, c.over, m.Raw); reply != nil {
		c.t.Fatal("an indication was answered")
	}
	return c.lastRes.sender != nil
}

func addressOf(t testing.TB, m *stun.Message, which stun.AttrType) netip.AddrPort {
	t.Helper()
	var a stun.XORMappedAddress
	if err := a.GetFromAs(m, which); err != nil {
		t.Fatalf("%s: %v", which, err)
	}
	ip, _ := netip.AddrFromSlice(a.IP)
	return netip.AddrPortFrom(ip.Unmap(), uint16(a.Port))
}

func lifetime(t testing.TB, m *stun.Message) uint32 {
	t.Helper()
	v, err := m.Get(stun.AttrLifetime)
	if err != nil || len(v) != 4 {
		t.Fatalf("no LIFETIME: %v", err)
	}
	return binary.BigEndian.Uint32(v)
}

func channelNumber(n uint16) stun.Setter {
	return attr(stun.AttrChannelNumber, byte(n>>8), byte(n), 0, 0)
}
