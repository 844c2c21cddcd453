package broker

import (
	"net/netip"
	"sync"
	"time"
)

const (
	loginWindow  = time.Minute
	loginEntries = 20_000 // counted at the same time; then the oldest window is forgotten as a whole
	addressShare = 10     // an address may fail this many times as often as one user from it
)

// logins counts failed logins in windows of a minute: of a user from an address, and of the address. The first is what a
// guesser of one password meets; the second is higher, so that one device with a wrong password does not lock out all
// that share its address. Safe for concurrent use.
type logins struct {
	limit int

	mu    sync.Mutex
	began time.Time
	fails map[loginKey]int
}

type loginKey struct {
	addr netip.Addr
	user string // "" with all set
	all  bool
}

// blocked tells whether user may not try again from addr for now.
func (l *logins) blocked(addr netip.Addr, user string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn(now)
	return l.fails[loginKey{addr, cutUser(user), false}] >= l.limit || l.fails[loginKey{addr: addr, all: true}] >= l.limit*addressShare
}

// failed counts one.
func (l *logins) failed(addr netip.Addr, user string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn(now)
	l.fails[loginKey{addr, cutUser(user), false}]++
	l.fails[loginKey{addr: addr, all: true}]++
}

func (l *logins) turn(now time.Time) {
	if l.fails == nil || now.Sub(l.began) >= loginWindow || len(l.fails) > loginEntries {
		l.began, l.fails = now, map[loginKey]int{}
	}
}

// cutUser bounds what is kept of a name that a stranger chose.
func cutUser(user string) string { return user[:min(len(user), 64)] }

// limitAddress is what limits of an address count by: an IPv6 host has a whole /64.
func limitAddress(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is4() || !a.IsValid() {
		return a
	}
	p, err := a.Prefix(64)
	if err != nil {
		return a
	}
	return p.Addr()
}
