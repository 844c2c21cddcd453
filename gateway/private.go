package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/internal/logkey"
)

// A private room is an encrypted one of a person with the bot, where devices that the person chose speak as well: what they say
// in their own room is said there, too, and they can be asked for things. Each person has one at most.

const (
	spacePrivate = "private" // of the store, by room key
	privateLane  = "private/"
	privateName  = "gatepost, private"
	maxPrivate   = 1000 // rooms
)

// privateRoom is whose it is and what it is for.
type privateRoom struct {
	Person  ids.UserID     `json:"person"`
	Devices []ids.DeviceID `json:"devices,omitempty"` // none: nothing is said there
}

func privateKey(person ids.UserID) ids.RoomKey {
	return ids.RoomKey(privateLane + ids.Hash(string(person)))
}

// privateRooms knows the private rooms. Safe for concurrent use; the router goroutine writes it.
type privateRooms struct {
	mu    sync.Mutex
	byKey map[ids.RoomKey]privateRoom
}

func loadPrivateRooms(s Store) (*privateRooms, error) {
	p := &privateRooms{byKey: map[ids.RoomKey]privateRoom{}}
	err := s.Each(spacePrivate, "", func(key string, value []byte) error {
		var r privateRoom
		if err := json.Unmarshal(value, &r); err != nil {
			return fmt.Errorf("private room %q in the store: %w", key, err)
		}
		p.byKey[ids.RoomKey(key)] = r
		return nil
	})
	return p, err
}

func (p *privateRooms) get(key ids.RoomKey) (privateRoom, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r, ok := p.byKey[key]
	return r, ok
}

// of lists the rooms that a device speaks in, in order.
func (p *privateRooms) of(device ids.DeviceID) (keys []ids.RoomKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, r := range p.byKey {
		if slices.Contains(r.Devices, device) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// places are the private rooms of a device as the directory has them.
func (p *privateRooms) places(d *Device) (out []place) {
	for _, key := range p.of(d.ID) {
		out = append(out, place{name: d.Name, room: key, roomName: privateName, encryption: EncryptionRequire})
	}
	return out
}

// put makes r what a person's room is, in the commit of b. It runs in the router goroutine.
func (g *Gateway) putPrivate(b *batch, key ids.RoomKey, r privateRoom) {
	raw, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings only
	}
	p := g.private
	p.mu.Lock()
	was := p.byKey[key]
	p.byKey[key] = r
	p.mu.Unlock()
	b.change.Put = append(b.change.Put, lane.Item{Space: spacePrivate, Key: string(key), Value: raw})
	for _, id := range slices.Concat(was.Devices, r.Devices) {
		if d := g.devices.byID[id]; d != nil {
			g.know(d)
		}
	}
}

// copyPrivate says in the private rooms what the devices of b say in their own. It runs in the router goroutine.
func (g *Gateway) copyPrivate(b *batch) {
	for _, r := range b.change.Append {
		spoken := r.Post.Kind == lane.Text || r.Post.Kind == lane.Notice || r.Post.Kind == lane.Media
		if r.Device == "" || !spoken || r.Key == cardKey && r.Topic == "" || r.Urgent || r.Post.RelatesTo != "" || r.Post.Replaces != "" || strings.HasPrefix(string(r.Lane), privateLane) {
			continue
		}
		for _, key := range g.private.of(r.Device) {
			room, _ := g.private.get(key)
			if !g.belongs(room.Person, r.Device) {
				continue
			}
			c := r
			c.Lane, c.ID = key, ids.NewULID(r.At)
			if r.Digest != nil {
				d := *r.Digest
				c.Digest = &d
			}
			if len(r.Post.Mentions) > 0 {
				c.Post.Mentions = []ids.UserID{room.Person}
			}
			b.change.Append = append(b.change.Append, c)
		}
	}
}

// known says whether somebody is an owner or a member, of some spaces alone perhaps.
func (i identity) known(u ids.UserID) bool {
	_, member := i.members[u]
	for _, site := range i.sites {
		_, here := site[u]
		member = member || here
	}
	return member || i.owner(u)
}

// belongs says whether somebody is one of the people of a device.
func (g *Gateway) belongs(u ids.UserID, device ids.DeviceID) bool {
	at, ok := g.directory.place(device)
	_, is := g.who.Load().people("", at.space)[u]
	return ok && is
}

// people are whom a private room is for, with the least power that they have with one of its devices; nobody if they do not
// belong to any.
func (r privateRoom) people(g *Gateway) map[ids.UserID]int {
	out := map[ids.UserID]int{}
	for _, id := range r.Devices {
		at, ok := g.directory.place(id)
		power, is := g.who.Load().people("", at.space)[r.Person]
		if old, had := out[r.Person]; ok && is && (!had || power < old) {
			out[r.Person] = power
		}
	}
	return out
}

// notTheirs says why somebody may not ask for anything of a device in a room; "" when it is no private room, or they belong to
// the device.
func (g *Gateway) notTheirs(key ids.RoomKey, u ids.UserID, device ids.DeviceID) string {
	if strings.HasPrefix(string(key), privateLane) && !g.belongs(u, device) {
		return "You are not one of the people of this device."
	}
	return ""
}

const privateWord = "!private"

// asksPrivate reads "!private NAME ...".
func asksPrivate(text string) (names []string, ok bool) {
	first, rest := word(text)
	if first != privateWord {
		return nil, false
	}
	return strings.Fields(strings.ReplaceAll(rest, ",", " ")), true
}

// privately does what a person asks for with "!private" in a room of devices or in a chat with the bot.
func (g *Gateway) privately(ctx context.Context, e room.Event, key ids.RoomKey, names []string) func(*batch) {
	say := func(text string) func(*batch) { return func(b *batch) { g.say(b, e, key, text) } }
	switch {
	case !g.who.Load().known(e.Sender):
		return say("Private rooms are for the owners and members that my configuration names.")
	case !g.cfg.Private:
		return say("I don't encrypt here, so I can't make a private room.")
	}
	state, err := g.powers.get(ctx, e.Room, g.matrix, "")
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		g.log.Warn("the state of a room can't be read", logkey.Room, string(e.Room), logkey.Error, err)
		return say("The homeserver does not tell who is here. Ask again in a moment.")
	}
	if why := doubtful(e, state); why != "" {
		return say(why)
	}
	here, _ := g.directory.in(key)
	return func(b *batch) { g.choosePrivate(b, e, key, names, here) }
}

