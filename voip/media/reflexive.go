package media

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/pion/sdp/v3"
	"github.com/pion/stun/v4"

	"github.com/gatepost/gatepost/voip"
)

// pion gathers server reflexive candidates from sockets of its own. Ours is that of the port which all calls share: the world's
// checks arrive there, and belong to a call by its user name fragment, so that it only has to be told (RFC 8445 section 5.1.1.2).

// reflexiveTime is how long a STUN server may take.
const reflexiveTime = 500 * time.Millisecond

// reflexivePriority is that of RFC 8445 section 5.1.2.1 with the type preference 100.
const reflexivePriority = 100<<24 | 65535<<8 | 255

// reflexive asks the first server of uris that is asked by UDP how it sees our port, and gives the candidate; "" when nobody answers,
// or when there is no NAT between. The answer is remembered for a moment.
func (p *ports) reflexive(ctx context.Context, uris []string) string {
	for _, text := range uris {
		uri, err := stun.ParseURI(text)
		if err != nil || uri.Proto != stun.ProtoTypeUDP || uri.Scheme != stun.SchemeTypeSTUN && uri.Scheme != stun.SchemeTypeTURN {
			continue
		}
		hosts, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", uri.Host)
		if err != nil || len(hosts) == 0 {
			continue
		}
		server := net.UDPAddrFromAddrPort(netip.AddrPortFrom(hosts[0].Unmap(), uint16(uri.Port))) //nolint:gosec // of a URI that was read
		seen, err := p.out.GetXORMappedAddrContext(ctx, server, reflexiveTime)
		if err != nil {
			continue
		}
		base := p.out.LocalAddr().(*net.UDPAddr).AddrPort()
		at, ok := netip.AddrFromSlice(seen.IP)
		if !ok || netip.AddrPortFrom(at.Unmap(), uint16(seen.Port)) == netip.AddrPortFrom(base.Addr().Unmap(), base.Port()) { //nolint:gosec // of an UDP port
			return ""
		}
		return fmt.Sprintf("candidate:reflexive 1 udp %d %s %d typ srflx raddr %s rport %d", reflexivePriority, at.Unmap(), seen.Port, base.Addr().Unmap(), base.Port())
	}
	return ""
}

// reflect finds the call's server reflexive candidate, and tells it if the description is gone.
func (l *Leg) reflect(uris []string) {
	found := l.e.ports.reflexive(l.ctx, uris)
	if found == "" {
		return
	}
	l.reflexive.Store(&found)
	if !l.described.Load() {
		return
	}
	c := voip.Candidate{Candidate: found, Index: new(int)}
	if list := l.pc.GetTransceivers(); len(list) > 0 {
		c.MID = list[0].Mid()
	}
	l.tell(voip.LegCandidates{List: []voip.Candidate{c}})
}

// withCandidate puts a candidate to those of a description's first section, where those of a bundle are.
func withCandidate(text, candidate string) string {
	var s sdp.SessionDescription
	if s.UnmarshalString(text) != nil || len(s.MediaDescriptions) == 0 {
		return text
	}
	m := s.MediaDescriptions[0]
	m.Attributes = append([]sdp.Attribute{sdp.NewAttribute("candidate", strings.TrimPrefix(candidate, "candidate:"))}, m.Attributes...)
	b, err := s.Marshal()
	if err != nil {
		return text
	}
	return string(b)
}
