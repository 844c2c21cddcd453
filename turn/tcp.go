package turn

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatepost/gatepost/internal/logkey"
)

// acceptPause is how long a listener rests when the system has no descriptors left.
const acceptPause = 100 * time.Millisecond

// streamListener accepts TCP or TLS clients.
type streamListener struct {
	net.Listener
	index     uint16
	transport transport
	tls       *tls.Config // nil: TCP
}

// streams are the connections of all TCP and TLS clients, and the goroutines that serve them. Safe for concurrent use.
type streams struct {
	s     *Server
	times streamTimes
	wg    sync.WaitGroup

	gate *gate
	next atomic.Uint32 // worker for the next connection

	mu     sync.Mutex
	all    map[net.Conn]struct{}
	closed bool
}

func newStreams(s *Server, times streamTimes) *streams {
	gate := newGate(s.cfg.Limits.Connections, s.cfg.Limits.ConnectionsPerIP)
	return &streams{s: s, times: times, gate: gate, all: map[net.Conn]struct{}{}}
}

// accept serves a listener until it is closed.
func (t *streams) accept(ctx context.Context, l streamListener) {
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			t.begin(conn, l)
		case errors.Is(err, net.ErrClosed):
			return
		default: // out of descriptors, or the client is gone already
			t.s.log.Warn("connection not accepted", logkey.Address, l.Addr().String(), logkey.Error, err)
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
			}
		}
	}
}

// begin serves a connection in goroutines of its own, if there may be one more.
func (t *streams) begin(conn net.Conn, l streamListener) {
	client := endpointOf(addrPortOf(conn.RemoteAddr()))
	if why := t.gate.enter(client.ip); why != "" {
		t.s.metrics.refused.Inc(why)
		conn.Close()
		return
	}
	w := t.s.workers[int(t.next.Add(1))%len(t.s.workers)]
	r := route{tuple: tuple{client: client, listener: l.index}, transport: l.transport}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		t.gate.leave(client.ip)
		conn.Close()
		return
	}
	t.all[conn] = struct{}{}
	t.wg.Go(func() {
		defer t.end(conn, client)
		if l.tls == nil {
			newStream(conn, w, r, t.times).run()
			return
		}
		secured := tls.Server(conn, l.tls)
		_ = conn.SetDeadline(time.Now().Add(t.times.message)) // a connection that is closed fails the handshake
		if secured.Handshake() != nil {
			conn.Close()
			return
		}
		_ = conn.SetDeadline(time.Time{})
		newStream(secured, w, r, t.times).run()
	})
}

func (t *streams) end(conn net.Conn, client endpoint) {
	t.gate.leave(client.ip)
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.all, conn)
}

// close ends all connections, takes no more, and returns when their goroutines have ended.
func (t *streams) close() {
	t.mu.Lock()
	t.closed = true
	for conn := range t.all {
		conn.Close()
	}
	t.mu.Unlock()
	t.wg.Wait()
}

// addrPortOf is the address of a TCP or UDP connection's end, never an IPv4 address in IPv6's clothes.
func addrPortOf(a net.Addr) netip.AddrPort {
	var at netip.AddrPort
	switch a := a.(type) {
	case *net.TCPAddr:
		at = a.AddrPort()
	case *net.UDPAddr:
		at = a.AddrPort()
	}
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
}
