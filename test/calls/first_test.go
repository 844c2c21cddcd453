//go:build linux && interop

package calls

import (
	"fmt"
	"slices"
	"testing"

	"github.com/gatepost/gatepost/test/harness"
)

// From the invite until the other side is heard: the gateway, which forwards the sound of a device, against a browser that
// answers at once. In turn, and the first of each does not count.
func TestFirstSound(t *testing.T) {
	const rounds = 9
	b := newBrowser(t)
	g := newGate(t, b)
	bob := g.w.phone(b, "bob")
	bob.do("answering", map[string]any{"on": true}, nil)
	var made struct{ Room string }
	g.alice.do("chat", map[string]any{"ghost": g.w.user("bob")}, &made)
	bob.sees("an invitation to the chat", func(seen) bool {
		var joined struct{ Rooms int }
		bob.do("accept", nil, &joined)
		return joined.Rooms > 0
	})
	first := func(room string) float64 {
		var heard struct{ Took float64 }
		g.alice.do("first", map[string]any{"room": room}, &heard)
		g.hangup(g.alice)
		bob.sees("no call", func(s seen) bool { return s.State != "connected" })
		return heard.Took
	}
	var gateway, browser, ratios []float64
	for i := range rounds + 1 {
		one, two := first(g.room), first(made.Room)
		if i == 0 {
			continue
		}
		t.Logf("gateway %.0f ms, browser %.0f ms", one, two)
		gateway, browser, ratios = append(gateway, one), append(browser, two), append(ratios, one/two)
	}
	for _, list := range [][]float64{gateway, browser, ratios} {
		slices.Sort(list)
	}
	middle := func(list []float64) float64 { return list[len(list)/2] }
	harness.Note(t, fmt.Sprintf("invite to first sound, gateway, median of %d (%.0f to %.0f)", rounds, gateway[0], gateway[rounds-1]), int(middle(gateway)), "ms")
	harness.Note(t, fmt.Sprintf("invite to first sound, browser to browser, median of %d (%.0f to %.0f)", rounds, browser[0], browser[rounds-1]), int(middle(browser)), "ms")
	harness.Figure(t, fmt.Sprintf("invite to first sound, gateway against browser to browser, median of %d (%.2f to %.2f)", rounds, ratios[0], ratios[rounds-1]),
		fmt.Sprintf("%.2f", middle(ratios)), "x", "<= 0.7", middle(ratios) <= 0.7)
}
