package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost/gatepost/gateway/discovery"
	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/mqtt/convention"
	"github.com/gatepost/gatepost/mqtt/topic"
)

// finding makes a world in which announcements are read and alice is the owner.
func finding(t *testing.T, auto bool, rules []RuleSpec, f func(*world)) {
	t.Helper()
	findingIn(t, EncryptionUnset, auto, rules, f)
}

// findingIn is finding where rooms are encrypted, or not.
func findingIn(t *testing.T, kind Encryption, auto bool, rules []RuleSpec, f func(*world)) {
	t.Helper()
	var all []convention.Convention
	for _, name := range convention.Names() {
		c, err := convention.New(name, "")
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.change = func(c *Config) {
			c.Discovery = &Discovery{Conventions: all, Auto: auto}
			c.People = People{Owners: []ids.UserID{"@alice:x"}, Members: map[ids.UserID]int{"@bob:x": 25}}
			c.Encryption = kind
		}
		for i := range 10 {
			w.matrix.encrypted[ids.RoomID(fmt.Sprintf("!%d", i))] = kind.makes()
		}
		w.start(rules)
		f(w)
		if err := w.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// announces publishes what a device says of itself.
func (w *world) announces(name, payload string) { w.publish(name, payload) }

// settle lets a device finish announcing itself.
func settle() {
	time.Sleep(3 * time.Second)
	synctest.Wait()
}

// reacts puts a person's reaction into the inbox.
func (w *world) reacts(user, roomID string, to ids.EventID, key string) {
	w.event(room.Event{
		Type: "m.reaction", Sender: ids.UserID(user), Room: ids.RoomID(roomID),
		Content: fmt.Appendf(nil, `{"m.relates_to":{"rel_type":"m.annotation","event_id":%q,"key":%q}}`, to, key),
	})
}

// about gives the latest post of the control room with a text in it, and its event.
func (w *world) about(text string) (body string, event ids.EventID, roomID string) {
	w.t.Helper()
	w.matrix.mu.Lock()
	defer w.matrix.mu.Unlock()
	for _, p := range slices.Backward(w.matrix.posts) {
		if p.Lane == ids.ControlRoom && strings.Contains(p.Post.Text, text) {
			return p.Post.Text, w.matrix.sent[p.ID], string(p.room)
		}
	}
	var all []string
	for _, p := range w.matrix.posts {
		all = append(all, p.Post.Text)
	}
	w.t.Fatalf("nothing about %q in the control room; posts: %q", text, all)
	return "", "", ""
}

// devicePosts are the texts in the rooms of devices, save their cards.
func (w *world) devicePosts() []string {
	w.matrix.mu.Lock()
	defer w.matrix.mu.Unlock()
	var out []string
	for _, p := range w.matrix.posts {
		if p.Lane != ids.ControlRoom && p.Key != cardKey && !strings.HasPrefix(p.Key, quickKey) {
			out = append(out, fmt.Sprintf("%s: %s", p.Post.Kind, p.Post.Text))
		}
	}
	return out
}

func (w *world) ids() []ids.DeviceID {
	w.t.Helper()
	list, err := w.g.Devices(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	var out []ids.DeviceID
	for _, d := range list {
		out = append(out, d.ID)
	}
	return out
}

func (w *world) proposals() []discovery.Proposal {
	w.t.Helper()
	list, err := w.g.Proposals(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

func haLamp(id, name, base string) (topic, payload string) {
	return "homeassistant/light/" + id + "/config",
		fmt.Sprintf(`{"~":%q,"name":null,"uniq_id":%q,"stat_t":"~/state","cmd_t":"~/set","avty_t":"~/online","dev":{"ids":[%q],"name":%q,"mf":"Acme","mdl":"L1","sa":"Kitchen"}}`, base, id, id, name)
}

func haLock(id, name, base string) (topic, payload string) {
	return "homeassistant/lock/" + id + "/config",
		fmt.Sprintf(`{"~":%q,"name":null,"uniq_id":%q,"stat_t":"~/state","cmd_t":"~/set","dev":{"ids":[%q],"name":%q}}`, base, id, id, name)
}

func TestAnOwnerAdmitsADevice(t *testing.T) {
	finding(t, false, nil, func(w *world) {
		w.announces(haLamp("l1", "Lamp", "lamps/1"))
		settle()
		body, event, control := w.about("A new device")
		for _, part := range []string{"A new device: “Lamp” (lamp, Acme L1, through homeassistant).", "It would have a room “Lamp”, in the space “Kitchen”.", "Commands: ", "!on", "✅", "🙈", "🚫"} {
			if !strings.Contains(body, part) {
				t.Errorf("no %q in\n%s", part, body)
			}
		}
		if w.g.Wants("lamps/1/state") || len(w.ids()) != 0 || slices.ContainsFunc(w.matrix.calls, func(c string) bool { return strings.Contains(c, "lamp") }) {
			t.Errorf("something was made of a device that waits: %v %v", w.ids(), w.matrix.calls)
		}
		w.reacts("@bob:x", control, event, "✅")
		if len(w.ids()) != 0 {
			t.Fatal("somebody who is no owner admitted a device")
		}
		w.reacts("@alice:x", control, event, "✅️")
		list := w.ids()
		if len(list) != 1 || len(w.proposals()) != 0 {
			t.Fatalf("devices %v, proposals %v", list, w.proposals())
		}
		if body, _, _ := w.about("is admitted"); !strings.Contains(body, "“Lamp” is admitted. Its room: #gatepost_"+string(list[0])+":x") {
			t.Errorf("answer %q", body)
		}
		calls := strings.Join(w.matrix.calls, "\n")
		for _, part := range []string{`"Lamp"`, `"Kitchen"`, "user @gatepost_" + string(list[0]) + `:x "Lamp"`} {
			if !strings.Contains(calls, part) {
				t.Errorf("no %s in\n%s", part, calls)
			}
		}
		w.publish("lamps/1/state", "ON")
		if d := w.g.found(list[0]); d == nil || d.Values["light"].Text == "" && len(d.Values) == 0 {
			t.Errorf("device %+v", d)
		}
		if got := w.devicePosts(); len(got) != 0 {
			t.Errorf("a reading was posted: %q", got)
		}
		n := len(w.matrix.calls)
		w.restart(nil)
		if got := w.ids(); !slices.Equal(got, list) || len(w.matrix.calls) != n {
			t.Errorf("after a restart: %v, did %v", got, w.matrix.calls[n:])
		}
		if d := w.g.found(list[0]); d == nil || len(d.Values) == 0 {
			t.Errorf("after a restart the values are gone: %+v", d)
		}
	})
}

func TestAReactionCountsForWhatWasShown(t *testing.T) {
	finding(t, false, nil, func(w *world) {
		w.announces(haLock("d1", "Door", "doors/1"))
		settle()
		_, event, control := w.about("A new device")
		w.announces(haLock("d1", "Door", "doors/2")) // other topics than those that were shown
		w.reacts("@alice:x", control, event, "✅")
		if len(w.ids()) != 0 {
			t.Fatal("admitted something that nobody was shown")
		}
		w.about("announces something else by now")
		settle()
		_, again, _ := w.about("A new device")
		if again == event {
			t.Fatal("it was not shown again")
		}
		w.reacts("@alice:x", control, again, "✅")
		if len(w.ids()) != 1 {
			t.Error("not admitted")
		}
	})
}

func TestIgnoredAndBlockedDevices(t *testing.T) {
	finding(t, false, nil, func(w *world) {
		for i, key := range []string{"🙈", "🚫"} {
			name, payload := haLamp(fmt.Sprint("x", i), fmt.Sprint("Lamp ", i), fmt.Sprint("lamps/", i))
			w.announces(name, payload)
			settle()
			_, event, control := w.about(fmt.Sprintf("A new device: “Lamp %d”", i))
			w.reacts("@alice:x", control, event, key)
		}
		before := len(w.matrix.said())
		w.restart(nil)
		for i := range 2 {
			name, payload := haLamp(fmt.Sprint("x", i), fmt.Sprint("Another name ", i), fmt.Sprint("lamps/", i))
			w.announces(name, payload)
		}
		settle()
		if got := w.matrix.said(); len(got) != before {
			t.Errorf("asked again: %q", got[before:])
		}
		list := w.proposals()
		if len(list) != 2 || list[0].Stage != discovery.Ignored || list[1].Stage != discovery.Blocked {
			t.Fatalf("proposals %+v", list)
		}
		if _, err := w.g.Decide(w.t.Context(), list[0].ID, discovery.Admit); err != nil || len(w.ids()) != 1 {
			t.Errorf("an ignored one can't be admitted: %v", err)
		}
		if _, err := w.g.Decide(w.t.Context(), list[1].ID, discovery.Admit); err != nil {
			t.Errorf("unblock: %v", err)
		}
		w.announces(haLamp("x1", "Lamp 1", "lamps/1"))
		settle()
		w.about("A new device: “Lamp 1”")
		if _, err := w.g.Decide(w.t.Context(), "nobody", discovery.Admit); !errors.Is(err, ErrNoDevice) {
			t.Errorf("nobody: %v", err)
		}
	})
}

// What people want to have off the list goes off it, and out of the store.
func TestADeviceThatIsNotAdmittedIsForgotten(t *testing.T) {
	finding(t, false, nil, func(w *world) {
		stored := func() int {
			n := 0
			for k := range w.store.values {
				if strings.HasPrefix(k, discovery.Space+"\x00") {
					n++
				}
			}
			return n
		}
		before := stored()
		for i, what := range []discovery.Decision{"", discovery.Ignore, discovery.Block} {
			w.announces(haLamp("l1", "Lamp", "lamps/1"))
			settle()
			id := w.proposals()[0].ID
			if what != "" {
				if _, err := w.g.Decide(w.t.Context(), id, what); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.g.RemoveDevice(w.t.Context(), id); err != nil || len(w.proposals()) != 0 || stored() != before {
				t.Errorf("%d: %v, proposals %v, %d stored, %d before", i, err, w.proposals(), stored(), before)
			}
		}
		w.announces(haLamp("l1", "Lamp", "lamps/1")) // not blocked any more
		settle()
		if len(w.proposals()) != 1 {
			t.Errorf("proposals %v", w.proposals())
		}
		if err := w.g.RemoveDevice(w.t.Context(), "nobody"); !errors.Is(err, ErrNoDevice) {
			t.Errorf("nobody: %v", err)
		}
	})
}

// Who is removed while announcements are not read is not back when they are.
func TestADeviceIsRemovedWhileDiscoveryIsOff(t *testing.T) {
	finding(t, false, nil, func(w *world) {
		w.announces(haLamp("l1", "Lamp", "lamps/1"))
		settle()
		if _, err := w.g.Decide(w.t.Context(), w.proposals()[0].ID, discovery.Admit); err != nil {
			t.Fatal(err)
		}
		w.publish("lamps/1/state", "ON")
		on := w.change
		w.change = func(c *Config) { on(c); c.Discovery = nil }
		w.restart(nil)
		if err := w.g.RemoveDevice(w.t.Context(), w.ids()[0]); err != nil {
			t.Error(err)
		}
		w.change = on
		w.restart(nil)
		settle()
		if list, p := w.ids(), w.proposals(); len(list) != 0 || len(p) != 1 || p[0].Stage != discovery.Waiting {
			t.Errorf("devices %v, proposals %+v", list, p)
		}
	})
}

// Somebody who becomes an owner hears of what waits.
func TestANewOwnerIsAsked(t *testing.T) {
	finding(t, false, nil, func(w *world) {
		if err := w.g.Reload(w.t.Context(), mustRules(t, nil), People{}, nil); err != nil {
			t.Fatal(err)
		}
		w.announces(haLamp("l1", "Lamp", "lamps/1"))
		settle()
		if err := w.g.Reload(w.t.Context(), mustRules(t, nil), People{Owners: []ids.UserID{"@alice:x"}}, nil); err != nil {
			t.Fatal(err)
		}
		settle()
		w.about("A new device")
	})
}

func TestAFloodIsOneMessage(t *testing.T) {
	finding(t, false, nil, func(w *world) {
		for i := range 40 {
			w.announces(haLamp(fmt.Sprint("x", i), fmt.Sprint("Lamp ", i), fmt.Sprint("lamps/", i)))
		}
		settle()
		time.Sleep(gatherAsks)
		synctest.Wait()
		n := 0
		for _, line := range w.matrix.said() {
			if strings.Contains(line, "new device") || strings.Contains(line, "A new") {
				n++
			}
		}
		w.about("40 new devices wait for a decision")
		if n != 1 {
			t.Errorf("%d messages about 40 devices", n)
		}
		w.announces(haLamp("late", "Late", "lamps/late")) // one that comes after it is shown for itself
		settle()
		w.about("A new device: “Late”")
		w.restart(nil)
		before := len(w.matrix.said())
		settle()
		if got := w.matrix.said(); len(got) != before {
			t.Errorf("told again after a restart: %q", got[before:])
		}
	})
}

func TestAutoAdmitsWhatClaimsNothing(t *testing.T) {
	finding(t, true, []RuleSpec{door}, func(w *world) {
		w.announces(haLamp("l1", "Lamp", "lamps/1"))
		settle()
		if n := len(w.ids()); n != 2 { // the rule's door and the lamp
			t.Fatalf("%d devices", n)
		}
		w.announces("homeassistant/switch/e/config", `{"name":"Evil","uniq_id":"e","cmd_t":"door/set","dev":{"ids":["e"],"name":"Evil"}}`)
		settle()
		body, _, _ := w.about("A new device: “Evil”")
		if !strings.Contains(body, "would be sent to a topic of “the rule door/event”") {
			t.Errorf("no warning in\n%s", body)
		}
		w.announces("homeassistant/switch/f/config", `{"name":"Evil too","uniq_id":"f","cmd_t":"lamps/1/set","dev":{"ids":["f"],"name":"Evil too"}}`)
		settle()
		if body, _, _ := w.about("A new device: “Evil too”"); !strings.Contains(body, "would be sent to a topic of “Lamp”") {
			t.Errorf("no warning in\n%s", body)
		}
		if n := len(w.ids()); n != 2 {
			t.Errorf("%d devices", n)
		}
	})
}

// Names of rooms are readable where all else is encrypted, so they are not what a device calls itself.
func TestAnEncryptedRoomIsNotNamedByItsDevice(t *testing.T) {
	findingIn(t, EncryptionDefault, false, nil, func(w *world) {
		w.announces(haLamp("l1", "Night lamp", "lamps/1"))
		settle()
		if body, _, _ := w.about("A new device: “Night lamp”"); !strings.Contains(body, "It would have an encrypted room") || strings.Contains(body, "Kitchen") {
			t.Errorf("the question is\n%s", body)
		}
		if _, err := w.g.Decide(w.t.Context(), w.proposals()[0].ID, discovery.Admit); err != nil {
			t.Fatal(err)
		}
		settle()
		rooms := w.g.Rooms()
		if len(rooms) != 2 { // its own and the control room
			t.Errorf("rooms: %+v", rooms)
		}
		for _, r := range rooms {
			if strings.Contains(r.Name, "Night") || strings.Contains(r.Alias, "night") {
				t.Errorf("a room is called %q, %s", r.Name, r.Alias)
			}
		}
		for _, call := range w.matrix.calls {
			if strings.Contains(strings.ToLower(call), "night") || strings.Contains(call, "Kitchen") {
				t.Errorf("the homeserver reads %q", call)
			}
		}
	})
}

func TestARenamedDeviceKeepsItsRoom(t *testing.T) {
	finding(t, true, []RuleSpec{door}, func(w *world) {
		w.announces(haLock("d1", "Back door", "doors/1"))
		settle()
		before := w.ids()
		w.announces(haLock("d1", "Front door", "doors/1")) // the name, and more, of another
		settle()
		if got := w.ids(); !slices.Equal(got, before) {
			t.Errorf("devices %v, before %v", got, before)
		}
		for _, d := range before {
			p, _ := w.g.directory.place(d)
			if p.room != ids.DeviceRoom(d) {
				t.Errorf("%s lives in %s", d, p.room)
			}
			if d != "door" && p.name != "Front door" {
				t.Errorf("its name is %q", p.name)
			}
		}
		w.announces("homeassistant/lock/door/config", `{"name":"door","uniq_id":"door","cmd_t":"x/set","dev":{"ids":["door"],"name":"door"}}`)
		settle()
		if got := w.ids(); len(got) != 3 || got[0] == got[1] {
			t.Errorf("devices %v", got)
		}
	})
}

func TestEventsAndAlarmsArePosted(t *testing.T) {
	finding(t, true, nil, func(w *world) {
		w.announces("homeassistant/binary_sensor/s/config", `{"name":"Smoke","uniq_id":"s","dev_cla":"smoke","stat_t":"s/smoke","dev":{"ids":["s"],"name":"Kitchen alarm"}}`)
		w.announces("homeassistant/device_automation/s/config", `{"automation_type":"trigger","type":"button_short_press","subtype":"button_1","topic":"s/press","payload":"single","dev":{"ids":["s"],"name":"Kitchen alarm"}}`)
		settle()
		retained := func(name, payload string) {
			w.send(topic.Message{Topic: name, Payload: []byte(payload), Retained: true, Time: time.Now()})
		}
		retained("s/smoke", "ON")
		retained("s/press", "single")
		w.publish("s/smoke", "ON") // as it was
		if got := w.devicePosts(); len(got) != 0 {
			t.Fatalf("how things are became news: %q", got)
		}
		w.publish("s/smoke", "OFF")
		w.publish("s/smoke", "ON")
		w.publish("s/press", "single")
		w.publish("s/press", "double")
		got := w.devicePosts()
		if len(got) != 3 || !strings.HasPrefix(got[0], "notice: Over: Smoke") || !strings.HasPrefix(got[1], "text: ⚠ Smoke") || !strings.HasPrefix(got[2], "text: ") {
			t.Errorf("posts %q", got)
		}
		for _, p := range w.matrix.posts {
			if strings.HasPrefix(p.Post.Text, "⚠ Smoke") && (p.Class != lane.Alarm || len(p.Post.Mentions) != 2) {
				t.Errorf("the alarm is %+v", p.Record)
			}
		}
	})
}

func TestTopicsAreFollowed(t *testing.T) {
	var mu sync.Mutex
	var all, fresh []string
	fail := true
	synctest.Test(t, func(t *testing.T) {
		ha, err := convention.New("homeassistant", "")
		if err != nil {
			t.Fatal(err)
		}
		w := newWorld(t)
		w.change = func(c *Config) {
			c.Discovery = &Discovery{Conventions: []convention.Convention{ha}, Auto: true, Follow: func(_ context.Context, a, f []topic.Filter) error {
				mu.Lock()
				defer mu.Unlock()
				if fail {
					return errors.New("no broker")
				}
				all = nil
				for _, x := range a {
					all = append(all, x.String())
				}
				for _, x := range f {
					fresh = append(fresh, x.String())
				}
				return nil
			}}
		}
		w.start([]RuleSpec{sensors})
		w.send(topic.Message{Topic: "lamps/1/state", Payload: []byte("ON"), Retained: true, Time: time.Now()}) // nobody wants it yet
		w.announces(haLamp("l1", "Lamp", "lamps/1"))
		settle()
		mu.Lock()
		fail = false
		mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if !slices.Contains(all, "sensors/+/+") || !slices.Contains(all, "lamps/1/state") || !slices.Contains(all, "homeassistant/+/+/config") {
			t.Errorf("all: %q", all)
		}
		if !slices.Contains(fresh, "lamps/1/online") || slices.Contains(fresh, "sensors/+/+") {
			t.Errorf("fresh: %q", fresh)
		}
		if !w.g.Wants("lamps/1/state") || w.g.Wants("lamps/1/other") {
			t.Error("Wants the wrong topics")
		}
		list, err := w.g.Devices(t.Context())
		if err != nil || len(list) != 1 || !list[0].Announced {
			t.Fatalf("%+v %v", list, err)
		}
		if d := w.g.found(list[0].ID); len(d.Values) == 0 {
			t.Error("a retained value that came before the announcement is lost")
		}
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestARemovedDeviceIsAskedAboutAgain(t *testing.T) {
	finding(t, true, nil, func(w *world) {
		w.announces(haLamp("l1", "Lamp", "lamps/1"))
		settle()
		list := w.ids()
		if err := w.g.RemoveDevice(w.t.Context(), list[0]); err != nil {
			t.Fatal(err)
		}
		if w.g.Wants("lamps/1/state") || len(w.ids()) != 0 {
			t.Error("it is still there")
		}
		w.store.mu.Lock()
		for k := range w.store.values {
			if strings.HasPrefix(k, discovery.Space+"\x00") && !strings.HasPrefix(k, discovery.Space+"\x00state/") {
				t.Errorf("%q is still stored", k)
			}
		}
		w.store.mu.Unlock()
		w.announces(haLamp("l1", "Lamp", "lamps/1"))
		settle()
		if got := w.ids(); !slices.Equal(got, list) {
			t.Errorf("devices %v, want %v again", got, list)
		}
		w.announces("homeassistant/light/l1/config", "")
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		want := []string{"notice: Lamp was removed. Its history stays here.", "notice: Lamp withdrew its announcement and was removed. Its history stays here."}
		if got := w.devicePosts(); !slices.Equal(got, want) {
			t.Errorf("posts %q", got)
		}
		if got := w.ids(); len(got) != 0 {
			t.Errorf("devices %v", got)
		}
	})
}

// TestACrashBesideAnAdmission: whatever the store had taken when the process died, the device has one room in the end.
func TestACrashBesideAnAdmission(t *testing.T) {
	for _, early := range []bool{true, false} {
		finding(t, false, nil, func(w *world) {
			w.announces(haLamp("l1", "Lamp", "lamps/1"))
			settle()
			_, event, control := w.about("A new device")
			if early {
				w.store.set(errors.New("dead"))
			}
			w.reacts("@alice:x", control, event, "✅")
			w.die()
			w.start(nil)
			settle()
			if len(w.ids()) == 0 { // the reaction is still in the inbox, or was never taken
				w.reacts("@alice:x", control, event, "✅")
			}
			if list := w.ids(); len(list) != 1 || len(w.proposals()) != 0 {
				t.Fatalf("devices %v, proposals %+v", list, w.proposals())
			}
			w.publish("lamps/1/state", "ON")
			n := 0
			for _, c := range w.matrix.calls {
				if strings.HasPrefix(c, "create ") && strings.Contains(c, `"Lamp"`) {
					n++
				}
			}
			if n != 1 {
				t.Errorf("%d rooms: %v", n, w.matrix.calls)
			}
		})
	}
}

func message(name, payload string) topic.Message {
	return topic.Message{Topic: name, Payload: []byte(payload), Time: time.Now()}
}

// TestAnAdmittedDeviceIsAskedForItsValues: a Tasmota device tells what changes, and answered before anybody listened.
func TestAnAdmittedDeviceIsAskedForItsValues(t *testing.T) {
	finding(t, false, nil, func(w *world) {
		w.announces("tasmota/discovery/DC4F22010203/config", `{"dn":"Coffee","fn":["Coffee"],"hn":"c","mac":"DC4F22010203","md":"Basic","ofln":"Offline","onln":"Online",`+
			`"state":["OFF","ON","TOGGLE","HOLD"],"t":"coffee","ft":"%prefix%/%topic%/","tp":["cmnd","stat","tele"],"rl":[1],"swc":[-1],"btn":[0],"so":{"4":0},"ver":1}`)
		settle()
		before := len(w.devices.list())
		w.devices.on = func(name, _ string) {
			if name == "cmnd/coffee/STATE" {
				go w.publish("stat/coffee/RESULT", `{"POWER":"ON"}`)
			}
		}
		if _, err := w.g.Decide(w.t.Context(), w.proposals()[0].ID, discovery.Admit); err != nil {
			t.Fatal(err)
		}
		settle()
		if got := w.devices.list()[before:]; !slices.Equal(got, []string{"cmnd/coffee/STATE  0 false"}) {
			t.Errorf("sent %q", got)
		}
		if v := w.g.found(w.ids()[0]).Values["power"]; v.Text != "ON" {
			t.Errorf("power %+v", v)
		}
	})
}
