package turn

import (
	"net/netip"

	"github.com/pion/stun/v4"
)

// instant is a reading of the server's own clock in nanoseconds since it started. It never goes backwards, whatever
// happens to the system's time.
type instant int64

// allocation is one client's relayed addresses and what belongs to them (RFC 8656 section 2.2). It belongs to one worker:
// nothing in it but account is touched by another goroutine.
type allocation struct {
	id        uint64
	tuple     tuple
	transport transport
	username  string   // as the client sent it
	identity  identity // what it says
	key       key      // goes on for the life of the allocation, whatever becomes of the secrets
	account   *account // shared by all allocations of the user
	since     instant
	expires   instant

	relay [families]relay // of each family it has one of

	permissions []permission // unordered, at most maxPermissions
	channels    []channel    // unordered, at most maxChannels

	toPeer, toClient Traffic

	// What a repeated Allocate is answered with (RFC 8656 section 7.2).
	transaction [stun.TransactionIDSize]byte
	lifetime    uint32 // seconds granted then
	token       uint64 // RESERVATION-TOKEN given then; 0: none
	denied      uint16 // error code of ADDRESS-ERROR-CODE given then; 0: none
	// deniedFamily is the family that denied is about.
	deniedFamily family
	slot         int // place in table.list
}

// relay is one relayed transport address.
type relay struct {
	public netip.AddrPort // what peers see; not valid: the allocation has none of this family
	// handle is the edge's own: which socket it is. The control plane keeps it and never looks.
	handle int32
}

// permission lets the peers of an address through, in both directions (RFC 8656 section 9).
type permission struct {
	ip      [16]byte
	expires instant
}

// channel is a number that stands for a peer (RFC 8656 section 12).
type channel struct {
	peer    endpoint
	number  uint16
	local   bool // the peer is a relayed address of this server (verdict local)
	expires instant
	// permitted is when the permission of the peer's address ends: the same as in permissions, so that what comes from a
	// peer with a channel needs one look only.
	permitted instant
}

// channelByNumber is the live channel with a number, or nil. The pointer is good until the table changes.
func (a *allocation) channelByNumber(number uint16, now instant) *channel {
	for i := range a.channels {
		if c := &a.channels[i]; c.number == number {
			if c.expires <= now {
				return nil
			}
			return c
		}
	}
	return nil
}

// channelByPeer is the live channel of a peer, or nil. The pointer is good until the table changes.
func (a *allocation) channelByPeer(peer endpoint, now instant) *channel {
	for i := range a.channels {
		if c := &a.channels[i]; c.peer == peer {
			if c.expires <= now {
				return nil
			}
			return c
		}
	}
	return nil
}

// permitted says whether there is a live permission for an address.
func (a *allocation) permitted(ip [16]byte, now instant) bool {
	for i := range a.permissions {
		if a.permissions[i].ip == ip {
			return a.permissions[i].expires > now
		}
	}
	return false
}
