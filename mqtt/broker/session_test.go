package broker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepost/gatepost/mqtt/topic"
)

// Commands in flight to a device survive what the device sends under the same packet ids.
func TestPacketIDsOfBothDirections(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	c := connect(t, f.addr, login{id: "dev"})
	c.subscribe(t, 100, 2, "cmd/#")
	for i := range 4 {
		if err := f.Publish(t.Context(), "cmd/x", fmt.Append(nil, i), byte(1+i%2), false); err != nil { // ids 1 to 4
			t.Fatal(err)
		}
		c.want(t, kindPublish)
	}
	c.send(t, c.publish(publish{topic: "want/t", qos: 1, id: 1, payload: "t"}))
	c.want(t, kindPuback)
	if codes := c.subscribe(t, 2, 1, "other/#"); codes[0] != 1 {
		t.Errorf("SUBACK %x", codes)
	}
	c.send(t, c.publish(publish{topic: "want/t", qos: 2, id: 3, payload: "t"}))
	c.want(t, kindPubrec)
	c.send(t, c.publish(publish{topic: "want/t", qos: 2, id: 3, dup: true, payload: "t"}))
	c.want(t, kindPubrec)
	c.ack(t, 0x50, 4) // PUBREC of the fourth
	c.want(t, kindPubrel)
	c.Close()

	c = connect(t, f.addr, login{id: "dev"})
	var again []string
	for range 4 {
		p, err := c.read(patience)
		if err != nil {
			t.Fatal(err)
		}
		if p.kind == kindPublish && !p.dup() {
			t.Errorf("resent %q without DUP", p.payload())
		}
		again = append(again, fmt.Sprint(p.kind, ":", p.id()))
	}
	if want := []string{"3:1", "3:2", "3:3", "6:4"}; !slices.Equal(again, want) {
		t.Errorf("resent %v, want %v", again, want)
	}
	c.send(t, c.publish(publish{topic: "want/t", qos: 2, id: 3, dup: true, payload: "t"})) // still known
	c.want(t, kindPubrec)
	c.ack(t, 0x40, 3) // ends the command, not the message of the client
	c.ack(t, 0x62, 3)
	c.want(t, kindPubcomp)
	if n := len(f.delivered()); n != 2 {
		t.Errorf("delivered %d messages, want 2", n)
	}
	c.Close()
	c = connect(t, f.addr, login{id: "dev"})
	for _, id := range []uint16{1, 2} {
		if p := c.want(t, kindPublish); p.id() != id {
			t.Errorf("resent %d, want %d", p.id(), id)
		}
	}
	c.want(t, kindPubrel)
	c.quiet(t)
}

// A command that is put aside while the device's message waits in Deliver goes over to the next connection.
func TestTakeoverDuringDeliver(t *testing.T) {
	t.Parallel()
	taken, release := make(chan struct{}, 1), make(chan struct{})
	f := start(t, func(cfg *Config) {
		cfg.Deliver = func(context.Context, topic.Message) error {
			taken <- struct{}{}
			<-release
			return nil
		}
	})
	c := connect(t, f.addr, login{id: "dev"})
	c.subscribe(t, 100, 1, "cmd/#")
	if err := f.Publish(t.Context(), "cmd/x", []byte("on"), 1, false); err != nil {
		t.Fatal(err)
	}
	id := c.want(t, kindPublish).id()
	c.send(t, c.publish(publish{topic: "want/t", qos: 1, id: id, payload: "t"}))
	<-taken
	next := connect(t, f.addr, login{id: "dev"})
	if p := next.want(t, kindPublish); p.id() != id || p.payload() != "on" || !p.dup() {
		t.Errorf("resent id %d %q", p.id(), p.payload())
	}
	next.send(t, next.publish(publish{topic: "want/t", qos: 1, id: id, payload: "t"}))
	<-taken // the first command is put aside, its id seems to be free
	if err := f.Publish(t.Context(), "cmd/x", []byte("off"), 1, false); err != nil {
		t.Fatal(err)
	}
	if p := next.want(t, kindPublish); p.id() == id {
		t.Errorf("%q got the id %d, which is in flight", p.payload(), id)
	}
	close(release)
	c.wantClosed(t)
	next.want(t, kindPuback)
	next.ack(t, 0x40, id)
	next.quiet(t)
}

