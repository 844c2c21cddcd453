//go:build e2e || interop

package test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
)

const announcer = `
- topic: porch/{reading}
  device: porch
  name: Front door
  class: event
  call: {announce: "tone:700"}
`

// withMedia is a place where the gateway is the other party of calls, and a device that is known.
func withMedia(t *testing.T, rules string) (*place, *device.Client) {
	t.Helper()
	p := plan(t, "appservice", rules)
	p.set.Extra = "calls: {listen_udp: \"127.0.0.1:0\", allow_peers: [127.0.0.0/8]}\n"
	var err error
	p.gate, err = harness.NewGatepost(filepath.Join(binaries, "gatepost"), t.TempDir(), p.set)
	p.must(err)
	t.Cleanup(p.gate.Kill)
	p.openHomeserver()
	p.must(p.gate.Start(p.ctx))
	d := p.device(device.Config{ClientID: "porch"})
	p.publish(d, "porch/event", "here")
	p.message(p.alice, "Front door", "the door's event", body("event: here"))
	return p, d
}

// A person's WebRTC client calls a device that plays a tone, and hears it.
func TestAPersonHearsAnAnnouncement(t *testing.T) {
	p, _ := withMedia(t, announcer)
	room := p.chat(p.alice)
	c := p.call(p.alice, room, "C1")
	c.hears("the announcement", 700)
	p.callSend(p.alice, room, "m.call.hangup", "C1", `,"reason":"user_hangup"`)
	p.message(p.alice, "Front door", "the call log", func(m harness.Event) bool {
		return strings.HasPrefix(m.Content.Body, p.alice.UserID+" called:")
	})
}
