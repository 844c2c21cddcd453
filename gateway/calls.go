package gateway

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/internal/logkey"
	"github.com/gatepost/gatepost/mqtt/topic"
)

// mayCall says whether the configuration lets somebody call a device, and be called by it.
func (g *Gateway) mayCall(u ids.UserID, device ids.DeviceID) bool {
	at, _ := g.directory.place(device)
	return g.who.Load().mayCall(u, at.space)
}

func (i identity) mayCall(u ids.UserID, space string) bool {
	return i.people("", space)[u] >= Operate.Power()
}

func isCall(eventType string) bool {
	return strings.HasPrefix(eventType, "m.call.") || strings.HasPrefix(eventType, "org.matrix.call.")
}

// called hands an event of a call over. nil: ctx ended, or calls are no longer taken; then the event stays in the inbox.
func (g *Gateway) called(ctx context.Context, e room.Event) func(*batch) {
	nothing := func(*batch) {}
	at, ok := g.callRooms.get(e.Room)
	if !ok || g.cfg.Calls == nil || at.Sealed && (!e.Encrypted || e.Trust == room.Untrusted) {
		return nothing
	}
	may := false
	if e.Sender == at.Person && (e.Type == "m.call.invite" || e.Type == "m.call.answer") {
		fit := g.mayRing(ctx, at)
		if ctx.Err() != nil {
			return nil
		}
		may = fit && e.Type == "m.call.invite"
		if !fit && e.Type == "m.call.answer" { // it rang while they had the right, and rings until its time is over
			g.log.Warn("who answers a call may not any more", logkey.Room, string(at.Room), logkey.User, string(e.Sender))
			return nothing
		}
	}
	age := g.now().Sub(e.Received)
	offset, known := g.cfg.Clock.Offset()
	if now, ok := believed(g.now(), offset, known); ok {
		age = max(age, now.Sub(e.Sent))
	}
	if err := g.cfg.Calls.Event(ctx, at, e, age, may); err != nil {
		return nil
	}
	g.callsTold = true
	return nothing
}

// mayRing says whether calls ring in a call room as it is now.
func (g *Gateway) mayRing(ctx context.Context, at CallRoom) bool {
	if !g.mayCall(at.Person, at.Device) {
		return false
	}
	state, err := g.powers.get(ctx, at.Room, g.matrix, at.Self)
	if err != nil {
		g.log.Warn("the state of a call room can't be read, so nothing rings", logkey.Room, string(at.Room), logkey.Error, err)
		return false
	}
	return unfitForCalls(state, at) == ""
}

// phoneOfUser is the device that a user of ours speaks for in calls; in account mode the bot speaks for the only one.
func (g *Gateway) phoneOfUser(u ids.UserID) (ids.DeviceID, bool) {
	g.phones.mu.Lock()
	defer g.phones.mu.Unlock()
	who := g.who.Load()
	var found []ids.DeviceID
	for d := range g.phones.device {
		if who.user(d) == u {
			found = append(found, d)
		}
	}
	if len(found) != 1 {
		return "", false
	}
	return found[0], true
}

// SendCall makes an event of a call durable and puts it on its way. After lifetime (0: a minute) it is not sent any more.
func (g *Gateway) SendCall(at CallRoom, eventType string, content []byte, lifetime time.Duration) error {
	if lifetime <= 0 {
		lifetime = time.Minute
	}
	now := g.now()
	return g.commit(lane.Change{Append: []lane.Record{{
		Lane: callLane + ids.RoomKey(at.Room), ID: ids.NewULID(now), Device: at.Device, Class: lane.Event, At: now, Urgent: true,
		Expires: now.Add(lifetime), Post: lane.Post{Kind: lane.Call, Name: eventType, Text: string(content)},
	}}})
}

// Note posts a line about a device's call to the device's room.
func (g *Gateway) Note(device ids.DeviceID, text string, mention []ids.UserID) error {
	at, ok := g.directory.place(device)
	if !ok {
		return nil // it was removed meanwhile
	}
	now := g.now()
	kind := lane.Notice
	if len(mention) > 0 {
		kind = lane.Text
	}
	return g.commit(lane.Change{Append: []lane.Record{{
		Lane: at.room, ID: ids.NewULID(now), Device: device, Class: lane.Event, At: now, Post: lane.Post{Kind: kind, Text: text, Mentions: mention},
	}}})
}

// Voice posts what a person said to a device as a voice message in the device's room: an Ogg file of Opus, which it keeps.
func (g *Gateway) Voice(device ids.DeviceID, ogg []byte, length time.Duration) error {
	at, ok := g.directory.place(device)
	if !ok {
		return nil // it was removed meanwhile
	}
	now := g.now()
	return g.commit(lane.Change{Append: []lane.Record{{
		Lane: at.room, ID: ids.NewULID(now), Device: device, Class: lane.Event, At: now,
		Post: lane.Post{Kind: lane.Media, MIME: "audio/ogg", Name: "voice-message.ogg", Data: ogg, Voice: length},
	}}})
}

// CallsWaiting says whether events of calls wait to be sent.
func (g *Gateway) CallsWaiting() bool {
	return slices.ContainsFunc(g.store.Lanes(), func(s lane.Status) bool { return strings.HasPrefix(string(s.Lane), callLane) })
}

// Phone is how a device takes part in calls; ok is false when it does not.
func (g *Gateway) Phone(d ids.DeviceID) (Phone, bool) { return g.phones.get(d) }

// Tell publishes what a device is to know of its call; a device on libpeer asks for QoS 0.
func (g *Gateway) Tell(ctx context.Context, f Phone, payload []byte) error {
	name := f.Prefix + f.Media.in()
	if g.cfg.Echoes && g.rules.Load().Wants(name) {
		g.echo.expect(topic.Message{Topic: name, Payload: payload, Time: g.now()})
	}
	qos := byte(1)
	if f.Media.Libpeer {
		qos = 0
	}
	return g.cfg.Devices.Publish(ctx, name, payload, qos, false)
}

// callMe rings a person back who said !call in a device's room. What is refused is said.
func (g *Gateway) callMe(ctx context.Context, e room.Event, key ids.RoomKey, a ask) func(*batch) {
	say := func(text string) func(*batch) {
		return func(b *batch) {
			if g.mayAnswer(b, e, key, a) {
				now := g.now()
				b.change.Append = append(b.change.Append, answer(key, a.device, e.ID, ids.NewULID(now), now, text))
			}
		}
	}
	if _, at := g.directory.in(key); !g.who.Load().mayCall(e.Sender, at.space) {
		return say(fmt.Sprintf("Calls are for owners, and for members with power %d or more.", Operate.Power()))
	}
	offset, known := g.cfg.Clock.Offset()
	now, ok := believed(g.now(), offset, known)
	if _, fresh := timely(now, e.Sent, callMeTime); !ok || !fresh {
		return func(*batch) {} // long ago; nobody waits any more
	}
	rctx, cancel := context.WithTimeout(ctx, 2*powerRead)
	defer cancel()
	at, err := g.CallRoomFor(rctx, a.device, e.Sender)
	if err == nil {
		err = g.cfg.Calls.Dial(rctx, at)
	}
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		g.log.Warn("a person could not be called back", logkey.Device, a.device, logkey.Error, err)
		return say("The call could not be placed. Try again in a moment.")
	}
	return say("I am calling you, in our own chat.")
}

// callMeTime is how old a !call may be.
const callMeTime = 30 * time.Second
