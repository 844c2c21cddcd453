package convention

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func part(convention, key string, ids ...string) Part {
	return Part{Convention: convention, Key: key, IDs: ids}
}

func names[T any](all []T, name func(T) string) string {
	var out []string
	for _, v := range all {
		out = append(out, name(v))
	}
	return strings.Join(out, " ")
}

func TestMergeJoinsByIdentifiers(t *testing.T) {
	a, b, c, d := part("homeassistant", "a", "ha:1"), part("homeassistant", "b", "mac:2", "ha:1"), part("homeassistant", "c", "mac:2"), part("homeassistant", "d", "ha:9")
	a.Name, b.Name, b.Kind, c.Kind, c.Via, d.Label = "", "Second", Sensor, Lock, "mac:2", "Label"
	devices := Merge([]Part{d, c, b, a})
	if len(devices) != 2 {
		t.Fatalf("%d devices", len(devices))
	}
	first, second := devices[0], devices[1]
	if first.ID != "ha:1" || !slices.Equal(first.IDs, []string{"ha:1", "mac:2"}) || first.Name != "Second" || first.Kind != Lock || len(first.Parts) != 3 {
		t.Errorf("%+v", first)
	}
	if first.Via != "" {
		t.Error("a device is connected through itself")
	}
	if second.ID != "ha:9" || second.Name != "Label" {
		t.Errorf("%+v", second)
	}
}

// Zigbee2MQTT announces each device twice: by its own list and to Home Assistant.
func TestMergeAcrossConventions(t *testing.T) {
	own, ha := part("zigbee2mqtt", "0x1", "zigbee:0x1"), part("homeassistant", "h", "ha:zigbee2mqtt_0x1", "zigbee:0x1")
	own.Name, ha.Name = "Lamp", "Lamp (HA)"
	own.Readings = []Reading{
		{Name: "temperature", Label: "own", Kind: Number, Source: Source{Topic: "z/lamp", Template: "{{ value_json.temperature }}"}},
		{Name: "state", Kind: OnOff, Source: Source{Topic: "z/lamp", Template: "{{ value_json.state }}"}},
	}
	own.Commands = []Command{{Name: "on", Topic: "z/lamp/set", Payload: "1", Confirm: &Confirm{Reading: "state"}}}
	ha.Readings = []Reading{
		{Name: "warmth", Label: "theirs", Kind: Number, Unit: "°C", Source: Source{Topic: "z/lamp", Template: "{{value_json['temperature']|float|round(1)}}"}},
		{Name: "state", Kind: OnOff, Source: Source{Topic: "z/lamp", Template: "{{ 1 if value_json.state else 0 }}"}},
		{Name: "more", Kind: Text, Source: Source{Topic: "z/lamp", Template: "{{ value_json.more }}"}},
	}
	ha.Commands = []Command{{Name: "on", Topic: "z/lamp/set", Payload: "other"}, {Name: "extra", Topic: "z/x", Confirm: &Confirm{Reading: "warmth"}}}
	ha.Alarms = []AlarmRule{{Name: "hot", Reading: "warmth", Is: []string{"1"}}}
	got := Merge([]Part{ha, own})
	if len(got) != 1 {
		t.Fatalf("%d devices", len(got))
	}
	d := got[0]
	if d.Name != "Lamp" || names(d.Readings, func(r DeviceReading) string { return r.Name }) != "temperature state more" {
		t.Errorf("%s: %+v", d.Name, d.Readings)
	}
	if r := d.Readings[0]; r.Label != "own" || r.Unit != "°C" || len(r.From) != 2 || r.From[1] != (Origin{"homeassistant", "h", "warmth"}) {
		t.Errorf("%+v", r)
	}
	if names(d.Commands, func(c DeviceCommand) string { return c.Name + "=" + c.Confirm.Reading }) != "on=state extra=temperature" {
		t.Errorf("%+v", d.Commands)
	}
	if d.Alarms[0].Reading != "temperature" || ha.Alarms[0].Reading != "warmth" || ha.Commands[1].Confirm.Reading != "warmth" {
		t.Error("an alarm or a confirmation does not follow its reading, or the parts were changed")
	}
}

func TestMergeMakesNamesUnique(t *testing.T) {
	var parts []Part
	for i := range 4 {
		p := part("homeassistant", fmt.Sprint(i), "ha:1")
		if i > 0 {
			p.Component = []string{"", "left", "right", "right"}[i]
		}
		p.Readings = []Reading{{Name: "state", Kind: OnOff, Source: Source{Topic: fmt.Sprint(i)}}}
		p.Commands = []Command{{Name: "on", Topic: fmt.Sprint(i), Confirm: &Confirm{Reading: "state"}}}
		parts = append(parts, p)
	}
	d := Merge(parts)[0]
	if got := names(d.Commands, func(c DeviceCommand) string { return c.Name + "=" + c.Confirm.Reading }); got != "on=state left_on=left_state right_on=right_state right_on_2=right_state_2" {
		t.Error(got)
	}
}

func TestMergeIsBounded(t *testing.T) {
	var parts []Part
	for i := range 10 {
		p := part("homeassistant", fmt.Sprint(i), "ha:1")
		for j := range MaxReadings {
			p.Readings = append(p.Readings, Reading{Name: fmt.Sprintf("r%d", j), Kind: Text, Source: Source{Topic: fmt.Sprintf("%d/%d", i, j)}})
			p.Commands = append(p.Commands, Command{Name: fmt.Sprintf("c%d", j), Topic: fmt.Sprintf("%d/%d", i, j), Confirm: &Confirm{Reading: fmt.Sprintf("r%d", j)}})
		}
		parts = append(parts, p)
	}
	d := Merge(parts)[0]
	if len(d.Readings) != MaxReadings || len(d.Commands) != MaxCommands || len(d.Refused) != 2 {
		t.Errorf("%d readings, %d commands, %v", len(d.Readings), len(d.Commands), d.Refused)
	}
}

// The order of parts does not matter, whatever the captures announce.
func TestMergeIsDeterministic(t *testing.T) {
	var parts []Part
	known := map[string]bool{}
	for _, name := range Names() {
		for _, c := range captures(t, name) {
			p := newPlayer(t, made(t, name, c.prefix))
			for _, m := range c.messages {
				p.play(m)
			}
			for key, part := range p.parts {
				if !known[name+key] { // captures may share a key
					known[name+key] = true
					parts = append(parts, part)
				}
			}
		}
	}
	dump := func() string {
		var b strings.Builder
		for _, d := range Merge(parts) {
			b.WriteString(dumpDevice(d))
			unique := map[string]bool{}
			for _, r := range d.Readings {
				if unique["r"+r.Name] {
					t.Errorf("%s has two readings %s", d.ID, r.Name)
				}
				unique["r"+r.Name] = true
			}
			for _, c := range d.Commands {
				if unique["c"+c.Name] {
					t.Errorf("%s has two commands %s", d.ID, c.Name)
				}
				unique["c"+c.Name] = true
			}
		}
		return b.String()
	}
	want := dump()
	random := rand.New(rand.NewPCG(5, 6))
	for range 5 {
		random.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
		if dump() != want {
			t.Fatal("another order gives other devices")
		}
	}
}
