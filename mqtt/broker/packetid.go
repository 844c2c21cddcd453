package broker

import (
	"maps"
	"sync"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// packetIDs keeps the packet ids of the two directions apart, which the library keeps in one map: there a PUBLISH of the
// client deletes the command in flight to it under the same id, a SUBSCRIBE with such an id is refused, and an
// acknowledgement ends the wrong one. So while a packet of the client is worked on, the map holds the entry of that
// packet's direction only. Between packets the outbound entry is the one in the map, since the library resends from there.
//
// The methods are called with the gate held. The lock is for a newcomer that takes the session over while the old
// connection waits in Deliver, which it does without the gate.
type packetIDs struct {
	mu      sync.Mutex
	id      uint16                    // of the packet that is worked on; 0: none
	aside   *packets.Packet           // outbound, taken out of the map for that time
	inbound map[uint16]packets.Packet // PUBRECs we await a PUBREL for, hidden by an outbound entry with the same id
}

// outbound tells whether an entry of the library's map belongs to a message to the client.
func outbound(p packets.Packet) bool {
	return p.FixedHeader.Type == packets.Publish || p.FixedHeader.Type == packets.Pubrel
}

// before makes the map show the direction of pk.
func (x *packetIDs) before(cl *mqtt.Client, pk packets.Packet) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.id = pk.PacketID
	entry, there := cl.State.Inflight.Get(x.id)
	switch pk.FixedHeader.Type {
	case packets.Puback, packets.Pubrec, packets.Pubcomp: // an id of ours
		if there && !outbound(entry) {
			x.hide(entry)
			cl.State.Inflight.Delete(x.id)
		}
	default: // an id of the client's
		if there && outbound(entry) {
			kept := entry // so that only this case costs an allocation
			x.aside = &kept
			cl.State.Inflight.Delete(x.id)
		}
		if in, ok := x.inbound[x.id]; ok {
			delete(x.inbound, x.id)
			cl.State.Inflight.Set(in)
		}
	}
}

// after undoes before: the outbound entry, if there is one, is in the map, and an inbound one beside it is hidden.
func (x *packetIDs) after(cl *mqtt.Client) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.settle(cl)
}

func (x *packetIDs) settle(cl *mqtt.Client) {
	if x.id == 0 {
		return
	}
	entry, there := cl.State.Inflight.Get(x.id)
	switch {
	case x.aside != nil:
		if there && entry.FixedHeader.Type == packets.Pubrec {
			x.hide(entry)
		}
		cl.State.Inflight.Set(*x.aside)
	case !there:
		if in, ok := x.inbound[x.id]; ok {
			delete(x.inbound, x.id)
			cl.State.Inflight.Set(in)
		}
	}
	x.id, x.aside = 0, nil
}

func (x *packetIDs) hide(p packets.Packet) {
	if x.inbound == nil {
		x.inbound = map[uint16]packets.Packet{}
	}
	x.inbound[p.PacketID] = p
}

// inherit takes the ids of the session's old connection, which may be in the middle of a packet, before the library
// copies its map.
func (x *packetIDs) inherit(old *mqtt.Client, from *packetIDs) {
	from.mu.Lock()
	from.settle(old)
	in := maps.Clone(from.inbound)
	from.mu.Unlock()
	x.mu.Lock()
	x.inbound = in
	x.mu.Unlock()
}
