package turn

import "net/netip"

// Public says whether an address, or the IPv4 address within it, is of the public Internet: what a relay may send to when
// nothing else is configured. Mapped addresses must be unmapped before.
func Public(addr netip.Addr) bool {
	deny := deniedPeers()
	if !addr.IsValid() || contains(deny, addr) {
		return false
	}
	for _, inner := range embedded(addr) {
		if contains(deny, inner) {
			return false
		}
	}
	return true
}
