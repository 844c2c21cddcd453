//go:build e2e || interop

package test

import (
	"bytes"
	"context"
	"encoding/json"
	"image/png"
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

// state is what a kind of state event of a room says, read by who; "" nothing.
func state(who *harness.Person, room, kind, field string) (value string) {
	who.View(func(rooms map[string]*harness.Room) {
		var c map[string]any
		if r := rooms[room]; r != nil && json.Unmarshal(r.State[kind], &c) == nil {
			value, _ = c[field].(string)
		}
	})
	return value
}

func TestARoomShowsItsDeviceAndIsArchived(t *testing.T) {
	t.Parallel()
	p := plan(t, "appservice", "")
	p.set.Extra = "discovery: auto\n"
	p.must(p.gate.Configure(p.set.YAML()))
	p.openHomeserver()
	p.must(p.gate.Start(p.ctx))
	ctx, cancel := context.WithCancel(p.ctx)
	done := make(chan error, 1)
	go func() { done <- device.Lamp{Broker: p.broker, Name: "reading"}.Run(ctx) }()
	room := p.roomNamed(p.alice, "Reading lamp")
	space := p.roomNamed(p.alice, "Living room")
	await := func(what string, cond func(rooms map[string]*harness.Room) bool) {
		t.Helper()
		ctx, cancel := context.WithTimeout(p.ctx, patience)
		defer cancel()
		p.must(p.alice.Await(ctx, what, cond))
	}
	await("topic, picture and space", func(rooms map[string]*harness.Room) bool {
		r := rooms[room]
		return r.Topic == "Lamp · Lumen L1 · Living room" && r.State["m.room.avatar"] != nil && rooms[space].Children[room]
	})
	data, err := p.alice.Download(p.ctx, state(p.alice, room, "m.room.avatar", "url"))
	p.must(err)
	if _, err := png.Decode(bytes.NewReader(data)); err != nil {
		t.Errorf("the picture: %v", err)
	}
	cancel()
	<-done
	r, err := p.gate.Do(p.ctx, "devices", "--json")
	p.must(err)
	var list []struct{ ID, User string }
	p.must(json.Unmarshal([]byte(r.Stdout), &list))
	if len(list) != 1 {
		t.Fatalf("devices: %s", r.Stdout)
	}
	_, err = p.gate.Do(p.ctx, "devices", "remove", list[0].ID)
	p.must(err)
	p.message(p.alice, "Reading lamp (removed)", "that it was removed", body("Reading lamp was removed. Its history stays here."))
	await("the room without its ghost, out of its space", func(rooms map[string]*harness.Room) bool {
		_, in := rooms[room].Members[list[0].User]
		return !in && !rooms[space].Children[room]
	})
	p.runs(device.Lamp{Broker: p.broker, Name: "reading"}.Run)
	await("the room back, and the same", func(rooms map[string]*harness.Room) bool {
		_, in := rooms[room].Members[list[0].User]
		return in && rooms[room].Name == "Reading lamp" && rooms[space].Children[room]
	})
}
