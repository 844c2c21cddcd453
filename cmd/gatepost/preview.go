package main

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gatepost/gatepost/gateway"
	"github.com/gatepost/gatepost/gateway/discovery"
	"github.com/gatepost/gatepost/internal/template"
	"github.com/gatepost/gatepost/mqtt/convention"
	"github.com/gatepost/gatepost/mqtt/topic"
)

// What a preview keeps, so that any traffic can be looked at for any time.
const (
	maxPreviewTopics = 50_000    // different topics whose last message is kept
	maxPreviewBytes  = 128 << 20 // of their payloads
	maxPreviewParts  = 20_000    // announced parts of devices
	maxUnmatched     = 20        // topics to name that nothing takes
)

// preview collects a broker's traffic and works out the devices, rooms and commands it would make. Nothing is sent.
type preview struct {
	rules       *gateway.Rules
	conventions []convention.Convention
	states      map[stateKey]convention.State
	parts       map[stateKey]convention.Part
	refused     map[stateKey]convention.Refused
	values      map[convention.Origin]decoded // what Step decoded: by part and reading
	online      map[stateKey]bool
	last        map[string]heard // of each topic
	now         time.Time        // of the latest message
	zone        *time.Location   // of times that are shown
	bytes       int
	byRule      map[[2]string]*previewRule // by rule and device
	unmatched   map[string]bool
	messages    int
	full        bool // something was left out
}

// heard is the last message on a topic.
type heard struct {
	payload []byte
	at      time.Time
}

// decoded is a value that a convention read.
type decoded struct {
	text string
	at   time.Time
}

// stateKey names a State, or a Part, of a convention.
type stateKey struct{ convention, key string }

func newPreview(rules *gateway.Rules, prefixes map[string]string, zone *time.Location) (*preview, error) {
	p := &preview{
		zone:  zone,
		rules: rules, states: map[stateKey]convention.State{}, parts: map[stateKey]convention.Part{}, refused: map[stateKey]convention.Refused{},
		values: map[convention.Origin]decoded{}, online: map[stateKey]bool{}, last: map[string]heard{}, byRule: map[[2]string]*previewRule{}, unmatched: map[string]bool{},
	}
	for _, name := range convention.Names() {
		c, err := convention.New(name, prefixes[name])
		if err != nil {
			return nil, usageError{err}
		}
		p.conventions = append(p.conventions, c)
	}
	for name := range prefixes {
		if _, err := convention.New(name, ""); err != nil {
			return nil, usageError{err}
		}
	}
	return p, nil
}

// take sees one message.
func (p *preview) take(m topic.Message) {
	p.messages++
	if m.Time.After(p.now) {
		p.now = m.Time
	}
	taken := false
	for _, c := range p.conventions {
		key := c.Key(m.Topic)
		if key == "" {
			continue
		}
		at := stateKey{c.Name(), key}
		state, facts := c.Step(p.states[at], m)
		if p.states[at] = state; state == nil {
			delete(p.states, at)
		}
		for _, f := range facts {
			taken = true
			p.fact(c.Name(), f, m.Time)
		}
	}
	if t := p.rules.Try(m); t.Rule != "" {
		taken = true
		at := [2]string{t.Rule, string(t.Device)}
		r := p.byRule[at]
		if r == nil && len(p.byRule) < maxPreviewParts {
			r = &previewRule{Rule: t.Rule, Device: string(t.Device), Name: t.Name, Room: string(t.Room), Class: t.Class.String()}
			p.byRule[at] = r
		}
		if r != nil {
			r.Messages++
		}
	}
	if !taken && len(p.unmatched) < maxPreviewTopics {
		p.unmatched[m.Topic] = true
	}
	old, known := p.last[m.Topic]
	if p.bytes+len(m.Payload)-len(old.payload) > maxPreviewBytes || !known && len(p.last) == maxPreviewTopics {
		p.full = true
		return
	}
	p.bytes += len(m.Payload) - len(old.payload)
	p.last[m.Topic] = heard{m.Payload, m.Time}
}

