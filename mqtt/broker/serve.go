package broker

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"runtime/debug"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/gatepost/gatepost/internal/logkey"
)

const readBuffer = 2 << 10

// serveConn runs one connection from its first byte to its will, in the caller's goroutine.
func (b *Broker) serveConn(nc, tcp net.Conn) {
	if t, ok := tcp.(*tls.Conn); ok {
		tcp = t.NetConn()
	}
	c := newConn(nc, tcp, b.cfg.Limits, b.dropSlow)
	c.fill, c.stats = b.fill, &b.stats
	if !b.add(c) {
		c.kill()
		return
	}
	defer b.wg.Done()
	pumped := make(chan struct{})
	go func() { defer close(pumped); c.pump() }()
	err := b.converse(c)
	if c.stall != nil {
		c.stall.Stop()
	}
	_ = c.Close() // it never fails
	<-pumped
	if c.session != nil {
		b.detach(c)
	}
	b.remove(c)
	if c.established.Load() {
		b.log.Debug("client disconnected", logkey.Client, c.clientID, logkey.Error, err)
	}
	b.sendWill(c)
}

// converse handles what the client sends until the connection ends. What that is can make the library's decoder panic; then
// this connection ends, and nothing else.
func (b *Broker) converse(c *conn) (err error) {
	defer func() {
		if p := recover(); p != nil {
			b.m.panics.Inc()
			err = fmt.Errorf("panic: %v", p)
			if b.news.due("panic") {
				b.log.Error("connection ended by a panic", logkey.Address, c.RemoteAddr().String(), logkey.Error, err, logkey.Reason, string(debug.Stack()))
			}
		}
	}()
	r := bufio.NewReaderSize(c, readBuffer)
	pk, err := c.read(r, maxConnect)
	if err == nil && pk.FixedHeader.Type != packets.Connect {
		err = errNotConnect
	}
	if err == nil {
		err = b.connect(c, pk)
	}
	for err == nil {
		c.room()
		if err = c.rest(); err != nil {
			break
		}
		if pk, err = c.read(r, b.cfg.MaxPayload+packetOverhead); err == nil {
			err = b.handle(c, pk)
		}
	}
	var code packets.Code
	if errors.As(err, &code) && c.established.Load() {
		b.say(c, code)
	}
	return err
}

// handle does what a packet asks for. An error ends the connection; if it is a packets.Code, a client of MQTT 5 is told.
func (b *Broker) handle(c *conn, pk *packets.Packet) error {
	switch pk.FixedHeader.Type {
	case packets.Publish:
		return b.published(c, pk)
	case packets.Puback:
		b.puback(c, pk)
	case packets.Pubrec:
		return b.pubrec(c, pk)
	case packets.Pubrel:
		return b.pubrel(c, pk)
	case packets.Pubcomp:
		b.pubcomp(c, pk)
	case packets.Subscribe:
		return b.subscribe(c, pk)
	case packets.Unsubscribe:
		return b.unsubscribe(c, pk)
	case packets.Pingreq:
		c.send(&packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingresp}})
	case packets.Disconnect:
		return b.disconnected(c, pk)
	default:
		return packets.ErrProtocolViolation // a second CONNECT
	}
	return nil
}

// say tells a client of MQTT 5 why its connection ends. Any goroutine.
func (b *Broker) say(c *conn, why packets.Code) {
	out := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}, ReasonCode: why.Code}
	if c.problems {
		out.Properties.ReasonString = why.Reason
	}
	c.send(&out)
}

// disconnect ends a connection; a client of MQTT 5 is told why. Any goroutine.
func (b *Broker) disconnect(c *conn, why packets.Code) {
	if c.established.Load() { // what CONNECT has set may be read
		b.say(c, why)
	}
	_ = c.Close() // it never fails
}
