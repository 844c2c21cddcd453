package turn

import (
	"net"
	"testing"
)

// TestAnAddressThatMovedHearsNothing: between the look at where an address lives and the arrival there, its place may have
// been given to another allocation.
func TestAnAddressThatMovedHearsNothing(t *testing.T) {
	eachPath(t, func(t *testing.T, portable bool) {
		s := startServer(t, portable, nil)
		a, b, c := s.wire(0, "a"), s.wire(0, "b"), s.wire(0, "c")
		from, to, other := a.allocate(), b.allocate(), c.allocate()
		a.permit(net.UDPAddrFromAddrPort(to))
		for _, w := range []*wire{b, c} {
			w.permit(net.UDPAddrFromAddrPort(from))
		}
		s.homes.set(endpointOf(to), s.homes.find(endpointOf(other)))
		a.write(a.sendIndication(net.UDPAddrFromAddrPort(to), []byte("for b")))
		a.permit(net.UDPAddrFromAddrPort(other)) // the indication was looked at when this is answered
		for _, i := range s.Allocations() {
			if i.ToClient.Packets != 0 {
				t.Errorf("%s got %d packets", i.User, i.ToClient.Packets)
			}
		}
	})
}

func TestHomesOfOtherAddressesAreNone(t *testing.T) {
	h := newHomes([][16]byte{{1}})
	mine, foreign := endpoint{ip: [16]byte{1}, port: 7}, endpoint{ip: [16]byte{2}, port: 7}
	h.set(mine, home{worker: 3, handle: 1 << 30})
	h.set(foreign, home{worker: 1, handle: 1})
	if got := h.find(mine); got != (home{worker: 3, handle: 1 << 30}) {
		t.Errorf("%+v", got)
	}
	if h.find(foreign) != (home{}) || h.find(endpoint{ip: [16]byte{1}, port: 8}) != (home{}) {
		t.Error("somebody lives where nobody does")
	}
	h.set(mine, home{})
	if h.find(mine) != (home{}) {
		t.Error("it is still there")
	}
}
