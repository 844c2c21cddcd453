package gateway

import (
	"fmt"
	"strings"

	"github.com/gatepost/gatepost/internal/ids"
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

// found is a command of a device.
type found struct {
	*command
	device   *Device
	captures map[string]string // of the rule that has the command
}

// find looks a command of a device up. The error, a refusal, says what there is.
func (g *Gateway) find(id ids.DeviceID, name string) (found, error) {
	d := g.devices.byID[id]
	if d == nil {
		return found{}, refusal{ErrNoDevice, fmt.Sprintf("There is no device %q.", id)}
	}
	var names []string
	for _, r := range g.rulesOf(d) {
		for _, k := range r.commands {
			if k.Name == name {
				return found{k, d, d.Rules[r.spec.Topic]}, nil
			}
			names = append(names, k.Name)
		}
	}
	if len(names) == 0 {
		return found{}, refusal{ErrNoCommand, title(d.Name) + " has no commands."}
	}
	return found{}, refusal{ErrNoCommand, fmt.Sprintf("%s has no “%s”. It understands %s.", title(d.Name), brief(name), strings.Join(names, ", "))}
}

// brief is a word that somebody typed as we repeat it.
func brief(word string) string {
	if r := []rune(word); len(r) > 40 {
		word = string(r[:40]) + "…"
	}
	return title(word)
}

// prepare finds the command of a device and fills in topic, payload and the answer that confirms it.
func (g *Gateway) prepare(a ask) (*Command, error) {
	k, err := g.find(a.device, a.name)
	if err != nil {
		return nil, err
	}
	c, err := k.make(k.device, k.captures, a.args)
	if err != nil {
		return nil, refusal{err, fmt.Sprintf("“%s” can't be sent: %v.", a.name, err)}
	}
	c.ID = g.commands.newID(g.now())
	return c, nil
}

// make fills a command in for a device whose rule's topic gave the captures.
func (k *command) make(d *Device, captures map[string]string, args string) (*Command, error) {
	c := &Command{Device: d.ID, Name: k.Name, Args: args, QoS: k.QoS, Retain: k.Retain, Repeat: k.Repeat, Grade: k.Grade, Patience: k.Expires}
	var err error
	if c.Topic, err = k.topic.ExpandTopic(captures); err != nil {
		return nil, fmt.Errorf("topic: %w", err)
	}
	v := map[string]any{"args": args, "device": string(d.ID), "name": d.Name}
	for n, s := range captures {
		v[n] = s
	}
	if c.Payload, err = k.payload.Render(v); err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	if k.Confirm != nil {
		c.Confirm = &Answer{Any: k.confirmPayload == nil}
		if c.Confirm.Topic, err = k.confirmTopic.ExpandTopic(captures); err != nil {
			return nil, fmt.Errorf("confirm.topic: %w", err)
		}
		if k.confirmPayload != nil {
			if c.Confirm.Payload, err = k.confirmPayload.Render(v); err != nil {
				return nil, fmt.Errorf("confirm.payload: %w", err)
			}
			c.Confirm.Payload = strings.TrimSpace(c.Confirm.Payload)
		}
	}
	return c, nil
}

// help lists the commands of a device that somebody of a level may ask for.
func (g *Gateway) help(id ids.DeviceID, level int) string {
	d := g.devices.byID[id]
	if d == nil {
		return "There is no such device."
	}
	var can, cannot []string
	for _, r := range g.rulesOf(d) {
		for _, k := range r.commands {
			if level >= k.Grade.Power() {
				can = append(can, "!"+k.Name)
			} else {
				cannot = append(cannot, "!"+k.Name)
			}
		}
	}
	switch name := title(d.Name); {
	case len(can)+len(cannot) == 0:
		return name + " has no commands."
	case len(cannot) == 0:
		return name + " understands: " + strings.Join(can, ", ") + "."
	case len(can) == 0:
		return name + " understands, from people with more power than you: " + strings.Join(cannot, ", ") + "."
	default:
		return name + " understands: " + strings.Join(can, ", ") + "; and from people with more power: " + strings.Join(cannot, ", ") + "."
	}
}
