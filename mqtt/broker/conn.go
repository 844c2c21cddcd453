package broker

import (
	"bytes"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

const (
	writeChunk = 64 << 10        // written at once, each in SlowTime
	keepBuffer = 1 << 10         // a buffer up to this size is used again; idle clients keep no larger one
	lastWords  = 1 * time.Second // to write what waits after Close: a CONNACK that refuses, a DISCONNECT
)

// conn is the connection of one client. A reader, in the goroutine that serves it, handles what the client sends. A pump
// writes: first what others have put into a buffer with send and Write, which never block; then what fill gives it, the
// messages for the client. So whoever publishes never waits for one who reads slowly, and what a client can't take stays
// where it is. A client that takes no chunk within SlowTime is cut off.
type conn struct {
	net.Conn          // TCP, TLS or WebSocket
	tcp      net.Conn // below it; closing it ends everything at once
	since    time.Time
	limit    int
	slow     time.Duration
	onSlow   func(*conn)
	fill     func(c *conn, out []byte) (_ []byte, more bool) // appends messages
	stats    *stats

	mu      sync.Mutex
	changed sync.Cond // of what follows
	buf     []byte    // to be written
	queued  int       // bytes in buf and in the pump's hands
	written int       // chunks
	ready   bool      // CONNACK is in buf: messages may follow
	wake    bool      // there may be messages
	closed  time.Time // Close was called then; zero: open

	// The reader's; others may read what CONNECT has set once established is true.
	first     firstPacket
	idle      time.Duration
	will      *will
	stalled   bool // see Broker.stall
	stall     *time.Timer
	version   byte // of the protocol; 0: no CONNECT yet
	id        string
	clientID  string // as the client calls itself
	session   *session
	account   *account // as it logged in; nil: there are none. Not changed after CONNECT
	rights    *rights  // of account, for this client; nil with it
	window    int      // messages that may be on their way
	maxPacket uint32   // bytes the client takes at once; 0: any
	problems  bool     // it wants to be told reasons
	expiry    time.Duration

	established atomic.Bool // CONNACK was sent
}

// newConn wraps c, which must come with tcp below it (or be it). The caller runs pump in a goroutine. Until the client has
// sent CONNECT the connection lives for connectTime only.
func newConn(c, tcp net.Conn, l Limits, onSlow func(*conn)) *conn {
	b := &conn{Conn: c, tcp: tcp, since: time.Now(), limit: l.WriteBuffer, slow: l.SlowTime, onSlow: onSlow, stats: &stats{}}
	b.changed.L = &b.mu
	_ = c.SetDeadline(b.since.Add(l.ConnectTime)) // an error shows in the first read
	return b
}

// Read passes on what the client sends, once the first packet is seen to be a CONNECT of a sane size.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n == 0 {
		return 0, err
	}
	if !c.first.ok() {
		if err := c.first.check(p[:n]); err != nil {
			return 0, err
		}
	}
	return n, err
}

// rest gives the client its time for the next packet.
func (c *conn) rest() error {
	if c.idle == 0 {
		return c.SetReadDeadline(time.Time{})
	}
	return c.SetReadDeadline(time.Now().Add(c.idle))
}

// accept ends the time for CONNECT. A client may be silent for one and a half times its keep-alive; 0 means for ever.
func (c *conn) accept(keepAlive uint16) error {
	c.idle = time.Duration(keepAlive) * time.Second * 3 / 2
	return c.SetWriteDeadline(time.Time{})
}

// Write never blocks. Any goroutine.
func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed.IsZero() {
		return 0, net.ErrClosed
	}
	c.buf = append(c.buf, p...)
	c.queued += len(p)
	c.changed.Broadcast()
	return len(p), nil
}

// send encodes and writes a packet other than PUBLISH and its acknowledgements. Any goroutine, once CONNECT was seen. What
// it is sent to may have gone.
func (c *conn) send(pk *packets.Packet) {
	pk.ProtocolVersion = c.version
	pk.Mods.DisallowProblemInfo = !c.problems && pk.FixedHeader.Type != packets.Connack && pk.FixedHeader.Type != packets.Disconnect
	pk.Mods.MaxSize = c.maxPacket
	var buf bytes.Buffer
	var err error
	switch pk.FixedHeader.Type {
	case packets.Connack:
		err = pk.ConnackEncode(&buf)
	case packets.Suback:
		err = pk.SubackEncode(&buf)
	case packets.Unsuback:
		err = pk.UnsubackEncode(&buf)
	case packets.Pingresp:
		err = pk.PingrespEncode(&buf)
	case packets.Disconnect:
		if c.version < 5 {
			return // there is none from the server
		}
		err = pk.DisconnectEncode(&buf)
	}
	if err == nil && (c.maxPacket == 0 || buf.Len() <= int(c.maxPacket)) {
		c.stats.sent(buf.Len(), false)
		_, _ = c.Write(buf.Bytes())
	}
}

