package convention

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/gatepost/gatepost/mqtt/topic"
)

// update rewrites what captures must become: go test ./mqtt/convention -update; then read the difference.
var update = flag.Bool("update", false, "rewrite the expectations in testdata")

// capture is one file of testdata/<convention>/: a comment that says what it is and where its shape is from, the messages
// ("in"), and what they must become ("facts", and "devices" after Merge). A second line "prefix: …" of the comment sets one.
type capture struct {
	file     string
	archive  *txtar.Archive
	messages []topic.Message
	prefix   string
}

func captures(t testing.TB, name string) []capture {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", name, "*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	var out []capture
	for _, file := range files {
		a, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		c := capture{file: file, archive: a}
		for line := range strings.Lines(string(a.Comment)) {
			if p, ok := strings.CutPrefix(line, "prefix: "); ok {
				c.prefix = strings.TrimSpace(p)
			}
		}
		if err := ReadCapture(bytes.NewReader(section(a, "in")), func(m topic.Message) error {
			c.messages = append(c.messages, m)
			return nil
		}); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		out = append(out, c)
	}
	return out
}

func section(a *txtar.Archive, name string) []byte {
	for _, f := range a.Files {
		if f.Name == name {
			return f.Data
		}
	}
	return nil
}

func setSection(a *txtar.Archive, name string, data []byte) {
	for i := range a.Files {
		if a.Files[i].Name == name {
			a.Files[i].Data = data
			return
		}
	}
	a.Files = append(a.Files, txtar.File{Name: name, Data: data})
}

