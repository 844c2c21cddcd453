//go:build e2e

package turn

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/gatepost/gatepost/test/turn/relay"
	"github.com/gatepost/gatepost/test/turn/wire"
)

// opened lets peers of the test be on this machine.
func opened(o *relay.Options) { o.Peers = []string{"127.0.0.0/8"} }

// Whatever a stranger sends, what comes back is at most four times as long, and at most 120 bytes. Measured on the wire, over
// all there is to send without a credential.
func TestNoAmplification(t *testing.T) {
	s := serve(t, nil)
	signed := func(method uint16) *wire.Builder {
		return wire.Build(method, wire.NewID()).Add(wire.Username, []byte("1:@eve:turn.example")).Add(wire.Realm, []byte(realm)).
			Add(wire.Nonce, []byte("no nonce of this server")).Sign([]byte("guessed"))
	}
	requests := map[string][]byte{
		"data on a channel":                 wire.AppendChannelData(nil, 0x4000, []byte("hello"), false),
		"send indication":                   wire.Build(wire.SendMethod|wire.Indication, wire.NewID()).AddAddr(wire.XORPeerAddress, netip.MustParseAddrPort("127.0.0.1:9")).Add(wire.Data, []byte("x")).Bytes(),
		"attribute that must be understood": wire.Build(wire.Binding, wire.NewID()).Add(0x7FFF, nil).Bytes(),
		"a dozen of those":                  unknown(12),
		"five hundred of those":             unknown(500),
		"a method of TCP relaying":          wire.Build(wire.Connect, wire.NewID()).Bytes(),
		"a method that does not exist":      wire.Build(0x0FE, wire.NewID()).Bytes(),
		"an answer":                         wire.Build(wire.Allocate|wire.Success, wire.NewID()).Bytes(),
		"another transport":                 wire.Build(wire.Allocate, wire.NewID()).Add(wire.RequestedTransport, []byte{6, 0, 0, 0}).Bytes(),
		"user without integrity":            wire.Build(wire.Allocate, wire.NewID()).Add(wire.Username, []byte("eve")).Bytes(),
		"integrity without user":            wire.Build(wire.Allocate, wire.NewID()).Sign([]byte("k")).Bytes(),
		"magic cookie of old":               append([]byte{0, 1, 0, 0, 1, 2, 3, 4}, make([]byte, 12)...),
		"four bytes":                        {0, 1, 0, 0},
		"nothing":                           {},
		"longest datagram":                  make([]byte, 65507),
	}
	for _, method := range []uint16{wire.Binding, wire.Allocate, wire.Refresh, wire.CreatePermission, wire.ChannelBind} {
		requests[fmt.Sprintf("bare method %#x", method)] = wire.Build(method, wire.NewID()).Bytes()
		requests[fmt.Sprintf("forged method %#x", method)] = signed(method).Bytes()
	}
	sent, got := 0, 0
	answered := 0
	for name, request := range requests {
		c := s.dial("@eve:turn.example", "")
		must(t, c.Write(request))
		back := 0
		for _, b := range fenced(t, c) {
			back += len(b)
		}
		if back > 4*len(request) || back > 120 {
			t.Errorf("%s: %d bytes come back for %d", name, back, len(request))
		}
		if back > 0 {
			answered++
		}
		sent, got = sent+len(request)+28, got+back+28*min(back, 1)
		c.Close()
	}
	if answered < 6 {
		t.Errorf("only %d of %d were answered: the test sees nothing", answered, len(requests))
	}
	t.Logf("%d requests, %d of them answered: %d bytes in, %d out, with headers of IP and UDP", len(requests), answered, sent, got)
}

// fenced is all that came back, once a Binding request after it was answered.
func fenced(t *testing.T, c *wire.Client) [][]byte {
	t.Helper()
	id := wire.NewID()
	var all [][]byte
	for end := deadline(); ; {
		must(t, c.Write(wire.Build(wire.Binding, id).Bytes())) // again each second: what went before may have filled a buffer
		for {
			b, err := c.Read(time.Now().Add(time.Second))
			if errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(end) {
				break
			}
			if err != nil {
				t.Fatalf("a Binding request is not answered any more: %v", err)
			}
			if m, err := wire.Parse(b); err == nil && m.ID == id {
				return all
			}
			all = append(all, bytes.Clone(b))
		}
	}
}