// What is queued for a client that is away comes in order, with DUP where it was sent before.
func TestQueueInOrder(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	c := connect(t, f.addr, login{id: "dev"})
	c.subscribe(t, 1, 1, "q")
	c.Close()
	eventually(t, "it has gone", func() bool { return len(f.Clients()) == 0 })
	const n = 2000
	for i := range n {
		if err := f.Publish(t.Context(), "q", fmt.Append(nil, i), 1, false); err != nil {
			t.Fatal(err)
		}
	}
	for round := range 2 {
		c = connect(t, f.addr, login{id: "dev"})
		for i := range n {
			if p := c.want(t, kindPublish); p.payload() != fmt.Sprint(i) {
				t.Fatalf("round %d: message %d is %q", round, i, p.payload())
			}
		}
		c.Close()
	}
	c, _, present := try(t, f.addr, login{id: "dev", clean: true})
	c.quiet(t)
	if present {
		t.Error("session present after a clean start")
	}
}

// A subscriber that reconnects all the time while others publish gets every acknowledged message, and CONNACK first.
func TestReconnectUnderLoad(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	connect(t, f.addr, login{id: "sub"}).subscribe(t, 1, 1, "load/#")
	var acked, stop atomic.Int64
	var wg sync.WaitGroup
	const publishers, reconnects = 4, 60
	for i := range publishers {
		c := connect(t, f.addr, login{id: fmt.Sprint("p", i), clean: true})
		wg.Go(func() {
			for n := 1; stop.Load() == 0; n++ {
				if _, err := c.Write(c.publish(publish{topic: "load/x", qos: 1, id: uint16(n%60000 + 1), payload: fmt.Sprint(i, " ", n)})); err != nil {
					t.Error(err)
					return
				}
				if p, err := c.read(patience); err != nil || p.kind != kindPuback {
					t.Error("publisher:", err, p.kind)
					return
				}
				acked.Add(1)
			}
		})
	}
	pace := time.NewTicker(200 * time.Microsecond)
	defer pace.Stop()
	wg.Go(func() { // and what we publish ourselves
		for n := 1; stop.Load() == 0; n++ {
			if err := f.Publish(t.Context(), "load/x", fmt.Append(nil, "own ", n), 1, false); err != nil {
				t.Error(err)
				return
			}
			acked.Add(1)
			<-pace.C
		}
	})
	seen := map[string]bool{}
	for i := range reconnects + 1 {
		c := connect(t, f.addr, login{id: "sub"}) // fails if something comes before CONNACK
		if i == reconnects {
			stop.Store(1)
			wg.Wait()
		}
		for n := 0; (i < reconnects && n < 50) || (i == reconnects && int64(len(seen)) < acked.Load()); n++ {
			p, err := c.read(patience)
			if err != nil {
				t.Fatalf("%d messages acknowledged, %d received: %v", acked.Load(), len(seen), err)
			}
			seen[p.payload()] = true
			c.ack(t, 0x40, p.id())
		}
	}
	t.Logf("%d messages, %d reconnects", acked.Load(), reconnects)
}

// Clean sessions under one id that come and go at the same time: the last one stands.
func TestCleanSessionsOfOneID(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	for range 30 {
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				c := dial(t, f.addr)
				_, _ = c.Write(login{id: "dev", clean: true}.encode())
				_, _ = c.read(time.Second)
				c.Close()
			})
		}
		wg.Wait()
		c := connect(t, f.addr, login{id: "dev", clean: true})
		c.subscribe(t, 1, 0, "x")
		eventually(t, "the others have gone", func() bool { return len(f.allConns()) == 1 })
		if err := f.Publish(t.Context(), "x", []byte("here"), 0, false); err != nil {
			t.Fatal(err)
		}
		c.want(t, kindPublish)
		c.Close()
	}
	eventually(t, "all have gone", func() bool { return f.sessions.len() == 0 })
}

