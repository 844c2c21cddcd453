package gateway

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatepost/gatepost/gateway/action"
	"github.com/gatepost/gatepost/gateway/media"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/mqtt/convention"
)

// rulesOf lists the rules that a device had messages of and that still are, in the order of the configuration.
func (g *Gateway) rulesOf(d *Device) (list []*Rule) {
	for _, r := range g.rules.Load().list {
		if _, ok := d.Rules[r.spec.Topic]; ok {
			list = append(list, r)
		}
	}
	return list
}

// announcedActions are the actions made of one state of a device's announcements.
type announcedActions struct {
	of   []convention.DeviceCommand
	list []*action.Action
}

// actions lists what a device can be asked to do: what its rules say, then what it announced and no rule says. It runs in
// the router goroutine; what it gives is not changed.
func (g *Gateway) actions(id ids.DeviceID) []*action.Action {
	d := g.devices.byID[id]
	if d == nil {
		return nil
	}
	var out []*action.Action
	for _, r := range g.rulesOf(d) {
		for _, k := range r.commands {
			if slices.ContainsFunc(out, func(a *action.Action) bool { return a.Name == k.Name }) {
				continue
			}
			if a, err := k.action(d, d.Rules[r.spec.Topic]); err == nil {
				out = append(out, g.limited(id, a))
			}
		}
	}
	own := len(out)
	for _, a := range g.announced(id) {
		if !slices.ContainsFunc(out[:own], func(o *action.Action) bool { return strings.EqualFold(o.Name, a.Name) }) {
			out = append(out, g.limited(id, a))
		}
	}
	return out
}

// announced are the actions that a device announced, made once for each state of its announcements.
func (g *Gateway) announced(id ids.DeviceID) []*action.Action {
	is := g.found(id)
	if is == nil {
		delete(g.offers, id)
		return nil
	}
	now := is.Is.Commands
	if had, ok := g.offers[id]; ok && len(had.of) == len(now) && (len(now) == 0 || &had.of[0] == &now[0]) {
		return had.list
	}
	made := announcedActions{of: now, list: announcedActionsOf(now, g.cfg.Discovery.Conventions)}
	g.offers[id] = made
	return made.list
}

// limited is a with the limits that the configuration puts on it: the first that is about it.
func (g *Gateway) limited(id ids.DeviceID, a *action.Action) *action.Action {
	for _, l := range g.who.Load().limits {
		if l.Device != "" && l.Device != id || l.Command != a.Name {
			continue
		}
		c := *a
		if len(l.People) > 0 {
			c.People = l.People
		}
		if l.Grade != 0 {
			c.Grade = l.Grade.word()
		}
		return &c
	}
	return a
}

// action is the command of a device whose rule's topic gave the captures.
func (k *command) action(d *Device, captures map[string]string) (*action.Action, error) {
	a := &action.Action{
		Name: k.Name, Args: k.Args, Free: len(k.Args) == 0, Grade: k.Grade.word(), People: k.People,
		Payload: k.payload, QoS: k.QoS, Retain: k.Retain, Repeat: k.Repeat, Expires: k.Expires,
		Vars: map[string]any{"device": string(d.ID), "name": d.Name},
	}
	for n, s := range captures {
		a.Vars[n] = s
	}
	var err error
	if a.Topic, err = k.topic.ExpandTopic(captures); err != nil {
		return nil, fmt.Errorf("topic: %w", err)
	}
	if k.Confirm != nil {
		a.Confirm = &action.Confirm{Value: k.confirmPayload}
		if a.Confirm.Topic, err = k.confirmTopic.ExpandTopic(captures); err != nil {
			return nil, fmt.Errorf("confirm.topic: %w", err)
		}
	}
	return a, nil
}

