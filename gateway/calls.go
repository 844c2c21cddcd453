package gateway

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/internal/logkey"
	"github.com/gatepost/gatepost/mqtt/topic"
)

// Calls are placed in rooms of exactly two, since that is where clients offer to call: a person and the device's ghost (in
// account mode the bot). A person makes one by inviting the ghost; we make one when a device rings or a person says !call.

// CallRoom is the room where a person and a device call each other.
type CallRoom struct {
	Room   ids.RoomID   `json:"-"`
	Device ids.DeviceID `json:"device"`
	Person ids.UserID   `json:"person"`
	Self   ids.UserID   `json:"self"`                // as whom we are in it
	Sealed bool         `json:"encrypted,omitempty"` // the bot is the party, since a ghost can't encrypt
	Since  time.Time    `json:"since,omitzero"`      // when it became one
}

const (
	spaceCallRooms = "call_rooms" // of the store, by room id
	maxCallRooms   = 10_000
	chatsEach       = 4       // call rooms of one person with one device; who makes more loses the oldest
	callLane       = "call/" // and the room id: the lane of a call room
)

// callRooms knows the call rooms. Safe for concurrent use.
type callRooms struct {
	mu     sync.Mutex
	byRoom map[ids.RoomID]CallRoom
}

func loadCallRooms(s Store) (*callRooms, error) {
	c := &callRooms{byRoom: map[ids.RoomID]CallRoom{}}
	err := s.Each(spaceCallRooms, "", func(key string, value []byte) error {
		at := CallRoom{Room: ids.RoomID(key)}
		if err := json.Unmarshal(value, &at); err != nil {
			return fmt.Errorf("call room %q in the store: %w", key, err)
		}
		c.byRoom[at.Room] = at
		return nil
	})
	return c, err
}

func (c *callRooms) get(id ids.RoomID) (CallRoom, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.byRoom[id]
	return at, ok
}

// of lists the rooms of a device and a person, the latest first.
func (c *callRooms) of(device ids.DeviceID, person ids.UserID) []CallRoom {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []CallRoom
	for _, at := range c.byRoom {
		if at.Device == device && at.Person == person {
			list = append(list, at)
		}
	}
	slices.SortFunc(list, func(a, b CallRoom) int { return cmp.Or(b.Since.Compare(a.Since), cmp.Compare(a.Room, b.Room)) })
	return list
}

func (c *callRooms) full() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.byRoom) >= maxCallRooms
}

func (c *callRooms) put(at CallRoom) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.byRoom[at.Room] = at
}

func (c *callRooms) drop(id ids.RoomID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.byRoom, id)
}

// keepCallRoom records a call room, from now on.
func (g *Gateway) keepCallRoom(at *CallRoom) error {
	at.Since = g.now()
	v, err := json.Marshal(at)
	if err != nil {
		return err
	}
	if err := g.commit(lane.Change{Put: []lane.Item{{Space: spaceCallRooms, Key: string(at.Room), Value: v}}}); err != nil {
		return err
	}
	g.callRooms.put(*at)
	return nil
}

// mayCall says whether the configuration lets somebody call a device, and be called by it.
func (g *Gateway) mayCall(u ids.UserID, device ids.DeviceID) bool {
	at, _ := g.directory.place(device)
	return g.who.Load().mayCall(u, at.space)
}

func (i identity) mayCall(u ids.UserID, space string) bool {
	return i.people("", space)[u] >= Operate.Power()
}

// phones knows which devices can be called, and the topics on which they speak of calls. Safe for concurrent use.
type phones struct {
	mu     sync.Mutex
	device map[ids.DeviceID]Phone
	topics map[string]phoneTopic
}

// Phone is how a device takes part in calls.
type Phone struct {
	Device  ids.DeviceID
	Name    string
	Prefix  string       // of the topics PREFIX/call/in and PREFIX/call/out, or those of libpeer; "" with other Media
	Media   Media        // of the gateway; the device itself knows of no calls
	Ring    string       // topic on which the device rings people besides; "" none
	People  []ids.UserID // who is rung
	AtOnce  bool         // all of them; else in turn
	Timeout time.Duration
	Max     time.Duration   // the longest call
	Keys    map[rune]string // key of a telephone to command; never changed
	Picture string          // topic of what the device sees; "" none
	// PictureURL is where a picture is fetched; "" nowhere.
	PictureURL string
}

type phoneTopic struct {
	device        ids.DeviceID
	ring, picture bool // else the device speaks of its calls
}

func newPhones() *phones {
	return &phones{device: map[ids.DeviceID]Phone{}, topics: map[string]phoneTopic{}}
}

func (p *phones) get(d ids.DeviceID) (Phone, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f, ok := p.device[d]
	return f, ok
}

func (p *phones) topic(name string) (phoneTopic, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t, ok := p.topics[name]
	return t, ok
}

