package broker

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// wsServer makes connections of HTTP requests that may come. serve is called for each, in the goroutine of its request.
func wsServer(u listenURL, timeout time.Duration, mayCome func(r *http.Request) bool, serve func(c, tcp net.Conn)) *http.Server {
	upgrader := websocket.Upgrader{
		HandshakeTimeout: timeout,
		Subprotocols:     []string{"mqtt", "mqttv3.1"},
		CheckOrigin:      mayCome,
	}
	return &http.Server{
		ReadHeaderTimeout: timeout,
		IdleTimeout:       timeout,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          log.New(io.Discard, "", 0), // what strangers send is no news
		ConnContext:       func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if u.path != "" && r.URL.Path != u.path {
				http.NotFound(w, r)
				return
			}
			ws, err := upgrader.Upgrade(w, r, nil)
			if err != nil {
				return // the upgrader has answered
			}
			tcp, _ := r.Context().Value(connKey{}).(net.Conn)
			serve(&wsConn{Conn: tcp, ws: ws}, tcp)
		}),
	}
}

type connKey struct{}

// mayCome tells whether whoever asks for a WebSocket connection is a program, or a page that may.
func (b *Broker) mayCome(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	return slices.ContainsFunc(b.cfg.Origins, func(o string) bool { return strings.EqualFold(o, origin) }) ||
		sameOrigin(origin, r.Host, b.accounts.Load().open())
}

// sameOrigin tells whether a page of origin may connect to us as host. Programs send no origin; a browser does, and
// without this check any page that is looked at on this machine could speak to a broker on its loopback address. Where
// nobody has to log in (open) the host must be a plain address too, since a stranger's name may point to it.
func sameOrigin(origin, host string, open bool) bool {
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil || !strings.EqualFold(u.Host, host) {
		return false
	}
	if !open || u.Hostname() == "localhost" {
		return true
	}
	_, err = netip.ParseAddr(u.Hostname())
	return err == nil
}

var errTextFrame = errors.New("a WebSocket message is not binary")

// wsConn reads and writes the bytes of binary messages (MQTT 5 section 6). One goroutine may read and another write.
type wsConn struct {
	net.Conn // for deadlines and addresses
	ws       *websocket.Conn
	r        io.Reader    // rest of the message that is being read; nil: none
	deadline atomic.Int64 // of writing, in Unix nanoseconds; 0: none
}

func (c *wsConn) Read(p []byte) (int, error) {
	for {
		if c.r == nil {
			kind, r, err := c.ws.NextReader()
			if err != nil {
				return 0, err
			}
			if kind != websocket.BinaryMessage {
				return 0, errTextFrame
			}
			c.r = r
		}
		n, err := c.r.Read(p)
		if errors.Is(err, io.EOF) {
			c.r, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (c *wsConn) Write(p []byte) (int, error) {
	var deadline time.Time
	if ns := c.deadline.Load(); ns != 0 {
		deadline = time.Unix(0, ns)
	}
	_ = c.ws.SetWriteDeadline(deadline) // it only notes the time, for the one who writes, and never fails
	if err := c.ws.WriteMessage(websocket.BinaryMessage, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// SetWriteDeadline may be called while another goroutine writes.
func (c *wsConn) SetWriteDeadline(t time.Time) error {
	ns := int64(0)
	if !t.IsZero() {
		ns = t.UnixNano()
	}
	c.deadline.Store(ns)
	return c.Conn.SetWriteDeadline(t)
}

func (c *wsConn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// Close says goodbye and closes the connection below.
func (c *wsConn) Close() error {
	bye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	_ = c.ws.WriteControl(websocket.CloseMessage, bye, time.Now().Add(lastWords)) // it may be gone already
	return c.ws.Close()
}