// made makes a convention that the test knows to be there.
func made(t testing.TB, name, prefix string) Convention {
	t.Helper()
	c, err := New(name, prefix)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// player feeds messages to one convention, as its user does.
type player struct {
	t      testing.TB
	c      Convention
	states map[string]State
	parts  map[string]Part
}

func newPlayer(t testing.TB, c Convention) *player {
	return &player{t: t, c: c, states: map[string]State{}, parts: map[string]Part{}}
}

// play steps and checks what holds for every message, whatever it is.
func (p *player) play(m topic.Message) []Fact {
	key := p.c.Key(m.Topic)
	if key == "" {
		return nil
	}
	old := p.states[key]
	before, payload := slices.Clone(old), slices.Clone(m.Payload)
	state, facts := p.c.Step(old, m)
	if !bytes.Equal(before, old) || !bytes.Equal(payload, m.Payload) {
		p.t.Fatalf("%s: Step changed what it was given", m.Topic)
	}
	again, same := p.c.Step(before, m)
	if !bytes.Equal(state, again) || dumpAll(facts) != dumpAll(same) {
		p.t.Fatalf("%s: Step does not give the same twice:\n%s\n%s", m.Topic, dumpAll(facts), dumpAll(same))
	}
	if len(state) > MaxState {
		p.t.Fatalf("%s: a state of %d bytes", m.Topic, len(state))
	}
	if p.states[key] = state; state == nil {
		delete(p.states, key)
	}
	for _, f := range facts {
		p.check(m, f)
		switch f := f.(type) {
		case Part:
			p.parts[f.Key] = f
		case Gone:
			delete(p.parts, f.Key)
		}
	}
	return facts
}

// check is what is promised of every fact.
func (p *player) check(m topic.Message, f Fact) {
	bad := func(format string, args ...any) {
		p.t.Helper()
		p.t.Fatalf("%s: %s\nin %s", m.Topic, fmt.Sprintf(format, args...), dump(f))
	}
	line := func(what, s string, most int) {
		if !utf8.ValidString(s) || len(s) > most || clean(s, most) != s {
			bad("%s %q is not clean", what, s)
		}
	}
	name := func(what, s string) {
		if s == "" || len(s) > MaxWord || word(s) != s {
			bad("%s %q is no name", what, s)
		}
	}
	switch f := f.(type) {
	case Part:
		if err := checkPart(f, p.c.Name(), line, name); err != "" {
			bad("%s", err)
		}
	case Event:
		if m.Retained {
			bad("a retained message made an event")
		}
		name("event", f.Name)
		line("text", f.Text, MaxName)
	case Alarm:
		name("alarm", f.Name)
		line("text", f.Text, MaxName)
	case Values:
		if len(f.Values) > MaxReadings {
			bad("%d values", len(f.Values))
		}
		part, known := p.parts[f.Key]
		for _, v := range f.Values {
			name("reading", v.Reading)
			if !utf8.ValidString(v.Text) || len(v.Text) > MaxPayload {
				bad("value %q", v.Text)
			}
			if known && !slices.ContainsFunc(part.Readings, func(r Reading) bool { return r.Name == v.Reading }) {
				bad("%s has no reading %s", f.Key, v.Reading)
			}
		}
	case Online:
		line("reason", f.Reason, MaxName)
	case Refused:
		line("name", f.Name, MaxName)
		line("reason", f.Reason, MaxName)
		if f.Reason == "" {
			bad("no reason")
		}
	case Publish:
		if why := topic.ValidTopic(f.Topic); why != nil || f.Topic[0] == '$' {
			bad("publish to %q", f.Topic)
		}
	case Answer:
		line("transaction", f.Transaction, MaxName)
		line("reason", f.Reason, MaxName)
	case Position:
		if f.Latitude < -90 || f.Latitude > 90 || f.Longitude < -180 || f.Longitude > 180 || f.Accuracy < 0 {
			bad("no such place")
		}
	}
}

// checkPart says what is wrong with a part; line and name fail by themselves.
func checkPart(p Part, convention string, line func(string, string, int), name func(string, string)) string {
	unique := map[string]bool{}
	once := func(kind, s string) {
		name(kind, s)
		if unique[kind+" "+s] {
			name(kind+" twice", "")
		}
		unique[kind+" "+s] = true
	}
	source := func(s Source) string {
		switch {
		case s.Topic == "":
			return "" // Step yields it
		case readable(s.Topic) != "":
			return fmt.Sprintf("topic %q %s", s.Topic, readable(s.Topic))
		case len(s.Template) > MaxTemplate || !utf8.ValidString(s.Template):
			return "a template too long"
		}
		return ""
	}
	switch {
	case p.Convention != convention:
		return "the convention's name is missing"
	case p.Key == "" || len(p.Key) > MaxTopic:
		return "bad key"
	case len(p.IDs) == 0 || len(p.IDs) > MaxIDs:
		return "identifiers: none, or too many"
	case len(p.Readings) > MaxReadings || len(p.Commands) > MaxCommands || len(p.Triggers) > MaxReadings || len(p.Alarms) > MaxReadings:
		return "too many readings or commands"
	case !slices.Contains(Kinds(), p.Kind):
		return "no such kind: " + string(p.Kind)
	case word(p.Component) != p.Component:
		return "component " + p.Component
	}
	for _, id := range p.IDs {
		line("identifier", id, MaxID)
		if !strings.Contains(id, ":") {
			return "identifier without a kind: " + id
		}
	}
	for _, s := range []string{p.Label, p.Name, p.Manufacturer, p.Model, p.Software, p.Area} {
		line("text", s, MaxName)
	}
	line("via", p.Via, MaxID)
	readings := map[string]bool{}
	for _, r := range p.Readings {
		once("reading", r.Name)
		readings[r.Name] = true
		line("label", r.Label, MaxName)
		line("unit", r.Unit, MaxWord)
		if r.Kind == "" || len(r.Options) > MaxOptions {
			return "reading " + r.Name
		}
		for _, o := range r.Options {
			line("option", o, MaxName)
		}
		if why := source(r.Source); why != "" {
			return why
		}
	}
	for _, t := range p.Triggers {
		once("trigger", t.Name)
		line("label", t.Label, MaxName)
		if why := source(t.Source); why != "" || t.Source.Topic == "" {
			return "trigger " + t.Name + " " + why
		}
	}
	for _, c := range p.Commands {
		once("command", c.Name)
		line("label", c.Label, MaxName)
		if why := publishable(c.Topic); why != "" {
			return fmt.Sprintf("command %s: %q: %s", c.Name, c.Topic, why)
		}
		if len(c.Args) > MaxArgs || len(c.Payload) > MaxTemplate || c.QoS > 1 || !slices.Contains([]Grade{Read, Operate, Dangerous}, c.Grade) {
			return "command " + c.Name
		}
		args := map[string]bool{}
		for _, a := range c.Args {
			name("argument", a.Name)
			if args[a.Name] || a.Kind == "" || len(a.Options) > MaxOptions || a.Min != nil && a.Max != nil && *a.Min > *a.Max || a.Step < 0 {
				return "argument " + a.Name + " of " + c.Name
			}
			args[a.Name] = true
			line("label", a.Label, MaxName)
			line("unit", a.Unit, MaxWord)
		}
		if f := c.Confirm; f != nil {
			n := 0
			for _, is := range []bool{f.Reading != "", f.Topic != "", f.Answer} {
				if is {
					n++
				}
			}
			if n != 1 || f.Reading != "" && !readings[f.Reading] || f.Topic != "" && readable(f.Topic) != "" {
				return "confirmation of " + c.Name
			}
		}
	}
	if len(p.Availability.Sources) > MaxSources {
		return "too many availability topics"
	}
	for _, s := range p.Availability.Sources {
		if why := source(s.Source); why != "" || s.Topic == "" {
			return "availability " + why
		}
	}
	for _, a := range p.Alarms {
		once("alarm", a.Name)
		line("label", a.Label, MaxName)
		if !readings[a.Reading] || len(a.Is) == 0 {
			return "alarm " + a.Name
		}
	}
	for _, r := range p.Refused {
		line("refused", r.Name, MaxName)
		line("reason", r.Reason, MaxName)
		if r.Reason == "" {
			return "refused without a reason"
		}
	}
	return ""
}

func (p *player) devices() []Device {
	var all []Part
	for _, part := range p.parts {
		all = append(all, part)
	}
	return Merge(all)
}

// TestCaptures is the suite's first promise: captured messages become what is written beside them.
func TestCaptures(t *testing.T) {
	for _, name := range Names() {
		all := captures(t, name)
		if len(all) == 0 {
			t.Errorf("%s has no captures in testdata/%s", name, name)
		}
		for _, c := range all {
			t.Run(filepath.ToSlash(strings.TrimSuffix(strings.TrimPrefix(c.file, "testdata"+string(filepath.Separator)), ".txtar")), func(t *testing.T) {
				if !bytes.Contains(c.archive.Comment, []byte("Source: ")) {
					t.Error("the comment does not say where it is from (Source: …)")
				}
				p := newPlayer(t, made(t, name, c.prefix))
				var facts strings.Builder
				for _, m := range c.messages {
					facts.WriteString(dumpAll(p.play(m)))
				}
				var devices strings.Builder
				for _, d := range p.devices() {
					devices.WriteString(dumpDevice(d))
				}
				if *update {
					setSection(c.archive, "facts", []byte(facts.String()))
					setSection(c.archive, "devices", []byte(devices.String()))
					if err := os.WriteFile(c.file, txtar.Format(c.archive), 0o644); err != nil {
						t.Fatal(err)
					}
					return
				}
				compare(t, "facts", string(section(c.archive, "facts")), facts.String())
				compare(t, "devices", string(section(c.archive, "devices")), devices.String())
			})
		}
	}
}

// compare shows the first lines that differ.
func compare(t *testing.T, what, want, got string) {
	t.Helper()
	if want == got {
		return
	}
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		var a, b string
		if i < len(w) {
			a = w[i]
		}
		if i < len(g) {
			b = g[i]
		}
		if a != b {
			t.Errorf("%s, line %d:\nwant %s\ngot  %s", what, i+1, a, b)
			return
		}
	}
}

