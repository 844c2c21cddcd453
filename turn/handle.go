package turn

import (
	"net/netip"
	"time"
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
	// reply goes back to the client: the caller's buffer with the answer appended. Empty: no answer.
	reply []byte
	// open asks for a relay socket; the edge binds it and calls handler.opened, which has the answer.
	open *opening
	// ended was taken out of the table: the edge closes its sockets and forgets it.
	ended *allocation
	// data goes from the relayed address of sender to peer (a Send indication). It is a part of request.message.
	data   []byte
	sender *allocation
	peer   endpoint
	local  bool // peer is a relayed address of this server: deliver inside the process, never by a socket
	whole  bool // DONT-FRAGMENT: the packet must not be fragmented on its way
}

// opening is an Allocate that waits for relay sockets to be bound, one after another. The edge reads relay and family,
// binds, and hands it to handler.opened; nothing else may be handled for the same table meanwhile.
type opening struct {
	alloc  *allocation
	family family
	relay  netip.AddrPort // the public address to bind for: itself, or behind a NAT the same port of a local address
}

// What the edge calls, each for a table it owns (h is shared by all workers, t is the caller's own):
//
//	h.handle(t, request, buf) result          a STUN message
//	h.opened(t, opening, handle, err, buf) result   the relay socket that result.open asked for
//	h.sweep(t, now, end func(*allocation))    now and then: takes out what has expired
//	h.end(t, allocation, now)                 takes one out for a reason of the edge
