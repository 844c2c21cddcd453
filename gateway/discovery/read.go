package discovery

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gatepost/gatepost/internal/template"
	"github.com/gatepost/gatepost/mqtt/convention"
	"github.com/gatepost/gatepost/mqtt/topic"
)

// unknown is what a template renders, and a convention says, for a value that is not known.
const unknown = "None"

// deliver renders what the sinks make of a message.
func (h *Host) deliver(sinks []sink, m topic.Message) {
	h.begin(m)
	for _, s := range sinks {
		g := s.group
		switch s.use {
		case useReading:
			h.reading(g, s.i, m)
		case useTrigger:
			h.trigger(g, s.i, m)
		case useAvailability:
			h.available(g, s.i, s.j, m)
		}
	}
}

// begin makes a message the one that templates see. Its JSON is decoded once, and only if one asks for it.
func (h *Host) begin(m topic.Message) {
	h.vars["value"], h.vars["value_json"] = template.LazyText(m.Payload), template.LazyJSON(m.Payload)
}

// render gives what a source makes of a message; ok is false when that is no news, or cannot be read.
func (h *Host) render(r *reader, g *group, reading string, m topic.Message) (text string, ok bool) {
	if r.is == nil {
		text = string(m.Payload[:min(len(m.Payload), 64<<10)])
	} else {
		if r.this {
			h.vars["this"] = map[string]any{"state": g.dev.Values[reading].Text, "entity_id": reading, "attributes": map[string]any{}}
		}
		var err error
		text, err = r.is.Render(h.vars)
		delete(h.vars, "this")
		if err != nil {
			return "", false
		}
	}
	text = strings.TrimSpace(text)
	if r.member != "" {
		var o map[string]json.RawMessage
		if json.Unmarshal([]byte(text), &o) != nil || o[r.member] == nil {
			return "", false
		}
		var s string
		if json.Unmarshal(o[r.member], &s) != nil {
			s = string(o[r.member])
		}
		if text = strings.TrimSpace(s); text == "null" {
			text = unknown
		}
	}
	return text, text != ""
}

// reading takes a message for a reading.
func (h *Host) reading(g *group, i int, m topic.Message) {
	r := &g.dev.Is.Readings[i]
	if r.Kind == convention.Image || r.Kind == convention.ImageB64 {
		h.picture(g, i, m)
		return
	}
	if text, ok := h.render(&g.reads[i], g, r.Name, m); ok {
		h.set(g, i, text, m.Time, m.Retained)
	}
}

// picture takes a message that is one.
func (h *Host) picture(g *group, i int, m topic.Message) {
	r := &g.dev.Is.Readings[i]
	data := m.Payload
	if r.Kind == convention.ImageB64 {
		data = make([]byte, base64.StdEncoding.DecodedLen(len(m.Payload)))
		n, err := base64.StdEncoding.Decode(data, m.Payload)
		if err != nil {
			return
		}
		data = data[:n]
	}
	if m.Retained || len(data) == 0 || len(data) > maxPicture {
		return
	}
	h.news.Media = append(h.news.Media, MediaNews{g.id, convention.Media{Key: r.From[0].Key, Name: r.Label, Data: data}, r.Name})
}

// normal is a value in the form that its kind says; known is false if it is not in it.
func normal(r *convention.DeviceReading, text string) (value string, known bool) {
	if text == "" || text == unknown {
		return "", false
	}
	switch r.Kind {
	case convention.OnOff:
		if text != r.On && text != r.Off {
			return "", false
		}
	case convention.Number:
		if f, err := strconv.ParseFloat(text, 64); err != nil || math.IsNaN(f) || math.IsInf(f, 0) || len(text) > convention.MaxWord {
			return "", false
		}
	case convention.Option:
		if len(r.Options) > 0 && !slices.Contains(r.Options, text) {
			return "", false
		}
	}
	if len(text) > maxText || !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text[:min(len(text), maxText)], "")
	}
	return text, true
}

// set gives a reading of an admitted device a value.
func (h *Host) set(g *group, i int, text string, at time.Time, retained bool) {
	r := &g.dev.Is.Readings[i]
	now := Value{At: at}
	now.Text, now.Known = normal(r, text)
	old, had := g.dev.Values[r.Name]
	if retained && had && old.Text == now.Text && old.Known == now.Known {
		return // nobody says how old it is, but it is no newer
	}
	g.dev.Values[r.Name] = now
	h.armReading(g, i, now)
	changed := !had || old.Text != now.Text || old.Known != now.Known
	if changed || at.Sub(old.At) >= keepTime || at.Before(old.At) {
		h.put(g.reads[i].key, valueItem(now))
	}
	if !retained {
		h.news.Readings = append(h.news.Readings, ReadingNews{g.id, r, now.Text})
	}
	if h.alarm(g, i, old, now, at, retained) || changed && urgent(g, r) {
		h.touch(g, true)
	} else {
		h.touch(g, false)
	}
}