// fact takes what a convention says of a message that came at this time.
func (p *preview) fact(name string, f convention.Fact, at time.Time) {
	of := func(key string) stateKey { return stateKey{name, key} }
	switch f := f.(type) {
	case convention.Part:
		if len(p.parts) == maxPreviewParts {
			p.full = true
			return
		}
		delete(p.refused, of(f.Key))
		p.parts[of(f.Key)] = f
	case convention.Gone:
		delete(p.refused, of(f.Key))
		delete(p.parts, of(f.Key))
	case convention.Refused:
		delete(p.parts, of(f.Key))
		if len(p.refused) < maxPreviewParts {
			p.refused[of(f.Key)] = f
		}
	case convention.Online:
		p.online[of(f.Key)] = f.Online
	case convention.Values:
		for _, v := range f.Values {
			if len(p.values) < 10*maxPreviewParts {
				p.values[convention.Origin{Convention: name, Key: f.Key, Name: v.Reading}] = decoded{v.Text, at}
			}
		}
	}
}

// previewed is all that a preview found.
type previewed struct {
	Messages  int               `json:"messages"`
	Topics    int               `json:"topics"`
	Devices   []previewDevice   `json:"devices"`
	Rules     []previewRule     `json:"rules"`
	Refused   []previewRefusal  `json:"refused"`
	Unmatched []string          `json:"unmatched"` // topics that nothing takes; only some of them
	Others    int               `json:"unmatched_topics"`
	Note      string            `json:"note,omitempty"`
	templates map[string]string // what is wrong with a template; "" nothing
}

// previewDevice is a device that a convention announces, and its room.
type previewDevice struct {
	ID           string           `json:"id"`
	Name         string           `json:"name"`
	Kind         string           `json:"kind,omitempty"`
	Manufacturer string           `json:"manufacturer,omitempty"`
	Model        string           `json:"model,omitempty"`
	Software     string           `json:"software,omitempty"`
	Via          string           `json:"via,omitempty"`
	Room         string           `json:"room"`            // its name
	Space        string           `json:"space,omitempty"` // its name
	Conventions  []string         `json:"conventions"`
	Online       string           `json:"online"`                  // yes, no or unknown
	Card         string           `json:"card"`                    // its text
	Quick        []string         `json:"quick_actions,omitempty"` // the reactions under it
	Readings     []previewReading `json:"readings"`
	Commands     []previewCommand `json:"commands"`
	Events       []string         `json:"events,omitempty"`
	Alarms       []string         `json:"alarms,omitempty"`
	Refused      []previewRefusal `json:"refused,omitempty"`
}

type previewReading struct {
	Name       string `json:"name"`
	Label      string `json:"label"`
	Kind       string `json:"kind"`
	Unit       string `json:"unit,omitempty"`
	Value      string `json:"value,omitempty"` // "" not known yet
	Diagnostic bool   `json:"diagnostic,omitempty"`
}

type previewCommand struct {
	Name  string   `json:"name"`
	Label string   `json:"label"`
	Usage string   `json:"usage"` // "!set_brightness VALUE"
	Args  []string `json:"args,omitempty"`
	Grade string   `json:"grade"`
	Topic string   `json:"topic"`
	Shown string   `json:"confirmed_by,omitempty"` // the reading that shows that it was done
}

// previewRule is a device that a rule of the configuration makes.
type previewRule struct {
	Rule     string `json:"rule"`
	Device   string `json:"device"`
	Name     string `json:"name"`
	Room     string `json:"room"`
	Class    string `json:"class"`
	Messages int    `json:"messages"`
}

type previewRefusal struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// result works out what everything so far would make.
func (p *preview) result() previewed {
	out := previewed{
		Messages: p.messages, Topics: len(p.last), templates: map[string]string{}, Devices: []previewDevice{}, Rules: []previewRule{}, Refused: []previewRefusal{}, Unmatched: []string{},
	}
	sources := map[string]bool{} // topics that readings take, so they are not unmatched
	parts := slices.Collect(maps.Values(p.parts))
	for _, d := range convention.Merge(parts) {
		out.Devices = append(out.Devices, p.device(&out, d, sources))
	}
	slices.SortStableFunc(out.Devices, func(a, b previewDevice) int { return cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)) })
	for _, at := range slices.SortedFunc(maps.Keys(p.byRule), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) }) {
		out.Rules = append(out.Rules, *p.byRule[at])
	}
	for _, at := range slices.SortedFunc(maps.Keys(p.refused), compareKeys) {
		f := p.refused[at]
		out.Refused = append(out.Refused, previewRefusal{cmp.Or(f.Name, at.key), f.Reason})
	}
	for _, name := range slices.Sorted(maps.Keys(p.unmatched)) {
		if sources[name] {
			continue
		}
		if out.Others++; len(out.Unmatched) < maxUnmatched {
			out.Unmatched = append(out.Unmatched, name)
		}
	}
	if p.full {
		out.Note = "there was more traffic than a preview keeps; some devices or values may be missing"
	}
	return out
}

