package gateway

import (
	"strings"
	"testing"

	"github.com/gatepost/gatepost/gateway/lane"
)

func TestCompileNamesEveryMistake(t *testing.T) {
	for _, c := range []struct {
		name string
		spec RuleSpec
		want []string // beginnings of the errors, each with its key
	}{
		{"a bad pattern", RuleSpec{Topic: "a/#/b"}, []string{"topic: "}},
		{"no device", RuleSpec{Topic: "a/b"}, []string{"device: is needed"}},
		{"unknown captures", RuleSpec{Topic: "{a}/b", Device: "{x}", Name: "{y}", Room: "{z}", Space: "{q}"}, []string{"device: ", "name: ", "room: ", "space: "}},
		{"bad templates", RuleSpec{Topic: "{a}/b", Post: "{{ value", ID: "{% include 'x' %}"}, []string{"id: ", "post: "}},
		{"every without telemetry", RuleSpec{Topic: "{a}/b", Class: lane.Event, Every: 1}, []string{"every: goes with class: telemetry"}},
		{"commands", RuleSpec{Topic: "{a}/b", Commands: []CommandSpec{
			{Name: "two words", Topic: "{a}/set"},
			{Name: "on", Topic: "{b}/set"},
			{Name: "on", Topic: ""},
			{Name: "help", Topic: "x/+"},
			{Name: "off", Topic: "{a}/set", QoS: 2, Payload: "{{", Confirm: &ConfirmSpec{Topic: "{a}/set"}},
			{Name: "dim", Topic: "{a}/dim", Confirm: &ConfirmSpec{}},
		}}, []string{
			"commands[0].name: ", "commands[1].topic: ", `commands[2].name: "on" is there twice`, "commands[2].topic: is needed", "commands[3].name: ", "commands[3].topic: ",
			"commands[4].qos: ", "commands[4].payload: ", "commands[4].confirm.topic: is the command's own", "commands[5].confirm.topic: is needed",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Compile(c.spec)
			if err == nil {
				t.Fatal("no error")
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(c.want) {
				t.Fatalf("%d mistakes, want %d:\n%v", len(lines), len(c.want), err)
			}
			for i, want := range c.want {
				if !strings.HasPrefix(lines[i], want) {
					t.Errorf("mistake %d: %q does not begin with %q", i, lines[i], want)
				}
			}
		})
	}
	a, _ := Compile(RuleSpec{Topic: "x/{device}"})
	if _, err := NewRules(a, a); err == nil || !strings.HasPrefix(err.Error(), "devices[1].topic: ") {
		t.Errorf("two rules with one topic: %v", err)
	}
}

// What a device says on a topic is never merged with what gatepost says of the device by itself, whatever the topic is called.
func TestATopicIsNoKeyOfOurs(t *testing.T) {
	rules := mustRules(t, []RuleSpec{{Topic: "#", Device: "d", Class: lane.State}})
	d := &Device{ID: "d", Room: "device/d", Readings: map[string]Reading{}}
	moved := lane.Record{}
	d.seldom(&moved, "position", noon)
	for name, own := range map[string]lane.Record{
		"room": roomRecord("device/d", "d", noon), "card": {Lane: "device/d", Device: "d", Class: lane.State, Key: cardKey},
		"quick/d/on": {Lane: "device/d", Device: "d", Class: lane.State, Key: quickKey + "d/on"}, "pin/d": {Lane: "device/d", Device: "d", Class: lane.State, Key: pinKey + "d"},
		"announced/position": {Lane: "device/d", Device: "d", Class: lane.State, Key: moved.Key},
	} {
		rule, captures := rules.match(name)
		s, err := rule.subject(captures)
		if err != nil {
			t.Fatal(err)
		}
		r, ok := d.post(s, message(name, "1"), "id")
		if _, merges := lane.Merge(r, own); !ok || merges || !own.Mergeable() {
			t.Errorf("what is said on %s gives way to %+v", name, own)
		}
	}
}

func TestTheFirstRuleThatMatchesWins(t *testing.T) {
	rules := mustRules(t, []RuleSpec{
		{Topic: "a/{device}/special", Post: "first"}, {Topic: "a/{device}/{reading}", Post: "second"},
	})
	for name, want := range map[string]string{"a/x/special": "first", "a/x/other": "second"} {
		r, _ := rules.match(name)
		if r == nil || r.spec.Post != want {
			t.Errorf("%s goes to %v, want %s", name, r, want)
		}
	}
	if r, _ := rules.match("a/x"); r != nil {
		t.Errorf("a/x goes to %v", r.spec)
	}
}

func TestWhatIsSubscribedTo(t *testing.T) {
	rules := mustRules(t, []RuleSpec{
		{Topic: "a/{device}/state", Commands: []CommandSpec{{Name: "on", Topic: "a/{device}/set", Confirm: &ConfirmSpec{Topic: "b/{device}/done"}}}},
		{Topic: "a/{device}/{x}"},
	})
	var got []string
	for _, f := range rules.Filters() {
		got = append(got, f.String())
	}
	if s := strings.Join(got, " "); s != "a/+/+ b/+/done" {
		t.Errorf("subscribed to %s", s)
	}
	for name, want := range map[string]bool{"a/1/x": true, "b/1/done": true, "b/1/other": false, "$SYS/x": false} {
		if rules.Wants(name) != want {
			t.Errorf("wants %s: %v", name, !want)
		}
	}
	var warned []string
	for _, w := range rules.Warnings() {
		warned = append(warned, w.Error())
	}
	if s := strings.Join(warned, "\n"); !strings.Contains(s, "devices[0].commands[0].topic: the rule \"a/{device}/{x}\" also takes") {
		t.Errorf("warnings: %s", s)
	}
}
