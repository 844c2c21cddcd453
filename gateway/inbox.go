package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/internal/logkey"
)

// WakeInbox says that events were put into the store's inbox. It does not block.
func (g *Gateway) WakeInbox() {
	select {
	case g.inboxBell <- struct{}{}:
	default:
	}
}

// readInbox handles what is in the inbox, in order, one event at a time, until ctx is done.
func (g *Gateway) readInbox(ctx context.Context) error {
	var after uint64
	for ctx.Err() == nil {
		events, err := g.store.Events(after, 100)
		if err != nil {
			return fmt.Errorf("inbox: %w", err)
		}
		for _, e := range events {
			if err := g.handle(ctx, e); err != nil {
				if ctx.Err() != nil || errors.Is(err, ErrStopped) {
					return nil
				}
				return fmt.Errorf("inbox: %w", err)
			}
			after = e.Seq
		}
		if len(events) > 0 {
			continue
		}
		select {
		case <-g.inboxBell:
		case <-ctx.Done():
		}
	}
	return nil
}

// handle does what an event asks for, and takes it out of the inbox in the same commit.
func (g *Gateway) handle(ctx context.Context, e room.Event) error {
	who := g.who.Load()
	if e.ContentID != "" {
		g.shown.add(e.ContentID, e.ID)
	}
	f := func(*batch) {}
	switch {
	case e.StateKey != nil:
		g.powers.forget(e.Room)
	case who.ours(e.Sender):
	case e.Type == "m.room.message":
		f = g.message(ctx, e)
	case e.Type == "m.reaction":
		f = g.reacted(ctx, e)
	case e.Type == "m.room.redaction":
		f = func(b *batch) {
			if c := g.commands.open[g.commands.byEvent[e.Redacts]]; c != nil && e.Redacts != "" && c.Sender == e.Sender {
				g.commands.step(b, c, g.now(), withdrawn{})
			}
		}
	}
	if f == nil { // ctx ended on the way: the event stays
		return ctx.Err()
	}
	return g.inside(ctx, func(b *batch) {
		b.change.Handled = append(b.change.Handled, e.Seq)
		f(b)
	})
}

// messageContent is what we read of an m.room.message.
type messageContent struct {
	MsgType   string `json:"msgtype"`
	Body      string `json:"body"`
	RelatesTo struct {
		RelType   string `json:"rel_type"`
		InReplyTo struct {
			EventID ids.EventID `json:"event_id"`
		} `json:"m.in_reply_to"`
	} `json:"m.relates_to"`
}

// message works out what a person's message asks for: a command, or nothing. Edits never act.
func (g *Gateway) message(ctx context.Context, e room.Event) func(*batch) {
	nothing := func(*batch) {}
	var c messageContent
	if json.Unmarshal(e.Content, &c) != nil || c.MsgType != "m.text" || c.RelatesTo.RelType == "m.replace" || len(c.Body) > maxText {
		return nothing
	}
	key, ok := g.directory.key(e.Room)
	if !ok || key == ids.ControlRoom {
		return nothing
	}
	devices, _ := g.directory.in(key)
	text := spoken(c.Body, c.RelatesTo.InReplyTo.EventID != "")
	var about ids.DeviceID
	if to := c.RelatesTo.InReplyTo.EventID; to != "" {
		target, found, err := g.matrix.Event(ctx, e.Room, to)
		if err != nil && ctx.Err() != nil {
			return nil
		}
		if found && g.who.Load().ours(target.Sender) {
			about = deviceOf(target)
		}
	}
	ask, is := parseAsk(text, devices, about)
	if !is {
		return nothing
	}
	offset, known := g.cfg.Clock.Offset()
	now, timeKnown := believed(g.now(), offset, known)
	refuse := func(why string) func(*batch) {
		return func(b *batch) { g.refuse(b, e, key, ask, why) }
	}
	if ask.device == "" {
		return refuse(fmt.Sprintf("There are several devices in this room: say “!%s %s”, or reply to a message of the device. Devices: %s.", devices[0], ask.name, list(devices)))
	}
	if !timeKnown {
		return refuse("My clock is not set yet, so nothing runs. Ask again in a moment.")
	}
	state, err := g.powers.get(ctx, e.Room, g.matrix)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		g.log.Warn("the power levels of a room can't be read", logkey.Room, key, logkey.Error, err)
		return refuse("The homeserver does not tell who may do what here, so nothing runs. Ask again in a moment.")
	}
	return func(b *batch) { g.ask(b, e, key, ask, state, now) }
}