// find looks up which action of a device somebody means. The error, a refusal, says what there is.
func (g *Gateway) find(a ask) (*action.Action, string, error) {
	d := g.devices.byID[a.device]
	if d == nil {
		return nil, "", refusal{ErrNoDevice, fmt.Sprintf("There is no device %q.", a.device)}
	}
	list := g.actions(a.device)
	if is, args := action.Find(list, a.name, a.args, a.bang); is != nil {
		return is, args, nil
	}
	text := title(d.Name) + " has no commands."
	if len(list) > 0 {
		text = fmt.Sprintf("%s has no “%s”. ", title(d.Name), brief(a.name))
		var names []string
		for _, is := range list {
			names = append(names, is.Words())
		}
		switch near := action.Suggest(list, a.name, a.args); {
		case near != nil:
			text += fmt.Sprintf("Did you mean “!%s”?", near.Words())
		case len(names) > maxNames:
			text += "“!help” lists what it understands."
		default:
			text += "It understands " + strings.Join(names, ", ") + "."
		}
	}
	return nil, "", refusal{ErrNoCommand, text}
}

// actionOf is the action that a command is, if there still is one.
func (g *Gateway) actionOf(c *Command) *action.Action {
	for _, a := range g.actions(c.Device) {
		if a.Name == c.Name {
			return a
		}
	}
	return nil
}

// forgetGone ends the commands of a device ("": of all) that were not sent yet and that the device does not understand any more,
// or would be told on another topic.
func (g *Gateway) forgetGone(b *batch, id ids.DeviceID, now time.Time) {
	for _, c := range g.commands.inOrder() {
		if (id == "" || c.Device == id) && g.isGone(c) {
			g.commands.step(b, c, now, forgotten{})
		}
	}
}

// isGone says whether a command is not any more what it was when it was asked for.
func (g *Gateway) isGone(c *Command) bool {
	is := g.actionOf(c)
	return is == nil || is.Topic != c.Topic
}

// brief is a word that somebody typed as we repeat it.
func brief(word string) string {
	if r := []rune(word); len(r) > 40 {
		word = string(r[:40]) + "…"
	}
	return title(word)
}

// prepare makes the command that somebody asks for. The error is a sentence for people.
func (g *Gateway) prepare(a ask) (*Command, *action.Action, error) {
	is, args, err := g.find(a)
	if err != nil {
		return nil, nil, err
	}
	if !a.bang && args != "" && !is.Free && len(is.Args) == 0 {
		return nil, nil, refusal{ErrNoCommand, "A sentence that begins like a command."}
	}
	id := g.commands.newID(g.now())
	o, err := is.Order(args, strings.ToLower(id), g.now())
	if err != nil {
		return nil, nil, refusal{err, media.NoMentions(upper(err.Error()) + ".")}
	}
	c := &Command{
		ID: id, Device: a.device, Name: is.Name, Args: o.Args, Secret: o.Secret, Topic: o.Topic, QoS: is.QoS, Retain: is.Retain, Repeat: is.Repeat,
		Grade: gradeOf(is.Grade), Patience: is.Expires, Confirm: answerOf(o.Proof),
	}
	c.setPayload(o.Payload)
	return c, is, nil
}

// upper begins a sentence.
func upper(s string) string {
	if s != "" && 'a' <= s[0] && s[0] <= 'z' {
		return string(s[0]-'a'+'A') + s[1:]
	}
	return s
}

// help lists what somebody may ask a device for.
func (g *Gateway) help(id ids.DeviceID, word string, may func(*action.Action) bool) string {
	d := g.devices.byID[id]
	if d == nil {
		return "There is no such device."
	}
	var list []*action.Action
	more := 0
	for _, a := range g.actions(id) {
		if may(a) {
			list = append(list, a)
		} else {
			more++
		}
	}
	return media.NoMentions(action.Help(title(d.Name), word, list, more)) // labels and words are the device's own
}

// So many of the latest commands of a device are told.
const maxTold = 10

// history tells what was asked of a device lately, the latest first.
func (g *Gateway) history(id ids.DeviceID) string {
	var out []string
	zone := g.who.Load().zone
	for _, c := range g.commands.latestOf(id, maxTold) {
		by := string(c.Sender)
		if c.Sender == g.cfg.Bot {
			by = "the command line"
		}
		line := fmt.Sprintf("%s %s, asked for by %s: %s", c.Changes[0].At.In(zone).Format(time.DateTime), strings.TrimSpace(c.Name+" "+brief(c.Args)), by, c.picture(c.State))
		if c.Reason != "" {
			line += ", " + brief(c.Reason)
		}
		out = append(out, line)
	}
	if len(out) == 0 {
		return "Nothing was asked of this device yet."
	}
	return strings.Join(out, "\n")
}
