//go:build e2e || interop || fault

package e2ee

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
)

// world is a site with a gatepost, which alice owns, bob is a member of, and a door is connected to.
type world struct {
	*site
	dir  string
	set  harness.Settings
	gate *harness.Gatepost
	bot  string
	door *door
}

// rules of the door. Its texts are found again in what the homeserver keeps.
const rules = `
- topic: home/{device}/event
  name: Front door
  class: event
  commands:
    - {name: unlock, topic: "home/{device}/set", payload: UNLOCK, confirm: {topic: "home/{device}/lock", payload: UNLOCKED}, expires: 20s}
    - {name: bell, topic: "home/{device}/set", payload: "RING {{ args }}", grade: read}
`

// newWorld has everything running; shape may change the settings before.
func newWorld(t *testing.T, shape func(*harness.Settings)) *world {
	t.Helper()
	dir := t.TempDir()
	ports, err := harness.FreePorts(3)
	if err != nil {
		t.Fatal(err)
	}
	at := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", ports[i]) }
	registration := filepath.Join(dir, "registration.yaml")
	if err := harness.NewRegistration(ports[0]).WriteFile(registration, "localhost"); err != nil {
		t.Fatal(err)
	}
	w := &world{site: newSite(t, registration), dir: dir, bot: "@gatepost:localhost"}
	w.register("alice", "bob")
	w.set = harness.Settings{
		Homeserver: w.hs.URL(), ServerName: w.hs.ServerName(), Listen: at(0), Registration: registration,
		Owners: []string{"@alice:localhost"}, Members: []string{"@bob:localhost"}, Encryption: "default",
		MQTT: at(1), Admin: at(2), Devices: rules,
	}
	if shape != nil {
		shape(&w.set)
	}
	w.gate, err = harness.NewGatepost(filepath.Join(binaries, "gatepost"), dir, w.set)
	w.must(err)
	t.Cleanup(func() {
		w.gate.Kill()
		if t.Failed() {
			t.Logf("the end of gatepost's log:\n%s", w.gate.Log().Tail(60))
		}
	})
	w.must(w.gate.Start(w.ctx))
	w.door = w.newDoor()
	return w
}

// door obeys UNLOCK.
type door struct {
	*device.Client
	mu    sync.Mutex
	heard []string
}

func (w *world) newDoor() *door {
	d := &door{}
	work := make(chan string, 1000)
	c, err := device.New(device.Config{Addr: w.set.MQTT, ClientID: "door", Subscribe: []string{"home/door/set"}, OnMessage: func(m device.Message) {
		d.mu.Lock()
		d.heard = append(d.heard, string(m.Payload))
		d.mu.Unlock()
		work <- string(m.Payload)
	}})
	w.must(err)
	d.Client = c
	ctx, cancel := context.WithCancel(w.ctx)
	var parts sync.WaitGroup
	parts.Go(func() { _ = c.Run(ctx) }) // Publish says when it can't
	parts.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case m := <-work:
				if m == "UNLOCK" {
					_ = c.Publish(ctx, device.Message{Topic: "home/door/lock", Payload: []byte("UNLOCKED"), QoS: 1})
				}
			}
		}
	})
	w.t.Cleanup(func() {
		cancel()
		parts.Wait()
	})
	w.must(c.Online(w.ctx))
	return d
}

// times is how often the door heard something.
func (d *door) times(text string) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, h := range d.heard {
		if h == text {
			n++
		}
	}
	return n
}

// happens publishes an event of the door and returns when it is acknowledged.
func (w *world) happens(payload string) {
	w.t.Helper()
	w.must(w.door.Publish(w.soon(), device.Message{Topic: "home/door/event", Payload: []byte(payload), QoS: 1}))
}

// shows waits until a device reads a message that holds text, and checks that it was encrypted.
func (w *world) shows(d *Device, text string) Event {
	w.t.Helper()
	e, err := d.Await(w.soon(), "a message with "+text, func(e Event) bool {
		return e.Type == "m.room.message" && strings.Contains(e.Content.Body, text) && e.Sender != d.UserID
	})
	w.must(err)
	if !e.Encrypted {
		w.t.Errorf("%q was readable for the homeserver", e.Content.Body)
	}
	return e
}

// answers waits until a device reads a reply to an event that holds text.
func (w *world) answers(d *Device, event, text string) Event {
	w.t.Helper()
	e, err := d.Await(w.soon(), fmt.Sprintf("an answer to %s with %q", event, text), func(e Event) bool {
		body := e.Content.Body
		if e.Content.New != nil {
			body = e.Content.New.Body
		}
		return e.Type == "m.room.message" && e.Sender != d.UserID && strings.Contains(body, text) && w.about(d, e, event)
	})
	w.must(err)
	if !e.Encrypted {
		w.t.Errorf("%q was readable for the homeserver", e.Content.Body)
	}
	return e
}

// about says whether e replies to an event, or edits a reply to it.
func (w *world) about(d *Device, e Event, event string) bool {
	if e.Content.Relates.ReplyTo.EventID == event {
		return true
	}
	if e.Content.Relates.Type != "m.replace" {
		return false
	}
	for _, f := range d.all() {
		if f.ID == e.Content.Relates.EventID && f.Content.Relates.ReplyTo.EventID == event {
			return true
		}
	}
	return false
}

// doorRoom is the door's room once the device is in it, reads what the door says there, and knows that it is encrypted.
func (w *world) doorRoom(d *Device) string {
	w.t.Helper()
	text := plant("opened")
	w.happens(text)
	room := w.shows(d, text).Room
	w.joined(d, room, w.bot)
	return room
}

// sealed fails when anything of the bot's or a ghost's in an encrypted room, other than state, was readable.
func (w *world) sealed(d *Device, room string) {
	w.t.Helper()
	for _, e := range d.Events(room) {
		if e.StateKey == nil && strings.HasPrefix(e.Sender, "@gatepost") && !e.Encrypted && e.Type != "m.room.redaction" {
			w.t.Errorf("readable for the homeserver: %s by %s: %s", e.Type, e.Sender, e.Raw)
		}
	}
	if reused := Reused(d.Events(room)); len(reused) > 0 {
		w.t.Errorf("two texts with one key: %v", reused)
	}
}

// until polls with a deadline.
func (w *world) until(what string, done func() bool) {
	w.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	ctx := w.soon()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			w.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// plant is a text that is found again wherever it is.
func plant(name string) string { return name + " " + strings.ToLower(harness.Secret()) }

// planted says in which files below dir any of the texts are found, case aside.
func planted(dir string, texts []string) (found []string, err error) {
	err = filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			return nil // a temporary file of the homeserver's
		}
		if err != nil {
			return err
		}
		hay := strings.ToLower(string(b))
		for _, text := range texts {
			if strings.Contains(hay, strings.ToLower(text)) {
				found = append(found, fmt.Sprintf("%q in %s", text, strings.TrimPrefix(path, dir)))
			}
		}
		return nil
	})
	return found, err
}
