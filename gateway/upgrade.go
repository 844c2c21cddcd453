package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/internal/logkey"
)

// A person may upgrade a room of ours: the homeserver makes a new one and puts a tombstone (Client-Server API, "Room Upgrades") into
// the old one. A tombstone alone proves nothing. It is followed when an owner put it there, and when the new room names the old
// one as its predecessor, was made by that owner, and is as closed as the old one was.

// spaceUpgrades has, by room key, the upgrade that is to be followed.
const spaceUpgrades = "upgrades"

// upgrade is one that an owner asked for. It is kept until it is followed, refused, or too old.
type upgrade struct {
	Key  ids.RoomKey `json:"key"`
	From ids.RoomID  `json:"from"`
	To   ids.RoomID  `json:"to"`
	By   ids.UserID  `json:"by"`
	At   time.Time   `json:"at"`
}

const (
	upgradeAgain = time.Minute        // what could not be followed yet is tried again
	upgradeTime  = 7 * 24 * time.Hour // and given up
	botLevel     = 100                // that we need in a room of ours
)

// tombstoned notes that a room was upgraded.
func (g *Gateway) tombstoned(e room.Event, who *identity) func(*batch) {
	nothing := func(*batch) {}
	var c struct {
		To ids.RoomID `json:"replacement_room"`
	}
	key, ok := g.directory.key(e.Room)
	if !ok || *e.StateKey != "" || json.Unmarshal(e.Content, &c) != nil || !strings.HasPrefix(string(c.To), "!") || len(c.To) > maxName || c.To == e.Room {
		return nothing
	}
	if !who.owner(e.Sender) {
		g.Alert(fmt.Sprintf("%s upgraded the room %s. I stay in the old one, since only owners may do that.", e.Sender, key), "upgrade "+string(key))
		return nothing
	}
	v, err := json.Marshal(upgrade{Key: key, From: e.Room, To: c.To, By: e.Sender, At: g.now()})
	if err != nil {
		return nothing
	}
	return func(b *batch) {
		b.change.Put = append(b.change.Put, lane.Item{Space: spaceUpgrades, Key: string(key), Value: v})
		b.after = append(b.after, g.ringUpgrades)
	}
}

func (g *Gateway) ringUpgrades() {
	select {
	case g.upgradeBell <- struct{}{}:
	default:
	}
}

// followUpgrades follows upgraded rooms until ctx is done.
func (g *Gateway) followUpgrades(ctx context.Context) error {
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		select {
		case <-g.upgradeBell:
		case <-again.C:
		case <-ctx.Done():
			return nil
		}
		var list []upgrade
		err := g.store.Each(spaceUpgrades, "", func(key string, value []byte) error {
			var u upgrade
			if err := json.Unmarshal(value, &u); err != nil {
				return fmt.Errorf("upgrade of %q in the store: %w", key, err)
			}
			list = append(list, u)
			return nil
		})
		if err != nil {
			return err
		}
		waits := false
		for _, u := range list {
			over, err := g.follow(ctx, u)
			if ctx.Err() != nil {
				return nil
			}
			if errors.Is(err, ErrStopped) {
				return nil
			}
			if err != nil {
				g.log.Warn("an upgraded room is not followed", logkey.Room, u.Key, logkey.ID, u.To, logkey.Error, err)
				g.Alert(fmt.Sprintf("The room %s was upgraded, but I can't follow: %v.", u.Key, err), "upgrade "+string(u.Key))
			}
			if !over && g.now().Sub(u.At) < upgradeTime {
				waits = true
				continue
			}
			_ = g.commit(lane.Change{Put: []lane.Item{{Space: spaceUpgrades, Key: string(u.Key)}}}) // else it is looked at again, and is over again
		}
		if waits {
			again.Reset(upgradeAgain)
		}
	}
}

