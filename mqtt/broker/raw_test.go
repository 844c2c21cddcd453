package broker

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// raw is a bare MQTT client for tests: it writes the bytes it is told to and reads packets, and does nothing by itself.
type raw struct {
	net.Conn
	r     *bufio.Reader
	level byte
}

// login is a CONNECT. The zero value is a client of 3.1.1 with a persistent session and no will.
type login struct {
	id, user, password string
	level              byte // 3, 4 or 5; 0 means 4
	clean              bool
	keepAlive          uint16
	will               string // topic; "" is none
	willFlags          byte   // QoS and retain, as in the packet
	props, willProps   []byte // of MQTT 5
}

// packet is one that was read.
type packet struct {
	kind, flags byte
	body        []byte
	v5          bool
}

const (
	kindConnack    = 2
	kindPublish    = 3
	kindPuback     = 4
	kindPubrec     = 5
	kindPubrel     = 6
	kindPubcomp    = 7
	kindSuback     = 9
	kindPingresp   = 13
	kindDisconnect = 14
)

func str(s string) []byte { return append(u16(uint16(len(s))), s...) }
func u16(n uint16) []byte { return binary.BigEndian.AppendUint16(nil, n) }

// frame puts the fixed header before the parts of a packet.
func frame(header byte, parts ...[]byte) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	out := binary.AppendUvarint([]byte{header}, uint64(n))
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

func short(props []byte) []byte { return append([]byte{byte(len(props))}, props...) }

func (l login) encode() []byte {
	if l.level == 0 {
		l.level = 4
	}
	name, flags := "MQTT", l.willFlags
	if l.level == 3 {
		name = "MQIsdp"
	}
	if l.clean {
		flags |= 2
	}
	if l.will != "" {
		flags |= 4
	}
	if l.user != "" {
		flags |= 0x80
	}
	if l.password != "" {
		flags |= 0x40
	}
	parts := [][]byte{str(name), {l.level, flags}, u16(l.keepAlive)}
	if l.level == 5 {
		parts = append(parts, short(l.props))
	}
	parts = append(parts, str(l.id))
	if l.will != "" {
		if l.level == 5 {
			parts = append(parts, short(l.willProps))
		}
		parts = append(parts, str(l.will), str("gone"))
	}
	if l.user != "" {
		parts = append(parts, str(l.user))
	}
	if l.password != "" {
		parts = append(parts, str(l.password))
	}
	return frame(0x10, parts...)
}

// dial connects without a CONNECT.
func dial(t testing.TB, addr net.Addr) *raw {
	t.Helper()
	c, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &raw{Conn: c, r: bufio.NewReader(c), level: 4}
}

// try connects and gives the code of the CONNACK, or closed.
func try(t testing.TB, addr net.Addr, l login) (c *raw, code int, present bool) {
	t.Helper()
	c = dial(t, addr)
	if l.level != 0 {
		c.level = l.level
	}
	c.send(t, l.encode())
	p, err := c.read(patience)
	if err != nil {
		return c, closed, false
	}
	if p.kind != kindConnack {
		t.Fatalf("first packet has type %d, want CONNACK", p.kind)
	}
	return c, int(p.body[1]), p.body[0]&1 == 1
}

// patience is for what must come; it only matters on a machine that is very busy, or when a test fails.
const patience = 20 * time.Second

const closed = -1 // instead of a CONNACK code

// connect must succeed.
func connect(t testing.TB, addr net.Addr, l login) *raw {
	t.Helper()
	c, code, _ := try(t, addr, l)
	if code != 0 {
		t.Fatalf("client %q: CONNACK %d, want 0", l.id, code)
	}
	return c
}

func (c *raw) send(t testing.TB, b []byte) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
}

// read gives the next packet, or an error after d.
func (c *raw) read(d time.Duration) (p packet, err error) {
	if err := c.SetReadDeadline(time.Now().Add(d)); err != nil {
		return p, err
	}
	h, err := c.r.ReadByte()
	if err != nil {
		return p, err
	}
	n, err := binary.ReadUvarint(c.r)
	if err != nil {
		return p, err
	}
	p = packet{kind: h >> 4, flags: h & 15, body: make([]byte, n), v5: c.level == 5}
	_, err = io.ReadFull(c.r, p.body)
	return p, err
}