// spoken is what a person typed: without the quotation that older clients put before a reply (rich reply fallback).
func spoken(body string, isReply bool) string {
	if isReply {
		for strings.HasPrefix(body, "> ") || body == ">" || strings.HasPrefix(body, ">\n") {
			_, rest, more := strings.Cut(body, "\n")
			if !more {
				return ""
			}
			body = rest
		}
	}
	return strings.TrimSpace(body)
}

// deviceOf is the device that an event of ours is about.
func deviceOf(e room.Event) ids.DeviceID {
	var c struct {
		Gatepost struct {
			Device ids.DeviceID `json:"device"`
		} `json:"dev.gatepost"`
	}
	_ = json.Unmarshal(e.Content, &c) // anything else is about none
	return c.Gatepost.Device
}

// ask is what a message asks for.
type ask struct {
	device ids.DeviceID // "" when the room has several and none was named
	name   string
	args   string
}

// parseAsk reads "!name args" in a room with one device, "!device name args" in a shared one, and "name args", with or
// without "!", in a reply to a message about a device.
func parseAsk(text string, devices []ids.DeviceID, about ids.DeviceID) (a ask, ok bool) {
	rest, bang := strings.CutPrefix(text, "!")
	if !bang && about == "" || len(devices) == 0 {
		return ask{}, false
	}
	first, args, _ := strings.Cut(strings.TrimSpace(rest), " ")
	first, args = strings.TrimSpace(first), strings.TrimSpace(args)
	if first == "" {
		return ask{}, false
	}
	if slices.Contains(devices, ids.DeviceID(first)) {
		name, more, _ := strings.Cut(args, " ")
		if name == "" {
			name = "help"
		}
		return ask{ids.DeviceID(first), name, strings.TrimSpace(more)}, true
	}
	a = ask{name: first, args: args}
	switch {
	case slices.Contains(devices, about):
		a.device = about
	case len(devices) == 1:
		a.device = devices[0]
	}
	return a, bang || a.device != ""
}

func list(devices []ids.DeviceID) string {
	var out []string
	for _, d := range devices[:min(len(devices), 20)] {
		out = append(out, string(d))
	}
	if len(devices) > 20 {
		out = append(out, "…")
	}
	return strings.Join(out, ", ")
}

// ask checks who asks for what, and starts the command. It runs in the router goroutine.
func (g *Gateway) ask(b *batch, e room.Event, key ids.RoomKey, a ask, state room.State, now time.Time) {
	who := g.who.Load()
	level := state.Level(e.Sender)
	if who.owner(e.Sender) {
		level = max(level, 100)
	}
	if a.name == "help" {
		b.change.Append = append(b.change.Append, answer(key, a.device, e.ID, ids.NewULID(g.now()), g.now(), g.help(a.device, level)))
		return
	}
	c, k, err := g.prepare(a)
	switch {
	case err != nil:
		g.refuse(b, e, key, a, err.Error())
	case state.Members[e.Sender] != "join":
		g.refuse(b, e, key, a, "You are not in this room.")
	case !slices.Contains([]string{"invite", "knock", "restricted", "knock_restricted"}, state.JoinRule):
		g.refuse(b, e, key, a, "Anybody can join this room, so nothing runs here. Make it invite-only first.")
	case level < k.Grade.Power():
		g.refuse(b, e, key, a, fmt.Sprintf("“%s” asks for power level %d; you have %d here.", a.name, k.Grade.Power(), level))
	default:
		if why, ok := timely(now, e.Sent, k.Expires); !ok {
			c.Event, c.Room, c.Sender = e.ID, key, e.Sender
			g.commands.step(b, c, g.now(), late{why})
			return
		}
		c.Event, c.Room, c.Sender = e.ID, key, e.Sender
		c.read = e.Received
		g.commands.step(b, c, g.now(), allowed{})
	}
}

// refuse answers, once, why nothing happens, and keeps the refusal for `gatepost commands`.
func (g *Gateway) refuse(b *batch, e room.Event, key ids.RoomKey, a ask, why string) {
	now := g.now()
	c := &Command{ID: ids.NewULID(now), Event: e.ID, Room: key, Sender: e.Sender, Device: a.device, Name: a.name, Args: a.args}
	c.to(Refused, now, 0)
	c.Reason = why
	g.commands.save(b, c)
	b.change.Append = append(b.change.Append, answer(key, a.device, e.ID, ids.NewULID(now), now, why))
}

