package convention

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// dumpAll writes facts as text that a person can read and compare.
func dumpAll(facts []Fact) string {
	var b strings.Builder
	for _, f := range facts {
		b.WriteString(dump(f))
	}
	return b.String()
}

func dump(f Fact) string {
	w := &writer{}
	switch f := f.(type) {
	case Part:
		w.line(0, "part", f.Convention, f.Key)
		w.about(f.IDs, f.Name, f.Manufacturer, f.Model, f.Software, f.Area, f.Via, f.Kind)
		w.attr("component", strings.TrimSpace(f.Component+" "+quoted(f.Label)))
		for _, r := range f.Readings {
			w.reading(r)
		}
		for _, t := range f.Triggers {
			w.trigger(t)
		}
		for _, c := range f.Commands {
			w.command(c)
		}
		w.availability(f.Availability)
		for _, a := range f.Alarms {
			w.line(1, "alarm", a.Name, quoted(a.Label), "when", a.Reading, "is", strings.Join(a.Is, " or "))
		}
		w.refused(f.Refused)
	case Gone:
		w.line(0, "gone", f.Key, word1(f.Moving, "moving"))
	case Values:
		w.line(0, "values", f.Key, stamp(f.Time))
		for _, v := range f.Values {
			w.line(1, v.Reading+"="+v.Text)
		}
	case Online:
		w.line(0, word1(f.Online, "online")+word1(!f.Online, "offline"), f.Key, quoted(f.Reason))
	case Event:
		w.line(0, "event", f.Key, f.Name, quoted(f.Text), f.ID, stamp(f.Time))
	case Alarm:
		w.line(0, "alarm", word1(f.Raised, "raised")+word1(!f.Raised, "cleared"), f.Key, f.Name, quoted(f.Text), stamp(f.Time))
	case Position:
		altitude := ""
		if f.HasAltitude {
			altitude = fmt.Sprintf("altitude %v", f.Altitude)
		}
		w.line(0, "position", f.Key, fmt.Sprintf("%v,%v accuracy %v", f.Latitude, f.Longitude, f.Accuracy), altitude, stamp(f.Time))
	case Media:
		w.line(0, "media", f.Key, quoted(f.Name), fmt.Sprintf("%d bytes", len(f.Data)), f.ID)
	case Answer:
		w.line(0, "answer", f.Transaction, word1(f.OK, "ok")+word1(!f.OK, "failed"), quoted(f.Reason))
	case Publish:
		w.line(0, "publish", f.Topic, strconv.Quote(string(f.Payload)), fmt.Sprintf("qos %d", f.QoS), word1(f.Retain, "retain"))
	case Refused:
		w.line(0, "refused", f.Key, quoted(f.Name), "because", quoted(f.Reason))
	default:
		w.line(0, fmt.Sprintf("unknown fact %#v", f))
	}
	return w.String()
}

func dumpDevice(d Device) string {
	w := &writer{}
	w.line(0, "device", d.ID)
	w.about(d.IDs, d.Name, d.Manufacturer, d.Model, d.Software, d.Area, d.Via, d.Kind)
	for _, r := range d.Readings {
		from := ""
		for _, o := range r.From[1:] {
			from += " also " + o.Convention + " " + o.Key
		}
		w.line(1, "reading", r.Name, quoted(r.Label), string(r.Kind), r.Unit, strings.TrimSpace(from))
	}
	for _, t := range d.Triggers {
		w.line(1, "trigger", t.Name, quoted(t.Label))
	}
	for _, c := range d.Commands {
		confirm := ""
		if c.Confirm != nil {
			confirm = c.Confirm.Reading
		}
		w.line(1, "command", c.Name, quoted(c.Label), confirm)
	}
	for _, a := range d.Alarms {
		w.line(1, "alarm", a.Name, a.Reading)
	}
	w.refused(d.Refused)
	return w.String()
}

type writer struct{ strings.Builder }

// line writes the parts that are not empty.
func (w *writer) line(indent int, parts ...string) {
	w.WriteString(strings.Repeat("  ", indent))
	first := true
	for _, p := range parts {
		if p == "" {
			continue
		}
		if !first {
			w.WriteByte(' ')
		}
		first = false
		w.WriteString(strings.NewReplacer("\n", `\n`, "\r", `\r`).Replace(p))
	}
	w.WriteByte('\n')
}

func (w *writer) attr(name, value string) {
	if value != "" {
		w.line(1, name, value)
	}
}

