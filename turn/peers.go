package turn

import (
	"encoding/binary"
	"slices"

	"github.com/pion/stun/v4"
)

// Channel numbers. RFC 8656 section 12 ends them at 0x4FFF, for those who share a port with DTLS; clients of RFC 5766, among
// them coturn's, take any up to 0x7FFF, and on a relay's port nothing else begins like that.
const (
	firstChannel = 0x4000
	lastChannel  = 0x7FFF
)

// refresh handles a Refresh of a live allocation by its owner (RFC 8656 section 8.2). What is answered is in t.out already
// when it gives 0.
func (h *handler) refresh(t *table, req *request, a *allocation, p *proof, res *result) int {
	lifetime, code := lifetimeOf(&t.in)
	if code != 0 {
		return code
	}
	only, asked := family(0), false
	if value, ok := t.in.Attributes.Get(stun.AttrRequestedAddressFamily); ok {
		if len(value.Value) != 4 {
			return codeBadRequest
		}
		if only, asked = familyFromWire(value.Value[0]); !asked || !a.relay[only].public.IsValid() {
			return codePeerFamily
		}
	}
	h.begin(t, stun.ClassSuccessResponse, 0)
	t.out.uint32(stun.AttrLifetime, lifetime)
	h.finish(t, p, false)
	switch {
	case lifetime > 0:
		a.expires = req.now + instant(lifetime)*second
	case asked && a.relay[1-only].public.IsValid(): // the other family goes on
		res.shrunk, res.dropped = a, a.relay[only]
		h.giveRelay(a.relay[only])
		a.relay[only] = relay{}
		h.keep(a, func(ip [16]byte) bool { return familyOf(ip) != only })
	default:
		h.end(t, a, req.now)
		res.ended, res.why = a, EndClient
		t.recent.keep(req.from, t.in.TransactionID, req.now, t.out.m.Raw)
	}
	return 0
}

// createPermission handles a CreatePermission of a live allocation by its owner (RFC 8656 section 10.2): all peers or none.
func (h *handler) createPermission(t *table, req *request, a *allocation) int {
	var ips [][16]byte
	for _, attr := range t.in.Attributes {
		if attr.Type != stun.AttrXORPeerAddress {
			continue
		}
		peer, mapped, ok := peerOf(&t.in, attr.Value)
		if !ok {
			return codeBadRequest
		}
		if code := h.mayPermit(a, peer, mapped); code != 0 {
			return code
		}
		if !slices.Contains(ips, peer.ip) {
			ips = append(ips, peer.ip)
		}
		if len(ips) > maxPermissions {
			return codeCapacity
		}
	}
	if len(ips) == 0 {
		return codeBadRequest
	}
	return h.permit(a, ips, 0, req.now)
}

// mayPermit says with which code a permission for a peer is refused, or 0.
func (h *handler) mayPermit(a *allocation, peer endpoint, mapped bool) int {
	switch {
	case mapped || !h.policy.permits(peer.ip):
		h.metrics.refused.Inc(refusedPeer)
		return codeForbidden
	case !a.relay[peer.family()].public.IsValid():
		return codePeerFamily
	}
	return 0
}

// permit makes or renews permissions, which are different from each other, and takes room for channels. A code other than 0
// is an error: then nothing has changed.
func (h *handler) permit(a *allocation, ips [][16]byte, channels int, now instant) int {
	fresh := func() (n int) {
		for _, ip := range ips {
			if !slices.ContainsFunc(a.permissions, func(p permission) bool { return p.ip == ip }) {
				n++
			}
		}
		return n
	}
	if len(a.permissions)+fresh() > maxPermissions || len(a.channels)+channels > maxChannels {
		h.prune(a, now)
	}
	n := fresh()
	if len(a.permissions)+n > maxPermissions || len(a.channels)+channels > maxChannels {
		h.metrics.refused.Inc(refusedUserQuota)
		return codeCapacity
	}
	if n+channels > 0 {
		if full := h.quotas.more(a.account, n, channels); full != "" {
			h.metrics.refused.Inc(full)
			return codeCapacity
		}
	}
	until := now + permissionLifetime
	for _, ip := range ips {
		if i := slices.IndexFunc(a.permissions, func(p permission) bool { return p.ip == ip }); i >= 0 {
			a.permissions[i].expires = until
		} else {
			a.permissions = append(a.permissions, permission{ip, until})
		}
		for i := range a.channels {
			if a.channels[i].peer.ip == ip {
				a.channels[i].permitted = until
			}
		}
	}
	return 0
}

// channelBind handles a ChannelBind of a live allocation by its owner (RFC 8656 section 12.2).
func (h *handler) channelBind(t *table, req *request, a *allocation) int {
	number, hasNumber := t.in.Attributes.Get(stun.AttrChannelNumber)
	value, hasPeer := t.in.Attributes.Get(stun.AttrXORPeerAddress)
	if !hasNumber || !hasPeer || len(number.Value) != 4 {
		return codeBadRequest
	}
	n := binary.BigEndian.Uint16(number.Value)
	peer, mapped, ok := peerOf(&t.in, value.Value)
	if !ok || n < firstChannel || n > lastChannel {
		return codeBadRequest
	}
	if code := h.mayPermit(a, peer, mapped); code != 0 {
		return code
	}
	judged := h.policy.judge(peer)
	if judged == refuse {
		h.metrics.refused.Inc(refusedPeer)
		return codeForbidden
	}
	a.channels = slices.DeleteFunc(a.channels, func(c channel) bool {
		gone := c.expires <= req.now && (c.number == n || c.peer == peer)
		if gone {
			h.quotas.fewer(a.account, 0, 1)
		}
		return gone
	})
	at := -1
	for i, c := range a.channels {
		if c.number == n && c.peer == peer {
			at = i
		} else if c.number == n || c.peer == peer {
			return codeBadRequest
		}
	}
	more := 0
	if at < 0 {
		more = 1
	}
	if code := h.permit(a, [][16]byte{peer.ip}, more, req.now); code != 0 {
		return code
	}
	if at >= 0 {
		a.channels[at].expires, a.channels[at].local = req.now+channelLifetime, judged == local
		return 0
	}
	a.channels = append(a.channels, channel{
		peer: peer, number: n, local: judged == local, expires: req.now + channelLifetime, permitted: req.now + permissionLifetime,
	})
	return 0
}

// prune drops an allocation's permissions and channels that have expired.
func (h *handler) prune(a *allocation, now instant) {
	permissions, channels := len(a.permissions), len(a.channels)
	a.permissions = slices.DeleteFunc(a.permissions, func(p permission) bool { return p.expires <= now })
	a.channels = slices.DeleteFunc(a.channels, func(c channel) bool { return c.expires <= now })
	h.fewer(a, permissions, channels)
}

// keep drops an allocation's permissions and channels whose address does not pass.
func (h *handler) keep(a *allocation, pass func(ip [16]byte) bool) {
	permissions, channels := len(a.permissions), len(a.channels)
	a.permissions = slices.DeleteFunc(a.permissions, func(p permission) bool { return !pass(p.ip) })
	a.channels = slices.DeleteFunc(a.channels, func(c channel) bool { return !pass(c.peer.ip) })
	h.fewer(a, permissions, channels)
}

// fewer gives back what an allocation has less than it had.
func (h *handler) fewer(a *allocation, permissions, channels int) {
	if permissions != len(a.permissions) || channels != len(a.channels) {
		h.quotas.fewer(a.account, permissions-len(a.permissions), channels-len(a.channels))
	}
}
