//go:build linux && interop

package calls

import (
	"fmt"
	"slices"
	"testing"

	"github.com/gatepost/gatepost/test/harness"
)

// A call until the other side is heard: the gateway, which forwards the sound of a device, against a browser that answers at
// once. In turn, and the first of each does not count.
func TestFirstSound(t *testing.T) {
	const rounds = 9
	b := newBrowser(t)
	g := newGate(t, b)
	bob := g.w.phone(b, "bob")
	bob.do("answering", map[string]any{"on": true}, nil)
	var made struct{ Room string }
	g.alice.do("chat", map[string]any{"ghost": g.w.user("bob")}, &made)
	for _, p := range []*phone{bob, g.alice} { // an invite that comes with a room's first events does not ring
		p.sees("bob in the chat", func(seen) bool {
			bob.do("accept", nil, nil) // of gatepost's rooms, too, which may come first
			var there struct{ Membership string }
			p.do("joined", map[string]any{"room": made.Room, "user": g.w.user("bob")}, &there)
			return there.Membership == "join"
		})
	}
	type times struct{ Placed, Invited float64 } // ms from there to the sound
	first := func(room string) (heard times) {
		g.alice.do("first", map[string]any{"room": room}, &heard)
		g.hangup(g.alice)
		bob.sees("no call", func(s seen) bool { return s.State != "connected" })
		return heard
	}
	var gateway, browser []times
	for i := range rounds + 1 {
		one, two := first(g.room), first(made.Room)
		if i == 0 {
			continue
		}
		t.Logf("since the call was placed: gateway %.0f ms, browser %.0f ms; since the invite: %.0f ms, %.0f ms", one.Placed, two.Placed, one.Invited, two.Invited)
		gateway, browser = append(gateway, one), append(browser, two)
	}
	for _, from := range []struct {
		name string
		of   func(times) float64
	}{
		{"call placed to first sound", func(h times) float64 { return h.Placed }},
		{"invite to first sound", func(h times) float64 { return h.Invited }},
	} {
		var ours, theirs, ratios []float64
		for i := range gateway {
			one, two := from.of(gateway[i]), from.of(browser[i])
			ours, theirs, ratios = append(ours, one), append(theirs, two), append(ratios, one/two)
		}
		for _, list := range [][]float64{ours, theirs, ratios} {
			slices.Sort(list)
		}
		harness.Note(t, fmt.Sprintf("%s, gateway, median of %d (%.0f to %.0f)", from.name, rounds, ours[0], ours[rounds-1]), int(ours[rounds/2]), "ms")
		harness.Note(t, fmt.Sprintf("%s, browser to browser, median of %d (%.0f to %.0f)", from.name, rounds, theirs[0], theirs[rounds-1]), int(theirs[rounds/2]), "ms")
		harness.Figure(t, fmt.Sprintf("%s, gateway against browser to browser, median of %d (%.2f to %.2f)", from.name, rounds, ratios[0], ratios[rounds-1]),
			fmt.Sprintf("%.2f", ratios[rounds/2]), "x", "<= 0.7", ratios[rounds/2] <= 0.7)
	}
}
