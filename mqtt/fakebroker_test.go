package mqtt

import (
	"bufio"
	"crypto/tls"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/gatepost/gatepost/mqtt/topic"
)

// fakeBroker is a small MQTT 3.1.1 broker: sessions, QoS 0 and 1, redelivery with DUP, keep alive, one user. It refuses
// filters below "forbidden/".
type fakeBroker struct {
	ln    net.Listener
	setup setup
	wg    sync.WaitGroup

	mu       sync.Mutex
	sessions map[string]*fakeSession
	conns    map[net.Conn]bool
	retained map[string]message
	seen     []packet // all packets of clients without clean session, in order
}

type fakeSession struct {
	filters map[string]bool
	queue   []*message // QoS 1, unacknowledged
	nextID  int
	out     net.Conn // nil while offline
}

func newFakeBroker(t *testing.T, s setup) *fakeBroker {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &fakeBroker{ln: ln, setup: s, sessions: map[string]*fakeSession{}, conns: map[net.Conn]bool{}, retained: map[string]message{}}
	if s.tls != nil {
		b.ln = tls.NewListener(ln, s.tls.server(t, s.clientCert))
	}
	b.wg.Go(func() {
		if s.ws {
			b.serveWeb()
			return
		}
		for {
			c, err := b.ln.Accept()
			if err != nil {
				return
			}
			b.wg.Go(func() { b.serve(c) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		b.mu.Lock()
		for c := range b.conns {
			c.Close()
		}
		b.mu.Unlock()
		b.wg.Wait()
	})
	return b
}

func (b *fakeBroker) serveWeb() {
	up := websocket.Upgrader{Subprotocols: []string{"mqtt"}}
	srv := http.Server{ReadHeaderTimeout: waitTime, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := up.Upgrade(w, r, nil)
		if err != nil || r.URL.Path != "/mqtt" || c.Subprotocol() != "mqtt" {
			return
		}
		b.serve(&webConn{Conn: c})
	})}
	_ = srv.Serve(b.ln) // until the listener is closed
}

// forget loses all sessions, as a broker without a disk does when it is restarted.
func (b *fakeBroker) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sessions = map[string]*fakeSession{}
	for c := range b.conns {
		c.Close()
	}
}

// saw gives the packets of a kind that clients with a session have sent.
func (b *fakeBroker) saw(kind byte) (out []packet) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.seen {
		if p.kind == kind {
			out = append(out, p)
		}
	}
	return out
}

func (b *fakeBroker) serve(c net.Conn) {
	b.mu.Lock()
	b.conns[c] = true
	b.mu.Unlock()
	r := bufio.NewReader(c)
	first, err := readPacket(r, r)
	var s *fakeSession
	var keep time.Duration
	var lasting bool
	if err == nil && first.kind == tConnect {
		s, keep, lasting = b.connect(c, first)
	}
	for s != nil {
		if keep > 0 {
			_ = c.SetReadDeadline(time.Now().Add(keep * 3 / 2))
		}
		p, err := readPacket(r, r)
		if err != nil || p.kind == tDisconnect {
			break
		}
		b.handle(c, s, p, lasting)
	}
	b.mu.Lock()
	delete(b.conns, c)
	if s != nil && s.out == c {
		s.out = nil
	}
	b.mu.Unlock()
	c.Close()
}

func (b *fakeBroker) connect(c net.Conn, p packet) (s *fakeSession, keep time.Duration, lasting bool) {
	f := fields{b: p.body}
	proto, level, flags := f.str(), f.byte(), f.byte()
	keep = time.Duration(f.int()) * time.Second
	id, user, password := f.str(), "", ""
	if flags&0x80 > 0 {
		user = f.str()
	}
	if flags&0x40 > 0 {
		password = f.str()
	}
	lasting = flags&2 == 0
	b.mu.Lock()
	defer b.mu.Unlock()
	if lasting {
		b.seen = append(b.seen, p)
	}
	if proto != "MQTT" || level != 4 || f.bad || user != b.setup.user || password != b.setup.password {
		_, _ = c.Write([]byte{tConnack << 4, 2, 0, 4})
		return nil, 0, false
	}
	s, present := b.sessions[id]
	if !present || !lasting {
		s, present = &fakeSession{filters: map[string]bool{}}, false
		b.sessions[id] = s
	}
	if s.out != nil {
		s.out.Close()
	}
	s.out = c
	out := []byte{tConnack << 4, 2, 0, 0}
	if present {
		out[2] = 1
	}
	for _, m := range s.queue {
		out = append(out, m.packet().encode()...)
		m.dup = true
	}
	_, _ = c.Write(out)
	return s, keep, lasting
}

func (b *fakeBroker) handle(c net.Conn, s *fakeSession, p packet, lasting bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if lasting {
		b.seen = append(b.seen, p)
	}
	f := fields{b: p.body}
	switch p.kind {
	case tPingreq:
		_, _ = c.Write([]byte{tPingresp << 4, 0})
	case tPublish:
		m := parseMessage(p)
		b.route(m)
		if m.qos == 1 {
			_, _ = c.Write(packet{kind: tPuback, body: u16(m.id)}.encode())
		}
	case tPuback:
		id := f.int()
		s.queue = slices.DeleteFunc(s.queue, func(m *message) bool { return m.id == id })
	case tSubscribe:
		answer := u16(f.int())
		for len(f.b) > 0 {
			name, qos := f.str(), f.byte()
			if strings.HasPrefix(name, "forbidden/") {
				qos = 0x80
			} else {
				s.filters[name] = true
				for _, m := range b.retained {
					if matches(name, m.topic) {
						defer s.send(m)
					}
				}
			}
			answer = append(answer, qos)
		}
		_, _ = c.Write(packet{kind: tSuback, body: answer}.encode())
	case tUnsubscribe:
		id := f.int()
		for len(f.b) > 0 {
			delete(s.filters, f.str())
		}
		_, _ = c.Write(packet{kind: tUnsuback, body: u16(id)}.encode())
	}
}

// route is called with mu held.
func (b *fakeBroker) route(m message) {
	if m.retain {
		b.retained[m.topic] = m
		m.retain = false
	}
	for _, s := range b.sessions {
		for name := range s.filters {
			if matches(name, m.topic) {
				s.send(m)
				break
			}
		}
	}
}

// send is called with the broker's mu held.
func (s *fakeSession) send(m message) {
	m.dup = false
	if m.qos == 1 {
		s.nextID++
		m.id = s.nextID
		s.queue = append(s.queue, &m)
	}
	if s.out != nil {
		_, err := s.out.Write(m.packet().encode())
		m.dup = err == nil
	}
}

func matches(filter, name string) bool {
	f, err := topic.ParseFilter(filter)
	return err == nil && f.Match(name)
}
