package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/internal/logkey"
)

// provisioner makes rooms what they should be, step by step, each step recorded when it is done. Safe for concurrent use;
// one room is worked on by one goroutine at a time.
type provisioner struct {
	g      *Gateway
	mu     sync.Mutex
	rooms  map[ids.RoomKey]*roomEntry
	ghosts map[ids.UserID]string // display names that are set
	looks  looks
	pause  time.Time // nothing is made before: the homeserver asked for it
}

type roomEntry struct {
	work  sync.Mutex // held while a step is performed
	taken int        // under work: how often the alias was taken although nobody has it
	have  atomic.Pointer[room.Have]
}

// errNoRoom is in the error of ensure when there is no room, so that nobody can say anything there.
var errNoRoom = errors.New("there is no room")

func loadRooms(g *Gateway) (*provisioner, error) {
	p := &provisioner{g: g, rooms: map[ids.RoomKey]*roomEntry{}, ghosts: map[ids.UserID]string{}}
	err := g.store.Each(spaceRooms, "", func(key string, value []byte) error {
		var have room.Have
		if err := json.Unmarshal(value, &have); err != nil {
			return fmt.Errorf("room %q in the store: %w", key, err)
		}
		p.entry(ids.RoomKey(key)).have.Store(&have)
		if have.Room != "" {
			g.directory.exists(ids.RoomKey(key), have.Room)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = g.store.Each(spaceGhosts, "", func(key string, value []byte) error {
		p.ghosts[ids.UserID(key)] = string(value)
		return nil
	})
	return p, err
}

func (p *provisioner) entry(key ids.RoomKey) *roomEntry {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.rooms[key]
	if e == nil {
		e = &roomEntry{}
		e.have.Store(&room.Have{})
		p.rooms[key] = e
	}
	return e
}

// admit says whether there may be a room with that key and, unless it is "", a space with that name.
func (p *provisioner) admit(key ids.RoomKey, space string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, known := p.rooms[key]
	if space != "" && known {
		_, known = p.rooms[ids.Space(space)]
	}
	return known || len(p.rooms)+2 <= maxRooms
}

// have is what is recorded of a room; the zero value when it is not being made.
func (p *provisioner) have(key ids.RoomKey) room.Have {
	p.mu.Lock()
	e := p.rooms[key]
	p.mu.Unlock()
	if e == nil {
		return room.Have{}
	}
	return *e.have.Load()
}

// sealed records that a room is encrypted. Of rooms that are not ours to make nothing is recorded.
func (p *provisioner) sealed(key ids.RoomKey) error {
	if !p.exists(key) {
		return nil
	}
	e := p.entry(key)
	e.work.Lock()
	defer e.work.Unlock()
	have := *e.have.Load()
	have.Sealed = true
	return p.keep(key, e, have)
}

// keep makes durable what is done for a room. The caller holds e.work.
func (p *provisioner) keep(key ids.RoomKey, e *roomEntry, have room.Have) error {
	v, err := json.Marshal(have)
	if err != nil {
		return err
	}
	if err := p.g.commit(lane.Change{Put: []lane.Item{{Space: spaceRooms, Key: string(key), Value: v}}}); err != nil {
		return err
	}
	e.have.Store(&have)
	return nil
}

func (p *provisioner) exists(key ids.RoomKey) bool { return p.have(key).Room != "" }

// alias is how people find a room.
func (p *provisioner) alias(key ids.RoomKey) string {
	who := p.g.who.Load()
	return "#" + suffixed(who.alias(key), p.have(key).Suffix) + ":" + who.server
}

// suffixed is an alias whose predecessors, so many, were taken.
func suffixed(alias string, n int) string {
	if n == 0 {
		return alias
	}
	return alias + "_" + strconv.Itoa(n)
}

// list is all rooms of which something is recorded.
func (p *provisioner) list() map[ids.RoomKey]room.Have {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[ids.RoomKey]room.Have{}
	for k, e := range p.rooms {
		if h := e.have.Load(); h.Token != "" {
			out[k] = *h
		}
	}
	return out
}

// ensure makes the room of key what it should be for device to speak in it ("": for the bot), and says where it is. The
// error has errNoRoom in it when nobody can speak there, and not only this device.
func (p *provisioner) ensure(ctx context.Context, key ids.RoomKey, device ids.DeviceID) (ids.RoomID, error) {
	for _, chat := range [...]string{callLane, chatLane} {
		if id, ok := strings.CutPrefix(string(key), chat); ok {
			return ids.RoomID(id), nil
		}
	}
	who := p.g.who.Load()
	_, at := p.g.directory.in(key)
	name, space := at.roomName, at.space
	switch s := string(key); {
	case key == ids.ControlRoom:
		name = "gatepost"
	case strings.HasPrefix(s, "space/"):
		name = strings.TrimPrefix(s, "space/")
		space = name
	case strings.HasPrefix(s, privateLane):
		name = privateName
	case name == "": // its devices are gone, but something is still to be said
		if name = p.have(key).Name; name == "" {
			name = s[strings.IndexByte(s, '/')+1:]
		}
	}
	var parent ids.RoomID
	if at.space != "" {
		var err error
		parent, err = p.ensure(ctx, ids.Space(at.space), "")
		if lane.OutcomeOf(err).Verdict == lane.Dead { // a room without its space is better than none
			p.cosmetic(ids.Space(at.space), err)
		} else if err != nil {
			return "", fmt.Errorf("space %q: %w", at.space, err)
		}
	}
	encrypt := p.g.encryption(key).makes()
	ghost := p.voice(key, device)
	if encrypt || p.have(key).Sealed || p.g.sealed.has(key) { // the bot speaks there
		ghost = who.bot
	}
	if ghost != who.bot {
		if err := p.ensureGhost(ctx, ghost, device); err != nil {
			return "", err
		}
	}
	w := who.want(key, title(name), space, parent, ghost)
	w.Encrypt = encrypt
	if own, ok := p.g.private.get(key); ok {
		w.People = own.people(p.g)
	}
	if strings.HasPrefix(string(key), "device/") && !encrypt && !p.have(key).Sealed && !p.g.sealed.has(key) {
		w.Topic, w.Avatar = at.about, at.kind // readable also where messages are not
	}
	e := p.entry(key)
	e.work.Lock()
	defer e.work.Unlock()
	p.farewell(key, &w, *e.have.Load())
	for {
		have := *e.have.Load()
		s, missing := room.Next(w, have)
		if !missing {
			return have.Room, nil
		}
		next, err := p.step(ctx, key, e, w, s)
		if s.Do == room.SetAvatar && err != nil && ctx.Err() == nil && lane.OutcomeOf(err).Verdict != lane.Stop { // nothing waits for a picture
			p.looks.rest(p.g.now())
			p.g.log.Info("the picture of a room could not be set", logkey.Room, key, logkey.Error, err)
			w.Avatar = have.Avatar
			continue
		}
		if err != nil && (have.Room == "" || s.Do == room.Encrypt) { // nothing is said before a room is what it must be
			err = fmt.Errorf("%w: %w", errNoRoom, err)
		}
		if err != nil {
			return "", fmt.Errorf("room %s, step %s: %w", key, s.Do, err)
		}
		if err := p.keep(key, e, next); err != nil {
			return "", err
		}
		if s.Do == room.FindOrMake && next.Room != "" {
			p.g.directory.exists(key, next.Room)
		}
	}
}

// step performs one step unless the homeserver asked for a pause, and gives what is to be recorded. A room in which
// people can be spoken to is not given up because something about it is refused: that is told and left as it is.
func (p *provisioner) step(ctx context.Context, key ids.RoomKey, e *roomEntry, w room.Want, s room.Step) (room.Have, error) {
	have, now := *e.have.Load(), p.g.now()
	p.mu.Lock()
	wait := p.pause.Sub(now)
	p.mu.Unlock()
	if wait > 0 && s.Do != room.MakeToken {
		return have, lane.Outcome{Verdict: lane.Retry, After: wait, Reason: "the homeserver asked to wait before more rooms are made"}
	}
	next, err := p.perform(ctx, key, e, w, have, s)
	o := lane.OutcomeOf(err)
	if o.Limited && s.Do != room.Invite { // how often somebody may be invited says nothing about other rooms
		p.mu.Lock()
		p.pause = now.Add(max(o.After, time.Second))
		p.mu.Unlock()
	}
	if o.Verdict == lane.Dead && s.Do > room.Join {
		p.cosmetic(key, fmt.Errorf("step %s %s: %w", s.Do, s.User, err))
		return have.Done(w, s), nil
	}
	return next, err
}

// cosmetic tells of what is not as it should be in a room that can be used.
func (p *provisioner) cosmetic(key ids.RoomKey, err error) {
	p.g.log.Warn("the homeserver refuses something about a room, which is used as it is", logkey.Room, key, logkey.Error, err)
	p.g.Alert(fmt.Sprintf("Something about the room %s was refused, so it stays as it is: %v", key, err), "room "+string(key))
}

func (p *provisioner) ensureGhost(ctx context.Context, ghost ids.UserID, device ids.DeviceID) error {
	at, _ := p.g.directory.place(device)
	name := title(at.name)
	if strings.TrimSpace(name) == "" {
		name = string(device)
	}
	p.mu.Lock()
	set, ok := p.ghosts[ghost]
	p.mu.Unlock()
	if ok && set == name {
		return nil
	}
	if err := p.g.matrix.EnsureUser(ctx, ghost, name); err != nil {
		return fmt.Errorf("user %s: %w", ghost, err)
	}
	if err := p.g.commit(lane.Change{Put: []lane.Item{{Space: spaceGhosts, Key: string(ghost), Value: []byte(name)}}}); err != nil {
		return err
	}
	p.mu.Lock()
	p.ghosts[ghost] = name
	p.mu.Unlock()
	return nil
}

// perform does one step and gives what is to be recorded of it.
func (p *provisioner) perform(ctx context.Context, key ids.RoomKey, e *roomEntry, w room.Want, h room.Have, s room.Step) (room.Have, error) {
	m, who := p.g.matrix, p.g.who.Load()
	var err error
	switch s.Do {
	case room.MakeToken:
		h.Token = ids.NewULID(p.g.now())
		return h, nil
	case room.FindOrMake:
		return p.findOrMake(ctx, key, e, w, h)
	case room.Join:
		if err = m.Invite(ctx, h.Room, s.User); err == nil {
			err = m.Join(ctx, h.Room, s.User)
		}
	case room.Encrypt:
		err = m.SetState(ctx, h.Room, "m.room.encryption", "", map[string]any{"algorithm": "m.megolm.v1.aes-sha2"})
	case room.SetName:
		err = m.SetState(ctx, h.Room, "m.room.name", "", map[string]any{"name": w.Name})
	case room.SetTopic:
		err = m.SetState(ctx, h.Room, "m.room.topic", "", map[string]any{"topic": w.Topic})
	case room.Leave:
		err = m.Leave(ctx, h.Room, s.User)
	case room.SetAvatar:
		err = p.setAvatar(ctx, h.Room, w.Avatar)
	case room.LeaveParent:
		err = p.leaveSpace(ctx, h)
	case room.SetParent:
		if h.Parent != "" {
			if err = p.leaveSpace(ctx, h); err != nil {
				return h, err
			}
		}
		via := []string{who.server}
		if err = m.SetState(ctx, w.Parent, "m.space.child", string(h.Room), map[string]any{"via": via}); err == nil {
			err = m.SetState(ctx, h.Room, "m.space.parent", string(w.Parent), map[string]any{"via": via, "canonical": true})
		}
	case room.SetPower:
		err = m.SetPower(ctx, h.Room, h.Power, w.People)
	case room.Invite:
		err = m.Invite(ctx, h.Room, s.User)
	}
	if err != nil {
		return h, err
	}
	return h.Done(w, s), nil
}

// findOrMake finds our room by its alias or makes it. An alias that a stranger took first gets a suffix.
func (p *provisioner) findOrMake(ctx context.Context, key ids.RoomKey, e *roomEntry, w room.Want, h room.Have) (room.Have, error) {
	m, who := p.g.matrix, p.g.who.Load()
	alias := suffixed(w.Alias, h.Suffix)
	f, taken, err := m.Resolve(ctx, "#"+alias+":"+who.server)
	if err != nil {
		return h, err
	}
	if taken {
		if f.Creator == who.bot && f.Token == h.Token {
			h.Room = f.Room
			p.g.log.Info("found the room again that was being made", logkey.Room, key, logkey.ID, f.Room)
			return h, nil
		}
		if h.Suffix++; h.Suffix > 20 {
			return h, lane.Outcome{Verdict: lane.Dead, Code: "M_ROOM_IN_USE", Reason: "the alias #" + w.Alias + " and 20 others like it are taken"}
		}
		p.g.log.Warn("somebody else has our alias", logkey.Room, key, logkey.Name, alias)
		p.g.Alert(fmt.Sprintf("The alias #%s:%s belongs to a room that is not ours, so the room of %s gets another.", alias, who.server, key), "alias "+alias)
		return h, nil
	}
	power, invite := maps.Clone(w.People), atOnce(w.People, who.server)
	wish := room.Create{Name: w.Name, Topic: w.Topic, Alias: alias, Token: h.Token, Space: w.Space, Encrypt: w.Encrypt, Federate: w.Federate, Power: power, Invite: invite}
	h.Room, err = m.CreateRoom(ctx, wish)
	if o := lane.OutcomeOf(err); o.Verdict == lane.Dead && o.Code != "M_ROOM_IN_USE" && len(invite) > 0 { // perhaps one of them can't be invited
		wish.Invite, invite = nil, nil
		h.Room, err = m.CreateRoom(ctx, wish)
	}
	if err != nil {
		h.Room = ""
		if o := lane.OutcomeOf(err); o.Code == "M_ROOM_IN_USE" {
			if e.taken++; e.taken%maxTaken == 0 { // it leads nowhere, but can't be had: left by a room that was deleted
				h.Suffix++
				return h, nil
			}
			return h, lane.Outcome{Verdict: lane.Retry, Code: o.Code, Reason: "the alias was taken a moment ago"}
		}
		return h, err
	}
	h.Name, h.Topic, h.Power, h.Invited, h.Sealed = w.Name, w.Topic, power, invite, w.Encrypt
	return h, nil
}

// maxAtOnce people are invited while a room is made; Synapse refuses a room with more.
const maxAtOnce = 10

// atOnce is who is invited while a room is made: an ordinary user may invite the same person only now and then, but
// Synapse does not count that. Those of other servers, which may be away, come after it.
func atOnce(people map[ids.UserID]int, server string) []ids.UserID {
	var list []ids.UserID
	for _, u := range slices.Sorted(maps.Keys(people)) {
		if len(list) < maxAtOnce && strings.HasSuffix(string(u), ":"+server) {
			list = append(list, u)
		}
	}
	return list
}

// So often an alias may be in use although it leads nowhere, before another one is taken.
const maxTaken = 5

// callBack makes the next ensure invite a person again who may have left.
func (p *provisioner) callBack(key ids.RoomKey, person ids.UserID) {
	e := p.entry(key)
	e.work.Lock()
	defer e.work.Unlock()
	have := *e.have.Load()
	have.Invited = slices.DeleteFunc(slices.Clone(have.Invited), func(u ids.UserID) bool { return u == person })
	e.have.Store(&have)
}

// rejoin makes the next ensure bring a ghost back into its room; false when it was not known to be there.
func (p *provisioner) rejoin(key ids.RoomKey, ghost ids.UserID) bool {
	e := p.entry(key)
	e.work.Lock()
	defer e.work.Unlock()
	have := *e.have.Load()
	i := slices.Index(have.Ghosts, ghost)
	if i < 0 {
		return false
	}
	have.Ghosts = slices.Delete(slices.Clone(have.Ghosts), i, i+1)
	e.have.Store(&have)
	return true
}
