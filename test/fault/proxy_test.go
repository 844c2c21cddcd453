//go:build fault

package fault

import (
	"io"
	"net"
	"sync"
)

// proxy carries TCP connections to an address, until they are cut.
type proxy struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	conns map[net.Conn]bool
	wg    sync.WaitGroup
}

// newProxy serves on a free port of 127.0.0.1 until Close.
func newProxy(target string) (*proxy, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{listener: l, target: target, conns: map[net.Conn]bool{}}
	p.wg.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.carry(near) })
		}
	})
	return p, nil
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) carry(near net.Conn) {
	defer near.Close()
	far, err := net.Dial("tcp4", p.target)
	if err != nil {
		return
	}
	defer far.Close()
	p.keep(near, far)
	defer p.forget(near, far)
	var wg sync.WaitGroup
	for _, pair := range [][2]net.Conn{{near, far}, {far, near}} {
		wg.Go(func() {
			_, _ = io.Copy(pair[0], pair[1]) // ends when either side does
			_ = near.Close()
			_ = far.Close()
		})
	}
	wg.Wait()
}

func (p *proxy) keep(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		p.conns[c] = true
	}
}

func (p *proxy) forget(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		delete(p.conns, c)
	}
}

// cut breaks all connections at once, with what is on its way in them.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.SetLinger(0) // a reset, so that what was written and not read is gone
		}
		_ = c.Close()
	}
}

// close ends the proxy.
func (p *proxy) close() {
	_ = p.listener.Close()
	p.cut()
	p.wg.Wait()
}
