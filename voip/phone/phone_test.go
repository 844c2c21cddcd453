package phone

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/voip"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	alice ids.UserID = "@alice:example.org"
	bob   ids.UserID = "@bob:example.org"
	door  ids.UserID = "@gatepost_door:example.org"
)

// world is the homeserver, the device and the store around a Phone. log is what each of them saw, in order.
type world struct {
	t     *testing.T
	phone *Phone
	mu    sync.Mutex
	log   []string
	calls map[string]string // the latest call id by room
	kept  map[voip.Key]voip.Record
	away  bool // the device
	deaf  ids.UserID
}

func newWorld(t *testing.T, cfg Config) *world {
	w := &world{t: t, calls: map[string]string{}, kept: map[voip.Key]voip.Record{}}
	cfg.Journal, cfg.Send, cfg.Publish, cfg.Place, cfg.Note = w, w.send, w.publish, w.place, w.note
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.phone = p
	return w
}

func (w *world) say(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, fmt.Sprintf(format, args...))
}

func (w *world) Put(k voip.Key, r voip.Record) error { w.kept[k] = r; return nil }
func (w *world) Delete(k voip.Key) error             { delete(w.kept, k); return nil }
func (w *world) Each(f func(voip.Key, voip.Record)) error {
	for k, r := range w.kept {
		f(k, r)
	}
	return nil
}

func (w *world) send(at Place, eventType string, content []byte, _ time.Duration) error {
	var c struct {
		Call   string `json:"call_id"`
		Reason string `json:"reason"`
	}
	if err := json.Unmarshal(content, &c); err != nil {
		return err
	}
	w.mu.Lock()
	w.calls[string(at.Person)] = c.Call
	w.mu.Unlock()
	w.say("%s gets %s", at.Person, strings.TrimSpace(eventType+" "+c.Reason))
	return nil
}

func (w *world) publish(_ context.Context, payload []byte) error {
	var m struct{ Type, Person, Reason string }
	if err := json.Unmarshal(payload, &m); err != nil {
		return err
	}
	if w.away {
		return errors.New("no broker")
	}
	w.say("device gets %s", strings.TrimSpace(m.Type+" "+m.Person+m.Reason))
	if m.Type == "ring" { // it always has an offer
		var c struct {
			Call string `json:"call_id"`
		}
		_ = json.Unmarshal(payload, &c)
		go w.phone.Said(fmt.Appendf(nil, `{"v":1,"type":"invite","call_id":%q,"offer":{"type":"offer","sdp":"v=0"}}`, c.Call))
	}
	return nil
}

func (w *world) place(_ context.Context, person ids.UserID) (Place, error) {
	if person == w.deaf {
		return Place{}, errors.New("the homeserver does not know them")
	}
	return Place{Room: ids.RoomID("!" + string(person)), Self: door, Person: person}, nil
}

func (w *world) note(text string, mention []ids.UserID) { w.say("room reads %q %v", text, mention) }

// run runs the phone while f acts; what f does is done before the next line of it.
func (w *world) run(f func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- w.phone.Run(ctx) }()
	synctest.Wait()
	f()
	synctest.Wait()
	cancel()
	if err := <-done; err != nil {
		w.t.Error(err)
	}
}

// event is something that a person's client sends.
func (w *world) event(from ids.UserID, typ, call, more string) {
	w.t.Helper()
	content := fmt.Sprintf(`{"call_id":%q,"party_id":"PHONE","version":"1"%s}`, call, more)
	at := Place{Room: ids.RoomID("!" + string(from)), Self: door, Person: from}
	if err := w.phone.Event(w.t.Context(), at, from, typ, []byte(content), 0, true); err != nil {
		w.t.Error(err)
	}
	if err := w.phone.BatchDone(w.t.Context()); err != nil {
		w.t.Error(err)
	}
	synctest.Wait()
}

func (w *world) latest(person ids.UserID) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calls[string(person)]
}

// expect compares what the device saw, and what everybody else did; both have their order, but not with each other.
func (w *world) expect(want ...string) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	split := func(lines []string) (device, others []string) {
		for _, l := range lines {
			if strings.HasPrefix(l, "device ") {
				device = append(device, l)
			} else {
				others = append(others, l)
			}
		}
		return device, others
	}
	device, others := split(w.log)
	wantDevice, wantOthers := split(want)
	if !slices.Equal(device, wantDevice) || !slices.Equal(others, wantOthers) {
		w.t.Errorf("got\n%s\nwant\n%s", strings.Join(w.log, "\n"), strings.Join(want, "\n"))
	}
}

const offer, answer = `,"lifetime":60000,"offer":{"type":"offer","sdp":"v=0"}`, `,"answer":{"type":"answer","sdp":"v=0"}`

func TestAPersonCallsTheDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		w.run(func() {
			w.event(alice, "m.call.invite", "C1", offer)
			w.phone.Said([]byte(`{"v":1,"type":"answer","call_id":"C1","answer":{"type":"answer","sdp":"v=0"}}`))
			synctest.Wait()
			w.event(alice, "m.call.candidates", "C1", `,"candidates":[{"candidate":"c"}]`)
			time.Sleep(90 * time.Second)
			w.event(alice, "m.call.hangup", "C1", ``)
		})
		w.expect(
			"device gets invite @alice:example.org", "@alice:example.org gets m.call.answer", "device gets candidates",
			`room reads "@alice:example.org called: 1m30s." []`, "device gets hangup user_hangup",
		)
	})
}

func TestWhatIsMalformedIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		w.run(func() {
			w.event(alice, "m.call.invite", "C/1", offer)
			w.event(alice, "m.call.invite", "C1", ``)
			w.phone.Said([]byte(`{`))
		})
		w.expect()
	})
}

// Who sends garbage fills no log.
func TestGarbageIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		w := newWorld(t, Config{Log: slog.New(slog.NewTextHandler(&log, nil))})
		w.run(func() {
			for range 1000 {
				w.event(alice, "m.call.invite", "odd\x00id", offer)
				w.phone.Said([]byte("garbage"))
			}
			if n := strings.Count(log.String(), "\n"); n != 2 {
				t.Errorf("%d lines in the log:\n%.500s", n, log.String())
			}
			time.Sleep(seldomTime)
			w.phone.Said([]byte("garbage"))
			if n := strings.Count(log.String(), "\n"); n != 3 {
				t.Errorf("%d lines in the log, a while later", n)
			}
		})
		w.expect()
	})
}

func TestADeviceThatIsAwayRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		w.away = true
		w.run(func() { w.event(alice, "m.call.invite", "C1", offer) })
		w.expect("@alice:example.org gets m.call.reject user_media_failed", `room reads "@alice:example.org called: the device did not answer." []`)
	})
}

func TestRingInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{People: []ids.UserID{alice, bob}, Timeout: time.Minute})
		w.run(func() {
			w.phone.Said([]byte(`{"v":1,"type":"ring"}`))
			synctest.Wait()
			w.phone.Ring() // impatience
			time.Sleep(31 * time.Second)
			synctest.Wait()
			w.event(bob, "m.call.answer", w.latest(bob), answer)
			time.Sleep(10 * time.Second)
			w.event(bob, "m.call.hangup", w.latest(bob), ``)
		})
		w.expect(
			"device gets ring @alice:example.org", "@alice:example.org gets m.call.invite",
			"@alice:example.org gets m.call.hangup invite_timeout", "device gets hangup invite_timeout",
			"device gets ring @bob:example.org", "@bob:example.org gets m.call.invite",
			"@bob:example.org gets m.call.select_answer", "device gets answer",
			`room reads "@bob:example.org was called: 10s." []`, "device gets hangup user_hangup",
		)
	})
}

func TestRingAllAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{People: []ids.UserID{alice, bob}, AtOnce: true})
		w.run(func() {
			w.phone.Ring()
			synctest.Wait()
			w.event(bob, "m.call.answer", w.latest(bob), answer)
		})
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, want := range []string{"@alice:example.org gets m.call.hangup answered_elsewhere", "@bob:example.org gets m.call.select_answer"} {
			if !slices.Contains(w.log, want) {
				t.Errorf("%q is missing in\n%s", want, strings.Join(w.log, "\n"))
			}
		}
	})
}

func TestRingMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{People: []ids.UserID{alice, bob}, Timeout: 20 * time.Second})
		w.deaf = alice
		w.run(func() {
			w.phone.Ring()
			time.Sleep(21 * time.Second)
		})
		w.expect(
			"device gets ring @bob:example.org", "@bob:example.org gets m.call.invite", "@bob:example.org gets m.call.hangup invite_timeout",
			"device gets hangup invite_timeout", `room reads "Rang; nobody answered." [@alice:example.org @bob:example.org]`,
		)
	})
}

// Who presses once more while the room is told that nobody came rings again; who did while it rang does not.
func TestRingAfterMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w *world
		times := 0
		w = newWorld(t, Config{People: []ids.UserID{bob}, Timeout: 20 * time.Second, Missed: func() {
			if times++; times == 1 {
				w.phone.Ring()
			}
		}})
		w.run(func() {
			w.phone.Ring()
			synctest.Wait()
			w.phone.Ring() // impatience
			time.Sleep(90 * time.Second)
		})
		if times != 2 {
			t.Errorf("rang %d times, want 2:\n%s", times, strings.Join(w.log, "\n"))
		}
	})
}

// After a crash a call that was live is ended at once.
func TestAfterACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{})
		k := voip.Key{Room: "!@alice:example.org", Call: "C1"}
		w.kept[k] = voip.Record{ID: "C1", Room: k.Room, Self: voip.Party{User: door, ID: party}, Person: alice, Role: voip.Callee, State: voip.Connecting, Began: time.Now()}
		w.run(func() {})
		w.expect("@alice:example.org gets m.call.hangup unknown_error", `room reads "@alice:example.org called: it failed." []`)
	})
}
