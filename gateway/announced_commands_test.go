package gateway

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/mqtt/convention"
)

// theRoom is the room of the only device.
func (w *world) theRoom() string {
	w.t.Helper()
	for _, r := range w.g.Rooms() {
		if len(r.Devices) == 1 && r.Room != "" {
			return string(r.Room)
		}
	}
	w.t.Fatalf("no device has a room: %+v", w.g.Rooms())
	return ""
}

// newest is the latest command.
func (w *world) newest() Command {
	w.t.Helper()
	list, err := w.g.Commands(w.t.Context(), 1)
	if err != nil || len(list) == 0 {
		w.t.Fatalf("no command, %v", err)
	}
	return list[0]
}

// lastSaid is the latest post of a device.
func (w *world) lastSaid() string {
	posts := w.devicePosts()
	if len(posts) == 0 {
		return ""
	}
	return posts[len(posts)-1]
}

const thermostat = `{"~":"heat","name":null,"uniq_id":"h1","curr_temp_t":"~/now","temp_stat_t":"~/target","temp_cmd_t":"~/target/set","min_temp":5,"max_temp":30,"temp_step":0.5,
	"modes":["off","heat"],"mode_stat_t":"~/mode","mode_cmd_t":"~/mode/set","avty_t":"~/online","temp_unit":"C","dev":{"ids":["h1"],"name":"Heater"}}`

// heated runs f with an admitted thermostat and the room that it has.
func heated(t *testing.T, f func(w *world, room string)) {
	finding(t, true, nil, func(w *world) {
		w.announces("homeassistant/climate/h1/config", thermostat)
		settle()
		f(w, w.theRoom())
	})
}

func TestAnAnnouncedCommandIsConfirmedByItsReading(t *testing.T) {
	heated(t, func(w *world, room string) {
		w.says("@bob:x", room, "!set target 21,5 °C")
		if got := w.devices.list(); !slices.Equal(got, []string{"heat/target/set 21.5 0 false"}) {
			t.Fatalf("the device heard %q", got)
		}
		w.publish("heat/target", "20.0")
		if c := w.newest(); c.State != Published {
			t.Errorf("confirmed by another value: %+v", c)
		}
		w.publish("heat/target", "21.50")
		if c := w.newest(); c.State != Confirmed || c.Name == "" {
			t.Errorf("%+v", c)
		}
		if k, ok := w.g.commands.last(w.newest().Device); !ok || k.State != Confirmed {
			t.Errorf("the latest is %+v, %v", k, ok)
		}
		w.says("@bob:x", room, "!set target 35")
		if got := w.lastSaid(); !strings.Contains(got, "is 5 to 30 °C; “35” is too much.") {
			t.Errorf("said %q", got)
		}
		w.says("@bob:x", room, "!sett target 20")
		if got := w.lastSaid(); !strings.Contains(got, "Did you mean “!set ") {
			t.Errorf("said %q", got)
		}
		w.says("@bob:x", room, "!help target")
		if got := w.lastSaid(); !strings.Contains(got, "<5 to 30 °C>") {
			t.Errorf("said %q", got)
		}
		w.says("@bob:x", room, "!commands")
		if got := w.lastSaid(); !strings.Contains(got, "asked for by @bob:x: ✅ confirmed") {
			t.Errorf("said %q", got)
		}
		if got := len(w.devices.list()); got != 1 {
			t.Errorf("%d publishes", got)
		}
	})
}

func TestADeviceThatIsOfflineGetsNothing(t *testing.T) {
	heated(t, func(w *world, room string) {
		w.publish("heat/online", "offline")
		w.says("@bob:x", room, "!set target 20")
		if got := w.lastSaid(); got != "notice: The device can't be reached now, so nothing was sent." {
			t.Errorf("said %q", got)
		}
		if _, err := w.g.Command(w.t.Context(), w.ids()[0], "set_target", "20"); !errors.Is(err, ErrRefused) {
			t.Errorf("the command line may send to it: %v", err)
		}
		w.publish("heat/online", "online")
		if got := w.devices.list(); len(got) != 0 {
			t.Errorf("published %q", got)
		}
	})
}

