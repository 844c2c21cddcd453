package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/mqtt/topic"
)

// stops fails the test when the gateway takes longer to stop than a clean stop may.
func (w *world) stops() {
	w.t.Helper()
	began := time.Now()
	if err := w.stop(); err != nil {
		w.t.Errorf("Run: %v", err)
	}
	if took := time.Since(began); took > 4*time.Second {
		w.t.Errorf("it took %v to stop", took)
	}
}

func TestAFullDiskDoesNotHoldTheStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start([]RuleSpec{sensors, door})
		w.publish("sensors/a/x", "1")
		w.store.set(fullError{})
		answers := make(chan error, 40)
		for range 40 {
			go func() {
				answers <- w.g.Deliver(context.Background(), topic.Message{Topic: "sensors/a/x", Payload: make([]byte, 1<<20), Time: time.Now()})
			}()
		}
		w.says("@alice:x", "!1", "!unlock")
		time.Sleep(time.Minute)
		w.stops()
		for range 40 {
			if err := <-answers; !errors.Is(err, ErrStopped) {
				t.Errorf("a message that is not stored came back with %v", err)
			}
		}
	})
}

func TestAWaitForTheQueueEndsWithItsContext(t *testing.T) {
	inWorld(t, []RuleSpec{sensors}, func(w *world) {
		w.store.set(fullError{})
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		answers := make(chan error, 40)
		for range 40 {
			go func() {
				answers <- w.g.Deliver(ctx, topic.Message{Topic: "sensors/a/x", Payload: make([]byte, 1<<20), Time: time.Now()})
			}()
		}
		for range 40 {
			if err := <-answers; !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a wait ended with %v", err)
			}
		}
		w.store.set(nil)
	})
}

// A store that is full at the start has room again only when something was sent.
func TestAFullStoreAtTheStartIsDrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start([]RuleSpec{sensors, door})
		w.publish("sensors/a/x", "0")
		w.matrix.answer = func(lane.Record) (lane.Outcome, bool) {
			return lane.Outcome{Verdict: lane.Retry, Reason: "away"}, false
		}
		for i := range 5 {
			w.publish("sensors/a/x", fmt.Sprint(i+1))
		}
		w.die()
		w.matrix.answer = nil
		w.store.mu.Lock()
		w.store.fail, w.store.relief = fullError{}, true
		w.store.mu.Unlock()
		w.start([]RuleSpec{sensors, door})
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := len(w.matrix.said()); got != 6 {
			t.Errorf("%d of 6 messages were sent:\n%s", got, strings.Join(w.matrix.said(), "\n"))
		}
		w.store.set(nil)
		time.Sleep(2 * time.Second)
		w.publish("sensors/a/x", "6")
		w.want(6, "!2 @gatepost_a:x text x: 6")
		w.stops()
	})
}

// All workers have a reaction whose record goes through the router, which waits for room that only they can make.
func TestReactionsDoNotHoldADrain(t *testing.T) {
	rule := RuleSpec{Topic: "l/{device}", Class: lane.Event, Commands: []CommandSpec{{Name: "on", Topic: "l/{device}/set", Payload: "ON"}}}
	inWorld(t, []RuleSpec{rule}, func(w *world) {
		for i := range 2 * workers {
			w.publish(fmt.Sprintf("l/%d", i), "hello")
		}
		w.matrix.answer = func(lane.Record) (lane.Outcome, bool) {
			return lane.Outcome{Verdict: lane.Retry, Limited: true, After: time.Minute}, false
		}
		for i := range 2 * workers {
			w.says("@alice:x", fmt.Sprintf("!%d", i+1), "!on")
			w.publish(fmt.Sprintf("l/%d", i), "more")
		}
		w.store.mu.Lock()
		w.store.fail, w.store.relief = fullError{}, true
		w.store.mu.Unlock()
		w.matrix.answer = nil
		w.g.Submit(topic.Message{Topic: "l/0", Payload: []byte("last"), Time: time.Now()}, func(error) {})
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		got := strings.Join(w.matrix.said(), "\n")
		if n := strings.Count(got, ": more"); n != 2*workers {
			t.Errorf("%d of %d messages behind a reaction were sent while the store was full:\n%s", n, 2*workers, got)
		}
		w.store.set(nil)
		time.Sleep(2 * time.Second)
		synctest.Wait()
	})
}

