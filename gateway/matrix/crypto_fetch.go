//go:build goolm

package matrix

import (
	"context"
	"fmt"
	"slices"
	"time"

	"maunium.net/go/mautrix/crypto"
	"maunium.net/go/mautrix/id"

	"github.com/gatepost/gatepost/internal/ids"
)

// claim is of a goroutine that changes what is known of people's devices. The machine stores an answer in steps (devices first,
// then the keys that sign them, from what it read before it asked), so for one person there is one at a time, and nobody relies
// on what is there meanwhile.
type claim struct {
	done  chan struct{}      // closed at its end
	stale map[id.UserID]bool // whose devices changed meanwhile: the answer may be older than that
}

// alone runs f while nobody else asks for, or changes, what is known of the people's devices.
func (e *engine) alone(ctx context.Context, people []id.UserID, f func() error) error {
	c := &claim{done: make(chan struct{}), stale: map[id.UserID]bool{}}
	for {
		e.mu.Lock()
		busy := e.busy(people)
		if busy == nil {
			for _, u := range people {
				e.claims[u] = c
			}
		}
		e.mu.Unlock()
		if busy == nil {
			break
		}
		select {
		case <-busy.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		for _, u := range people {
			delete(e.claims, u)
		}
		close(c.done)
	}()
	err := f()
	e.mu.Lock()
	var stale []id.UserID
	for u := range c.stale {
		stale = append(stale, u)
	}
	e.mu.Unlock()
	if len(stale) > 0 {
		if merr := e.store.MarkTrackedUsersOutdated(ctx, stale); merr != nil && err == nil {
			err = merr
		}
	}
	return err
}

// busy is the claim of another on any of the people. e.mu is held.
func (e *engine) busy(people []id.UserID) *claim {
	for _, u := range people {
		if c := e.claims[u]; c != nil {
			return c
		}
	}
	return nil
}

// settled waits until nobody asks for the people's devices.
func (e *engine) settled(ctx context.Context, people []id.UserID) error {
	for {
		e.mu.Lock()
		busy := e.busy(people)
		e.mu.Unlock()
		if busy == nil {
			return nil
		}
		select {
		case <-busy.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// outdated notes that the devices of people have changed.
func (e *engine) outdated(ctx context.Context, people []id.UserID) error {
	e.mu.Lock()
	for _, u := range people { // before the mark, which an answer that is under way takes off again
		if c := e.claims[u]; c != nil {
			c.stale[u] = true
		}
	}
	e.mu.Unlock()
	return e.store.MarkTrackedUsersOutdated(ctx, people)
}

// missed notes that the devices of anybody may have changed: the position in what the homeserver tells was lost.
func (e *engine) missed(ctx context.Context) error {
	e.mu.Lock()
	for u, c := range e.claims {
		c.stale[u] = true
	}
	e.mu.Unlock()
	return e.store.markAllOutdated(ctx)
}

// fetch asks the homeserver for the devices and keys of people.
func (e *engine) fetch(ctx context.Context, mach *crypto.OlmMachine, people []id.UserID) (got map[id.UserID]map[id.DeviceID]*id.Device, err error) {
	err = e.alone(ctx, people, func() error {
		got, err = mach.FetchKeys(ctx, slices.Clone(people), true)
		return err
	})
	return got, err
}

// askAgainAfter is how long a user whose homeserver did not tell their devices is not asked for again.
const askAgainAfter = time.Minute

// seeks says whether a device of somebody that is not known is to be asked for: it may be newer than what we were told.
func (e *engine) seeks(u ids.UserID) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	last, ok := e.sought[u]
	return !ok || e.c.cfg.Now().Sub(last) >= askAgainAfter
}

// found notes that somebody's devices were asked for because of one that is not known.
func (e *engine) found(u ids.UserID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.sought) >= maxWanted {
		clear(e.sought)
	}
	e.sought[u] = e.c.cfg.Now()
}

// refresh asks for the devices of people that may have changed.
func (e *engine) refresh(ctx context.Context, mach *crypto.OlmMachine, people []ids.UserID) error {
	users := make([]id.UserID, 0, len(people))
	for _, p := range people {
		users = append(users, id.UserID(p))
	}
	if err := e.settled(ctx, users); err != nil {
		return fmt.Errorf("matrix: wait for people's devices: %w", err)
	}
	var stale []id.UserID
	now := e.c.cfg.Now()
	for _, u := range users {
		old, err := e.store.isOutdated(u)
		if err != nil {
			return err
		}
		e.mu.Lock()
		asked, recently := e.asked[ids.UserID(u)]
		e.mu.Unlock()
		if old && (!recently || now.Sub(asked) >= askAgainAfter) {
			stale = append(stale, u)
		}
	}
	if len(stale) == 0 {
		return nil
	}
	got, err := e.fetch(ctx, mach, stale)
	if err != nil {
		return machineOutcome("ask for people's devices", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, u := range stale {
		if _, ok := got[u]; ok {
			delete(e.asked, ids.UserID(u))
		} else {
			e.asked[ids.UserID(u)] = now
		}
	}
	return nil
}
