package gateway

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
)

// level is the power of a user in a room with that state.
func (i identity) level(state room.State, user ids.UserID) int {
	l := state.Level(user)
	if i.owner(user) {
		l = max(l, 100)
	}
	return l
}

// forbids says why user may not ask for a command in a room with that state; "" when they may.
func (i identity) forbids(state room.State, user ids.UserID, name string, grade Grade) string {
	switch level := i.level(state, user); {
	case state.Members[user] != "join":
		return "You are not in this room."
	case !slices.Contains([]string{"invite", "knock", "restricted", "knock_restricted"}, state.JoinRule):
		return "Anybody can join this room, so nothing runs here. Make it invite-only first."
	case level < grade.Power():
		return fmt.Sprintf("“%s” asks for power level %d; you have %d here.", name, grade.Power(), level)
	}
	return ""
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
