package broker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// message is what was published. It is shared by all who get it, and not changed any more.
type message struct {
	topic   string
	payload []byte
	qos     byte
	retain  bool
	expires int64       // Unix seconds; 0: never
	props   *properties // nil: none
	body    uint64      // its number in the Store, when it is there for more than one queue
}

// properties are those of MQTT 5 that go with a message (MQTT 5 section 3.3.2.3).
type properties struct {
	formatted     bool // format is there
	format        byte
	contentType   string
	responseTopic string
	correlation   []byte
	user          []packets.UserProperty
}

// newMessage takes a message out of a packet. What it keeps of the packet's bytes is the payload.
func newMessage(pk *packets.Packet, now time.Time) *message {
	m := &message{
		topic:   strings.Clone(pk.TopicName), // it is part of the packet's bytes, which would live as long
		payload: pk.Payload, qos: pk.FixedHeader.Qos, retain: pk.FixedHeader.Retain,
	}
	m.takeProperties(&pk.Properties, now)
	return m
}

func (m *message) takeProperties(p *packets.Properties, now time.Time) {
	if p.MessageExpiryInterval > 0 {
		m.expires = now.Unix() + int64(p.MessageExpiryInterval)
	}
	if p.PayloadFormatFlag || p.ContentType != "" || p.ResponseTopic != "" || len(p.CorrelationData) > 0 || len(p.User) > 0 {
		m.props = &properties{
			p.PayloadFormatFlag, p.PayloadFormat, strings.Clone(p.ContentType), strings.Clone(p.ResponseTopic),
			bytes.Clone(p.CorrelationData), slices.Clone(p.User),
		}
	}
}

// expired tells whether nobody is to get m any more.
func (m *message) expired(now time.Time) bool { return m.expires != 0 && now.Unix() >= m.expires }

// size is about how many bytes m takes, in memory and in the Store.
func (m *message) size() int {
	n := len(m.topic) + len(m.payload) + 32
	if p := m.props; p != nil {
		n += len(p.contentType) + len(p.responseTopic) + len(p.correlation)
		for _, u := range p.user {
			n += len(u.Key) + len(u.Val) + 4
		}
	}
	return n
}

// apply puts the properties of m into those of a packet.
func (m *message) apply(p *packets.Properties, now time.Time) {
	if m.expires != 0 {
		p.MessageExpiryInterval = uint32(min(max(m.expires-now.Unix(), 1), math.MaxUint32))
	}
	if q := m.props; q != nil {
		p.PayloadFormatFlag, p.PayloadFormat, p.ContentType, p.ResponseTopic = q.formatted, q.format, q.contentType, q.responseTopic
		p.CorrelationData, p.User = q.correlation, q.user
	}
}

// A message in the Store: a byte of flags, when it expires, the topic, the properties if there are any, and the payload up
// to the end.
const (
	flagQoS        = 3
	flagRetain     = 1 << 2
	flagProperties = 1 << 3
)

func appendMessage(dst []byte, m *message) []byte {
	flags := m.qos
	if m.retain {
		flags |= flagRetain
	}
	if m.props != nil {
		flags |= flagProperties
	}
	dst = append(dst, flags)
	dst = binary.AppendUvarint(dst, uint64(m.expires))
	dst = appendText(dst, m.topic)
	if p := m.props; p != nil {
		format := byte(0)
		if p.formatted {
			format = 1 + p.format
		}
		dst = append(dst, format)
		dst = appendText(appendText(dst, p.contentType), p.responseTopic)
		dst = appendText(dst, string(p.correlation))
		dst = binary.AppendUvarint(dst, uint64(len(p.user)))
		for _, u := range p.user {
			dst = appendText(appendText(dst, u.Key), u.Val)
		}
	}
	return append(dst, m.payload...)
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// errDamaged is what decoding returns for bytes that make no sense.
var errDamaged = errors.New("damaged")

// decodeMessage reads what appendMessage wrote. Nothing of b is kept.
func decodeMessage(b []byte) (*message, error) {
	d := &decoder{b: bytes.Clone(b)}
	flags := d.byte()
	m := &message{qos: flags & flagQoS, retain: flags&flagRetain != 0}
	m.expires = int64(d.uvarint() & math.MaxInt64)
	m.topic = d.text()
	if flags&flagProperties != 0 {
		p := &properties{}
		if format := d.byte(); format > 0 {
			p.formatted, p.format = true, format-1
		}
		p.contentType, p.responseTopic = d.text(), d.text()
		if c := d.text(); c != "" {
			p.correlation = []byte(c)
		}
		for range min(d.uvarint(), uint64(len(d.b))) {
			p.user = append(p.user, packets.UserProperty{Key: d.text(), Val: d.text()})
		}
		m.props = p
	}
	m.payload = d.b
	if d.bad || m.qos > 2 || m.topic == "" {
		return nil, errDamaged
	}
	return m, nil
}

// decoder takes fields from the front of b. After the first that is not there it is bad, and every further one is zero.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) fail() { d.b, d.bad = nil, true }

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) text() string {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.fail()
		return ""
	}
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}