// follow goes into the new room of an upgrade and makes it ours. over says that there is nothing more to do: it is done, or will
// never be.
func (g *Gateway) follow(ctx context.Context, u upgrade) (over bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 4*powerRead)
	defer cancel()
	switch g.rooms.have(u.Key).Room {
	case u.To: // but a crash came before the rest
		return true, g.settleUpgrade(ctx, u)
	case u.From:
	default:
		return true, nil
	}
	if !g.who.Load().owner(u.By) {
		return true, nil
	}
	if err := g.matrix.Join(ctx, u.To, ""); err != nil {
		if lane.OutcomeOf(err).Verdict == lane.Dead {
			return false, fmt.Errorf("invite me into the new room %s", u.To)
		}
		return false, err
	}
	now, err := g.matrix.State(ctx, u.To, "")
	if err != nil {
		return false, err
	}
	old, err := g.matrix.State(ctx, u.From, "")
	if err != nil {
		return false, err
	}
	switch {
	case now.Predecessor != u.From || now.Creator != u.By:
		if err := g.matrix.Leave(ctx, u.To, ""); err != nil {
			return false, err
		}
		return true, fmt.Errorf("the new room %s does not say that %s made it in place of the old one", u.To, u.By)
	case now.Level(g.cfg.Bot) < botLevel:
		return false, fmt.Errorf("give me the power level %d in the new room %s", botLevel, u.To)
	case !private(now.JoinRule):
		return false, fmt.Errorf("the new room %s is open to everybody; close it", u.To)
	case old.Encrypted && !now.Encrypted:
		return false, fmt.Errorf("the new room %s is not encrypted, and the old one is", u.To)
	}
	if err := g.rooms.move(ctx, u, old, now); err != nil {
		return false, err
	}
	g.log.Info("followed an upgraded room", logkey.Room, u.Key, logkey.ID, u.To)
	return true, g.settleUpgrade(ctx, u)
}

// settleUpgrade has the new room brought up to date, and forgets the upgrade.
func (g *Gateway) settleUpgrade(ctx context.Context, u upgrade) error {
	return g.inside(ctx, func(b *batch) {
		g.cards.moved(b, u.Key, g.now())
		b.change.Append = append(b.change.Append, roomRecord(u.Key, "", g.now()))
		b.change.Put = append(b.change.Put, lane.Item{Space: spaceUpgrades, Key: string(u.Key)})
	})
}

// move makes the room of an upgrade the one of its key. What was set in the old one is set again by the steps of room.Next; who
// has left the old one is not called into the new one.
func (p *provisioner) move(ctx context.Context, u upgrade, old, now room.State) error {
	e := p.entry(u.Key)
	e.work.Lock()
	defer e.work.Unlock()
	have := *e.have.Load()
	if have.Room != u.From {
		return nil
	}
	if have.Parent != "" {
		if err := p.leaveSpace(ctx, have); err != nil {
			return err
		}
	}
	next := room.Have{Token: have.Token, Suffix: have.Suffix, Room: u.To, Sealed: now.Encrypted}
	for _, user := range have.Invited {
		if m := old.Members[user]; m != "join" && m != "invite" || now.Members[user] == "join" || now.Members[user] == "invite" {
			next.Invited = append(next.Invited, user)
		}
	}
	v, err := json.Marshal(next)
	if err != nil {
		return err
	}
	if err := p.g.commit(lane.Change{Put: []lane.Item{{Space: spaceRooms, Key: string(u.Key), Value: v}}}); err != nil {
		return err
	}
	e.have.Store(&next)
	p.g.directory.moved(u.Key, u.From, u.To)
	return nil
}

// moved notes that the room of a key is another one.
func (d *directory) moved(key ids.RoomKey, from, to ids.RoomID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.byRoom, from)
	d.byRoom[to] = key
}

// moved makes the cards of a room anew, since it is another one. One that waits to be sent comes to be in the new one.
func (c *cards) moved(b *batch, key ids.RoomKey, now time.Time) {
	for _, e := range c.byID {
		if e.Lane == key && e.Sending == "" {
			c.byEvent.Delete(e.Event)
			e.Event, e.Old, e.Lane, e.Quick = "", "", "", nil
			c.save(b, e)
			c.touch(e.id, true, now)
		}
	}
}

// private says whether nobody comes in whom the people there did not let in.
func private(joinRule string) bool {
	return slices.Contains([]string{"invite", "knock", "restricted", "knock_restricted"}, joinRule)
}
