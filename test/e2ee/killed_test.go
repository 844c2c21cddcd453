//go:build e2e || interop || fault

package e2ee

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
)

// scaled is n, or the part of it that FAULT_SCALE asks for, at least 1.
func scaled(t *testing.T, n int) int {
	t.Helper()
	text := os.Getenv("FAULT_SCALE")
	if text == "" {
		return n
	}
	scale, err := strconv.ParseFloat(text, 64)
	if err != nil || scale <= 0 || scale > 100 {
		t.Fatalf("FAULT_SCALE=%s is not a number above 0", text)
	}
	return max(1, int(float64(n)*scale))
}

// A door says a lot and alice asks it for a lot while gatepost is killed again and again: everything is read on the other side,
// and no key of a ratchet is ever used for two texts.
func TestNothingIsLostWhileKilled(t *testing.T) {
	sends, asks, kills := scaled(t, stormSends), scaled(t, stormAsks), scaled(t, stormKills)
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("FAULT_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	rng := rand.New(rand.NewPCG(seed, 0))
	harness.Note(t, t.Name()+" seed", seed, "-")
	w := newWorld(t, func(s *harness.Settings) { // with QoS 0 a command that was sent may end with the broker
		s.Devices = strings.ReplaceAll(rules, "grade: read", "grade: read, repeat: true, qos: 1, expires: 10m")
	})
	alice := w.person("alice", "alice")
	room := w.doorRoom(alice)

	failed := make(chan error, 2)
	go func() {
		for i := range sends {
			if err := w.door.Publish(w.ctx, device.Message{Topic: "home/door/event", Payload: fmt.Appendf(nil, "number %d.", i), QoS: 1}); err != nil {
				failed <- err
				return
			}
		}
		failed <- nil
	}()
	go func() {
		for i := range asks {
			if _, err := alice.Say(w.ctx, room, fmt.Sprintf("!bell %d.", i)); err != nil {
				failed <- err
				return
			}
		}
		failed <- nil
	}()
	for range kills {
		pause := time.NewTimer(50*time.Millisecond + time.Duration(rng.Int64N(int64(stormLife))))
		select {
		case <-pause.C:
		case <-w.ctx.Done():
			t.Fatal("out of time")
		}
		w.gate.Kill()
		w.must(w.gate.Launch())
	}
	w.must(<-failed)
	w.must(<-failed)

	said := func() map[string][]Event { // first texts of the door, by what they say
		byText := map[string][]Event{}
		for _, e := range alice.Events(room) {
			if _, text, ok := strings.Cut(e.Content.Body, "number "); ok && e.Sender != alice.UserID && e.Content.Relates.Type == "" {
				byText[text] = append(byText[text], e)
			}
		}
		return byText
	}
	heard := func() (n int) {
		for i := range asks {
			if w.door.times(fmt.Sprintf("RING %d.", i)) > 0 {
				n++
			}
		}
		return n
	}
	w.rest(func() int { return len(said()) + heard() }, sends+asks)

	doubles, same := 0, 0
	for _, list := range said() {
		doubles += len(list) - 1
		for _, e := range list[1:] {
			if e.Cipher == list[0].Cipher {
				same++
			}
		}
	}
	for i := range asks {
		if w.door.times(fmt.Sprintf("RING %d.", i)) == 0 {
			w.fate(alice, room, fmt.Sprintf("!bell %d.", i))
		}
	}
	unread := 0
	for _, e := range alice.Events(room) {
		if e.Error != "" {
			unread++
			t.Logf("%s by %s cannot be read: %s", e.ID, e.Sender, e.Error)
		}
	}
	const name = "encrypted, gatepost killed: "
	harness.Note(t, name+"kills", kills, "times")
	harness.Equal(t, name+"events of a device that alice reads", len(said()), sends, "events")
	harness.Equal(t, name+"messages of alice that the gateway reads", heard(), asks, "messages")
	harness.Zero(t, name+"messages that alice cannot decrypt", unread, "messages")
	harness.Note(t, name+"doubles", doubles, "messages")
	harness.Note(t, name+"doubles with one ciphertext, sent twice since the homeserver showed it too late", same, "messages")
	harness.Zero(t, name+"doubles that were encrypted twice", doubles-same, "messages")
	harness.Zero(t, name+"places in a ratchet with two texts", len(Reused(alice.Events(room))), "places")
	w.sealed(alice, room)
}

// fate logs what became of something that a device said.
func (w *world) fate(d *Device, room, said string) {
	w.t.Helper()
	for _, e := range d.Events(room) {
		if e.Sender != d.UserID || e.Content.Body != said {
			continue
		}
		w.t.Logf("%s: %s", said, e.ID)
		for _, f := range d.Events(room) {
			if w.about(d, f, e.ID) {
				w.t.Logf("%s: answer %s: %s", said, f.ID, f.Raw)
			}
		}
	}
}

// rest waits until count has come to want, or has stood still for long.
func (w *world) rest(count func() int, want int) {
	w.t.Helper()
	last, since := -1, time.Now()
	w.until("an end of the storm", func() bool {
		n := count()
		if n != last {
			last, since = n, time.Now()
		}
		return n >= want || time.Since(since) > stormStill
	})
	// What the gateway still owes: answers to commands.
	w.until("an empty outbox", func() bool {
		r, err := w.gate.Do(w.ctx, "outbox", "--json")
		return err == nil && r.Code == 0 && slices.Contains([]string{"[]", "null"}, strings.TrimSpace(r.Stdout))
	})
}
