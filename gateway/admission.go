package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatepost/gatepost/gateway/discovery"
	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/media"
	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/internal/logkey"
	"github.com/gatepost/gatepost/mqtt/convention"
)

// Owners are asked about few devices one by one; of many at once they hear in one message.
const (
	maxAsks    = 5 // in askTime
	askTime    = 10 * time.Minute
	gatherAsks = 10 * time.Second // that come together are one message
	maxNames   = 10               // in one message
)

// asks remembers when owners were asked lately.
type asks struct {
	at      []time.Time
	summary time.Time
	again   time.Time // there are many to tell of then; zero: there are not
}

// choice is what a reaction to a question means; "" nothing.
func choice(key string) discovery.Decision {
	switch {
	case strings.HasPrefix(key, "✅"):
		return discovery.Admit
	case strings.HasPrefix(key, "🙈"):
		return discovery.Ignore
	case strings.HasPrefix(key, "🚫"):
		return discovery.Block
	}
	return ""
}

// askOwners tells the control room which devices wait for a decision and were not told of yet. Without owners nobody is
// told; `gatepost devices` lists them.
func (g *Gateway) askOwners(b *batch, now time.Time) {
	f, a := g.finder, &g.finder.asks
	if f.host.Untold() == 0 || len(g.who.Load().owners) == 0 {
		a.again = time.Time{}
		return
	}
	a.at = slices.DeleteFunc(a.at, func(at time.Time) bool { return now.Sub(at) >= askTime || at.After(now) })
	switch {
	case len(a.at)+f.host.Untold() <= maxAsks:
		for _, p := range f.host.Tell() {
			b.change.Append = append(b.change.Append, question(p, g.cfg.Encryption.makes(), now))
			a.at = append(a.at, now)
		}
		a.again = time.Time{}
	case a.again.IsZero():
		a.again = now.Add(gatherAsks)
		if next := a.summary.Add(askTime); next.After(a.again) {
			a.again = next
		}
		g.arm(a.again)
	case !a.again.After(now):
		b.change.Append = append(b.change.Append, flood(f.host.Tell(), now))
		a.summary, a.again = now, time.Time{}
	}
}

// flood is one message about many devices.
func flood(list []discovery.Proposal, now time.Time) lane.Record {
	var names []string
	for _, p := range list[:min(len(list), maxNames)] {
		names = append(names, "“"+short(p.Name, maxShort)+"”")
	}
	if len(list) > maxNames {
		names = append(names, "…")
	}
	wait := "wait"
	if len(list) == 1 {
		wait = "waits"
	}
	text := fmt.Sprintf("%s %s for a decision: %s.\n`gatepost devices` lists them all, with their ids; `gatepost devices admit|ignore|block ID` decides.", count(len(list), "new device"), wait, strings.Join(names, ", "))
	return lane.Record{Lane: ids.ControlRoom, ID: ids.NewULID(now), Class: lane.Event, At: now, Post: lane.Post{Kind: lane.Text, Text: text}}
}

// question asks the owners about one device, which would have an encrypted room or not.
func question(p discovery.Proposal, encrypt bool, now time.Time) lane.Record {
	text := strings.Join(proposed(p, encrypt), "\n")
	text += fmt.Sprintf("\nReact or reply with ✅ to admit it, 🙈 to ignore it, 🚫 to hear nothing of it again. Or: gatepost devices admit|ignore|block %s", p.ID)
	clean, _ := media.Text([]byte(text), 2*maxText) // proposed keeps it shorter
	return lane.Record{
		Lane: ids.ControlRoom, ID: ids.NewULID(now), Class: lane.Event, At: now,
		Post: lane.Post{Kind: lane.Text, Text: clean, Values: map[string]string{"proposal": string(p.ID), "version": p.Version}},
	}
}

// proposed says in lines what a device would become, with an encrypted room or not. All names in it are the device's own, so they
// stand in quotes, and none is so long that it hides what follows.
func proposed(p discovery.Proposal, encrypt bool) []string {
	d := p.Is
	name := "“" + short(p.Name, maxShort) + "”"
	about := strings.Join(slices.DeleteFunc([]string{
		title(strings.ReplaceAll(string(d.Kind), "_", " ")), short(strings.TrimSpace(d.Manufacturer+" "+d.Model), maxShort), "through " + strings.Join(p.Conventions, " and "),
	}, func(s string) bool { return s == "" }), ", ")
	var out []string
	if p.Into != "" {
		out = append(out, fmt.Sprintf("The device %s (%s) wants to have more (%s).", name, p.Into, about))
	} else {
		out = append(out, fmt.Sprintf("A new device: %s (%s).", name, about))
		where := "It would have a room " + name
		if encrypt {
			where = "It would have an encrypted room, which has its id for a name"
		} else if d.Area != "" {
			where += ", in the space “" + short(d.Area, maxShort) + "”"
		}
		out = append(out, where+".")
	}
	for _, w := range p.Warnings {
		out = append(out, "⚠ "+title(w)+".")
	}
	line := func(what string, all []string) {
		if len(all) > maxNames {
			all = append(all[:maxNames:maxNames], fmt.Sprintf("and %d more", len(all)-maxNames))
		}
		if len(all) > 0 {
			out = append(out, what+": "+strings.Join(all, ", "))
		}
	}
	var readings, commands, dangerous, events, alarms, refused []string
	for _, r := range d.Readings {
		if !r.Diagnostic && !r.Hidden {
			readings = append(readings, short(r.Label, maxShort))
		}
	}
	for _, c := range d.Commands {
		if c.Grade == convention.Dangerous {
			dangerous = append(dangerous, "!"+c.Name)
		} else {
			commands = append(commands, "!"+c.Name)
		}
	}
	for _, t := range d.Triggers {
		events = append(events, short(t.Label, maxShort))
	}
	for _, a := range d.Alarms {
		alarms = append(alarms, short(a.Label, maxShort))
	}
	for _, r := range d.Refused {
		refused = append(refused, short(r.Name, maxShort)+" ("+short(r.Reason, 2*maxShort)+")")
	}
	line("Readings", readings)
	line("Commands", commands)
	line("Dangerous commands", dangerous)
	line("Events", events)
	line("Alarms", alarms)
	line("Not supported", refused)
	return out
}

