package gateway

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/mqtt/topic"
)

// RoomStatus is a room as gatepost keeps it.
type RoomStatus struct {
	Key     ids.RoomKey    `json:"key"`
	Room    ids.RoomID     `json:"room_id"` // "" not made yet
	Alias   string         `json:"alias"`
	Name    string         `json:"name"`
	Devices []ids.DeviceID `json:"devices"`
}

// Devices lists what is known of the devices, by id. The maps in it belong to the caller.
func (g *Gateway) Devices(ctx context.Context) ([]Device, error) {
	var out []Device
	err := g.inside(ctx, func(*batch) {
		for _, d := range g.devices.byID {
			c := *d
			c.Announced = g.found(d.ID) != nil
			c.Rules, c.Readings = maps.Clone(d.Rules), maps.Clone(d.Readings)
			c.Alarms = maps.Clone(d.Alarms)
			out = append(out, c)
		}
	})
	if err != nil { // the router may still be at it
		return nil, err
	}
	slices.SortFunc(out, func(a, b Device) int { return cmp.Compare(a.ID, b.ID) })
	return out, nil
}

// Unmatched lists topics that came by lately and that no rule wants, at most 200, oldest first.
func (g *Gateway) Unmatched() []Unmatched { return g.unmatched.list() }

// Commands lists the latest commands, newest first, at most n.
func (g *Gateway) Commands(ctx context.Context, n int) ([]Command, error) {
	var out []Command
	err := g.inside(ctx, func(*batch) {
		keys := slices.Sorted(maps.Keys(g.commands.all))
		slices.Reverse(keys)
		for _, k := range keys[:min(n, len(keys))] {
			out = append(out, g.commands.all[k].covered())
		}
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// CommandOf is the command with an id; ok is false when it is not known any more.
func (g *Gateway) CommandOf(ctx context.Context, id string) (c Command, ok bool, err error) {
	var k Command
	var known bool
	err = g.inside(ctx, func(*batch) {
		if found := g.commands.all[id]; found != nil {
			k, known = found.covered(), true
		}
	})
	if err != nil {
		return c, false, err
	}
	return k, known, nil
}

// Rooms lists the rooms that were made or are being made. Aliases are localparts.
func (g *Gateway) Rooms() []RoomStatus {
	var out []RoomStatus
	who := g.who.Load()
	for key, h := range g.rooms.list() {
		devices, _ := g.directory.in(key)
		slices.Sort(devices)
		out = append(out, RoomStatus{Key: key, Room: h.Room, Alias: suffixed(who.alias(key), h.Suffix), Name: h.Name, Devices: devices})
	}
	slices.SortFunc(out, func(a, b RoomStatus) int { return cmp.Compare(a.Key, b.Key) })
	return out
}

func noDevice(id ids.DeviceID) error {
	return refusal{ErrNoDevice, fmt.Sprintf("there is no device %q", id)}
}

// Say posts text as a device in its room. It returns when the text is stored to be sent.
func (g *Gateway) Say(ctx context.Context, id ids.DeviceID, text string) error {
	at, ok := g.directory.place(id)
	if !ok {
		return noDevice(id)
	}
	now := g.now()
	return g.inside(ctx, func(b *batch) {
		b.change.Append = append(b.change.Append, lane.Record{Lane: at.room, ID: ids.NewULID(now), Device: id, Class: lane.Event, At: now, Post: lane.Post{Kind: lane.Text, Text: text}})
	})
}

// Command runs a command of a device in the name of the owners, and returns its id when it is stored to be published. A
// dangerous one needs no second look: whoever may use the socket decides. ErrNoDevice and ErrNoCommand say what there is.
func (g *Gateway) Command(ctx context.Context, id ids.DeviceID, name, args string) (string, error) {
	if len(args) > maxText {
		return "", refusal{ErrTooLong, fmt.Sprintf("the arguments have %d bytes; %d is the most", len(args), maxText)}
	}
	type result struct {
		id  string
		err error
	}
	out := make(chan result, 1)
	err := g.inside(ctx, func(b *batch) {
		c, _, err := g.prepare(ask{device: id, name: name, args: args, bang: true})
		if err != nil {
			out <- result{"", err}
			return
		}
		why, held := g.away(c)
		if why != "" {
			out <- result{"", refusal{ErrRefused, why}}
			return
		}
		c.Room, c.Sender = g.devices.byID[id].Room, g.cfg.Bot
		g.commands.step(b, c, g.now(), allowed{held: held})
		out <- result{c.ID, nil}
	})
	if err != nil {
		return "", err
	}
	r := <-out
	return r.id, r.err
}

// Reload puts new rules, people and time zone (nil: UTC) in place. What waits stays; devices and rooms are brought up to
// date, and commands end that were not published yet and are no longer there.
func (g *Gateway) Reload(ctx context.Context, rules *Rules, people People, zone *time.Location) error {
	return g.inside(ctx, func(b *batch) {
		g.rules.Store(rules)
		g.setPeople(people, zone)
		now := g.now()
		g.followRules(b, now)
		for key := range g.rooms.list() {
			b.change.Append = append(b.change.Append, roomRecord(key, "", now))
		}
		if g.finder != nil {
			g.askOwners(b, now)
		}
		if len(people.Owners) > 0 && !g.rooms.exists(ids.ControlRoom) {
			b.change.Append = append(b.change.Append, roomRecord(ids.ControlRoom, "", now))
		}
	})
}

// Tried is what a message would do.
type Tried struct {
	Rule     string            `json:"rule"` // its topic; "" no rule matches
	Captures map[string]string `json:"captures,omitempty"`
	Device   ids.DeviceID      `json:"device,omitempty"`
	Name     string            `json:"name,omitempty"`
	Room     ids.RoomKey       `json:"room,omitempty"`
	RoomName string            `json:"room_name,omitempty"`
	Space    string            `json:"space,omitempty"`
	Class    lane.Class        `json:"class,omitempty"`
	ID       string            `json:"id,omitempty"` // the device's own message id
	Post     *lane.Post        `json:"post,omitempty"`
	Problem  string            `json:"problem,omitempty"`
}

// Try says what the rules make of a message, without doing it.
func (rs *Rules) Try(m topic.Message) Tried {
	rule, captures := rs.match(m.Topic)
	if rule == nil {
		return Tried{Problem: "no rule's topic matches"}
	}
	t := Tried{Rule: rule.spec.Topic, Captures: captures, Class: rule.class}
	s, err := rule.subject(captures)
	if err != nil {
		t.Problem = err.Error()
		return t
	}
	t.Device, t.Name, t.Room, t.RoomName, t.Space = s.device, s.name, s.room, s.roomName, s.space
	if rule.id != nil {
		if t.ID, err = rule.id.Render(vars(s, m)); err != nil {
			t.Problem = "id: " + err.Error()
		}
	}
	d := &Device{ID: s.device, Readings: map[string]Reading{}}
	if r, ok := d.post(s, m, ids.NewULID(time.Time{})); ok {
		t.Post = &r.Post
	}
	return t
}

// Wants says whether a message with this topic is for the gateway. Safe for concurrent use.
func (g *Gateway) Wants(name string) bool {
	return g.rules.Load().Wants(name) || g.finder != nil && g.finder.host.Wants(name)
}

// RuleOf is the topic of the first rule that d had messages by and that still exists; "" when there is none.
func (g *Gateway) RuleOf(d Device) string {
	rules := g.rules.Load()
	for _, r := range rules.list {
		if _, ok := d.Rules[r.spec.Topic]; ok {
			return r.spec.Topic
		}
	}
	return ""
}
