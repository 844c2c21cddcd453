package gateway

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
)

// place is where a device is and what people call it.
type place struct {
	name     string
	room     ids.RoomKey
	roomName string
	space    string
	about    string // what it is: the topic of its own room; "" nobody knows
	kind     string // convention.Kind, or otherKind; "" it announced nothing

	encryption Encryption // what its rules ask for
}

// directory is what the other goroutines know of the devices: names and places, by device and by room. Safe for
// concurrent use; the router goroutine writes it.
type directory struct {
	mu      sync.Mutex
	devices map[ids.DeviceID][]place // home first
	rooms   map[ids.RoomKey][]ids.DeviceID
	byRoom  map[ids.RoomID]ids.RoomKey // of rooms that exist
}

func newDirectory() *directory {
	return &directory{devices: map[ids.DeviceID][]place{}, rooms: map[ids.RoomKey][]ids.DeviceID{}, byRoom: map[ids.RoomID]ids.RoomKey{}}
}

// put has a device at its home and where it speaks besides, with the encryption that its rules ask for, and at more.
func (d *directory) put(v *Device, e Encryption, more []place) {
	places := append([]place{v.home()}, v.also...)
	for i := range places {
		places[i].encryption = e
	}
	places = append(places, more...)
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, old := range d.devices[v.ID] {
		if !slices.ContainsFunc(places, func(p place) bool { return p.room == old.room }) {
			d.leave(v.ID, old.room)
		}
	}
	d.devices[v.ID] = places
	for _, p := range places {
		if !slices.Contains(d.rooms[p.room], v.ID) {
			d.rooms[p.room] = append(d.rooms[p.room], v.ID)
		}
	}
}

func (d *directory) leave(id ids.DeviceID, key ids.RoomKey) {
	d.rooms[key] = slices.DeleteFunc(slices.Clone(d.rooms[key]), func(o ids.DeviceID) bool { return o == id })
	if len(d.rooms[key]) == 0 {
		delete(d.rooms, key)
	}
}

func (d *directory) remove(id ids.DeviceID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range d.devices[id] {
		d.leave(id, p.room)
	}
	delete(d.devices, id)
}

// place is where a device lives.
func (d *directory) place(id ids.DeviceID) (p place, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if list := d.devices[id]; len(list) > 0 {
		return list[0], true
	}
	return p, false
}

// in lists the devices of a room, and the room's name and space by the first of them.
func (d *directory) in(key ids.RoomKey) (list []ids.DeviceID, p place) {
	d.mu.Lock()
	defer d.mu.Unlock()
	list = slices.Clone(d.rooms[key])
	if len(list) > 0 {
		for _, at := range d.devices[list[0]] {
			if at.room == key {
				p = at
				break
			}
		}
	}
	return list, p
}

// shared says whether several devices speak in a room.
func (d *directory) shared(key ids.RoomKey) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.rooms[key]) > 1
}

func (d *directory) exists(key ids.RoomKey, id ids.RoomID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.byRoom[id] = key
}

func (d *directory) key(id ids.RoomID) (ids.RoomKey, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k, ok := d.byRoom[id]
	return k, ok
}

// identity makes the Matrix names of things: ghosts, aliases, people.
type identity struct {
	server   string
	bot      ids.UserID
	ghosts   bool // account mode has none: the bot speaks for all
	control  string
	owners   []ids.UserID
	members  map[ids.UserID]int
	sites    map[string]map[ids.UserID]int // members of some spaces alone, by the space's name
	hours    map[ids.UserID]Hours
	limits   []Limit
	queue    bool           // commands wait for devices that can't be reached
	verified bool           // only they are obeyed
	zone     *time.Location // of times that people read
}

const prefix = "gatepost_"

// user is who speaks for a device; "" is the bot.
func (i identity) user(d ids.DeviceID) ids.UserID {
	if d == "" || !i.ghosts {
		return i.bot
	}
	return ids.UserID("@" + prefix + string(d) + ":" + i.server)
}

// ours says whether a user is the bot or one of the ghosts: nothing they say is a command.
func (i identity) ours(u ids.UserID) bool {
	return u == i.bot || strings.HasPrefix(string(u), "@"+prefix) && strings.HasSuffix(string(u), ":"+i.server)
}

func (i identity) owner(u ids.UserID) bool { return slices.Contains(i.owners, u) }

// alias is the localpart of the alias of a room.
func (i identity) alias(key ids.RoomKey) string {
	s := string(key)
	switch {
	case key == ids.ControlRoom:
		return i.control
	case strings.HasPrefix(s, "device/"):
		return prefix + strings.TrimPrefix(s, "device/")
	case strings.HasPrefix(s, "space/"):
		return prefix + "s_" + ids.Hash(s)
	default:
		return prefix + "r_" + ids.Hash(s)
	}
}

// device is whose ghost a user is; "" nobody's.
func (i identity) device(u ids.UserID) ids.DeviceID {
	local, _ := strings.CutSuffix(string(u), ":"+i.server)
	id, ok := strings.CutPrefix(local, "@"+prefix)
	if !ok {
		return ""
	}
	return ids.DeviceID(id)
}

// everybody is all who belong into the rooms of a space ("": rooms in none), in order.
func (i identity) everybody(space string) []ids.UserID {
	return slices.Sorted(maps.Keys(i.people("", space)))
}

// people are those who are invited to a room that is in a space, or is one, with their power.
func (i identity) people(key ids.RoomKey, space string) map[ids.UserID]int {
	out := map[ids.UserID]int{}
	if key != ids.ControlRoom {
		maps.Copy(out, i.members)
		maps.Copy(out, i.sites[space])
	}
	for _, o := range i.owners {
		out[o] = 100
	}
	return out
}

// want is what a room should be. space is the name of the space that it is in, or is; parent is the space's room, once there is one.
func (i identity) want(key ids.RoomKey, name, space string, parent ids.RoomID, ghost ids.UserID) room.Want {
	w := room.Want{Alias: i.alias(key), Name: name, Space: strings.HasPrefix(string(key), "space/"), Parent: parent, People: i.people(key, space)}
	if ghost != i.bot {
		w.Ghost = ghost
	}
	for u := range w.People {
		if !strings.HasSuffix(string(u), ":"+i.server) {
			w.Federate = true
		}
	}
	return w
}
