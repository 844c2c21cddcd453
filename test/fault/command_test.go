//go:build fault

package fault

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
)

// obedient is the rule of a device with commands of three kinds: one that nobody answers, one that the device confirms,
// one that may be repeated.
const obedient = `
- topic: fault/{device}/event
  class: event
  commands:
    - {name: plain, topic: "fault/{device}/plain", payload: "{{ args }}", expires: 10m}
    - {name: asked, topic: "fault/{device}/asked", payload: "{{ args }}", expires: 10m, confirm: {topic: "fault/{device}/done", payload: "{{ args }}"}}
    - {name: again, topic: "fault/{device}/again", payload: "{{ args }}", expires: 10m, repeat: true}
`

// order is one command as alice gave it and as it went on.
type order struct {
	kind      string
	event     string // alice's message
	published int    // as counted at the broker
	shown     string // the reaction that is there in the end
	reactions int    // that are there in the end
}

// servant is the device: it counts what it is told, and confirms.
type servant struct {
	mu   sync.Mutex
	seen map[string]int // by "kind number"
}

func (s *servant) count(key string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[key]
}

// A person gives commands while gatepost is killed and started again; the broker survives, and so does the device, which
// counts each publish.
func TestCommandsWhileGatepostIsKilled(t *testing.T) {
	commands, again, kills := scaled(t, 500), scaled(t, 20), scaled(t, 20)
	broker := newOutside(t, folder(t))
	w := newWorld(t, 15*time.Minute, func(s *harness.Settings) { s.Devices, s.Broker = obedient, "mqtt://"+broker.addr })
	w.ok(w.gp.Start(w.ctx))

	lock := &servant{seen: map[string]int{}}
	answers := make(chan string, commands)
	client := w.connect(device.Config{
		Addr: broker.addr, ClientID: "lock", Subscribe: []string{"fault/lock/plain", "fault/lock/asked", "fault/lock/again"},
		OnMessage: func(m device.Message) {
			kind := m.Topic[strings.LastIndexByte(m.Topic, '/')+1:]
			lock.mu.Lock()
			lock.seen[kind+" "+string(m.Payload)]++
			lock.mu.Unlock()
			if kind == "asked" {
				answers <- string(m.Payload)
			}
		},
	})
	go func() {
		for {
			select {
			case a := <-answers:
				if _, err := client.Send(w.ctx, device.Message{Topic: "fault/lock/done", Payload: []byte(a)}); err != nil {
					return
				}
			case <-w.ctx.Done():
				return
			}
		}
	}()
	w.ok(client.Online(w.ctx))
	w.ok(client.Publish(w.ctx, device.Message{Topic: "fault/lock/event", Payload: []byte("here"), QoS: 1}))
	room := w.roomOf("#gatepost_lock:localhost")

	// As many commands a life as it takes to give them all while gatepost is being killed.
	orders := map[string]*order{}
	var kinds []string
	for i := range commands {
		kinds = append(kinds, []string{"plain", "asked"}[i%2])
	}
	for range again {
		kinds = append(kinds, "again")
	}
	w.rng.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	spoken := make(chan struct{})
	pauses := make([]time.Duration, len(kinds))
	for i := range pauses {
		pauses[i] = w.between(0, 80*time.Millisecond)
	}
	go func() {
		defer close(spoken)
		for i, kind := range kinds {
			w.pause(pauses[i])
			event, err := w.alice.Say(w.ctx, room, fmt.Sprintf("!%s %d", kind, i))
			if err != nil {
				t.Errorf("alice's command %d: %v", i, err)
				return
			}
			orders[fmt.Sprintf("%s %d", kind, i)] = &order{kind: kind, event: event}
		}
	}()
	for range kills {
		w.pause(w.life())
		w.gp.Kill()
		w.ok(w.gp.Launch())
	}
	<-spoken
	w.poll("every command to end", 200*time.Millisecond, func() bool {
		w.pictures(room, orders)
		return w.ended(orders)
	})
	w.drained()
	w.pictures(room, orders)
	for key, o := range orders {
		o.published = lock.count(key)
	}
	report(t, orders, kills)
	w.compareList(orders, room)
}

