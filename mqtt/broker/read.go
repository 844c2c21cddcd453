package broker

import (
	"bufio"
	"fmt"
	"io"

	"github.com/mochi-mqtt/server/v2/packets"
)

// read takes one packet of at most most bytes from r. What it says is not checked beyond its form.
func (c *conn) read(r *bufio.Reader, most int) (*packets.Packet, error) {
	head, err := r.ReadByte()
	if err != nil {
		return nil, err
	}
	pk := &packets.Packet{ProtocolVersion: c.version}
	if err := pk.FixedHeader.Decode(head); err != nil {
		return nil, err
	}
	length, lengthBytes, err := packets.DecodeLength(r)
	if err != nil {
		return nil, err
	}
	if length > most {
		return nil, packets.ErrPacketTooLarge
	}
	pk.FixedHeader.Remaining = length
	body, err := readBody(r, length)
	if err != nil {
		return nil, err
	}
	c.stats.received(1+lengthBytes+length, pk.FixedHeader.Type == packets.Publish)
	return pk, decode(pk, body)
}

// readBody takes so many bytes from r. Memory is taken as they come: what a client announces costs nothing.
func readBody(r io.Reader, length int) ([]byte, error) {
	body := make([]byte, min(length, firstBody))
	for have := 0; ; {
		n, err := io.ReadFull(r, body[have:])
		if have += n; err != nil || have == length {
			return body, err
		}
		body = append(body, make([]byte, min(have, length-have))...)
	}
}

const firstBody = 16 << 10

// decode reads the rest of a packet that a client may send. It keeps body.
func decode(pk *packets.Packet, body []byte) error {
	switch pk.FixedHeader.Type {
	case packets.Connect:
		return pk.ConnectDecode(body)
	case packets.Publish:
		return pk.PublishDecode(body)
	case packets.Puback:
		return pk.PubackDecode(body)
	case packets.Pubrec:
		return pk.PubrecDecode(body)
	case packets.Pubrel:
		return pk.PubrelDecode(body)
	case packets.Pubcomp:
		return pk.PubcompDecode(body)
	case packets.Subscribe:
		return pk.SubscribeDecode(body)
	case packets.Unsubscribe:
		return pk.UnsubscribeDecode(body)
	case packets.Pingreq:
		return nil
	case packets.Disconnect:
		if pk.ProtocolVersion == 5 && len(body) == 1 { // the library overlooks a reason that stands alone
			pk.ReasonCode = body[0]
			return nil
		}
		return pk.DisconnectDecode(body)
	default:
		return fmt.Errorf("%w: packet type %d", packets.ErrProtocolViolation, pk.FixedHeader.Type)
	}
}