func TestEveryPartBeatsAlsoWhileTheDiskIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		beats := make(chan string, 1000)
		w.change = func(c *Config) { c.Beat = func(part string) { beats <- part } }
		w.start([]RuleSpec{sensors})
		w.store.set(fullError{})
		w.g.Submit(topic.Message{Topic: "sensors/a/x", Time: time.Now()}, func(error) {})
		time.Sleep(time.Minute)
		count := map[string]int{}
		for len(beats) > 0 {
			count[<-beats]++
		}
		for _, part := range []string{PartHouse, PartIntake, PartSender} {
			if count[part] < 5 {
				t.Errorf("%s beat %d times in a minute", part, count[part])
			}
		}
		w.stops()
	})
}

// What was committed but not handed to the broker is known not to have been.
func TestACommandThatAStopOvertakesIsPublishedAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start([]RuleSpec{door})
		c := testCommand(func(c *Command) { c.Room, c.Confirm = "device/door", nil })
		if err := w.g.inside(t.Context(), func(b *batch) {
			w.g.commands.step(b, c, time.Now(), allowed{})
			b.after = nil // the publisher has not heard of it when the stop comes
		}); err != nil {
			t.Fatal(err)
		}
		w.g.publisher.mu.Lock()
		w.g.publisher.list = append(w.g.publisher.list, toPublish{command: *c})
		w.g.publisher.mu.Unlock()
		w.stops()
		if got := w.devices.list(); len(got) != 0 {
			t.Fatalf("published while stopping: %q", got)
		}
		w.start([]RuleSpec{door})
		time.Sleep(2 * time.Second)
		if got := w.devices.list(); len(got) != 1 {
			t.Errorf("published after the restart: %q", got)
		}
		w.stops()
	})
}

func TestReadyTellsThatTheClockIsNotSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.change = func(c *Config) { c.Now = func() time.Time { return time.Unix(100, 0) } }
		w.start([]RuleSpec{door})
		if why := strings.Join(w.g.Ready(), "; "); !strings.Contains(why, "clock") {
			t.Errorf("ready says %q", why)
		}
		w.event(room.Event{Type: "m.room.message", Sender: "@alice:x", Room: "!1", Sent: time.Unix(100, 0), Content: []byte(`{"msgtype":"m.text","body":"!unlock"}`)})
		if got := w.devices.list(); len(got) != 0 {
			t.Errorf("published %q", got)
		}
		w.stops()
	})
}

// A command may wait in the inbox since before a crash: it is judged when the homeserver's clock is known, not refused
// because it is not known yet.
func TestACommandWaitsForTheFirstAnswerOfTheHomeserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		clock := &lateClock{}
		w.start([]RuleSpec{door}) // makes the room
		w.stops()
		w.change = func(c *Config) { c.Clock = clock }
		w.start([]RuleSpec{door})
		w.says("@bob:x", "!1", "!unlock")
		time.Sleep(5 * time.Second)
		if got := w.devices.list(); len(got) != 0 {
			t.Errorf("published before the clock is known: %q", got)
		}
		clock.known.Store(true)
		time.Sleep(time.Second)
		if got := w.devices.list(); len(got) != 1 {
			t.Errorf("published %q; said:\n%s", got, strings.Join(w.matrix.said(), "\n"))
		}
		w.stops()
	})
}

// lateClock is not known at first.
type lateClock struct{ known atomic.Bool }

func (c *lateClock) Offset() (time.Duration, bool) { return 0, c.known.Load() }