// put makes f what is known of its device; one with neither prefix nor media can't be called. A topic belongs to the first device that
// has it.
func (p *phones) put(f Phone) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remove(f.Device)
	switch {
	case f.Prefix != "":
		out := f.Prefix + f.Media.out()
		if _, taken := p.topics[out]; taken {
			return
		}
		p.topics[out] = phoneTopic{device: f.Device}
	case f.Media == Media{}:
		return
	}
	p.device[f.Device] = f
	if _, taken := p.topics[f.Ring]; f.Ring != "" && !taken {
		p.topics[f.Ring] = phoneTopic{device: f.Device, ring: true}
	}
	if _, taken := p.topics[f.Picture]; f.Picture != "" && !taken {
		p.topics[f.Picture] = phoneTopic{device: f.Device, picture: true}
	}
}

func (p *phones) remove(d ids.DeviceID) {
	delete(p.device, d)
	for name, t := range p.topics {
		if t.device == d {
			delete(p.topics, name)
		}
	}
}

const (
	callIn  = "/call/in"
	callOut = "/call/out"
	// Those of libpeer, which are the library's own.
	invokeIn  = "/invoke"
	invokeOut = "/result"
)

// in and out end the topics on which a device hears and speaks of its calls.
func (m Media) in() string {
	if m.Libpeer {
		return invokeIn
	}
	return callIn
}

func (m Media) out() string {
	if m.Libpeer {
		return invokeOut
	}
	return callOut
}

// phoneOf is how a device takes part in calls by its rules: the first that says so counts.
func phoneOf(d *Device, rules []*Rule) Phone {
	f := Phone{Device: d.ID, Name: d.Name}
	for _, r := range rules {
		if r.spec.Call == nil {
			continue
		}
		captures := d.Rules[r.spec.Topic]
		if r.spec.Call.Prefix != "" {
			prefix, err := r.callPrefix.ExpandTopic(captures)
			if err != nil {
				continue // a capture is not there
			}
			f.Prefix = prefix
		}
		f.Media, f.Max, f.Keys = r.spec.Call.Media, r.spec.Call.Max, r.spec.Call.Keys
		if ring := r.spec.Call.Ring; ring != nil {
			f.People, f.AtOnce, f.Timeout = ring.People, ring.AtOnce, ring.Timeout
			if ring.Topic != "" {
				f.Ring, _ = r.ringTopic.ExpandTopic(captures)
			}
		}
		f.PictureURL = r.spec.Call.PictureURL
		if r.spec.Call.Picture != "" {
			f.Picture, _ = r.pictureTopic.ExpandTopic(captures)
		}
		break
	}
	return f
}

// know tells the other goroutines of a device. The router goroutine calls it.
func (g *Gateway) know(d *Device) {
	rules := g.rulesOf(d)
	g.directory.put(d, encryptionOf(rules), g.private.places(d))
	g.phones.put(phoneOf(d, rules))
}

