package wire

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// Methods of RFC 8489 section 18.2 and RFC 8656 section 17. A request is the method itself.
const (
	Binding          = 0x001
	Allocate         = 0x003
	Refresh          = 0x004
	SendMethod       = 0x006
	DataMethod       = 0x007
	CreatePermission = 0x008
	ChannelBind      = 0x009
	Connect          = 0x00A // RFC 6062, which a relay need not know
)

// Class bits of a message type (RFC 8489 section 5).
const (
	Indication = 0x010
	Success    = 0x100
	Failure    = 0x110
	classMask  = 0x110
)

// Attributes (RFC 8489 section 18.3, RFC 8656 section 18).
const (
	Username               = 0x0006
	MessageIntegrity       = 0x0008
	ErrorCode              = 0x0009
	ChannelNumber          = 0x000C
	Lifetime               = 0x000D
	XORPeerAddress         = 0x0012
	Data                   = 0x0013
	Realm                  = 0x0014
	Nonce                  = 0x0015
	XORRelayedAddress      = 0x0016
	RequestedAddressFamily = 0x0017
	EvenPort               = 0x0018
	RequestedTransport     = 0x0019
	XORMappedAddress       = 0x0020
	ReservationToken       = 0x0022
)

const (
	headerSize = 20
	cookie     = 0x2112A442
)

// ID is a transaction id.
type ID [12]byte

// NewID is a random transaction id.
func NewID() (id ID) {
	_, _ = rand.Read(id[:]) // never fails
	return id
}

// Builder makes one message. The slice of Bytes is the builder's own.
type Builder struct{ b []byte }

// Build begins a message of a method and class, such as Send|Indication.
func Build(kind uint16, id ID) *Builder {
	b := make([]byte, headerSize, 256)
	binary.BigEndian.PutUint16(b, kind)
	binary.BigEndian.PutUint32(b[4:], cookie)
	copy(b[8:], id[:])
	return &Builder{b}
}

// Add appends an attribute and pads it.
func (m *Builder) Add(attr uint16, value []byte) *Builder {
	m.b = binary.BigEndian.AppendUint16(m.b, attr)
	m.b = binary.BigEndian.AppendUint16(m.b, uint16(len(value)))
	m.b = append(m.b, value...)
	for len(m.b)%4 != 0 {
		m.b = append(m.b, 0)
	}
	m.setLength(len(m.b))
	return m
}

// AddUint32 appends an attribute of four bytes, such as Lifetime in seconds.
func (m *Builder) AddUint32(attr uint16, v uint32) *Builder {
	return m.Add(attr, binary.BigEndian.AppendUint32(nil, v))
}

// AddAddr appends an address, XORed as RFC 8489 section 14.2 says.
func (m *Builder) AddAddr(attr uint16, a netip.AddrPort) *Builder {
	v := []byte{0, 1}
	if a.Addr().Is6() {
		v[1] = 2
	}
	v = binary.BigEndian.AppendUint16(v, a.Port()^(cookie>>16))
	ip := a.Addr().AsSlice()
	for i := range ip {
		ip[i] ^= m.b[4+i]
	}
	return m.Add(attr, append(v, ip...))
}

// Sign appends MESSAGE-INTEGRITY over all that is there.
func (m *Builder) Sign(key []byte) *Builder {
	m.setLength(len(m.b) + 24)
	h := hmac.New(sha1.New, key)
	h.Write(m.b)
	return m.Add(MessageIntegrity, h.Sum(nil))
}

func (m *Builder) setLength(total int) { binary.BigEndian.PutUint16(m.b[2:], uint16(total-headerSize)) }

// Bytes of the message.
func (m *Builder) Bytes() []byte { return m.b }

// Message is one that was received; its attributes share the bytes that were parsed.
type Message struct {
	Kind  uint16
	ID    ID
	attrs []attribute
}

type attribute struct {
	kind  uint16
	value []byte
}

var errMessage = errors.New("wire: not a STUN message")

// Parse reads a message. It does not check MESSAGE-INTEGRITY.
func Parse(b []byte) (Message, error) {
	if len(b) < headerSize || b[0] >= 0x40 || binary.BigEndian.Uint32(b[4:]) != cookie ||
		int(binary.BigEndian.Uint16(b[2:]))+headerSize != len(b) || len(b)%4 != 0 {
		return Message{}, fmt.Errorf("%w: %x", errMessage, b[:min(len(b), headerSize)])
	}
	m := Message{Kind: binary.BigEndian.Uint16(b), ID: ID(b[8:headerSize])}
	for p := b[headerSize:]; len(p) > 0; {
		if len(p) < 4 {
			return Message{}, errMessage
		}
		n := int(binary.BigEndian.Uint16(p[2:]))
		padded := 4 + (n+3)&^3
		if padded > len(p) {
			return Message{}, errMessage
		}
		m.attrs = append(m.attrs, attribute{binary.BigEndian.Uint16(p), p[4 : 4+n]})
		p = p[padded:]
	}
	return m, nil
}

// Get is the first attribute of a kind, nil when there is none.
func (m Message) Get(attr uint16) []byte {
	for _, a := range m.attrs {
		if a.kind == attr {
			return a.value
		}
	}
	return nil
}

// Has says whether there is an attribute of a kind.
func (m Message) Has(attr uint16) bool { return m.Get(attr) != nil }

// Is says whether the message is of a class, such as Success.
func (m Message) Is(class uint16) bool { return m.Kind&classMask == class }

// Code is the error code of a failure, 0 without one.
func (m Message) Code() int {
	v := m.Get(ErrorCode)
	if len(v) < 4 {
		return 0
	}
	return int(v[2]&7)*100 + int(v[3])
}

// Addr reads an XORed address; the zero value when it is not there.
func (m Message) Addr(attr uint16) netip.AddrPort {
	v := bytes.Clone(m.Get(attr))
	if len(v) != 8 && len(v) != 20 {
		return netip.AddrPort{}
	}
	mask := binary.BigEndian.AppendUint32(nil, cookie)
	mask = append(mask, m.ID[:]...)
	for i := range v[4:] {
		v[4+i] ^= mask[i]
	}
	ip, _ := netip.AddrFromSlice(v[4:]) // the length was checked
	return netip.AddrPortFrom(ip, binary.BigEndian.Uint16(v[2:])^(cookie>>16))
}

// Seconds reads Lifetime.
func (m Message) Seconds() uint32 {
	if v := m.Get(Lifetime); len(v) == 4 {
		return binary.BigEndian.Uint32(v)
	}
	return 0
}

// AppendChannelData frames a payload for a channel (RFC 8656 section 12.4). Over a stream it is padded to four bytes.
func AppendChannelData(dst []byte, channel uint16, payload []byte, stream bool) []byte {
	dst = binary.BigEndian.AppendUint16(dst, channel)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(payload)))
	dst = append(dst, payload...)
	for stream && len(dst)%4 != 0 {
		dst = append(dst, 0)
	}
	return dst
}

// ChannelData reads the channel and payload of b, which begins with a byte between 0x40 and 0x4F; ok is false if it is
// something else or cut.
func ChannelData(b []byte) (channel uint16, payload []byte, ok bool) {
	if len(b) < 4 || b[0] < 0x40 || b[0] > 0x4F {
		return 0, nil, false
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	if len(b) < 4+n {
		return 0, nil, false
	}
	return binary.BigEndian.Uint16(b), b[4 : 4+n], true
}
