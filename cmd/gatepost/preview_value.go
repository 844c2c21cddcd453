package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gatepost/gatepost/internal/template"
	"github.com/gatepost/gatepost/mqtt/convention"
)

// render is what a source makes of the last message on its topic, and when that came; ok is false if there is none, or no news
// in it.
func (p *preview) render(out *previewed, s convention.Source) (text string, at time.Time, ok bool) {
	last, known := p.last[s.Topic]
	if !known && strings.ContainsAny(s.Topic, "+#") {
		all := p.matching(s.Topic)
		for _, name := range slices.Sorted(maps.Keys(all)) {
			last, known = all[name], true
		}
	}
	if !known {
		return "", at, false
	}
	payload := last.payload
	text = string(payload)
	if s.Template != "" {
		if out.template(s.Template) != "" {
			return "", at, false
		}
		t, err := template.Compile(s.Template)
		if err != nil {
			return "", at, false
		}
		text, err = t.Render(map[string]any{"value": template.LazyText(payload), "value_json": template.LazyJSON(payload)})
		if err != nil {
			return "", at, false
		}
	}
	if text = strings.TrimSpace(text); s.Member != "" {
		var o map[string]any
		if json.Unmarshal([]byte(text), &o) != nil || o[s.Member] == nil {
			return "", at, false
		}
		text = fmt.Sprint(o[s.Member])
	}
	return text, last.at, text != ""
}

// value is what a reading says now, as gatepost reads it; of a picture it is the size. The text is "" when it is unknown.
func (p *preview) value(out *previewed, r convention.DeviceReading) decoded {
	var v decoded
	var ok bool
	switch {
	case r.Source.Topic == "":
		v, ok = p.values[r.From[0]]
	case r.Kind == convention.Image || r.Kind == convention.ImageB64:
		m, there := p.last[r.Source.Topic]
		if v, ok = (decoded{at: m.at}), there; there {
			v.text = size(int64(len(m.payload)))
		}
	default:
		v.text, v.at, ok = p.render(out, r.Source)
	}
	if !ok || v.text == "None" {
		return decoded{}
	}
	return v
}

// spokenValue is the value of a reading for people.
func spokenValue(r convention.DeviceReading, text string) string {
	switch {
	case r.Kind == convention.OnOff && text == "":
	case r.Kind == convention.OnOff && text == r.On:
		return "on"
	case r.Kind == convention.OnOff && text == r.Off:
		return "off"
	}
	return text
}

// available says whether a device can be reached, as its topics say it.
func (p *preview) available(out *previewed, a convention.Availability) (online, known bool) {
	all := true
	for _, s := range a.Sources {
		text, _, ok := p.render(out, s.Source)
		if !ok || text != s.Online && text != s.Offline {
			all = false
			continue
		}
		known = true
		is := text == s.Online
		switch {
		case a.Mode == convention.All && !is:
			return false, true
		case a.Mode == convention.Any && is:
			return true, true
		}
		online = is
	}
	if a.Mode == convention.All && !all {
		return false, false
	}
	return online, known
}

// shownCommand is a command as people see it.
func shownCommand(c convention.DeviceCommand) previewCommand {
	out := previewCommand{Name: c.Name, Label: c.Label, Usage: "!" + c.Name, Grade: string(c.Grade), Topic: c.Topic}
	for _, a := range c.Args {
		word := strings.ToUpper(a.Name)
		if a.Optional {
			word = "[" + word + "]"
		}
		out.Usage += " " + word
		out.Args = append(out.Args, argWords(a))
	}
	if c.Confirm != nil {
		out.Shown = c.Confirm.Reading
	}
	return out
}

// argWords say what an argument may be: "value: 0 to 100 %, in steps of 5".
func argWords(a convention.Arg) string {
	what := string(a.Kind)
	switch {
	case len(a.Options) > 0:
		what = strings.Join(a.Options, ", ")
	case a.Kind == convention.OnOff:
		what = "on or off"
	case a.Secret:
		what = "secret"
	case a.Kind == convention.Number && a.Min != nil && a.Max != nil:
		what = fmt.Sprintf("%v to %v", *a.Min, *a.Max)
	case a.Kind == convention.Number && a.Min != nil:
		what = fmt.Sprintf("from %v", *a.Min)
	case a.Kind == convention.Text && a.Max != nil:
		what = fmt.Sprintf("text of at most %v characters", *a.Max)
	}
	if a.Unit != "" {
		what += " " + a.Unit
	}
	if a.Step > 0 && a.Step != 1 {
		what += fmt.Sprintf(" in steps of %v", a.Step)
	}
	if a.Optional {
		what += ", optional"
	}
	return a.Name + ": " + what
}
