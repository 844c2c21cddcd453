//go:build interop

package test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
)

// newHomeserver prepares the homeserver of `make interop`.
func newHomeserver(t *testing.T, dir, registration string) harness.Homeserver {
	t.Helper()
	return synapse(harness.SynapseOptions{})(t, dir, registration)
}

// synapse is for planOn.
func synapse(o harness.SynapseOptions) func(t *testing.T, dir, registration string) harness.Homeserver {
	return func(t *testing.T, dir, registration string) harness.Homeserver {
		t.Helper()
		o.Registration = registration
		s, err := harness.NewSynapse(filepath.Join(binaries, "synapse-venv"), dir, o)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

// Synapse waits 2, 4, 8, ... 512 s between its attempts to reach an appservice that was away; a ping makes it try at once.
func TestSynapseDeliversAtOnceAfterAnOutage(t *testing.T) {
	p := settle(t, "appservice", strings.ReplaceAll(door, "grade: read", "grade: read, expires: 10m"))
	l := p.lock()
	room := p.roomOf(l)
	if _, err := p.gate.Stop(patience); err != nil {
		t.Error(err)
	}
	const attempts = 4 // at 0, 2, 6 and 14 s; the next would be at 30 s
	down := make(chan struct{}, 100)
	srv := &http.Server{Addr: p.set.Listen, ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusBadGateway)
		if strings.Contains(r.URL.Path, "/transactions/") {
			down <- struct{}{}
		}
	})}
	ended := make(chan error, 1)
	go func() { ended <- srv.ListenAndServe() }()
	e := p.say(p.alice, room, "!bell later")
	for range attempts {
		select {
		case <-down:
		case err := <-ended:
			t.Fatal(err)
		case <-p.ctx.Done():
			t.Fatal("Synapse gave up")
		}
	}
	last := time.Now()
	p.must(srv.Close())
	<-ended
	p.must(p.gate.Start(p.ctx))
	back := time.Now()
	p.reacted(p.alice, room, e, "sent")
	took := time.Since(back)
	if gone := time.Since(last); gone > 14*time.Second {
		t.Errorf("%v since Synapse's last attempt: it would have come by itself", gone)
	}
	harness.Figure(t, "Synapse after an outage: from ready to the command's reaction", took.Milliseconds(), "ms", "<1000", took < time.Second)
}

// What the homeserver pushes, redactions too, needs no /sync; rooms are of the version that it makes by default.
func TestSynapseRoomVersions(t *testing.T) {
	for _, c := range []struct{ version, option string }{{"12", ""}, {"11", "11"}, {"10", "10"}} {
		t.Run(c.version, func(t *testing.T) {
			p := planOn(t, "appservice", door, synapse(harness.SynapseOptions{RoomVersion: c.option}))
			p.openHomeserver()
			p.must(p.gate.Start(p.ctx))
			l := p.lock()
			room := p.roomOf(l)
			p.reacted(p.bob, room, p.say(p.bob, room, "!unlock"), "confirmed")
			gone := p.say(p.alice, room, "!open") // asks for a second look
			p.message(p.alice, "Front door", "the question", func(m harness.Event) bool { return m.Content.Relates.ReplyTo.EventID == gone })
			p.must(p.alice.Redact(p.ctx, room, gone))
			p.reacted(p.alice, room, gone, "withdrawn")

			var create struct {
				Version string `json:"room_version"`
			}
			var levels struct{ Users map[string]int }
			p.alice.View(func(rooms map[string]*harness.Room) {
				p.must(json.Unmarshal(rooms[room].State["m.room.create"], &create))
				p.must(json.Unmarshal(rooms[room].State["m.room.power_levels"], &levels))
			})
			bot, listed := levels.Users[p.user("gatepost")]
			if create.Version != c.version || strings.Contains(room, ":") != (c.version != "12") || listed != (c.version != "12") || listed && bot != 100 {
				t.Errorf("the room %s has version %s and levels %v", room, create.Version, levels.Users)
			}
			if levels.Users[p.user("alice")] != 100 || levels.Users[p.user("bob")] != 25 {
				t.Errorf("levels %v", levels.Users)
			}
			asked := 0
			for _, line := range p.hs.Log().Since(0) {
				if strings.Contains(line, `"gatepost"`) {
					asked++
					if strings.Contains(line, "/sync") {
						t.Errorf("gatepost reads by /sync: %s", line)
					}
				}
			}
			if asked == 0 {
				t.Error("Synapse's log does not show gatepost's requests")
			}
		})
	}
}

