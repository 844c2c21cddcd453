package main

import (
	"net"
	"sync"
)

// listener gives each connection a write buffer of its own: mochi-mqtt writes while it holds the client's lock, so that
// one client that does not read would stop all who publish to it.
type listener struct {
	net.Listener
	closed func(net.Conn) // told of each connection that is closed
}

func (l *listener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: nc, gone: l.closed, more: make(chan struct{}, 1)}
	go c.pump()
	return c, nil
}

type conn struct {
	net.Conn
	gone func(net.Conn)
	more chan struct{} // something waits, or the end

	mu     sync.Mutex
	buf    []byte
	closed bool
}

func (c *conn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, net.ErrClosed
	}
	c.buf = append(c.buf, b...)
	c.wake()
	return len(b), nil
}

func (c *conn) wake() {
	select {
	case c.more <- struct{}{}:
	default:
	}
}

// Close lets the pump write what waits and end.
func (c *conn) Close() error {
	c.gone(c)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.wake()
	return nil
}

func (c *conn) pump() {
	defer c.Conn.Close()
	var out []byte
	for range c.more {
		c.mu.Lock()
		out, c.buf = c.buf, out[:0]
		closed := c.closed
		c.mu.Unlock()
		if _, err := c.Conn.Write(out); err != nil || closed {
			return
		}
	}
}