// unknown is a request with n attributes that nobody knows, each of which a server would name in its answer.
func unknown(n int) []byte {
	m := wire.Build(wire.Binding, wire.NewID())
	for i := range n {
		m.Add(uint16(0x7000+i), nil)
	}
	return m.Bytes()
}

// A network that floods with wrong passwords gets few answers, and nobody else is locked out: neither a stranger from
// elsewhere, nor who has an allocation and lives in the very network.
func TestFloodOfWrongPasswords(t *testing.T) {
	s := serve(t, opened)
	neighbour := s.allocated("@neighbour:turn.example", "127.3.3.200")
	const requests = 4000
	eve := s.dial("@eve:turn.example", "127.3.3.3")
	began := time.Now()
	for range requests {
		must(t, eve.Write(wire.Build(wire.Allocate, wire.NewID()).Add(wire.RequestedTransport, []byte{17, 0, 0, 0}).
			Add(wire.Username, []byte(credential("@eve:turn.example").Username)).Add(wire.Realm, []byte(realm)).
			Add(wire.Nonce, []byte("guessed")).Sign([]byte("guessed")).Bytes()))
	}
	took := time.Since(began)

	if _, err := neighbour.Renew(600); err != nil {
		t.Errorf("who has an allocation in the network of the flood: %v", err)
	}
	again := s.dial("@neighbour:turn.example", "127.3.3.200")
	if _, err := again.Allocate(0); err != nil {
		t.Errorf("the same host again: %v", err)
	}
	elsewhere := s.dial("@bob:turn.example", "127.4.4.4")
	if _, err := elsewhere.Allocate(0); err != nil {
		t.Errorf("a stranger from elsewhere: %v", err)
	}
	answers := 0
	for {
		b, err := eve.Read(time.Now().Add(lull))
		if err != nil {
			break
		}
		answers++
		if m, err := wire.Parse(b); err != nil || m.Is(wire.Success) && !m.Is(wire.Failure) {
			t.Fatalf("a flood of wrong passwords got %x, %v", b, err)
		}
	}
	// A hundred a second for each network, and as many at once.
	if most := 200 + int(100*(time.Since(began).Seconds())); answers > most || answers == 0 || most > requests/2 {
		t.Errorf("%d of %d requests were answered in %v, must be 1 to %d", answers, requests, took, most)
	}
	t.Logf("%d requests in %v, %d answers", requests, took, answers)
}

// A signed request that somebody overheard is worth nothing from elsewhere; from the same place it is a retransmission.
func TestReplay(t *testing.T) {
	s := serve(t, nil)
	alice := s.dial("@alice:turn.example", "")
	answer, err := alice.Ask(wire.Allocate, nil) // no transport: refused, but by then there is a nonce
	if !errors.Is(err, wire.ErrRefused) || answer.Code() != 400 {
		t.Fatalf("an Allocate without a transport: %d, %v", answer.Code(), err)
	}
	request := alice.Auth(wire.Build(wire.Allocate, wire.NewID()).Add(wire.RequestedTransport, []byte{17, 0, 0, 0}))
	first, err := alice.Exchange(request)
	must(t, err)
	second, err := alice.Exchange(request)
	must(t, err)
	at := first.Addr(wire.XORRelayedAddress)
	if !at.IsValid() || second.Addr(wire.XORRelayedAddress) != at {
		t.Errorf("the same request again: %v, then %v", at, second.Addr(wire.XORRelayedAddress))
	}
	eve := s.dial("@eve:turn.example", "127.5.5.5")
	stolen, err := eve.Exchange(request)
	must(t, err)
	if code := stolen.Code(); code != 438 && code != 401 {
		t.Errorf("replayed from elsewhere: %d", code)
	}
	if stolen.Has(wire.XORRelayedAddress) {
		t.Error("the replay got an allocation")
	}
	other := alice.Auth(wire.Build(wire.Allocate, wire.NewID()).Add(wire.RequestedTransport, []byte{17, 0, 0, 0}))
	if m, err := alice.Exchange(other); err != nil || m.Code() != 437 {
		t.Errorf("a second allocation on the same 5-tuple: %d, %v", m.Code(), err)
	}
}

