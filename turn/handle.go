package turn

import (
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/pion/stun/v4"
)

// request is one STUN message of a client, and when and whence it came.
type request struct {
	// message is the whole message and nothing else. The handler keeps nothing of it, but result.data is a part of it.
	message   []byte
	from      tuple
	transport transport
	now       instant   // for lifetimes
	wall      time.Time // for the expiry of credentials
}

// result is what the edge must do after a request, in the order of the fields. All that is nil or false is nothing to do.
type result struct {
	// ended was taken out of the table: the edge closes its sockets and forgets it.
	ended *allocation
	why   EndReason // why ended ended
	// shrunk lost the relayed address dropped; the edge closes its socket.
	shrunk  *allocation
	dropped relay
	// open asks for a relay socket: the edge binds it and calls handler.opened, which has the answer.
	open *opening
	// reply goes back to the client: the caller's buffer with the answer appended, or nil.
	reply []byte

	// data goes from the relayed address of sender to peer (a Send indication). It is a part of request.message. Permission
	// and policy were looked at; the user's bytes per second are the edge's to take, as for ChannelData.
	data   []byte
	sender *allocation
	peer   endpoint
	local  bool // peer is a relayed address of this server: deliver inside the process, never by a socket
	whole  bool // DONT-FRAGMENT: the packet must not be fragmented on its way
}

// opening is an Allocate that waits for relay sockets to be bound, one after another. The edge reads alloc, family and
// relay, binds, and hands it to handler.opened; nothing else may be handled for the same table meanwhile.
type opening struct {
	alloc  *allocation // not in the table yet
	family family
	relay  netip.AddrPort // the public address to bind for: itself, or behind a NAT the same port of a local address

	request request // without its message
	proof   proof
	kind    portKind
	wanted  [families]bool // still to be opened, family included
	pool    *portPool
	tries   int
	token   bool        // the port was set aside before
	ended   *allocation // had expired on the same 5-tuple
}

// handler is the control plane: what all workers share. Its methods do no I/O. They are safe for concurrent use as long as
// each call has a table of its own.
type handler struct {
	credentials  atomic.Pointer[credentials]
	revoked      revoked
	nonces       *nonces
	policy       *policy
	quotas       *quotas
	limiter      *limiter
	ports        *ports
	metrics      turnMetrics
	dontFragment bool // the edge can send without fragmentation
	draining     atomic.Bool
	lastID       atomic.Uint64
}

// newHandler makes the control plane of a checked cfg (its defaults filled in) for the relay addresses, which are
// canonical and named once.
func newHandler(cfg *Config, relayAddrs []netip.Addr, dontFragment bool, m turnMetrics) (*handler, error) {
	nonces, err := newNonces(cfg.Rand)
	if err != nil {
		return nil, err
	}
	ports := newPorts(relayAddrs, cfg.RelayPorts, cfg.Rand)
	h := &handler{
		nonces:       nonces,
		policy:       newPolicy(cfg.AllowPeers, ports, cfg.MediaPort),
		quotas:       newQuotas(cfg.Limits),
		limiter:      newLimiter(cfg.Limits.AnswersPerSource, cfg.Limits.Answers),
		ports:        ports,
		metrics:      m,
		dontFragment: dontFragment,
	}
	h.credentials.Store(newCredentials(cfg.Realm, cfg.Secrets, cfg.Users))
	return h, nil
}

// handle takes one message. The answer is appended to buf; see result.
func (h *handler) handle(t *table, request request, buf []byte) result {
	req := &request
	m := &t.in
	if err := parse(req.message, m); err != nil {
		h.metrics.dropped.Inc(dropMalformed)
		return result{}
	}
	a := t.find(req.from)
	var res result
	if a != nil && a.expires <= req.now {
		h.retire(t, a, req.now)
		res.ended, res.why, a = a, EndExpired, nil
	}
	switch m.Type.Class {
	case stun.ClassRequest:
		h.request(t, req, a, &res)
		switch {
		case res.open != nil: // the edge is told with the last result; until then it has the ports
			res.open.ended, res.ended = res.ended, nil
		case len(t.out.m.Raw) > 0:
			res.reply = append(buf, t.out.m.Raw...)
		}
	case stun.ClassIndication:
		if m.Type.Method == stun.MethodSend {
			h.send(t, req, a, &res)
		} // all others, Binding among them, ask for nothing
	}
	if res.ended != nil && res.why == EndExpired {
		h.giveRelays(res.ended)
	}
	return res
}

// request answers a request in t.out, which stays empty when there is no answer.
func (h *handler) request(t *table, req *request, a *allocation, res *result) {
	t.out.m.Reset()
	method := t.in.Type.Method
	var p proof
	if method != stun.MethodBinding || signed(&t.in) {
		var code int
		if p, code = h.prove(&t.in, req, a); code != 0 {
			h.refuseStranger(t, req, code, nil)
			return
		}
	}
	if attrs := unknown(&t.in, h.dontFragment); attrs != nil {
		if p.key.algorithm == 0 {
			h.refuseStranger(t, req, codeUnknownAttribute, attrs)
			return
		}
		h.begin(t, stun.ClassErrorResponse, codeUnknownAttribute)
		t.out.unknown(attrs)
		h.finish(t, &p, false)
		return
	}
	code := 0
	switch method {
	case stun.MethodBinding:
		h.bind(t, req, &p)
		return
	case stun.MethodAllocate:
		code = h.allocate(t, req, a, &p, res)
	case stun.MethodRefresh, stun.MethodCreatePermission, stun.MethodChannelBind:
		switch {
		case a == nil:
			if kept := t.recent.find(req.from, t.in.TransactionID, req.now); kept != nil && method == stun.MethodRefresh {
				t.out.m.Raw = append(t.out.m.Raw[:0], kept...)
				h.count(method, 0)
				return
			}
			code = codeMismatch
		case a.username != p.username:
			h.metrics.authFailures.Inc(authThief)
			code = codeWrongCredentials
		case method == stun.MethodRefresh:
			code = h.refresh(t, req, a, &p, res)
		case method == stun.MethodCreatePermission:
			code = h.createPermission(t, req, a)
		default:
			code = h.channelBind(t, req, a)
		}
	default: // RFC 6062 and what nobody knows
		code = codeBadRequest
	}
	if code != 0 {
		h.begin(t, stun.ClassErrorResponse, code)
		h.finish(t, &p, false)
		return
	}
	if res.open != nil || method == stun.MethodAllocate || method == stun.MethodRefresh {
		return // answered already, or later
	}
	h.begin(t, stun.ClassSuccessResponse, 0)
	h.finish(t, &p, false)
}

