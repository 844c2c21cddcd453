package gateway

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost/gatepost/gateway/discovery"
	"github.com/gatepost/gatepost/internal/ids"
)

// A discovery message is hostile input: whoever may publish may send one. Here is what strangers have tried, or might; in
// each test somebody else's device goes on working beside it.

// beside announces a lamp and checks afterwards that it is the device that it was.
func beside(t *testing.T, f func(w *world)) {
	finding(t, true, nil, func(w *world) {
		w.announces(haLamp("good", "Good lamp", "lamps/good"))
		settle()
		list := w.ids()
		if len(list) != 1 {
			t.Fatalf("devices %v", list)
		}
		p, _ := w.g.directory.place(list[0])
		topics := commandTopics(w.g.found(list[0]))
		f(w)
		settle()
		w.publish("lamps/good/state", "OFF")
		w.publish("lamps/good/state", "ON")
		d := w.g.found(list[0])
		if d == nil || !slices.ContainsFunc(slices.Collect(maps.Values(d.Values)), func(v discovery.Value) bool { return v.Text == "ON" }) {
			t.Errorf("the good lamp is %+v", d)
		}
		if now, _ := w.g.directory.place(list[0]); now != p {
			t.Errorf("the good lamp is in %+v, was in %+v", now, p)
		}
		if now := commandTopics(d); !slices.Equal(now, topics) {
			t.Errorf("the good lamp's commands go to %v, went to %v", now, topics)
		}
	})
}

func commandTopics(d *discovery.Device) (out []string) {
	for _, c := range d.Is.Commands {
		out = append(out, c.Name+" "+c.Topic)
	}
	return out
}

func TestHostileTemplates(t *testing.T) {
	for _, src := range []string{
		`{% include '/etc/passwd' %}`,
		`{% import '/etc/passwd' as x %}`,
		`{% extends 'x' %}`,
		`{{ ''.__class__.__mro__ }}`,
		`{{ namespace.__init__.__globals__ }}`,
		`{{ 'a' * 1000000000 }}`,
		`{{ range(1000000000) | list }}`,
		`{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}`,
		`{% set x = 'aaaaaaaaaaaaaaaa' %}{% for i in range(9000) %}{% set x = x ~ x %}{{ x }}{% endfor %}`,
		`{{ '%1000000000d' | format(1) }}`,
		`{{ 2 ** 1000000 }}`,
		`{{ 'x' | center(1000000000) }}`,
		`{{ value | regex_replace('(a+)+$', 'b') }}`,
		`{{ states('lock.front') }}`,
		strings.Repeat("{{ (", 5000),
		strings.Repeat("x", 9000),
		"{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
	} {
		t.Run(src[:min(len(src), 40)], func(t *testing.T) {
			beside(t, func(w *world) {
				w.announces("homeassistant/sensor/evil/config", fmt.Sprintf(`{"name":"Evil","uniq_id":"evil","stat_t":"evil/x","val_tpl":%q,"dev":{"ids":["evil"],"name":"Evil"}}`, src))
				settle()
				w.publish("evil/x", strings.Repeat("a", 30)+"!")
				for _, id := range w.ids() {
					for name, v := range w.g.found(id).Values {
						if len(v.Text) > 1024 || strings.Contains(v.Text, "root:") {
							t.Errorf("%s of %s is %.100q", name, id, v.Text)
						}
					}
				}
			})
		})
	}
}

func TestHostileJSON(t *testing.T) {
	beside(t, func(w *world) {
		for i, payload := range []string{
			strings.Repeat(`{"dev":`, 100_000) + "1" + strings.Repeat("}", 100_000),
			strings.Repeat("[", 1<<20),
			`{"name":` + strings.Repeat(`"x",`, 1000),
			`{"dev":{"ids":[` + strings.Repeat(`"a",`, 10_000) + `"b"],"name":"x"},"stat_t":"a"}`,
			"\xff\xfe\x00", `null`, `[]`, `{"dev":[1,2,3]}`, `{"~":{"~":"~"},"stat_t":"~~~~"}`, `{"stat_t":1e400}`,
			`{"cmps":` + strings.Repeat(`{"a":`, 31) + "1" + strings.Repeat("}", 31) + `}`,
		} {
			w.announces(fmt.Sprintf("homeassistant/sensor/deep%d/config", i), payload)
			w.announces(fmt.Sprintf("homeassistant/device/deep%d/config", i), payload)
			w.announces(fmt.Sprintf("homie/5/deep%d/$description", i), payload)
			w.announces("zigbee2mqtt/bridge/devices", payload)
			w.announces(fmt.Sprintf("tasmota/discovery/%012d/config", i), payload)
		}
	})
}

