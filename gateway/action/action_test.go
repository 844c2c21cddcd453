package action

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gatepost/gatepost/internal/template"
	"github.com/gatepost/gatepost/mqtt/convention"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func bound(f float64) *float64 { return &f }

func mustTemplate(t testing.TB, src string) *template.Template {
	t.Helper()
	is, err := template.Compile(src)
	if err != nil {
		t.Fatal(err)
	}
	return is
}

// heater is a device with one action of each kind.
func heater(t testing.TB) []*Action {
	make := func(name, payload string, args ...convention.Arg) *Action {
		return &Action{Name: name, Args: args, Grade: convention.Operate, Topic: "t", Payload: mustTemplate(t, payload)}
	}
	open := make("open", "OPEN")
	open.Grade = convention.Dangerous
	raw := make("raw", "{{ args }}")
	raw.Free = true
	status := make("status", "")
	status.Grade = convention.Read
	return []*Action{
		make("on", `{"state":"ON"{% if brightness is defined %},"brightness":{{ brightness }}{% endif %}{% if transition is defined %},"transition":{{ transition }}{% endif %}}`,
			convention.Arg{Name: "brightness", Kind: convention.Number, Min: bound(0), Max: bound(254), Step: 1, Optional: true},
			convention.Arg{Name: "transition", Kind: convention.Number, Unit: "s", Min: bound(0), Optional: true}),
		make("off", "OFF"),
		make("set_target", "{{ value }}", convention.Arg{Name: "value", Kind: convention.Number, Unit: "°C", Min: bound(5), Max: bound(30), Step: 0.5}),
		make("set_mode", "{{ value }}", convention.Arg{Name: "value", Kind: convention.Option, Options: []string{"auto", "heat", "Fan only"}}),
		make("set_child_lock", "{{ value }}", convention.Arg{Name: "value", Kind: convention.OnOff, On: "LOCK", Off: "UNLOCK"}),
		make("set_color", "{{ red }},{{ green }},{{ blue }}",
			convention.Arg{Name: "red", Kind: convention.Number, Min: bound(0), Max: bound(255)},
			convention.Arg{Name: "green", Kind: convention.Number, Min: bound(0), Max: bound(255)},
			convention.Arg{Name: "blue", Kind: convention.Number, Min: bound(0), Max: bound(255)}),
		make("say", "{{ volume }}|{{ text }}",
			convention.Arg{Name: "volume", Kind: convention.Number, Unit: "%", Min: bound(0), Max: bound(100)},
			convention.Arg{Name: "text", Kind: convention.Text, Min: bound(1), Max: bound(20)}),
		make("show", `{"text":"{{ value }}"}`, convention.Arg{Name: "value", Kind: convention.Text, Plain: true}),
		make("unlock", "{{ code }}", convention.Arg{Name: "code", Kind: convention.Text, Secret: true, Min: bound(4), Max: bound(8)}),
		make("wake", "{{ value }}", convention.Arg{Name: "value", Kind: convention.Time}),
		open, raw, status,
	}
}

