package mqtt

import (
	"bufio"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// proxy stands between the client under test and its broker, so that the network can fail. It also tells which packets the
// client has sent, when they are plain MQTT.
type proxy struct {
	addr   string
	target string
	refuse atomic.Bool // new connections are closed at once
	mute   atomic.Bool // nothing of the broker reaches the client
	spy    bool

	mu    sync.Mutex
	conns map[net.Conn]bool
	sent  []packet // by the client
}

func newProxy(t *testing.T, target string, spy bool) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: ln.Addr().String(), target: target, spy: spy, conns: map[net.Conn]bool{}}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			if p.refuse.Load() {
				c.Close()
				continue
			}
			wg.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() { ln.Close(); p.cut(); wg.Wait() })
	return p
}

func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	broker, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	p.mu.Lock()
	p.conns[client] = true
	p.mu.Unlock()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer broker.Close()
	wg.Go(func() {
		defer client.Close()
		buf := make([]byte, 32<<10)
		for {
			n, err := broker.Read(buf)
			if err != nil {
				return
			}
			if p.mute.Load() {
				continue
			}
			if _, err := client.Write(buf[:n]); err != nil {
				return
			}
		}
	})
	from := io.Reader(client)
	if p.spy {
		pr, pw := io.Pipe()
		defer pw.Close()
		from = io.TeeReader(client, pw)
		wg.Go(func() { p.watch(pr) })
	}
	_, _ = io.Copy(broker, from) // until either side ends
	p.mu.Lock()
	delete(p.conns, client)
	p.mu.Unlock()
}

// watch notes the packets in what the client sends.
func (p *proxy) watch(r *io.PipeReader) {
	b := bufio.NewReader(r)
	for {
		pk, err := readPacket(b, b)
		if err != nil {
			_, _ = io.Copy(io.Discard, r) // not to hold up what is copied
			return
		}
		p.mu.Lock()
		p.sent = append(p.sent, pk)
		p.mu.Unlock()
	}
}

// cut ends all connections, as a network does: without a word.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

// count tells how many packets of a kind the client has sent.
func (p *proxy) count(kind byte) int { return len(p.packets(kind)) }

func (p *proxy) packets(kind byte) (out []packet) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, pk := range p.sent {
		if pk.kind == kind {
			out = append(out, pk)
		}
	}
	return out
}