var idForm = regexp.MustCompile(`^[a-z0-9._-]{1,64}$`)

func TestHostileNames(t *testing.T) {
	names := []string{"a/b", "a#b", "../../etc", "..", "+", "lаmp", "Lamp\u202e", "@alice:x", "@room", "<b>x</b>", "\x00", strings.Repeat("x", 5000), "Good lamp", "ｇood lamp", "!unlock", "#gatepost:x", "gatepost", "`rm -rf`"}
	beside(t, func(w *world) {
		for i, name := range names {
			w.announces(fmt.Sprintf("homeassistant/light/n%d/config", i), fmt.Sprintf(`{"name":null,"uniq_id":%q,"cmd_t":"n/%d/set","stat_t":"n/%d","dev":{"ids":[%q],"name":%q,"sa":%q}}`, name+fmt.Sprint(i), i, i, name+fmt.Sprint(i), name, name))
		}
		w.announces("homeassistant/light/w1/config", `{"name":"W","uniq_id":"w1","cmd_t":"n/#","stat_t":"#","dev":{"ids":["w1"],"name":"W"}}`)
		w.announces("homeassistant/light/w2/config", `{"name":"W","uniq_id":"w2","cmd_t":"$SYS/x","stat_t":"$SYS/broker","dev":{"ids":["w2"],"name":"W"}}`)
		w.announces("homeassistant/light/w3/config", `{"name":"W","uniq_id":"w3","cmd_t":"homeassistant/light/good/config","stat_t":"a/b","dev":{"ids":["w3"],"name":"W"}}`)
		settle()
		rooms := map[ids.RoomKey]ids.DeviceID{}
		for _, id := range w.ids() {
			if !idForm.MatchString(string(id)) {
				t.Errorf("the id %q", id)
			}
			p, _ := w.g.directory.place(id)
			if other, taken := rooms[p.room]; taken {
				t.Errorf("%s and %s share the room %s", id, other, p.room)
			}
			rooms[p.room] = id
			if strings.ContainsAny(p.name, "\x00\u202e\n") || len(p.name) > maxName || len(p.space) > maxName {
				t.Errorf("%s is called %q in %q", id, p.name, p.space)
			}
			d := w.g.found(id)
			for _, c := range d.Is.Commands {
				if strings.ContainsAny(c.Topic, "#+") || strings.HasPrefix(c.Topic, "$") || strings.HasSuffix(c.Topic, "/config") {
					t.Errorf("%s has a command to %q", id, c.Topic)
				}
			}
		}
		if len(rooms) < len(names)/2 {
			t.Errorf("only %d of them became devices", len(rooms))
		}
		for _, name := range []string{"#", "$SYS/broker", "anything"} {
			if w.g.Wants(name) {
				t.Errorf("wants %s", name)
			}
		}
	})
}

