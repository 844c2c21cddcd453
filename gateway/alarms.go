package gateway

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatepost/gatepost/gateway/discovery"
	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/media"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/internal/logkey"
	"github.com/gatepost/gatepost/internal/template"
	"github.com/gatepost/gatepost/mqtt/topic"
)

// AlarmSpec is a condition on the messages of a rule. All three are Jinja, in which value is a number where the payload is one.
type AlarmSpec struct {
	When  string // the alarm is raised when it becomes true
	Text  string // what people are told then
	Clear string // the alarm is over when it is true; "" when When is not
}

// RaisedAlarm is an alarm of a rule that was raised and is not over. It is kept with its device.
type RaisedAlarm struct {
	Rule  string    `json:"rule"`            // its topic
	When  string    `json:"when,omitempty"`  // the condition; "" nothing came for too long
	Topic string    `json:"topic,omitempty"` // of the message; "" with When
	Text  string    `json:"text"`
	Since time.Time `json:"since"`
}

// maxAlarms is how many alarms of a device may be raised at once; what else would be is logged only.
const maxAlarms = 64

// ruleAlarm is a compiled AlarmSpec.
type ruleAlarm struct {
	AlarmSpec
	when, text *template.Template
	clear      *template.Template // nil: when says it
}

// compileAlarm checks spec; fail is told which of its keys are wrong.
func compileAlarm(spec AlarmSpec, fail func(key string, err error)) *ruleAlarm {
	a := &ruleAlarm{AlarmSpec: spec}
	jinja := func(key, src string, condition bool) *template.Template {
		if condition && !strings.Contains(src, "{{") && !strings.Contains(src, "{%") {
			fail(key, errors.New("is no condition, as it is the same for every message: write “{{ … }}”"))
			return nil
		}
		t, err := template.Compile(src)
		fail(key, err)
		return t
	}
	a.when, a.text = jinja("when", spec.When, true), jinja("text", spec.Text, false)
	if spec.Clear != "" {
		a.clear = jinja("clear", spec.Clear, true)
	}
	return a
}

// holds says whether a condition rendered to something that is true: true, yes, on, or a number that is not 0.
func holds(t *template.Template, vars map[string]any) (bool, error) {
	text, err := t.Render(vars)
	if err != nil {
		return false, err
	}
	switch text = strings.ToLower(strings.TrimSpace(text)); text {
	case "true", "yes", "on":
		return true, nil
	}
	n, err := strconv.ParseFloat(text, 64)
	return err == nil && n != 0 && n == n, nil
}

// judge says whether the alarm is raised after a message, when it was before.
func (a *ruleAlarm) judge(was bool, vars map[string]any) (bool, error) {
	if !was || a.clear == nil {
		return holds(a.when, vars)
	}
	over, err := holds(a.clear, vars)
	return !over, err
}

// alarmVars are what the templates of alarms see: a payload that is a number is one.
func alarmVars(s subject, m topic.Message) map[string]any {
	v := vars(s, m)
	if len(m.Payload) <= maxReading && media.KindOf(m.Payload) == media.Number {
		if n, err := template.JSON(bytes.TrimSpace(m.Payload)); err == nil {
			v["value"] = n
		}
	}
	return v
}

// alarmKey names an alarm of a device. Each topic has its own: a rule may be about many readings.
func alarmKey(rule, when, topic string) string {
	return ids.Hash(rule + "\x00" + when + "\x00" + topic)
}

// watch looks what a message of d does to the alarms of its rule. An old value is how things are: unless it was posted as
// news, what it raises or ends is shown on the card and told nobody.
func (g *Gateway) watch(b *batch, d *Device, s subject, m topic.Message, posted bool) {
	if !m.Retained {
		g.heardOf(b, d, s, m.Time)
	}
	if len(s.rule.alarms) == 0 || m.Retained && len(m.Payload) == 0 {
		return
	}
	v := alarmVars(s, m)
	for _, a := range s.rule.alarms {
		key := alarmKey(s.rule.spec.Topic, a.When, m.Topic)
		raised, was := d.Alarms[key]
		is, err := a.judge(was, v)
		if err != nil {
			g.log.Warn("an alarm's condition gave an error; the alarm stays as it is", logkey.Rule, s.rule.spec.Topic, logkey.Topic, m.Topic, logkey.Error, err)
			continue
		}
		switch {
		case is == was:
			continue
		case is:
			raised = RaisedAlarm{Rule: s.rule.spec.Topic, When: a.When, Topic: m.Topic, Since: m.Time, Text: a.render(v)}
			if !g.raise(d, key, raised) {
				continue
			}
		default:
			g.end(d, key)
		}
		if !m.Retained || posted {
			b.change.Append = append(b.change.Append, g.alarmRecord(d.ID, s.room, m.Topic, label(s, m.Topic), raised.Text, is, m.Time))
		}
	}
}

