package turn

import (
	"encoding/binary"
	"io"
	"net/netip"
	"sync"
	"sync/atomic"
)

const (
	tokenTime = 30 * second // RFC 8656 section 7.2: a reservation lasts at least 30 s
	blockTime = 60 * second // how long a port that could not be bound is left alone
	maxTokens = 1024        // reservations at one time
)

// ports gives out the ports of relayed addresses, at random (RFC 8656 section 21.1.3 wants them hard to guess). Safe for
// concurrent use: taking and giving back lock, asking whether a port is live does not.
type ports struct {
	first, last uint16
	pools       []*portPool // one for each relay address

	mu      sync.Mutex
	random  io.Reader
	tokens  map[uint64]reservation
	blocked []blockedPort // oldest first
}

// portPool are the ports of one relay address.
type portPool struct {
	addr  netip.Addr
	ip    [16]byte
	taken portSet // may not be given out: behind ports.mu
	live  [1 << 16 / 64]atomic.Uint64
}

// portSet is a set of ports.
type portSet [1 << 16 / 64]uint64

func (s *portSet) has(port uint16) bool { return s[port/64]&(1<<(port%64)) != 0 }
func (s *portSet) add(port uint16)      { s[port/64] |= 1 << (port % 64) }
func (s *portSet) remove(port uint16)   { s[port/64] &^= 1 << (port % 64) }

// reservation is a port that EVEN-PORT set aside for the next allocation of the same user.
type reservation struct {
	pool    *portPool
	port    uint16
	user    string
	expires instant
}

type blockedPort struct {
	pool  *portPool
	port  uint16
	until instant
}

// newPorts makes the pools of the relay addresses, which are canonical and named once.
func newPorts(addrs []netip.Addr, of Ports, random io.Reader) *ports {
	p := &ports{first: of.First, last: of.Last, random: random, tokens: map[uint64]reservation{}}
	for _, a := range addrs {
		p.pools = append(p.pools, &portPool{addr: a.Unmap(), ip: a.As16()})
	}
	return p
}

// pool is the pool of a relay address, or nil.
func (p *ports) pool(ip [16]byte) *portPool {
	for _, pool := range p.pools {
		if pool.ip == ip {
			return pool
		}
	}
	return nil
}

// of is the pool of a family that serves a client, or nil: a client gets the same one each time.
func (p *ports) of(f family, client endpoint) *portPool {
	var all []*portPool
	for _, pool := range p.pools {
		if familyOf(pool.ip) == f {
			all = append(all, pool)
		}
	}
	if len(all) == 0 {
		return nil
	}
	sum := 0
	for _, b := range client.ip {
		sum += int(b)
	}
	return all[sum%len(all)]
}

// isLive says whether a relay socket of this server has the port. It takes no lock.
func (l *portPool) isLive(port uint16) bool { return l.live[port/64].Load()&(1<<(port%64)) != 0 }

// setLive records that a relay socket has a port, or has it no more.
func (l *portPool) setLive(port uint16, is bool) {
	if is {
		l.live[port/64].Or(1 << (port % 64))
	} else {
		l.live[port/64].And(^uint64(1 << (port % 64)))
	}
}

// The kinds of ports that an Allocate may ask for (EVEN-PORT, RFC 8656 section 18.7).
type portKind uint8

const (
	anyPort  portKind = iota
	evenPort          // an even one
	portPair          // an even one, and the one after it is set aside
)

// take takes a random free port out of a pool; of a pair both. It says no when there is none.
func (p *ports) take(pool *portPool, kind portKind, now instant) (uint16, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clean(now)
	n := uint32(p.last) - uint32(p.first) + 1
	start := uint32(p.number()>>32) % n
	for i := range n {
		port := p.first + uint16((start+i)%n)
		if pool.taken.has(port) || kind != anyPort && port%2 == 1 {
			continue
		}
		if kind == portPair {
			if port == p.last || pool.taken.has(port+1) {
				continue
			}
			pool.taken.add(port + 1)
		}
		pool.taken.add(port)
		return port, true
	}
	return 0, false
}

// number is a random number. A random source that fails gives 0, and with it the first free port or no token.
func (p *ports) number() uint64 {
	var b [8]byte
	if _, err := io.ReadFull(p.random, b[:]); err != nil {
		return 0
	}
	return binary.BigEndian.Uint64(b[:])
}

// give puts a port back.
func (p *ports) give(pool *portPool, port uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pool.setLive(port, false)
	pool.taken.remove(port)
}

// block leaves a port that could not be bound alone for a while: some other program has it.
func (p *ports) block(pool *portPool, port uint16, now instant) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.blocked = append(p.blocked, blockedPort{pool, port, now + blockTime})
}

// reserve makes a token for a port that is taken already. 0: there are too many.
func (p *ports) reserve(pool *portPool, port uint16, user string, now instant) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	token := p.number()
	if _, exists := p.tokens[token]; exists || token == 0 || len(p.tokens) >= maxTokens {
		return 0
	}
	p.tokens[token] = reservation{pool, port, user, now + tokenTime}
	return token
}

// redeem gives the port of a token, which stays taken, to the user it was made for.
func (p *ports) redeem(token uint64, user string, now instant) (*portPool, uint16, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r, ok := p.tokens[token]
	if !ok || r.user != user || r.expires <= now {
		return nil, 0, false
	}
	delete(p.tokens, token)
	return r.pool, r.port, true
}

// clean puts back what was set aside for nobody, and ports that were blocked. The caller holds mu.
func (p *ports) clean(now instant) {
	for token, r := range p.tokens {
		if r.expires <= now {
			r.pool.taken.remove(r.port)
			delete(p.tokens, token)
		}
	}
	n := 0
	for n < len(p.blocked) && p.blocked[n].until <= now {
		p.blocked[n].pool.taken.remove(p.blocked[n].port)
		n++
	}
	p.blocked = p.blocked[n:]
}
