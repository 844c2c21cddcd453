//go:build e2e || interop

package test

import (
	"slices"
	"strings"
	"testing"

	"github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
)

func TestAnAlarmIsRaisedAndEndsWithARestartBetween(t *testing.T) {
	t.Parallel()
	p := settle(t, "appservice", `
- topic: furnace/{device}/{reading}
  class: state
  alarms:
    - {when: "{{ value > 60 }}", text: "hot: {{ value }}", clear: "{{ value < 55 }}"}
`)
	c := p.device(device.Config{ClientID: "cellar"})
	p.publish(c, "furnace/cellar/temperature", "61.5")
	_, e := p.message(p.alice, "cellar", "the alarm", body("⚠ hot: 61.5"))
	if m := e.Content.Mentions; m == nil || !slices.Contains(m.Users, p.user("alice")) || !slices.Contains(m.Users, p.user("bob")) {
		t.Errorf("the alarm mentions %+v", m)
	}
	if g := e.Content.Gatepost; g == nil || g.Class != "alarm" || g.Device != "cellar" {
		t.Errorf("the alarm says of itself %+v", g)
	}
	r, err := p.gate.Do(p.ctx, "alarms")
	p.must(err)
	if !strings.Contains(r.Stdout, "hot: 61.5") {
		t.Errorf("gatepost alarms: %s%s", r.Stdout, r.Stderr)
	}
	p.gate.Kill()
	p.must(p.gate.Start(p.ctx))
	p.publish(c, "furnace/cellar/temperature", "62")
	p.publish(c, "furnace/cellar/temperature", "50")
	room, _ := p.message(p.alice, "cellar", "that it is over", body("Over: hot: 61.5"))
	p.alice.View(func(rooms map[string]*harness.Room) {
		n := 0
		for _, e := range rooms[room].Messages() {
			if strings.HasPrefix(e.Content.Body, "⚠ ") {
				n++
			}
		}
		if n != 1 {
			t.Errorf("raised %d times", n)
		}
	})
}
