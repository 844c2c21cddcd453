package turn

import (
	"encoding/binary"
	"net/netip"

	"github.com/pion/stun/v4"
)

// Lifetimes of RFC 8656 sections 3.2, 9 and 12.
const (
	defaultLifetime    = 600  // seconds
	maxLifetime        = 3600 // seconds
	permissionLifetime = 300 * second
	channelLifetime    = 600 * second
)

// protocolUDP is the value of REQUESTED-TRANSPORT for UDP, the only one there is.
const protocolUDP = 17

// maxTries is how many ports are tried for one relayed address.
const maxTries = 8

// allocate handles an Allocate (RFC 8656 section 7.2). 0 means that res.open has the rest, or that it is answered; another
// code is an error to answer with.
func (h *handler) allocate(t *table, req *request, a *allocation, p *proof, res *result) int {
	if a != nil {
		if a.transaction == t.in.TransactionID && a.username == p.username {
			h.answerAllocate(t, a, p) // repeated
			return 0
		}
		return codeMismatch
	}
	if p.identity.expires < req.wall.Unix() {
		h.metrics.authFailures.Inc(authExpired)
		return codeUnauthenticated
	}
	want, code := h.wants(&t.in)
	if code != 0 {
		return code
	}
	if h.draining.Load() {
		h.metrics.refused.Inc(refusedDraining)
		return codeCapacity
	}
	account, full := h.quotas.allocate(p.identity.user, req.now)
	if full != "" {
		h.metrics.refused.Inc(full)
		if full == refusedUserQuota {
			return codeQuota
		}
		return codeCapacity
	}
	o := &opening{
		alloc: &allocation{
			tuple: req.from, transport: req.transport, username: p.username, identity: p.identity, key: p.key,
			account: account, since: req.now, expires: req.now + instant(want.lifetime)*second,
			transaction: t.in.TransactionID, lifetime: want.lifetime,
		},
		request: *req, proof: *p, kind: want.kind, wanted: want.families,
	}
	o.request.message = nil
	if want.token != 0 {
		pool, port, ok := h.ports.redeem(want.token, p.identity.user, req.now)
		if !ok {
			return h.noPorts(o)
		}
		o.token = true
		o.wanted = [families]bool{}
		o.wanted[familyOf(pool.ip)] = true
		o.ask(pool, port)
		res.open = o
		return 0
	}
	if code := h.next(o); code != 0 {
		return code
	}
	res.open = o
	return 0
}

// wanted is what an Allocate asks for.
type wanted struct {
	families [families]bool
	kind     portKind
	token    uint64 // 0: none
	lifetime uint32 // seconds, within bounds
}

// wants reads an Allocate's attributes, in the order of RFC 8656 section 7.2.
func (h *handler) wants(m *stun.Message) (w wanted, code int) {
	transport, ok := m.Attributes.Get(stun.AttrRequestedTransport)
	if !ok || len(transport.Value) != 4 {
		return w, codeBadRequest
	}
	if transport.Value[0] != protocolUDP {
		return w, codeTransport
	}
	token, hasToken := m.Attributes.Get(stun.AttrReservationToken)
	even, hasEven := m.Attributes.Get(stun.AttrEvenPort)
	asked, hasFamily := m.Attributes.Get(stun.AttrRequestedAddressFamily)
	more, hasMore := m.Attributes.Get(attrAdditionalFamily)
	switch {
	case hasToken && (hasEven || hasFamily || hasMore || len(token.Value) != 8),
		hasMore && (hasFamily || len(more.Value) != 4 || more.Value[0] != wireIPv6),
		hasEven && (len(even.Value) != 1 || hasMore && even.Value[0]&0x80 != 0),
		hasFamily && len(asked.Value) != 4:
		return w, codeBadRequest
	}
	if hasToken {
		if w.token = binary.BigEndian.Uint64(token.Value); w.token == 0 {
			return w, codeCapacity // never given out
		}
	}
	if hasEven {
		w.kind = evenPort
		if even.Value[0]&0x80 != 0 {
			w.kind = portPair
		}
	}
	w.families[ipv4] = true
	if hasFamily {
		f, ok := familyFromWire(asked.Value[0])
		if !ok {
			return w, codeFamilyUnsupported
		}
		w.families = [families]bool{}
		w.families[f] = true
	}
	if hasMore {
		w.families[ipv6] = true
	}
	w.lifetime, code = lifetimeOf(m)
	return w, code
}

func familyFromWire(b byte) (family, bool) {
	switch b {
	case wireIPv4:
		return ipv4, true
	case wireIPv6:
		return ipv6, true
	}
	return 0, false
}

