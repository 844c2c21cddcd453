package gateway

import (
	"cmp"
	"math"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/gatepost/gatepost/gateway/action"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/mqtt/convention"
	"github.com/gatepost/gatepost/mqtt/topic"
)

// Answer is the device's own answer that confirms a command: a message on Topic, news of Reading, or what the convention
// reads as the answer to Transaction.
type Answer struct {
	Topic       string         `json:"topic,omitempty"`
	Payload     string         `json:"payload,omitempty"` // what payload or reading is then
	Any         bool           `json:"any,omitempty"`     // any will do
	Reading     string         `json:"reading,omitempty"`
	Transaction string         `json:"transaction,omitempty"`
	Template    string         `json:"template,omitempty"` // Jinja over the message on Topic and Vars: true, false (it failed) or nothing
	Vars        map[string]any `json:"vars,omitempty"`
}

func answerOf(p *action.Proof) *Answer {
	if p == nil {
		return nil
	}
	return &Answer{Topic: p.Topic, Payload: p.Text, Any: p.Any, Reading: p.Reading, Transaction: p.Answer, Template: p.Template, Vars: p.Vars}
}

func (a *Answer) proof() *action.Proof {
	return &action.Proof{Topic: a.Topic, Text: a.Payload, Any: a.Any, Reading: a.Reading, Answer: a.Transaction, Template: a.Template, Vars: a.Vars}
}

// whole makes integers of the numbers that JSON made floats of.
func (a *Answer) whole() {
	for k, v := range a.Vars {
		if f, ok := v.(float64); ok && f == math.Trunc(f) && math.Abs(f) < 1<<53 {
			a.Vars[k] = int64(f)
		}
	}
}

// setPayload keeps what is published. JSON takes text alone as it is.
func (c *Command) setPayload(b []byte) {
	if utf8.Valid(b) {
		c.Payload, c.Bytes = string(b), nil
	} else {
		c.Payload, c.Bytes = "", b
	}
}

// payload is what is published.
func (c *Command) payload() []byte {
	if c.Bytes != nil {
		return c.Bytes
	}
	return []byte(c.Payload)
}

// covered is a copy of c for the store and for others: without what must not be kept.
func (c *Command) covered() Command {
	out := *c
	out.Changes = slices.Clone(c.Changes)
	if !c.Secret {
		return out
	}
	out.Payload, out.Bytes = "", nil
	if c.Confirm != nil {
		a := *c.Confirm
		a.Payload, a.Vars = "", nil
		out.Confirm = &a
	}
	return out
}

// waits says whether an answer of the device may come.
func (c *Command) waits() bool {
	return c.Confirm != nil && (c.State == Received || c.State == Published)
}

// answered steps the commands that m, a message of a device, is the answer to: of several alike the oldest.
func (t *commands) answered(b *batch, m topic.Message) {
	if len(t.open) == 0 {
		return
	}
	for _, c := range t.inOrder() {
		if !c.waits() || c.Confirm.Topic == "" || c.Confirm.Topic != m.Topic {
			continue
		}
		switch done, failed := c.Confirm.proof().Judge(m.Payload); {
		case done:
			t.step(b, c, m.Time, answered{})
			return
		case failed:
			t.step(b, c, m.Time, denied{"the device says that it did not do it"})
			return
		}
	}
}

// news steps the commands that a reading confirms which came just now: all that wanted it to be so, or, of those that any
// news confirms, the oldest.
func (t *commands) news(b *batch, id ids.DeviceID, reading, text string, now time.Time) {
	if len(t.open) == 0 {
		return
	}
	for _, c := range t.inOrder() {
		if c.Device != id || !c.waits() || c.Confirm.Reading != reading || !c.Confirm.proof().Shows(text) {
			continue
		}
		t.step(b, c, now, answered{})
		if c.Confirm.Any {
			return
		}
	}
}

// said steps the command that a is the answer to.
func (t *commands) said(b *batch, a convention.Answer, now time.Time) {
	if a.Transaction == "" {
		return
	}
	for _, c := range t.inOrder() {
		if !c.waits() || c.Confirm.Transaction != a.Transaction {
			continue
		}
		if a.OK {
			t.step(b, c, now, answered{})
			return
		}
		why := "the device says that it did not do it"
		if a.Reason != "" {
			why = "the device says: " + brief(a.Reason)
		}
		t.step(b, c, now, denied{why})
		return
	}
}

// reachable publishes what waited for a device that can be reached again.
func (t *commands) reachable(b *batch, id ids.DeviceID, now time.Time) {
	if len(t.open) == 0 {
		return
	}
	for _, c := range t.inOrder() {
		if c.Device == id && c.Held {
			t.step(b, c, now, reachable{})
		}
	}
}

// latestOf lists the latest commands of a device, newest first, at most n.
func (t *commands) latestOf(id ids.DeviceID, n int) (out []*Command) {
	for _, c := range t.all {
		if c.Device == id && len(c.Changes) > 0 {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b *Command) int { return cmp.Compare(b.ID, a.ID) })
	return out[:min(n, len(out))]
}

// last is the latest command that was let through to a device.
func (t *commands) last(id ids.DeviceID) (c Command, ok bool) {
	if k := t.newest[id]; k != nil {
		return k.covered(), true
	}
	return Command{}, false
}