// urgent says whether people want to see at once that a reading has changed.
func urgent(g *group, r *convention.DeviceReading) bool {
	if r.Diagnostic || r.Hidden {
		return false
	}
	switch r.Quantity {
	case "door", "garage_door", "window", "opening", "lock", "smoke", "gas", "carbon_monoxide", "moisture", "safety", "tamper", "problem":
		return r.Kind == convention.OnOff
	}
	switch g.dev.Is.Kind {
	case convention.Lock, convention.AlarmPanel:
		return r.Kind != convention.Number
	}
	return false
}

// alarm says whether a new value raises or clears an alarm. That of a retained message is how things are, and no news.
func (h *Host) alarm(g *group, i int, old, now Value, at time.Time, retained bool) (changed bool) {
	for _, j := range g.reads[i].alarms {
		a := &g.dev.Is.Alarms[j]
		was, is := old.Known && slices.Contains(a.Is, old.Text), now.Known && slices.Contains(a.Is, now.Text)
		if was == is {
			continue
		}
		changed = true
		if !retained {
			h.news.Alarms = append(h.news.Alarms, AlarmNews{g.id, convention.Alarm{Key: a.From.Key, Name: a.Name, Text: a.Label, Raised: is, Time: at}})
		}
	}
	return changed
}

// armReading notes when a value is over.
func (h *Host) armReading(g *group, i int, v Value) {
	r := &g.dev.Is.Readings[i]
	after := r.Expires
	if r.OffAfter > 0 && v.Known && v.Text == r.On {
		after = r.OffAfter
	}
	if after <= 0 || !v.Known {
		if g.due != nil {
			g.due[i] = time.Time{}
		}
		return
	}
	if g.due == nil {
		g.due = make([]time.Time, len(g.dev.Is.Readings))
	}
	g.due[i] = v.At.Add(time.Duration(after) * time.Second)
	h.arm(g, g.due[i])
}

// lapse ends a value: it goes off, or is not known any more.
func (h *Host) lapse(g *group, i int, now time.Time) {
	r := &g.dev.Is.Readings[i]
	if v := g.dev.Values[r.Name]; r.OffAfter > 0 && v.Text == r.On {
		h.set(g, i, r.Off, now, false)
		return
	}
	h.set(g, i, unknown, now, false)
}

// values takes what a convention has decoded itself.
func (h *Host) values(name string, f convention.Values, m topic.Message) {
	p := h.parts[partKey{name, f.Key}]
	if p == nil || p.group.stage == Ignored {
		return
	}
	if p.group.stage != Admitted { // kept for when it is
		if p.values == nil {
			p.values = map[string]string{}
		}
		for _, v := range f.Values {
			if _, there := p.values[v.Reading]; (there || len(p.values) < convention.MaxReadings) && len(v.Text) <= maxText {
				p.values[v.Reading] = v.Text
			}
		}
		return
	}
	at := m.Time
	if !f.Time.IsZero() && f.Time.Before(at) {
		at = f.Time
	}
	h.refresh(p.group)
	for _, v := range f.Values {
		if i := readingOf(p, v.Reading); i >= 0 {
			h.set(p.group, i, strings.TrimSpace(v.Text), at, m.Retained)
		}
	}
}

// readingOf finds the reading of a device that a part's reading has become; -1 none.
func readingOf(p *part, name string) int {
	o := convention.Origin{Convention: p.key.convention, Key: p.key.key, Name: name}
	return slices.IndexFunc(p.group.dev.Is.Readings, func(r convention.DeviceReading) bool { return slices.Contains(r.From, o) })
}

// trigger makes an event of a message; an old one is none.
func (h *Host) trigger(g *group, i int, m topic.Message) {
	if m.Retained {
		return
	}
	t := &g.dev.Is.Triggers[i]
	text, ok := h.render(&g.triggers[i], g, "", m)
	if !ok || t.Match != "" && text != t.Match || len(t.Options) > 0 && !slices.Contains(t.Options, text) {
		return
	}
	if said := text; t.Match != "" {
		text = t.Label
	} else if len(said) > convention.MaxName {
		text = fmt.Sprintf("%s: %s…", t.Label, strings.ToValidUTF8(said[:convention.MaxName], ""))
	} else {
		text = t.Label + ": " + said
	}
	h.news.Events = append(h.news.Events, EventNews{g.id, convention.Event{Key: t.From.Key, Name: t.Name, Text: text, Time: m.Time}})
	h.touch(g, false)
}