// lifetimeOf is what LIFETIME asks for, brought into bounds (RFC 8656 section 7.2). 0 stays 0, which only Refresh takes.
func lifetimeOf(m *stun.Message) (uint32, int) {
	value, ok := m.Attributes.Get(stun.AttrLifetime)
	if !ok {
		return defaultLifetime, 0
	}
	if len(value.Value) != 4 {
		return 0, codeBadRequest
	}
	asked := binary.BigEndian.Uint32(value.Value)
	if asked == 0 && m.Type.Method == stun.MethodRefresh {
		return 0, 0
	}
	return min(max(asked, defaultLifetime), maxLifetime), 0
}

// next asks for the next relayed address that is wanted. A family that can't be had is left out when two were asked for.
// When nothing is left to ask for it gives 0 if the allocation has an address, else the code to refuse it with.
func (h *handler) next(o *opening) int {
	code := codeCapacity
	for f := range families {
		if !o.wanted[f] {
			continue
		}
		o.family = f
		pool := h.ports.of(f, o.request.from.client)
		if pool == nil {
			code = codeFamilyUnsupported
		} else if port, ok := h.ports.take(pool, o.kind, o.request.now); ok {
			o.ask(pool, port)
			return 0
		} else {
			h.metrics.refused.Inc(refusedPorts)
			code = codeCapacity
		}
		h.without(o, uint16(code))
	}
	o.pool = nil
	for _, r := range o.alloc.relay {
		if r.public.IsValid() {
			return 0
		}
	}
	h.quotas.release(o.alloc.account, 0, 0, o.request.now)
	return code
}

// without goes on without the family that was asked for.
func (h *handler) without(o *opening, code uint16) {
	o.wanted[o.family], o.tries = false, 0
	o.alloc.denied, o.alloc.deniedFamily = code, o.family
}

// ask has the edge bind a port.
func (o *opening) ask(pool *portPool, port uint16) {
	o.pool, o.family = pool, familyOf(pool.ip)
	o.relay = netip.AddrPortFrom(pool.addr, port)
}

// noPorts refuses an allocation that has none.
func (h *handler) noPorts(o *opening) int {
	h.metrics.refused.Inc(refusedPorts)
	h.quotas.release(o.alloc.account, 0, 0, o.request.now)
	return codeCapacity
}

// opened says what became of a relay socket that was asked for: handle is the edge's own name of it, err why it could not be
// bound. The result asks for the next one or has the answer. When that is an error no socket is left: a family that was bound
// is never given up for one that was not.
func (h *handler) opened(t *table, o *opening, handle int32, err error, buf []byte) result {
	a, port := o.alloc, o.relay.Port()
	switch {
	case err == nil:
		o.pool.setLive(port, true)
		a.relay[o.family] = relay{public: o.relay, handle: handle}
		o.wanted[o.family], o.tries = false, 0
		if o.kind == portPair {
			if a.token = h.ports.reserve(o.pool, port+1, a.account.name, o.request.now); a.token == 0 {
				h.ports.give(o.pool, port+1)
			}
		}
	case o.token || o.tries+1 >= maxTries:
		h.unbound(o)
		h.metrics.refused.Inc(refusedPorts)
		h.without(o, codeCapacity)
	default:
		h.unbound(o)
		o.tries++
	}
	code := h.next(o)
	switch {
	case code == 0 && o.pool != nil:
		return result{open: o}
	case code == 0:
		a.id = h.lastID.Add(1)
		t.add(a)
		h.limiter.began(a.tuple.client.ip)
		h.answerAllocate(t, a, &o.proof)
	default:
		h.begin(t, stun.ClassErrorResponse, code)
		h.finish(t, &o.proof, false)
	}
	if o.ended != nil {
		h.giveRelays(o.ended)
	}
	return result{ended: o.ended, why: EndExpired, reply: append(buf, t.out.m.Raw...)}
}

// answerAllocate writes the answer to an Allocate that succeeded (RFC 8656 section 7.2). It comes out the same each time.
func (h *handler) answerAllocate(t *table, a *allocation, p *proof) {
	h.begin(t, stun.ClassSuccessResponse, 0)
	for _, r := range a.relay {
		if r.public.IsValid() {
			t.out.address(stun.AttrXORRelayedAddress, endpointOf(r.public))
		}
	}
	t.out.uint32(stun.AttrLifetime, a.lifetime)
	if a.token != 0 {
		t.out.uint64(stun.AttrReservationToken, a.token)
	}
	if a.denied != 0 {
		t.out.addressError(a.deniedFamily, a.denied)
	}
	t.out.address(stun.AttrXORMappedAddress, a.tuple.client)
	h.finish(t, p, false)
}

// unbound leaves a port alone that could not be bound.
func (h *handler) unbound(o *opening) {
	h.ports.block(o.pool, o.relay.Port(), o.request.now)
	if o.kind == portPair {
		h.ports.give(o.pool, o.relay.Port()+1)
	}
}