// TestHostileText: nothing that a device says anywhere is markup, a link to a person, or a mention.
func TestHostileText(t *testing.T) {
	const evil = "<b>x</b> @room @alice:x https://matrix.to/#/@alice:x [a](b)\u202e\nline"
	quoted := strings.NewReplacer(`"`, `\"`, "\n", `\n`).Replace(evil)
	finding(t, true, nil, func(w *world) {
		announced := func(component, object, keys string) {
			w.announces("homeassistant/"+component+"/"+object+"/config", fmt.Sprintf(`{"name":"%s %s","uniq_id":"%s %s",%s,"dev":{"ids":["evil"],"name":"%s","mf":"%s","mdl":"%s","sw":"%s","sa":"%s"}}`,
				object, quoted, object, quoted, keys, quoted, quoted, quoted, quoted, quoted))
		}
		announced("sensor", "number", `"stat_t":"evil/n","unit_of_meas":"`+quoted+`"`)
		announced("sensor", "text", `"stat_t":"evil/t"`)
		announced("binary_sensor", "smoke", `"stat_t":"evil/s","dev_cla":"smoke"`)
		announced("binary_sensor", "odd", `"stat_t":"evil/o","pl_on":"`+quoted+`"`)
		announced("event", "event", `"stat_t":"evil/e","evt_typ":["`+quoted+`"]`)
		announced("select", "select", `"stat_t":"evil/l","cmd_t":"evil/l/set","ops":["`+quoted+`","other"]`)
		announced("number", "set", `"stat_t":"evil/m","cmd_t":"evil/m/set","unit_of_meas":"`+quoted+`"`)
		announced("sensor", "bad", `"stat_t":"evil/b","val_tpl":"{{ states('`+quoted+`') }}"`)
		settle()
		for _, m := range [][2]string{{"evil/n", "1"}, {"evil/m", "1"}, {"evil/t", evil}, {"evil/s", "ON"}, {"evil/o", evil}, {"evil/e", `{"event_type":"` + quoted + `"}`}, {"evil/l", evil}} {
			w.publish(m[0], m[1])
		}
		carded()
		room := w.theRoom()
		n := len(w.ids())
		for _, says := range []string{"!help", "!status", "!commands", "!x" + evil, "!select " + evil, "!set " + evil, "!select nonsense", "!set 1"} {
			w.says("@alice:x", room, says)
		}
		w.announces(haLock("evil2", evil, "lamps/evil"))
		settle()
		w.announces("homeassistant/switch/e/config", fmt.Sprintf(`{"name":"Evil","uniq_id":"e","cmd_t":"lamps/evil/set","dev":{"ids":["e"],"name":"%s too"}}`, quoted)) // asked about, as it claims a topic
		settle()
		w.about("A new device")
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		w.matrix.mu.Lock()
		defer w.matrix.mu.Unlock()
		texts := map[string]string{}
		for _, p := range w.matrix.posts {
			texts[fmt.Sprintf("%s of %s", p.Post.Kind, p.ID)] = p.Post.Text
			texts[fmt.Sprintf("HTML of %s", p.ID)] = p.Post.HTML
			for _, u := range p.Post.Mentions {
				if u != "@alice:x" && u != "@bob:x" || p.Class < 3 {
					t.Errorf("%+v mentions %s", p, u)
				}
			}
		}
		if n != 1 || len(texts) < 20 {
			t.Errorf("%d devices, %d texts", n, len(texts))
		}
		for what, text := range texts {
			for _, bad := range []string{"@room", "matrix.to", "\u202e"} {
				if strings.Contains(text, bad) {
					t.Errorf("%s has %q: %q", what, bad, text)
				}
			}
			if strings.HasPrefix(what, "HTML") && strings.Contains(text, "<b>") {
				t.Errorf("%s: %q", what, text)
			}
		}
	})
}

// TestHostileQuestion: what a device says at length leaves out nothing that an owner must know.
func TestHostileQuestion(t *testing.T) {
	beside(t, func(w *world) {
		long := strings.Repeat("loooong label ", 18)
		for i := range 40 {
			component, keys := "sensor", ""
			switch i % 4 {
			case 1:
				component, keys = "event", `,"evt_typ":["a"]`
			case 2:
				component, keys = "sensor", `,"val_tpl":"{{ states('`+long+`') }}"`
			case 3:
				component, keys = "binary_sensor", `,"dev_cla":"smoke"`
			}
			w.announces(fmt.Sprintf("homeassistant/%s/q%d/config", component, i), fmt.Sprintf(`{"name":"%d %s","uniq_id":"q%d","stat_t":"q/%d"%s,"dev":{"ids":["q"],"name":"%s","mf":"%s","mdl":"%s","sa":"%s"}}`, i, long, i, i, keys, long, long, long, long))
		}
		w.announces("homeassistant/switch/q/config", fmt.Sprintf(`{"name":"%s","uniq_id":"q","cmd_t":"lamps/good/set","dev":{"ids":["q"],"name":"%s"}}`, long, long))
		settle()
		body, _, _ := w.about("A new device")
		for _, part := range []string{"⚠ Its command", "would be sent to a topic of “Good lamp”.", "Readings: ", "Not supported: ", "Alarms: ", "React or reply with ✅", "gatepost devices admit|ignore|block looo"} {
			if !strings.Contains(body, part) {
				t.Errorf("no %q in\n%s", part, body)
			}
		}
	})
}

// TestHostileTopics: names that a rule takes out of topics are as harmless in names of rooms and users as in what is said.
func TestHostileTopics(t *testing.T) {
	inWorld(t, []RuleSpec{{Topic: "x/{site}/{device}", Device: "{device}", Space: "{site}"}}, func(w *world) {
		w.publish("x/@room Home\u202e/Lamp @room\u202e https:", "1")
		for _, c := range w.matrix.calls {
			if strings.Contains(c, "@room") || strings.Contains(c, "\u202e") {
				t.Errorf("the homeserver is told %q", c)
			}
		}
		for _, c := range w.matrix.created {
			if strings.Contains(c.Name, "@room") || strings.Contains(c.Name, "\u202e") {
				t.Errorf("a room is called %q", c.Name)
			}
		}
	})
}

