package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
)

// guest is a device that announces itself, for which no rule was written, and what the person does with it.
type guest struct {
	name    string // of its room
	speaks  string // its convention
	run     func(context.Context) error
	command string // what the person asks for
	shows   string // what the card says then
}

// guests are the devices that announce themselves at a broker.
func guests(broker string) []guest {
	return []guest{
		{"Reading lamp", "Home Assistant", device.Lamp{Broker: broker, Name: "reading"}.Run, "!on", "on"},
		{"Heater plug", "Zigbee2MQTT", device.Plug{Broker: broker, Name: "Heater plug"}.Run, "!off", "off"},
		{"Thermostat", "Homie", device.Thermostat{Broker: broker, Name: "thermostat-1"}.Run, "!set target 21.5", "21.5 °C"},
		{"Coffee machine", "Tasmota", device.Switch{Broker: broker, Name: "coffee"}.Run, "!on", "on"},
	}
}

// admitted, carded and done are what is expected of a guest.
func (g guest) admitted() string { return g.name + " (" + g.speaks + "): admitted, and has a room" }
func (g guest) carded() string   { return g.name + ": a pinned card" }
func (g guest) done() string {
	return g.name + ": " + g.command + " confirmed by the device, and on its card"
}

// cardSettings make the demo's cards quick.
const cardSettings = "card: {every: 3s}\n"

// welcomes has the person admit a guest with a reaction in the control room, and use it from its card.
func (w *watcher) welcomes(ctx context.Context, g guest) error {
	room, question, err := w.finds(ctx, "the question about "+g.name, "gatepost", func(_ *harness.Room, e harness.Event) bool {
		return strings.HasPrefix(e.Content.Body, "A new device: “"+g.name+"”")
	})
	if err != nil {
		return err
	}
	if _, err := w.alice.React(ctx, room, question, "✅"); err != nil {
		return err
	}
	w.scene.aside("gatepost", "on the question about “%s”: ✅ by alice", g.name)
	room, card, err := w.finds(ctx, "the card of "+g.name, g.name, func(r *harness.Room, e harness.Event) bool {
		w.scene.list.tick(g.admitted())
		return pinned(r, e.ID)
	})
	if err != nil {
		return err
	}
	w.scene.list.tick(g.carded())
	asked, err := w.alice.Say(ctx, room, g.command)
	if err != nil {
		return err
	}
	told := false
	err = w.alice.Await(ctx, "confirmation of "+g.command+" and the new card of "+g.name, func(rooms map[string]*harness.Room) bool {
		confirmed := slices.ContainsFunc(rooms[room].Reactions(asked), func(e harness.Event) bool { return strings.Contains(e.Content.Relates.Key, "confirmed") })
		latest := ""
		for _, e := range rooms[room].Events {
			if e.Content.Relates.Type == "m.replace" && e.Content.Relates.EventID == card && e.Content.New != nil {
				latest = e.Content.New.Body
			}
		}
		if confirmed && !told {
			told = true
			w.scene.aside(g.name, "on alice's “%s”: ✅ confirmed", g.command)
		}
		return confirmed && strings.Contains(latest, ": confirmed, asked by "+w.alice.UserID) && strings.Contains(latest, ": "+g.shows)
	})
	if err == nil {
		w.scene.list.tick(g.done())
	}
	return err
}

// aside prints what belongs to something that was printed before.
func (s *scene) aside(room, format string, args ...any) {
	s.say("%s  %-16s %-16s   ↳ %s", time.Now().Format("15:04:05"), room, "", fmt.Sprintf(format, args...))
}

// cards is what the person saw of the latest forms of cards. The zero value has seen none.
type cards struct{ commands map[string]string } // what a card says of the latest command, by event

// lines is a message as the demo prints it, nothing for a card of which only readings have changed.
func (c *cards) lines(e harness.Event) (text string, ok bool) {
	text, _, _ = strings.Cut(e.Content.Body, "\nReact or reply with ") // a question; the demo shows what is asked
	if e.Content.Relates.Type == "m.replace" {
		text = strings.TrimPrefix(text, "* ")
		_, command, _ := strings.Cut(text, "\n▶ ")
		if c.commands == nil {
			c.commands = map[string]string{}
		}
		if c.commands[e.Content.Relates.EventID] == command {
			return "", false
		}
		c.commands[e.Content.Relates.EventID] = command
		text = "✎ " + text
	}
	return strings.ReplaceAll(text, "\n", " · "), true
}

// finds waits for a message that fits in the room called name.
func (w *watcher) finds(ctx context.Context, what, name string, fits func(*harness.Room, harness.Event) bool) (room, event string, err error) {
	err = w.alice.Await(ctx, what, func(rooms map[string]*harness.Room) bool {
		for _, r := range rooms {
			if r.Name != name || !r.Joined {
				continue
			}
			for _, e := range r.Messages() {
				if fits(r, e) {
					room, event = r.ID, e.ID
					return true
				}
			}
		}
		return false
	})
	return room, event, err
}

// pinned says whether an event is pinned in a room.
func pinned(r *harness.Room, event string) bool {
	return strings.Contains(string(r.State["m.room.pinned_events"]), fmt.Sprintf("%q", event))
}
