package device

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"fmt"
	"net"
	"time"
)

// Kinds of packets that tests wait for.
const (
	Publish    = kindPublish
	Puback     = kindPuback
	Pubrec     = 5
	Pubrel     = 6
	Pubcomp    = 7
	Suback     = kindSuback
	Unsuback   = 11
	Pingresp   = kindPingresp
	Disconnect = kindDisconnect
)

// Login is the CONNECT of a Raw. Addr is required.
type Login struct {
	Addr           string
	Level          byte // 3 (MQTT 3.1), 4 (3.1.1) or 5; 0 means 4
	ClientID       string
	User, Password string // no user: none
	Clean          bool   // clean session, clean start
	KeepAlive      uint16 // seconds; 0: none
	Will           *Message
	// MQTT 5: properties as on the wire, at most 127 bytes each.
	Properties, WillProperties []byte
	// ReceiveBuffer is the size of the socket's buffer in bytes, for clients that stop reading; 0: the system's.
	ReceiveBuffer int
}

// Raw is a connection to a broker that does nothing by itself: the caller writes each packet and reads each answer, in
// whatever order. Writing and reading may happen in two goroutines.
type Raw struct {
	net.Conn
	Present bool // the CONNACK said that the broker has a session

	level  byte
	reader *bufio.Reader
	kept   []Packet // came before the SUBACK that Subscribe waited for
}

// Packet is a packet that the broker sent.
type Packet struct {
	Kind  byte
	Flags byte
	Body  []byte
	level byte
}

const rawPatience = 10 * time.Second // for a connection and its CONNACK, and for a SUBACK

// Dial connects and logs in. A broker that says no yields *Refused.
func Dial(l Login) (*Raw, error) {
	conn, err := net.DialTimeout("tcp", l.Addr, rawPatience)
	if err != nil {
		return nil, err
	}
	if tcp, ok := conn.(*net.TCPConn); ok && l.ReceiveBuffer > 0 {
		_ = tcp.SetReadBuffer(l.ReceiveBuffer) // a larger one only means more to write
	}
	r, err := login(conn, l)
	if err != nil {
		_ = conn.Close() // of no use
		return nil, err
	}
	return r, nil
}

func login(conn net.Conn, l Login) (*Raw, error) {
	r := &Raw{Conn: conn, level: cmp.Or(l.Level, 4), reader: bufio.NewReaderSize(conn, 64<<10)}
	if _, err := conn.Write(ConnectPacket(l)); err != nil {
		return nil, err
	}
	p, err := r.Next(rawPatience)
	if err != nil {
		return nil, err
	}
	if p.Kind != kindConnack || len(p.Body) < 2 {
		return nil, fmt.Errorf("%w: no CONNACK but kind %d", errPacket, p.Kind)
	}
	if p.Body[1] != 0 {
		return nil, &Refused{Code: p.Body[1]}
	}
	r.Present = p.Body[0]&1 != 0
	return r, nil
}

// ConnectPacket is the wire form of l (section 3.1 of both standards).
func ConnectPacket(l Login) []byte {
	l.Level = cmp.Or(l.Level, 4)
	name := "MQTT"
	if l.Level == 3 {
		name = "MQIsdp"
	}
	flags := byte(0)
	if l.Clean {
		flags |= 0x02
	}
	payload := appendString(nil, l.ClientID)
	if w := l.Will; w != nil {
		flags |= 0x04 | w.QoS<<3
		if w.Retain {
			flags |= 0x20
		}
		payload = appendProperties(payload, l.Level, l.WillProperties)
		payload = appendString(payload, w.Topic)
		payload = appendString(payload, string(w.Payload))
	}
	if l.User != "" {
		flags |= 0xC0
		payload = appendString(payload, l.User)
		payload = appendString(payload, l.Password)
	}
	body := append(appendString(nil, name), l.Level, flags)
	body = binary.BigEndian.AppendUint16(body, l.KeepAlive)
	body = appendProperties(body, l.Level, l.Properties)
	return appendPacket(nil, packet{kind: kindConnect, body: append(body, payload...)})
}

// PublishPacket is the wire form of m for that level; id counts above QoS 0, properties with MQTT 5.
func PublishPacket(level byte, m Message, id uint16, properties ...byte) []byte {
	p := packet{kind: kindPublish, flags: m.QoS << 1}
	if m.Duplicate {
		p.flags |= 8
	}
	if m.Retain {
		p.flags |= 1
	}
	p.body = appendString(nil, m.Topic)
	if m.QoS > 0 {
		p.body = binary.BigEndian.AppendUint16(p.body, id)
	}
	p.body = append(appendProperties(p.body, level, properties), m.Payload...)
	return appendPacket(nil, p)
}

