package gateway

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gatepost/gatepost/gateway/discovery"
	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/media"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/internal/logkey"
	"github.com/gatepost/gatepost/mqtt/convention"
	"github.com/gatepost/gatepost/mqtt/topic"
)

// Discovery says how devices that announce themselves are taken.
type Discovery struct {
	Conventions []convention.Convention
	Auto        bool // they are admitted without asking
	// Follow is told when other topics are wanted: all of them, and those that were not before, whose retained messages have
	// to come again. nil: nobody has to be told. An error means that it is to be tried again.
	Follow func(ctx context.Context, all, fresh []topic.Filter) error
}

// finder is what the gateway knows of devices that announce themselves. The router goroutine owns it, save host.Wants.
type finder struct {
	host     *discovery.Host
	parked   *parked
	asks     asks
	requests chan convention.Publish // of conventions
	asked    map[string]time.Time    // when one was sent last, by topic
	fresh    []ids.DeviceID          // admitted, and not asked for their values yet
	bell     chan struct{}           // other topics are wanted
}

// What conventions ask to be sent goes out at most once in this time for each topic, and so many may wait.
const (
	requestTime = 5 * time.Second
	maxRequests = 64
)

// announcedKey begins lane.Record.Key of what an announced reading brings.
const announcedKey = ownKey + "announced/"

// A device shows pictures that come by themselves, and where it is, at most this often.
const pictureTime = 10 * time.Minute