// maxShort is how many characters of a name are shown where many stand together.
const maxShort = 60

// short is a name of somebody else's, cut to most characters.
func short(name string, most int) string {
	s, cut := media.Text([]byte(strings.ReplaceAll(name, "\n", " ")), most)
	if cut {
		s += "…"
	}
	return s
}

// askedAbout reads which proposal an event of ours in the control room is about; "" none.
func askedAbout(e room.Event) (id ids.DeviceID, version string) {
	var c struct {
		Gatepost struct {
			Values struct {
				Proposal ids.DeviceID `json:"proposal"`
				Version  string       `json:"version"`
			} `json:"values"`
		} `json:"dev.gatepost"`
	}
	if json.Unmarshal(e.Content, &c) != nil {
		return "", ""
	}
	return c.Gatepost.Values.Proposal, c.Gatepost.Values.Version
}

// decided takes a reaction in the control room: an owner's to a question of ours is the answer. nil when ctx ended.
func (g *Gateway) decided(ctx context.Context, e room.Event, to ids.EventID, key string) func(*batch) {
	nothing := func(*batch) {}
	what := choice(key)
	if what == "" || g.finder == nil || !g.who.Load().owner(e.Sender) {
		return nothing
	}
	rctx, cancel := context.WithTimeout(ctx, powerRead)
	defer cancel()
	state, err := g.powers.get(rctx, e.Room, g.matrix, "")
	var target room.Event
	var found bool
	if err == nil {
		target, found, err = g.matrix.Event(rctx, e.Room, to)
	}
	if ctx.Err() != nil {
		return nil
	}
	say := func(b *batch, text string) {
		now := g.now()
		b.change.Append = append(b.change.Append, answer(ids.ControlRoom, "", to, ids.NewULID(now), now, text))
	}
	if err != nil {
		g.log.Warn("what a reaction is about can't be read", logkey.Room, ids.ControlRoom, logkey.Error, err)
		return func(b *batch) {
			say(b, "The homeserver does not tell what this was about. React again in a moment, or use `gatepost devices`.")
		}
	}
	if !found || target.Sender != g.cfg.Bot {
		return nothing
	}
	id, version := askedAbout(target)
	if id == "" {
		return nothing
	}
	if doubtful(e, state) != "" {
		return func(b *batch) {
			say(b, "This room is encrypted, but reactions never are, so anybody could have made this one. Reply to the message with the same sign instead.")
		}
	}
	return func(b *batch) { say(b, g.decide(b, id, what, version)) }
}

// decide does what an owner said, and says in words what came of it. It runs in the router goroutine.
func (g *Gateway) decide(b *batch, id ids.DeviceID, what discovery.Decision, version string) string {
	now := g.now()
	p, _ := g.finder.host.Proposal(id)
	n, err := g.finder.host.Decide(id, what, version, now)
	if err != nil {
		return fmt.Sprintf("Nothing was done: %v. `gatepost devices` lists what waits.", err)
	}
	g.heard(b, n, "", now)
	name := "“" + title(p.Name) + "”"
	switch {
	case what == discovery.Ignore:
		return name + " is ignored. `gatepost devices admit " + string(id) + "` changes that."
	case what == discovery.Block:
		return name + " is blocked: what it announces is not read. `gatepost devices` lists it."
	case p.Stage == discovery.Blocked:
		return name + " is not blocked any more; it can be admitted when it announces itself again."
	case p.Into != "":
		return name + " has what it wanted."
	default:
		return name + " is admitted. Its room: " + g.rooms.alias(ids.DeviceRoom(id))
	}
}

// Proposals lists the devices that are not admitted: those that wait for a decision first.
func (g *Gateway) Proposals(ctx context.Context) ([]discovery.Proposal, error) {
	var out []discovery.Proposal
	err := g.inside(ctx, func(*batch) {
		if g.finder != nil {
			out = g.finder.host.Proposals()
		}
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// proposed says whether there is a device with this id that is not admitted. It runs in the router goroutine.
func (g *Gateway) proposed(id ids.DeviceID) bool {
	if g.finder == nil {
		return false
	}
	_, ok := g.finder.host.Proposal(id)
	return ok
}

// Decide admits, ignores or blocks a device, in the name of the owners, and says what came of it. The error is a refusal
// with ErrNoDevice when no device with this id waits for it.
func (g *Gateway) Decide(ctx context.Context, id ids.DeviceID, what discovery.Decision) (string, error) {
	type result struct {
		text string
		err  error
	}
	out := make(chan result, 1)
	err := g.inside(ctx, func(b *batch) {
		if g.finder == nil {
			out <- result{"", refusal{ErrNoDevice, "this gatepost reads no announcements (discovery: off)"}}
			return
		}
		if !g.proposed(id) {
			out <- result{"", refusal{ErrNoDevice, fmt.Sprintf("no device %q waits, is ignored or blocked", id)}}
			return
		}
		out <- result{g.decide(b, id, what, ""), nil}
	})
	if err != nil {
		return "", err
	}
	r := <-out
	return r.text, r.err
}