func (w *writer) about(ids []string, name, manufacturer, model, software, area, via string, kind Kind) {
	w.attr("ids", strings.Join(ids, " "))
	w.attr("name", name)
	w.attr("manufacturer", manufacturer)
	w.attr("model", model)
	w.attr("software", software)
	w.attr("area", area)
	w.attr("via", via)
	w.attr("kind", string(kind))
}

func (w *writer) reading(r Reading) {
	w.line(1, "reading", r.Name, quoted(r.Label), string(r.Kind), r.Unit, word1(r.Quantity != "", "of "+r.Quantity), word1(r.Diagnostic, "diagnostic"), word1(r.Hidden, "hidden"),
		word1(r.OffAfter > 0, fmt.Sprintf("off after %d s", r.OffAfter)), word1(r.Expires > 0, fmt.Sprintf("expires %d s", r.Expires)), word1(r.Precision >= 0, fmt.Sprintf("%d decimals", r.Precision)))
	if r.On != "" || r.Off != "" {
		w.line(2, "on", quoted(r.On), "off", quoted(r.Off))
	}
	if len(r.Options) > 0 {
		w.line(2, "options", strings.Join(r.Options, ", "))
	}
	w.source(r.Source)
}

func (w *writer) source(s Source) {
	if s.Topic != "" {
		w.line(2, "from", s.Topic, s.Template, word1(s.Member != "", "member "+s.Member))
	}
}

func (w *writer) trigger(t Trigger) {
	w.line(1, "trigger", t.Name, quoted(t.Label), word1(t.Match != "", "match "+quoted(t.Match)))
	if len(t.Options) > 0 {
		w.line(2, "options", strings.Join(t.Options, ", "))
	}
	w.source(t.Source)
}

func (w *writer) command(c Command) {
	w.line(1, "command", c.Name, quoted(c.Label), string(c.Grade), word1(c.QoS > 0, "qos 1"), word1(c.Retain, "retain"))
	for _, a := range c.Args {
		bounds := ""
		if a.Min != nil {
			bounds += fmt.Sprintf("from %v ", *a.Min)
		}
		if a.Max != nil {
			bounds += fmt.Sprintf("to %v ", *a.Max)
		}
		if a.Step != 0 {
			bounds += fmt.Sprintf("by %v", a.Step)
		}
		w.line(2, "arg", a.Name, quoted(a.Label), string(a.Kind), strings.TrimSpace(bounds), a.Unit, word1(a.Optional, "optional"), word1(a.Secret, "secret"), word1(a.Plain, "plain"),
			word1(a.On != "" || a.Off != "", "on "+quoted(a.On)+" off "+quoted(a.Off)), strings.Join(a.Options, ", "))
	}
	w.line(2, "to", c.Topic, c.Payload)
	switch f := c.Confirm; {
	case f == nil:
	case f.Reading != "":
		w.line(2, "confirmed when", f.Reading, word1(f.Value != "", "is "+f.Value))
	case f.Topic != "":
		w.line(2, "confirmed by", f.Topic, f.Template)
	default:
		w.line(2, "confirmed by its answer")
	}
}

func (w *writer) availability(a Availability) {
	if len(a.Sources) == 0 {
		return
	}
	w.line(1, "availability", string(a.Mode))
	for _, s := range a.Sources {
		w.line(2, s.Topic, s.Template, "online", quoted(s.Online), "offline", quoted(s.Offline))
	}
}

func (w *writer) refused(all []Refusal) {
	for _, r := range all {
		w.line(1, "refused", quoted(r.Name), "because", quoted(r.Reason))
	}
}

func quoted(s string) string {
	if s == "" {
		return ""
	}
	return strconv.Quote(s)
}

func word1(is bool, s string) string {
	if is {
		return s
	}
	return ""
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// swapTexts puts w in place of some texts of a JSON payload; another payload becomes w.
func swapTexts(random *rand.Rand, payload []byte, w string) []byte {
	d := json.NewDecoder(bytes.NewReader(payload))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return []byte(w)
	}
	b, err := json.Marshal(swap(random, v, w))
	if err != nil {
		return []byte(w)
	}
	return b
}

func swap(random *rand.Rand, v any, w string) any {
	switch v := v.(type) {
	case string:
		if random.IntN(3) == 0 {
			return w
		}
	case []any:
		for i := range v {
			v[i] = swap(random, v[i], w)
		}
	case map[string]any:
		for k := range v {
			v[k] = swap(random, v[k], w)
		}
		if random.IntN(10) == 0 {
			v[w] = w
		}
	}
	return v
}
