package gateway

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/mqtt/topic"
)

// fate is what becomes of one send.
type fate struct {
	verdict lane.Verdict // 0: done
	arrives bool
	dies    bool // and the process dies before it hears of it
}

// TestEverythingAcknowledgedArrivesOnceAndInOrder lets the homeserver answer as it likes, and the process die in the middle
// of sends and between them.
func TestEverythingAcknowledgedArrivesOnceAndInOrder(t *testing.T) {
	fates := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) fate {
		switch rapid.IntRange(0, 6).Draw(t, "kind") {
		case 0:
			return fate{verdict: lane.Retry}
		case 1:
			return fate{verdict: lane.Unknown}
		case 2:
			return fate{verdict: lane.Unknown, arrives: true}
		case 3:
			return fate{verdict: lane.Unknown, dies: true}
		case 4:
			return fate{verdict: lane.Unknown, arrives: true, dies: true}
		default:
			return fate{arrives: true}
		}
	}), 0, 12)
	rapid.Check(t, func(rt *rapid.T) {
		plan := fates.Draw(rt, "fates")
		deaths := rapid.SliceOfN(rapid.IntRange(0, 8), 0, 3).Draw(rt, "deaths") // after so many messages
		var problem string
		synctest.Test(t, func(t *testing.T) { problem = sendThrough(t, plan, deaths) })
		if problem != "" {
			rt.Fatal(problem)
		}
	})
}

func sendThrough(t *testing.T, plan []fate, deaths []int) string {
	w := newWorld(t)
	var doomed atomic.Bool // the process dies as soon as the test sees to it
	w.matrix.answer = func(lane.Record) (lane.Outcome, bool) {
		if doomed.Load() {
			return lane.Outcome{Verdict: lane.Retry, Reason: "dead"}, false
		}
		if len(plan) == 0 {
			return lane.Outcome{}, true
		}
		f := plan[0]
		plan = plan[1:]
		doomed.Store(f.dies)
		if f.verdict == 0 {
			return lane.Outcome{}, f.arrives
		}
		return lane.Outcome{Verdict: f.verdict, Reason: "fate"}, f.arrives
	}
	revive := func() {
		w.die()
		doomed.Store(false)
		w.start([]RuleSpec{sensors})
	}
	w.start([]RuleSpec{sensors})
	var want []string
	for i := range 8 {
		if slices.Contains(deaths, i) || doomed.Load() {
			revive()
		}
		name := string(rune('a' + i%2))
		w.publish("sensors/"+name+"/x", fmt.Sprint(i))
		want = append(want, fmt.Sprintf("@gatepost_%s:x text x: %d", name, i))
		time.Sleep(time.Second)
	}
	for range 20 {
		synctest.Wait()
		if doomed.Load() {
			revive()
		}
		time.Sleep(5 * time.Minute)
	}
	synctest.Wait()
	if err := w.stop(); err != nil {
		return err.Error()
	}
	for _, device := range []string{"@gatepost_a:x", "@gatepost_b:x"} {
		var got, expected []string
		for _, l := range w.matrix.said() {
			if strings.Contains(l, device) {
				got = append(got, l[strings.IndexByte(l, ' ')+1:])
			}
		}
		for _, l := range want {
			if strings.HasPrefix(l, device) {
				expected = append(expected, l)
			}
		}
		if !slices.Equal(got, expected) {
			return fmt.Sprintf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(expected, "\n\t"))
		}
	}
	return ""
}

// client is a device that speaks MQTT with QoS 1: what is not acknowledged it sends again, with DUP, before anything else.
type client struct {
	name    string
	n       int
	next    uint16
	unacked []topic.Message
}

// TestResendsAfterCrashesMakeNoDouble plays clients against a gateway that dies again and again between its commit and the
// acknowledgement: also when a second death comes before all clients are back from the first.
func TestResendsAfterCrashesMakeNoDouble(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		moves := rapid.SliceOfN(rapid.IntRange(0, 8), 1, 40).Draw(rt, "moves")
		var problem string
		synctest.Test(t, func(t *testing.T) { problem = resend(t, moves) })
		if problem != "" {
			rt.Fatal(problem)
		}
	})
}

func resend(t *testing.T, moves []int) string {
	w := newWorld(t)
	w.start([]RuleSpec{sensors})
	clients := []*client{{name: "a"}, {name: "b"}, {name: "c"}}
	deliver := func(m topic.Message) { // stored, but nobody knows whether the acknowledgement goes out
		m.Time = time.Now()
		w.g.Submit(m, func(error) {})
		synctest.Wait()
	}
	back := func(c *client) { // the connection is there again
		for _, m := range c.unacked {
			m.Dup = true
			deliver(m)
		}
		c.unacked = nil
	}
	total := 0
	for _, move := range moves {
		c := clients[move%3]
		switch move / 3 {
		case 0: // a message that is acknowledged
			back(c)
			c.n, c.next, total = c.n+1, c.next%5+1, total+1
			deliver(topic.Message{Topic: "sensors/" + c.name + "/x", Payload: fmt.Append(nil, c.n), QoS: 1, PacketID: c.next, Client: c.name})
			time.Sleep(2 * time.Second)
		case 1: // one whose acknowledgement is cut off by a crash
			back(c)
			c.n, c.next, total = c.n+1, c.next%5+1, total+1
			m := topic.Message{Topic: "sensors/" + c.name + "/x", Payload: fmt.Append(nil, c.n), QoS: 1, PacketID: c.next, Client: c.name}
			deliver(m)
			c.unacked = append(c.unacked, m)
			w.die()
			w.start([]RuleSpec{sensors})
		case 2:
			back(c)
		}
	}
	for _, c := range clients {
		back(c)
	}
	time.Sleep(time.Hour)
	synctest.Wait()
	if err := w.stop(); err != nil {
		return err.Error()
	}
	if got := w.matrix.said(); len(got) != total {
		return fmt.Sprintf("%d messages became %d posts:\n%s", total, len(got), strings.Join(got, "\n"))
	}
	for key := range w.store.values {
		if strings.HasPrefix(key, spaceMarks+"\x00"+latestKey) {
			return "marks of acknowledged messages are still stored"
		}
	}
	return ""
}