// choosePrivate makes the private room of whoever sent e one for the devices that are named, or for those here. It runs in the
// router goroutine.
func (g *Gateway) choosePrivate(b *batch, e room.Event, key ids.RoomKey, names []string, here []ids.DeviceID) {
	own := privateKey(e.Sender)
	had, known := g.private.get(own)
	if len(names) == 0 && len(here) == 0 {
		g.say(b, e, key, g.privateHelp(e.Sender, had))
		return
	}
	var chosen []ids.DeviceID
	switch {
	case len(names) == 1 && names[0] == "off":
	case len(names) > 0:
		for _, name := range names {
			id := g.deviceNamed(e.Sender, name)
			if id == "" {
				g.say(b, e, key, fmt.Sprintf("There is no device “%s”. %s", brief(name), g.privateHelp(e.Sender, had)))
				return
			}
			chosen = append(chosen, id)
		}
	case strings.HasPrefix(string(key), privateLane):
		g.say(b, e, key, g.privateHelp(e.Sender, had))
		return
	default: // this room's devices besides
		chosen = slices.Concat(had.Devices, here)
	}
	chosen = slices.DeleteFunc(chosen, func(id ids.DeviceID) bool { return !g.belongs(e.Sender, id) })
	slices.Sort(chosen)
	chosen = slices.Compact(chosen)
	for _, id := range chosen {
		if encryptionOf(g.rulesOf(g.devices.byID[id])) == EncryptionOff {
			g.say(b, e, key, fmt.Sprintf("Encryption is off for %s, so it can't speak in a private room.", id))
			return
		}
	}
	g.private.mu.Lock()
	full := !known && len(g.private.byKey) >= maxPrivate
	g.private.mu.Unlock()
	if full || !g.rooms.admit(own, "") {
		g.say(b, e, key, "There are too many rooms already.")
		return
	}
	if len(chosen) == 0 && !known {
		g.say(b, e, key, "You have no private room.")
		return
	}
	g.putPrivate(b, own, privateRoom{e.Sender, chosen})
	if len(chosen) == 0 {
		g.say(b, e, key, "Your private room is silent from now on.")
		return
	}
	g.rooms.callBack(own, e.Sender)
	b.change.Append = append(b.change.Append, roomRecord(own, "", g.now()))
	g.say(b, e, key, fmt.Sprintf("Your private room is for %s now; you are invited to it. It is encrypted, and nobody but us is in it.", list(chosen)))
}

// deviceNamed finds one of somebody's devices by its id or its name; "" when there is none, or several have the name.
func (g *Gateway) deviceNamed(u ids.UserID, name string) (found ids.DeviceID) {
	if id := ids.DeviceID(name); g.devices.byID[id] != nil && g.belongs(u, id) {
		return id
	}
	for id, d := range g.devices.byID {
		if g.belongs(u, id) && strings.EqualFold(strings.ReplaceAll(d.Name, " ", "-"), name) {
			if found != "" {
				return ""
			}
			found = id
		}
	}
	return found
}

func (g *Gateway) privateHelp(u ids.UserID, had privateRoom) string {
	now := "You have no private room yet."
	if len(had.Devices) > 0 {
		now = "Your private room is for " + list(had.Devices) + "."
	}
	theirs := slices.DeleteFunc(slices.Sorted(maps.Keys(g.devices.byID)), func(id ids.DeviceID) bool { return !g.belongs(u, id) })
	return now + " “!private DEVICE …” makes it one for those devices, “!private off” silences it. Devices: " + list(theirs) + "."
}

// say answers, unless whoever sent e asks too much. It runs in the router goroutine.
func (g *Gateway) say(b *batch, e room.Event, key ids.RoomKey, text string) {
	if g.mayAnswer(b, e, key, ask{}) {
		now := g.now()
		b.change.Append = append(b.change.Append, answer(key, "", e.ID, ids.NewULID(now), now, text))
	}
}

// leftPrivate silences the private room that its person has left.
func (g *Gateway) leftPrivate(e room.Event) func(*batch) {
	key, ok := g.directory.key(e.Room)
	if !ok {
		return nil
	}
	r, ok := g.private.get(key)
	if !ok || ids.UserID(*e.StateKey) != r.Person || len(r.Devices) == 0 || !gone(e) {
		return nil
	}
	return func(b *batch) { g.putPrivate(b, key, privateRoom{Person: r.Person}) }
}

// gone says whether a member event takes somebody out of the room.
func gone(e room.Event) bool {
	var c struct {
		Membership string `json:"membership"`
	}
	return json.Unmarshal(e.Content, &c) == nil && (c.Membership == "leave" || c.Membership == "ban")
}
