package main

import (
	"fmt"
	"strings"

	"github.com/gatepost/gatepost/gateway/discovery"
	"github.com/gatepost/gatepost/mqtt/convention"
)

// value is what a reading says now; of a picture it is the size. It is "" when that is unknown.
func (p *preview) value(d *discovery.Device, r convention.DeviceReading) string {
	if r.Kind == convention.Image || r.Kind == convention.ImageB64 {
		if m, there := p.last[r.Source.Topic]; there {
			return size(int64(len(m.payload)))
		}
		return ""
	}
	return spokenValue(r, d.Values[r.Name].Text)
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
