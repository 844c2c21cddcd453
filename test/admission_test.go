//go:build e2e || interop

package test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
)

// discovering is a place whose gatepost takes devices that announce themselves as mode says.
func discovering(t *testing.T, mode, rules string) *place {
	t.Helper()
	p := plan(t, "appservice", rules)
	p.set.Extra = "discovery: " + mode + "\n"
	p.must(p.gate.Configure(p.set.YAML()))
	p.openHomeserver()
	p.must(p.gate.Start(p.ctx))
	return p
}

// announce publishes what a switch says to Home Assistant of itself.
func (p *place) announce(c *device.Client, id, name, topic string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	p.must(c.Publish(ctx, device.Message{Topic: "homeassistant/switch/" + id + "/config", QoS: 1, Retain: true, Payload: fmt.Appendf(nil,
		`{"name":null,"uniq_id":%q,"cmd_t":%q,"stat_t":%q,"dev":{"ids":[%q],"name":%q}}`, id, topic+"/set", topic, id, name)}))
}

// asked waits until the control room is asked about a device, and gives where.
func (p *place) asked(name string) (room string, e harness.Event) {
	p.t.Helper()
	return p.message(p.alice, "gatepost", "the question about "+name, func(e harness.Event) bool {
		return strings.HasPrefix(e.Content.Body, "A new device: “"+name+"”")
	})
}

// answered waits until the bot says something in the control room.
func (p *place) answered(text string) {
	p.t.Helper()
	p.message(p.alice, "gatepost", text, func(e harness.Event) bool { return strings.HasPrefix(e.Content.Body, text) })
}

// questions counts what alice was asked about devices whose name begins so.
func (p *place) questions(name string) (n int) {
	p.alice.View(func(rooms map[string]*harness.Room) {
		for _, r := range rooms {
			for _, e := range r.Messages() {
				if r.Name == "gatepost" && strings.Contains(e.Content.Body, "“"+name) && strings.Contains(strings.ToLower(e.Content.Body), "new device") {
					n++
				}
			}
		}
	})
	return n
}

// waiting lists the ids of the devices that are not admitted.
func (p *place) waiting() (out []string) {
	p.t.Helper()
	r, err := p.gate.Do(p.ctx, "devices", "list", "--waiting", "--json")
	p.must(err)
	var list []struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal([]byte(r.Stdout), &list); err != nil {
		p.t.Fatalf("devices list --waiting --json: %v\n%s", err, r.Stdout)
	}
	for _, d := range list {
		out = append(out, d.ID)
	}
	return out
}

func TestWithDiscoveryOffNothingIsRead(t *testing.T) {
	t.Parallel()
	p := discovering(t, "off", "- {topic: \"home/{device}/event\", class: event}\n")
	p.runs(device.Lamp{Broker: p.broker, Name: "reading"}.Run)
	c := p.device(device.Config{ClientID: "others"})
	p.announce(c, "s1", "Pump", "pump")
	p.publish(c, "home/door/event", "closed")
	p.message(p.alice, "door", "what a rule takes", body("event: closed"))
	r, err := p.gate.Do(p.ctx, "devices")
	p.must(err)
	if strings.Contains(r.Stdout, "Pump") || strings.Contains(r.Stdout, "Reading lamp") || p.questions("") > 0 {
		t.Errorf("announcements are read: %s", r.Stdout)
	}
}

