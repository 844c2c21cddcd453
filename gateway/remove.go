package gateway

import (
	"context"
	"strings"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
)

// RemoveDevice forgets a device: its state goes; its room keeps its history, says that it was removed, and leaves its space. A
// rule that still matches makes it anew with its next message; one that announced itself has to be admitted again. Then it
// has its room back. One that waits, is ignored or blocked is forgotten likewise. ErrNoDevice when there is none.
func (g *Gateway) RemoveDevice(ctx context.Context, id ids.DeviceID) error {
	none := make(chan error, 1)
	err := g.inside(ctx, func(b *batch) {
		switch d := g.devices.byID[id]; {
		case d != nil:
			g.remove(b, d, title(d.Name)+" was removed. Its history stays here.", g.now())
			none <- nil
		case g.proposed(id):
			g.forgetFound(b, id)
			none <- nil
		default:
			none <- noDevice(id)
		}
	})
	if err != nil {
		return err
	}
	return <-none
}

// remove forgets a device and tells so in its rooms. What else becomes of them needs no record: `ensure` sees that nobody
// lives there any more, also after a crash on the way.
func (g *Gateway) remove(b *batch, d *Device, text string, now time.Time) {
	for _, at := range append([]place{d.home()}, d.also...) {
		if g.rooms.exists(at.room) {
			b.change.Append = append(b.change.Append, lane.Record{
				Lane: at.room, ID: ids.NewULID(now), Class: lane.Event, At: now, Post: lane.Post{Kind: lane.Notice, Text: text},
			})
		}
	}
	delete(g.devices.byID, d.ID)
	delete(g.devices.dirty, d.ID)
	delete(g.offers, d.ID)
	g.directory.remove(d.ID)
	g.forgetFound(b, d.ID)
	g.cards.forget(b, d.ID, now)
	g.silences.forget(d.ID)
	g.phones.put(Phone{Device: d.ID})
	for _, c := range g.commands.inOrder() {
		if c.Device == d.ID && !c.Ended() {
			g.commands.step(b, c, now, forgotten{})
		}
	}
	b.change.Put = append(b.change.Put, lane.Item{Space: spaceDevices, Key: string(d.ID)})
	if item, ok := g.rooms.forgetGhost(g.who.Load().user(d.ID)); ok {
		b.change.Put = append(b.change.Put, item)
	}
}

// forgetGhost forgets that a ghost's name was set.
func (p *provisioner) forgetGhost(ghost ids.UserID) (item lane.Item, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok = p.ghosts[ghost]
	delete(p.ghosts, ghost)
	return lane.Item{Space: spaceGhosts, Key: string(ghost)}, ok
}

// voice is who speaks for a device in a room: its ghost, or the bot for one that was removed. The chats of calls are the
// ghost's own.
func (p *provisioner) voice(key ids.RoomKey, device ids.DeviceID) ids.UserID {
	who := p.g.who.Load()
	if _, known := p.g.directory.place(device); !known && !strings.HasPrefix(string(key), callLane) {
		return who.bot
	}
	return who.user(device)
}

// removedName is behind the name of a room whose device was removed.
const removedName = " (removed)"

// farewell notes in w which ghosts have to leave, since their devices are no more, and what becomes of a room whose only
// device that was. A device that has moved to another room left its old one as it is.
func (p *provisioner) farewell(key ids.RoomKey, w *room.Want, h room.Have) {
	who := p.g.who.Load()
	for _, u := range h.Ghosts {
		if _, known := p.g.directory.place(who.device(u)); !known {
			w.Leave = append(w.Leave, u)
		}
	}
	id, own := strings.CutPrefix(string(key), "device/")
	if !own {
		return
	}
	if _, known := p.g.directory.place(ids.DeviceID(id)); known {
		return
	}
	w.Gone, w.Topic, w.Avatar = true, h.Topic, h.Avatar
	if w.Name = strings.TrimSuffix(w.Name, removedName); h.Room != "" {
		w.Name += removedName
	}
}

// leaveSpace takes a room out of the space that it is in.
func (p *provisioner) leaveSpace(ctx context.Context, h room.Have) error {
	err := p.g.matrix.SetState(ctx, h.Parent, "m.space.child", string(h.Room), map[string]any{})
	if err == nil {
		err = p.g.matrix.SetState(ctx, h.Room, "m.space.parent", string(h.Parent), map[string]any{})
	}
	return err
}