func TestACommandWaitsForADeviceThatIsOffline(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(w *world, room string, e ids.EventID)
		want State
		sent int
	}{
		{"and comes back", func(w *world, _ string, _ ids.EventID) { w.publish("heat/online", "online") }, Published, 1},
		{"and stays away", func(*world, string, ids.EventID) {}, Expired, 0},
		{"and it is withdrawn", func(w *world, r string, e ids.EventID) {
			w.event(room.Event{Type: "m.room.redaction", Sender: "@bob:x", Room: ids.RoomID(r), Redacts: e})
			w.publish("heat/online", "online")
		}, Withdrawn, 0},
		{"and an owner takes it back", func(w *world, r string, e ids.EventID) {
			w.event(room.Event{Type: "m.room.redaction", Sender: "@alice:x", Room: ids.RoomID(r), Redacts: e})
			w.publish("heat/online", "online")
		}, Withdrawn, 0},
		{"and somebody else wants it back", func(w *world, r string, e ids.EventID) {
			w.event(room.Event{Type: "m.room.redaction", Sender: "@mallory:x", Room: ids.RoomID(r), Redacts: e})
			w.publish("heat/online", "online")
		}, Published, 1},
		{"and gatepost starts again", func(w *world, _ string, _ ids.EventID) {
			w.restart(nil)
			if got := w.devices.list(); len(got) != 0 {
				w.t.Errorf("published while it is away: %q", got)
			}
			w.publish("heat/online", "online")
		}, Published, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			heated(t, func(w *world, r string) {
				change := w.change
				w.change = func(cfg *Config) { change(cfg); cfg.People.Queue = true }
				w.restart(nil)
				w.publish("heat/online", "offline")
				e := w.says("@bob:x", r, "!set target 20")
				if got := w.newest(); got.State != Queued || !strings.Contains(strings.Join(w.devicePosts(), "\n"), "⏳ waiting for the device") {
					t.Fatalf("%+v, said %q", got, w.devicePosts())
				}
				time.Sleep(12 * time.Second)
				synctest.Wait()
				posts, _, _ := w.cards()
				if last := posts[len(posts)-1].Post.Text; !strings.Contains(last, "!set_target: waits for the device") {
					t.Errorf("the card says %q", last)
				}
				c.do(w, r, e)
				if c.want == Expired {
					time.Sleep(time.Minute)
					synctest.Wait()
					w.publish("heat/online", "online")
				}
				if got := w.newest(); got.State != c.want || len(w.devices.list()) != c.sent {
					t.Errorf("%+v, published %q", got, w.devices.list())
				}
			})
		})
	}
}

// What was asked for and not sent yet is what the device then understood: if it understands something else by now, nothing is sent.
func TestADeviceChangesItsCommandsWhileOneWaits(t *testing.T) {
	change := func(old, now string) string { return strings.Replace(thermostat, old, now, 1) }
	for _, c := range []struct {
		name, announced string
		want            State
		sent            []string
	}{
		{"a label", change(`"name":"Heater"`, `"name":"Radiator"`), Published, []string{"heat/target/set 20 0 false"}},
		{"takes it back", change(`"temp_cmd_t":"~/target/set",`, ``), Failed, nil},
		{"another topic", change(`"temp_cmd_t":"~/target/set"`, `"temp_cmd_t":"~/other/set"`), Failed, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			heated(t, func(w *world, r string) {
				before := w.change
				w.change = func(cfg *Config) { before(cfg); cfg.People.Queue = true }
				w.restart(nil)
				w.publish("heat/online", "offline")
				w.says("@bob:x", r, "!set target 20")
				w.announces("homeassistant/climate/h1/config", c.announced)
				settle()
				w.publish("heat/online", "online")
				if got := w.newest(); got.State != c.want || !slices.Equal(w.devices.list(), c.sent) {
					t.Errorf("%+v, published %q", got, w.devices.list())
				}
				if said := strings.Join(w.devicePosts(), "\n"); strings.Contains(said, "there is no such command any more") != (c.want == Failed) {
					t.Errorf("said %s", said)
				}
			})
		})
	}
	t.Run("before the second look", func(t *testing.T) {
		finding(t, true, nil, func(w *world) {
			w.announces(haLock("d1", "Door", "doors/1"))
			settle()
			room := w.theRoom()
			e := w.says("@alice:x", room, "!unlock")
			w.announces(haLock("d1", "Door", "doors/2"))
			settle()
			w.reacts("@alice:x", room, e, "✅")
			if got := w.newest(); got.State != Failed || len(w.devices.list()) != 0 {
				t.Errorf("%+v, published %q", got, w.devices.list())
			}
		})
	})
	t.Run("after it was sent", func(t *testing.T) {
		heated(t, func(w *world, r string) {
			w.says("@bob:x", r, "!set target 20")
			w.announces("homeassistant/climate/h1/config", change(`"temp_cmd_t":"~/target/set",`, ``))
			settle()
			w.publish("heat/target", "20")
			if got := w.newest(); got.State != Confirmed {
				t.Errorf("%+v", got)
			}
		})
	})
}