// TestAnyOrder: whatever the order, however often, cut off or spoilt: nothing breaks, every promise of check holds, and the
// good messages in the end make the same devices where their order does not matter: announcements do not depend on it.
func TestAnyOrder(t *testing.T) {
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			for _, c := range captures(t, name) {
				random := rand.New(rand.NewPCG(1, 2))
				p := newPlayer(t, made(t, name, c.prefix))
				for range 3 {
					for _, i := range random.Perm(len(c.messages)) {
						m := c.messages[i]
						m.Retained = random.IntN(2) == 0
						p.play(m)
						m.Payload = spoil(random, m.Payload)
						p.play(m)
						m.Payload = nil
						if random.IntN(4) == 0 {
							p.play(m)
						}
					}
				}
			}
		})
	}
}

// spoil cuts a payload, turns some of its bytes, or repeats a piece of it.
func spoil(random *rand.Rand, payload []byte) []byte {
	out := slices.Clone(payload)
	if len(out) == 0 {
		return []byte{byte(random.Uint32())}
	}
	switch random.IntN(3) {
	case 0:
		return out[:random.IntN(len(out))]
	case 1:
		for range 1 + random.IntN(4) {
			out[random.IntN(len(out))] = byte(random.Uint32())
		}
		return out
	default:
		from := random.IntN(len(out))
		to := from + random.IntN(len(out)-from)
		return append(out[:to:to], out[from:]...)
	}
}