// begin starts an answer and counts it. code 0 is success.
func (h *handler) begin(t *table, class stun.MessageClass, code int) {
	h.count(t.in.Type.Method, code)
	t.out.begin(&t.in, class)
	if code != 0 {
		t.out.code(code)
	}
}

// finish signs an answer to somebody who proved who it is, and adds a FINGERPRINT to the answer to a request with one.
func (h *handler) finish(t *table, p *proof, stranger bool) {
	if !stranger {
		t.out.sign(&p.key, p.kind)
	}
	if t.in.Contains(stun.AttrFingerprint) {
		t.out.fingerprint()
	}
}

// refuseStranger answers with an error, or not at all.
func (h *handler) refuseStranger(t *table, req *request, code int, unknown []stun.AttrType) {
	if !h.challenge(t, req, code, unknown) {
		t.out.m.Reset()
		return
	}
	h.count(t.in.Type.Method, code)
}

// bind answers a Binding request (RFC 8489 section 12), of strangers too.
func (h *handler) bind(t *table, req *request, p *proof) {
	stranger := p.key.algorithm == 0
	if stranger && !h.limiter.answer(req.from.client, req.transport, req.now) {
		h.metrics.dropped.Inc(dropLimited)
		return
	}
	h.begin(t, stun.ClassSuccessResponse, 0)
	t.out.address(stun.AttrXORMappedAddress, req.from.client)
	h.finish(t, p, stranger)
}

// send takes a Send indication (RFC 8656 section 11.2). Whatever is wrong with it, nobody is told.
func (h *handler) send(t *table, req *request, a *allocation, res *result) {
	if a == nil {
		h.metrics.dropped.Inc(dropNoAllocation)
		return
	}
	data, hasData := t.in.Attributes.Get(stun.AttrData)
	value, hasPeer := t.in.Attributes.Get(stun.AttrXORPeerAddress)
	if !hasData || !hasPeer || unknown(&t.in, h.dontFragment) != nil {
		h.metrics.dropped.Inc(dropMalformed)
		return
	}
	peer, mapped, ok := peerOf(&t.in, value.Value)
	if !ok {
		h.metrics.dropped.Inc(dropMalformed)
		return
	}
	if !a.permitted(peer.ip, req.now) {
		h.metrics.dropped.Inc(dropNoPermission)
		return
	}
	judged := h.policy.judge(peer)
	if mapped || judged == refuse {
		h.metrics.dropped.Inc(dropPeer)
		return
	}
	res.data, res.sender, res.peer = data.Value, a, peer
	res.local = judged == local
	res.whole = t.in.Contains(stun.AttrDontFragment)
}

// end takes an allocation out of its table and gives back what it holds of quotas and ports. The edge closes its sockets
// before anything else is handled for the table.
func (h *handler) end(t *table, a *allocation, now instant) {
	h.retire(t, a, now)
	h.giveRelays(a)
}

// retire is end without giving the ports back.
func (h *handler) retire(t *table, a *allocation, now instant) {
	t.drop(a)
	h.limiter.ended(a.tuple.client.ip)
	h.quotas.release(a.account, len(a.permissions), len(a.channels), now)
}

func (h *handler) giveRelays(a *allocation) {
	for _, r := range a.relay {
		h.giveRelay(r)
	}
}

func (h *handler) giveRelay(r relay) {
	if r.public.IsValid() {
		h.ports.give(h.ports.pool(r.public.Addr().As16()), r.public.Port())
	}
}

// sweep takes out of a table what has expired: permissions and channels, and whole allocations, which ended is told of as of
// result.ended. It looks at a part of the table only, so that packets do not wait for long; all is seen in sweepParts calls.
func (h *handler) sweep(t *table, now instant, ended func(*allocation)) {
	for range (len(t.list) + sweepParts - 1) / sweepParts {
		if t.swept >= len(t.list) {
			t.swept = 0
		}
		a := t.list[t.swept]
		if a.expires <= now {
			h.end(t, a, now) // another one is at its place now
			ended(a)
			continue
		}
		h.prune(a, now)
		t.swept++
	}
}

const sweepParts = 8

// count counts an answer. Methods that are not ours are one.
func (h *handler) count(method stun.Method, code int) {
	name := "other"
	switch method {
	case stun.MethodBinding:
		name = "binding"
	case stun.MethodAllocate:
		name = "allocate"
	case stun.MethodRefresh:
		name = "refresh"
	case stun.MethodCreatePermission:
		name = "create_permission"
	case stun.MethodChannelBind:
		name = "channel_bind"
	}
	h.metrics.requests.Inc(name, resultLabel(code))
}

// resultLabel is the label of a code: "ok" for 0.
func resultLabel(code int) string {
	if code == 0 {
		return "ok"
	}
	return string([]byte{'0' + byte(code/100), '0' + byte(code/10%10), '0' + byte(code%10)})
}