func compareKeys(a, b stateKey) int {
	return cmp.Or(cmp.Compare(a.convention, b.convention), cmp.Compare(a.key, b.key))
}

// device shows one merged device with the values that are known.
func (p *preview) device(out *previewed, d convention.Device, sources map[string]bool) previewDevice {
	name := cmp.Or(d.Name, d.ID)
	shown := previewDevice{
		ID: d.ID, Name: name, Kind: strings.ReplaceAll(string(d.Kind), "_", " "), Manufacturer: d.Manufacturer, Model: d.Model, Software: d.Software, Via: d.Via,
		Room: name, Space: d.Area, Online: "unknown", Readings: []previewReading{}, Commands: []previewCommand{},
	}
	for _, o := range d.Parts {
		if !slices.Contains(shown.Conventions, o.Convention) {
			shown.Conventions = append(shown.Conventions, o.Convention)
		}
		if online, known := p.online[stateKey{o.Convention, o.Key}]; known {
			shown.Online = yesNo(online)
		}
	}
	refuse := func(name, reason string) { shown.Refused = append(shown.Refused, previewRefusal{name, reason}) }
	for _, r := range d.Refused {
		refuse(r.Name, r.Reason)
	}
	for _, a := range d.Availability {
		p.topics(sources, topicsOf(a)...)
		if online, known := p.available(out, a); known && shown.Online != "yes" {
			shown.Online = yesNo(online)
		}
	}
	is := discovery.Device{Is: d, Values: map[string]discovery.Value{}}
	is.Is.Name, is.Is.Readings = name, nil
	is.Online = map[string]discovery.Online{"yes": discovery.Reachable, "no": discovery.Unreachable}[shown.Online]
	for _, r := range d.Readings {
		p.topics(sources, r.Source.Topic)
		if why := out.template(r.Source.Template); why != "" {
			refuse(r.Label, "its template is not supported: "+why)
			continue
		}
		value := p.value(out, r)
		shown.Readings = append(shown.Readings, previewReading{
			Name: r.Name, Label: r.Label, Kind: string(r.Kind), Unit: r.Unit, Value: spokenValue(r, value.text), Diagnostic: r.Diagnostic || r.Hidden,
		})
		is.Is.Readings = append(is.Is.Readings, r)
		if value.text != "" {
			is.Values[r.Name] = discovery.Value{Text: value.text, Known: true, At: value.at}
		}
	}
	for _, t := range d.Triggers {
		p.topics(sources, t.Source.Topic)
		if why := out.template(t.Source.Template); why != "" {
			refuse(t.Label, "its template is not supported: "+why)
			continue
		}
		shown.Events = append(shown.Events, t.Label)
	}
	for _, c := range d.Commands {
		if why := out.template(c.Payload); why != "" {
			refuse(c.Label, "its template is not supported: "+why)
			continue
		}
		shown.Commands = append(shown.Commands, shownCommand(c))
	}
	for _, a := range d.Alarms {
		shown.Alarms = append(shown.Alarms, a.Label)
	}
	text, quick := gateway.PreviewCard(&is, p.conventions, p.now, p.zone)
	shown.Card, shown.Quick = text.Plain, quick
	return shown
}

func yesNo(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}

func topicsOf(a convention.Availability) []string {
	var out []string
	for _, s := range a.Sources {
		out = append(out, s.Topic)
	}
	return out
}

// topics remembers which topics are taken by readings.
func (p *preview) topics(sources map[string]bool, filters ...string) {
	for _, f := range filters {
		if !strings.ContainsAny(f, "+#") {
			sources[f] = true
			continue
		}
		for name := range p.matching(f) {
			sources[name] = true
		}
	}
}

// matching are the last messages of the topics that a filter matches.
func (p *preview) matching(filter string) map[string]heard {
	f, err := topic.ParseFilter(filter)
	if err != nil {
		return nil
	}
	out := map[string]heard{}
	for name, m := range p.last {
		if f.Match(name) {
			out[name] = m
		}
	}
	return out
}

// template says what is wrong with a template, "" if nothing.
func (out *previewed) template(src string) string {
	why, known := out.templates[src]
	if !known {
		if _, err := template.Compile(src); err != nil {
			why = err.Error()
		}
		out.templates[src] = why
	}
	return why
}
