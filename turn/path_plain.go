package turn

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// plainPath is the data path that works everywhere: a goroutine for each socket, which takes one datagram at a time and
// is the worker while it holds the lock.
type plainPath struct {
	w         *worker
	mu        sync.Mutex // whoever holds it is the worker
	listeners []*net.UDPConn
	indexes   []uint16
	scratch   []byte
	failed    int64
	readers   sync.WaitGroup
	stopping  chan struct{}
	rung      chan struct{} // has room for one
}

// plainSocket is the part of a socket that this path has.
type plainSocket struct{ conn *net.UDPConn }

func newPlainPath(w *worker) *plainPath {
	return &plainPath{w: w, scratch: make([]byte, slotSize), stopping: make(chan struct{}), rung: make(chan struct{}, 1)}
}

// listen shares nothing: there is one worker.
func (p *plainPath) listen(at []netip.AddrPort, _ bool) ([]netip.AddrPort, error) {
	bound := make([]netip.AddrPort, len(at))
	for i, a := range at {
		if !a.IsValid() {
			continue
		}
		conn, err := net.ListenUDP(udpNetwork(a), net.UDPAddrFromAddrPort(a))
		if err != nil {
			p.closeListeners()
			return nil, fmt.Errorf("listen on udp %s: %w", a, err)
		}
		_ = conn.SetReadBuffer(1 << 20) // less where it is not allowed
		p.listeners, p.indexes = append(p.listeners, conn), append(p.indexes, uint16(i))
		bound[i] = addrPortOf(conn.LocalAddr())
	}
	return bound, nil
}

func udpNetwork(at netip.AddrPort) string {
	if at.Addr().Is4() {
		return "udp4"
	}
	return "udp6"
}

func (p *plainPath) open(s *socket, at netip.AddrPort) error {
	conn, err := net.ListenUDP(udpNetwork(at), net.UDPAddrFromAddrPort(at))
	if err != nil {
		return fmt.Errorf("open relay port %d: %w", at.Port(), err)
	}
	s.plain.conn = conn
	p.readers.Go(func() {
		p.read(conn, headroom, func(from endpoint, slot []byte, n int) {
			if p.w.sockets.at(s.handle) == s {
				p.w.fromPeer(s, from, slot, n)
			}
		})
	})
	return nil
}

func (p *plainPath) close(s *socket) { s.plain.conn.Close() }

// read takes datagrams from conn until it is closed, each at place head of slot.
func (p *plainPath) read(conn *net.UDPConn, head int, take func(from endpoint, slot []byte, n int)) {
	slot := make([]byte, slotSize)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(slot[head : head+maxDatagram+1])
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // what the network said about a datagram we sent
			continue
		}
		p.mu.Lock()
		p.w.clock()
		if n > maxDatagram {
			p.w.drops[dropMalformed]++
		} else {
			take(endpointOf(from), slot, n)
		}
		p.mu.Unlock()
	}
}

func (p *plainPath) toPeer(s *socket, peer endpoint, b []byte, _ bool) {
	p.write(s.plain.conn, peer, b)
}

func (p *plainPath) toClient(r *route, b []byte) {
	for i, index := range p.indexes {
		if index == r.tuple.listener {
			p.write(p.listeners[i], r.tuple.client, b)
		}
	}
}

func (p *plainPath) answer(r *route, b []byte) { p.toClient(r, b) }

func (p *plainPath) write(conn *net.UDPConn, to endpoint, b []byte) {
	if _, err := conn.WriteToUDPAddrPort(b, to.addrPort()); err != nil {
		p.failed++
	}
}

func (p *plainPath) room() []byte { return p.scratch }

func (p *plainPath) lost() int64 {
	n := p.failed
	p.failed = 0
	return n
}

func (p *plainPath) run() error {
	for i, conn := range p.listeners {
		p.readers.Go(func() {
			var r route
			r.tuple.listener = p.indexes[i]
			p.read(conn, 0, func(from endpoint, slot []byte, n int) {
				r.tuple.client = from
				p.w.fromClient(&r, slot[:n:n])
			})
		})
	}
	every := time.NewTicker(time.Duration(tickEvery))
	defer every.Stop()
	for {
		select {
		case <-every.C:
			p.enter(p.w.tick)
		case <-p.rung:
			p.enter(func() { p.w.readInbox(func() {}) })
		case <-p.stopping:
			p.closeListeners()
			p.readers.Wait()
			return nil
		}
	}
}

func (p *plainPath) abandon() { p.closeListeners() }

func (p *plainPath) closeListeners() {
	for _, l := range p.listeners {
		l.Close()
	}
}

func (p *plainPath) stop() { close(p.stopping) }

func (p *plainPath) enter(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.w.clock()
	f()
}

func (p *plainPath) handOver(s *stream) { p.enter(func() { p.w.fromStream(s) }) }

func (p *plainPath) wake() {
	select {
	case p.rung <- struct{}{}:
	default:
	}
}