// SubscribePacket asks for the filters with the same options (MQTT 5 section 3.8.3.1; before, the QoS).
func SubscribePacket(level byte, id uint16, options byte, filters ...string) []byte {
	body := appendProperties(binary.BigEndian.AppendUint16(nil, id), level, nil)
	for _, f := range filters {
		body = append(appendString(body, f), options)
	}
	return appendPacket(nil, packet{kind: kindSubscribe, flags: 2, body: body})
}

// UnsubscribePacket gives up the filters.
func UnsubscribePacket(level byte, id uint16, filters ...string) []byte {
	body := appendProperties(binary.BigEndian.AppendUint16(nil, id), level, nil)
	for _, f := range filters {
		body = appendString(body, f)
	}
	return appendPacket(nil, packet{kind: 10, flags: 2, body: body})
}

// AckPacket is PUBACK, PUBREC, PUBREL or PUBCOMP of a message.
func AckPacket(kind byte, id uint16) []byte {
	flags := byte(0)
	if kind == Pubrel {
		flags = 2
	}
	return appendPacket(nil, packet{kind: kind, flags: flags, body: binary.BigEndian.AppendUint16(nil, id)})
}

func appendProperties(dst []byte, level byte, properties []byte) []byte {
	if level < 5 {
		return dst
	}
	return append(append(dst, byte(len(properties))), properties...)
}

// Next waits up to patience for the next packet.
func (r *Raw) Next(patience time.Duration) (Packet, error) {
	if len(r.kept) > 0 {
		p := r.kept[0]
		r.kept = r.kept[1:]
		return p, nil
	}
	return r.read(patience)
}

func (r *Raw) read(patience time.Duration) (Packet, error) {
	if err := r.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return Packet{}, err
	}
	p, err := readPacket(r.reader)
	return Packet{Kind: p.kind, Flags: p.flags, Body: p.body, level: r.level}, err
}

// Send writes a PUBLISH.
func (r *Raw) Send(m Message, id uint16, properties ...byte) error {
	_, err := r.Write(PublishPacket(r.level, m, id, properties...))
	return err
}

// Ack writes a PUBACK, PUBREC, PUBREL or PUBCOMP.
func (r *Raw) Ack(kind byte, id uint16) error {
	_, err := r.Write(AckPacket(kind, id))
	return err
}

// Subscribe asks for the filters and waits for the answer; what comes before it is kept for Next.
func (r *Raw) Subscribe(id uint16, options byte, filters ...string) (codes []byte, err error) {
	if _, err := r.Write(SubscribePacket(r.level, id, options, filters...)); err != nil {
		return nil, err
	}
	for {
		p, err := r.read(rawPatience)
		if err != nil {
			return nil, err
		}
		if p.Kind != kindSuback {
			r.kept = append(r.kept, p)
			continue
		}
		rest := p.Body[2:]
		if r.level == 5 {
			rest = rest[1+int(rest[0]):]
		}
		return rest, nil
	}
}

// Leave says DISCONNECT and closes.
func (r *Raw) Leave() error {
	if _, err := r.Write(appendPacket(nil, packet{kind: kindDisconnect})); err != nil {
		return err
	}
	return r.Close()
}

// Message takes a PUBLISH apart; id is 0 with QoS 0. Properties of MQTT 5 are skipped.
func (p Packet) Message() (m Message, id uint16, err error) {
	m = Message{Duplicate: p.Flags&8 != 0, QoS: p.Flags >> 1 & 3, Retain: p.Flags&1 != 0}
	size, rest, err := cutID(p.Body)
	if err != nil || len(rest) < int(size) {
		return m, 0, fmt.Errorf("%w: topic", errPacket)
	}
	m.Topic, rest = string(rest[:size]), rest[size:]
	if m.QoS > 0 {
		if id, rest, err = cutID(rest); err != nil {
			return m, 0, err
		}
	}
	if p.level == 5 {
		n, used := binary.Uvarint(rest)
		if used <= 0 || uint64(len(rest)-used) < n {
			return m, 0, fmt.Errorf("%w: properties", errPacket)
		}
		rest = rest[used+int(n):]
	}
	m.Payload = rest
	return m, id, nil
}

// ID is the packet id of an acknowledgement, 0 when it has none.
func (p Packet) ID() uint16 {
	id, _, err := cutID(p.Body)
	if err != nil {
		return 0
	}
	return id
}