// pictures fills in what alice sees of the commands.
func (w *world) pictures(room string, orders map[string]*order) {
	w.alice.View(func(rooms map[string]*harness.Room) {
		r := rooms[room]
		gone := map[string]bool{}
		for _, e := range r.Events {
			if e.Type == "m.room.redaction" {
				gone[e.Redacts] = true
			}
		}
		byEvent := map[string][]string{}
		for _, e := range r.Events {
			if about := e.Content.Relates.EventID; e.Type == "m.reaction" && !gone[e.ID] && e.Content.Relates.Key != "" {
				byEvent[about] = append(byEvent[about], e.Content.Relates.Key)
			}
		}
		for _, o := range orders {
			list := byEvent[o.event]
			if o.reactions = len(list); len(list) > 0 {
				o.shown = list[len(list)-1]
			}
		}
	})
}

// ended says whether each command shows a state that will not change any more, or that has not changed for long.
func (w *world) ended(orders map[string]*order) bool {
	var open []struct {
		State string `json:"state"`
		Name  string `json:"name"`
	}
	if !w.ask(&open, "commands") {
		return false
	}
	for _, c := range open {
		if c.State == "received" || c.State == "queued" || c.State == "waiting" || c.State == "published" && c.Name == "asked" {
			return false
		}
	}
	for _, o := range orders {
		if o.shown == "" {
			return false
		}
	}
	return true
}

func report(t *testing.T, orders map[string]*order, kills int) {
	t.Helper()
	var once, unknown, unknownDone, silent, twice, again, againTwice, againNever, unconfirmed, wrong, pictures int
	for key, o := range orders {
		is := func(word string) bool { return strings.Contains(o.shown, word) }
		if o.reactions != 1 {
			pictures++
			t.Logf("%s shows %d reactions", key, o.reactions)
		}
		if !is("sent") && !is("confirmed") && !is("unknown") {
			wrong++
			t.Logf("%s (published %d times) ended as %q", key, o.published, o.shown)
		}
		if o.kind == "again" {
			again++
			if o.published > 1 {
				againTwice++
			} else if o.published == 0 {
				againNever++
			}
			continue
		}
		switch {
		case o.published > 1:
			twice++
			t.Logf("%s was published %d times and ended as %q", key, o.published, o.shown)
		case is("unknown"):
			unknown++
			unknownDone += o.published
		case o.published == 0:
			silent++
			t.Logf("%s was never published and ended as %q", key, o.shown)
		default:
			once++
			if o.kind == "asked" && !is("confirmed") {
				unconfirmed++
			}
		}
	}
	const name = "commands, gatepost killed: "
	total := len(orders) - again
	harness.Note(t, name+"kills", kills, "times")
	harness.Note(t, name+"published once", once, "commands")
	harness.Note(t, name+"reported unknown", unknown, "commands")
	harness.Note(t, name+"reported unknown and published once", unknownDone, "commands")
	harness.Equal(t, name+"published once or reported unknown", once+unknown, total, "commands")
	harness.Zero(t, name+"neither published nor reported", silent, "commands")
	harness.Zero(t, name+"published twice without repeat", twice, "commands")
	harness.Zero(t, name+"asked for, published once and not confirmed", unconfirmed, "commands")
	harness.Zero(t, name+"shown as failed, expired or refused", wrong, "commands")
	harness.Zero(t, name+"with more or less than one reaction", pictures, "commands")
	harness.Note(t, name+"with repeat: true", again, "commands")
	harness.Note(t, name+"with repeat: true, published more than once", againTwice, "commands")
	harness.Zero(t, name+"with repeat: true, never published", againNever, "commands")
}

// compareList holds what gatepost lists of the latest commands against what alice sees of them.
func (w *world) compareList(orders map[string]*order, room string) {
	w.t.Helper()
	var list []struct {
		Name  string   `json:"name"`
		Args  []string `json:"args"`
		State string   `json:"state"`
	}
	if !w.ask(&list, "commands") {
		w.t.Fatal("gatepost does not list its commands")
	}
	words := map[string]string{"published": "sent"}
	differ := 0
	for _, c := range list {
		word := c.State
		if words[word] != "" {
			word = words[word]
		}
		key := c.Name + " " + strings.Join(c.Args, " ")
		if o := orders[key]; o == nil || !strings.Contains(o.shown, word) {
			differ++
			w.t.Logf("%s is %s in the list", key, c.State)
		}
	}
	harness.Note(w.t, "commands, gatepost killed: listed by gatepost commands", len(list), "commands")
	harness.Zero(w.t, "commands, gatepost killed: listed in another state than shown in the room", differ, "commands")
}
