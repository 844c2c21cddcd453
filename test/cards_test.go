//go:build e2e || interop

package test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
)

// cardOf is the event that is pinned in a room, "" when it is not exactly one, and its text as clients show it: as edited
// last by who wrote it.
func cardOf(r *harness.Room) (event, text string) {
	var pins struct{ Pinned []string }
	if json.Unmarshal(r.State["m.room.pinned_events"], &pins) != nil || len(pins.Pinned) != 1 {
		return "", ""
	}
	sender := ""
	for _, e := range r.Events {
		switch {
		case e.ID == pins.Pinned[0]:
			sender, text = e.Sender, e.Content.Body
		case e.Content.Relates.Type == "m.replace" && e.Content.Relates.EventID == pins.Pinned[0] && e.Sender == sender && e.Content.New != nil:
			text = e.Content.New.Body
		}
	}
	return pins.Pinned[0], text
}

// card waits until the card in a room shows all of texts, and gives its event.
func (p *place) card(who *harness.Person, room string, texts ...string) (event string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	shown := ""
	err := who.Await(ctx, "a card", func(rooms map[string]*harness.Room) bool {
		event, shown = cardOf(rooms[room])
		return event != "" && !slices.ContainsFunc(texts, func(s string) bool { return !strings.Contains(shown, s) })
	})
	if err != nil {
		p.t.Fatalf("a card that says %q: %v; it says %q", texts, err, shown)
	}
	return event
}

// offers waits until a card has these reactions of a device or the bot, and no others.
func (p *place) offers(who *harness.Person, room, card string, want ...string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	var seen []string
	err := who.Await(ctx, "quick actions", func(rooms map[string]*harness.Room) bool {
		seen = nil
		for _, e := range rooms[room].Reactions(card) {
			if strings.HasPrefix(e.Sender, "@gatepost") {
				seen = append(seen, e.Content.Relates.Key)
			}
		}
		slices.Sort(seen)
		return slices.Equal(seen, want)
	})
	if err != nil {
		p.t.Fatalf("%v; the card offers %q", err, seen)
	}
}

// cardsIn counts the first forms of cards that a room ever had.
func cardsIn(who *harness.Person, room, title string) (n int) {
	who.View(func(rooms map[string]*harness.Room) {
		for _, e := range rooms[room].Messages() {
			if strings.HasPrefix(e.Content.Body, title) {
				n++
			}
		}
	})
	return n
}

// connected waits until a device has come back to the broker and listens.
func (p *place) connected(client string) {
	p.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); ; <-tick.C {
		r, err := p.gate.Do(p.ctx, "broker", "clients", "--json")
		p.must(err)
		var all []struct {
			Client        string
			Connected     bool
			Subscriptions int
		}
		p.must(json.Unmarshal([]byte(r.Stdout), &all))
		for _, c := range all {
			if c.Client == client && c.Connected && c.Subscriptions > 0 {
				return
			}
		}
		if time.Now().After(end) {
			p.t.Fatalf("%s does not come back: %s", client, r.Stdout)
		}
	}
}

func TestCards(t *testing.T) {
	t.Parallel()
	p := plan(t, "appservice", "")
	p.set.Extra = "discovery: auto\ncard: {every: 1s}\n"
	p.must(p.gate.Configure(p.set.YAML()))
	p.openHomeserver()
	p.must(p.gate.Start(p.ctx))
	p.runs(device.Lamp{Broker: p.broker, Name: "reading"}.Run)
	p.runs(device.Thermostat{Broker: p.broker, Name: "thermostat-1"}.Run)

	lamp := p.roomNamed(p.alice, "Reading lamp")
	card := p.card(p.alice, lamp, "Reading lamp · lamp, Lumen L1", "off")
	p.offers(p.alice, lamp, card, "off", "on")
	_, err := p.alice.React(p.ctx, lamp, card, "on")
	p.must(err)
	p.card(p.alice, lamp, ": on", "!on: confirmed, asked by "+p.user("alice"))

	warm := p.roomNamed(p.alice, "Thermostat")
	p.card(p.alice, warm, "Target temperature: 20 °C")
	p.say(p.alice, warm, "!set target 21.5")
	p.card(p.alice, warm, "Target temperature: 21.5 °C", "confirmed")

	_, err = p.gate.Stop(patience)
	p.must(err)
	p.must(p.gate.Start(p.ctx))
	p.connected("lamp-reading")
	_, err = p.alice.React(p.ctx, lamp, card, "off")
	p.must(err)
	if now := p.card(p.alice, lamp, ": off", "!off: confirmed"); now != card {
		t.Errorf("after a restart the card is %s, not %s", now, card)
	}
	if n := cardsIn(p.alice, lamp, "Reading lamp · "); n != 1 {
		t.Errorf("%d cards", n)
	}

	p.must(p.alice.Redact(p.ctx, lamp, card))
	p.must(p.alice.Await(p.ctx, "another card", func(rooms map[string]*harness.Room) bool {
		now, _ := cardOf(rooms[lamp])
		return now != "" && now != card
	}))
	p.offers(p.alice, lamp, p.card(p.alice, lamp, ": off"), "off", "on")
}
