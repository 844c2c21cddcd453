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
	chatsEach      = 4       // call rooms of one person with one device; who makes more loses the oldest
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
	at, name := CallRoom{Device: device, Person: person, Self: who.user(device), Sealed: sealed}, f.Name
	if sealed { // the name can be read, so it is that of the device's room
		home, _ := g.directory.place(device)
		at.Self, name = who.bot, home.roomName
	}
	if at.Self != who.bot {
		if err := g.rooms.ensureGhost(ctx, at.Self, device); err != nil {
			return CallRoom{}, err
		}
	}
	var err error
	at.Room, err = g.matrix.CreateRoom(ctx, room.Create{
		As: at.Self, Direct: true, Encrypt: sealed, Name: title(name), Federate: !strings.HasSuffix(string(person), ":"+who.server), Invite: []ids.UserID{person},
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