// Damaged messages harm nobody: each way to cut or stretch a good request, each bit of one turned over.
func TestDamagedMessages(t *testing.T) {
	s := serve(t, nil)
	alice := s.allocated("@alice:turn.example", "")
	good := func() []byte {
		return alice.Auth(wire.Build(wire.Refresh, wire.NewID()).AddUint32(wire.Lifetime, 0)).Bytes() // would end the allocation
	}
	b := good()
	damaged := 0
	for n := range b {
		must(t, alice.Write(b[:n]))
		damaged++
	}
	for i := range 8 * len(b) {
		c := bytes.Clone(b)
		c[i/8] ^= 1 << (i % 8)
		must(t, alice.Write(c))
		damaged++
	}
	long := bytes.Clone(b)
	for len(long) < 65000 {
		long = append(long, b...)
	}
	must(t, alice.Write(long))
	fenced(t, alice) // what it answers to them is looked at elsewhere
	if _, err := alice.Renew(600); err != nil {
		t.Errorf("after %d damaged messages the allocation is gone: %v", damaged, err)
	}
	s.allocated("@bob:turn.example", "")
}

// Nobody uses or ends an allocation that is not theirs: not another 5-tuple, not another user on the same one, not a peer that
// was not let in.
func TestAllocationThief(t *testing.T) {
	s := serve(t, opened)
	alice := s.allocated("@alice:turn.example", "")
	friend, at := peer(t, "127.0.0.1")
	_, err := alice.Bind(0x4000, at)
	must(t, err)

	eve := s.dial("@eve:turn.example", "")
	for name, ask := range map[string]func() (wire.Message, error){
		"refresh":    func() (wire.Message, error) { return eve.Renew(0) },
		"permission": func() (wire.Message, error) { return eve.Permit(at) },
		"channel":    func() (wire.Message, error) { return eve.Bind(0x4001, at) },
	} {
		if m, err := ask(); !errors.Is(err, wire.ErrRefused) || m.Code() != 437 {
			t.Errorf("%s from another 5-tuple: %d, %v", name, m.Code(), err)
		}
	}
	must(t, eve.SendOn(0x4000, []byte("stolen")))
	must(t, eve.SendTo(at, []byte("stolen")))

	mine := alice.Cred // eve at alice's own 5-tuple, as behind the same NAT
	alice.Cred = credential("@eve:turn.example")
	for name, ask := range map[string]func() (wire.Message, error){
		"refresh":    func() (wire.Message, error) { return alice.Renew(0) },
		"permission": func() (wire.Message, error) { return alice.Permit(at) },
		"channel":    func() (wire.Message, error) { return alice.Bind(0x4001, at) },
	} {
		if m, err := ask(); !errors.Is(err, wire.ErrRefused) || m.Code() != 441 {
			t.Errorf("%s of another user: %d, %v", name, m.Code(), err)
		}
	}
	alice.Cred = mine

	stranger, _ := peer(t, "127.0.0.2")
	_, err = stranger.WriteTo([]byte("unasked"), toUDP(alice.Relay))
	must(t, err)
	must(t, alice.SendOn(0x4000, []byte("mine")))
	if got := hears(t, friend, patience); got != "mine" {
		t.Errorf("the peer hears %q", got)
	}
	_, err = friend.WriteTo([]byte("answer"), toUDP(alice.Relay))
	must(t, err)
	p, err := alice.Receive(time.Now().Add(patience))
	must(t, err)
	if p.Channel != 0x4000 || string(p.Data) != "answer" {
		t.Errorf("alice hears %+v", p)
	}
	if got := hears(t, friend, lull); got != "" {
		t.Errorf("the peer hears %q", got)
	}
}

// A credential that expired opens nothing; one that expires does not end what it opened.
func TestExpiredCredential(t *testing.T) {
	s := serve(t, nil)
	late, err := wire.Dial("udp", s.udp, nil, wire.Mint(secret, "@late:turn.example", time.Now().Add(-time.Minute)))
	must(t, err)
	defer late.Close()
	if m, err := late.Allocate(0); !errors.Is(err, wire.ErrRefused) || m.Code() != 401 {
		t.Errorf("an expired credential: %d, %v", m.Code(), err)
	}
	soon, err := wire.Dial("udp", s.udp, nil, wire.Mint(secret, "@soon:turn.example", time.Now().Add(2*time.Second)))
	must(t, err)
	defer soon.Close()
	_, err = soon.Allocate(0)
	must(t, err)
	expiry := time.Now().Add(3 * time.Second)
	until(t, "the credential to expire", func() bool { return time.Now().After(expiry) })
	if _, err := soon.Renew(600); err != nil {
		t.Errorf("the allocation of a credential that expired meanwhile: %v", err)
	}
}
