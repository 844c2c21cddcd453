package broker

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/gatepost/gatepost/internal/metrics"
)

// A full queue drops the oldest, or takes no more, as configured; in messages or in bytes.
func TestQueueBounds(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		queue Queue
		want  []string
	}{
		{"messages, oldest", Queue{Capacity: Capacity{Messages: 3}}, []string{"5", "6", "7"}},
		{"bytes, oldest", Queue{Capacity: Capacity{Bytes: 3500}}, []string{"5", "6", "7"}},
		{"messages, refuse", Queue{Capacity: Capacity{Messages: 3}, Refuse: true}, []string{"0", "1", "2"}},
		{"bytes, refuse", Queue{Capacity: Capacity{Bytes: 3500}, Refuse: true}, []string{"0", "1", "2"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			reg := metrics.New()
			f := start(t, func(cfg *Config) {
				cfg.Queue, cfg.Metrics = tc.queue, reg
				cfg.Limits.StallTime = 50 * time.Millisecond
			})
			c := connect(t, f.addr, login{id: "dev"})
			c.subscribe(t, 1, 1, "x")
			c.Close()
			eventually(t, "it has gone", func() bool { return len(f.Clients()) == 0 })
			watch := connect(t, f.addr, login{id: "watch", clean: true})
			watch.subscribe(t, 1, 0, "x")
			p := connect(t, f.addr, login{id: "p", level: 5, clean: true})
			for i := range 8 {
				p.send(t, p.publish(publish{topic: "x", qos: 1, id: uint16(i + 1), payload: fmt.Sprint(i) + strings.Repeat(" ", 999)}))
				code := p.want(t, kindPuback).code()
				if refused := tc.queue.Refuse && i >= 3; refused != (code == packets.ErrQuotaExceeded.Code) {
					t.Errorf("message %d: PUBACK %x", i, code)
				}
			}
			if tc.queue.Refuse { // MQTT 3.1.1 can only be left without an answer
				old := connect(t, f.addr, login{id: "old", clean: true})
				old.send(t, old.publish(publish{topic: "x", qos: 1, id: 1, payload: strings.Repeat("8", 999)}))
				old.wantClosed(t)
				watch.next(t, 3)
				watch.quiet(t) // nobody has got it
			} else {
				watch.next(t, 8)
			}
			if got := scrape(t, reg); strings.Contains(got, "gatepost_broker_dropped_total 5") == tc.queue.Refuse {
				t.Errorf("metrics: %s", got)
			}
			f = f.killed(t, nil)
			c = connect(t, f.addr, login{id: "dev"})
			for _, want := range tc.want {
				p := c.want(t, kindPublish)
				if strings.TrimSpace(p.payload()) != want {
					t.Errorf("got %q, want %q", strings.TrimSpace(p.payload()), want)
				}
				c.ack(t, 0x40, p.id())
			}
			c.quiet(t)
			eventually(t, "everything is deleted", func() bool { return f.memory(t).rows(inQueue) == 0 })
		})
	}
}

func TestRetainedBounds(t *testing.T) {
	t.Parallel()
	f := start(t, func(cfg *Config) { cfg.Retained = Capacity{Messages: 2, Bytes: 3000} })
	watch := connect(t, f.addr, login{id: "watch", clean: true})
	watch.subscribe(t, 1, 1, "#")
	p5, p4 := connect(t, f.addr, login{id: "5", level: 5, clean: true}), connect(t, f.addr, login{id: "4", clean: true})
	for i, tc := range []struct {
		p         *raw
		topic     string
		size      int
		code      byte
		delivered bool
		count     int
	}{
		{p5, "a", 100, 0, true, 1},
		{p5, "b", 100, 0, true, 2},
		{p5, "c", 100, 0x97, false, 2},
		{p4, "c", 100, 0, true, 2}, // is not retained
		{p5, "a", 2500, 0, true, 2},
		{p5, "b", 1000, 0x97, false, 2}, // too many bytes
		{p5, "a", 0, 0, true, 1},
		{p5, "b", 1000, 0, true, 1},
	} {
		tc.p.send(t, tc.p.publish(publish{topic: tc.topic, qos: 1, retain: true, id: uint16(i + 1), payload: strings.Repeat("x", tc.size)}))
		if code := tc.p.want(t, kindPuback).code(); code != tc.code {
			t.Errorf("%d: PUBACK %x, want %x", i, code, tc.code)
		}
		if tc.delivered {
			watch.next(t, 1)
		}
		watch.quiet(t)
		if n := f.retained.len(); n != tc.count || f.memory(t).rows(inRetained) != n {
			t.Errorf("%d: %d retained, want %d", i, n, tc.count)
		}
	}
}

