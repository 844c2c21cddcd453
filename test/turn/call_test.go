//go:build linux && interop

package turn

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/gatepost/gatepost/test/harness"
	"github.com/gatepost/gatepost/test/turn/nat"
	"github.com/gatepost/gatepost/test/turn/relay"
)

// How much of a call must have come before it is believed.
const (
	enoughAudio    = 100 // frames of 20 ms
	enoughMessages = 10
)

// Calls between two hosts behind two NATs, by WebRTC stacks that others wrote: audio both ways and a data channel. Where they may
// only use the relay, or nothing else gets through, no packet passes the relay by. Where they may go directly they do, which shows
// that the counter of such packets can count.
func TestCallsBehindNATs(t *testing.T) {
	makers := map[string]func(*testing.T, launcher, string) caller{"aiortc": newAiortc, "chromium": newChromium}
	calls := 0
	for _, test := range []struct {
		kind   nat.Kind
		a, b   string
		urls   []string // of a, and of b if there are two
		policy string
	}{
		{nat.Cone, "aiortc", "aiortc", []string{udpURL}, "relay"},
		{nat.Cone, "chromium", "aiortc", []string{udpURL}, "relay"},
		{nat.Cone, "chromium", "chromium", []string{udpURL}, "relay"},
		{nat.Cone, "aiortc", "chromium", []string{tcpURL, udpURL}, "relay"},
		{nat.Cone, "aiortc", "aiortc", []string{udpURL}, "all"},
		{nat.Symmetric, "chromium", "aiortc", []string{udpURL}, "all"},
		{nat.Symmetric, "aiortc", "aiortc", []string{udpURL}, "all"},
		{nat.NoUDP, "aiortc", "chromium", []string{tcpURL}, "all"},
		{nat.NoUDP, "aiortc", "chromium", []string{tlsURL, tcpURL}, "relay"},
		{nat.NoUDP, "chromium", "chromium", []string{tcpURL}, "relay"},
		{nat.NoUDP, "chromium", "aiortc", []string{tlsURL}, "relay"},
	} {
		transports := strings.NewReplacer(udpURL, "udp", tcpURL, "tcp", tlsURL, "tls").Replace(strings.Join(test.urls, " and "))
		name := fmt.Sprintf("%s/%s to %s, %s, %s", test.kind, test.a, test.b, transports, test.policy)
		t.Run(name, func(t *testing.T) {
			w, s, cert := world(t, test.kind)
			a := makers[test.a](t, on(w, "a"), cert)
			b := makers[test.b](t, on(w, "b"), cert)
			open(t, a, "@a:turn.example", test.urls[0], test.policy)
			open(t, b, "@b:turn.example", test.urls[len(test.urls)-1], test.policy)
			connect(t, a, b, test.policy)

			ra, rb := settled(t, a, b)
			t.Logf("a: %+v", ra)
			t.Logf("b: %+v", rb)
			direct, err := w.Direct(t.Context())
			must(t, err)
			if test.kind == nat.Cone && test.policy == "all" {
				if ra.Local == "relay" || rb.Local == "relay" || direct < enoughAudio {
					t.Errorf("the media goes from %s to %s, %d packets directly, though there is a way past the relay", ra.Local, rb.Local, direct)
				}
				return
			}
			relayed := ra.Local == "relay" || rb.Local == "relay"
			both := ra.Local == "relay" && rb.Local == "relay"
			if !relayed || !both && (test.policy == "relay" || test.kind == nat.NoUDP) {
				t.Errorf("the media goes from %s to %s", ra.Local, rb.Local)
			}
			if both && direct != 0 {
				t.Errorf("%d packets passed the relay by", direct)
			}
			if s.Socket != "" {
				s.carried(both)
			}
			calls++
		})
	}
	harness.Note(t, "turn calls behind NATs through the relay", calls, "calls")
}

const (
	// Where the relay is, as WebRTC has it.
	udpURL = "turn:" + nat.Server + ":3478?transport=udp"
	tcpURL = "turn:" + nat.Server + ":3478?transport=tcp"
	tlsURL = "turns:" + nat.Server + ":5349?transport=tcp"
)

