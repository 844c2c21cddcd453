package mqtt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepost/gatepost/internal/metrics"
)

func startFake(t *testing.T, s setup) broker {
	t.Helper()
	b := newFakeBroker(t, s)
	scheme := map[[2]bool]string{{}: "mqtt", {true, false}: "mqtts", {false, true}: "ws", {true, true}: "wss"}[[2]bool{s.tls != nil, s.ws}]
	addr := b.ln.Addr().String()
	return broker{url: scheme + "://" + addr, addr: addr, forget: b.forget}
}

func TestFakeBroker(t *testing.T) { suite(t, startFake) }

func TestConnect(t *testing.T) {
	t.Parallel()
	b := newFakeBroker(t, setup{user: "me", password: "pässword"})
	h := run(t, Config{URL: "mqtt://" + b.ln.Addr().String(), ClientID: "gatepost-1", User: "me", Password: "pässword", KeepAlive: 45 * time.Second})
	h.connected(1)
	want := append(append(str("MQTT"), 4, 0xC0, 0, 45), append(str("gatepost-1"), append(str("me"), str("pässword")...)...)...)
	if got := b.saw(tConnect); len(got) != 1 || !bytes.Equal(got[0].body, want) {
		t.Errorf("CONNECT %q, want %q", got, want)
	}
	h.stop()
	eventually(t, "DISCONNECT or the end", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.conns) == 0
	})
}

func TestRunTwice(t *testing.T) {
	t.Parallel()
	b := startFake(t, setup{})
	h := run(t, Config{URL: b.url})
	h.connected(1)
	if err := h.Run(t.Context()); !errors.Is(err, ErrRunning) {
		t.Errorf("second Run: %v", err)
	}
	h.stop()
	if err := h.Publish(t.Context(), "a", nil, 0, false); !isNotSent(err) {
		t.Errorf("publish after the end: %v", err)
	}
	if s := h.last(); s.Connected || s.Reason != "stopped" || s.Err != nil {
		t.Errorf("last state: %+v", s)
	}
}

func TestPublishRefuses(t *testing.T) {
	t.Parallel()
	b := startFake(t, setup{})
	h := run(t, Config{URL: b.url, MaxPayload: 10})
	h.connected(1)
	done, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name, topic string
		ctx         context.Context
		payload     int
		qos         byte
		want        error
	}{
		{"wildcard", "a/#", t.Context(), 0, 0, nil},
		{"empty topic", "", t.Context(), 0, 0, nil},
		{"long topic", strings.Repeat("x", 65536), t.Context(), 0, 0, nil},
		{"QoS 2", "a", t.Context(), 0, 2, ErrQoS},
		{"payload", "a", t.Context(), 11, 0, ErrTooLarge},
		{"ctx", "a", done, 0, 0, context.Canceled},
	} {
		err := h.Publish(tt.ctx, tt.topic, make([]byte, tt.payload), tt.qos, false)
		if !isNotSent(err) || (tt.want != nil && !errors.Is(err, tt.want)) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if _, ok := err.(interface{ NotSent() bool }); !ok { // also for those who do not unwrap
			t.Errorf("%s: NotSent is not at the surface of %v", tt.name, err)
		}
	}
}

// TestPublishTogether: many at once arrive each once, whole.
func TestPublishTogether(t *testing.T) {
	t.Parallel()
	b := startFake(t, setup{})
	h := run(t, Config{URL: b.url})
	h.connected(1)
	dev := newDevice(t, b.addr, "", "", "#")
	var wg sync.WaitGroup
	const n = 100
	for i := range n {
		wg.Go(func() {
			if err := h.Publish(t.Context(), fmt.Sprintf("a/%d", i), []byte(strings.Repeat("x", i)), byte(i%2), false); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	for range n {
		select {
		case m := <-dev.got:
			if seen[m.topic] || m.topic != fmt.Sprintf("a/%d", len(m.payload)) {
				t.Errorf("%d bytes on %s", len(m.payload), m.topic)
			}
			seen[m.topic] = true
		case <-time.After(waitTime):
			t.Fatalf("%d of %d arrived", len(seen), n)
		}
	}
}

func TestQoS0ThatIsRefusedIsCounted(t *testing.T) {
	t.Parallel()
	b := startFake(t, setup{})
	reg := metrics.New()
	h := run(t, Config{URL: b.url, Filters: filters(t, "#"), MaxPayload: 10, Metrics: reg})
	h.connected(1)
	dev := newDevice(t, b.addr, "", "")
	dev.send1(message{topic: "a", payload: "x"})
	d := h.expect("a", "x")
	d.done(errors.New("no space"))
	d.done(nil) // too late, and without effect
	dev.publish("b", strings.Repeat("x", 11))
	dev.publish("c", "y")
	h.expect("c", "y").done(nil)
	if err := h.Publish(t.Context(), "d", nil, 1, false); err != nil {
		t.Fatal(err)
	}
	h.expect("d", "").done(nil)
	w := httptest.NewRecorder()
	reg.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{
		`gatepost_mqtt_dropped_total{reason="refused"} 1`, `gatepost_mqtt_dropped_total{reason="size"} 1`,
		"gatepost_mqtt_connected 1", "gatepost_mqtt_connections_total 1", "gatepost_mqtt_in_flight_bytes 0",
	} {
		if !strings.Contains(w.Body.String(), want+"\n") {
			t.Errorf("no %q in the metrics", want)
		}
	}
}

// script is a broker that says what it is told, whoever comes. It reads everything.
func script(t *testing.T, lines ...[]byte) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				buf := make([]byte, 64<<10)
				for _, line := range lines {
					if _, err := c.Read(buf); err != nil {
						return
					}
					if _, err := c.Write(line); err != nil {
						return
					}
				}
				_, _ = io.Copy(io.Discard, c)
			})
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return ln.Addr().String()
}