func TestOrders(t *testing.T) {
	for _, c := range []struct{ typed, want, err string }{
		{"off", "OFF", ""},
		{"OFF", "OFF", ""},
		{"off now", "", "“off” takes nothing behind it"},
		{"on", `{"state":"ON"}`, ""},
		{"on 40%", `{"state":"ON","brightness":102}`, ""},
		{"on brightness=40", `{"state":"ON","brightness":40}`, ""},
		{"on transition=2 s brightness=40", `{"state":"ON","brightness":40,"transition":2}`, ""},
		{"on 100 2s", `{"state":"ON","brightness":100,"transition":2}`, ""},
		{"on 100 2 s", `{"state":"ON","brightness":100,"transition":2}`, ""},
		{"on 255", "", "“on”: brightness is 0 to 254; “255” is too much"},
		{"on 1 2 3", "", "“on” takes no more than !on [brightness=<0 to 254>] [transition=<at least 0 s>]"},
		{"on brightness=1 brightness=2", "", "“on” has brightness twice"},
		{"on 101%", "", "“on”: brightness is 0 to 100 %, not “101%”"},
		{"set_target 21.5", "21.5", ""},
		{"set target 21.5", "21.5", ""},
		{"Set-Target 21", "21", ""},
		{"target 21", "21", ""},
		{"set target 21,5", "21.5", ""},
		{"set target 21.5°C", "21.5", ""},
		{"set target 21.5 °C", "21.5", ""},
		{"set target 21.5 c", "21.5", ""},
		{"set target value=21.5", "21.5", ""},
		{"set target 70 °F", "", "“set target”: the value is in °C, not in “°F”"},
		{"set target 50%", "", "“set target”: the value is in °C, not in “%”"},
		{"set target 35", "", "“set target”: the value is 5 to 30 °C; “35” is too much"},
		{"set target −5", "", "“set target”: the value is 5 to 30 °C; “−5” is too little"},
		{"set target 21.3", "", "“set target”: the value goes in steps of 0.5, not “21.3”"},
		{"set target 1,000", "", "“set target”: the value is written with a point: “1,000” could be two numbers"},
		{"set target warm", "", "“set target”: the value is a number, 5 to 30 °C; “warm” is none"},
		{"set target 0x15", "", "“set target”: the value is a number, 5 to 30 °C; “0x15” is none"},
		{"set target 1e1", "", "“set target”: the value is a number, 5 to 30 °C; “1e1” is none"},
		{"set target NaN", "", "“set target”: the value is a number, 5 to 30 °C; “NaN” is none"},
		{"set target ٢١", "", "“set target”: the value is a number, 5 to 30 °C; “٢١” is none"},
		{"set target", "", "“set target” needs the value: !set target <5 to 30 °C>"},
		{"set mode HEAT", "heat", ""},
		{"set mode fan_only", "Fan only", ""},
		{"mode fan only", "Fan only", ""},
		{"set mode heet", "", "“set mode”: the value is one of auto, heat, Fan only, not “heet”; did you mean “heat”?"},
		{"set mode cool", "", "“set mode”: the value is one of auto, heat, Fan only, not “cool”"},
		{"set child lock on", "LOCK", ""},
		{"set child lock No", "UNLOCK", ""},
		{"set child lock lock", "LOCK", ""},
		{"set child lock maybe", "", "“set child lock”: the value is on or off, not “maybe”"},
		{"set color 1 2 3", "1,2,3", ""},
		{"set color blue=3 1 2", "1,2,3", ""},
		{"set color 1 2", "", "“set color” needs blue: !set color red=<0 to 255> green=<0 to 255> blue=<0 to 255>"},
		{"say 30 hello to you", "30|hello to you", ""},
		{`say 30 "hello to you"`, "30|hello to you", ""},
		{`say text="hello to you" volume=30 %`, "30|hello to you", ""},
		{"say 30% line\nbreak", "30|line\nbreak", ""},
		{"say 30 {{ 7 * 7 }}", "30|{{ 7 * 7 }}", ""},
		{"say 30 " + strings.Repeat("x", 21), "", "“say”: text is a text of 1 to 20 characters; that has 21"},
		{"say 30 be\x07ll", "", "“say”: text may hold no control characters"},
		{"show hello", `{"text":"hello"}`, ""},
		{`show ","alarm":"off`, "", "“show”: the value may hold no quotes, backslashes, braces and line breaks: this device does not take them"},
		{"show a\nb", "", "“show”: the value may hold no quotes, backslashes, braces and line breaks: this device does not take them"},
		{"unlock 1234", "1234", ""},
		{"unlock 99", "", "“unlock”: the value is a text of 4 to 8 characters; that has 2"},
		{"wake 2030-01-01T07:00:00Z", "2030-01-01T07:00:00Z", ""},
		{"wake 1893456000", "1893456000", ""},
		{"wake soon", "", "“wake”: the value is a time such as 2030-12-31T18:00:00Z"},
		{"raw {\"a\": 1}\n{}", "{\"a\": 1}\n{}", ""},
		{"raw", "", ""},
	} {
		name, rest := cut(c.typed)
		a, args := Find(heater(t), name, rest, true)
		if a == nil {
			t.Errorf("%q: no such action", c.typed)
			continue
		}
		o, err := a.Order(args, "tx1", noon)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != c.err || string(o.Payload) != c.want {
			t.Errorf("%q: %q, error %q\nwant %q, error %q", c.typed, o.Payload, got, c.want, c.err)
		}
	}
}

