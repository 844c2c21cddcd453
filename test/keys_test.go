//go:build e2e || interop

package test

import (
	"slices"
	"sync"
	"testing"

	"github.com/gatepost/gatepost/test/device"
)

// The porch answers unlock by itself, and open not at all.
const keyed = `
- topic: porch/event
  device: porch
  name: Front door
  class: event
  call: {announce: "tone:700"}
  keys: {"9": unlock, "5": open}
  commands:
    - {name: unlock, topic: porch/set, payload: UNLOCK, confirm: {topic: porch/lock, payload: UNLOCKED}}
    - {name: open, topic: porch/set, payload: OPEN, grade: dangerous}
`

// What is heard in a call: the announcement, and what a key led to (Hz).
const (
	announced   = 700
	toneAsked   = 1000
	toneDone    = 1320 // its second note
	toneRefused = 300
)

// The numbers of the keys that are not digits (RFC 4733 section 3.2).
const keyPound = 11

// opened is what the door heard.
type opened struct {
	p     *place
	mu    sync.Mutex
	heard []string
}

func (o *opened) expect(want ...string) {
	o.p.t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if !slices.Equal(o.heard, want) {
		o.p.t.Errorf("the door heard %q, not %q", o.heard, want)
	}
}

func (p *place) opened() *opened {
	o := &opened{p: p}
	answers := make(chan device.Message, 10)
	d := p.device(device.Config{ClientID: "porch-lock", Subscribe: []string{"porch/set"}, OnMessage: func(m device.Message) {
		o.mu.Lock()
		o.heard = append(o.heard, string(m.Payload))
		o.mu.Unlock()
		if string(m.Payload) == "UNLOCK" {
			answers <- device.Message{Topic: "porch/lock", Payload: []byte("UNLOCKED"), QoS: 1}
		}
	}})
	go func() {
		for {
			select {
			case m := <-answers:
				_ = d.Publish(p.ctx, m) // the command fails, if it fails
			case <-p.ctx.Done():
				return
			}
		}
	}()
	return o
}

// The keys of a call open the door, in the caller's name and with the caller's power.
func TestKeysOfACallRunCommands(t *testing.T) {
	p, _ := withMedia(t, keyed)
	o := p.opened()
	c := p.call(p.alice, p.chat(p.alice), "C1")
	c.hears("the announcement", announced) // both sides have their keys now: what is sent earlier is lost

	p.must(c.keys.press(9))
	c.hears("that it is done", toneDone)
	o.expect("UNLOCK")
	p.message(p.alice, "Front door", "who opened", body("“unlock”, asked for by "+p.alice.UserID+" in a call: ✅ confirmed."))

	p.must(c.keys.press(5)) // dangerous: nothing yet
	c.hears("a question", toneAsked)
	o.expect("UNLOCK")
	p.must(c.keys.press(1)) // not the answer
	c.hears("a refusal", toneRefused)
	p.must(c.keys.press(keyPound)) // too late
	c.hears("a refusal", toneRefused)
	o.expect("UNLOCK")
	p.must(c.keys.press(5))
	c.hears("a question", toneAsked)
	p.must(c.keys.press(keyPound))
	c.hears("that it is done", toneDone)
	p.message(p.alice, "Front door", "who opened", body("“open”, asked for by "+p.alice.UserID+" in a call: 📤 sent."))
	o.expect("UNLOCK", "OPEN")
}

// Who may not is refused, and hears it.
func TestKeysOfACallerWithoutPower(t *testing.T) {
	p, _ := withMedia(t, keyed)
	o := p.opened()
	p.message(p.bob, "Front door", "the door's event", body("event: here"))
	c := p.call(p.bob, p.chat(p.bob), "C1")
	c.hears("the announcement", announced)
	p.must(c.keys.press(5))
	c.hears("a question", toneAsked)
	p.must(c.keys.press(keyPound))
	c.hears("a refusal", toneRefused)
	p.message(p.alice, "Front door", "who was refused", body("“open”, asked for by "+p.bob.UserID+" in a call: 🚫 refused: “open” asks for power level 50; you have 25 here."))
	o.expect()
	p.must(c.keys.press(9)) // this one they may
	c.hears("that it is done", toneDone)
	o.expect("UNLOCK")
}

// A device that speaks for itself in calls can't say that a key was pressed.
func TestADeviceClaimsNoKeys(t *testing.T) {
	const claims = `
- topic: porch/{reading}
  device: porch
  name: Front door
  class: event
  call: {mqtt: porch}
  keys: {"9": unlock}
  commands: [{name: unlock, topic: porch/set, payload: UNLOCK}]
`
	p := settle(t, "appservice", claims)
	d, o := p.intercom(), p.opened()
	room := p.chat(p.alice)
	p.callSend(p.alice, room, "m.call.invite", "C1", callOffer)
	d.hears("invite")
	d.says(`{"v":1,"type":"answer","call_id":"C1","answer":{"type":"answer","sdp":"v=0"}}`)
	p.callEvent(p.alice, "m.call.answer", "C1")
	for _, claim := range []string{`"type":"dtmf","digits":"9"`, `"type":"dtmf","digit":"9","person":"@alice:localhost"`, `"type":"keys","key":"9"`} {
		d.says(`{"v":1,"call_id":"C1",%s}`, claim)
	}
	d.says(`{"v":1,"type":"hangup","call_id":"C1","reason":"user_hangup"}`)
	p.callEvent(p.alice, "m.call.hangup", "C1") // all that was said before has been read
	o.expect()
}
