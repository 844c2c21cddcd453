package discovery

import (
	"slices"
	"strings"

	"github.com/gatepost/gatepost/internal/template"
	"github.com/gatepost/gatepost/mqtt/convention"
)

// compiled is a template, or what is wrong with it.
type compiled struct {
	is   *template.Template
	this bool // it asks for its own state
	why  string
}

// reader renders a source.
type reader struct {
	is     *template.Template // nil: the payload as it is
	this   bool
	member string
	key    string // of a reading: of its value in the store
	alarms []int  // of a reading: indexes of the alarm rules about it
}

// compile compiles a template under the allow-list of package template, once for all who have the same.
func (h *Host) compile(src string) compiled {
	c, known := h.templates[src]
	if known {
		return c
	}
	t, err := template.Compile(src)
	if c.is = t; err != nil {
		c.is, c.why = nil, err.Error()
	}
	c.this = strings.Contains(src, "this")
	if len(h.templates) >= maxTemplates {
		clear(h.templates) // those in use are kept by their users
	}
	h.templates[src] = c
	return c
}

// refresh makes g.dev.Is what its parts say. Values stay with their readings whatever these are called now. What has a
// template that is not supported is refused by name.
func (h *Host) refresh(g *group) {
	if !g.stale {
		return
	}
	g.stale = false
	if len(g.parts) == 0 {
		return // withdrawn for now: what is known stays
	}
	parts := make([]convention.Part, 0, len(g.parts))
	for _, p := range g.parts {
		parts = append(parts, p.is)
	}
	was := g.dev.Is
	h.unindex(g)
	g.dev.Is = convention.Join(parts)
	h.refuse(&g.dev.Is)
	if g.stage != Admitted {
		return
	}
	h.carry(g, was)
	h.indexGroup(g)
	h.news.Changed = append(h.news.Changed, g.id)
	h.touch(g, false)
}

// refuse takes out what cannot be rendered, and says so.
func (h *Host) refuse(d *convention.Device) {
	bad := func(name string, templates ...string) bool {
		for _, src := range templates {
			if src == "" {
				continue
			}
			if c := h.compile(src); c.why != "" {
				d.Refused = append(d.Refused, convention.Refusal{Name: name, Reason: "its template is not supported: " + c.why})
				return true
			}
		}
		return false
	}
	d.Refused = slices.Clip(d.Refused)
	wild := h.wild()
	listen := func(name, filter string) bool {
		if !strings.ContainsAny(filter, "+#") {
			return false
		}
		if wild++; wild > maxWild {
			d.Refused = append(d.Refused, convention.Refusal{Name: name, Reason: "too many devices want to hear topics with wildcards"})
			return true
		}
		return false
	}
	lost := map[string]bool{}
	d.Readings = slices.DeleteFunc(d.Readings, func(r convention.DeviceReading) bool {
		no := listen(r.Label, r.Source.Topic) || bad(r.Label, r.Source.Template)
		lost[r.Name] = no
		return no
	})
	d.Triggers = slices.DeleteFunc(d.Triggers, func(t convention.DeviceTrigger) bool {
		return listen(t.Label, t.Source.Topic) || bad(t.Label, t.Source.Template)
	})
	d.Commands = slices.DeleteFunc(d.Commands, func(c convention.DeviceCommand) bool {
		if c.Confirm != nil {
			return bad(c.Label, c.Payload, c.Confirm.Value, c.Confirm.Template)
		}
		return bad(c.Label, c.Payload)
	})
	for i := range d.Commands {
		if c := d.Commands[i].Confirm; c != nil && c.Reading != "" && lost[c.Reading] {
			d.Commands[i].Confirm = nil
		}
	}
	d.Alarms = slices.DeleteFunc(d.Alarms, func(a convention.DeviceAlarm) bool { return lost[a.Reading] })
	for i, a := range d.Availability {
		d.Availability[i].Sources = slices.DeleteFunc(slices.Clone(a.Sources), func(s convention.AvailabilitySource) bool {
			return listen("availability", s.Topic) || bad("availability", s.Template)
		})
	}
}

