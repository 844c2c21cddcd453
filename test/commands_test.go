//go:build e2e || interop

package test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
)

const door = `
- topic: home/{device}/event
  name: Front door
  class: event
  commands:
    - {name: unlock, topic: "home/{device}/set", payload: UNLOCK, confirm: {topic: "home/{device}/lock", payload: UNLOCKED}, expires: 5s}
    - {name: jam, topic: "home/{device}/set", payload: JAM, confirm: {topic: "home/{device}/lock", payload: NEVER}, expires: 1s}
    - {name: open, topic: "home/{device}/set", payload: "OPEN {{ args }}", grade: dangerous}
    - {name: bell, topic: "home/{device}/set", payload: "RING {{ args }}", grade: read}
`

// lock is a device that hears its commands and answers UNLOCK.
type lock struct {
	*device.Client
	mu    sync.Mutex
	heard []string
}

func (p *place) lock() *lock {
	l := &lock{}
	work := make(chan string, 100)
	l.Client = p.device(device.Config{ClientID: "door", Subscribe: []string{"home/door/set"}, OnMessage: func(m device.Message) {
		l.mu.Lock()
		l.heard = append(l.heard, string(m.Payload))
		l.mu.Unlock()
		work <- string(m.Payload)
	}})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-p.ctx.Done():
				return
			case m := <-work:
				if m == "UNLOCK" {
					_ = l.Publish(p.ctx, device.Message{Topic: "home/door/lock", Payload: []byte("UNLOCKED"), QoS: 1})
				}
			}
		}
	}()
	return l
}

func (l *lock) list() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.heard, ", ")
}

// roomOf publishes an event of the door and gives its room.
func (p *place) roomOf(l *lock) string {
	p.publish(l.Client, "home/door/event", "closed")
	room, _ := p.message(p.alice, "Front door", "the door's event", body("event: closed"))
	p.message(p.bob, "Front door", "the door's event", body("event: closed"))
	return room
}

func (p *place) say(who *harness.Person, room, text string) string {
	p.t.Helper()
	e, err := who.Say(p.ctx, room, text)
	p.must(err)
	return e
}

func TestACommandIsConfirmedByTheDevice(t *testing.T) {
	modes(t, func(t *testing.T, mode string) {
		p := settle(t, mode, door)
		l := p.lock()
		room := p.roomOf(l)
		e := p.say(p.bob, room, "!unlock")
		p.reacted(p.bob, room, e, "confirmed")
		if got := l.list(); got != "UNLOCK" {
			t.Errorf("the lock heard %s", got)
		}
		_, reply := p.message(p.alice, "Front door", "the event", body("event: closed"))
		e, err := p.alice.Reply(p.ctx, room, reply.ID, "unlock")
		p.must(err)
		p.reacted(p.alice, room, e, "confirmed")
		e = p.say(p.alice, room, "!jam")
		p.reacted(p.alice, room, e, "failed")
		p.message(p.alice, "Front door", "why it failed", func(m harness.Event) bool {
			return m.Content.Relates.ReplyTo.EventID == e && strings.Contains(m.Content.Body, "no answer from the device within 1s")
		})
	})
}

func TestWhatIsRefusedIsSaidOnceAndNotDone(t *testing.T) {
	p := settle(t, "appservice", door)
	l := p.lock()
	room := p.roomOf(l)
	_, event := p.message(p.alice, "Front door", "the event", body("event: closed"))

	edited := p.say(p.alice, room, "hello")
	_, err := p.alice.Edit(p.ctx, room, edited, "!unlock")
	p.must(err)
	_, err = p.alice.React(p.ctx, room, event.ID, "!unlock")
	p.must(err)
	for text, why := range map[string]string{
		"!explode": "has no “explode”",
		"!open":    "dangerous", // asks for a second look
	} {
		e := p.say(p.alice, room, text)
		p.message(p.alice, "Front door", "an answer to "+text, func(m harness.Event) bool {
			return m.Content.Relates.ReplyTo.EventID == e && strings.Contains(m.Content.Body, why)
		})
	}
	e := p.say(p.bob, room, "!open")
	p.message(p.bob, "Front door", "a refusal", func(m harness.Event) bool {
		return m.Content.Relates.ReplyTo.EventID == e && strings.Contains(m.Content.Body, "asks for power level 50; you have 25 here")
	})
	// What comes later is done, so all before it was looked at.
	last := p.say(p.bob, room, "!bell {\"x\": 1}")
	p.reacted(p.bob, room, last, "sent")
	if got := l.list(); got != `RING {"x": 1}` {
		t.Errorf("the lock heard %s", got)
	}
}

func TestADangerousCommandTakesTwoSteps(t *testing.T) {
	p := settle(t, "appservice", door)
	l := p.lock()
	room := p.roomOf(l)
	e := p.say(p.alice, room, "!open wide")
	p.message(p.alice, "Front door", "the question", func(m harness.Event) bool { return m.Content.Relates.ReplyTo.EventID == e })
	_, err := p.bob.React(p.ctx, room, e, "✅") // has not the power
	p.must(err)
	p.reacted(p.bob, room, p.say(p.bob, room, "!bell"), "sent")
	if got := l.list(); got != "RING " {
		t.Fatalf("the lock heard %q", got)
	}
	_, err = p.alice.React(p.ctx, room, e, "✅")
	p.must(err)
	deadline := time.Now().Add(patience)
	for tick := time.NewTicker(20 * time.Millisecond); l.list() != "RING , OPEN wide"; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("the lock heard %q", l.list())
		}
	}
	gone := p.say(p.alice, room, "!open again")
	p.message(p.alice, "Front door", "the question", func(m harness.Event) bool { return m.Content.Relates.ReplyTo.EventID == gone })
	p.must(p.alice.Redact(p.ctx, room, gone))
	p.reacted(p.alice, room, gone, "withdrawn")
}

func TestWhatWePublishDoesNotComeBack(t *testing.T) {
	p := settle(t, "appservice", `
- topic: loop/{device}/{reading}
  class: event
  commands: [{name: ping, topic: "loop/{device}/ping", payload: PING}]
`)
	c := p.device(device.Config{ClientID: "loop"})
	p.publish(c, "loop/a/state", "first")
	room, _ := p.message(p.alice, "a", "the first", body("state: first"))
	p.reacted(p.alice, room, p.say(p.alice, room, "!ping"), "sent")
	p.publish(c, "loop/a/state", "last")
	p.message(p.alice, "a", "the last", body("state: last"))
	events, err := p.alice.History(p.ctx, room)
	p.must(err)
	for _, e := range events {
		if e.Content.Gatepost != nil && strings.HasSuffix(e.Content.Gatepost.Topic, "/ping") {
			t.Errorf("our own message was posted: %s", e.Content.Body)
		}
	}
}