func TestFindTakesNothingForWhatItOnlyLooksLike(t *testing.T) {
	list := heater(t)
	for _, typed := range []string{"оpen" /* Cyrillic o */, "op en", "o\u200bpen", "ope\u0301n", "unloc\u212a" /* Kelvin sign */, "ſtatus", "", "set", "target", "OPEN\u00a0NOW x"} {
		name, rest := cut(typed)
		if a, _ := Find(list, name, rest, true); a != nil && typed != "OPEN\u00a0NOW x" {
			t.Errorf("%q is taken for %s", typed, a.Name)
		}
	}
	if a, _ := Find(list, "target", "21", false); a != nil {
		t.Errorf("without short, target is taken for %s", a.Name)
	}
	if a, _ := Find(list, "OPEN", "", true); a == nil || a.Name != "open" {
		t.Error("OPEN is not open")
	}
}

func TestTheLongestNameCounts(t *testing.T) {
	free := &Action{Name: "set", Free: true}
	list := append(heater(t), free)
	if a, args := Find(list, "set", "target 21", true); a == free || args != "21" {
		t.Errorf("%s with %q", a.Name, args)
	}
	if a, args := Find(list, "set", "fire to it", true); a != free || args != "fire to it" {
		t.Errorf("%v with %q", a, args)
	}
}

func TestSuggest(t *testing.T) {
	for _, c := range []struct{ name, rest, want string }{
		{"opne", "", "open"},
		{"оpen", "", "open"},
		{"sett", "target 3", "set_target"},
		{"targt", "3", "set_target"},
		{"statsu", "", "status"},
		{"explode", "", ""},
		{"x", "", ""},
		{strings.Repeat("open", 2000), "", ""},
	} {
		got := ""
		if a := Suggest(heater(t), c.name, c.rest); a != nil {
			got = a.Name
		}
		if got != c.want {
			t.Errorf("%s %s: %q, want %q", c.name, c.rest, got, c.want)
		}
	}
}

func TestHelp(t *testing.T) {
	list := heater(t)
	got := Help("Heater", "", list, 2)
	want := `Heater understands:
!on [brightness=<0 to 254>] [transition=<at least 0 s>]
!off
!set target <5 to 30 °C>
!set mode <one of auto, heat, Fan only>
!set child lock <on or off>
!set color red=<0 to 255> green=<0 to 255> blue=<0 to 255>
!say volume=<0 to 100 %> text=<a text of 1 to 20 characters>
!show <a text>
!unlock <a text of 4 to 8 characters>
!wake <a time>
!raw …
Only asks, changes nothing:
!status
Dangerous, so react to your message with ✅ when I ask:
!open
There are 2 more, for people with more power.`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := Help("Heater", "color", list, 2); got != "Heater understands:\n!set color red=<0 to 255> green=<0 to 255> blue=<0 to 255>" {
		t.Errorf("with a word: %s", got)
	}
	if got := Help("Heater", "x\ny", list, 2); got != "Heater has no command with “x y” in it. “!help” lists them all." {
		t.Errorf("with a word that nothing has: %s", got)
	}
	if got := Help("Heater", "", nil, 1); got != "Heater understands nothing from you. There is 1 more, for people with more power." {
		t.Error(got)
	}
	if got := Help("Heater", "", nil, 0); got != "Heater has no commands." {
		t.Error(got)
	}
	var many []*Action
	for range 256 {
		many = append(many, list[5])
	}
	if got := Help("Heater", "", many, 0); len(got) > 4000 || !strings.HasSuffix(got, "And 217 more: “!help WORD” shows those with the word in them.") {
		t.Errorf("%d bytes of help: …%s", len(got), got[len(got)-100:])
	}
}

func TestASecretIsNeverShown(t *testing.T) {
	a, _ := Find(heater(t), "unlock", "", true)
	for _, typed := range []string{"hunter22", "hunter2hunter2", "h\x00nter2"} {
		o, err := a.Order(typed, "tx", noon)
		if err != nil {
			if strings.Contains(err.Error(), "nter2") {
				t.Errorf("the error says %q", err)
			}
			continue
		}
		if !o.Secret || strings.Contains(o.Args, "hunter") {
			t.Errorf("order %+v", o)
		}
	}
	number := convention.Arg{Name: "pin", Kind: convention.Number, Secret: true, Max: bound(10)}
	for _, typed := range []string{"987654", "98x7", "1,987", "98 °C"} {
		if _, err := check(&number, typed); err == nil || strings.Contains(err.Error(), "98") {
			t.Errorf("%s: %v", typed, err)
		}
	}
}