func TestAFloodOfDevicesIsOneMessageToPeople(t *testing.T) {
	t.Parallel()
	const devices = 200
	p := discovering(t, "ask", "")
	c := p.device(device.Config{ClientID: "flood"})
	for i := range devices {
		p.announce(c, fmt.Sprint("f", i), fmt.Sprint("Flood ", i), fmt.Sprint("flood/", i))
	}
	_, e := p.message(p.alice, "gatepost", "one message about all", func(e harness.Event) bool {
		return strings.Contains(e.Content.Body, "new devices wait for a decision")
	})
	one, most := p.questions("Flood")-1, 0
	if _, err := fmt.Sscan(e.Content.Body, &most); err != nil || one > 5 || one+most != devices { // the first few may come before the flood is seen
		t.Errorf("%d questions and a message about %d", one, most)
	}
	ids := p.waiting()
	if len(ids) != devices {
		t.Fatalf("%d devices wait", len(ids))
	}
	for i, what := range []string{"admit", "ignore", "block"} {
		_, err := p.gate.Do(p.ctx, "devices", what, ids[i])
		p.must(err)
	}
	p.must(p.alice.Await(p.ctx, "the room of the admitted one", func(rooms map[string]*harness.Room) bool {
		for _, r := range rooms {
			if r.Joined && strings.HasPrefix(r.Name, "Flood ") {
				return true
			}
		}
		return false
	}))
}

// TestADeviceKeepsItsRoomWhateverItCallsItself: also when it takes another's name.
func TestADeviceKeepsItsRoomWhateverItCallsItself(t *testing.T) {
	t.Parallel()
	p := discovering(t, "auto", "")
	c := p.device(device.Config{ClientID: "both"})
	p.announce(c, "good", "Good pump", "good")
	p.announce(c, "evil", "Evil pump", "evil")
	good, evil := p.roomNamed(p.alice, "Good pump"), p.roomNamed(p.alice, "Evil pump")
	p.card(p.alice, good, "Good pump")
	p.announce(c, "evil", "Good pump", "evil")
	p.must(p.alice.Await(p.ctx, "the new name", func(rooms map[string]*harness.Room) bool { return rooms[evil].Name == "Good pump" }))
	if n := roomsNamed(p.alice, "Good pump"); n != 2 {
		t.Errorf("%d rooms of that name", n)
	}
	// What the room of the good one is asked goes to the good one.
	heard := make(chan string, 10)
	p.device(device.Config{ClientID: "ears", Subscribe: []string{"+/set"}, OnMessage: func(m device.Message) { heard <- m.Topic }})
	e := p.say(p.alice, good, "!on")
	p.reacted(p.alice, good, e, "sent")
	if got := <-heard; got != "good/set" {
		t.Errorf("the command went to %s", got)
	}
}

// TestWhatBelongsToAnotherIsAskedAbout: even when devices are admitted without asking; and what is ignored or blocked stays so.
func TestWhatBelongsToAnotherIsAskedAbout(t *testing.T) {
	t.Parallel()
	p := discovering(t, "auto", "- {topic: \"home/{device}/set\", class: event}\n")
	c := p.device(device.Config{ClientID: "all"})
	p.announce(c, "good", "Good pump", "good")
	p.roomNamed(p.alice, "Good pump")
	p.announce(c, "evil", "Evil pump", "good")
	room, e := p.asked("Evil pump")
	if !strings.Contains(e.Content.Body, "⚠") || !strings.Contains(e.Content.Body, "Good pump") {
		t.Errorf("asked without a warning: %s", e.Content.Body)
	}
	_, err := p.alice.React(p.ctx, room, e.ID, "🙈")
	p.must(err)
	p.answered("“Evil pump” is ignored")
	p.announce(c, "wicked", "Wicked pump", "home/door") // its commands would go to a rule's topic
	room, e = p.asked("Wicked pump")
	_, err = p.bob.React(p.ctx, room, e.ID, "✅") // he is not in that room
	if err == nil {
		t.Error("a member decides in the control room")
	}
	_, err = p.alice.React(p.ctx, room, e.ID, "🚫")
	p.must(err)
	p.answered("“Wicked pump” is blocked")

	_, err = p.gate.Stop(patience)
	p.must(err)
	p.must(p.gate.Start(p.ctx))
	p.must(c.Online(p.ctx))
	for _, d := range [][2]string{{"evil", "Evil pump"}, {"wicked", "Wicked pump"}} {
		p.announce(c, d[0], d[1], "good")
	}
	p.announce(c, "third", "Third pump", "good") // comes after them
	p.asked("Third pump")
	for _, name := range []string{"Evil pump", "Wicked pump"} {
		if n := p.questions(name); n != 1 {
			t.Errorf("asked %d times about %s", n, name)
		}
		if n := roomsNamed(p.alice, name); n != 0 {
			t.Errorf("%s has a room", name)
		}
	}
}

