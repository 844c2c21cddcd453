package broker

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

const (
	writeChunk = 64 << 10        // written at once, each in SlowTime
	keepBuffer = 1 << 10         // a buffer up to this size is used again; idle clients keep no larger one
	writeQueue = 4096            // messages in the library's queue for a client; a full one drops
	lastWords  = 1 * time.Second // to write what waits after Close: a CONNACK that refuses, a DISCONNECT
)

// conn is the connection of one client as the library sees it. Write never blocks: the library holds the client's lock
// meanwhile, and everybody who publishes to the client needs that. So Write puts bytes into a buffer, which the pump
// writes out. Who has time to wait does so before, in room: the client's reader before it takes the next packet, and the
// library's writer before each message. A client that takes no chunk within SlowTime is cut off.
//
// It also carries what we know of the client, since the library has no place for that.
type conn struct {
	net.Conn          // TCP, TLS or WebSocket
	tcp      net.Conn // below it; closing it ends everything at once
	since    time.Time
	limit    int
	slow     time.Duration
	onSlow   func(*conn)

	mu      sync.Mutex
	changed sync.Cond // buf, queued or closed
	buf     []byte    // to be written
	queued  int       // bytes in buf and in the pump's hands
	taken   int       // messages that the library's writer has taken from its queue
	closed  time.Time // Close was called then; zero: open

	// The reader's.
	client *mqtt.Client // from CONNECT on
	first  firstPacket
	last   byte // of what was read
	holds  holding
	ended  bool // OnDisconnect has seen it
	idle   time.Duration
	burst  int // what taken will be when the retained messages of the last SUBSCRIBE are out
	will   *will
	v3     bool // MQTT 3.1 or 3.1.1; set before the first Write

	settling    atomic.Bool // its reader has the gate alone
	established atomic.Bool // CONNACK was sent
	account     *account    // as it logged in; nil: there are none. Not changed after CONNECT
	rights      *rights     // of account, for this client; nil with it
	clientID    string      // as the client calls itself
	ids         packetIDs
}

// newConn wraps c, which must come with tcp below it (or be it). The caller runs pump in a goroutine. Until the client has
// sent CONNECT the connection lives for connectTime only.
func newConn(c, tcp net.Conn, l Limits, onSlow func(*conn)) *conn {
	b := &conn{Conn: c, tcp: tcp, since: time.Now(), limit: l.WriteBuffer, slow: l.SlowTime, onSlow: onSlow}
	b.changed.L = &b.mu
	_ = c.SetDeadline(b.since.Add(l.ConnectTime)) // an error shows in the first read
	return b
}

// connOf is nil for our own publishes, which have no connection.
func connOf(cl *mqtt.Client) *conn {
	c, _ := cl.Net.Conn.(*conn)
	return c
}

// Read passes on what the client sends, once the first packet is seen to be a CONNECT of a sane size.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n == 0 {
		return 0, err
	}
	c.last = p[n-1]
	if !c.first.ok() {
		if err := c.first.check(p[:n]); err != nil {
			return 0, err
		}
	}
	return n, err
}

// SetDeadline is called by the library before each packet. Its own time overflows above 43 690 s, so the client's
// keep-alive counts, as CONNECT gave it. Writing has times of its own.
func (c *conn) SetDeadline(time.Time) error {
	if c.idle == 0 {
		return c.SetReadDeadline(time.Time{})
	}
	return c.SetReadDeadline(time.Now().Add(c.idle))
}

// accept ends the time for CONNECT. A client may be silent for one and a half times its keep-alive; 0 means for ever.
func (c *conn) accept(keepAlive uint16) error {
	c.idle = time.Duration(keepAlive) * time.Second * 3 / 2
	if err := c.SetWriteDeadline(time.Time{}); err != nil {
		return err
	}
	return c.SetDeadline(time.Time{})
}

// Write never blocks. The library writes one packet at a time. A DISCONNECT of the server is not known before MQTT 5 and
// is swallowed there.
func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed.IsZero() {
		return 0, net.ErrClosed
	}
	if c.v3 && len(p) > 0 && p[0]>>4 == packets.Disconnect {
		return len(p), nil
	}
	c.buf = append(c.buf, p...)
	c.queued += len(p)
	c.changed.Broadcast()
	return len(p), nil
}

// room waits until less than the limit waits for the client, or it is gone. Not to be called with the gate held.
func (c *conn) room() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.queued >= c.limit && c.closed.IsZero() {
		c.changed.Wait()
	}
}

// next is room for the library's writer, which has taken a message.
func (c *conn) next() {
	c.room()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.taken++
	c.changed.Broadcast()
}

// startBurst and paceBurst keep retained messages, which the reader puts into the library's queue all at once, from
// overflowing it.
func (c *conn) startBurst() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.burst = c.taken
}

// paceBurst counts one and waits when the queue is filled by half. Not to be called with the gate held.
func (c *conn) paceBurst() {
	c.burst++
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.burst-c.taken < writeQueue/2 {
		return
	}
	for c.burst-c.taken > writeQueue/4 && c.closed.IsZero() {
		c.changed.Wait()
	}
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

// pump writes out what Write left, until Close or an error. It closes the connection.
func (c *conn) pump() {
	var out []byte
	for {
		c.mu.Lock()
		for len(c.buf) == 0 && c.closed.IsZero() {
			c.changed.Wait()
		}
		if len(c.buf) == 0 {
			c.mu.Unlock()
			_ = c.Conn.Close() // nothing can be done about an error
			return
		}
		out, c.buf = c.buf, out[:0]
		c.mu.Unlock()
		if err := c.flush(out); err != nil {
			c.kill()
			return
		}
		if cap(out) > keepBuffer {
			out = nil
		}
	}
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
