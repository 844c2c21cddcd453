//go:build fault

package fault

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
)

// classes are the rules of a device that says things of every class. Texts are "class number" or, where a reading matters,
// "class reading number", so that each post tells which message it is.
const classes = `
- {topic: "flood/{device}/alarm", class: alarm, post: "alarm {{ value }}"}
- {topic: "flood/{device}/event", class: event, post: "event {{ value }}"}
- {topic: "flood/{device}/state/{reading}", class: state, post: "state {{ reading }} {{ value }}"}
- {topic: "flood/{device}/telemetry/{reading}", class: telemetry, every: 20s, post: "telemetry {{ reading }} {{ value }}"}
`

// laneRecords is how many records wait in a lane at most, a tenth of it kept for alarms.
const laneRecords = 5000

// said is what a device publishes: how many messages of each class, and on how many readings.
type said struct{ alarm, event, state, telemetry, readings int }

func (s said) total() int { return s.alarm + s.event + s.state + s.telemetry }

// The homeserver is away while far more arrives than may wait. One device overfills its lane with events, the other says as
// much, but nearly all of it as state and telemetry, so that its lane holds it all.
func TestFloodWhileTheHomeserverIsAway(t *testing.T) {
	plan := map[string]said{
		"full": {alarm: scaled(t, 600), event: max(laneRecords+1000, scaled(t, 18000)), state: scaled(t, 3400), telemetry: scaled(t, 3000), readings: 20},
		"calm": {alarm: scaled(t, 400), event: scaled(t, 1600), state: scaled(t, 11500), telemetry: scaled(t, 11500), readings: 20},
	}
	w := newWorld(t, 20*time.Minute, func(s *harness.Settings) { s.Devices = classes })
	w.ok(w.gp.Start(w.ctx))
	greet := w.connect(device.Config{Addr: w.mqtt, ClientID: "greet"})
	for name := range plan { // the rooms are there already
		w.ok(greet.Publish(w.ctx, device.Message{Topic: "flood/" + name + "/event", Payload: []byte("-"), QoS: 1}))
		w.roomOf("#gatepost_" + name + ":localhost")
	}
	w.drained()
	w.ok(w.hs.Stop())

	began := time.Now()
	total := 0
	var wg sync.WaitGroup
	for name, s := range plan {
		total += s.total()
		for i, part := range s.lists(name) {
			client := w.connect(device.Config{Addr: w.mqtt, ClientID: fmt.Sprintf("%s-%d", name, i), Window: 64})
			wg.Go(func() { w.publishAll(client, part) })
		}
	}
	wg.Wait()
	took := time.Since(began)
	harness.Note(t, "flood: messages published and acknowledged while the homeserver was away", total, "messages")
	harness.Note(t, "flood: rate", int(float64(total)/took.Seconds()), "messages/s")
	var lanes []struct {
		Lane    string
		Records int
	}
	if !w.ask(&lanes, "outbox") {
		t.Fatal("gatepost does not show its outbox")
	}
	for _, l := range lanes {
		if l.Lane != "control" {
			// gap markers stand outside the bound, at most 64 of them
			harness.Figure(t, "flood: waiting in "+l.Lane, l.Records, "records", fmt.Sprintf("<= %d", laneRecords+64), l.Records <= laneRecords+64)
		}
	}

	w.ok(w.hs.Start(w.ctx))
	began = time.Now()
	w.drained()
	harness.Note(t, "flood: drained in", int(time.Since(began).Seconds()), "s")
	for _, name := range []string{"calm", "full"} {
		history, err := w.alice.History(w.ctx, w.roomOf("#gatepost_"+name+":localhost"))
		w.ok(err)
		f := found{t: t, name: "flood, " + name + " lane: ", said: plan[name]}
		f.read(history)
		f.report(name == "full")
	}
}

// lists are the messages of a device, of each publisher in order; a publisher has whole readings.
func (s said) lists(name string) [][]device.Message {
	topics := func(class string, readings, n int) (out []device.Message) {
		for i := range n {
			topic := "flood/" + name + "/" + class
			if readings > 0 {
				topic += fmt.Sprintf("/r%d", i%readings)
			}
			out = append(out, device.Message{Topic: topic, Payload: []byte(strconv.Itoa(i))})
		}
		return out
	}
	return [][]device.Message{
		topics("alarm", 0, s.alarm), topics("event", 0, s.event), topics("state", s.readings, s.state),
		topics("telemetry", s.readings, s.telemetry),
	}
}

// publishAll publishes the messages and waits until all are acknowledged.
func (w *world) publishAll(client *device.Client, list []device.Message) {
	for i, m := range list {
		acked, err := client.Send(w.ctx, m)
		if err != nil {
			return
		}
		if i == len(list)-1 {
			select {
			case <-acked:
			case <-w.ctx.Done():
			}
		}
	}
}

// found is what alice reads of one device's flood.
type found struct {
	t    *testing.T
	name string
	said said

	alarms, events []int
	state          map[string][]int
	telemetry      map[string][]int
	digests        int // posts that stand for more than one message
	digested       int // messages that posts of telemetry stand for
	gaps           int
	dropped        map[string]int // by class, as the gap notices say
	sums           int            // of the gap notices whose total is not the sum of its classes
	strange        []string
}

