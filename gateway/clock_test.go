package gateway

import (
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/mqtt/topic"
)

// wrongClock is ours and the homeserver's together: ours is off by as much as the test says, the homeserver's is right.
type wrongClock struct{ off atomic.Int64 }

func (c *wrongClock) now() time.Time { return time.Now().Add(time.Duration(c.off.Load())).Round(0) }

func (c *wrongClock) Offset() (time.Duration, bool) { return -time.Duration(c.off.Load()), true }

func TestAClockThatStartsIn1970AndJumps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const year = 365 * 24 * time.Hour
		clock := &wrongClock{}
		telemetry := RuleSpec{Topic: "t/{device}", Class: lane.Telemetry, Every: time.Minute}
		w := newWorld(t)
		w.change = func(c *Config) { c.Now, c.Clock = clock.now, clock }
		clock.off.Store(int64(-56 * year))
		w.start([]RuleSpec{sensors, telemetry, door})
		step := func(n string) {
			w.send(topic.Message{Topic: "sensors/a/n", Payload: []byte(n), Time: clock.now()})
			w.send(topic.Message{Topic: "t/b", Payload: []byte(n), Time: clock.now()})
			e := w.says("@bob:x", w.roomNamed("Front door"), "!unlock") // fresh by the homeserver's clock
			if e == "" || len(w.devices.list()) == 0 {
				t.Errorf("step %s: the command was not published", n)
			}
			w.devices.heard = nil
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			for _, want := range []string{"n: " + n, "b: " + n} {
				if !slices.ContainsFunc(w.matrix.posts, func(p memPost) bool { return p.Post.Text == want }) {
					t.Errorf("step %s: %q is not in its room; %d records wait", n, want, w.store.waiting())
				}
			}
		}
		step("1970")
		clock.off.Store(int64(10 * year))
		step("forward")
		clock.off.Store(0)
		step("back")
		clock.off.Store(int64(-time.Hour))
		w.restart([]RuleSpec{sensors, telemetry, door})
		step("an hour back, over a restart")
		w.stops()
	})
}

// roomNamed is the id of the room that was made with a name.
func (w *world) roomNamed(name string) string {
	for _, r := range w.g.Rooms() {
		if r.Name == name {
			return string(r.Room)
		}
	}
	return ""
}
