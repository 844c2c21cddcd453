package main

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gatepost/gatepost/gateway"
	"github.com/gatepost/gatepost/gateway/discovery"
	"github.com/gatepost/gatepost/internal/config"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/mqtt/convention"
	"github.com/gatepost/gatepost/mqtt/topic"
)

// What a preview keeps, so that any traffic can be looked at for any time.
const (
	maxPreviewTopics = 50_000    // different topics whose last message is kept
	maxPreviewBytes  = 128 << 20 // of their payloads
	maxPreviewRules  = 20_000    // devices of rules
	maxUnmatched     = 20        // topics to name that nothing takes
)

// preview collects a broker's traffic and works out the devices, rooms and commands it would make: what is announced goes to a
// discovery.Host as it does in the gateway, and everything that waits in the end is admitted. Nothing is sent.
type preview struct {
	rules       *gateway.Rules
	conventions []convention.Convention
	opaque      bool // rooms are made encrypted: their names say nothing
	host        *discovery.Host
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
	at      time.Time // zero: not known
	n       int       // how many messages came before, of all topics
}

func newPreview(cfg *config.Config, rules *gateway.Rules, prefixes map[string]string, zone *time.Location) (*preview, error) {
	p := &preview{zone: zone, rules: rules, last: map[string]heard{}, byRule: map[[2]string]*previewRule{}, unmatched: map[string]bool{}}
	var err error
	if p.conventions, err = conventions(cfg); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(prefixes)) {
		c, err := convention.New(name, prefixes[name])
		if err != nil {
			return nil, usageError{err}
		}
		if at := slices.IndexFunc(p.conventions, func(o convention.Convention) bool { return o.Name() == name }); at >= 0 {
			p.conventions[at] = c
		} else {
			p.conventions = append(p.conventions, c)
		}
	}
	if cfg.Matrix != nil {
		e := encryption(cfg.Matrix.Encryption)
		p.opaque = e == gateway.EncryptionDefault || e == gateway.EncryptionRequire
	}
	p.host = discovery.New(discovery.Config{Conventions: p.conventions, Opaque: p.opaque, Owned: rules.Owner})
	return p, nil
}

// take sees one message.
func (p *preview) take(m topic.Message) {
	if m.Time.After(p.now) {
		p.now = m.Time
	}
	wanted := p.tell(m, cmp.Or(m.Time, p.now))
	if t := p.rules.Try(m); t.Rule != "" {
		wanted = true
		at := [2]string{t.Rule, string(t.Device)}
		r := p.byRule[at]
		if r == nil && len(p.byRule) < maxPreviewRules {
			r = &previewRule{Rule: t.Rule, Device: string(t.Device), Name: t.Name, Room: string(t.Room), Class: t.Class.String()}
			p.byRule[at] = r
		}
		if r != nil {
			r.Messages++
		}
	}
	if !wanted && len(p.unmatched) < maxPreviewTopics {
		p.unmatched[m.Topic] = true
	}
	p.messages++
	old, known := p.last[m.Topic]
	if p.bytes+len(m.Payload)-len(old.payload) > maxPreviewBytes || !known && len(p.last) == maxPreviewTopics {
		p.full = true
		return
	}
	p.bytes += len(m.Payload) - len(old.payload)
	p.last[m.Topic] = heard{m.Payload, m.Time, p.messages}
}

// tell gives a message to the host, which keeps everything for a store that there is none of.
func (p *preview) tell(m topic.Message, at time.Time) (wanted bool) {
	m.Time = at
	wanted = p.host.Message(m).Wanted
	p.host.Flush(nil)
	return wanted
}