// TestARemovedDeviceWaitsAgain: forgotten by an owner, it is a stranger when it announces itself.
func TestARemovedDeviceWaitsAgain(t *testing.T) {
	t.Parallel()
	p := discovering(t, "ask", "")
	c := p.device(device.Config{ClientID: "pump"})
	p.announce(c, "p", "Pump", "pump")
	room, e := p.asked("Pump")
	id := strings.Trim(string(e.Content.Gatepost.Values["proposal"]), `"`)
	_, err := p.alice.React(p.ctx, room, e.ID, "✅")
	p.must(err)
	pump := p.roomNamed(p.alice, "Pump")
	p.card(p.alice, pump, "Pump")
	_, err = p.gate.Do(p.ctx, "devices", "remove", id)
	p.must(err)
	p.announce(c, "p", "Pump", "pump/again")
	p.message(p.alice, "gatepost", "a second question", func(second harness.Event) bool {
		return second.ID != e.ID && strings.HasPrefix(second.Content.Body, "A new device: “Pump”")
	})
}

func TestPeopleOfASiteSeeItsRoomsAlone(t *testing.T) {
	t.Parallel()
	p := plan(t, "appservice", "- {topic: \"{site}/{device}/event\", space: \"{site}\", device: \"{device}\", class: event, commands: [{name: ring, topic: \"{site}/{device}/set\"}]}\n")
	p.set.Members = nil
	p.set.Sites = []string{fmt.Sprintf("{user: %q, power: 0, spaces: [Home]}", p.user("bob"))}
	p.must(p.gate.Configure(p.set.YAML()))
	p.openHomeserver()
	p.must(p.gate.Start(p.ctx))
	c := p.device(device.Config{ClientID: "both"})
	p.publish(c, "Home/bell/event", "1")
	p.publish(c, "Garage/gate/event", "1")
	bell, _ := p.message(p.bob, "bell", "the bell's event", body("event: 1"))
	p.roomNamed(p.bob, "Home")
	gate, _ := p.message(p.alice, "gate", "the gate's event", body("event: 1"))
	if roomsNamed(p.bob, "gate")+roomsNamed(p.bob, "Garage") != 0 {
		t.Error("he is in the rooms of the other site")
	}
	e := p.say(p.bob, bell, "!ring")
	p.message(p.bob, "bell", "the refusal", func(m harness.Event) bool {
		return m.Content.Relates.ReplyTo.EventID == e && strings.Contains(m.Content.Body, "asks for power level 25; you have 0 here")
	})

	p.set.Sites = []string{fmt.Sprintf("{user: %q, spaces: [Home]}", p.user("bob")), fmt.Sprintf("{user: %q, power: 50, spaces: [Garage]}", p.user("bob"))}
	p.must(p.gate.Configure(p.set.YAML()))
	p.must(p.gate.Reload())
	for room, want := range map[string]int{bell: 25, gate: 50} {
		p.must(p.bob.Await(p.ctx, fmt.Sprintf("power %d", want), func(rooms map[string]*harness.Room) bool {
			var levels struct{ Users map[string]int }
			r := rooms[room]
			return r != nil && r.Joined && json.Unmarshal(r.State["m.room.power_levels"], &levels) == nil && levels.Users[p.bob.UserID] == want
		}))
	}
	e = p.say(p.bob, bell, "!ring")
	p.reacted(p.bob, bell, e, "sent")
}
