//go:build fault

package fault

import (
	"testing"
	"time"

	"github.com/gatepost/gatepost/test/harness"
)

// outside is a broker of its own: a gatepost that has an mqtt section only.
type outside struct {
	*harness.Gatepost
	addr string // host:port
}

// newOutside runs one in dir until the test ends.
func newOutside(t *testing.T, dir string) *outside {
	t.Helper()
	s := planSite(t, time.Hour, dir, "")
	s.start()
	return &outside{Gatepost: s.Gatepost, addr: s.addr}
}

// The connection between gatepost and its broker breaks again and again; once the broker itself is restarted, with nothing
// on its way, since what it had acknowledged and not delivered yet would be its own loss.
func TestEventsWhileTheBrokerConnectionBreaks(t *testing.T) {
	events, cuts := scaled(t, 5000), scaled(t, 20)
	broker := newOutside(t, folder(t))
	line, err := newProxy(broker.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(line.close)
	w := newWorld(t, 20*time.Minute, func(s *harness.Settings) { s.Devices, s.Broker = numbered, "mqtt://"+line.addr() })
	w.ok(w.gp.Start(w.ctx))
	c := newCrowd(w, broker.addr, events, 120*time.Millisecond, 0)
	for k := range cuts {
		c.allow(k, cuts)
		if k != cuts/2 {
			w.pause(w.between(0, 3*time.Second))
			line.cut()
			continue
		}
		w.poll("all that was published so far", 200*time.Millisecond, func() bool { return w.shown() >= c.each*(k+1)/cuts*crowdSize })
		w.ok(restart(w, broker))
	}
	harness.Note(t, "broker connection cut: cuts", cuts, "times")
	harness.Note(t, "broker connection cut: of them the broker restarted", 1, "times")
	c.finish()
	c.report("broker connection cut", false)
}

// restart stops and starts the broker, and waits until gatepost has subscribed again: what is published before that goes
// to nobody.
func restart(w *world, broker *outside) error {
	if _, err := broker.Stop(5 * time.Second); err != nil {
		return err
	}
	w.poll("gatepost to see that the broker is gone", 200*time.Millisecond, func() bool { return !w.ready() })
	if err := broker.Start(w.ctx); err != nil {
		return err
	}
	w.poll("gatepost to be connected again", 200*time.Millisecond, w.ready)
	return nil
}

func (w *world) ready() bool {
	status, _, err := w.gp.Get(w.ctx, "/readyz")
	return err == nil && status == 200
}