// wild is how many filters with wildcards sources have.
func (h *Host) wild() int { return len(h.index.wild) }

// carry gives the values of the readings before to those of now, and forgets the others.
func (h *Host) carry(g *group, was convention.Device) {
	before := map[convention.Origin]Value{}
	for _, r := range was.Readings {
		if v, ok := g.dev.Values[r.Name]; ok {
			for _, o := range r.From {
				before[o] = v
			}
		}
	}
	now := make(map[string]Value, len(before))
	for _, r := range g.dev.Is.Readings {
		for _, o := range r.From {
			if v, ok := before[o]; ok {
				now[r.Name] = v
				break
			}
		}
	}
	if len(was.Readings) == 0 { // just loaded, or admitted
		return
	}
	for name, v := range g.dev.Values {
		if n, ok := now[name]; !ok || n != v {
			h.drop(valueKey(g.id, name))
		}
	}
	for name, v := range now {
		if o, ok := g.dev.Values[name]; !ok || o != v {
			h.put(valueKey(g.id, name), valueItem(v))
		}
	}
	g.dev.Values = now
}

// indexGroup makes the messages of what g names its own. g is admitted.
func (h *Host) indexGroup(g *group) {
	d := &g.dev.Is
	want := func(filter string, s sink) {
		h.index.put(filter, s)
		g.filters = append(g.filters, filter)
	}
	read := func(s convention.Source) reader {
		r := reader{member: s.Member}
		if s.Template != "" {
			c := h.compile(s.Template)
			r.is, r.this = c.is, c.this
		}
		return r
	}
	g.reads, g.triggers = make([]reader, len(d.Readings)), make([]reader, len(d.Triggers))
	for i, r := range d.Readings {
		g.reads[i] = read(r.Source)
		g.reads[i].key = valueKey(g.id, r.Name)
		for j, a := range d.Alarms {
			if a.Reading == r.Name {
				g.reads[i].alarms = append(g.reads[i].alarms, j)
			}
		}
		if r.Source.Topic != "" {
			want(r.Source.Topic, sink{g, useReading, i, 0})
		}
	}
	for i, t := range d.Triggers {
		if g.triggers[i] = read(t.Source); t.Source.Topic != "" {
			want(t.Source.Topic, sink{g, useTrigger, i, 0})
		}
	}
	old := g.avail
	g.avail = make([]judge, len(d.Availability))
	for i, a := range d.Availability {
		g.avail[i] = newJudge(a, old)
		for j, s := range a.Sources {
			g.avail[i].reads[j] = read(s.Source)
			want(s.Topic, sink{g, useAvailability, i, j})
		}
	}
	for _, c := range d.Commands {
		if len(g.allowed) < 2*convention.MaxCommands {
			g.allowed[c.Topic] = true
		}
		if !slices.Contains(g.topics, c.Topic) {
			h.commands[c.Topic] = append(h.commands[c.Topic], g)
			g.topics = append(g.topics, c.Topic)
		}
		if c.Confirm != nil && c.Confirm.Topic != "" {
			want(c.Confirm.Topic, sink{g, useAnswer, 0, 0})
		}
	}
	g.due = nil
	for i, r := range d.Readings {
		if v, ok := g.dev.Values[r.Name]; ok {
			h.armReading(g, i, v)
		}
	}
	h.news.Topics = true
}

// unindex takes back what indexGroup did.
func (h *Host) unindex(g *group) {
	for _, f := range g.filters {
		h.index.remove(f, g)
	}
	for _, t := range g.topics {
		h.commands[t] = slices.DeleteFunc(h.commands[t], func(o *group) bool { return o == g })
		if len(h.commands[t]) == 0 {
			delete(h.commands, t)
		}
	}
	if len(g.filters) > 0 {
		h.news.Topics = true
	}
	g.filters, g.topics = nil, nil
}