// phoneSaid hands over what a device says of calls; false when the message is not about them. An old value is not news.
func (g *Gateway) phoneSaid(m topic.Message) bool {
	if g.cfg.Calls == nil {
		return false
	}
	t, ok := g.phones.topic(m.Topic)
	if !ok {
		return false
	}
	switch {
	case t.picture:
		g.keepPicture(t.device, m)
	case m.Retained:
	case t.ring:
		g.cfg.Calls.Ring(t.device)
	default:
		g.cfg.Calls.Said(t.device, m.Payload)
	}
	return !t.ring // what rings may be an event for the room as well
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

// unfitForCalls says why a room is no place for calls between the two of at; "" when it is one.
func unfitForCalls(state room.State, at CallRoom) string {
	switch {
	case state.Encrypted && !at.Sealed:
		return "it is encrypted"
	case !state.Encrypted && at.Sealed:
		return "it is not encrypted"
	case state.JoinRule != "invite" && state.JoinRule != "knock":
		return "others can join"
	case state.WorldReadable:
		return "others can read it"
	}
	for u, m := range state.Members {
		if (m == "join" || m == "invite") && u != at.Person && u != at.Self {
			return "others are in it"
		}
	}
	return ""
}

// invitedToCall lets the ghost of a device that can be called, or the bot, follow a person into a chat of two. Into an
// encrypted one it says how else to call, and leaves.
func (g *Gateway) invitedToCall(ctx context.Context, e room.Event, self ids.UserID) {
	device, ok := g.phoneOfUser(self)
	if !ok || g.cfg.Calls == nil || !g.mayCall(e.Sender, device) || g.callRooms.full() {
		return
	}
	at := CallRoom{Room: e.Room, Device: device, Person: e.Sender, Self: self}
	log := g.log.With(logkey.Room, string(e.Room), logkey.Device, device)
	if home, ok := g.directory.place(device); ok && g.encryption(home.room) == EncryptionRequire {
		log.Info("a chat is no place for calls", logkey.Reason, "it is not encrypted, or with a user who can't encrypt")
		if err := g.matrix.Leave(ctx, e.Room, self); err != nil { // the person sees that the invitation is refused
			log.Warn("an invitation to a chat could not be refused", logkey.Error, err)
		}
		return
	}
	if err := g.matrix.Join(ctx, e.Room, self); err != nil {
		log.Warn("an invitation to a chat could not be followed", logkey.Error, err)
		return
	}
	state, err := g.matrix.State(ctx, e.Room, self)
	why := unfitForCalls(state, at)
	switch {
	case err != nil:
		log.Warn("a chat's state can't be read", logkey.Error, err)
	case why == "":
		if err = g.keepCallRoom(&at); err != nil {
			log.Error("a call room could not be recorded", logkey.Error, err)
			return
		}
		g.thinCallRooms(ctx, at)
		return
	case state.Encrypted:
		g.matrix.Decline(ctx, e.Room, self)
	}
	if err := g.matrix.Leave(ctx, e.Room, self); err != nil {
		log.Warn("a chat could not be left", logkey.Error, err)
	}
	log.Info("a chat is no place for calls", logkey.Reason, why)
}

// thinCallRooms leaves the oldest chats of a person with a device who made too many.
func (g *Gateway) thinCallRooms(ctx context.Context, at CallRoom) {
	list := g.callRooms.of(at.Device, at.Person)
	for _, old := range list[min(len(list), chatsEach):] {
		if err := g.dropCallRoom(ctx, old); err != nil {
			g.log.Warn("a chat could not be given up", logkey.Room, string(old.Room), logkey.Error, err)
			return
		}
		if err := g.matrix.Leave(ctx, old.Room, old.Self); err != nil {
			g.log.Warn("a chat could not be left", logkey.Room, string(old.Room), logkey.Error, err)
		}
	}
}

// dropCallRoom ends the calls of a call room, which is none any more.
func (g *Gateway) dropCallRoom(ctx context.Context, at CallRoom) error {
	if g.cfg.Calls != nil {
		if err := g.cfg.Calls.Left(ctx, at); err != nil {
			return err
		}
	}
	if err := g.commit(lane.Change{Put: []lane.Item{{Space: spaceCallRooms, Key: string(at.Room)}}}); err != nil {
		return err
	}
	g.callRooms.drop(at.Room)
	return nil
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

// callRoomChanged follows who leaves a call room: then it is none any more.
func (g *Gateway) callRoomChanged(ctx context.Context, e room.Event) error {
	at, ok := g.callRooms.get(e.Room)
	if !ok || e.Type != "m.room.member" {
		return nil
	}
	user := ids.UserID(*e.StateKey)
	var c struct {
		Membership string `json:"membership"`
	}
	if json.Unmarshal(e.Content, &c) != nil || c.Membership != "leave" && c.Membership != "ban" || user != at.Person && user != at.Self {
		return nil
	}
	return g.dropCallRoom(ctx, at)
}

// CallRoomFor finds or makes the room where a device calls a person: the latest that is fit for calls still. A crash between the making and the record leaves an
// empty chat behind, no more. The error is for the log; it says what the homeserver refused.
func (g *Gateway) CallRoomFor(ctx context.Context, device ids.DeviceID, person ids.UserID) (CallRoom, error) {
	who := g.who.Load()
	if !g.mayCall(person, device) {
		return CallRoom{}, fmt.Errorf("%s may not be called: neither an owner nor a member with power %d", person, Operate.Power())
	}
	sealed := g.callsSealed(device)
	for _, at := range g.callRooms.of(device, person) {
		if at.Sealed != sealed {
			continue
		}
		state, err := g.matrix.State(ctx, at.Room, at.Self)
		if err != nil {
			return CallRoom{}, fmt.Errorf("the state of the call room %s: %w", at.Room, err)
		}
		if why := unfitForCalls(state, at); why != "" {
			g.log.Warn("a chat is no place for calls any more", logkey.Room, string(at.Room), logkey.Device, device, logkey.Reason, why)
			continue
		}
		return at, nil
	}
	if g.callRooms.full() {
		return CallRoom{}, fmt.Errorf("there are %d call rooms already", maxCallRooms)
	}
	f, ok := g.phones.get(device)
	if !ok {
		return CallRoom{}, fmt.Errorf("%s can't be called", device)
	}
	at := CallRoom{Device: device, Person: person, Self: who.user(device), Sealed: sealed}
	if sealed {
		at.Self = who.bot
	}
	if at.Self != who.bot {
		if err := g.rooms.ensureGhost(ctx, at.Self, device); err != nil {
			return CallRoom{}, err
		}
	}
	var err error
	at.Room, err = g.matrix.CreateRoom(ctx, room.Create{
		As: at.Self, Direct: true, Encrypt: sealed, Name: title(f.Name), Federate: !strings.HasSuffix(string(person), ":"+who.server), Invite: []ids.UserID{person},
	})
	if err != nil {
		return CallRoom{}, fmt.Errorf("call room: %w", err)
	}
	if err := g.keepCallRoom(&at); err != nil {
		return CallRoom{}, err
	}
	g.thinCallRooms(ctx, at)
	return at, nil
}

// callsSealed says whether calls of a device are made in encrypted rooms: where its own room is one.
func (g *Gateway) callsSealed(device ids.DeviceID) bool {
	at, ok := g.directory.place(device)
	return ok && (g.encryption(at.room).makes() || g.rooms.have(at.room).Sealed)
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
