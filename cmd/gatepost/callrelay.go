package main

import (
	"slices"
	"sync"

	"github.com/gatepost/gatepost/turn"
	"github.com/gatepost/gatepost/voip"
)

// relayUse adds up what our relay carries for each live call, under the credentials that were made for it and end with it: for the gateway's
// own leg, or for a device that does its own media. What the person's side sends through the relay goes by its own credential
// and is not in it. The zero value is ready. Safe for concurrent use.
type relayUse struct {
	mu    sync.Mutex
	calls map[voip.Key]*callUse
	names map[string]voip.Key // by user name
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
func (u *relayUse) begin(call voip.Key, username string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.calls == nil {
		u.calls, u.names = map[voip.Key]*callUse{}, map[string]voip.Key{}
	}
	c := u.calls[call]
	if c == nil {
		c = &callUse{}
		u.calls[call] = c
	}
	if !slices.Contains(c.usernames, username) && len(c.usernames) < maxCredentials {
		c.usernames = append(c.usernames, username)
		u.names[username] = call
	}
}

// allocationEnded is turn.Config.OnEnd.
func (u *relayUse) allocationEnded(e turn.Ended) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if key, ours := u.names[e.Username]; ours {
		c := u.calls[key]
		c.count++
		for _, t := range []turn.Traffic{e.ToPeer, e.ToClient} {
			c.ended.Packets += t.Packets
			c.ended.Bytes += t.Bytes
		}
	}
}

// of is how many bytes the relay carried for a call so far, in both directions. s nil: there is none.
func (u *relayUse) of(s *turn.Server, call voip.Key) uint64 {
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

func (u *relayUse) known(call voip.Key) ([]string, turn.Traffic, int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	c := u.calls[call]
	if c == nil {
		return nil, turn.Traffic{}, 0
	}
	return slices.Clone(c.usernames), c.ended, c.count
}

// end makes the credentials of a call that is over good for nothing, ends what was allocated with them, and says how many bytes
// the relay carried for the call in all.
func (u *relayUse) end(s *turn.Server, call voip.Key) uint64 {
	usernames, _, _ := u.known(call)
	for _, name := range usernames {
		_, _ = s.Revoke(name) // a relay that does not run has nothing left to end
	}
	n := u.of(s, call)
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, name := range usernames {
		delete(u.names, name)
	}
	delete(u.calls, call)
	return n
}
