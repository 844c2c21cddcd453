package main

import (
	"slices"
	"strings"
	"sync"

	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/turn"
)

// relayUse adds up what our relay carries for each live call, under the credentials that were made for it: for the gateway's
// own leg, or for a device that does its own media. What the person's side sends through the relay goes by its own credential
// and is not in it. The zero value is ready. Safe for concurrent use.
type relayUse struct {
	mu    sync.Mutex
	calls map[ids.CallID]*callUse
}

type callUse struct {
	usernames []string     // of its credentials, without doubles
	ended     turn.Traffic // of allocations that are over
	count     int          // of them
}

// callUser is the user of the relay that a call's credentials are for.
const callUser = "call "

// maxCredentials bounds what is remembered of one call; it needs one or two.
const maxCredentials = 16

// begin counts what goes under a credential from now on.
func (u *relayUse) begin(call ids.CallID, username string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.calls == nil {
		u.calls = map[ids.CallID]*callUse{}
	}
	c := u.calls[call]
	if c == nil {
		c = &callUse{}
		u.calls[call] = c
	}
	if !slices.Contains(c.usernames, username) && len(c.usernames) < maxCredentials {
		c.usernames = append(c.usernames, username)
	}
}

// allocationEnded is turn.Config.OnEnd.
func (u *relayUse) allocationEnded(e turn.Ended) {
	id, ok := strings.CutPrefix(e.User, callUser)
	if !ok {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if c := u.calls[ids.CallID(id)]; c != nil && slices.Contains(c.usernames, e.Username) {
		c.count++
		for _, t := range []turn.Traffic{e.ToPeer, e.ToClient} {
			c.ended.Packets += t.Packets
			c.ended.Bytes += t.Bytes
		}
	}
}

// of is how many bytes the relay carried for a call so far, in both directions. s nil: there is none.
func (u *relayUse) of(s *turn.Server, call ids.CallID) uint64 {
	if s == nil {
		return 0
	}
	for {
		usernames, ended, count := u.known(call)
		bytes := ended.Bytes
		for _, name := range usernames { // without the lock: a worker may be in allocationEnded
			up, down := s.Usage(name)
			bytes += up.Bytes + down.Bytes
		}
		if _, _, now := u.known(call); now == count {
			return bytes
		}
		// one ended meanwhile: it may be missing, or in it twice
	}
}

func (u *relayUse) known(call ids.CallID) ([]string, turn.Traffic, int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	c := u.calls[call]
	if c == nil {
		return nil, turn.Traffic{}, 0
	}
	return slices.Clone(c.usernames), c.ended, c.count
}

// take is of, for the last time.
func (u *relayUse) take(s *turn.Server, call ids.CallID) uint64 {
	n := u.of(s, call)
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.calls, call)
	return n
}
