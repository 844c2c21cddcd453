package gateway

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatepost/gatepost/gateway/action"
	"github.com/gatepost/gatepost/gateway/discovery"
	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/mqtt/convention"
)

// level is the power of a user in a room with that state.
func (i identity) level(state room.State, user ids.UserID) int {
	l := state.Level(user)
	if i.owner(user) {
		l = max(l, 100)
	}
	return l
}

// forbids says why user may not ask for an action in a room with that state at now, a believed time; "" when they may.
func (i identity) forbids(state room.State, user ids.UserID, a *action.Action, now time.Time) string {
	grade := gradeOf(a.Grade)
	switch level := i.level(state, user); {
	case state.Members[user] != "join":
		return "You are not in this room."
	case !private(state.JoinRule):
		return "Anybody can join this room, so nothing runs here. Make it invite-only first."
	case level < grade.Power():
		return fmt.Sprintf("“%s” asks for power level %d; you have %d here.", a.Words(), grade.Power(), level)
	case len(a.People) > 0 && !slices.Contains(a.People, user):
		return fmt.Sprintf("“%s” is for others: the configuration names who may ask for it.", a.Words())
	}
	return i.early(user, now)
}

// early says why it is not the time at which a member may ask for anything; "" when it is.
func (i identity) early(user ids.UserID, now time.Time) string {
	if h := i.hours[user]; h != nil && !h.Contains(now.In(i.zone)) {
		return fmt.Sprintf("You may ask for commands from %s.", strings.Replace(h.String(), "-", " to ", 1))
	}
	return ""
}

// forbidsLook says why user may not confirm the dangerous action that somebody else, or they themselves, asked for.
func (i identity) forbidsLook(state room.State, user ids.UserID, a *action.Action, now time.Time) string {
	look := *a
	look.Grade, look.People = convention.Dangerous, nil
	return i.forbids(state, user, &look, now)
}

const noClock = "My clock is not set yet, so nothing runs. Ask again in a moment."

// believed is the time, if the clock is to be believed.
func (g *Gateway) believed() (time.Time, bool) {
	offset, known := g.cfg.Clock.Offset()
	return believed(g.now(), offset, known)
}

// unreachable says whether a device said that it can't be reached. It runs in the router goroutine.
func (g *Gateway) unreachable(id ids.DeviceID) bool {
	is := g.found(id)
	return is != nil && is.Online == discovery.Unreachable
}

// away says what becomes of a command for a device that can't be reached: why it is refused, or that it is held.
func (g *Gateway) away(c *Command) (why string, held bool) {
	if !g.unreachable(c.Device) {
		return "", false
	}
	if g.who.Load().queue {
		return "", true
	}
	return "The device can't be reached now, so nothing was sent.", false
}

// powers keeps what decides about commands, by room, until an event says that it changed. The inbox's goroutine owns it.
type powers struct {
	rooms   map[ids.RoomID]power
	changed map[ids.RoomID]time.Time
}

type power struct {
	state room.State
	read  time.Time
}

const (
	powerTime = 5 * time.Minute  // what was read is believed so long even if no event comes
	powerLag  = 5 * time.Second  // after an event, a read may still show what was before
	powerRead = 10 * time.Second // longer nobody waits for an answer
)

func newPowers() *powers {
	return &powers{rooms: map[ids.RoomID]power{}, changed: map[ids.RoomID]time.Time{}}
}

// forget makes the next get ask the homeserver.
func (p *powers) forget(id ids.RoomID) {
	delete(p.rooms, id)
	p.changed[id] = time.Now()
	if len(p.changed) > 1000 {
		for id, at := range p.changed {
			if time.Since(at) >= powerLag {
				delete(p.changed, id)
			}
		}
	}
}

// get reads the state as a user who is in the room; "" is the bot.
func (p *powers) get(ctx context.Context, id ids.RoomID, m Rooms, as ids.UserID) (room.State, error) {
	if k, ok := p.rooms[id]; ok && time.Since(k.read) < powerTime {
		return k.state, nil
	}
	ctx, cancel := context.WithTimeout(ctx, powerRead)
	defer cancel()
	began := time.Now()
	s, err := m.State(ctx, id, as)
	if err != nil {
		return s, err
	}
	if began.Sub(p.changed[id]) >= powerLag {
		delete(p.changed, id)
		p.rooms[id] = power{s, began}
	}
	return s, nil
}

// limiter bounds how much somebody without power can make us say: so many answers at once, and one more now and then. The
// router goroutine owns it.
type limiter struct {
	by map[ids.UserID]*allowance
}

type allowance struct {
	left   float64
	at     time.Time
	warned bool
}

const (
	answerBurst = 10
	answerEvery = 10 * time.Second
	maxAsking   = 1000 // people at one time; others get no answer
)

func newLimiter() *limiter { return &limiter{by: map[ids.UserID]*allowance{}} }

// allow says whether somebody gets an answer; last, that it shall say that there will be none for a while.
func (l *limiter) allow(u ids.UserID, now time.Time) (ok, last bool) {
	a := l.by[u]
	if a == nil {
		if len(l.by) >= maxAsking {
			for other, o := range l.by {
				if now.Sub(o.at) >= answerBurst*answerEvery {
					delete(l.by, other)
				}
			}
		}
		if len(l.by) >= maxAsking {
			return false, false
		}
		a = &allowance{left: answerBurst, at: now}
		l.by[u] = a
	}
	if passed := now.Sub(a.at); passed > 0 {
		a.left = min(a.left+passed.Seconds()/answerEvery.Seconds(), answerBurst)
	}
	a.at = now
	switch {
	case a.left >= 1:
		a.left--
		a.warned = false
		return true, false
	case a.warned:
		return false, false
	default:
		a.warned = true
		return false, true
	}
}