// render is what people are told. A text that gives an error is shown as it is written: an alarm is never lost for it.
func (a *ruleAlarm) render(v map[string]any) string {
	text, err := a.text.Render(v)
	if err != nil {
		text = fmt.Sprintf("%s (the alarm's text: %v)", a.Text, err)
	}
	clean, _ := media.Text([]byte(strings.TrimSpace(text)), maxText)
	return cmp.Or(clean, a.When)
}

// raise keeps an alarm; false: there are too many.
func (g *Gateway) raise(d *Device, key string, a RaisedAlarm) bool {
	if len(d.Alarms) >= maxAlarms {
		g.log.Warn("a device has too many alarms at once; one is not raised", logkey.Device, d.ID, logkey.Rule, a.Rule)
		return false
	}
	if d.Alarms == nil {
		d.Alarms = map[string]RaisedAlarm{}
	}
	d.Alarms[key] = a
	g.alarmsChanged(d)
	return true
}

// end forgets an alarm that is over.
func (g *Gateway) end(d *Device, key string) {
	delete(d.Alarms, key)
	g.alarmsChanged(d)
}

func (g *Gateway) alarmsChanged(d *Device) {
	g.devices.dirty[d.ID] = true
	g.cards.touch(d.ID, true, g.now())
}

// alarmRecord tells people that an alarm was raised, or is over. text is clean.
func (g *Gateway) alarmRecord(id ids.DeviceID, in ids.RoomKey, name, alarm, text string, raised bool, now time.Time) lane.Record {
	r := lane.Record{Lane: in, ID: ids.NewULID(now), Device: id, Class: lane.Alarm, Topic: name, At: now}
	_, at := g.directory.in(in)
	alarm, _ = media.Text([]byte(alarm), 200)
	if raised {
		r.Post = lane.Post{Kind: lane.Text, Text: "⚠ " + text, Values: map[string]string{"alarm": alarm, "raised": "true"}, Mentions: g.who.Load().everybody(at.space)}
	} else {
		r.Class = lane.Event
		r.Post = lane.Post{Kind: lane.Notice, Text: "Over: " + text, Values: map[string]string{"alarm": alarm, "raised": "false"}}
	}
	return r
}

// dropAlarms ends the alarms whose rule or condition is no more, and tells so.
func (g *Gateway) dropAlarms(b *batch, d *Device, now time.Time) {
	for _, key := range slices.Sorted(maps.Keys(d.Alarms)) {
		a := d.Alarms[key]
		r := g.rules.Load().byTopic[a.Rule]
		switch {
		case r == nil:
		case a.When == "" && r.spec.Silence > 0:
			continue
		case a.When != "" && slices.ContainsFunc(r.alarms, func(o *ruleAlarm) bool { return o.When == a.When }):
			continue
		}
		g.end(d, key)
		b.change.Append = append(b.change.Append, g.alarmRecord(d.ID, d.Room, "", "", a.Text+" (it is not watched any more)", false, now))
	}
}

// Alarm is one that is raised now.
type Alarm struct {
	Device ids.DeviceID `json:"device"`
	Name   string       `json:"name"` // of the device
	Text   string       `json:"text"`
	Since  time.Time    `json:"since,omitzero"` // zero: not known
}

// Alarms lists the alarms that are raised, by device, the oldest first.
func (g *Gateway) Alarms(ctx context.Context) ([]Alarm, error) {
	var out []Alarm
	err := g.inside(ctx, func(*batch) {
		for id, d := range g.devices.byID {
			for _, a := range g.alarmsOf(d) {
				out = append(out, Alarm{Device: id, Name: d.Name, Text: a.Text, Since: a.Since})
			}
		}
	})
	if err != nil { // the router may still be at it
		return nil, err
	}
	slices.SortStableFunc(out, func(a, b Alarm) int { return cmp.Compare(a.Device, b.Device) })
	return out, nil
}

// announcedAlarms lists the alarms that are raised, of those a device announced, and those it raised by itself.
func announcedAlarms(f *discovery.Device) (out []RaisedAlarm) {
	for name, a := range f.Alarms {
		text, _ := media.Text([]byte(a.Text), maxText)
		out = append(out, RaisedAlarm{Text: cmp.Or(text, title(name)), Since: a.Since})
	}
	for _, a := range f.Is.Alarms {
		if v := f.Values[a.Reading]; v.Known && slices.Contains(a.Is, v.Text) {
			out = append(out, RaisedAlarm{Text: title(a.Label), Since: v.At})
		}
	}
	return out
}

// alarmsOf lists the alarms of a device that are raised, those of rules and those it announced, the oldest first.
func (g *Gateway) alarmsOf(d *Device) []RaisedAlarm {
	out := slices.Collect(maps.Values(d.Alarms))
	if is := g.found(d.ID); is != nil {
		out = append(out, announcedAlarms(is)...)
	}
	slices.SortFunc(out, func(a, b RaisedAlarm) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Text, b.Text)) })
	return out
}
