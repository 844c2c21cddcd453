package mqtt

import (
	"bufio"
	"errors"
	"fmt"
)

// Packet types (MQTT 3.1.1 section 2.2.1), in the upper half of the first byte.
const (
	typeConnack  = 0x20
	typePublish  = 0x30
	typeSuback   = 0x90
	typePingreq  = 0xC0
	typePingresp = 0xD0
)

var (
	errMalformed    = errors.New("the broker sent what is not MQTT 3.1.1")
	errShortPublish = fmt.Errorf("%w: a PUBLISH shorter than its topic", errMalformed)
)

// frame is the beginning of a packet as it will be handed on.
type frame struct {
	first byte // type and flags
	size  int  // what follows the length: to be handed on
	cut   int  // what follows that and is left out
}

func (f frame) publish() bool { return f.first&0xF0 == typePublish }

// header is the fixed header for what is handed on.
func (f frame) header() []byte { return appendLength([]byte{f.first}, f.size) }

// readFrame reads a fixed header. Of a PUBLISH whose payload is larger than maxPayload the first maxPayload+1 bytes are
// left, so that whoever receives it sees that it is too large. No other packet may be larger than what a SUBACK for
// maxBatch filters needs. It reads nothing behind the fixed header.
func readFrame(r *bufio.Reader, maxPayload int) (frame, error) {
	first, err := r.ReadByte()
	if err != nil {
		return frame{}, err
	}
	f := frame{first: first}
	if f.size, err = readLength(r); err != nil {
		return frame{}, err
	}
	if !f.publish() {
		return f, checkAnswer(r, f)
	}
	qos := first >> 1 & 3
	if qos == 3 {
		return frame{}, fmt.Errorf("%w: QoS 3", errMalformed)
	}
	if f.size < 2 {
		return frame{}, errShortPublish
	}
	b, err := r.Peek(2)
	if err != nil {
		return frame{}, err
	}
	fixed := 2 + int(b[0])<<8 + int(b[1])
	if qos > 0 {
		fixed += 2
	}
	if fixed > f.size {
		return frame{}, errShortPublish
	}
	if most := fixed + maxPayload + 1; f.size > most {
		f.size, f.cut = most, f.size-most
	}
	return f, nil
}

// checkAnswer refuses what paho would stumble over.
func checkAnswer(r *bufio.Reader, f frame) error {
	if f.size > 2+maxBatch {
		return fmt.Errorf("%w: a packet of type %d with %d bytes", errMalformed, f.first>>4, f.size)
	}
	if f.first&0xF0 != typeConnack {
		return nil
	}
	if f.size != 2 {
		return fmt.Errorf("%w: a CONNACK of %d bytes", errMalformed, f.size)
	}
	b, err := r.Peek(2)
	if err == nil && b[1] > 5 {
		err = fmt.Errorf("the broker refused us with the unknown code %d", b[1])
	}
	return err
}

// readLength reads a remaining length (section 2.2.3).
func readLength(r *bufio.Reader) (int, error) {
	n := 0
	for shift := 0; shift < 28; shift += 7 {
		b, err := r.ReadByte()
		if err != nil {
			return 0, err
		}
		n |= int(b&0x7F) << shift
		if b&0x80 == 0 {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%w: a length of more than four bytes", errMalformed)
}

func appendLength(dst []byte, n int) []byte {
	for n >= 0x80 {
		dst = append(dst, byte(n)|0x80)
		n >>= 7
	}
	return append(dst, byte(n))
}
