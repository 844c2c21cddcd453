package broker

import (
	"errors"
	"testing"
	"time"
)

func TestWillIsDeliveredAndRouted(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	watch := connect(t, f.addr, login{id: "watch", clean: true})
	watch.subscribe(t, 1, 1, "want/will")
	for _, l := range []login{
		{id: "dev", clean: true, will: "want/will", willFlags: 1<<3 | 1<<5},
		{id: "dev", will: "want/will", level: 3},
		{id: "dev", will: "want/will", level: 5},
	} {
		n := len(f.delivered())
		connect(t, f.addr, l).Close()
		m := f.await(t, n+1)[n]
		if m.Topic != "want/will" || string(m.Payload) != "gone" || m.Client != "\x00dev" || m.Retained || m.Dup || m.PacketID != 0 {
			t.Errorf("delivered %+v", m)
		}
		if p := watch.want(t, kindPublish); p.payload() != "gone" {
			t.Errorf("routed %q", p.payload())
		} else if p.qos() > 0 {
			watch.ack(t, 0x40, p.id())
		}
		eventually(t, "it has gone", func() bool { return len(f.Clients()) == 1 })
	}
	late := connect(t, f.addr, login{id: "late", clean: true})
	late.subscribe(t, 1, 0, "want/will")
	if p := late.want(t, kindPublish); p.payload() != "gone" || p.flags&1 == 0 {
		t.Errorf("retained will: %q flags %x", p.payload(), p.flags)
	}
}

func TestGoodbye(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		level  byte
		packet []byte
		will   bool
	}{
		{"3.1.1", 4, []byte{0xE0, 0}, false},
		{"5", 5, []byte{0xE0, 0}, false},
		{"5 with reason 0", 5, []byte{0xE0, 1, 0}, false},
		{"5 with will", 5, []byte{0xE0, 1, 0x04}, true},
		{"5 with will and properties", 5, []byte{0xE0, 2, 0x04, 0}, true},
		{"5 with an error", 5, []byte{0xE0, 2, 0x80, 0}, true},
		{"5 garbage", 5, []byte{0xE1, 0}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := start(t, nil)
			c := connect(t, f.addr, login{id: "dev", level: tc.level, clean: true, will: "want/will"})
			c.send(t, tc.packet)
			c.wantClosed(t)
			want := 1
			if tc.will {
				want = 2
			}
			eventually(t, "it has gone", func() bool { return len(f.Clients()) == 0 })
			other := connect(t, f.addr, login{id: "other", clean: true, will: "want/other"})
			other.Close() // whose will comes later
			if got := f.await(t, want); got[len(got)-1].Topic != "want/other" {
				t.Errorf("wills: %v, want %d", got, want)
			}
		})
	}
}

func TestWillDelay(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	expiry := []byte{0x11, 0, 0, 0, 60}
	l := login{id: "dev", level: 5, will: "want/will", props: expiry, willProps: []byte{0x18, 0, 0, 0, 60}}
	connect(t, f.addr, l).Close()
	eventually(t, "it has gone", func() bool { return len(f.Clients()) == 0 })
	l.willProps = []byte{0x18, 0, 0, 0, 1}
	c := connect(t, f.addr, l) // back in time
	began := time.Now()
	c.Close()
	f.await(t, 1)
	if d := time.Since(began); d < 900*time.Millisecond {
		t.Errorf("will came after %v, want 1 s", d)
	}
	if n := len(f.delivered()); n != 1 {
		t.Errorf("%d wills, want 1", n)
	}
}

// Whoever ends the session of a client that is away ends the wait for its will, too.
func TestWillOfAForgottenSession(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	connect(t, f.addr, login{id: "dev", level: 5, will: "want/will", props: []byte{0x11, 0, 0, 14, 16}, willProps: []byte{0x18, 0, 0, 14, 16}}).Close()
	eventually(t, "it has gone", func() bool { return len(f.Clients()) == 0 })
	if found, err := f.Kick(t.Context(), "", "dev", true); !found || err != nil {
		t.Fatal(found, err)
	}
	if n := len(f.delivered()); n != 1 {
		t.Errorf("%d wills, want 1", n)
	}
}

// Of a session that goes on no will is sent, since the client is there. A new session sends it first.
func TestWillAtTakeover(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	first := connect(t, f.addr, login{id: "dev", will: "want/will"})
	second := connect(t, f.addr, login{id: "dev", will: "want/will"})
	first.wantClosed(t)
	second.quiet(t)
	if got := f.delivered(); len(got) != 0 {
		t.Errorf("will of a session that goes on: %v", got)
	}
	third := connect(t, f.addr, login{id: "dev", clean: true})
	if n := len(f.delivered()); n != 1 {
		t.Errorf("%d wills when the new session began, want 1", n)
	}
	second.wantClosed(t)
	third.quiet(t)
	if n := len(f.delivered()); n != 1 {
		t.Errorf("%d wills, want 1", n)
	}
}

func TestWillIsTriedAgain(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	f.setFail(errors.New("no space"))
	connect(t, f.addr, login{id: "dev", clean: true, will: "want/will"}).Close()
	eventually(t, "it has gone", func() bool { return len(f.Clients()) == 0 })
	f.setFail(nil)
	f.await(t, 1)
}

func TestNoWillsWhenWeStop(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	c := connect(t, f.addr, login{id: "dev", clean: true, will: "want/will"})
	f.stop()
	c.wantClosed(t)
	if got := f.delivered(); len(got) != 0 {
		t.Errorf("wills of devices that have not gone: %v", got)
	}
}

// A will does not wait for its delay when the session has ended.
func TestWillComesWithTheEndOfTheSession(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(t *testing.T, f *fixture, c *raw){
		"goodbye": func(t *testing.T, _ *fixture, c *raw) { c.send(t, []byte{0xE0, 7, 0x04, 5, 0x11, 0, 0, 0, 0}) },
		"forgotten": func(t *testing.T, f *fixture, _ *raw) {
			if found, err := f.Kick(t.Context(), "", "dev", true); !found || err != nil {
				t.Errorf("Kick: %v, %v", found, err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, nil)
			c := connect(t, f.addr, login{id: "dev", level: 5, will: "want/will", props: hour(), willProps: []byte{0x18, 0, 0, 0x0e, 0x10}})
			end(t, f, c)
			c.wantClosed(t)
			f.await(t, 1)
		})
	}
}
