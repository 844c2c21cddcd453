//go:build interop

package test

import (
	"context"
	"strings"
	"testing"

	"github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
)

// outside is a place, nothing started but its broker, which is mosquitto.
func outside(t *testing.T, rules string) (*place, *harness.Mosquitto) {
	t.Helper()
	p := plan(t, "appservice", rules)
	m, err := harness.NewMosquitto(t.TempDir())
	p.must(err)
	t.Cleanup(func() {
		m.Kill()
		if t.Failed() {
			t.Logf("the end of mosquitto's log:\n%s", m.Log().Tail(40))
		}
	})
	p.must(m.Start(p.ctx))
	p.set.Broker, p.broker = m.URL(), m.Address()
	p.must(p.gate.Configure(p.set.YAML()))
	return p, m
}

func TestMosquittoTopicsOfEveryShape(t *testing.T) {
	p, _ := outside(t, odd)
	p.openHomeserver()
	p.must(p.gate.Start(p.ctx))
	p.topicsOfEveryShape()
}

// A message goes up and a confirmed command comes down, then once more after each of the two was started anew. What the
// broker held for a gatepost that was away comes once.
func TestMosquittoBothWaysOverRestarts(t *testing.T) {
	p, m := outside(t, door)
	p.openHomeserver()
	p.must(p.gate.Start(p.ctx))
	l := p.lock()
	room := p.roomOf(l)
	unlock := func() {
		t.Helper()
		p.reacted(p.alice, room, p.say(p.alice, room, "!unlock"), "confirmed")
	}
	unlock()

	p.must(m.Stop())
	p.must(m.Start(p.ctx))
	p.publish(l.Client, "home/door/event", "after the broker's restart")
	p.message(p.alice, "Front door", "a message", body("event: after the broker's restart"))
	unlock()

	if _, err := p.gate.Stop(patience); err != nil {
		t.Error(err)
	}
	p.publish(l.Client, "home/door/event", "while gatepost was away")
	p.must(m.Stop())
	p.must(m.Start(p.ctx))
	p.must(p.gate.Start(p.ctx))
	p.message(p.alice, "Front door", "what the broker held", body("event: while gatepost was away"))
	p.publish(l.Client, "home/door/event", "last")
	p.message(p.alice, "Front door", "the last message", body("event: last"))
	unlock()

	for _, text := range []string{"closed", "after the broker's restart", "while gatepost was away", "last"} {
		if n := p.posted(room, "event: "+text); n != 1 {
			t.Errorf("%q is %d times in the room", text, n)
		}
	}
	if n := p.roomCount(p.alice, "Front door"); n != 1 {
		t.Errorf("%d rooms", n)
	}
	if got := l.list(); got != "UNLOCK, UNLOCK, UNLOCK" {
		t.Errorf("the lock heard %s", got)
	}
}

// posted is how often a text is in a room, read from the homeserver.
func (p *place) posted(room, text string) int {
	p.t.Helper()
	events, err := p.alice.History(p.ctx, room)
	p.must(err)
	n := 0
	for _, e := range events {
		if e.Type == "m.room.message" && e.Content.Body == text {
			n++
		}
	}
	return n
}

// What a broker retains is news once, however often it is delivered.
func TestMosquittoRetainedMessages(t *testing.T) {
	p, m := outside(t, `
- topic: home/{device}/state
  class: state
- topic: home/{device}/event
  class: event
`)
	c := p.device(device.Config{ClientID: "lamp"})
	retain := func(topic, payload string) {
		t.Helper()
		p.must(c.Publish(p.ctx, device.Message{Topic: topic, Payload: []byte(payload), QoS: 1, Retain: true}))
	}
	retain("home/lamp/state", "on")
	retain("home/lamp/event", "long ago") // before gatepost came: no news
	p.openHomeserver()
	p.must(p.gate.Start(p.ctx))
	room, _ := p.message(p.alice, "lamp", "the retained state", body("state: on"))

	p.gate.Kill()
	p.forgetSession(m)
	p.must(p.gate.Start(p.ctx)) // subscribes anew, so it is delivered again
	p.publish(c, "home/lamp/event", "now")
	p.message(p.alice, "lamp", "an event", body("event: now"))
	retain("home/lamp/state", "off")
	p.message(p.alice, "lamp", "the new state", body("state: off"))
	for text, want := range map[string]int{"state: on": 1, "state: off": 1, "event: now": 1, "event: long ago": 0} {
		if n := p.posted(room, text); n != want {
			t.Errorf("%q is %d times in the room, want %d", text, n, want)
		}
	}
	delivered := 0
	for _, line := range m.Log().Since(0) {
		if strings.Contains(line, "Sending PUBLISH to gatepost") && strings.Contains(line, ", r1, ") && strings.Contains(line, "'home/lamp/state'") {
			delivered++
		}
	}
	if delivered != 2 {
		t.Errorf("the broker delivered the retained state %d times, not twice: this test shows nothing", delivered)
	}
}

// forgetSession lets the broker forget what it keeps for gatepost, which must not run.
func (p *place) forgetSession(m *harness.Mosquitto) {
	p.t.Helper()
	line, err := m.Log().Await(p.ctx, 0, " as gatepost")
	p.must(err)
	_, rest, _ := strings.Cut(line, " as ")
	id, _, _ := strings.Cut(rest, " ")
	c, err := device.New(device.Config{Addr: m.Address(), ClientID: id, Clean: true})
	p.must(err)
	ctx, cancel := context.WithCancel(p.ctx)
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	p.must(c.Online(p.ctx))
	cancel()
	p.must(<-done)
}
