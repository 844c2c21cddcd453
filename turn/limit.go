package turn

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
)

// limitBuckets is how many buckets the sources share. Two that meet in one share its tokens, so memory is bounded
// whatever addresses a flood claims to come from.
const limitBuckets = 4096

// limiter bounds the answers to strangers: those who have not shown a credential, whose address may be forged. A source
// with a live allocation is no stranger, so that a flood in its name locks nobody out. Safe for concurrent use.
type limiter struct {
	seed      maphash.Seed
	perSource int64
	sources   [limitBuckets]atomic.Int64 // as bucket.full
	all       bucket

	mu   sync.Mutex
	live map[[16]byte]int // allocations of each address
}

func newLimiter(perSource, all int) *limiter {
	l := &limiter{seed: maphash.MakeSeed(), perSource: int64(perSource), live: map[[16]byte]int{}}
	l.all.perSecond = int64(all)
	return l
}

// answer says whether a stranger's message may be answered. One over TCP or TLS has an address that is not forged and
// counts for its source only.
func (l *limiter) answer(client endpoint, over transport, now instant) bool {
	if l.known(client.ip) {
		return true
	}
	n := maphash.Comparable(l.seed, source(client.ip)) % limitBuckets
	return takeToken(&l.sources[n], now, 1, l.perSource) && (over != overUDP || l.all.take(now, 1))
}

// source is the network an address is of: the IPv4 /24 or the IPv6 /64.
func source(ip [16]byte) [16]byte {
	if familyOf(ip) == ipv4 {
		ip[15] = 0
	} else {
		clear(ip[8:])
	}
	return ip
}

func (l *limiter) known(ip [16]byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.live[ip] > 0
}

// began and ended count the allocations of an address.
func (l *limiter) began(ip [16]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.live[ip]++
}

func (l *limiter) ended(ip [16]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.live[ip]--; l.live[ip] <= 0 {
		delete(l.live, ip)
	}
}

// gate bounds connections, of each IPv4 address or IPv6 /64 and of all: who has one IPv6 address has the whole network.
// Safe for concurrent use.
type gate struct {
	all, perIP int

	mu    sync.Mutex
	open  int
	addrs map[[16]byte]int
}

func newGate(all, perIP int) *gate { return &gate{all: all, perIP: perIP, addrs: map[[16]byte]int{}} }

// gateKey is what the connections of an address count for.
func gateKey(ip [16]byte) [16]byte {
	if familyOf(ip) == ipv6 {
		return source(ip)
	}
	return ip
}

// enter counts a connection in, or gives the label of refused. Who got in calls leave once.
func (g *gate) enter(ip [16]byte) string {
	ip = gateKey(ip)
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.open >= g.all:
		return refusedConnections
	case g.addrs[ip] >= g.perIP:
		return refusedAddress
	}
	g.open++
	g.addrs[ip]++
	return ""
}

func (g *gate) leave(ip [16]byte) {
	ip = gateKey(ip)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open--
	if g.addrs[ip]--; g.addrs[ip] <= 0 {
		delete(g.addrs, ip)
	}
}

// count is the number of connections.
func (g *gate) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open
}
