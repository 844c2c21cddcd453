//go:build fault

package fault

import (
	"testing"
	"time"

	"github.com/gatepost/gatepost/test/harness"
)

// Devices publish to the embedded broker of a gatepost that is killed again and again, at random moments of its life: while
// it starts, while it makes rooms, commits, acknowledges, sends.
func TestEventsWhileGatepostIsKilled(t *testing.T) {
	events, kills := scaled(t, 5000), scaled(t, 50)
	w := newWorld(t, 20*time.Minute, func(s *harness.Settings) { s.Devices = numbered })
	w.ok(w.gp.Launch())
	c := newCrowd(w, w.mqtt, events, 200*time.Millisecond, 0)
	for k := range kills {
		c.allow(k, kills)
		if k%3 == 0 { // in the middle of taking messages
			target := c.acked.Load() + w.rng.Int64N(40)
			deadline := time.Now().Add(3 * time.Second)
			w.poll("acknowledgements", 5*time.Millisecond, func() bool { return c.acked.Load() >= target || time.Now().After(deadline) })
		} else {
			w.pause(w.life())
		}
		w.gp.Kill()
		w.ok(w.gp.Launch())
	}
	harness.Note(t, "gatepost killed: kills", kills, "times")
	c.finish()
	c.report("gatepost killed", false)
}

// life is how long a gatepost lives that will be killed: a third of them do not get past their start.
func (w *world) life() time.Duration {
	if w.rng.IntN(3) == 0 {
		return w.between(0, 300*time.Millisecond)
	}
	return w.between(300*time.Millisecond, 3*time.Second)
}
