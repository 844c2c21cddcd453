package mqtt

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// The few packets that the broker, the device and the proxy of the tests speak, read and written without the code and the
// library under test.

const (
	tConnect, tConnack, tPublish, tPuback, tSubscribe, tSuback = 1, 2, 3, 4, 8, 9
	tUnsubscribe, tUnsuback, tPingreq, tPingresp, tDisconnect  = 10, 11, 12, 13, 14
)

type packet struct {
	kind, flags byte
	body        []byte
}

func readPacket(r io.ByteReader, full io.Reader) (packet, error) {
	first, err := r.ReadByte()
	if err != nil {
		return packet{}, err
	}
	size := 0
	for shift := 0; ; shift += 7 {
		b, err := r.ReadByte()
		if err != nil {
			return packet{}, err
		}
		size |= int(b&127) << shift
		if b < 128 {
			break
		}
		if shift > 20 {
			return packet{}, errors.New("length")
		}
	}
	body := make([]byte, size)
	_, err = io.ReadFull(full, body)
	return packet{first >> 4, first & 15, body}, err
}

func (p packet) encode() []byte {
	out := []byte{p.kind<<4 | p.flags}
	n := len(p.body)
	for n >= 128 {
		out = append(out, byte(n%128)|128)
		n /= 128
	}
	return append(append(out, byte(n)), p.body...)
}

func str(s string) []byte { return append(u16(len(s)), s...) }
func u16(n int) []byte    { return []byte{byte(n >> 8), byte(n)} }

// fields reads the body of a packet; what is missing reads as zero and sets bad.
type fields struct {
	b   []byte
	bad bool
}

func (f *fields) take(n int) []byte {
	if n > len(f.b) {
		f.bad, f.b = true, nil
		return make([]byte, n)
	}
	out := f.b[:n]
	f.b = f.b[n:]
	return out
}
func (f *fields) byte() byte  { return f.take(1)[0] }
func (f *fields) int() int    { b := f.take(2); return int(b[0])<<8 | int(b[1]) }
func (f *fields) str() string { return string(f.take(f.int())) }

// message is a PUBLISH.
type message struct {
	topic, payload string
	qos            byte
	dup, retain    bool
	id             int
}

func (m message) packet() packet {
	p := packet{kind: tPublish, flags: m.qos << 1, body: str(m.topic)}
	if m.dup {
		p.flags |= 8
	}
	if m.retain {
		p.flags |= 1
	}
	if m.qos > 0 {
		p.body = append(p.body, u16(m.id)...)
	}
	p.body = append(p.body, m.payload...)
	return p
}

func parseMessage(p packet) message {
	f := fields{b: p.body}
	m := message{topic: f.str(), qos: p.flags >> 1 & 3, dup: p.flags&8 > 0, retain: p.flags&1 > 0}
	if m.qos > 0 {
		m.id = f.int()
	}
	m.payload = string(f.b)
	return m
}

func connectPacket(id, user, password string) packet {
	flags := byte(2) // clean session
	body := str(id)
	if user != "" {
		flags |= 0xC0
		body = append(append(body, str(user)...), str(password)...)
	}
	return packet{kind: tConnect, body: append(append(str("MQTT"), 4, flags, 0, 60), body...)}
}

// device is somebody else at the broker: it speaks plain MQTT over TCP.
type device struct {
	t    *testing.T
	conn net.Conn
	mu   sync.Mutex
	next int
	acks chan packet
	got  chan message
}

// newDevice connects to a broker at addr, subscribed to filters.
func newDevice(t *testing.T, addr, user, password string, filters ...string) *device {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	d := &device{t: t, conn: c, acks: make(chan packet, 10_000), got: make(chan message, 10_000)}
	var wg sync.WaitGroup
	wg.Go(d.read)
	t.Cleanup(func() { c.Close(); wg.Wait() })
	d.send(connectPacket(fmt.Sprintf("device-%p", d), user, password))
	if p := d.answer(); p.kind != tConnack || p.body[1] != 0 {
		t.Fatalf("device not let in: %v", p)
	}
	for _, f := range filters {
		d.send(packet{kind: tSubscribe, flags: 2, body: append(append(u16(1), str(f)...), 1)})
		if p := d.answer(); p.kind != tSuback || p.body[2] > 1 {
			t.Fatalf("device may not subscribe: %v", p)
		}
	}
	return d
}

func (d *device) read() {
	r := bufio.NewReader(d.conn)
	for {
		p, err := readPacket(r, r)
		if err != nil {
			return
		}
		if p.kind != tPublish {
			d.acks <- p
			continue
		}
		m := parseMessage(p)
		if m.qos == 1 {
			d.send(packet{kind: tPuback, body: u16(m.id)})
		}
		d.got <- m
	}
}

func (d *device) send(p packet) {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, _ = d.conn.Write(p.encode()) // a failure shows as a missing answer
}

func (d *device) answer() packet {
	d.t.Helper()
	select {
	case p := <-d.acks:
		return p
	case <-time.After(waitTime):
		d.t.Fatal("the broker does not answer the device")
		panic("unreachable")
	}
}

// publish sends a message with QoS 1 and returns when the broker has it.
func (d *device) publish(topic, payload string) {
	d.send1(message{topic: topic, payload: payload, qos: 1})
}

func (d *device) send1(m message) {
	d.t.Helper()
	d.next++
	m.id = d.next
	d.send(m.packet())
	if m.qos > 0 {
		if p := d.answer(); p.kind != tPuback {
			d.t.Fatalf("want a PUBACK, got %v", p)
		}
	}
}

// expect waits for the next message to the device.
func (d *device) expect(topic, payload string) message {
	d.t.Helper()
	select {
	case m := <-d.got:
		if m.topic != topic || m.payload != payload {
			d.t.Fatalf("device got %q on %q, want %q on %q", m.payload, m.topic, payload, topic)
		}
		return m
	case <-time.After(waitTime):
		d.t.Fatalf("device got nothing, want %q on %q", payload, topic)
		panic("unreachable")
	}
}