// world is NATs with a relay on the server between them.
func world(t *testing.T, kind nat.Kind) (*nat.World, *site, string) {
	t.Helper()
	if err := nat.Check(); err != nil {
		absent(t, err.Error())
	}
	w, err := nat.Up(t.Context(), kind)
	must(t, err)
	t.Cleanup(func() { must(t, w.Down()) })
	cert, key := certificate(t)
	s := &site{t: t, ctx: t.Context()}
	s.run(chosen, relay.Options{
		Dir: t.TempDir(), Netns: w.Netns("wan"), Realm: realm, Secret: secret, Cert: cert, Key: key,
		Listen: []string{"udp://" + nat.Server + ":3478", "tcp://" + nat.Server + ":3478", "tls://" + nat.Server + ":5349"},
		Relay:  []netip.Addr{netip.MustParseAddr(nat.Server)}, Peers: []string{nat.Outside},
	})
	return w, s, cert
}

func on(w *nat.World, host string) launcher {
	return func(ctx context.Context, program string, args ...string) *exec.Cmd {
		return w.Command(ctx, host, program, args...)
	}
}

func open(t *testing.T, c caller, user, url, policy string) {
	t.Helper()
	cred := credential(user)
	servers := []map[string]any{{"urls": url, "username": cred.Username, "credential": cred.Password}}
	if policy == "all" && url == udpURL {
		servers = append(servers, map[string]any{"urls": "stun:" + nat.Server + ":3478"})
	}
	_, err := c.do(t.Context(), "open", map[string]any{"servers": servers, "policy": policy})
	must(t, err)
}

// connect carries offer and answer from one to the other.
func connect(t *testing.T, a, b caller, policy string) {
	t.Helper()
	check := func(who string, got answer, err error) {
		t.Helper()
		must(t, err)
		types := candidates(got.SDP)
		if types["relay"] == 0 || policy == "relay" && len(types) != 1 {
			t.Fatalf("%s has candidates %v; trouble: %q", who, types, got.Trouble)
		}
	}
	offer, err := a.do(t.Context(), "offer", nil)
	check("the caller", offer, err)
	reply, err := b.do(t.Context(), "answer", map[string]any{"sdp": offer.SDP})
	check("the called", reply, err)
	_, err = a.do(t.Context(), "accept", map[string]any{"sdp": reply.SDP})
	must(t, err)
}

// settled waits until both have heard enough of each other.
func settled(t *testing.T, a, b caller) (ra, rb answer) {
	t.Helper()
	until(t, "audio and messages both ways", func() bool {
		var err error
		ra, err = a.do(t.Context(), "report", nil)
		must(t, err)
		rb, err = b.do(t.Context(), "report", nil)
		must(t, err)
		enough := func(r answer) bool { return r.Audio >= enoughAudio && r.Messages >= enoughMessages }
		if ra.State == "failed" || rb.State == "failed" {
			t.Fatalf("a: %+v; b: %+v", ra, rb)
		}
		return enough(ra) && enough(rb)
	})
	return ra, rb
}

// carried checks what gatepost says of a call that runs: both allocations if both sides use theirs, else one, each with the
// traffic of a call, in its list and in its metrics.
func (s *site) carried(both bool) {
	s.t.Helper()
	path := program(s.t)
	out, err := s.Command(s.ctx, path, "turn", "allocations", "--json", "--config", s.Config).Output()
	must(s.t, err)
	type traffic struct {
		Bytes int64 `json:"bytes"`
	}
	var list []struct {
		ToPeer   traffic `json:"to_peer"`
		ToClient traffic `json:"to_client"`
	}
	if err := json.Unmarshal(out, &list); err != nil {
		s.t.Fatalf("%v: %s", err, out)
	}
	busy := 0
	for _, a := range list {
		if a.ToPeer.Bytes > enoughAudio*20 && a.ToClient.Bytes > enoughAudio*20 {
			busy++
		}
	}
	want := 1
	if both {
		want = 2
	}
	if busy < want {
		s.t.Errorf("%d allocations carry a call, not %d: %s", busy, want, out)
	}
	for _, direction := range []string{"to_peer", "to_client"} {
		if n := s.metric("gatepost_turn_relayed_bytes_total", direction); n < enoughAudio*20 {
			s.t.Errorf("%v bytes %s", n, direction)
		}
	}
}