// prepare finds the command of a device and fills in topic, payload and the answer that confirms it.
func (g *Gateway) prepare(a ask) (*Command, *command, error) {
	d := g.devices.byID[a.device]
	if d == nil {
		return nil, nil, refusal{ErrNoDevice, fmt.Sprintf("There is no device %q.", a.device)}
	}
	rules := g.rules.Load()
	var names []string
	for _, ruleTopic := range slices.Sorted(maps.Keys(d.Rules)) {
		rule := rules.byTopic[ruleTopic]
		if rule == nil {
			continue
		}
		for _, k := range rule.commands {
			if k.Name == a.name {
				c, err := k.make(d, d.Rules[ruleTopic], a.args)
				if err != nil {
					return nil, nil, refusal{err, fmt.Sprintf("“%s” can't be sent: %v.", a.name, err)}
				}
				c.ID = ids.NewULID(g.now())
				return c, k, nil
			}
			names = append(names, k.Name)
		}
	}
	if len(names) == 0 {
		return nil, nil, refusal{ErrNoCommand, d.Name + " has no commands."}
	}
	return nil, nil, refusal{ErrNoCommand, fmt.Sprintf("%s has no “%s”. It understands %s.", d.Name, a.name, strings.Join(names, ", "))}
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
	rules := g.rules.Load()
	var can, cannot []string
	for _, ruleTopic := range slices.Sorted(maps.Keys(d.Rules)) {
		if rule := rules.byTopic[ruleTopic]; rule != nil {
			for _, k := range rule.commands {
				if level >= k.Grade.Power() {
					can = append(can, "!"+k.Name)
				} else {
					cannot = append(cannot, "!"+k.Name)
				}
			}
		}
	}
	switch {
	case len(can)+len(cannot) == 0:
		return d.Name + " has no commands."
	case len(cannot) == 0:
		return d.Name + " understands: " + strings.Join(can, ", ") + "."
	default:
		return d.Name + " understands: " + strings.Join(append(can, ""), ", ") + "and from people with more power: " + strings.Join(cannot, ", ") + "."
	}
}

// reacted starts a dangerous command when somebody with the power looked again.
func (g *Gateway) reacted(ctx context.Context, e room.Event) func(*batch) {
	nothing := func(*batch) {}
	var c struct {
		RelatesTo struct {
			RelType string      `json:"rel_type"`
			EventID ids.EventID `json:"event_id"`
			Key     string      `json:"key"`
		} `json:"m.relates_to"`
	}
	if json.Unmarshal(e.Content, &c) != nil || c.RelatesTo.RelType != "m.annotation" || !strings.HasPrefix(c.RelatesTo.Key, "✅") {
		return nothing
	}
	key, ok := g.directory.key(e.Room)
	if !ok {
		return nothing
	}
	state, err := g.powers.get(ctx, e.Room, g.matrix)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		g.log.Warn("the power levels of a room can't be read", logkey.Room, key, logkey.Error, err)
		return nothing
	}
	return func(b *batch) {
		cmd := g.commands.open[g.commands.byEvent[c.RelatesTo.EventID]]
		if cmd == nil || cmd.Room != key || state.Members[e.Sender] != "join" {
			return
		}
		if state.Level(e.Sender) >= Dangerous.Power() || g.who.Load().owner(e.Sender) {
			g.commands.step(b, cmd, g.now(), looked{})
		}
	}
}

// powers keeps what decides about commands, by room, until an event says that it changed. Safe for concurrent use.
type powers struct {
	mu    sync.Mutex
	rooms map[ids.RoomID]power
	gen   uint64
}

type power struct {
	state room.State
	read  time.Time
}

// What was read is believed so long even if no event comes.
const powerTime = 5 * time.Minute

func newPowers() *powers { return &powers{rooms: map[ids.RoomID]power{}} }

func (p *powers) forget(id ids.RoomID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.rooms, id)
	p.gen++
}

func (p *powers) get(ctx context.Context, id ids.RoomID, m Rooms) (room.State, error) {
	p.mu.Lock()
	k, ok := p.rooms[id]
	gen := p.gen
	p.mu.Unlock()
	if ok && time.Since(k.read) < powerTime {
		return k.state, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	s, err := m.State(ctx, id)
	if err != nil {
		return s, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if gen == p.gen {
		p.rooms[id] = power{s, time.Now()}
	}
	return s, nil
}