func TestAnnounced(t *testing.T) {
	c := convention.DeviceCommand{Command: convention.Command{
		Name: "set_target", Topic: "t/set", Payload: `{"t":{{ to }},"id":"{{ transaction }}"}`, Args: []convention.Arg{{Name: "to", Kind: convention.Number}},
		Confirm: &convention.Confirm{Reading: "target", Value: "{{ to }}"},
	}}
	a, err := Announced(&c, nil)
	if err != nil || a.Grade != convention.Operate || a.Expires == 0 {
		t.Fatalf("%+v, %v", a, err)
	}
	o, err := a.Order("21.50", "abc", noon)
	if err != nil || string(o.Payload) != `{"t":21.5,"id":"abc"}` || o.Proof.Reading != "target" {
		t.Fatalf("%+v, %v", o, err)
	}
	for text, want := range map[string]bool{"21.5": true, "21.50": true, "2.15e1": true, "21": false, "": false, "None": false} {
		if o.Proof.Shows(text) != want {
			t.Errorf("%q shows it: %v", text, !want)
		}
	}
	c.Confirm = &convention.Confirm{Topic: "t/answer", Template: "{% if value_json.id == transaction %}{{ value_json.ok and value_json.t == to }}{% endif %}"}
	if a, err = Announced(&c, nil); err != nil {
		t.Fatal(err)
	}
	if o, err = a.Order("21", "abc", noon); err != nil {
		t.Fatal(err)
	}
	for _, m := range []struct {
		payload      string
		done, failed bool
	}{
		{`{"id":"abc","ok":true,"t":21}`, true, false}, {`{"id":"abc","ok":false,"t":21}`, false, true}, {`{"id":"xyz","ok":true,"t":21}`, false, false}, {`garbage`, false, false}, {``, false, false},
	} {
		if done, failed := o.Proof.Judge([]byte(m.payload)); done != m.done || failed != m.failed {
			t.Errorf("%s: done %v, failed %v", m.payload, done, failed)
		}
	}
	for _, bad := range []func(*convention.DeviceCommand){
		func(c *convention.DeviceCommand) { c.Topic = "t/#" },
		func(c *convention.DeviceCommand) { c.Payload = "{{ lipsum }" },
		func(c *convention.DeviceCommand) { c.Confirm = &convention.Confirm{Reading: "x", Value: "{% for %}"} },
	} {
		k := c
		bad(&k)
		if _, err := Announced(&k, nil); err == nil {
			t.Errorf("taken: %+v", k.Command)
		}
	}
}

func TestBare(t *testing.T) {
	want := map[string]bool{"on": true, "off": true, "open": true, "status": true}
	for _, a := range heater(t) {
		if a.Bare() != want[a.Name] {
			t.Errorf("%s: %v", a.Name, a.Bare())
		}
	}
}

// FuzzOrder types anything at all: nothing panics, errors are text, and what a plain text becomes stays in its place.
func FuzzOrder(f *testing.F) {
	for _, s := range []string{"on 40%", "set target 21,5 °C", "say 30 \"x y\" z", `show ","a":"b`, "set color blue=3 red= green=1", "on brightness==3", "unlock 1\n2"} {
		f.Add(s)
	}
	list := heater(f)
	f.Fuzz(func(t *testing.T, typed string) {
		name, rest := cut(typed)
		Suggest(list, name, rest)
		a, args := Find(list, name, rest, true)
		if a == nil {
			return
		}
		o, err := a.Order(args, "tx", noon)
		if err != nil {
			if !utf8.ValidString(err.Error()) {
				t.Errorf("%q: the error is no text", typed)
			}
			return
		}
		if a.Name == "show" && strings.Count(string(o.Payload), `"`) != 4 {
			t.Errorf("%q becomes %q", typed, o.Payload)
		}
		if a.Name == "set_target" && strings.Trim(string(o.Payload), "0123456789.-") != "" {
			t.Errorf("%q becomes %q", typed, o.Payload)
		}
	})
}
