//go:build fault

package fault

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
)

// numbered is the rule for the crowd's events: each carries its number, which is the device's own message id as well.
const numbered = `
- topic: fault/{device}/event
  class: event
  id: "{{ value_json.n }}"
  post: "{{ value_json.n }} {{ value_json.pad }}"
`

// crowd are devices that each publish numbered events with QoS 1, and resend what was not acknowledged.
type crowd struct {
	w       *world
	devices []*device.Client
	each    int             // events of one device
	pad     string          // goes with each number
	quota   []chan struct{} // what each may publish now
	wg      sync.WaitGroup
	acked   atomic.Int64
}

const crowdSize = 10

// newCrowd connects devices to a broker; they publish what allow lets them, with pauses of at most pace, and pad
// bytes of text beside the number.
func newCrowd(w *world, broker string, events int, pace time.Duration, pad int) *crowd {
	w.t.Helper()
	c := &crowd{w: w, each: max(1, events/crowdSize), pad: strings.Repeat("x", pad)}
	for i := range crowdSize {
		name := crowdName(i)
		client := w.connect(device.Config{Addr: broker, ClientID: name, Retry: 20 * time.Millisecond})
		quota := make(chan struct{}, c.each)
		c.devices, c.quota = append(c.devices, client), append(c.quota, quota)
		pauses := make([]time.Duration, c.each)
		for n := range pauses {
			if n%7 != 0 { // some come in bursts
				pauses[n] = w.between(0, pace)
			}
		}
		c.wg.Go(func() { c.publish(client, name, quota, pauses) })
	}
	return c
}

func crowdName(i int) string { return fmt.Sprintf("d%d", i) }

func (c *crowd) publish(client *device.Client, name string, quota <-chan struct{}, pauses []time.Duration) {
	for n := range c.each {
		select {
		case <-quota:
		case <-c.w.ctx.Done():
			return
		}
		c.w.pause(pauses[n])
		payload, _ := json.Marshal(map[string]any{"n": n, "pad": c.pad}) // never fails
		acked, err := client.Send(c.w.ctx, device.Message{Topic: "fault/" + name + "/event", Payload: payload})
		if err != nil {
			return
		}
		c.wg.Go(func() {
			select {
			case <-acked:
				c.acked.Add(1)
			case <-c.w.ctx.Done():
			}
		})
	}
}

// allow lets every device publish the k-th of parts of its events.
func (c *crowd) allow(k, parts int) {
	for _, q := range c.quota {
		for range c.each*(k+1)/parts - c.each*k/parts {
			q <- struct{}{}
		}
	}
}

// total is how many events there are in all.
func (c *crowd) total() int { return c.each * crowdSize }

// resent is how many were sent again, with DUP.
func (c *crowd) resent() int {
	sum := 0
	for _, d := range c.devices {
		_, n := d.Counts()
		sum += n
	}
	return sum
}

// finish waits until everything is acknowledged and nothing more comes to the rooms.
func (c *crowd) finish() {
	c.w.t.Helper()
	c.wg.Wait()
	if n := int(c.acked.Load()); n != c.total() {
		c.w.t.Fatalf("only %d of %d events were acknowledged in time", n, c.total())
	}
	c.w.settle(c.total())
}

func crowdAlias(i int) string { return "#gatepost_" + crowdName(i) + ":localhost" }

// tally is what alice finds in the rooms.
type tally struct {
	found, lost, disorder int
	sentTwice             int // one record of gatepost's that the homeserver shows twice
	takenTwice            int // two records of gatepost's for one event
	unpaged               int // seen by /sync, and not given by /messages
	strange               []string
}

// count reads the rooms back from the homeserver. What /messages leaves out (Dendrite does, where a page ends between two
// events of one depth) is there all the same if alice saw it by /sync.
func (c *crowd) count() tally {
	c.w.t.Helper()
	var sum tally
	for i := range crowdSize {
		room, ghost := c.w.roomOf(crowdAlias(i)), "@gatepost_"+crowdName(i)+":localhost"
		history, err := c.w.alice.History(c.w.ctx, room)
		c.w.ok(err)
		var paged, synced tally
		paged.add(history, ghost, c.each)
		if paged.lost > 0 {
			var seen []harness.Event
			c.w.alice.View(func(rooms map[string]*harness.Room) { seen = slices.Clone(rooms[room].Events) })
			if synced.add(seen, ghost, c.each); synced.lost < paged.lost {
				synced.unpaged = paged.lost - synced.lost
				paged = synced
			}
		}
		sum.join(paged)
	}
	return sum
}

func (s *tally) join(o tally) {
	s.found += o.found
	s.lost += o.lost
	s.unpaged += o.unpaged
	s.disorder += o.disorder
	s.sentTwice += o.sentTwice
	s.takenTwice += o.takenTwice
	s.strange = append(s.strange, o.strange...)
}

func (s *tally) add(history []harness.Event, ghost string, each int) {
	ids := map[int]string{} // content id by number
	last := -1
	for _, e := range history {
		if e.Type != "m.room.message" || e.Sender != ghost {
			if e.Type == "m.room.message" {
				s.strange = append(s.strange, e.Sender+": "+e.Content.Body)
			}
			continue
		}
		text, _, _ := strings.Cut(e.Content.Body, " ")
		n, err := strconv.Atoi(text)
		if err != nil || e.Content.Gatepost == nil || n < 0 || n >= each {
			s.strange = append(s.strange, e.Content.Body)
			continue
		}
		id, seen := ids[n]
		switch {
		case !seen:
			ids[n] = e.Content.Gatepost.ID
			s.found++
			if n < last {
				s.disorder++
			}
			last = n
		case id == e.Content.Gatepost.ID:
			s.sentTwice++
		default:
			s.takenTwice++
		}
	}
	s.lost += each - len(ids)
}

// report prints the figures of a run. forgetful says that the homeserver may forget what it was asked to do and do it
// twice: that is counted, and no fault of gatepost's.
func (c *crowd) report(name string, forgetful bool) {
	c.w.t.Helper()
	sum := c.count()
	t := c.w.t
	harness.Note(t, name+": messages sent again with DUP", c.resent(), "messages")
	harness.Note(t, name+": left out of /messages by the homeserver", sum.unpaged, "events")
	harness.Equal(t, name+": events in the rooms", sum.found, c.total(), "events")
	harness.Zero(t, name+": lost", sum.lost, "events")
	harness.Zero(t, name+": out of order in their device's room", sum.disorder, "events")
	harness.Zero(t, name+": twice, taken twice by gatepost", sum.takenTwice, "events")
	twice := name + ": twice, one send that the homeserver made two events of"
	if forgetful {
		harness.Figure(t, twice, sum.sentTwice, "events", "counted", true)
	} else {
		harness.Zero(t, twice, sum.sentTwice, "events")
	}
	harness.Zero(t, name+": other messages in the rooms", len(sum.strange), "messages")
	for _, s := range sum.strange[:min(len(sum.strange), 10)] {
		t.Logf("unexpected: %q", s)
	}
}
