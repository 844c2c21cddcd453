package device

import (
	"bufio"
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

// scripted is a broker that does what a test tells it to, one connection after the other.
type scripted struct {
	t *testing.T
	l net.Listener
}

func newScripted(t *testing.T) *scripted {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return &scripted{t: t, l: l}
}

func (s *scripted) addr() string { return s.l.Addr().String() }

// peer is one connection at the broker's end.
type peer struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

// accept takes a connection and answers its CONNECT with code.
func (s *scripted) accept(code byte) *peer {
	s.t.Helper()
	_ = s.l.(*net.TCPListener).SetDeadline(time.Now().Add(patience))
	conn, err := s.l.Accept()
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	p := &peer{t: s.t, conn: conn, r: bufio.NewReader(conn)}
	p.expect(kindConnect)
	p.send(packet{kind: kindConnack, body: []byte{0, code}})
	return p
}

func (p *peer) expect(kind byte) packet {
	p.t.Helper()
	got, err := readPacket(p.r)
	if err != nil || got.kind != kind {
		p.t.Fatalf("kind %d, %v; want %d", got.kind, err, kind)
	}
	return got
}

func (p *peer) send(q packet) {
	p.t.Helper()
	if _, err := p.conn.Write(appendPacket(nil, q)); err != nil {
		p.t.Fatal(err)
	}
}

// publish expects a PUBLISH.
func (p *peer) publish() (Message, uint16) {
	p.t.Helper()
	m, id, err := parsePublish(p.expect(kindPublish))
	if err != nil {
		p.t.Fatal(err)
	}
	return m, id
}

func (p *peer) puback(id uint16) {
	p.t.Helper()
	p.send(packet{kind: kindPuback, body: []byte{byte(id >> 8), byte(id)}})
}

// suback grants the subscription that comes next.
func (p *peer) suback() {
	p.t.Helper()
	q := p.expect(kindSubscribe)
	p.send(packet{kind: kindSuback, body: append(q.body[:2:2], 1)})
}

// background runs f until the end of the test, which must be no failure.
func background(t *testing.T, f func(context.Context) error) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	return ctx
}