// admit makes devices of all that was announced, and gives them the last messages on their topics. It says what people must know
// before they agree to each.
func (p *preview) admit() (warnings map[ids.DeviceID][]string) {
	warnings = map[ids.DeviceID][]string{}
	p.host.Tick(p.now.Add(time.Minute)) // nobody announces anything more
	for _, w := range p.host.Proposals() {
		now, _ := p.host.Proposal(w.ID) // others were admitted before it
		warnings[w.ID] = now.Warnings
		if _, err := p.host.Decide(w.ID, discovery.Admit, "", p.now); err != nil {
			p.full = true
		}
	}
	exact, wild := map[string]bool{}, []topic.Filter{}
	for _, f := range p.host.Sources() {
		if exact[f.String()] = true; strings.ContainsAny(f.String(), "+#") {
			wild = append(wild, f)
		}
	}
	names := slices.SortedFunc(maps.Keys(p.last), func(a, b string) int { return cmp.Compare(p.last[a].n, p.last[b].n) })
	for _, name := range names {
		if exact[name] || slices.ContainsFunc(wild, func(f topic.Filter) bool { return f.Match(name) }) {
			p.tell(topic.Message{Topic: name, Payload: p.last[name].payload, Retained: true}, p.last[name].at)
		}
	}
	p.full = p.full || p.host.Left() > 0
	return warnings
}

// previewed is all that a preview found.
type previewed struct {
	Messages  int              `json:"messages"`
	Topics    int              `json:"topics"`
	Devices   []previewDevice  `json:"devices"`
	Rules     []previewRule    `json:"rules"`
	Refused   []previewRefusal `json:"refused"`
	Unmatched []string         `json:"unmatched"` // topics that nothing takes; only some of them
	Others    int              `json:"unmatched_topics"`
	Note      string           `json:"note,omitempty"`
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
	Warnings     []string         `json:"warnings,omitempty"` // what people must know before they admit it
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

// result works out what everything so far would make. It is the end of p.
func (p *preview) result() previewed {
	out := previewed{Messages: p.messages, Topics: len(p.last), Devices: []previewDevice{}, Rules: []previewRule{}, Refused: []previewRefusal{}, Unmatched: []string{}}
	warnings := p.admit()
	for _, id := range p.host.Devices() {
		d := p.device(p.host.Device(id))
		d.Warnings = warnings[id]
		out.Devices = append(out.Devices, d)
	}
	slices.SortStableFunc(out.Devices, func(a, b previewDevice) int { return cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)) })
	for _, at := range slices.SortedFunc(maps.Keys(p.byRule), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) }) {
		out.Rules = append(out.Rules, *p.byRule[at])
	}
	for _, f := range p.host.Refused() {
		out.Refused = append(out.Refused, previewRefusal{cmp.Or(f.Name, f.Key), f.Reason})
	}
	for _, name := range slices.Sorted(maps.Keys(p.unmatched)) {
		if p.host.Wants(name) {
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

// device shows a device with the values that are known.
func (p *preview) device(f *discovery.Device) previewDevice {
	d := f.Is
	d.Name = cmp.Or(strings.TrimSpace(d.Name), string(f.ID))
	shown := previewDevice{
		ID: string(f.ID), Name: d.Name, Kind: strings.ReplaceAll(string(d.Kind), "_", " "), Manufacturer: d.Manufacturer, Model: d.Model, Software: d.Software, Via: d.Via,
		Room: d.Name, Space: d.Area, Readings: []previewReading{}, Commands: []previewCommand{},
		Online: map[discovery.Online]string{discovery.Reachable: "yes", discovery.Unreachable: "no", discovery.Unknown: "unknown"}[f.Online],
	}
	if p.opaque {
		shown.Room, shown.Space = string(f.ID), ""
	}
	for _, o := range d.Parts {
		if !slices.Contains(shown.Conventions, o.Convention) {
			shown.Conventions = append(shown.Conventions, o.Convention)
		}
	}
	for _, r := range d.Refused {
		shown.Refused = append(shown.Refused, previewRefusal{r.Name, r.Reason})
	}
	for _, r := range d.Readings {
		shown.Readings = append(shown.Readings, previewReading{
			Name: r.Name, Label: r.Label, Kind: string(r.Kind), Unit: r.Unit, Value: p.value(f, r), Diagnostic: r.Diagnostic || r.Hidden,
		})
	}
	for _, t := range d.Triggers {
		shown.Events = append(shown.Events, t.Label)
	}
	for _, c := range d.Commands {
		shown.Commands = append(shown.Commands, shownCommand(c))
	}
	for _, a := range d.Alarms {
		shown.Alarms = append(shown.Alarms, a.Label)
	}
	is := *f
	is.Is = d
	text, quick := gateway.PreviewCard(&is, p.conventions, p.now, p.zone)
	shown.Card, shown.Quick = text.Plain, quick
	return shown
}
