package device

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"
)

// Message is one MQTT message.
type Message struct {
	Topic     string
	Payload   []byte
	QoS       byte // 0 or 1; with Raw also 2
	Retain    bool
	Duplicate bool // only of messages that arrive
}

// Config says how a Client connects. Addr and ClientID are required.
type Config struct {
	Addr      string // host:port
	ClientID  string
	User      string // "": none
	Password  string
	Clean     bool // false: the broker keeps the session while we are away
	Will      *Message
	KeepAlive time.Duration // whole seconds; 0 means 30 s
	Window    int           // most QoS 1 messages under way; 0 means 32
	Retry     time.Duration // between attempts to connect; 0 means 100 ms

	Subscribe []string // filters, at QoS 1
	// OnMessage is called for each message, in order, before it is acknowledged. It must not wait for the Client. The
	// message is the callee's. nil: messages are acknowledged and dropped.
	OnMessage func(Message)
	Log       *slog.Logger // nil: silent
}

// Refused is a broker's answer to a log-in that another attempt would not change.
type Refused struct{ Code byte }

func (r *Refused) Error() string {
	return fmt.Sprintf("mqtt: the broker refuses the connection (code %d)", r.Code)
}

// errLost is what a QoS 0 message meets when its connection breaks.
var errLost = errors.New("mqtt: connection lost")

// Client keeps a connection to a broker. Safe for concurrent use.
type Client struct {
	cfg    Config
	window chan struct{} // holds one element for each message under way
	wake   chan struct{} // there is something for the writer

	mu       sync.Mutex
	pending  []*outgoing // QoS 1, in order of Send, acknowledged ones taken out
	lastID   uint16
	link     *link         // nil while not connected
	online   chan struct{} // closed while connected and subscribed, replaced when that ends
	connects int
	resent   int
}

// outgoing is a QoS 1 message until its PUBACK.
type outgoing struct {
	message Message
	id      uint16
	on      *link // the connection that it was written to last
	acked   chan struct{}
}

// link is one connection.
type link struct {
	conn    net.Conn
	control []frame // ahead of the messages under way
	ended   chan struct{}
}

// frame is something to write; written, unless nil, is closed afterwards.
type frame struct {
	data    []byte
	written chan struct{}
}

// New checks cfg; Run connects.
func New(cfg Config) (*Client, error) {
	if cfg.Addr == "" || cfg.ClientID == "" {
		return nil, errors.New("mqtt: address and client id are required")
	}
	if cfg.KeepAlive == 0 {
		cfg.KeepAlive = 30 * time.Second
	}
	if cfg.Window == 0 {
		cfg.Window = 32
	}
	if cfg.Retry == 0 {
		cfg.Retry = 100 * time.Millisecond
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Client{
		cfg: cfg, window: make(chan struct{}, cfg.Window), wake: make(chan struct{}, 1), online: make(chan struct{}),
	}, nil
}

// Run stays connected until ctx is done (nil) or the broker refuses the log-in (*Refused).
func (c *Client) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		err := c.connection(ctx)
		var refused *Refused
		if errors.As(err, &refused) && refused.Code != 3 { // 3: not available now
			return err
		}
		c.cfg.Log.Debug("disconnected", "client", c.cfg.ClientID, "error", err)
		select {
		case <-time.After(c.cfg.Retry):
		case <-ctx.Done():
		}
	}
	return nil
}

