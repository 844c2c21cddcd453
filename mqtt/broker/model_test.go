package broker

import (
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// reader is a subscriber of the model, with what it should get and what it has.
type reader struct {
	login  login
	filter string
	qos    byte
	c      *raw     // nil: away
	want   []string // in order
	got    int      // of want, for the first time
	open   map[uint16]bool
	owed   []packet // read, not answered
}

// answer acknowledges. Without room the broker may have ended the connection.
func (r *reader) answer(p packet) {
	kind := byte(0x40)
	switch {
	case p.kind == kindPubrel:
		delete(r.open, p.id())
		kind = 0x70
	case p.qos() == 2:
		kind = 0x50
	}
	_, _ = r.c.Write(frame(kind, u16(p.id())))
}

func (r *reader) must(t *testing.T) packet {
	t.Helper()
	p, err := r.c.read(patience)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// take looks at a packet that came.
func (r *reader) take(t *rapid.T, p packet) {
	if p.kind != kindPublish {
		return
	}
	if p.qos() == 2 {
		if r.open[p.id()] {
			if !p.dup() {
				t.Fatalf("%s: %s again without DUP", r.login.id, p.sent())
			}
			return
		}
		r.open[p.id()] = true
	}
	if r.got < len(r.want) && p.payload() == r.want[r.got] {
		r.got++
		return
	}
	again := false
	for _, w := range r.want[:r.got] {
		again = again || w == p.payload()
	}
	switch {
	case !again:
		t.Fatalf("%s: got %s out of turn, %d of %d before", r.login.id, p.sent(), r.got, len(r.want))
	case p.qos() == 2:
		t.Fatalf("%s: %s twice", r.login.id, p.sent())
	case !p.dup():
		t.Fatalf("%s: %s again without DUP", r.login.id, p.sent())
	}
}

// Whatever happens to clients, the Store and the process: what was taken comes to each subscriber in order, QoS 2 once.
func TestModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		f := start(t, nil)
		defer func() { f.stop() }()
		readers := []*reader{
			{login: login{id: "one", level: 4}, filter: "x/#", qos: 1},
			{login: login{id: "two", level: 5, props: append(hour(), 0x21, 0, 3)}, filter: "x/1", qos: 2},
		}
		come := func(r *reader) {
			r.c, r.owed = connect(t, f.addr, r.login), nil
		}
		for _, r := range readers {
			r.open = map[uint16]bool{}
			come(r)
			r.c.subscribe(t, 1, r.qos, r.filter)
		}
		kill := func() {
			next := f.killed(t, nil)
			f.stop()
			f = next
			for _, r := range readers {
				r.c = nil
			}
		}
		pickReader := func() *reader { return rapid.SampledFrom(readers).Draw(rt, "reader") }
		n := 0
		rt.Repeat(map[string]func(*rapid.T){
			"publish": func(rt *rapid.T) {
				name, qos := rapid.SampledFrom([]string{"x/1", "x/2"}).Draw(rt, "topic"), byte(rapid.IntRange(1, 2).Draw(rt, "qos"))
				for range rapid.IntRange(1, 5).Draw(rt, "count") {
					n++
					payload := fmt.Sprint(name, " ", n)
					if err := f.Publish(t.Context(), name, []byte(payload), qos, false); err != nil {
						if !isNoSpace(err) {
							rt.Fatal(err)
						}
						continue
					}
					readers[0].want = append(readers[0].want, payload)
					if name == "x/1" {
						readers[1].want = append(readers[1].want, payload)
					}
				}
			},
			"read": func(rt *rapid.T) {
				r := pickReader()
				if r.c == nil {
					return
				}
				for range rapid.IntRange(1, 6).Draw(rt, "count") {
					p, err := r.c.read(5 * time.Millisecond)
					if ne := net.Error(nil); err != nil && (!errors.As(err, &ne) || !ne.Timeout()) {
						r.c = nil
					}
					if err != nil || p.kind == kindDisconnect {
						return
					}
					r.take(rt, p)
					if rapid.IntRange(0, 3).Draw(rt, "answer") > 0 {
						r.answer(p)
					} else {
						r.owed = append(r.owed, p)
					}
				}
			},
			"answer late": func(*rapid.T) {
				r := pickReader()
				for _, p := range r.owed {
					if r.c != nil {
						r.answer(p)
					}
				}
				r.owed = nil
			},
			"go": func(*rapid.T) {
				if r := pickReader(); r.c != nil {
					r.c.Close()
					r.c = nil
				}
			},
			"come":  func(*rapid.T) { come(pickReader()) }, // or take over
			"kill":  func(*rapid.T) { kill() },
			"full":  func(*rapid.T) { f.memory(t).failWith(func(bool) error { return errFull }) },
			"tight": func(*rapid.T) { f.memory(t).failWith(full) },
			"room":  func(*rapid.T) { f.memory(t).failWith(nil) },
		})
		f.memory(t).failWith(nil)
		for _, r := range readers {
			come(r)
		}
		m, end := f.memory(t), time.Now().Add(patience)
		left := func() int {
			n := m.rows(inQueue) + m.rows(inMessages) + m.rows(inReferences)
			for _, r := range readers {
				n += len(r.want) - r.got + len(r.open)
			}
			return n
		}
		for left() > 0 {
			if time.Now().After(end) {
				rt.Fatalf("left: %d rows, %d messages, %d references; %+v", m.rows(inQueue), m.rows(inMessages), m.rows(inReferences), f.Sessions())
			}
			f.flush()
			for _, r := range readers {
				r.c.send(t, []byte{0xC0, 0})
				for p := r.must(t); p.kind != kindPingresp; p = r.must(t) {
					r.take(rt, p)
					r.answer(p)
				}
			}
		}
	})
}

// full lets in only what takes away.
func full(relief bool) error {
	if relief {
		return nil
	}
	return errFull
}