func TestHostileBroker(t *testing.T) {
	connack := []byte{0x20, 2, 0, 0}
	for _, tt := range []struct {
		name  string
		lines [][]byte // each after something of the client came
		want  string   // in the state
	}{
		{"more answers than filters", [][]byte{connack, {0x90, 6, 0, 1, 1, 1, 1, 1}}, "not MQTT"},
		{"QoS 3", [][]byte{connack, {0x36, 5, 0, 1, 'a', 0, 1}}, "not MQTT"},
		{"PUBLISH first", [][]byte{{0x30, 3, 0, 1, 'a'}}, "CONNACK"},
		{"HTTP", [][]byte{[]byte("HTTP/1.1 400 Bad Request\r\n\r\n")}, "not MQTT"},
		{"unknown code", [][]byte{{0x20, 2, 0, 200}}, "unknown code 200"},
		{"client id", [][]byte{{0x20, 2, 0, 2}}, "refused the client id"},
		{"not available", [][]byte{{0x20, 2, 0, 3}}, "not available"},
		{"not authorized", [][]byte{{0x20, 2, 0, 5}}, "not authorized"},
		{"old", [][]byte{{0x20, 2, 0, 1}}, "does not speak MQTT 3.1.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := run(t, Config{URL: "mqtt://" + script(t, tt.lines...), Filters: filters(t, "a")})
			eventually(t, tt.want, func() bool {
				s := h.last()
				return !s.Connected && s.Err != nil && strings.Contains(s.Reason, tt.want)
			})
			h.stop()
			if n := h.in.bytes(); n != 0 {
				t.Errorf("%d bytes of room are lost", n)
			}
		})
	}
}

// TestTopicsThatAreNone: a broker that lets them through does not stop the rest.
func TestTopicsThatAreNone(t *testing.T) {
	t.Parallel()
	lines := []byte{0x20, 2, 1, 0}
	for _, m := range []message{{topic: ""}, {topic: "a/#"}, {topic: "a\x00"}, {topic: "\xff"}, {topic: "good", payload: "x"}} {
		m.qos, m.id = 1, 7
		lines = append(lines, m.packet().encode()...)
	}
	h := run(t, Config{URL: "mqtt://" + script(t, lines)})
	h.expect("good", "x").done(nil)
	h.quiet()
}

// TestStopsInTime: harness.stop fails when Run takes two seconds, whatever the broker does.
func TestStopsInTime(t *testing.T) {
	connack := []byte{0x20, 2, 1, 0}
	silent := func(t *testing.T) string { return script(t) }
	for _, tt := range []struct {
		name   string
		scheme string
		broker func(*testing.T) string
		use    func(*harness)
	}{
		{"nobody there", "mqtt", func(t *testing.T) string { return freePort(t) }, func(h *harness) {
			eventually(h.t, "the reason", func() bool { return strings.Contains(h.last().Reason, "nobody listens") })
		}},
		{"no CONNACK", "mqtt", silent, func(*harness) {}},
		{"no TLS", "mqtts", silent, func(*harness) {}},
		{"no WebSocket", "ws", silent, func(*harness) {}},
		{"no SUBACK", "mqtt", func(t *testing.T) string { return script(t, connack) }, func(h *harness) {
			_ = h.SetFilters(canceledSoon(h.t), filters(h.t, "a"))
		}},
		{"nothing is ever done", "mqtt", func(t *testing.T) string {
			return script(t, append(connack, message{topic: "a", qos: 1, id: 1}.packet().encode()...))
		}, func(h *harness) { h.next() }},
		{"it does not read", "mqtt", deaf, func(h *harness) {
			h.connected(1)
			for range 8 { // more than fits into the buffers of a connection
				if err := h.Publish(canceledSoon(h.t), "a", make([]byte, 4<<20), 0, false); err == nil {
					continue
				} else if isNotSent(err) {
					h.t.Errorf("a publish that is stuck: %v", err)
				}
				return
			}
			h.t.Error("all was written")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := run(t, Config{URL: tt.scheme + "://" + tt.broker(t)})
			tt.use(h)
			h.stop()
		})
	}
}

func canceledSoon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), quietTime)
	t.Cleanup(cancel)
	return ctx
}

// deaf lets a client in and then reads nothing.
func deaf(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ended := make(chan struct{})
	wg.Go(func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = c.Read(make([]byte, 100))
		_, _ = c.Write([]byte{0x20, 2, 1, 0})
		<-ended
	})
	t.Cleanup(func() { close(ended); ln.Close(); wg.Wait() })
	return ln.Addr().String()
}

// freePort is an address where nobody listens.
func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// TestTwoWithOneID: brokers throw out the first when a second comes, and so they take turns; the state says what it may be.
func TestTwoWithOneID(t *testing.T) {
	t.Parallel()
	b := startFake(t, setup{})
	one, two := run(t, Config{URL: b.url}), run(t, Config{URL: b.url})
	eventually(t, "the hint", func() bool {
		for _, s := range append(one.history(), two.history()...) {
			if strings.Contains(s.Reason, "same client id") {
				return true
			}
		}
		return false
	})
}
