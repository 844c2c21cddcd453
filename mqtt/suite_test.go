package mqtt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// setup is what a broker of the suite must be like.
type setup struct {
	user, password string // "": anybody may come
	tls            *authority
	clientCert     bool // wants one
	ws             bool
}

// broker is one that runs, made for one test.
type broker struct {
	url    string
	addr   string // of plain MQTT, for devices; "" when there is none
	forget func() // loses the sessions and cuts the connections
}

// suite is what must hold with any broker.
func suite(t *testing.T, start func(*testing.T, setup) broker) {
	plain := func(t *testing.T) (broker, *proxy, string) {
		t.Helper()
		b := start(t, setup{})
		p := newProxy(t, b.addr, true)
		return b, p, at(t, b.url, p.addr)
	}
	for name, test := range map[string]func(*testing.T){
		"acknowledges only what is done": func(t *testing.T) {
			b, p, url := plain(t)
			h := run(t, Config{URL: url, Filters: filters(t, "a/#")})
			h.connected(1)
			dev := newDevice(t, b.addr, "", "")
			dev.publish("a/1", "one")
			first := h.expect("a/1", "one")
			if first.Dup || first.QoS != 1 || first.PacketID == 0 || first.Retained || first.Time.IsZero() {
				t.Errorf("first delivery: %+v", first.Message)
			}
			h.quiet()
			if n := p.count(tPuback); n != 0 {
				t.Errorf("%d acknowledgements before done", n)
			}
			p.cut()
			h.connected(2)
			again := h.expect("a/1", "one")
			if !again.Dup || again.PacketID != first.PacketID {
				t.Errorf("second delivery: %+v", again.Message)
			}
			first.done(nil) // of a connection that is gone: nobody can be told
			again.done(nil)
			eventually(t, "the acknowledgement", func() bool { return p.count(tPuback) == 1 })
			dev.publish("a/2", "two") // the broker has handled the acknowledgement when this comes
			h.expect("a/2", "two").done(nil)
			eventually(t, "the acknowledgement", func() bool { return p.count(tPuback) == 2 })
			p.cut()
			h.connected(3)
			dev.publish("a/3", "three")
			h.expect("a/3", "three").done(nil)
		},
		"what is refused comes again": func(t *testing.T) {
			b, p, url := plain(t)
			h := run(t, Config{URL: url, Filters: filters(t, "a/#")})
			h.connected(1)
			dev := newDevice(t, b.addr, "", "")
			dev.publish("a/1", "one")
			dev.publish("a/2", "two")
			one, two := h.expect("a/1", "one"), h.expect("a/2", "two")
			one.done(errors.New("the disk is full"))
			two.done(nil)
			dev.publish("a/3", "three") // comes after what was refused
			dev.send1(message{topic: "a/0", payload: "zero"})
			h.expect("a/0", "zero").done(nil) // would never come again
			if d := h.expect("a/1", "one"); !d.Dup {
				t.Error("the second delivery of one has no DUP")
			} else {
				d.done(nil)
			}
			if d := h.expect("a/2", "two"); !d.Dup {
				t.Error("two was acknowledged before one")
			} else {
				d.done(nil)
			}
			h.expect("a/3", "three").done(nil)
			eventually(t, "the acknowledgements", func() bool { return p.count(tPuback) == 3 })
		},
		"keeps the order": func(t *testing.T) {
			b, p, url := plain(t)
			h := run(t, Config{URL: url, Filters: filters(t, "a/#")})
			h.connected(1)
			dev := newDevice(t, b.addr, "", "")
			const n = 200
			for i := range n {
				dev.publish("a/x", fmt.Sprint(i))
			}
			var batch []delivery
			var order []int
			for i := range n {
				d := h.expect("a/x", fmt.Sprint(i))
				order = append(order, int(d.PacketID))
				if batch = append(batch, d); len(batch) == 10 { // done in any order
					for j := len(batch) - 1; j >= 0; j-- {
						batch[j].done(nil)
					}
					batch = nil
				}
			}
			eventually(t, "the acknowledgements", func() bool { return p.count(tPuback) == n })
			for i, ack := range p.packets(tPuback) {
				f := fields{b: ack.body}
				if id := f.int(); id != order[i] {
					t.Fatalf("acknowledgement %d is for packet %d, want %d", i, id, order[i])
				}
			}
			if n := h.in.bytes(); n != 0 {
				t.Errorf("%d bytes in flight when all is done", n)
			}
		},
		"a retained message is marked": func(t *testing.T) {
			b, _, url := plain(t)
			dev := newDevice(t, b.addr, "", "")
			dev.send1(message{topic: "a/1", payload: "old", qos: 1, retain: true})
			h := run(t, Config{URL: url, Filters: filters(t, "a/#")})
			old := h.expect("a/1", "old")
			old.done(nil)
			dev.send1(message{topic: "a/1", payload: "news", qos: 0})
			news := h.expect("a/1", "news")
			news.done(nil)
			if !old.Retained || news.Retained || news.QoS != 0 || news.PacketID != 0 {
				t.Errorf("got %+v, then %+v", old.Message, news.Message)
			}
		},
		"a session that was kept needs no subscription": func(t *testing.T) {
			b, p, url := plain(t)
			session := &memorySession{}
			h := run(t, Config{URL: url, Filters: filters(t, "a/#"), Session: session})
			h.connected(1)
			p.refuse.Store(true)
			p.cut()
			eventually(t, "the end of the connection", func() bool { return !h.last().Connected })
			newDevice(t, b.addr, "", "").publish("a/1", "while away")
			p.refuse.Store(false)
			h.connected(2)
			h.expect("a/1", "while away").done(nil)
			eventually(t, "the acknowledgement", func() bool { return p.count(tPuback) == 1 })
			h.stop()
			h = run(t, Config{URL: url, Filters: filters(t, "a/#"), Session: session}) // as after a restart
			h.connected(1)
			if n := p.count(tSubscribe); n != 1 {
				t.Errorf("%d SUBSCRIBE over three connections, want 1", n)
			}
			for _, c := range p.packets(tConnect) {
				f := fields{b: c.body}
				if name, level, flags := f.str(), f.byte(), f.byte(); name != "MQTT" || level != 4 || flags != 0 {
					t.Errorf("CONNECT with %q, level %d, flags %#x", name, level, flags)
				}
			}
		},
		"a session that was lost is made again": func(t *testing.T) {
			b, p, url := plain(t)
			h := run(t, Config{URL: url, Filters: filters(t, "a/#", "b")})
			h.connected(1)
			b.forget()
			h.connected(2)
			newDevice(t, b.addr, "", "").publish("b", "one")
			h.expect("b", "one").done(nil)
			if n := p.count(tSubscribe); n != 2 {
				t.Errorf("%d SUBSCRIBE, want one each connection", n)
			}
		},
		"only changes of the filters are sent": func(t *testing.T) {
			b, p, url := plain(t)
			h := run(t, Config{URL: url, Filters: filters(t, "a/#", "a/b", "b")})
			h.connected(1)
			if err := h.SetFilters(t.Context(), filters(t, "a/#", "c")); err != nil {
				t.Fatal(err)
			}
			dev := newDevice(t, b.addr, "", "")
			dev.publish("b", "not wanted any more")
			dev.publish("c", "new")
			h.expect("c", "new").done(nil)
			var got []string
			for _, s := range p.packets(tSubscribe) {
				f := fields{b: s.body[2:]}
				for len(f.b) > 0 {
					got = append(got, f.str()+fmt.Sprint(f.byte()))
				}
			}
			if len(got) != 3 || got[2] != "c1" || p.count(tUnsubscribe) != 1 {
				t.Errorf("subscribed to %v, %d UNSUBSCRIBE", got, p.count(tUnsubscribe))
			}
		},
		"a payload that is too large is dropped": func(t *testing.T) {
			b, p, url := plain(t)
			h := run(t, Config{URL: url, Filters: filters(t, "a/#"), MaxPayload: 1000})
			h.connected(1)
			dev := newDevice(t, b.addr, "", "")
			dev.publish("a/big", strings.Repeat("x", 300_000))
			dev.publish("a/fits", strings.Repeat("y", 1000))
			dev.publish("a/empty", "")
			h.expect("a/fits", strings.Repeat("y", 1000)).done(nil)
			h.expect("a/empty", "").done(nil)
			eventually(t, "three acknowledgements", func() bool { return p.count(tPuback) == 3 })
		},
		"any topic": func(t *testing.T) {
			b, _, url := plain(t)
			names := []string{
				"zigbee2mqtt/Living room lamp", "a.b/c.d", "a//b", "/", "/lead", "trail/", "küche/温度/🌡", "a/$b", "quote\"d/{x}",
				strings.Repeat("long", 250),
			}
			h := run(t, Config{URL: url, Filters: filters(t, "#")})
			h.connected(1)
			dev := newDevice(t, b.addr, "", "", "#")
			for _, name := range names {
				dev.publish(name, "up")
				h.expect(name, "up").done(nil)
				dev.expect(name, "up")
				if err := h.Publish(t.Context(), name, []byte("down"), 1, false); err != nil {
					t.Fatal(err)
				}
				h.expect(name, "down").done(nil)
				dev.expect(name, "down")
			}
		},
		"publishes with QoS 0 and 1": func(t *testing.T) {
			b, p, url := plain(t)
			h := run(t, Config{URL: url})
			h.connected(1)
			dev := newDevice(t, b.addr, "", "", "cmd/#")
			for qos := range byte(2) {
				if err := h.Publish(t.Context(), "cmd/x", []byte{'0' + qos}, qos, false); err != nil {
					t.Fatal(err)
				}
				if m := dev.expect("cmd/x", fmt.Sprint(qos)); m.qos != qos {
					t.Errorf("arrived with QoS %d, want %d", m.qos, qos)
				}
			}
			if err := h.Publish(t.Context(), "cmd/x", nil, 1, true); err != nil {
				t.Fatal(err)
			}
			if pk := p.packets(tPublish); len(pk) != 3 || pk[2].flags&1 != 1 {
				t.Errorf("sent %v", pk)
			}
		},
		"nothing is sent later": func(t *testing.T) {
			b, p, url := plain(t)
			h := run(t, Config{URL: url})
			h.connected(1)
			dev := newDevice(t, b.addr, "", "", "cmd/#")
			p.refuse.Store(true)
			p.cut()
			eventually(t, "the end of the connection", func() bool { return !h.last().Connected })
			for qos := range byte(2) {
				err := h.Publish(t.Context(), "cmd/door", []byte("open"), qos, false)
				if !isNotSent(err) || !errors.Is(err, ErrNotConnected) {
					t.Errorf("QoS %d without a connection: %v", qos, err)
				}
			}
			p.refuse.Store(false)
			h.connected(2)
			if err := h.Publish(t.Context(), "cmd/lamp", nil, 1, false); err != nil {
				t.Fatal(err)
			}
			dev.expect("cmd/lamp", "")
		},
		"an answer that never came is not a success": func(t *testing.T) {
			b, p, url := plain(t)
			h := run(t, Config{URL: url})
			h.connected(1)
			dev := newDevice(t, b.addr, "", "", "cmd/#")
			p.mute.Store(true)
			result := make(chan error, 1)
			go func() { result <- h.Publish(context.Background(), "cmd/door", []byte("open"), 1, false) }()
			dev.expect("cmd/door", "open")
			p.mute.Store(false)
			p.cut()
			if err := <-result; !errors.Is(err, ErrUnanswered) || isNotSent(err) {
				t.Errorf("cut between PUBLISH and PUBACK: %v", err)
			}
			h.connected(2)
			if err := h.Publish(t.Context(), "cmd/lamp", nil, 1, false); err != nil {
				t.Fatal(err)
			}
			dev.expect("cmd/lamp", "") // and the door was not opened again

			p.mute.Store(true)
			ctx, cancel := context.WithTimeout(t.Context(), quietTime)
			defer cancel()
			if err := h.Publish(ctx, "cmd/door", nil, 1, false); !errors.Is(err, context.DeadlineExceeded) || isNotSent(err) {
				t.Errorf("no answer in time: %v", err)
			}
		},
		"holds back, and stays connected": func(t *testing.T) {
			b, _, url := plain(t)
			h := run(t, Config{URL: url, Filters: filters(t, "a/#"), MaxInFlight: 2000, KeepAlive: time.Second})
			h.connected(1)
			dev := newDevice(t, b.addr, "", "")
			const n = 20
			for i := range n {
				dev.publish("a/x", fmt.Sprint(i, strings.Repeat(".", 500)))
			}
			var waiting []delivery
			eventually(t, "the bound", func() bool {
				for len(h.got) > 0 {
					waiting = append(waiting, <-h.got)
				}
				return len(waiting) == 2
			})
			silence := time.After(2800 * time.Millisecond) // without our own answers there would be one ping, and the end after 2.5 s
			select {
			case <-h.got:
				t.Error("more than the bound was delivered")
			case <-silence:
			}
			if s := h.history(); len(s) != 1 {
				t.Errorf("states: %v", s)
			}
			for i := range n {
				if i >= len(waiting) {
					waiting = append(waiting, h.next())
				}
				if got := string(waiting[i].Payload); !strings.HasPrefix(got, fmt.Sprint(i, ".")) {
					t.Errorf("message %d is %.5q", i, got)
				}
				waiting[i].done(nil)
			}
			if s := h.history(); len(s) != 1 {
				t.Errorf("states: %v", s)
			}
		},
		"a wrong password is said": func(t *testing.T) {
			b := start(t, setup{user: "gatepost", password: "right"})
			h := run(t, Config{URL: b.url, User: "gatepost", Password: "wrong"})
			eventually(t, "the refusal", func() bool {
				s := h.last()
				return !s.Connected && errors.Is(s.Err, ErrCredentials) && s.Reason != ""
			})
			h = run(t, Config{URL: b.url, User: "gatepost", Password: "right"})
			h.connected(1)
		},
		"TLS": func(t *testing.T) {
			a := newAuthority(t)
			b := start(t, setup{tls: a})
			h := run(t, Config{URL: b.url, CAFile: a.file("ca.pem"), Filters: filters(t, "a")})
			h.connected(1)
			if err := h.Publish(t.Context(), "a", []byte("through TLS"), 1, false); err != nil {
				t.Fatal(err)
			}
			h.expect("a", "through TLS").done(nil)
			other := newAuthority(t).file("ca.pem")
			h = run(t, Config{URL: b.url, CAFile: other})
			eventually(t, "the refusal", func() bool { return strings.Contains(h.last().Reason, "authority that we do not trust") })
			right, err := os.ReadFile(a.file("ca.pem"))
			if err == nil {
				err = os.WriteFile(other, right, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			h.connected(1) // files are read for each connection
		},
		"client certificate": func(t *testing.T) {
			a := newAuthority(t)
			b := start(t, setup{tls: a, clientCert: true})
			h := run(t, Config{URL: b.url, CAFile: a.file("ca.pem"), CertFile: a.file("client.pem"), KeyFile: a.file("client.key")})
			h.connected(1)
			h = run(t, Config{URL: b.url, CAFile: a.file("ca.pem")})
			eventually(t, "the refusal", func() bool { return !h.last().Connected && h.last().Reason != "" })
		},
		"WebSocket": func(t *testing.T) {
			b := start(t, setup{ws: true})
			h := run(t, Config{URL: b.url, Filters: filters(t, "a/#")})
			h.connected(1)
			for i, size := range []int{0, 1, 100, 126, 5000, 20_000} { // mosquitto is slow with large ones
				payload := strings.Repeat("x", size)
				if err := h.Publish(t.Context(), "a/b", []byte(payload), byte(i%2), false); err != nil {
					t.Fatal(err)
				}
				h.expect("a/b", payload).done(nil)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t)
		})
	}
}

func isNotSent(err error) bool {
	var e interface{ NotSent() bool }
	return errors.As(err, &e) && e.NotSent()
}