func loadFinder(g *Gateway) (*finder, error) {
	d := g.cfg.Discovery
	if d == nil {
		return nil, nil
	}
	f := &finder{parked: newParked(), requests: make(chan convention.Publish, maxRequests), asked: map[string]time.Time{}, bell: make(chan struct{}, 1)}
	f.host = discovery.New(discovery.Config{
		Conventions: d.Conventions, Auto: d.Auto, Opaque: g.cfg.Encryption.makes(),
		Taken: func(id ids.DeviceID, original string) bool {
			d := g.devices.byID[id]
			return d != nil && d.Original != original
		},
		Owned: func(name string) string { return g.rules.Load().Owner(name) },
	})
	err := g.store.Each(discovery.Space, "", func(key string, value []byte) error {
		if err := f.host.Load(key, value); err != nil {
			g.log.Warn("a record of what a device announced can't be read; it may have to announce itself again", logkey.Error, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	f.host.Start(g.now())
	f.bell <- struct{}{}
	return f, nil
}

// Owner says which rule a topic belongs to that a device wants commands to be published to; "" none.
func (rs *Rules) Owner(name string) string {
	for _, r := range rs.list {
		if r.pattern.Matches(name) || slices.ContainsFunc(r.callTopics, func(f topic.Filter) bool { return f.Match(name) }) ||
			slices.ContainsFunc(r.commands, func(c *command) bool { return around(c.topic).Match(name) || c.answers.Match(name) }) {
			return "the rule " + r.spec.Topic
		}
	}
	return ""
}

// found gives what a device announced; nil: nothing, or it is not admitted.
func (g *Gateway) found(id ids.DeviceID) *discovery.Device {
	if g.finder == nil {
		return nil
	}
	return g.finder.host.Device(id)
}

// Filters lists what must be subscribed to, by rules and announcements. It may overlap. Safe for concurrent use.
func (g *Gateway) Filters() []topic.Filter {
	out := g.rules.Load().Filters()
	if g.finder != nil {
		out = append(append(out, g.finder.host.Announcements()...), g.finder.host.Sources()...)
	}
	return out
}

// discover lets the conventions see a message, and says whether anybody who announced itself wants it.
func (g *Gateway) discover(b *batch, m topic.Message) (wanted bool) {
	if g.finder == nil {
		return false
	}
	left := g.finder.host.Left()
	n := g.finder.host.Message(m)
	if g.finder.host.Left() > left {
		g.Alert("More devices announce themselves than there is room for, so some are left out. Decide about those that wait (`gatepost devices`), or find out who announces so many.", "discovery full")
	}
	wanted = n.Wanted
	if !n.Taken {
		g.finder.parked.put(m)
	}
	g.heard(b, n, m.Topic, m.Time)
	return wanted
}

// discoverTick does what is due of what devices announced.
func (g *Gateway) discoverTick(b *batch, now time.Time) {
	if g.finder == nil {
		return
	}
	g.heard(b, g.finder.host.Tick(now), "", now)
	if at := g.finder.asks.again; !at.IsZero() && !at.After(now) {
		g.askOwners(b, now)
	} else if !at.IsZero() {
		g.arm(at)
	}
}

// heard does what the news ask for. name is the topic of the message, "" none.
func (g *Gateway) heard(b *batch, n *discovery.News, name string, now time.Time) {
	f := g.finder
	for _, id := range n.Admitted {
		g.settleFound(b, id, now)
		f.fresh = append(f.fresh, id)
		b.after = append(b.after, f.ring)
	}
	for _, id := range n.Changed {
		g.settleFound(b, id, now)
		g.forgetGone(b, id, now)
	}
	gone := slices.Clone(n.Gone) // n is the host's, and forgetting them changes it
	for _, r := range n.Readings {
		g.commands.news(b, r.ID, r.Reading.Name, r.Text, now)
	}
	for _, a := range n.Answers {
		g.commands.said(b, a, now)
	}
	for _, t := range n.Touched {
		if d := g.devices.byID[t.ID]; d != nil {
			d.Seen = now
			g.cards.touch(t.ID, t.Urgent, now)
		}
		if !g.unreachable(t.ID) {
			g.commands.reachable(b, t.ID, now)
		}
	}
	for i := range n.Events {
		g.happened(b, &n.Events[i], name, now)
	}
	for i := range n.Alarms {
		g.alarmed(b, &n.Alarms[i], name, now)
	}
	for i := range n.Positions {
		g.located(b, &n.Positions[i], name, now)
	}
	for i := range n.Media {
		g.pictured(b, &n.Media[i], name, now)
	}
	for _, p := range n.Publish {
		f.request(p, now)
	}
	if n.Asked {
		g.askOwners(b, now)
	}
	if n.Topics {
		b.after = append(b.after, f.ring)
	}
	for _, id := range gone {
		g.withdrawn(b, id, now)
	}
	if at := f.host.Next(); !at.IsZero() {
		g.arm(at)
	}
}

func (f *finder) ring() {
	select {
	case f.bell <- struct{}{}:
	default:
	}
}

// settleFound brings the device of an announcement into the table of devices, or up to date there. Its room stays its own
// whatever it calls itself; a rule that names it counts more.
func (g *Gateway) settleFound(b *batch, id ids.DeviceID, now time.Time) {
	is := g.found(id)
	if is == nil {
		return
	}
	d := g.devices.byID[id]
	name := title(is.Is.Name)
	if strings.TrimSpace(name) == "" {
		name = string(id)
	}
	at := place{name: name, room: ids.DeviceRoom(id), roomName: name, space: title(is.Is.Area), about: aboutDevice(&is.Is), kind: kindOf(&is.Is)}
	kind := at.kind
	if g.cfg.Encryption.makes() { // a homeserver that is to read nothing of the device's reads names of rooms, too
		at.roomName, at.space = string(id), ""
	}
	if d != nil && len(d.Rules) > 0 {
		at.kind = cmp.Or(d.Ruled, at.kind)
		at.name, at.room, at.roomName, at.space = d.Name, d.Room, d.RoomName, d.Space
	}
	if !g.rooms.admit(at.room, at.space) {
		g.Alert(fmt.Sprintf("%s can't have a room: there are %d rooms already.", name, maxRooms), "discovered rooms")
		return
	}
	switch {
	case d == nil && len(g.devices.byID) >= maxDevices:
		g.Alert(fmt.Sprintf("%s can't be a device: there are %d already.", name, maxDevices), "discovered devices")
		return
	case d == nil:
		d = &Device{ID: id, Original: is.Original, Rules: map[string]map[string]string{}, Readings: map[string]Reading{}, Seen: now}
		g.devices.byID[id] = d
	case d.home() == at && d.Kind == kind:
		return
	}
	d.Name, d.Room, d.RoomName, d.Space, d.About, d.Kind = at.name, at.room, at.roomName, at.space, at.about, kind
	g.devices.dirty[id] = true
	g.know(d)
	b.change.Append = append(b.change.Append, roomRecord(d.Room, d.ID, now))
}

// followAnnounced brings the table of devices in line with what was announced, and looks at what is due, after a start.
func (g *Gateway) followAnnounced(b *batch, now time.Time) {
	if g.finder == nil {
		return
	}
	for _, id := range g.finder.host.Devices() {
		g.settleFound(b, id, now)
	}
	g.discoverTick(b, now)
}

// forgetFound forgets what a device announced. When it does so again it is a new one.
func (g *Gateway) forgetFound(b *batch, id ids.DeviceID) {
	if g.finder == nil {
		b.change.Put = append(b.change.Put, discovery.Forget(id))
		return
	}
	if g.finder.host.Remove(id) == nil {
		b.after = append(b.after, g.finder.ring)
	}
}

// withdrawn is told of a device that took everything back that it announced, and stayed away: it is removed, unless a rule
// knows it too.
func (g *Gateway) withdrawn(b *batch, id ids.DeviceID, now time.Time) {
	d := g.devices.byID[id]
	switch {
	case d == nil:
		g.forgetFound(b, id)
	case len(d.Rules) == 0:
		g.remove(b, d, title(d.Name)+" withdrew its announcement and was removed. Its history stays here.", now)
	default:
		g.forgetFound(b, id)
		d.About, d.Kind = "", ""
		g.know(d)
		g.devices.dirty[id] = true
		b.change.Append = append(b.change.Append, lane.Record{
			Lane: d.Room, ID: ids.NewULID(now), Device: id, Class: lane.Event, At: now,
			Post: lane.Post{Kind: lane.Notice, Text: title(d.Name) + " does not announce itself any more; the rules that know it still count."},
		})
	}
}

// foundRecord begins a record of a device that announced itself; ok is false if there is no such device.
func (g *Gateway) foundRecord(id ids.DeviceID, class lane.Class, name string, now time.Time) (r lane.Record, d *Device, ok bool) {
	d = g.devices.byID[id]
	if d == nil {
		return r, nil, false
	}
	if len(name) > maxTopic {
		name = ""
	}
	return lane.Record{Lane: d.Room, ID: ids.NewULID(now), Device: id, Class: class, Topic: name, At: now}, d, true
}

// happened posts an event, one that says whose it is once.
func (g *Gateway) happened(b *batch, e *discovery.EventNews, name string, now time.Time) {
	r, _, ok := g.foundRecord(e.ID, lane.Event, name, now)
	if !ok {
		return
	}
	if id := e.Event.ID; id != "" {
		id = "event " + id
		if !g.isNew(b, e.ID, id, now) {
			return
		}
	}
	text, _ := media.Text([]byte(e.Text), maxText)
	if text == "" {
		text = title(e.Name)
	}
	r.Post = lane.Post{Kind: lane.Text, Text: text, Values: map[string]string{"event": e.Name}}
	b.change.Append = append(b.change.Append, r)
}

// alarmed posts an alarm, and that it is over.
func (g *Gateway) alarmed(b *batch, a *discovery.AlarmNews, name string, now time.Time) {
	d := g.devices.byID[a.ID]
	if d == nil {
		return
	}
	if len(name) > maxTopic {
		name = ""
	}
	text, _ := media.Text([]byte(a.Text), maxText)
	b.change.Append = append(b.change.Append, g.alarmRecord(a.ID, d.Room, name, a.Name, cmp.Or(text, title(a.Name)), a.Raised, now))
}

// seldom makes r one of those of which the room sees the latest now and then.
func (d *Device) seldom(r *lane.Record, reading string, now time.Time) {
	r.Key = announcedKey + reading
	at := Reading{At: now, Slot: d.Readings[r.Key].slot(now, pictureTime)}
	if at.Slot.After(now) {
		r.NotBefore = at.Slot
	}
	d.remember(r.Key, at)
}

// located posts where a device is.
func (g *Gateway) located(b *batch, p *discovery.PositionNews, name string, now time.Time) {
	r, d, ok := g.foundRecord(p.ID, lane.Telemetry, name, now)
	if !ok {
		return
	}
	d.seldom(&r, "position", now)
	g.devices.dirty[p.ID] = true
	at := fmt.Sprintf("%.5f,%.5f", p.Latitude, p.Longitude)
	text := "Is at geo:" + at
	if p.Accuracy > 0 {
		text += fmt.Sprintf(";u=%.0f (to about %.0f m)", p.Accuracy, p.Accuracy)
	}
	r.Post = lane.Post{Kind: lane.Notice, Text: text, Values: map[string]string{"position": at}}
	b.change.Append = append(b.change.Append, r)
}

// pictured posts a picture or another file. Those that are the value of a reading may come all the time.
func (g *Gateway) pictured(b *batch, f *discovery.MediaNews, name string, now time.Time) {
	class := lane.Event
	if f.Reading != "" {
		class = lane.Telemetry
	}
	r, d, ok := g.foundRecord(f.ID, class, name, now)
	if !ok || len(f.Data) == 0 {
		return
	}
	if f.Reading != "" {
		d.seldom(&r, f.Reading, now)
		g.devices.dirty[f.ID] = true
	}
	label, _ := media.Text([]byte(f.Name), 100)
	r.Post = filePost(label, f.Data)
	b.change.Append = append(b.change.Append, r)
}

// request has a convention's message sent, unless one to the same topic was a moment ago.
func (f *finder) request(p convention.Publish, now time.Time) {
	if now.Sub(f.asked[p.Topic]) < requestTime {
		return
	}
	if len(f.asked) >= maxRequests {
		maps.DeleteFunc(f.asked, func(_ string, at time.Time) bool { return now.Sub(at) >= requestTime })
		if len(f.asked) >= maxRequests {
			return
		}
	}
	select {
	case f.requests <- p:
		f.asked[p.Topic] = now
	default:
	}
}

// askFresh asks the devices for their values that were admitted lately, if their convention knows how: many tell only what
// changes. It runs in the router goroutine, when their topics are followed.
func (g *Gateway) askFresh(now time.Time) {
	f := g.finder
	for _, id := range f.fresh {
		for _, a := range g.announced(id) {
			if a.Name != refresh || a.Grade != convention.Read {
				continue
			}
			if o, err := a.Order("", "", now); err == nil {
				delete(f.asked, o.Topic) // the answer to what was asked a moment ago was not listened to
				f.request(convention.Publish{Topic: o.Topic, Payload: o.Payload}, now)
			}
		}
	}
	f.fresh = nil
}

// refresh is the command by which conventions ask a device for its values. Of grade read it changes nothing.
const refresh = "refresh"

// sendRequests publishes what conventions ask for. What can't be sent is asked for again by what follows.
func (g *Gateway) sendRequests(ctx context.Context) error {
	if g.finder == nil {
		return nil
	}
	for {
		select {
		case p := <-g.finder.requests:
			pctx, cancel := context.WithTimeout(ctx, publishTime)
			err := g.cfg.Devices.Publish(pctx, p.Topic, p.Payload, p.QoS, p.Retain)
			cancel()
			if err != nil && ctx.Err() == nil {
				g.log.Warn("a request to a device could not be sent", logkey.Topic, p.Topic, logkey.Error, err)
			}
		case <-ctx.Done():
			return nil
		}
	}
}