func (f *found) read(history []harness.Event) {
	f.state, f.telemetry, f.dropped = map[string][]int{}, map[string][]int{}, map[string]int{}
	gap := regexp.MustCompile(`(\d+) messages? left out here, .*\(((?:\d+ [a-z]+(?:, )?)+)`)
	summed := regexp.MustCompile(`^telemetry \S+ \d+ \((\d+) values?: `)
	for _, e := range history {
		body := e.Content.Body
		if e.Type != "m.room.message" || body == "event -" {
			continue
		}
		words := strings.Fields(body)
		if m := gap.FindStringSubmatch(body); m != nil {
			f.gap(m[1], m[2])
			continue
		}
		number := func(i int) int {
			if i < len(words) {
				if n, err := strconv.Atoi(words[i]); err == nil {
					return n
				}
			}
			f.strange = append(f.strange, body)
			return -1
		}
		switch words[0] {
		case "alarm":
			f.alarms = append(f.alarms, number(1))
		case "event":
			f.events = append(f.events, number(1))
		case "state":
			f.state[words[1]] = append(f.state[words[1]], number(2))
		case "telemetry":
			f.telemetry[words[1]] = append(f.telemetry[words[1]], number(2))
			n := 1
			if m := summed.FindStringSubmatch(body); m != nil {
				n, _ = strconv.Atoi(m[1]) // digits only
				f.digests++
			}
			f.digested += n
		default:
			f.strange = append(f.strange, body)
		}
	}
}

func (f *found) gap(total, parts string) {
	f.gaps++
	sum := 0
	for part := range strings.SplitSeq(parts, ", ") {
		n, class, _ := strings.Cut(part, " ")
		k, _ := strconv.Atoi(n) // digits only
		f.dropped[class] += k
		sum += k
	}
	if n, _ := strconv.Atoi(total); n != sum {
		f.sums++
	}
}

// report prints the figures; full says that the lane was overfilled with events.
func (f *found) report(full bool) {
	f.t.Helper()
	t, s := f.t, f.said
	harness.Equal(t, f.name+"alarms posted", len(f.alarms), s.alarm, "alarms")
	harness.Zero(t, f.name+"alarms out of order or twice", disorder(f.alarms), "alarms")
	harness.Note(t, f.name+"events posted", len(f.events), "events")
	harness.Zero(t, f.name+"events out of order or twice", disorder(f.events), "events")
	harness.Equal(t, f.name+"events posted + in gap notices", len(f.events)+f.dropped["event"], s.event, "events")
	newest := 0 // posted events that are the last of those published, without a hole
	for i := range f.events {
		if f.events[len(f.events)-1-i] != s.event-1-i {
			break
		}
		newest++
	}
	harness.Equal(t, f.name+"events that are the newest without a hole", newest, len(f.events), "events")
	harness.Note(t, f.name+"telemetry posts, digests", f.digests, "posts")
	harness.Equal(t, f.name+"telemetry in posts + in gap notices", f.digested+f.dropped["telemetry"], s.telemetry, "messages")
	posted, wrong := 0, 0
	for _, list := range f.state {
		posted += len(list)
		wrong += disorder(list)
	}
	superseded := s.state - posted - f.dropped["state"]
	harness.Note(t, f.name+"state posted", posted, "messages")
	harness.Figure(t, f.name+"state superseded by newer", superseded, "messages", ">= 0", superseded >= 0)
	harness.Zero(t, f.name+"state out of order or twice", wrong, "messages")
	sum := len(f.alarms) + len(f.events) + f.digested + posted + superseded
	for _, n := range f.dropped {
		sum += n
	}
	harness.Equal(t, f.name+"posted + in gap notices + superseded + digested", sum, s.total(), "messages")
	harness.Zero(t, f.name+"gap notices whose parts are not their total", f.sums, "notices")
	harness.Zero(t, f.name+"other messages in the room", len(f.strange), "messages")
	for _, text := range f.strange[:min(len(f.strange), 5)] {
		t.Logf("unexpected: %q", text)
	}
	if full {
		harness.Figure(t, f.name+"gap notices", f.gaps, "notices", ">= 1", f.gaps >= 1)
		return
	}
	harness.Zero(t, f.name+"gap notices", f.gaps, "notices")
	last := 0
	for i := range s.readings {
		list := f.state[fmt.Sprintf("r%d", i)]
		if len(list) > 0 && list[len(list)-1] == lastOf(i, s.readings, s.state) {
			last++
		}
	}
	harness.Equal(t, f.name+"readings whose last state posted is the last published", last, s.readings, "readings")
	harness.Figure(t, f.name+"telemetry posts", posts(f.telemetry), "posts", fmt.Sprintf("<= %d", 3*s.readings), posts(f.telemetry) <= 3*s.readings)
}

// lastOf is the highest number below n that falls to reading i.
func lastOf(i, readings, n int) int { return (n-1-i)/readings*readings + i }

func posts(by map[string][]int) int {
	n := 0
	for _, list := range by {
		n += len(list)
	}
	return n
}

// disorder counts the numbers that are not greater than the one before.
func disorder(list []int) int {
	n, last := 0, -1
	for _, v := range list {
		if v <= last {
			n++
		}
		last = v
	}
	return n
}
