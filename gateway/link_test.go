package gateway

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
)

// linked tells the gateway how its connection to the broker is.
func (w *world) linked(up bool) {
	w.g.BrokerLink(up)
	synctest.Wait()
}

// While we can't hear them no device is silent, and it has its whole time again when we can. Owners are told once.
func TestALostConnectionIsNoSilence(t *testing.T) {
	quiet := RuleSpec{Topic: "q/{device}", Class: lane.State, Silence: time.Hour}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.change = func(c *Config) {
			c.People = People{Owners: []ids.UserID{"@alice:x"}, Members: map[ids.UserID]int{"@bob:x": 25}}
		}
		w.start([]RuleSpec{quiet})
		told := func() (out []string) {
			synctest.Wait()
			for _, p := range w.matrix.posts {
				if p.Lane == ids.ControlRoom && p.Post.Text != "" {
					out = append(out, p.Post.Text)
				}
			}
			return out
		}
		w.linked(true)
		if got := told(); len(got) != 0 {
			t.Errorf("told %q", got)
		}
		w.publish("q/a", "1")
		w.publish("q/b", "1")
		time.Sleep(30 * time.Minute)
		w.linked(false)
		time.Sleep(10 * time.Minute)
		w.linked(true) // nobody need hear of a short one
		time.Sleep(10 * time.Minute)
		w.linked(false)
		w.linked(false)
		time.Sleep(5 * time.Hour)
		w.wantAlarms()
		if got := told(); len(got) != 1 || !strings.Contains(got[0], "The connection to the broker is lost since 12:50") {
			t.Errorf("told %q", got)
		}
		w.linked(true)
		if got := told(); len(got) != 2 || got[1] != "The connection to the broker is back." {
			t.Errorf("told %q", got)
		}
		time.Sleep(50 * time.Minute)
		w.publish("q/b", "1")
		w.wantAlarms()
		time.Sleep(20 * time.Minute)
		w.wantAlarms("⚠ Nothing came from a for 1 hour.")
		w.linked(false)
		time.Sleep(50 * time.Minute)
		w.linked(true)
		time.Sleep(50 * time.Minute)
		w.wantAlarms("⚠ Nothing came from a for 1 hour.")
		time.Sleep(20 * time.Minute)
		w.wantAlarms("⚠ Nothing came from a for 1 hour.", "⚠ Nothing came from b for 1 hour.")
		if got := told(); len(got) != 4 || got[3] != got[1] {
			t.Errorf("told %q", got)
		}
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}
