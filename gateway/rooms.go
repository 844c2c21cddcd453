package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"

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
}

type roomEntry struct {
	mu   sync.Mutex // held while a step is performed
	have room.Have
}

func loadRooms(g *Gateway) (*provisioner, error) {
	p := &provisioner{g: g, rooms: map[ids.RoomKey]*roomEntry{}, ghosts: map[ids.UserID]string{}}
	err := g.store.Each(spaceRooms, "", func(key string, value []byte) error {
		e := &roomEntry{}
		if err := json.Unmarshal(value, &e.have); err != nil {
			return fmt.Errorf("room %q in the store: %w", key, err)
		}
		p.rooms[ids.RoomKey(key)] = e
		if e.have.Room != "" {
			g.directory.exists(ids.RoomKey(key), e.have.Room)
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
		p.rooms[key] = e
	}
	return e
}

// room is where a room is, if it was made; it does not wait for one being made.
func (p *provisioner) list() map[ids.RoomKey]room.Have {
	p.mu.Lock()
	entries := maps.Clone(p.rooms)
	p.mu.Unlock()
	out := map[ids.RoomKey]room.Have{}
	for k, e := range entries {
		if e.mu.TryLock() {
			out[k] = e.have
			e.mu.Unlock()
		}
	}
	return out
}

// ensure makes the room of key what it should be for device to speak in it ("": for the bot), and says where it is.
func (p *provisioner) ensure(ctx context.Context, key ids.RoomKey, device ids.DeviceID) (ids.RoomID, error) {
	who := p.g.who.Load()
	_, at := p.g.directory.in(key)
	name := at.roomName
	switch s := string(key); {
	case key == ids.ControlRoom:
		name = "gatepost"
	case strings.HasPrefix(s, "space/"):
		name = strings.TrimPrefix(s, "space/")
	case name == "": // its devices are gone, but something is still to be said
		name = s[strings.IndexByte(s, '/')+1:]
	}
	var parent ids.RoomID
	if at.space != "" {
		var err error
		if parent, err = p.ensure(ctx, ids.Space(at.space), ""); err != nil {
			return "", fmt.Errorf("space %q: %w", at.space, err)
		}
	}
	ghost := who.user(device)
	if ghost != who.bot {
		if err := p.ensureGhost(ctx, ghost, device); err != nil {
			return "", err
		}
	}
	w := who.want(key, name, parent, ghost)
	e := p.entry(key)
	e.mu.Lock()
	defer e.mu.Unlock()
	for {
		s, missing := room.Next(w, e.have)
		if !missing {
			return e.have.Room, nil
		}
		have, err := p.perform(ctx, key, w, e.have, s)
		if err != nil {
			return "", fmt.Errorf("room %s, step %s: %w", key, s.Do, err)
		}
		v, err := json.Marshal(have)
		if err != nil {
			return "", err
		}
		if err := p.g.store.Commit(lane.Change{Put: []lane.Item{{Space: spaceRooms, Key: string(key), Value: v}}}); err != nil {
			return "", err
		}
		e.have = have
		if s.Do == room.FindOrMake && have.Room != "" {
			p.g.directory.exists(key, have.Room)
		}
	}
}

func (p *provisioner) ensureGhost(ctx context.Context, ghost ids.UserID, device ids.DeviceID) error {
	at, _ := p.g.directory.place(device)
	name := at.name
	if name == "" {
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
	if err := p.g.store.Commit(lane.Change{Put: []lane.Item{{Space: spaceGhosts, Key: string(ghost), Value: []byte(name)}}}); err != nil {
		return err
	}
	p.mu.Lock()
	p.ghosts[ghost] = name
	p.mu.Unlock()
	return nil
}

// perform does one step and gives what is to be recorded of it.
func (p *provisioner) perform(ctx context.Context, key ids.RoomKey, w room.Want, h room.Have, s room.Step) (room.Have, error) {
	m, who := p.g.matrix, p.g.who.Load()
	var err error
	switch s.Do {
	case room.MakeToken:
		h.Token = ids.NewULID(p.g.now())
		return h, nil
	case room.FindOrMake:
		return p.findOrMake(ctx, key, w, h)
	case room.Join:
		if err = m.Invite(ctx, h.Room, s.User); err == nil {
			err = m.Join(ctx, h.Room, s.User)
		}
	case room.SetName:
		err = m.SetState(ctx, h.Room, "m.room.name", "", map[string]any{"name": w.Name})
	case room.SetTopic:
		err = m.SetState(ctx, h.Room, "m.room.topic", "", map[string]any{"topic": w.Topic})
	case room.SetParent:
		via := []string{who.server}
		if err = m.SetState(ctx, w.Parent, "m.space.child", string(h.Room), map[string]any{"via": via}); err == nil {
			err = m.SetState(ctx, h.Room, "m.space.parent", string(w.Parent), map[string]any{"via": via, "canonical": true})
		}
	case room.SetPower:
		err = m.SetPower(ctx, h.Room, h.Power, w.People)
	case room.Invite:
		err = m.Invite(ctx, h.Room, s.User)
		if o := lane.OutcomeOf(err); o.Verdict == lane.Dead { // a user that does not exist, or will not: the room goes on without
			p.g.log.Warn("a person could not be invited", logkey.User, s.User, logkey.Room, key, logkey.Error, err)
			err = nil
		}
	}
	if err != nil {
		return h, err
	}
	return h.Done(w, s), nil
}

// findOrMake finds our room by its alias or makes it. An alias that a stranger took first gets a suffix.
func (p *provisioner) findOrMake(ctx context.Context, key ids.RoomKey, w room.Want, h room.Have) (room.Have, error) {
	m, who := p.g.matrix, p.g.who.Load()
	alias := w.Alias
	if h.Suffix > 0 {
		alias += "_" + strconv.Itoa(h.Suffix)
	}
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
	power := maps.Clone(w.People)
	h.Room, err = m.CreateRoom(ctx, room.Create{Name: w.Name, Topic: w.Topic, Alias: alias, Token: h.Token, Space: w.Space, Federate: w.Federate, Power: power})
	if err != nil {
		h.Room = ""
		if o := lane.OutcomeOf(err); o.Code == "M_ROOM_IN_USE" {
			return h, lane.Outcome{Verdict: lane.Retry, Code: o.Code, Reason: "the alias was taken a moment ago"}
		}
		return h, err
	}
	h.Name, h.Topic, h.Power = w.Name, w.Topic, power
	return h, nil
}

// forgetMembers makes the next ensure bring a ghost back into its room.
func (p *provisioner) rejoin(key ids.RoomKey, ghost ids.UserID) bool {
	e := p.entry(key)
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, u := range e.have.Ghosts {
		if u == ghost {
			e.have.Ghosts = append(e.have.Ghosts[:i:i], e.have.Ghosts[i+1:]...)
			return true
		}
	}
	return false
}
