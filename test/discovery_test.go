//go:build e2e || interop

package test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
)

// runs lets a device live as long as the test.
func (p *place) runs(run func(context.Context) error) {
	p.t.Helper()
	ctx, cancel := context.WithCancel(p.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := run(ctx); err != nil && ctx.Err() == nil {
			p.t.Errorf("a device: %v", err)
		}
	}()
	p.t.Cleanup(func() {
		cancel()
		<-done
	})
}

// announced are four devices that nobody wrote a rule for, each by a convention of its own, and what their rooms are called.
func (p *place) announced() (names []string) {
	p.runs(device.Lamp{Broker: p.broker, Name: "reading"}.Run)
	p.runs(device.Plug{Broker: p.broker, Name: "Heater plug"}.Run)
	p.runs(device.Thermostat{Broker: p.broker, Name: "thermostat-1"}.Run)
	p.runs(device.Switch{Broker: p.broker, Name: "coffee"}.Run)
	return []string{"Reading lamp", "Heater plug", "Thermostat", "Coffee machine"}
}

// roomNamed waits until who is in a room of that name.
func (p *place) roomNamed(who *harness.Person, name string) (id string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	p.must(who.Await(ctx, fmt.Sprintf("the room %q", name), func(rooms map[string]*harness.Room) bool {
		for _, r := range rooms {
			if r.Name == name && r.Joined {
				id = r.ID
				return true
			}
		}
		return false
	}))
	return id
}

// roomsNamed counts the rooms of that name that who is in.
func roomsNamed(who *harness.Person, name string) (n int) {
	who.View(func(rooms map[string]*harness.Room) {
		for _, r := range rooms {
			if r.Name == name && r.Joined {
				n++
			}
		}
	})
	return n
}

func TestDevicesThatAnnounceThemselvesBecomeRooms(t *testing.T) {
	t.Parallel()
	p := plan(t, "appservice", "")
	p.set.Extra = "discovery: auto\n"
	p.must(p.gate.Configure(p.set.YAML()))
	p.openHomeserver()
	p.must(p.gate.Start(p.ctx))
	names := p.announced()
	for _, name := range names {
		p.roomNamed(p.alice, name)
		p.roomNamed(p.bob, name)
	}
	p.roomNamed(p.alice, "Living room") // the space that the lamp suggests
	_, err := p.gate.Stop(patience)
	p.must(err)
	p.must(p.gate.Start(p.ctx))
	r, err := p.gate.Do(p.ctx, "devices", "--json")
	p.must(err)
	for _, name := range names {
		if !strings.Contains(r.Stdout, fmt.Sprintf("%q", name)) {
			t.Errorf("no %s in\n%s", name, r.Stdout)
		}
		if n := roomsNamed(p.alice, name); n != 1 {
			t.Errorf("%d rooms for %s", n, name)
		}
	}
}

func TestAnOwnerAdmitsDevicesInTheControlRoom(t *testing.T) {
	t.Parallel()
	p := settle(t, "appservice", "")
	names := p.announced()
	for i, name := range names {
		room, e := p.message(p.alice, "gatepost", "the question about "+name, func(e harness.Event) bool {
			return strings.HasPrefix(e.Content.Body, "A new device: “"+name+"”")
		})
		if n := roomsNamed(p.alice, name); n != 0 {
			t.Errorf("%s has a room before anybody admitted it", name)
		}
		if i == 0 {
			id := strings.Trim(string(e.Content.Gatepost.Values["proposal"]), `"`)
			r, err := p.gate.Do(p.ctx, "devices", "admit", id)
			p.must(err)
			if !strings.Contains(r.Stdout, "is admitted") {
				t.Errorf("devices admit %s: %s %s", id, r.Stdout, r.Stderr)
			}
			continue
		}
		key := "✅"
		if i == len(names)-1 {
			key = "🚫"
		}
		_, err := p.alice.React(p.ctx, room, e.ID, key)
		p.must(err)
	}
	last := len(names) - 1
	for _, name := range names[:last] {
		p.roomNamed(p.alice, name)
	}
	p.message(p.alice, "gatepost", "the answer about the blocked one", func(e harness.Event) bool {
		return strings.HasPrefix(e.Content.Body, "“"+names[last]+"” is blocked")
	})
	if n := roomsNamed(p.alice, names[last]); n != 0 {
		t.Errorf("the blocked %s has a room", names[last])
	}
}