// Synapse is stopped and killed while it is asked to take numbered events.
func TestSynapseGoesAwayInTheMiddle(t *testing.T) {
	const devices, each = 5, 60
	modes(t, func(t *testing.T, mode string) {
		p := settle(t, mode, `
- topic: many/{device}/n
  class: event
  id: "{{ value }}"
  post: "{{ value }}"
`)
		name := func(d int) string { return fmt.Sprintf("d%d", d) }
		for d := range devices {
			c := p.device(device.Config{ClientID: name(d)})
			for n := range each {
				_, err := c.Send(p.ctx, device.Message{Topic: "many/" + name(d) + "/n", Payload: []byte(fmt.Sprint(n)), QoS: 1})
				p.must(err)
			}
		}
		numbers := func(rooms map[string]*harness.Room) (all [][]string, sum int) {
			all = make([][]string, devices)
			for _, r := range rooms {
				for d := range devices {
					if r.Name != name(d) {
						continue
					}
					for _, m := range r.Messages() {
						all[d] = append(all[d], m.Content.Body)
						sum++
					}
				}
			}
			return all, sum
		}
		reach := func(want int) {
			t.Helper()
			p.must(p.alice.Await(p.ctx, fmt.Sprintf("%d events", want), func(rooms map[string]*harness.Room) bool {
				_, sum := numbers(rooms)
				return sum >= want
			}))
		}
		for i, end := range []func(){func() { p.must(p.hs.Stop()) }, p.hs.Kill, func() { p.must(p.hs.Stop()) }, p.hs.Kill} {
			reach((i + 1) * devices * each / 5)
			end()
			p.must(p.hs.Start(p.ctx))
		}
		// The last of each room has come, and one more, so what was sent twice has come as well.
		p.must(p.alice.Await(p.ctx, "the last events", func(rooms map[string]*harness.Room) bool {
			all, _ := numbers(rooms)
			for _, list := range all {
				if len(list) == 0 || list[len(list)-1] != fmt.Sprint(each-1) {
					return false
				}
			}
			return true
		}))
		lost, twice, order := 0, 0, 0
		for d := range devices {
			room := p.roomCalled(name(d))
			events, err := p.alice.History(p.ctx, room)
			p.must(err)
			seen, next := map[string]int{}, 0
			for _, e := range events {
				if e.Type != "m.room.message" {
					continue
				}
				if seen[e.Content.Body]++; seen[e.Content.Body] > 1 {
					twice++
					continue
				}
				if e.Content.Body != fmt.Sprint(next) {
					order++
				}
				next++
			}
			lost += each - len(seen)
		}
		what := "Synapse stopped and killed twice each, " + mode + ": "
		harness.Figure(t, what+"events", devices*each, "events", "-", true)
		harness.Figure(t, what+"lost", lost, "events", "0", lost == 0)
		harness.Figure(t, what+"twice", twice, "events", "0", twice == 0)
		harness.Figure(t, what+"out of order", order, "events", "0", order == 0)
	})
}

// roomCalled is the one room of that name.
func (p *place) roomCalled(name string) (id string) {
	p.t.Helper()
	if n := p.roomCount(p.alice, name); n != 1 {
		p.t.Fatalf("%d rooms called %q", n, name)
	}
	p.alice.View(func(rooms map[string]*harness.Room) {
		for _, r := range rooms {
			if r.Name == name {
				id = r.ID
			}
		}
	})
	return id
}

// An ordinary user meets rate limits after ten requests. What waits for them comes in order, and once; a command's
// reaction goes ahead. Logging in, which is limited even more, happens once.
func TestSynapseLimitsAnOrdinaryUser(t *testing.T) {
	p := planOn(t, "account", plain+`  commands: [{name: ping, topic: "plain/{device}/ping", payload: PING}]`+"\n",
		synapse(harness.SynapseOptions{Limited: true}))
	p.openHomeserver()
	p.must(p.gate.Start(p.ctx))
	c := p.device(device.Config{ClientID: "porch"})
	p.publish(c, "plain/porch/n", "0")
	room, _ := p.message(p.alice, "porch", "the first", body("n: 0"))
	const n = 14
	for i := 1; i < n; i++ {
		p.publish(c, "plain/porch/n", fmt.Sprint(i))
	}
	e := p.say(p.alice, room, "!ping")
	p.reacted(p.alice, room, e, "sent")
	p.message(p.alice, "porch", "the last", body(fmt.Sprintf("n: %d", n-1)))
	var got, want []string
	ahead := false
	events, err := p.alice.History(p.ctx, room)
	p.must(err)
	for _, e := range events {
		switch {
		case e.Type == "m.room.message" && e.Sender == p.user("gatepost"):
			got = append(got, e.Content.Body)
		case e.Type == "m.reaction":
			ahead = len(got) < n
		}
	}
	for i := range n {
		want = append(want, fmt.Sprintf("n: %d", i))
	}
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		t.Errorf("in the room: %q", got)
	}
	if !ahead {
		t.Error("the command's reaction did not go ahead of the messages")
	}
	limited := 0
	for _, line := range p.hs.Log().Since(0) {
		if strings.Contains(line, `"gatepost"`) && strings.Contains(line, " 429 ") {
			limited++
		}
	}
	if limited == 0 {
		t.Error("no request was limited: this test shows nothing")
	}
	harness.Figure(t, "Synapse's limits for an ordinary user: requests refused for 14 messages and a command", limited, "requests", "<40", limited < 40)

	bot, err := harness.Login(p.ctx, p.hs, "gatepost", botPassword)
	p.must(err)
	before, err := bot.Devices(p.ctx)
	p.must(err)
	p.gate.Kill()
	p.must(p.gate.Start(p.ctx))
	if _, err := p.gate.Stop(patience); err != nil {
		t.Error(err)
	}
	p.must(p.gate.Start(p.ctx))
	if after, err := bot.Devices(p.ctx); err != nil || after != before {
		t.Errorf("%d log-ins of the bot became %d over two restarts, %v", before, after, err)
	}
}

// Synapse lets an ordinary user invite somebody five times, then once in five minutes, but does not count those invited
// while a room is made.
func TestSynapseLimitsInvitations(t *testing.T) {
	const rooms = 8
	p := planOn(t, "account", plain, synapse(harness.SynapseOptions{Limited: true}))
	p.openHomeserver()
	p.must(p.gate.Start(p.ctx))
	c := p.device(device.Config{ClientID: "porch"})
	for i := range rooms {
		p.publish(c, fmt.Sprintf("plain/d%d/n", i), "here")
	}
	for i := range rooms {
		p.message(p.alice, fmt.Sprintf("d%d", i), "a message", body("n: here"))
	}
}