// want reads a packet of that type.
func (c *raw) want(t testing.TB, kind byte) packet {
	t.Helper()
	p, err := c.read(patience)
	if err != nil {
		t.Fatalf("want packet type %d: %v", kind, err)
	}
	if p.kind != kind {
		t.Fatalf("packet type %d % x, want %d", p.kind, p.body[:min(len(p.body), 200)], kind)
	}
	return p
}

// wantOwn reads the PUBACK of a message and the message itself, which come in any order.
func (c *raw) wantOwn(t testing.TB) packet {
	t.Helper()
	p, err := c.read(patience)
	if err != nil {
		t.Fatalf("want a message and its PUBACK: %v", err)
	}
	if p.kind == kindPuback {
		return c.want(t, kindPublish)
	}
	if p.kind != kindPublish {
		t.Fatalf("packet type %d, want a message or its PUBACK", p.kind)
	}
	c.want(t, kindPuback)
	return p
}

// wantClosed reads until the broker has closed the connection, skipping a DISCONNECT.
func (c *raw) wantClosed(t testing.TB) {
	t.Helper()
	for {
		p, err := c.read(patience)
		if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
			t.Fatal("connection is still open")
		}
		if err != nil {
			return
		}
		if p.kind != kindDisconnect {
			t.Fatalf("packet type %d % x instead of the end", p.kind, p.body)
		}
		if c.level < 5 {
			t.Fatal("a DISCONNECT of the server is not known before MQTT 5")
		}
	}
}

// quiet makes sure that all sent so far was handled and nothing came: it pings.
func (c *raw) quiet(t testing.TB) {
	t.Helper()
	c.send(t, []byte{0xC0, 0})
	c.want(t, kindPingresp)
}

type publish struct {
	topic   string
	qos     byte
	retain  bool
	dup     bool
	id      uint16
	payload string
}

func (c *raw) publish(p publish) []byte {
	h := 0x30 | p.qos<<1
	if p.retain {
		h |= 1
	}
	if p.dup {
		h |= 8
	}
	parts := [][]byte{str(p.topic)}
	if p.qos > 0 {
		parts = append(parts, u16(p.id))
	}
	if c.level == 5 {
		parts = append(parts, []byte{0})
	}
	return frame(h, append(parts, []byte(p.payload))...)
}

// subscribe gives the codes of the SUBACK.
func (c *raw) subscribe(t testing.TB, id uint16, options byte, filters ...string) []byte {
	t.Helper()
	parts := [][]byte{u16(id)}
	if c.level == 5 {
		parts = append(parts, []byte{0})
	}
	for _, f := range filters {
		parts = append(parts, str(f), []byte{options})
	}
	c.send(t, frame(0x82, parts...))
	p := c.want(t, kindSuback)
	if c.level == 5 {
		return p.body[3+int(p.body[2]):]
	}
	return p.body[2:]
}

func (c *raw) ack(t testing.TB, header byte, id uint16) {
	t.Helper()
	c.send(t, frame(header, u16(id)))
}

func (p packet) topic() string { return string(p.body[2 : 2+binary.BigEndian.Uint16(p.body)]) }
func (p packet) qos() byte     { return p.flags >> 1 & 3 }
func (p packet) dup() bool     { return p.flags&8 != 0 }

// rest is what follows the topic of a PUBLISH.
func (p packet) rest() []byte { return p.body[2+binary.BigEndian.Uint16(p.body):] }

// id is the packet id of a PUBLISH or of an acknowledgement.
func (p packet) id() uint16 {
	if p.kind == kindPublish {
		return binary.BigEndian.Uint16(p.rest())
	}
	return binary.BigEndian.Uint16(p.body)
}

// code is the reason code of an acknowledgement, 0 if there is none.
func (p packet) code() byte {
	if len(p.body) > 2 {
		return p.body[2]
	}
	return 0
}

func (p packet) payload() string {
	b := p.rest()
	if p.qos() > 0 {
		b = b[2:]
	}
	if p.v5 {
		b = b[1+int(b[0]):] // short properties only
	}
	return string(b)
}