// ack answers a packet that belongs to a message. A code other than 0 is for MQTT 5 only.
func (c *conn) ack(kind byte, id uint16, code byte) {
	var b [5]byte
	p := appendAck(b[:0], kind, id, code)
	c.stats.sent(len(p), false)
	_, _ = c.Write(p)
}

// wakeUp lets the pump look for messages. Any goroutine.
func (c *conn) wakeUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wake = true
	if c.ready {
		c.changed.Broadcast()
	}
}

// open lets messages follow what was written so far.
func (c *conn) open() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ready, c.wake = true, true
	c.changed.Broadcast()
}

// room waits until less than the limit waits for the client, or it is gone.
func (c *conn) room() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.queued >= c.limit && c.closed.IsZero() {
		c.changed.Wait()
	}
}

// chunksSent is for waitSent.
func (c *conn) chunksSent() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.written
}

// waitSent waits until more than before was written to the client; false: it is gone. Who waits because he has seen that
// there is something to be written must have asked chunksSent first, or it may all be written by now.
func (c *conn) waitSent(before int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.written == before && c.closed.IsZero() {
		c.changed.Wait()
	}
	return c.closed.IsZero()
}

// Close lets what waits go out for a moment. It does not block and may be called more than once.
func (c *conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed.IsZero() {
		c.closed = time.Now()
		_ = c.SetWriteDeadline(c.closed.Add(lastWords)) // the pump sets it too
		c.changed.Broadcast()
	}
	return nil
}

// kill ends the connection and drops what waits. Any goroutine.
func (c *conn) kill() {
	c.mu.Lock()
	if c.closed.IsZero() {
		c.closed = time.Now()
	}
	c.buf, c.queued = nil, 0
	c.changed.Broadcast()
	c.mu.Unlock()
	_ = c.tcp.Close() // it is of no use any more
}

// pump writes out what there is for the client, until Close or an error. It closes the connection.
func (c *conn) pump() {
	var out []byte
	for {
		c.mu.Lock()
		for len(c.buf) == 0 && (!c.ready || !c.wake) && c.closed.IsZero() {
			if cap(out) > keepBuffer {
				out = nil
			}
			c.changed.Wait()
		}
		if len(c.buf) == 0 && !c.closed.IsZero() {
			c.mu.Unlock()
			_ = c.Conn.Close() // nothing can be done about an error
			return
		}
		out, c.buf = c.buf, out[:0]
		messages := c.ready && c.wake && c.closed.IsZero()
		c.wake = c.wake && !messages
		c.mu.Unlock()
		if messages {
			out = c.more(out)
		}
		if err := c.flush(out); err != nil {
			c.kill()
			return
		}
	}
}

// more appends messages to what is to be written.
func (c *conn) more(out []byte) []byte {
	before := len(out)
	out, again := c.fill(c, out)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queued += len(out) - before
	c.wake = c.wake || again
	return out
}

func (c *conn) flush(out []byte) error {
	for len(out) > 0 {
		chunk := out[:min(len(out), writeChunk)]
		c.mu.Lock()
		closed, until := !c.closed.IsZero(), time.Now().Add(c.slow)
		if closed {
			until = c.closed.Add(lastWords)
		}
		err := c.SetWriteDeadline(until)
		c.mu.Unlock()
		if err == nil {
			_, err = c.Conn.Write(chunk)
		}
		if err != nil {
			if ne, ok := err.(net.Error); ok && ne.Timeout() && !closed { //nolint:errorlint // net gives it unwrapped
				c.onSlow(c)
			}
			return err
		}
		out = out[len(chunk):]
		c.mu.Lock()
		c.queued = max(0, c.queued-len(chunk)) // kill sets it to 0
		c.written++
		c.changed.Broadcast()
		c.mu.Unlock()
	}
	return nil
}

// firstPacket watches the first bytes of a connection, before the library makes room for as much as they claim: they
// must be the fixed header of a CONNECT of at most maxConnect bytes.
type firstPacket struct {
	n      int // bytes of the header seen so far; done: all
	length int
}

const (
	maxConnect   = 128 << 10
	headerDone   = -1
	headerLength = 5 // MQTT 3.1.1 section 2.2: the type, and up to four bytes of length
)

func (f *firstPacket) ok() bool { return f.n == headerDone }

func (f *firstPacket) check(p []byte) error {
	for _, b := range p {
		if f.n == 0 {
			if b != packets.Connect<<4 {
				return errNotConnect
			}
			f.n = 1
			continue
		}
		f.length |= int(b&0x7f) << (7 * (f.n - 1))
		if f.length > maxConnect || (b&0x80 != 0 && f.n == headerLength-1) {
			return errLargeConnect
		}
		if b&0x80 == 0 {
			f.n = headerDone
			return nil
		}
		f.n++
	}
	return nil
}