func TestAnAnnouncedLockNeedsASecondLookAndItsCodeIsNotKept(t *testing.T) {
	finding(t, true, nil, func(w *world) {
		w.announces("homeassistant/alarm_control_panel/p1/config",
			`{"name":null,"uniq_id":"p1","stat_t":"alarm/state","cmd_t":"alarm/set","code":"REMOTE_CODE","cmd_tpl":"{{ action }}:{{ code }}","dev":{"ids":["p1"],"name":"Alarm"}}`)
		settle()
		room := w.theRoom()
		e := w.says("@alice:x", room, "!disarm hunter2")
		if got := w.devices.list(); len(got) != 0 {
			t.Fatalf("published %q without a second look; said %q", got, w.devicePosts())
		}
		for key, value := range w.store.values {
			if strings.Contains(string(value), "hunter2") {
				t.Errorf("the store keeps the code in %q: %s", key, value)
			}
		}
		if c := w.newest(); c.Args != "code=•••" || c.Payload != "" || c.State != Waiting {
			t.Errorf("shown as %+v", c)
		}
		w.reacts("@alice:x", room, e, "✅")
		if got := strings.Join(w.devices.list(), ""); !strings.Contains(got, "DISARM:hunter2") {
			t.Errorf("published %q; said %q", got, w.devicePosts())
		}
		w.publish("alarm/state", "disarmed")
		if c := w.newest(); c.State != Confirmed {
			t.Errorf("%+v", c)
		}
		e = w.says("@alice:x", room, "!disarm hunter2")
		w.restart(nil)
		w.reacts("@alice:x", room, e, "✅")
		if c := w.newest(); c.State != Failed || len(w.devices.list()) != 1 {
			t.Errorf("after a restart: %+v, published %q", c, w.devices.list())
		}
		for key, value := range w.store.values {
			if strings.Contains(string(value), "hunter2") {
				t.Errorf("the store keeps the code in %q", key)
			}
		}
	})
}

func TestTheConfigurationLimitsWhoMayAsk(t *testing.T) {
	heated(t, func(w *world, room string) {
		change := w.change
		w.change = func(cfg *Config) {
			change(cfg)
			cfg.People.Members["@dave:x"] = 25
			cfg.People.Limits = []Limit{
				{Command: "set_target", People: []ids.UserID{"@dave:x"}},
				{Device: "elsewhere", Command: "set_mode", People: []ids.UserID{"@dave:x"}},
				{Command: "set_mode", Grade: Dangerous},
			}
			cfg.People.Hours = map[ids.UserID]Hours{"@dave:x": afternoon{}}
		}
		w.restart(nil)
		w.setMembers("@alice:x", "@bob:x", "@dave:x")
		w.says("@bob:x", room, "!set target 20")
		if got := w.lastSaid(); !strings.Contains(got, "is for others") {
			t.Errorf("said %q", got)
		}
		w.says("@alice:x", room, "!set mode heat")
		if got := w.lastSaid(); !strings.Contains(got, "is a dangerous command") {
			t.Errorf("said %q", got)
		}
		w.says("@dave:x", room, "!set target 20")
		if got := w.lastSaid(); !strings.Contains(got, "You may ask for commands from 13:00 to 18:00.") {
			t.Errorf("said %q", got)
		}
		if got := w.devices.list(); len(got) != 0 {
			t.Errorf("published %q", got)
		}
		time.Sleep(90 * time.Minute)
		w.says("@dave:x", room, "!set target 20")
		if got := w.devices.list(); len(got) != 1 {
			t.Errorf("published %q; said %q", got, w.lastSaid())
		}
	})
}

