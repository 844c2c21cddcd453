package device

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Kinds of packets (MQTT 3.1.1, section 2.2.1).
const (
	kindConnect    = 1
	kindConnack    = 2
	kindPublish    = 3
	kindPuback     = 4
	kindSubscribe  = 8
	kindSuback     = 9
	kindPingreq    = 12
	kindPingresp   = 13
	kindDisconnect = 14
)

const maxPacket = 8 << 20 // bytes of a packet's body that we take

// errPacket is what a packet yields that is not as the standard says; the connection is closed.
var errPacket = errors.New("mqtt: malformed packet")

// packet is one control packet, its fixed header taken apart.
type packet struct {
	kind  byte
	flags byte
	body  []byte
}

// readPacket reads the next packet; the body is the caller's.
func readPacket(r *bufio.Reader) (packet, error) {
	first, err := r.ReadByte()
	if err != nil {
		return packet{}, err
	}
	size := 0
	for shift := 0; ; shift += 7 {
		if shift > 21 { // section 2.2.3: at most four bytes
			return packet{}, fmt.Errorf("%w: length", errPacket)
		}
		b, err := r.ReadByte()
		if err != nil {
			return packet{}, noEOF(err)
		}
		size |= int(b&0x7f) << shift
		if b&0x80 == 0 {
			break
		}
	}
	if size > maxPacket {
		return packet{}, fmt.Errorf("%w: %d bytes", errPacket, size)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		return packet{}, noEOF(err)
	}
	return packet{kind: first >> 4, flags: first & 0x0f, body: body}, nil
}

// noEOF says that the end came in the middle of a packet.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// appendPacket appends the wire form of p.
func appendPacket(dst []byte, p packet) []byte {
	dst = append(dst, p.kind<<4|p.flags)
	size := len(p.body)
	for size >= 0x80 {
		dst = append(dst, byte(size)|0x80)
		size >>= 7
	}
	dst = append(dst, byte(size))
	return append(dst, p.body...)
}

func appendString(dst []byte, s string) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(s)))
	return append(dst, s...)
}

// cutID takes a packet id off the front of b.
func cutID(b []byte) (id uint16, rest []byte, err error) {
	if len(b) < 2 {
		return 0, nil, fmt.Errorf("%w: packet id", errPacket)
	}
	return binary.BigEndian.Uint16(b), b[2:], nil
}

// publishPacket is the packet of m; id counts with QoS 1 only.
func publishPacket(m Message, id uint16) packet {
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
	p.body = append(p.body, m.Payload...)
	return p
}

// parsePublish is the reverse of publishPacket. The payload is a part of p.body.
func parsePublish(p packet) (m Message, id uint16, err error) {
	m = Message{Duplicate: p.flags&8 != 0, QoS: p.flags >> 1 & 3, Retain: p.flags&1 != 0}
	if m.QoS > 1 {
		return m, 0, fmt.Errorf("%w: QoS %d, which we never asked for", errPacket, m.QoS)
	}
	size, rest, err := cutID(p.body)
	if err != nil || len(rest) < int(size) {
		return m, 0, fmt.Errorf("%w: topic", errPacket)
	}
	m.Topic, rest = string(rest[:size]), rest[size:]
	if m.QoS > 0 {
		if id, rest, err = cutID(rest); err != nil || id == 0 {
			return m, 0, fmt.Errorf("%w: packet id", errPacket)
		}
	}
	m.Payload = rest
	return m, id, nil
}

// connectPacket is section 3.1.
func connectPacket(cfg Config) packet {
	flags := byte(0)
	if cfg.Clean {
		flags |= 0x02
	}
	payload := appendString(nil, cfg.ClientID)
	if w := cfg.Will; w != nil {
		flags |= 0x04 | w.QoS<<3
		if w.Retain {
			flags |= 0x20
		}
		payload = appendString(payload, w.Topic)
		payload = appendString(payload, string(w.Payload))
	}
	if cfg.User != "" {
		flags |= 0x80 | 0x40
		payload = appendString(payload, cfg.User)
		payload = appendString(payload, cfg.Password)
	}
	body := appendString(nil, "MQTT")
	body = append(body, 4, flags)
	body = binary.BigEndian.AppendUint16(body, uint16(cfg.KeepAlive.Seconds()))
	return packet{kind: kindConnect, body: append(body, payload...)}
}

// subscribePacket is section 3.8.
func subscribePacket(id uint16, filters []string, qos byte) packet {
	body := binary.BigEndian.AppendUint16(nil, id)
	for _, f := range filters {
		body = append(appendString(body, f), qos)
	}
	return packet{kind: kindSubscribe, flags: 2, body: body}
}
