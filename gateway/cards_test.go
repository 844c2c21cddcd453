package gateway

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
)

// cards are the posts of cards and what was pinned, in order.
func (w *world) cards() (posts []lane.Record, events []ids.EventID, pins []string) {
	w.matrix.mu.Lock()
	defer w.matrix.mu.Unlock()
	for _, p := range w.matrix.posts {
		if p.Key == cardKey {
			posts = append(posts, p.Record)
			events = append(events, w.matrix.sent[p.ID])
		}
	}
	for _, c := range w.matrix.calls {
		if strings.HasPrefix(c, "pin ") {
			pins = append(pins, c[strings.Index(c, "$"):])
		}
	}
	return posts, events, pins
}

// carded lets a device finish announcing itself, and its card be made.
func carded() {
	time.Sleep(10 * time.Second)
	synctest.Wait()
}

// value publishes what the lamp of the tests is.
func (w *world) value(state string) {
	w.publish("lamps/1/state", state)
	synctest.Wait()
}

func TestACardIsMadeOnceAndEdited(t *testing.T) {
	finding(t, true, nil, func(w *world) {
		w.announces(haLamp("l1", "Lamp", "lamps/1"))
		settle()
		w.value("ON")
		carded()
		posts, events, pins := w.cards()
		if len(posts) != 1 || !strings.Contains(posts[0].Post.Text, "State: on") || posts[0].Post.Kind != lane.Notice || posts[0].Post.Replaces != "" {
			t.Fatalf("%d cards: %+v", len(posts), posts)
		}
		if want := []string{string(events[0]) + " instead of "}; !slices.Equal(pins, want) {
			t.Errorf("pins %q, want %q", pins, want)
		}
		for range 30 { // the same again and again is no news
			w.value("ON")
			time.Sleep(10 * time.Second)
		}
		if posts, _, _ = w.cards(); len(posts) != 1 {
			t.Fatalf("%d posts though nothing has changed", len(posts))
		}
		for i := range 120 { // two minutes
			w.value([]string{"ON", "OFF"}[i%2])
			time.Sleep(time.Second)
		}
		synctest.Wait()
		posts, _, pins = w.cards()
		if len(posts) < 2 || len(posts) > 4 || len(pins) != 1 {
			t.Errorf("%d posts and %d pins for two minutes of changes", len(posts), len(pins))
		}
		for _, p := range posts[1:] {
			if p.Post.Replaces != events[0] || p.Class != lane.State {
				t.Errorf("an edit is %+v", p)
			}
		}
	})
}

func TestACardSurvivesARestart(t *testing.T) {
	finding(t, true, nil, func(w *world) {
		w.announces(haLamp("l1", "Lamp", "lamps/1"))
		w.value("ON")
		carded()
		_, events, _ := w.cards()
		w.restart(nil)
		carded()
		w.value("OFF")
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		posts, _, pins := w.cards()
		if len(events) != 1 || len(posts) != 2 || posts[1].Post.Replaces != events[0] || len(pins) != 1 {
			t.Errorf("%d before the restart, then %+v, pins %q", len(events), posts, pins)
		}
	})
}

func TestARedactedCardIsMadeAgain(t *testing.T) {
	finding(t, true, nil, func(w *world) {
		w.announces(haLamp("l1", "Lamp", "lamps/1"))
		w.value("ON")
		carded()
		_, events, _ := w.cards()
		if len(events) != 1 {
			t.Fatalf("%d cards", len(events))
		}
		w.event(room.Event{Type: "m.room.redaction", Sender: "@bob:x", Room: ids.RoomID(w.roomNamed("Lamp")), Redacts: events[0]})
		time.Sleep(15 * time.Second)
		synctest.Wait()
		posts, now, pins := w.cards()
		if len(posts) != 2 || posts[1].Post.Replaces != "" || len(pins) != 2 || pins[1] != string(now[1])+" instead of "+string(events[0]) {
			t.Errorf("cards %+v, pins %q", posts, pins)
		}
	})
}

