//go:build fault

package fault

import (
	"testing"
	"time"

	"github.com/gatepost/gatepost/test/harness"
)

// The homeserver is stopped and started while events arrive, in the middle of what it is asked to do.
func TestEventsWhileTheHomeserverStops(t *testing.T) {
	homeserverGoes(t, "homeserver stopped", func(w *world) { w.ok(w.hs.Stop()) })
}

// The same with SIGKILL: what it had answered is on its disk, what it was asked meanwhile may be or not.
func TestEventsWhileTheHomeserverIsKilled(t *testing.T) {
	homeserverGoes(t, "homeserver killed", func(w *world) { w.hs.Kill() })
}

func homeserverGoes(t *testing.T, name string, end func(*world)) {
	events, stops := scaled(t, 5000), 5
	w := newWorld(t, 20*time.Minute, func(s *harness.Settings) { s.Devices = numbered })
	w.ok(w.gp.Start(w.ctx))
	c := newCrowd(w, w.mqtt, events, 100*time.Millisecond, 0)
	for k := range stops {
		c.allow(k, stops)
		w.pause(w.between(500*time.Millisecond, 6*time.Second))
		end(w)
		w.pause(w.between(0, 5*time.Second))
		w.ok(w.hs.Start(w.ctx))
	}
	harness.Note(t, name+": times", stops, "times")
	c.finish()
	c.report(name, true)
}