var errFull = fullError{}

type fullError struct{}

func (fullError) Error() string { return "no space" }
func (fullError) NoSpace() bool { return true }

// Without room publishers wait, and nobody is locked out: clients connect, subscribe and take what waits for them. Then
// everything goes on.
func TestNoRoom(t *testing.T) {
	t.Parallel()
	m := newMemory()
	f := start(t, func(cfg *Config) { cfg.Store, cfg.Limits.StallTime = m, 100*time.Millisecond })
	dev := connect(t, f.addr, login{id: "dev"})
	dev.subscribe(t, 1, 1, "x")
	if err := f.Publish(t.Context(), "x", []byte("before"), 1, false); err != nil {
		t.Fatal(err)
	}
	dev.next(t, 1)
	dev.Close()
	for _, relief := range []bool{true, false} { // a part kept free is left, or nothing at all
		m.failWith(func(r bool) error {
			if r && relief {
				return nil
			}
			return errFull
		})
		for _, level := range []byte{4, 5} {
			p := connect(t, f.addr, login{id: "p", level: level, clean: true})
			p.send(t, p.publish(publish{topic: "x", qos: 1, id: 1, payload: "refused"}))
			p.send(t, p.publish(publish{topic: "other", qos: 1, id: 2, payload: "not before the one before"}))
			p.quiet(t) // is answered all the while
			p.wantClosed(t)
		}
		if err := f.Publish(t.Context(), "x", []byte("refused"), 1, false); !isNoSpace(err) {
			t.Errorf("Publish: %v", err)
		}
		dev = connect(t, f.addr, login{id: "dev"})
		if got := dev.next(t, 1)[0]; got != "before 1 qos 1 DUP" {
			t.Errorf("got %q", got)
		}
		want := byte(0x80)
		if relief {
			want = 1
		}
		if codes := dev.subscribe(t, 2, 1, fmt.Sprint("more", relief)); codes[0] != want {
			t.Errorf("relief %v: SUBACK %x, want %x", relief, codes, want)
		}
		clean := connect(t, f.addr, login{id: "clean", clean: true})
		if codes := clean.subscribe(t, 1, 1, "x"); codes[0] != 1 {
			t.Errorf("SUBACK %x", codes)
		}
		fresh := connect(t, f.addr, login{id: fmt.Sprint("fresh", relief)})
		if codes := fresh.subscribe(t, 1, 1, "x"); codes[0] != 1 {
			t.Errorf("SUBACK of a session in memory %x", codes)
		}
	}
	dev.ack(t, 0x40, 1)
	dev.quiet(t)
	m.failWith(nil)
	if err := f.Publish(t.Context(), "x", []byte("after"), 1, false); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the acknowledged is deleted", func() bool { return m.rows(inQueue) == 3 })
	f = f.killed(t, nil)
	for _, id := range []string{"dev", "freshtrue", "freshfalse"} {
		c, _, present := try(t, f.addr, login{id: id})
		if !present {
			t.Errorf("%s has no session", id)
		}
		if p := c.want(t, kindPublish); p.payload() != "after" {
			t.Errorf("%s got %q", id, p.payload())
		}
		c.quiet(t)
	}
}

// A Store that cannot go on ends the broker; nothing is acknowledged any more.
func TestStoreFails(t *testing.T) {
	t.Parallel()
	m := newMemory()
	cfg := Config{Listeners: []string{"mqtt://127.0.0.1:0"}, Store: m, Deliver: (&fixture{}).deliver, Wants: func(string) bool { return false }}
	b, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Listen(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- b.Run(t.Context()) }()
	c := connect(t, b.Addrs()[0], login{id: "dev"})
	c.subscribe(t, 1, 1, "x")
	broken := errors.New("input/output error")
	m.failWith(func(bool) error { return broken })
	c.send(t, c.publish(publish{topic: "x", qos: 1, id: 1, payload: "x"}))
	c.wantClosed(t)
	select {
	case err := <-ended:
		if !errors.Is(err, broken) {
			t.Errorf("Run: %v", err)
		}
	case <-time.After(patience):
		t.Fatal("Run goes on")
	}
}

