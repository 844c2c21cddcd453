package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// MQTT 3.1.1, as little as the benchmarks speak of it, without a library between the clock and the socket.
const (
	connect    = 0x10
	connack    = 0x20
	publish    = 0x30
	puback     = 0x40
	subscribe  = 0x82
	suback     = 0x90
	pingreq    = 0xC0
	pingresp   = 0xD0
	disconnect = 0xE0
)

func appendString(dst []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(s))), s...)
}

// appendPacket appends a packet with that first byte.
func appendPacket(dst []byte, first byte, body []byte) []byte {
	dst = binary.AppendUvarint(append(dst, first), uint64(len(body))) // MQTT's lengths are varints
	return append(dst, body...)
}

// appendPublish appends a PUBLISH with QoS 1.
func appendPublish(dst []byte, topic string, id uint16, payload []byte) []byte {
	dst = binary.AppendUvarint(append(dst, publish|2), uint64(4+len(topic)+len(payload)))
	dst = binary.BigEndian.AppendUint16(appendString(dst, topic), id)
	return append(dst, payload...)
}

// mqttConn is one connection, to a broker or (firehose) to a client. Reading and writing may happen in two goroutines.
type mqttConn struct {
	net.Conn
	r   *bufio.Reader
	buf []byte // of the last packet read
}

func newConn(c net.Conn) *mqttConn { return &mqttConn{Conn: c, r: bufio.NewReaderSize(c, 4096)} }

// read returns the next packet; body is valid until the next call.
func (c *mqttConn) read() (first byte, body []byte, err error) {
	if first, err = c.r.ReadByte(); err != nil {
		return 0, nil, err
	}
	n, err := binary.ReadUvarint(c.r)
	if err != nil {
		return 0, nil, err
	}
	if n > 16<<20 {
		return 0, nil, fmt.Errorf("a packet of %d bytes", n)
	}
	if uint64(cap(c.buf)) < n {
		c.buf = make([]byte, n)
	}
	body = c.buf[:n]
	_, err = io.ReadFull(c.r, body)
	return first, body, err
}

// await reads until a packet of that kind comes and returns its body.
func (c *mqttConn) await(kind byte) ([]byte, error) {
	for {
		first, body, err := c.read()
		if err != nil {
			return nil, err
		}
		if first&0xF0 == kind {
			return body, nil
		}
	}
}

// dial connects to a broker with a clean session.
func dial(addr, id string) (*mqttConn, error) { return login(addr, id, 2) }

// resume connects with a session that is kept.
func resume(addr, id string) (*mqttConn, error) { return login(addr, id, 0) }

// login connects with those flags of CONNECT, trying for as long as nobody listens, at most 10 s.
func login(addr, id string, flags byte) (*mqttConn, error) {
	var nc net.Conn
	var err error
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if nc, err = net.Dial("tcp", addr); err == nil {
			break
		}
		if time.Now().After(end) {
			return nil, err
		}
	}
	c := newConn(nc)
	body := append(appendString(nil, "MQTT"), 4, flags, 0, 0) // no keep-alive
	if _, err := c.Write(appendPacket(nil, connect, appendString(body, id))); err != nil {
		return nil, err
	}
	ack, err := c.await(connack)
	if err != nil {
		return nil, err
	}
	if len(ack) != 2 || ack[1] != 0 {
		return nil, fmt.Errorf("CONNACK %v", ack)
	}
	return c, nil
}

// publish sends one message with QoS 1 and waits until it is acknowledged.
func (c *mqttConn) publish(topic string, id uint16, payload []byte) error {
	if _, err := c.Write(appendPublish(nil, topic, id, payload)); err != nil {
		return err
	}
	_, err := c.await(puback)
	return err
}

// leave says DISCONNECT.
func (c *mqttConn) leave() error {
	if _, err := c.Write([]byte{disconnect, 0}); err != nil {
		return err
	}
	return c.Close()
}

// subscribe asks for one filter and waits for the answer.
func (c *mqttConn) subscribe(filter string, qos byte) error {
	body := append(appendString([]byte{0, 1}, filter), qos)
	if _, err := c.Write(appendPacket(nil, subscribe, body)); err != nil {
		return err
	}
	ack, err := c.await(suback)
	if err == nil && (len(ack) != 3 || ack[2] > 2) {
		err = fmt.Errorf("SUBACK %v", ack)
	}
	return err
}

// parsePublish gives topic, payload and, with QoS above 0, packet id.
func parsePublish(first byte, body []byte) (topic string, payload []byte, id uint16, err error) {
	if len(body) < 2 {
		return "", nil, 0, errShort
	}
	n := 2 + int(binary.BigEndian.Uint16(body))
	if len(body) < n {
		return "", nil, 0, errShort
	}
	topic, payload = string(body[2:n]), body[n:]
	if first&6 != 0 {
		if len(payload) < 2 {
			return "", nil, 0, errShort
		}
		id, payload = binary.BigEndian.Uint16(payload), payload[2:]
	}
	return topic, payload, id, nil
}

var errShort = errors.New("a packet that is too short")