// TestHostileSizes: what is said of the largest device there can be fits into an event, which has 65 536 bytes, and an edit says
// everything twice.
func TestHostileSizes(t *testing.T) {
	finding(t, true, nil, func(w *world) {
		long := strings.Repeat("“loooong” & wide ", 50)
		options := `"` + long[:50] + `","` + long[:48] + `"`
		for i := range 300 {
			component, keys := "sensor", fmt.Sprintf(`"unit_of_meas":%q`, "<°C & more>")
			switch i % 3 {
			case 1:
				component, keys = "select", fmt.Sprintf(`"cmd_t":"big/%d/set","ops":[%s]`, i, options)
			case 2:
				component, keys = "number", fmt.Sprintf(`"cmd_t":"big/%d/set","min":-1e9,"max":1e9,"unit_of_meas":"<°C & more>"`, i)
			}
			if err := w.g.Deliver(w.t.Context(), message(fmt.Sprintf("homeassistant/%s/b%d/config", component, i),
				fmt.Sprintf(`{"name":"%d %s","uniq_id":"b%d","stat_t":"big/%d",%s,"dev":{"ids":["big"],"name":"%s","mf":"%s","mdl":"%s"}}`, i, long, i, i, keys, long, long, long))); err != nil {
				t.Fatal(err)
			}
		}
		settle()
		for i := range 300 {
			w.publish(fmt.Sprintf("big/%d", i), strings.Repeat("value & ", 100))
		}
		carded()
		room := w.theRoom()
		for _, says := range []string{"!help", "!status", "!commands", "!nonsense", "!help set"} {
			w.says("@alice:x", room, says)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		is := w.g.found(w.ids()[0]).Is
		w.matrix.mu.Lock()
		defer w.matrix.mu.Unlock()
		if len(is.Readings) < 250 || len(is.Commands) < 150 {
			t.Errorf("only %d readings and %d commands", len(is.Readings), len(is.Commands))
		}
		for _, p := range w.matrix.posts {
			size := jsonBytes(t, p.Post.Text) + jsonBytes(t, p.Post.HTML)
			if p.Key == cardKey {
				size *= 2
			}
			if size > 56<<10 {
				t.Errorf("%s %.40q: %d", p.Key, p.Post.Text, size)
			}
		}
	})
}

func jsonBytes(t *testing.T, s string) int {
	t.Helper()
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return len(b)
}

// TestHostileClaims: what a stranger's announcement says of the good lamp's identifiers, topics and entities changes nothing
// before a person agrees.
func TestHostileClaims(t *testing.T) {
	claims := map[string][2]string{
		"its command topic":           {"homeassistant/light/e1/config", `{"name":"E","uniq_id":"e1","cmd_t":"lamps/good/set","dev":{"ids":["e1"],"name":"E"}}`},
		"its state topic to write to": {"homeassistant/switch/e2/config", `{"name":"E","uniq_id":"e2","cmd_t":"lamps/good/state","dev":{"ids":["e2"],"name":"E"}}`},
		"itself and another device":   {"homeassistant/switch/e4/config", `{"name":"E","uniq_id":"e4","cmd_t":"e/4","dev":{"ids":["good","other"],"name":"E"}}`},
		"a part that takes from both": {"homeassistant/switch/e5/config", `{"name":"E","uniq_id":"e5","cmd_t":"lamps/other/set","dev":{"ids":["good"],"name":"E"}}`},
	}
	for name, m := range claims {
		t.Run(name, func(t *testing.T) {
			beside(t, func(w *world) {
				w.announces(haLamp("other", "Other lamp", "lamps/other"))
				settle()
				before := w.ids()
				w.announces(m[0], m[1])
				settle()
				if got := w.ids(); !slices.Equal(got, before) {
					t.Errorf("devices %v, before %v", got, before)
				}
				waiting := w.proposals()
				if len(waiting) != 1 || waiting[0].Stage != discovery.Waiting || len(waiting[0].Warnings) == 0 {
					t.Errorf("people were not asked: %+v", waiting)
				}
			})
		})
	}
	t.Run("asked before it grows", func(t *testing.T) {
		finding(t, false, nil, func(w *world) {
			w.announces(haLamp("good", "Good lamp", "lamps/good"))
			settle()
			if _, err := w.g.Decide(w.t.Context(), w.proposals()[0].ID, discovery.Admit); err != nil {
				t.Fatal(err)
			}
			id := w.ids()[0]
			before := commandTopics(w.g.found(id))
			w.announces("homeassistant/lock/e3/config", `{"name":"Unlock","uniq_id":"e3","cmd_t":"evil/set","dev":{"ids":["good"],"name":"Good lamp"}}`)
			settle()
			if got := commandTopics(w.g.found(id)); !slices.Equal(got, before) {
				t.Errorf("commands %v, before %v", got, before)
			}
			body, event, control := w.about("wants to have more")
			if !strings.Contains(body, "Dangerous commands: !unlock") || !strings.Contains(body, "It would get more commands") {
				t.Errorf("asked\n%s", body)
			}
			w.reacts("@alice:x", control, event, "✅")
			settle()
			if got := commandTopics(w.g.found(id)); len(got) <= len(before) {
				t.Errorf("commands %v after people agreed", got)
			}
		})
	})
}

// TestHostileRename: a device that takes another's name stays in its own room.
func TestHostileRename(t *testing.T) {
	beside(t, func(w *world) {
		w.announces(haLock("evil", "Evil", "evil"))
		settle()
		before := w.ids()
		w.announces(haLock("evil", "Good lamp", "evil"))
		settle()
		if got := w.ids(); !slices.Equal(got, before) {
			t.Errorf("devices %v, before %v", got, before)
		}
		rooms := map[ids.RoomKey]bool{}
		for _, id := range before {
			p, _ := w.g.directory.place(id)
			if rooms[p.room] {
				t.Errorf("%s is in somebody's room", id)
			}
			rooms[p.room] = true
		}
	})
}

// TestHostileFlood: 10 000 devices in a minute are one message, and bounded.
func TestHostileFlood(t *testing.T) {
	const devices = 10_000
	finding(t, false, nil, func(w *world) {
		w.announces(haLamp("good", "Good lamp", "lamps/good"))
		settle()
		if _, err := w.g.Decide(w.t.Context(), w.proposals()[0].ID, discovery.Admit); err != nil {
			t.Fatal(err)
		}
		carded()
		said := len(w.matrix.said())
		for i := range devices {
			name, payload := haLamp(fmt.Sprint("flood", i), fmt.Sprint("Flood ", i), fmt.Sprint("flood/", i))
			if err := w.g.Deliver(w.t.Context(), message(name, payload)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute / devices)
		}
		settle()
		waiting := w.proposals()
		if len(waiting) == 0 || len(waiting) > 2_000 {
			t.Errorf("%d devices wait", len(waiting))
		}
		if n := len(w.matrix.said()) - said; n > maxAsks+1 {
			t.Errorf("%d messages to people", n)
		}
		if len(w.ids()) != 1 || w.g.finder.host.Left() == 0 {
			t.Errorf("%d devices, %d left out", len(w.ids()), w.g.finder.host.Left())
		}
		size := 0
		for k, v := range w.store.values {
			size += len(k) + len(v)
		}
		if size > 16<<20 {
			t.Errorf("%d bytes are stored", size)
		}
		w.publish("lamps/good/state", "ON")
		if d := w.g.found(w.ids()[0]); len(d.Values) == 0 {
			t.Error("the good lamp is not heard any more")
		}
		if _, err := w.g.Decide(w.t.Context(), waiting[0].ID, discovery.Block); err != nil {
			t.Error(err)
		}
		w.announces(haLamp("new", "New lamp", "lamps/new")) // there is room for one again
		settle()
		if !slices.ContainsFunc(w.proposals(), func(p discovery.Proposal) bool { return p.Name == "New lamp" }) {
			t.Error("the flood shuts others out for ever")
		}
	})
}

func TestHostileParts(t *testing.T) {
	beside(t, func(w *world) { // one device of very many parts
		for i := range 2_000 {
			if err := w.g.Deliver(w.t.Context(), message(fmt.Sprintf("homeassistant/sensor/p%d/config", i),
				fmt.Sprintf(`{"name":"R%d","uniq_id":"p%d","stat_t":"p/%d/+","dev":{"ids":["p"],"name":"P"}}`, i, i, i))); err != nil {
				t.Fatal(err)
			}
		}
		settle()
		synctest.Wait()
		for _, id := range w.ids() {
			if n := len(w.g.found(id).Is.Readings); n > 256 {
				t.Errorf("%s has %d readings", id, n)
			}
		}
	})
}