// The place of a QoS 2 message whose PUBCOMP has not come does not keep a full queue from dropping its oldest message.
func TestQueueBoundsAfterPubrec(t *testing.T) {
	t.Parallel()
	f := start(t, func(cfg *Config) { cfg.Queue.Messages = 4 })
	l := login{id: "dev"}
	c := connect(t, f.addr, l)
	c.subscribe(t, 1, 2, "x")
	p := connect(t, f.addr, login{id: "p", clean: true})
	send := func(i int) {
		p.send(t, p.publish(publish{topic: "x", qos: 1, id: uint16(i + 1), payload: fmt.Sprint(i)}))
		p.want(t, kindPuback)
	}
	p.send(t, p.publish(publish{topic: "x", qos: 2, id: 100, payload: "first"}))
	p.want(t, kindPubrec)
	first := c.want(t, kindPublish).id()
	c.ack(t, 0x50, first)
	c.want(t, kindPubrel)
	c.Close()
	eventually(t, "it has gone", func() bool { return len(f.Clients()) == 1 })
	for i := range 8 {
		send(i)
	}
	for _, restart := range []bool{false, true} {
		if restart {
			f = f.killed(t, nil)
		}
		c = connect(t, f.addr, l)
		if got := c.want(t, kindPubrel).id(); got != first {
			t.Errorf("PUBREL %d, want %d", got, first)
		}
		for _, want := range []string{"5", "6", "7"} {
			if got := c.want(t, kindPublish).payload(); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		c.quiet(t)
	}
}

// A name that is longer than a key of the Store may be ends nothing but its own connection, or is refused.
func TestLongNames(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	fits, long := strings.Repeat("a", longestName-2), strings.Repeat("a", 40_000) // the key of a session has a NUL too
	for _, tc := range []struct {
		level byte
		code  int
	}{{4, 2}, {5, 0x85}} {
		if _, code, _ := try(t, f.addr, login{id: long, level: tc.level}); code != tc.code {
			t.Errorf("level %d: client id: CONNACK %x, want %x", tc.level, code, tc.code)
		}
	}
	if _, code, _ := try(t, f.addr, login{id: "w", will: long, willFlags: 0x20}); code == 0 {
		t.Error("the will was taken")
	}
	c := connect(t, f.addr, login{id: fits})
	c.subscribe(t, 1, 1, fits)
	c.send(t, frame(0x82, u16(2), str(long), []byte{1}))
	if p := c.want(t, kindSuback); p.body[2] != 0x80 {
		t.Errorf("SUBACK %x", p.body[2])
	}
	c.send(t, c.publish(publish{topic: fits, qos: 1, id: 1, retain: true, payload: "x"}))
	c.wantOwn(t)
	c.send(t, c.publish(publish{topic: long, qos: 1, id: 2, retain: true, payload: "x"}))
	c.wantClosed(t)
	if err := f.Publish(t.Context(), long, []byte("x"), 1, true); err == nil {
		t.Error("Publish took the topic")
	}
	connect(t, f.addr, login{id: "after"}).subscribe(t, 1, 1, "b")
}

// Retained messages that a subscription brings fill the queue, and push out nothing.
func TestRetainedFillTheQueue(t *testing.T) {
	t.Parallel()
	f := start(t, func(cfg *Config) { cfg.Queue.Messages = 4 })
	for i := range 3 {
		if err := f.Publish(t.Context(), fmt.Sprint("r/", i), []byte("x"), 1, true); err != nil {
			t.Fatal(err)
		}
	}
	c := connect(t, f.addr, login{id: "dev"})
	c.send(t, frame(0x82, u16(1), str("r/#"), []byte{1}, str("r/+"), []byte{1}, str("#"), []byte{1}))
	c.want(t, kindSuback)
	for _, want := range []string{"r/0", "r/1", "r/2", "r/0"} {
		if got := c.want(t, kindPublish).topic(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	c.quiet(t)
}