// afternoon is from one to six.
type afternoon struct{}

func (afternoon) Contains(t time.Time) bool { return t.Hour() >= 13 && t.Hour() < 18 }
func (afternoon) String() string            { return "13:00-18:00" }

// setMembers lets people be in all rooms, with what the configuration gives them.
func (w *world) setMembers(users ...ids.UserID) {
	w.setState(true, func(s *room.State) {
		s.Users, s.Members = map[ids.UserID]int{"@alice:x": 100}, map[ids.UserID]string{}
		for _, u := range users {
			s.Members[u] = "join"
			s.Users[u] = max(s.Users[u], 25)
		}
	})
}

func TestAnswersWithATransaction(t *testing.T) {
	for _, c := range []struct {
		answer convention.Answer
		want   State
		reason string
	}{
		{convention.Answer{OK: true}, Confirmed, ""},
		{convention.Answer{Reason: "busy\nnow"}, Failed, "the device says: busy"},
		{convention.Answer{}, Failed, "the device says that it did not do it"},
		{convention.Answer{Transaction: "other", OK: true}, Published, ""},
	} {
		table := &commands{all: map[string]*Command{}, open: map[string]*Command{}, byEvent: map[ids.EventID]string{}, done: map[string]func(Command){}, newest: map[ids.DeviceID]*Command{}, changed: func(ids.DeviceID) {}, arm: func(time.Time) {}, count: func(State) {}, publish: func(Command, time.Duration) {}}
		k := testCommand(func(c *Command) { c.Confirm = &Answer{Transaction: "t1"} })
		b := &batch{}
		table.step(b, k, noon, allowed{})
		table.step(b, k, noon, sent{})
		if c.answer.Transaction == "" {
			c.answer.Transaction = "t1"
		}
		table.said(b, c.answer, noon)
		if k.State != c.want || !strings.HasPrefix(k.Reason, c.reason) {
			t.Errorf("%+v: %s, %q", c.answer, k.State, k.Reason)
		}
	}
}

func TestADeviceIsSpokenToWhenItIsMentioned(t *testing.T) {
	says := func(w *world, r, body string, users ...string) {
		w.event(room.Event{Type: "m.room.message", Sender: "@bob:x", Room: ids.RoomID(r), Content: fmt.Appendf(nil, `{"msgtype":"m.text","body":%q,"m.mentions":{"user_ids":["%s"]}}`, body, strings.Join(users, `","`))})
	}
	for _, c := range []struct {
		body, user string
		want       int
	}{
		{"Heater: set target 20", "@gatepost_heater-%:x", 1},
		{"heater set target 20", "@gatepost_heater-%:x", 1},
		{"@gatepost_heater-%:x: set target 20", "@gatepost_heater-%:x", 1},
		{"gatepost: set target 20", "@gatepost:x", 1},
		{"Heater: set target 20", "@bob:x", 0},
		{"Heater: please set target 20", "@gatepost_heater-%:x", 0},
		{"set target 20", "@gatepost_heater-%:x", 0},
		{"Heaters set target 20", "@gatepost_heater-%:x", 0},
		{"Heater: target 20", "@gatepost_heater-%:x", 0},
		{"Heater", "@gatepost_heater-%:x", 0},
	} {
		heated(t, func(w *world, r string) {
			id := strings.TrimPrefix(string(w.ids()[0]), "heater-")
			says(w, r, strings.ReplaceAll(c.body, "%", id), strings.ReplaceAll(c.user, "%", id))
			if got := w.devices.list(); len(got) != c.want {
				t.Errorf("%q to %s: published %q, said %q", c.body, c.user, got, w.devicePosts())
			}
			if c.want == 0 && len(w.devicePosts()) != 0 {
				t.Errorf("%q: said %q", c.body, w.devicePosts())
			}
		})
	}
}