func TestSessionsEnd(t *testing.T) {
	t.Parallel()
	f := start(t, func(cfg *Config) { cfg.Limits.Sessions = 2 })
	for _, l := range []login{{id: "a", clean: true}, {id: "b", level: 5}, {id: "c", level: 5, props: []byte{0x11, 0, 0, 0, 0}}, {id: "d", level: 5, props: []byte{0x11, 0, 0, 0, 1}}} {
		c := connect(t, f.addr, l)
		c.subscribe(t, 1, 1, "x")
		c.Close()
		eventually(t, "the session has ended", func() bool { return f.sessions.len() == 0 })
	}
	if n, _ := f.subs.counts(); n != 0 {
		t.Errorf("%d subscriptions of sessions that have ended", n)
	}
	connect(t, f.addr, login{id: "stays"}).Close()
	connect(t, f.addr, login{id: "long", level: 5, props: []byte{0x11, 0, 0, 0, 60}}).Close()
	eventually(t, "both are gone", func() bool { return len(f.Clients()) == 0 })
	if _, code, _ := try(t, f.addr, login{id: "third"}); code != 3 {
		t.Errorf("third session: CONNACK %d, want 3 (server unavailable)", code)
	}
	if _, code, _ := try(t, f.addr, login{id: "third", level: 5}); code != 0x97 {
		t.Errorf("third session: CONNACK %#x, want 97 (quota exceeded)", code)
	}
	c, _, present := try(t, f.addr, login{id: "stays"})
	c.quiet(t)
	if !present {
		t.Error("the session that stays is gone")
	}
}

// A client with a small receive maximum gets everything: the library would stall.
func TestReceiveMaximum(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	c := connect(t, f.addr, login{id: "dev", level: 5, clean: true, props: []byte{0x21, 0, 10, 0x22, 0, 10}})
	c.subscribe(t, 1, 1, "x")
	for i := range 100 {
		if err := f.Publish(t.Context(), "x", fmt.Append(nil, i), 1, false); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 100 {
		p := c.want(t, kindPublish)
		if p.topic() != "x" || p.payload() != fmt.Sprint(i) {
			t.Fatalf("message %d is %q %q", i, p.topic(), p.payload())
		}
		c.ack(t, 0x40, p.id())
	}
}

// A session whose time is over is not resumed, even if nobody has looked yet.
func TestResumeTooLate(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	l := login{id: "late", level: 5, props: []byte{0x11, 0, 0, 0, 60}}
	connect(t, f.addr, l).Close()
	eventually(t, "it is gone", func() bool { return len(f.Clients()) == 0 })
	s := f.sessions.get("\x00late")
	s.mu.Lock()
	s.since = s.since.Add(-time.Minute)
	s.mu.Unlock()
	c, code, present := try(t, f.addr, l)
	c.quiet(t)
	if code != 0 || present {
		t.Errorf("CONNACK %d, session present %v; want a new session", code, present)
	}
}

// The filters of a session are bounded in bytes, not in number alone.
func TestFilterBytes(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	c := connect(t, f.addr, login{id: "dev", level: 5})
	long := strings.Repeat("x", 30_000)
	for i := range maxFilterBytes / len(long) {
		if codes := c.subscribe(t, 1, 0, long+fmt.Sprintf("%04d", i)); codes[0] != 0 {
			t.Fatalf("filter %d is answered %#x", i, codes[0])
		}
	}
	if codes := c.subscribe(t, 1, 0, long+"9999", "short", long+"0000"); !slices.Equal(codes, []byte{0x97, 0, 0}) {
		t.Errorf("a filter too many, one that has room and one that is there are answered %#x", codes)
	}
}