// TestRetainedReplay: all again as retained messages changes nothing, and makes no events.
func TestRetainedReplay(t *testing.T) {
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			for _, c := range captures(t, name) {
				p := newPlayer(t, made(t, name, c.prefix))
				for _, m := range c.messages {
					p.play(m)
				}
				before := fmt.Sprint(len(p.parts))
				for _, m := range c.messages {
					m.Retained = true
					p.play(m)
				}
				if after := fmt.Sprint(len(p.parts)); before != after {
					t.Errorf("%s: %s parts became %s", c.file, before, after)
				}
			}
		})
	}
}

// TestHostilePayloads puts what attackers send in the place of every captured payload.
func TestHostilePayloads(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000)
	list := strings.Repeat("[", 100_000)
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			for _, c := range captures(t, name) {
				p := newPlayer(t, made(t, name, c.prefix))
				for _, m := range c.messages {
					for _, payload := range []string{
						"", "{", "[]", "null", "0", `""`, "{}", `{"":""}`, deep, list, "\x00\x01\x02", "\xff\xfe", strings.Repeat("a", MaxInventory+1),
						strings.Repeat(`{"a":1},`, 100), `{"a":` + strings.Repeat("9", 400) + `}`,
					} {
						hostile := m
						hostile.Payload = []byte(payload)
						p.play(hostile)
					}
					p.play(m) // it still lives
				}
			}
		})
	}
}

// nasty are values that must never become part of a topic or a name as they are.
func nasty() []string {
	return []string{
		"a/b", "#", "+", "a/#", "..", "../../etc/passwd", "$SYS/broker", "a\x00b", "a\nb", "a\u202eb", "\u0430dmin", "", " ", "{{ 1 }}", "{% include 'x' %}", "{site}",
		strings.Repeat("x", 5000), "homeassistant/sensor/x/config", "é\u0301", "'", `"`, `\`, "@room", "<b>x</b>", "\ufeffa",
	}
}

// TestNastyWords puts nasty words in place of each text of captured JSON payloads, and of each level of their topics.
func TestNastyWords(t *testing.T) {
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(3, 4))
			for _, c := range captures(t, name) {
				p := newPlayer(t, made(t, name, c.prefix))
				for _, m := range c.messages {
					for _, w := range nasty() {
						if random.IntN(4) != 0 {
							continue // each word meets some messages of each convention; all would take long
						}
						hostile := m
						hostile.Payload = swapTexts(random, m.Payload, w)
						p.play(hostile)
						levels := strings.Split(m.Topic, "/")
						levels[random.IntN(len(levels))] = w
						if hostile.Topic = strings.Join(levels, "/"); topic.ValidTopic(hostile.Topic) == nil {
							p.play(hostile)
						}
					}
				}
			}
		})
	}
}

// TestNames: the registry is what it says.
func TestNames(t *testing.T) {
	for _, k := range registry() {
		c := made(t, k.name, "")
		if c.Name() != k.name {
			t.Errorf("%s calls itself %s", k.name, c.Name())
		}
		if len(c.Filters()) == 0 {
			t.Errorf("%s subscribes to nothing", k.name)
		}
		for _, f := range c.Filters() {
			if f.String() == "#" || strings.HasPrefix(f.String(), "+/#") {
				t.Errorf("%s subscribes to %s", k.name, f)
			}
		}
		for _, prefix := range []string{"a/#", "$SYS", "a/"} {
			if _, err := New(k.name, prefix); err == nil {
				t.Errorf("%s takes the prefix %q", k.name, prefix)
			}
		}
		for _, capture := range captures(t, k.name) {
			c := made(t, k.name, capture.prefix)
			for _, m := range capture.messages {
				if c.Key(m.Topic) != "" && !slices.ContainsFunc(c.Filters(), func(f topic.Filter) bool { return f.Match(m.Topic) }) {
					t.Errorf("%s: nothing subscribes to %s", capture.file, m.Topic)
				}
			}
		}
	}
	if _, err := New("telepathy", ""); err == nil {
		t.Error("telepathy is a convention")
	}
}

// FuzzStep feeds anything to all conventions.
func FuzzStep(f *testing.F) {
	for _, name := range Names() {
		for _, c := range captures(f, name) {
			for i, m := range c.messages {
				if i < 8 && len(m.Payload) < 4096 {
					f.Add(m.Topic, m.Payload, m.Retained)
				}
			}
		}
	}
	f.Fuzz(func(t *testing.T, name string, payload []byte, retained bool) {
		if topic.ValidTopic(name) != nil {
			return
		}
		for _, n := range Names() {
			p := newPlayer(t, made(t, n, ""))
			m := topic.Message{Topic: name, Payload: payload, Retained: retained}
			p.play(m)
			p.play(m)
			p.devices()
		}
	})
}