// Send takes a QoS 1 message, waiting while the window is full. acked is closed when the broker has acknowledged it.
func (c *Client) Send(ctx context.Context, m Message) (acked <-chan struct{}, err error) {
	select {
	case c.window <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	m.QoS = 1
	o := &outgoing{message: m, acked: make(chan struct{})}
	c.mu.Lock()
	o.id = c.freeID()
	c.pending = append(c.pending, o)
	c.mu.Unlock()
	c.poke()
	return o.acked, nil
}

// Publish sends m and waits: with QoS 0 until it is written, with QoS 1 until it is acknowledged.
func (c *Client) Publish(ctx context.Context, m Message) error {
	if m.QoS > 0 {
		acked, err := c.Send(ctx, m)
		if err != nil {
			return err
		}
		return wait(ctx, acked)
	}
	if err := c.Online(ctx); err != nil {
		return err
	}
	f := frame{data: appendPacket(nil, publishPacket(m, 0)), written: make(chan struct{})}
	c.mu.Lock()
	l := c.link
	if l != nil {
		l.control = append(l.control, f)
	}
	c.mu.Unlock()
	if l == nil {
		return errLost
	}
	c.poke()
	select {
	case <-f.written:
		return nil
	case <-l.ended:
		return errLost
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Online waits until the client is connected and its subscriptions are acknowledged.
func (c *Client) Online(ctx context.Context) error {
	c.mu.Lock()
	online := c.online
	c.mu.Unlock()
	return wait(ctx, online)
}

// Cut breaks the connection, if there is one, without a word to the broker; Run connects again.
func (c *Client) Cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link != nil {
		_ = c.link.conn.Close() // broken is what it is to be
	}
}

// Counts of connections made so far, and of messages sent again.
func (c *Client) Counts() (connects, resent int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.connects, c.resent
}

func wait(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Client) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// freeID gives the next packet id that no message under way has. Called with mu held.
func (c *Client) freeID() uint16 {
	for {
		c.lastID++
		used := func(o *outgoing) bool { return o.id == c.lastID }
		if c.lastID != 0 && !slices.ContainsFunc(c.pending, used) {
			return c.lastID
		}
	}
}

// connection makes one connection and serves it until it breaks or ctx is done.
func (c *Client) connection(ctx context.Context) error {
	dialer := net.Dialer{Timeout: 5 * time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", c.cfg.Addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	reader := bufio.NewReader(conn)
	if err := c.login(conn, reader); err != nil {
		return err
	}

	l := &link{conn: conn, ended: make(chan struct{})}
	c.mu.Lock()
	c.link = l
	c.connects++
	if len(c.cfg.Subscribe) > 0 {
		l.control = append(l.control, frame{data: appendPacket(nil, subscribePacket(c.freeID(), c.cfg.Subscribe, 1))})
	} else {
		close(c.online)
	}
	c.mu.Unlock()
	c.poke()

	// A broker that reads nothing must not keep the writer for ever.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetWriteDeadline(time.Now().Add(time.Second)) })
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { c.write(ctx, l) })
	err = c.read(conn, reader)
	c.mu.Lock()
	c.link = nil
	if isClosed(c.online) {
		c.online = make(chan struct{})
	}
	c.mu.Unlock()
	close(l.ended)
	_ = conn.Close() // unblocks the writer
	wg.Wait()
	return err
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// login sends CONNECT and reads CONNACK.
func (c *Client) login(conn net.Conn, reader *bufio.Reader) error {
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second)) // fails on a closed connection only, as the next call does
	if _, err := conn.Write(appendPacket(nil, connectPacket(c.cfg))); err != nil {
		return err
	}
	p, err := readPacket(reader)
	if err != nil {
		return err
	}
	if p.kind != kindConnack || len(p.body) != 2 {
		return fmt.Errorf("%w: no CONNACK", errPacket)
	}
	if p.body[1] != 0 {
		return &Refused{Code: p.body[1]}
	}
	return conn.SetDeadline(time.Time{})
}

// read handles what the broker sends until the connection breaks.
func (c *Client) read(conn net.Conn, reader *bufio.Reader) error {
	for {
		if err := conn.SetReadDeadline(time.Now().Add(2 * c.cfg.KeepAlive)); err != nil {
			return err
		}
		p, err := readPacket(reader)
		if err != nil {
			return err
		}
		switch p.kind {
		case kindPublish:
			m, id, err := parsePublish(p)
			if err != nil {
				return err
			}
			if c.cfg.OnMessage != nil {
				c.cfg.OnMessage(m)
			}
			if m.QoS == 1 {
				c.enqueue(packet{kind: kindPuback, body: binary.BigEndian.AppendUint16(nil, id)})
			}
		case kindPuback:
			id, _, err := cutID(p.body)
			if err != nil {
				return err
			}
			c.acknowledged(id)
		case kindSuback:
			if len(p.body) < 3 || slices.Contains(p.body[2:], 0x80) {
				return fmt.Errorf("mqtt: the broker refuses a subscription of %q", c.cfg.Subscribe)
			}
			c.mu.Lock()
			if !isClosed(c.online) {
				close(c.online)
			}
			c.mu.Unlock()
		case kindPingresp:
		default:
			return fmt.Errorf("%w: kind %d", errPacket, p.kind)
		}
	}
}

func (c *Client) enqueue(p packet) {
	c.mu.Lock()
	if c.link != nil {
		c.link.control = append(c.link.control, frame{data: appendPacket(nil, p)})
	}
	c.mu.Unlock()
	c.poke()
}

// acknowledged takes the message with that id from those under way.
func (c *Client) acknowledged(id uint16) {
	c.mu.Lock()
	i := slices.IndexFunc(c.pending, func(o *outgoing) bool { return o.id == id && o.on != nil })
	if i < 0 { // acknowledged before
		c.mu.Unlock()
		return
	}
	o := c.pending[i]
	c.pending = slices.Delete(c.pending, i, i+1)
	c.mu.Unlock()
	close(o.acked)
	<-c.window
}

// write sends what is queued until the connection ends, and pings in silence.
func (c *Client) write(ctx context.Context, l *link) {
	ping := time.NewTicker(c.cfg.KeepAlive / 2)
	defer ping.Stop()
	for {
		if f, ok := c.nextFrame(l); ok {
			if _, err := l.conn.Write(f.data); err != nil {
				_ = l.conn.Close() // ends the reader, which ends the connection
				return
			}
			if f.written != nil {
				close(f.written)
			}
			continue
		}
		select {
		case <-c.wake:
		case <-ping.C:
			c.enqueue(packet{kind: kindPingreq})
		case <-l.ended:
			return
		case <-ctx.Done():
			_, _ = l.conn.Write(appendPacket(nil, packet{kind: kindDisconnect})) // a farewell nobody waits for
			_ = l.conn.Close()
			return
		}
	}
}

// nextFrame takes the next thing to write to l: control packets, then the messages under way that l has not seen.
func (c *Client) nextFrame(l *link) (frame, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(l.control) > 0 {
		f := l.control[0]
		l.control = l.control[1:]
		return f, true
	}
	for _, o := range c.pending {
		if o.on == l {
			continue
		}
		m := o.message
		if m.Duplicate = o.on != nil; m.Duplicate {
			c.resent++
		}
		o.on = l
		return frame{data: appendPacket(nil, publishPacket(m, o.id))}, true
	}
	return frame{}, false
}