// The process dies while the first card, an edit or the pin is sent: there is one card, and it is the one that is edited.
func TestACrashWhileACardIsSent(t *testing.T) {
	for _, what := range []string{"the card", "an edit", "the quick actions"} {
		for _, arrives := range []bool{true, false} {
			finding(t, true, nil, func(w *world) {
				die := func(r lane.Record) bool {
					switch what {
					case "the card":
						return r.Key == cardKey && r.Post.Replaces == ""
					case "an edit":
						return r.Key == cardKey && r.Post.Replaces != ""
					default:
						return strings.HasPrefix(r.Key, quickKey)
					}
				}
				w.matrix.mu.Lock()
				w.matrix.answer = func(r lane.Record) (lane.Outcome, bool) {
					if die(r) {
						return lane.Outcome{Verdict: lane.Unknown, Reason: "dying"}, arrives
					}
					return lane.Outcome{}, true
				}
				w.matrix.mu.Unlock()
				w.announces(haLamp("l1", "Lamp", "lamps/1"))
				w.value("ON")
				carded()
				w.value("OFF")
				time.Sleep(70 * time.Second)
				w.die()
				w.matrix.mu.Lock()
				w.matrix.answer = nil
				w.matrix.mu.Unlock()
				w.start(nil)
				time.Sleep(3 * time.Minute)
				w.value("ON")
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				posts, events, _ := w.cards()
				first := 0
				for i, p := range posts {
					if p.Post.Replaces == "" {
						first++
					} else if p.Post.Replaces != events[0] {
						t.Errorf("%s, arrives %v: edit %d is of %s", what, arrives, i, p.Post.Replaces)
					}
				}
				if last := posts[len(posts)-1].Post.Text; first != 1 || !strings.Contains(last, "State: on") {
					t.Errorf("%s, arrives %v: %d cards, the last says %q", what, arrives, first, last)
				}
				offers := w.offers()
				slices.Sort(offers)
				if n := len(slices.Compact(slices.Clone(offers))); n != len(offers) || n == 0 {
					t.Errorf("%s, arrives %v: offers %q", what, arrives, offers)
				}
			})
		}
	}
}

// A card that the homeserver refuses is no dead letter, which would be a second card when somebody tries it again.
func TestACardThatIsRefused(t *testing.T) {
	finding(t, true, nil, func(w *world) {
		refused := true
		w.matrix.answer = func(r lane.Record) (lane.Outcome, bool) {
			if r.Key == cardKey && refused {
				return lane.Outcome{Verdict: lane.Dead, Code: "M_TOO_LARGE", Reason: "no"}, false
			}
			return lane.Outcome{}, true
		}
		w.announces(haLamp("l1", "Lamp", "lamps/1"))
		w.value("ON")
		carded()
		w.about("The status card in device/lamp-")
		if len(w.store.dead) != 0 {
			t.Errorf("dead letters %+v", w.store.dead)
		}
		w.matrix.mu.Lock()
		refused = false
		w.matrix.mu.Unlock()
		w.value("OFF")
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if posts, _, pins := w.cards(); len(posts) != 1 || len(pins) != 1 || !strings.Contains(posts[0].Post.Text, "State: off") {
			t.Errorf("cards %+v, pins %q", posts, pins)
		}
	})
}

