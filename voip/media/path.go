package media

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/sdp/v3"
	"github.com/pion/stun/v4"
	"github.com/pion/webrtc/v4"
)

// path keeps one call's media flowing when its way breaks. The stack beneath stays with the pair of addresses that it chose
// first, and with what it checked before; so a browser whose UDP is cut and which moves to a relay would hear nothing for
// as long as the cut lasts. Safe for concurrent use.
type path struct {
	controlling bool // we offered (RFC 8445 section 6.1.1)
	send        func(netip.AddrPort, []byte)

	mu       sync.Mutex
	pairs    map[string]*ice.CandidatePair // on which the other side checked
	selected string                        // the pair that carries media
	kind     Path                          // of it
	relays   map[netip.AddrPort]bool       // of the other side, that were told
	local    credentials
	remote   credentials
}

// credentials of one side's connectivity checks (RFC 8839 section 5.4).
type credentials struct{ ufrag, pwd string }

const (
	deadTime  = 1500 * time.Millisecond // without an answer, though we ask every half second
	freshTime = 10 * time.Second        // since an answer, of a way on which the other side checks
	maxPairs  = 64
	maxRelays = 16
)

// lateChecks is when a relayed address of the other side is checked after it was told. A browser gives relays up that
// nobody checks, once it has a better way; and a controlled side beneath us checks nothing any more by then.
var lateChecks = [...]time.Duration{300 * time.Millisecond, time.Second, 3 * time.Second}

func newPath(controlling bool, send func(netip.AddrPort, []byte)) *path {
	return &path{controlling: controlling, send: send, pairs: map[string]*ice.CandidatePair{}, relays: map[netip.AddrPort]bool{}}
}

func pairKey(local, remote string, lp, rp int) string {
	return local + "|" + strconv.Itoa(lp) + "|" + remote + "|" + strconv.Itoa(rp)
}

func keyOf(local, remote ice.Candidate) string {
	return pairKey(local.Address(), remote.Address(), local.Port(), remote.Port())
}

// carries notes the pair that carries media from now on.
func (p *path) carries(c *webrtc.ICECandidatePair) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.selected = pairKey(c.Local.Address, c.Remote.Address, int(c.Local.Port), int(c.Remote.Port))
	p.kind = Path{Local: c.Local.Typ.String(), Remote: c.Remote.Typ.String(), Protocol: c.Local.Protocol.String()}
}

// stats are the way that media goes, and the last round trip of a check on it.
func (p *path) stats() (Path, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var rtt time.Duration
	if pair := p.pairs[p.selected]; pair != nil {
		rtt = time.Duration(pair.CurrentRoundTripTime() * float64(time.Second))
	}
	return p.kind, rtt
}

// checked is told of each check of the other side, after the stack answered it; true makes its pair carry media. It is
// called by the stack's own goroutine.
func (p *path) checked(m *stun.Message, local, remote ice.Candidate, pair *ice.CandidatePair) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := keyOf(local, remote)
	if _, known := p.pairs[key]; !known && len(p.pairs) >= maxPairs {
		return false
	}
	p.pairs[key] = pair
	if key == p.selected {
		return false
	}
	now := time.Now()
	current := p.pairs[p.selected]
	dead := current != nil && now.Sub(current.LastResponseReceivedAt()) >= deadTime
	// A browser whose way broke checks another one often for a second, sends on it, and nominates it 3 s later: whoever waits
	// for that is not heard meanwhile. The first of its checks may come before ours is known to be dead, and the next seconds after.
	fresh := pair.ResponsesReceived() > 0 && now.Sub(pair.LastResponseReceivedAt()) < freshTime
	take := dead && fresh
	if !p.controlling && m.Contains(stun.AttrUseCandidate) {
		take = take || pair.ResponsesReceived() > 0 // that what we send there arrives was shown
	}
	if take {
		p.selected = key
	}
	return take
}

// described notes the credentials of a description.
func (p *path) described(text string, ours bool) {
	var s sdp.SessionDescription
	if s.UnmarshalString(text) != nil {
		return
	}
	var c credentials
	for _, m := range s.MediaDescriptions {
		u, _ := m.Attribute("ice-ufrag")
		w, _ := m.Attribute("ice-pwd")
		if u != "" && w != "" {
			c = credentials{u, w}
			break
		}
	}
	if c.ufrag == "" {
		c.ufrag, _ = s.Attribute("ice-ufrag")
		c.pwd, _ = s.Attribute("ice-pwd")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if ours {
		p.local = c
		return
	}
	if c != p.remote {
		clear(p.relays)
		clear(p.pairs)
		p.remote = c
	}
}

// relay says whether a candidate of the other side is a relayed one over UDP that was not told before, and notes it.
func (p *path) relay(candidate string) (netip.AddrPort, bool) {
	f := strings.Fields(strings.TrimPrefix(candidate, "candidate:"))
	if len(f) < 8 || !strings.EqualFold(f[2], "udp") || f[7] != "relay" {
		return netip.AddrPort{}, false
	}
	ip, err := netip.ParseAddr(f[4])
	port, perr := strconv.ParseUint(f[5], 10, 16)
	if err != nil || perr != nil {
		return netip.AddrPort{}, false
	}
	to := netip.AddrPortFrom(ip.Unmap(), uint16(port))
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.relays[to] || len(p.relays) >= maxRelays {
		return netip.AddrPort{}, false
	}
	p.relays[to] = true
	return to, true
}

// check sends checks to a relayed address until ctx is done or they are through. They are real ones, but the answer is of
// no matter: that the other side gets one keeps its way alive, and its own check then goes the usual way.
func (p *path) check(ctx context.Context, to netip.AddrPort) {
	for _, after := range lateChecks {
		wait := time.NewTimer(after)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return
		}
		if b := p.request(); b != nil {
			p.send(to, b)
		}
	}
}

// request is a connectivity check (RFC 8445 section 7.2.2); nil while one side's credentials are not known.
func (p *path) request() []byte {
	p.mu.Lock()
	local, remote := p.local, p.remote
	p.mu.Unlock()
	if local.ufrag == "" || remote.ufrag == "" {
		return nil
	}
	var tie [8]byte
	_, _ = rand.Read(tie[:]) // it never fails
	var role stun.Setter = ice.AttrControlled(binary.BigEndian.Uint64(tie[:]))
	if p.controlling {
		role = ice.AttrControlling(binary.BigEndian.Uint64(tie[:]))
	}
	m, err := stun.Build(stun.BindingRequest, stun.TransactionID, stun.NewUsername(remote.ufrag+":"+local.ufrag), role,
		ice.PriorityAttr(checkPriority), stun.NewShortTermIntegrity(remote.pwd), stun.Fingerprint)
	if err != nil {
		return nil
	}
	return m.Raw
}

// checkPriority is that of a peer reflexive candidate (RFC 8445 section 5.1.2.1).
const checkPriority = 110<<24 | 65535<<8 | 255

// sendUDP sends from every socket of the family: which of them the other side's relay lets in is not known.
func (p *ports) sendUDP(to netip.AddrPort, b []byte) {
	for _, c := range p.udp {
		if a := c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(); a.Is4() == to.Addr().Is4() {
			_, _ = c.WriteToUDPAddrPort(b, to) // it may be lost anyway
		}
	}
}