// A card that the router did not hear of is known by its echo.
func TestACardIsKnownByItsEcho(t *testing.T) {
	finding(t, true, nil, func(w *world) {
		w.announces(haLamp("l1", "Lamp", "lamps/1"))
		carded()
		posts, _, _ := w.cards()
		if len(posts) != 1 {
			t.Fatalf("%d cards", len(posts))
		}
		e := w.g.cards.byID[posts[0].Device]
		err := w.g.inside(context.Background(), func(*batch) { // as if it had never been told
			w.g.cards.byEvent.Delete(e.Event)
			e.Event, e.Sending = "", posts[0].ID
			w.g.cards.making[e.Sending] = e
		})
		if err != nil {
			t.Fatal(err)
		}
		echo := w.event(room.Event{Type: "m.room.message", Sender: "@gatepost_x:x", Room: ids.RoomID(w.roomNamed("Lamp")), ContentID: posts[0].ID})
		w.value("ON")
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if posts, _, _ = w.cards(); len(posts) != 2 || posts[1].Post.Replaces != echo {
			t.Errorf("cards %+v", posts)
		}
	})
}

// An upgraded room gets its card also if a crash comes before the card was made anew.
func TestACardMovesAlongWithItsRoomAlsoAfterACrash(t *testing.T) {
	finding(t, true, nil, func(w *world) {
		w.announces(haLamp("l1", "Lamp", "lamps/1"))
		w.value("ON")
		carded()
		key := ids.DeviceRoom(w.ids()[0])
		was := w.g.rooms.have(key)
		w.matrix.mu.Lock()
		w.matrix.states = map[ids.RoomID]room.State{"!new": {Creator: "@alice:x", Predecessor: was.Room, JoinRule: "invite", Users: map[ids.UserID]int{"@gatepost:x": 100}}}
		w.matrix.mu.Unlock()
		none := ""
		w.event(room.Event{Type: "m.room.tombstone", Sender: "@alice:x", Room: was.Room, StateKey: &none, Content: []byte(`{"replacement_room":"!new"}`)})
		posts, _, _ := w.cards()
		if got := w.g.rooms.have(key); got.Room != "!new" || len(posts) != 1 {
			t.Errorf("the room is %+v, with %d cards", got, len(posts))
		}
		w.die()
		w.start(nil)
		time.Sleep(time.Minute)
		w.value("OFF")
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		posts, events, pins := w.cards()
		if len(posts) < 2 || posts[1].Post.Replaces != "" || len(pins) != 2 {
			t.Errorf("cards %+v, pins %q", posts, pins)
			return
		}
		for _, p := range posts[2:] {
			if p.Post.Replaces != events[1] {
				t.Errorf("an edit is %+v", p)
			}
		}
	})
}

// A first card is never left out of a lane that is full: it would be waited for for ever.
func TestAFirstCardIsNeverLeftOut(t *testing.T) {
	finding(t, true, nil, func(w *world) {
		w.announces(haLamp("l1", "Lamp", "lamps/1"))
		carded()
		w.value("ON")
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		posts, _, _ := w.cards()
		if len(posts) != 2 || !posts[0].Urgent || posts[1].Urgent {
			t.Errorf("cards %+v", posts)
		}
	})
}

// The card of a device that was removed, or speaks elsewhere, is not pinned any more: one that comes back has one pinned card.
func TestAnOldCardIsNotPinned(t *testing.T) {
	finding(t, true, nil, func(w *world) {
		w.announces(haLamp("l1", "Lamp", "lamps/1"))
		carded()
		_, events, _ := w.cards()
		room := w.theRoom()
		if err := w.g.RemoveDevice(w.t.Context(), w.ids()[0]); err != nil {
			t.Error(err)
		}
		carded()
		for _, p := range w.store.records {
			t.Errorf("waits still: %+v", p)
		}
		if got := w.changes("pin " + room); len(got) != 2 || got[1] != "pin "+room+"  instead of "+string(events[0]) {
			t.Errorf("pinned %q", got)
		}
		w.announces(haLamp("l1", "Lamp", "lamps/1"))
		carded()
		_, events, _ = w.cards()
		if got := w.changes("pin " + room); len(got) != 3 || got[2] != "pin "+room+" "+string(events[len(events)-1])+" instead of " {
			t.Errorf("pinned %q", got)
		}
	})
	home := RuleSpec{Topic: "m/{device}", Class: lane.State}
	inWorld(t, []RuleSpec{home}, func(w *world) {
		w.change = func(c *Config) { c.Cards = Cards{Every: time.Minute, Rules: true} }
		w.restart([]RuleSpec{home})
		w.publish("m/a", "1")
		carded()
		_, events, _ := w.cards()
		moved := home
		moved.Room = "hall"
		w.restart([]RuleSpec{moved})
		carded()
		w.publish("m/a", "2")
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if got := w.changes("pin "); len(got) != 3 || len(events) != 1 || !slices.ContainsFunc(got, func(s string) bool { return strings.HasSuffix(s, "  instead of "+string(events[0])) }) {
			t.Errorf("pinned %q", got)
		}
	})
}

func TestCardsOfRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.change = func(c *Config) { c.Cards = Cards{Every: time.Minute, Rules: true} }
		w.start([]RuleSpec{{Topic: "sensors/{device}/{reading}", Class: lane.State}})
		w.publish("sensors/roof/temperature", "21.5")
		w.publish("sensors/roof/humidity", "60")
		carded()
		posts, _, _ := w.cards()
		if len(posts) != 1 || !strings.Contains(posts[0].Post.Text, "humidity: 60") || !strings.Contains(posts[0].Post.Text, "temperature: 21.5") {
			t.Errorf("cards %+v", posts)
		}
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}

// All cards together take no more than their share, and the one that waited longest goes first.
func TestCardsKeepTheirPace(t *testing.T) {
	finding(t, true, nil, func(w *world) {
		const n = 50
		for i := range n {
			w.announces(haLamp(fmt.Sprint("x", i), fmt.Sprint("Lamp ", i), fmt.Sprint("lamps/", i)))
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		before, _, _ := w.cards()
		if len(before) != n {
			t.Fatalf("%d cards of %d devices", len(before), n)
		}
		w.g.cards.pace.nanos.Store(int64(500 * time.Millisecond)) // a slow homeserver
		time.Sleep(time.Minute)
		for i := range n {
			w.publish(fmt.Sprintf("lamps/%d/state", i), "ON")
		}
		began := time.Now()
		for deadline := began.Add(time.Minute); ; time.Sleep(time.Second) {
			synctest.Wait()
			w.g.cards.pace.nanos.Store(int64(500 * time.Millisecond)) // sends take no time here
			if posts, _, _ := w.cards(); len(posts) == 2*n || time.Now().After(deadline) {
				break
			}
		}
		if took := time.Since(began); took < 20*time.Second || took > 35*time.Second {
			t.Errorf("%d edits, one every half second, took %v", n, took)
		}
	})
}

func TestPlainValue(t *testing.T) {
	for v, want := range map[string]string{
		"21.5":                           "21.5",
		"open {door}":                    "open {door}",
		"{broken":                        "{broken",
		`{"b":2.50,"a":"x","c":true}`:    "a x, b 2.50, c true",
		`{"a":null,"b":{"c":1},"d":[1]}`: "",
		`{"a":1} and more`:               `{"a":1} and more`,
		`{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1}`: "a 1, b 1, c 1, d 1, e 1, f 1, …",
	} {
		if got := plainValue(v); got != want {
			t.Errorf("%s: %q, want %q", v, got, want)
		}
	}
}

// What takes an old card's pin away is not merged with the pin of the next one while both wait.
func TestPinsThatWaitAreNotMerged(t *testing.T) {
	e := &cardEntry{id: "a"}
	e.Lane = "device/a"
	b := &batch{}
	e.pin(b, "", "$1", noon)
	e.pin(b, "$2", "", noon)
	e.pin(b, "", "", noon)
	if len(b.change.Append) != 2 {
		t.Fatalf("%+v", b.change.Append)
	}
	if _, merges := lane.Merge(b.change.Append[0], b.change.Append[1]); merges {
		t.Error("the old card stays pinned")
	}
}
