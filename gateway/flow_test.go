package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/mqtt/topic"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a gateway with everything around it in memory. Its life is one synctest bubble.
type world struct {
	t       *testing.T
	store   *memStore
	matrix  *memRooms
	devices *memDevices
	g       *Gateway
	stop    func() error
	change  func(*Config) // of the configuration, before each start; nil: nothing
	n       int
}

// newWorld makes a world in which no gateway runs yet.
func newWorld(t *testing.T) *world {
	return &world{t: t, store: newMemStore(), matrix: newMemRooms(), devices: &memDevices{}}
}

// inWorld runs f with a running gateway.
func inWorld(t *testing.T, rules []RuleSpec, f func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start(rules)
		f(w)
		if err := w.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func (w *world) start(specs []RuleSpec) {
	w.t.Helper()
	if d := time.Until(noon); d > 0 {
		time.Sleep(d) // a bubble begins in a year that no clock of ours believes
	}
	cfg := Config{
		Store: w.store, Matrix: w.matrix, Clock: trueClock{}, Devices: w.devices, Rules: mustRules(w.t, specs), ServerName: "x", Bot: "@gatepost:x", Ghosts: true,
		People: People{Members: map[ids.UserID]int{"@alice:x": 100, "@bob:x": 25}},
	}
	if w.change != nil {
		w.change(&cfg)
	}
	g, err := New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.g = g
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	w.stop = func() error {
		cancel()
		return <-ended
	}
	synctest.Wait()
}

// restart stops the gateway and starts another one with the same store.
func (w *world) restart(specs []RuleSpec) {
	w.t.Helper()
	if err := w.stop(); err != nil {
		w.t.Fatal(err)
	}
	w.start(specs)
}

// die ends the gateway as a crash does: nothing of what it does from now on is stored.
func (w *world) die() {
	w.store.set(errors.New("dead"))
	_ = w.stop() // it may or may not have noticed
	w.store.set(nil)
	w.store.flying = map[uint64]bool{}
}

func mustRules(t *testing.T, specs []RuleSpec) *Rules {
	t.Helper()
	var list []*Rule
	for _, s := range specs {
		r, err := Compile(s)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, r)
	}
	rules, err := NewRules(list...)
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

func (w *world) publish(name, payload string) {
	w.t.Helper()
	w.send(topic.Message{Topic: name, Payload: []byte(payload), Time: time.Now()})
}

func (w *world) send(m topic.Message) {
	w.t.Helper()
	if err := w.g.Deliver(w.t.Context(), m); err != nil {
		w.t.Fatalf("%s: %v", m.Topic, err)
	}
	synctest.Wait()
}

// says puts a person's message into the inbox.
func (w *world) says(user, roomID, body string) ids.EventID {
	return w.event(room.Event{Type: "m.room.message", Sender: ids.UserID(user), Room: ids.RoomID(roomID), Content: fmt.Appendf(nil, `{"msgtype":"m.text","body":%q}`, body)})
}

func (w *world) event(e room.Event) ids.EventID {
	w.n++
	e.ID = ids.EventID(fmt.Sprintf("$person%d", w.n))
	if e.Sent.IsZero() {
		e.Sent = time.Now()
	}
	e.Received = time.Now()
	w.store.deliver(e)
	w.g.WakeInbox()
	synctest.Wait()
	return e.ID
}

// want compares what is in the rooms from the line on.
func (w *world) want(from int, lines ...string) {
	w.t.Helper()
	got := w.matrix.said()
	if from > len(got) || !slices.Equal(got[from:], lines) {
		w.t.Errorf("in the rooms:\n\t%s\nwant:\n\t%s", strings.Join(got, "\n\t"), strings.Join(lines, "\n\t"))
	}
}

var sensors = RuleSpec{Topic: "sensors/{device}/{reading}", Class: lane.Event}

var door = RuleSpec{Topic: "door/event", Device: "door", Name: "Front door", Class: lane.Event, Commands: []CommandSpec{
	{Name: "unlock", Topic: "door/set", Payload: "UNLOCK", Confirm: &ConfirmSpec{Topic: "door/lock", Payload: "UNLOCKED"}},
	{Name: "open", Topic: "door/set", Payload: "OPEN {{ args }}", Grade: Dangerous},
	{Name: "status", Topic: "door/get", Grade: Read},
}}

func TestAMessageBecomesAPostOfItsGhost(t *testing.T) {
	inWorld(t, []RuleSpec{sensors}, func(w *world) {
		w.publish("sensors/porch/temperature", "21.5")
		w.want(0, "!1 @gatepost_porch:x text temperature: 21.5")
		calls := strings.Join(w.matrix.calls, "; ")
		if want := `user @gatepost_porch:x "porch"; create #gatepost_porch "porch"; with [@alice:x @bob:x]; invite !1 @gatepost_porch:x; join !1 @gatepost_porch:x`; calls != want {
			t.Errorf("the room was made by\n%s\nwant\n%s", calls, want)
		}
		w.publish("sensors/porch/humidity", "40")
		w.publish("sensors/attic/temperature", "30")
		w.want(1, "!1 @gatepost_porch:x text humidity: 40", "!2 @gatepost_attic:x text temperature: 30")
		if n := w.store.waiting(); n != 0 {
			t.Errorf("%d records still wait", n)
		}
	})
}

func TestARestartMakesNoSecondRoom(t *testing.T) {
	inWorld(t, []RuleSpec{sensors}, func(w *world) {
		w.publish("sensors/porch/temperature", "1")
		n := len(w.matrix.calls)
		w.restart([]RuleSpec{sensors})
		w.publish("sensors/porch/temperature", "2")
		w.want(1, "!1 @gatepost_porch:x text temperature: 2")
		if len(w.matrix.calls) != n {
			t.Errorf("more was done: %v", w.matrix.calls[n:])
		}
	})
}

func TestARoomThatWasBeingMadeIsFoundAgain(t *testing.T) {
	inWorld(t, []RuleSpec{sensors}, func(w *world) {
		w.matrix.fail = func(call string) error {
			if strings.HasPrefix(call, "create") { // it is made, but nobody hears of it
				have := w.g.rooms.list()
				_ = have
				return lane.Outcome{Verdict: lane.Unknown, Reason: "cut"}
			}
			return nil
		}
		w.publish("sensors/porch/temperature", "1")
		w.want(0)
		w.matrix.mu.Lock()
		w.matrix.fail = nil
		token := ""
		if v := string(w.store.values[spaceRooms+"\x00device/porch"]); strings.Contains(v, "token") {
			token = strings.Split(strings.Split(v, `"token":"`)[1], `"`)[0]
		}
		w.matrix.aliases["#gatepost_porch:x"] = room.Found{Room: "!lost", Creator: "@gatepost:x", Token: token}
		w.matrix.mu.Unlock()
		time.Sleep(time.Minute)
		w.want(0, "!lost @gatepost_porch:x text temperature: 1")
	})
}

func TestAnAliasThatAStrangerTook(t *testing.T) {
	inWorld(t, []RuleSpec{sensors}, func(w *world) {
		w.matrix.aliases["#gatepost_porch:x"] = room.Found{Room: "!evil", Creator: "@mallory:x", Token: ""}
		w.publish("sensors/porch/temperature", "1")
		w.want(0, "!1 @gatepost_porch:x text temperature: 1")
		if !slices.Contains(w.matrix.calls, `create #gatepost_porch_1 "porch"`) {
			t.Errorf("calls: %v", w.matrix.calls)
		}
	})
}

func TestARepeatedPacketIsTakenOnce(t *testing.T) {
	inWorld(t, []RuleSpec{sensors}, func(w *world) {
		m := topic.Message{Topic: "sensors/porch/x", Payload: []byte("1"), QoS: 1, PacketID: 7, Client: "a", Time: time.Now()}
		w.send(m)
		w.send(m) // another message that looks the same
		m.Dup = true
		w.store.mu.Lock()
		b := w.store.values[spaceMarks+"\x00"+latestKey]
		w.store.mu.Unlock()
		if len(b) == 0 {
			t.Fatal("no mark is stored")
		}
		w.want(0, "!1 @gatepost_porch:x text x: 1", "!1 @gatepost_porch:x text x: 1")
		w.restart([]RuleSpec{sensors}) // as after a crash between commit and acknowledgement
		w.send(m)
		w.want(2)
		m.Payload = []byte("2")
		w.send(m) // the same packet id, but not what was stored
		w.want(2, "!1 @gatepost_porch:x text x: 2")
	})
}

func TestMarksAreForgottenOnceTheAcknowledgementIsOut(t *testing.T) {
	inWorld(t, []RuleSpec{sensors}, func(w *world) {
		m := topic.Message{Topic: "sensors/porch/x", Payload: []byte("1"), QoS: 1, PacketID: 1, Client: "a", Time: time.Now()}
		w.send(m)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		w.restart([]RuleSpec{sensors})
		m.Dup = true
		w.send(m) // a second press of the same button whose first PUBLISH never reached us
		w.want(0, "!1 @gatepost_porch:x text x: 1", "!1 @gatepost_porch:x text x: 1")
	})
}

func TestAnIDIsTakenOnce(t *testing.T) {
	rule := RuleSpec{Topic: "seq/{device}", ID: "{{ value_json.n }}", Post: "number {{ value_json.n }}", Class: lane.Event}
	inWorld(t, []RuleSpec{rule}, func(w *world) {
		w.publish("seq/a", `{"n":1}`)
		w.publish("seq/a", `{"n":1}`)
		w.publish("seq/b", `{"n":1}`)
		w.restart([]RuleSpec{rule})
		w.publish("seq/a", `{"n":1}`)
		w.publish("seq/a", `{"n":2}`)
		w.want(0, "!1 @gatepost_a:x text number 1", "!2 @gatepost_b:x text number 1", "!1 @gatepost_a:x text number 2")
		time.Sleep(49 * time.Hour)
		synctest.Wait()
		w.publish("seq/a", `{"n":1}`)
		w.want(3, "!1 @gatepost_a:x text number 1")
		for k := range w.store.values {
			if strings.HasPrefix(k, spaceIDs+"\x00"+noon.Format("2006")) && strings.HasSuffix(k, "/2") {
				t.Errorf("the id %q is still there after two days", k)
			}
		}
	})
}

// A device that gives each message an id of its own fills the store only so far, and is heard all the same.
func TestIDsAreBounded(t *testing.T) {
	s := newMemStore()
	for i, d := range []ids.DeviceID{"a", "a", "b"} {
		known, err := loadSeenIDs(s) // as after a restart
		if err != nil {
			t.Fatal(err)
		}
		now, b, n := noon.Add(time.Duration(i)*24*time.Hour), &batch{}, 0
		for n < maxIDBytesOf && known.add(b, d, fmt.Sprintf("%0128d", n), now) {
			n++
		}
		switch size := n * (len(idKey(now, d, fmt.Sprintf("%0128d", 0))) + idOverhead); {
		case d == "a" && i == 1 && n > 0:
			t.Errorf("%d more on the next day", n)
		case i != 1 && (size < maxIDBytesOf || size > maxIDBytesOf+1000):
			t.Errorf("%s: %d ids", d, n)
		}
		if !known.seen(d, fmt.Sprintf("%0128d", 0), now) && i != 1 {
			_ = s.Commit(b.change)
			if !known.seen(d, fmt.Sprintf("%0128d", 0), now) {
				t.Errorf("%s: an id is not known", d)
			}
		}
		if err := s.Commit(b.change); err != nil {
			t.Fatal(err)
		}
	}
	known, err := loadSeenIDs(s)
	if err != nil || known.all < 2*maxIDBytesOf {
		t.Errorf("%d bytes are known, %v", known.all, err)
	}
	if b := new(batch); !known.add(b, "a", "x", noon.AddDate(0, 0, 3)) || known.all > maxIDBytesOf+1000 {
		t.Errorf("two days later there is no room: %d bytes", known.all)
	}
}

func TestTelemetryKeepsToItsPace(t *testing.T) {
	rule := RuleSpec{Topic: "t/{device}/{reading}", Class: lane.Telemetry, Every: time.Minute}
	inWorld(t, []RuleSpec{rule}, func(w *world) {
		for i := range 5 {
			w.publish("t/a/x", fmt.Sprint(i))
			time.Sleep(20 * time.Second)
		}
		synctest.Wait()
		got := len(w.matrix.said())
		if got < 2 || got > 5 { // the memory store merges nothing: two due at 60 s and one at 0
			t.Errorf("%d posts", got)
		}
		for i, p := range w.matrix.posts {
			if !p.NotBefore.IsZero() && p.NotBefore.Sub(w.matrix.posts[0].At)%time.Minute != 0 {
				t.Errorf("post %d may go at %v after the first", i, p.NotBefore.Sub(w.matrix.posts[0].At))
			}
		}
	})
}

func TestStateIsPostedWhenItChanges(t *testing.T) {
	rule := RuleSpec{Topic: "s/{device}", Class: lane.State}
	inWorld(t, []RuleSpec{rule}, func(w *world) {
		retained := func(payload string) {
			w.send(topic.Message{Topic: "s/a", Payload: []byte(payload), Retained: true, Time: time.Now()})
		}
		retained("closed")
		w.publish("s/a", "closed")
		w.publish("s/a", "open")
		retained("open")
		retained("closed")
		w.want(0, "!1 @gatepost_a:x notice a: closed", "!1 @gatepost_a:x notice a: open", "!1 @gatepost_a:x notice a: closed")
	})
}

func TestARetainedMessageIsNoNews(t *testing.T) {
	inWorld(t, []RuleSpec{sensors}, func(w *world) {
		w.send(topic.Message{Topic: "sensors/a/x", Payload: []byte("old"), Retained: true, Time: time.Now()})
		w.want(0)
		w.publish("sensors/a/x", "new")
		w.want(0, "!1 @gatepost_a:x text x: new")
	})
}

func TestAnAlarmMentionsPeople(t *testing.T) {
	inWorld(t, []RuleSpec{{Topic: "fire/{device}", Class: lane.Alarm}}, func(w *world) {
		w.publish("fire/hall", "smoke")
		if got := w.matrix.posts[0].Post.Mentions; !slices.Equal(got, []ids.UserID{"@alice:x", "@bob:x"}) {
			t.Errorf("mentions %v", got)
		}
	})
}

func TestSharedRoomsAndSpaces(t *testing.T) {
	rule := RuleSpec{Topic: "h/{site}/{device}", Device: "{site}-{device}", Name: "{device}", Room: "{site}", Space: "House", Class: lane.Event}
	inWorld(t, []RuleSpec{rule}, func(w *world) {
		w.publish("h/kitchen/kettle", "hot")
		w.publish("h/kitchen/fridge", "cold")
		w.want(0, "!2 @gatepost_kitchen-kettle:x text kettle: hot", "!2 @gatepost_kitchen-fridge:x text fridge: cold")
		calls := strings.Join(w.matrix.calls, "\n")
		for _, want := range []string{`create #gatepost_s_` + ids.Hash("space/House") + ` "House"`, `create #gatepost_r_` + ids.Hash("room/kitchen") + ` "kitchen"`, `state !1 m.space.child "!2" map[via:[x]]`} {
			if !strings.Contains(calls, want) {
				t.Errorf("no %q in\n%s", want, calls)
			}
		}
	})
}

func TestAnUnansweredSendIsLookedFor(t *testing.T) {
	for _, arrives := range []bool{true, false} {
		t.Run(fmt.Sprint("arrives ", arrives), func(t *testing.T) {
			inWorld(t, []RuleSpec{sensors}, func(w *world) {
				first := true
				w.matrix.answer = func(lane.Record) (lane.Outcome, bool) {
					if first {
						first = false
						return lane.Outcome{Verdict: lane.Unknown, Reason: "cut"}, arrives
					}
					return lane.Outcome{}, true
				}
				w.publish("sensors/a/x", "1")
				w.publish("sensors/a/x", "2")
				time.Sleep(time.Minute)
				synctest.Wait()
				w.want(0, "!1 @gatepost_a:x text x: 1", "!1 @gatepost_a:x text x: 2")
			})
		})
	}
}

func TestASendThatACrashCutOffIsLookedFor(t *testing.T) {
	inWorld(t, []RuleSpec{sensors}, func(w *world) {
		w.matrix.answer = func(lane.Record) (lane.Outcome, bool) { // it arrives, and we die before we know
			return lane.Outcome{Verdict: lane.Unknown, Reason: "dying"}, true
		}
		w.publish("sensors/a/x", "1")
		w.publish("sensors/a/x", "2")
		w.want(0, "!1 @gatepost_a:x text x: 1")
		if err := w.stop(); err != nil {
			t.Fatal(err)
		}
		w.store.flying = map[uint64]bool{}
		w.matrix.answer = nil
		w.start([]RuleSpec{sensors})
		time.Sleep(time.Minute)
		synctest.Wait()
		w.want(0, "!1 @gatepost_a:x text x: 1", "!1 @gatepost_a:x text x: 2")
	})
}

func TestOutcomes(t *testing.T) {
	inWorld(t, []RuleSpec{sensors}, func(w *world) {
		var o lane.Outcome
		w.matrix.answer = func(lane.Record) (lane.Outcome, bool) { return o, o.Verdict == 0 }
		o = lane.Outcome{Verdict: lane.Retry, Limited: true, After: 30 * time.Second, Code: "M_LIMIT_EXCEEDED"}
		w.publish("sensors/a/x", "1")
		w.want(0)
		o = lane.Outcome{}
		time.Sleep(29 * time.Second)
		w.want(0)
		time.Sleep(2 * time.Second)
		w.want(0, "!1 @gatepost_a:x text x: 1")

		o = lane.Outcome{Verdict: lane.Dead, Code: "M_TOO_LARGE", Reason: "too large"}
		w.publish("sensors/a/x", "2")
		o = lane.Outcome{}
		w.publish("sensors/a/x", "3")
		w.want(1, "!1 @gatepost_a:x text x: 3")
		if len(w.store.dead) != 1 || w.store.dead[0].Reason != "M_TOO_LARGE: too large" {
			t.Errorf("dead letters: %+v", w.store.dead)
		}

		o = lane.Outcome{Verdict: lane.Stop, Code: "M_UNKNOWN_TOKEN", Reason: "who are you"}
		w.publish("sensors/a/x", "4")
		if why := w.g.Ready(); len(why) != 1 || !strings.Contains(why[0], "who are you") {
			t.Errorf("ready says %q", why)
		}
		o = lane.Outcome{}
		w.publish("sensors/b/x", "5") // intake goes on, nobody sends
		w.want(2)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if len(w.g.Ready()) != 0 || len(w.matrix.said()) != 4 {
			t.Errorf("after it was mended: %v, %v", w.g.Ready(), w.matrix.said())
		}
	})
}

func TestAFullDiskHoldsTheAcknowledgement(t *testing.T) {
	inWorld(t, []RuleSpec{sensors}, func(w *world) {
		w.publish("sensors/a/x", "1")
		w.store.mu.Lock()
		w.store.fail = fullError{}
		w.store.mu.Unlock()
		done := make(chan error, 1)
		w.g.Submit(topic.Message{Topic: "sensors/a/x", Payload: []byte("2"), Time: time.Now()}, func(err error) { done <- err })
		time.Sleep(time.Minute)
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("acknowledged with a full disk: %v", err)
		default:
		}
		if why := w.g.Ready(); len(why) != 1 {
			t.Errorf("ready says %q", why)
		}
		w.store.mu.Lock()
		w.store.fail = nil
		w.store.mu.Unlock()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if err := <-done; err != nil {
			t.Error(err)
		}
		w.want(1, "!1 @gatepost_a:x text x: 2")
	})
}

type fullError struct{}

func (fullError) Error() string { return "no space" }
func (fullError) NoSpace() bool { return true }

func TestABrokenStoreEndsTheGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start([]RuleSpec{sensors})
		w.store.mu.Lock()
		w.store.fail = errors.New("input/output error")
		w.store.mu.Unlock()
		if err := w.g.Deliver(t.Context(), topic.Message{Topic: "sensors/a/x", Time: time.Now()}); err == nil {
			t.Error("acknowledged what is not stored")
		}
		synctest.Wait()
		if err := w.stop(); err == nil || !strings.Contains(err.Error(), "input/output") {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestACommandGoesToTheDeviceAndItsAnswerIsShown(t *testing.T) {
	inWorld(t, []RuleSpec{door}, func(w *world) {
		w.devices.on = func(name, payload string) {
			go func() {
				time.Sleep(300 * time.Millisecond)
				_ = w.g.Deliver(context.Background(), topic.Message{Topic: "door/lock", Payload: []byte("UNLOCKED"), Time: time.Now()})
			}()
		}
		e := w.says("@bob:x", "!1", "!unlock")
		if got := w.devices.list(); !slices.Equal(got, []string{"door/set UNLOCK 0 false"}) {
			t.Fatalf("the device heard %q", got)
		}
		w.want(0, "!1 @gatepost_door:x reaction 📤 sent")
		time.Sleep(time.Second)
		synctest.Wait()
		w.want(1, "!1 @gatepost_door:x reaction ✅ confirmed", "!1 @gatepost_door:x redaction ")
		for _, p := range w.matrix.posts[:2] {
			if p.Post.RelatesTo != e {
				t.Errorf("a reaction to %s, not to the person's message", p.Post.RelatesTo)
			}
		}
		if got, want := w.matrix.posts[2].Post.RelatesTo, w.matrix.sent[w.matrix.posts[0].ID]; got != want {
			t.Errorf("redacted %s, not the first reaction %s", got, want)
		}
	})
}

func TestWhoMayAskForWhat(t *testing.T) {
	for _, c := range []struct{ user, body, published, answer string }{
		{"@bob:x", "!unlock", "door/set UNLOCK 0 false", "📤 sent"},
		{"@carol:x", "!unlock", "", "“unlock” asks for power level 25; you have 0 here."},
		{"@carol:x", "!status", "door/get  0 false", "📤 sent"},
		{"@mallory:x", "!status", "", "You are not in this room."},
		{"@bob:x", "!explode", "", "Front door has no “explode”. It understands unlock, open, status."},
		{"@bob:x", "!help", "", "Front door understands:\n!unlock\nOnly asks, changes nothing:\n!status\nThere is 1 more, for people with more power."},
		{"@alice:x", "!help", "", "Front door understands:\n!unlock\nOnly asks, changes nothing:\n!status\nDangerous, so react to your message with ✅ when I ask:\n!open …"},
		{"@bob:x", "unlock", "", ""},
		{"@gatepost_door:x", "!unlock", "", ""},
		{"@gatepost:x", "!unlock", "", ""},
		{"@alice:x", "!door unlock", "door/set UNLOCK 0 false", "📤 sent"},
	} {
		t.Run(c.user+" "+c.body, func(t *testing.T) {
			inWorld(t, []RuleSpec{door}, func(w *world) {
				w.says(c.user, "!1", c.body)
				if got := strings.Join(w.devices.list(), ", "); got != c.published {
					t.Errorf("published %q, want %q", got, c.published)
				}
				answer := ""
				if len(w.matrix.posts) > 0 {
					answer = w.matrix.posts[0].Post.Text
				}
				if answer != c.answer {
					t.Errorf("answered %q, want %q", answer, c.answer)
				}
			})
		})
	}
}

func TestNothingRunsWhereAnybodyCanJoinNorTooLateNorFromEdits(t *testing.T) {
	inWorld(t, []RuleSpec{door}, func(w *world) {
		w.event(room.Event{Type: "m.room.message", Sender: "@alice:x", Room: "!1", Sent: time.Now().Add(-31 * time.Second), Content: []byte(`{"msgtype":"m.text","body":"!unlock"}`)})
		w.event(room.Event{Type: "m.room.message", Sender: "@alice:x", Room: "!1", Sent: time.Now().Add(61 * time.Second), Content: []byte(`{"msgtype":"m.text","body":"!unlock"}`)})
		w.event(room.Event{Type: "m.room.message", Sender: "@alice:x", Room: "!1", Content: []byte(`{"msgtype":"m.text","body":"!unlock","m.relates_to":{"rel_type":"m.replace","event_id":"$1"}}`)})
		w.event(room.Event{Type: "m.room.message", Sender: "@alice:x", Room: "!1", Content: []byte(`{"msgtype":"m.notice","body":"!unlock"}`)})
		w.event(room.Event{Type: "m.room.message", Sender: "@alice:x", Room: "!elsewhere", Content: []byte(`{"msgtype":"m.text","body":"!unlock"}`)})
		w.matrix.state.JoinRule = "public"
		w.event(room.Event{Type: "m.room.join_rules", Sender: "@alice:x", Room: "!1", StateKey: new(string)})
		w.says("@alice:x", "!1", "!unlock")
		if got := w.devices.list(); len(got) != 0 {
			t.Errorf("published %q", got)
		}
		if got := len(w.store.events); got != 0 {
			t.Errorf("%d events are still in the inbox", got)
		}
	})
}

func TestADangerousCommandNeedsASecondLook(t *testing.T) {
	react := func(w *world, user string, e ids.EventID) {
		w.event(room.Event{Type: "m.reaction", Sender: ids.UserID(user), Room: "!1", Content: fmt.Appendf(nil, `{"m.relates_to":{"rel_type":"m.annotation","event_id":%q,"key":"✅"}}`, e)})
	}
	inWorld(t, []RuleSpec{door}, func(w *world) {
		e := w.says("@alice:x", "!1", "!open wide")
		react(w, "@bob:x", e)
		react(w, "@gatepost_door:x", e)
		if got := w.devices.list(); len(got) != 0 {
			t.Fatalf("published %q without a look by somebody who may", got)
		}
		react(w, "@alice:x", e)
		if got := w.devices.list(); !slices.Equal(got, []string{"door/set OPEN wide 0 false"}) {
			t.Errorf("published %q", got)
		}
		react(w, "@alice:x", e)
		late := w.says("@alice:x", "!1", "!open late")
		time.Sleep(61 * time.Second)
		react(w, "@alice:x", late)
		gone := w.says("@alice:x", "!1", "!open gone")
		w.event(room.Event{Type: "m.room.redaction", Sender: "@bob:x", Room: "!1", Redacts: gone})
		w.event(room.Event{Type: "m.room.redaction", Sender: "@alice:x", Room: "!1", Redacts: gone})
		react(w, "@alice:x", gone)
		if got := w.devices.list(); len(got) != 1 {
			t.Errorf("published %q", got)
		}
	})
}

func TestRepliesAndSharedRooms(t *testing.T) {
	rule := RuleSpec{Topic: "l/{device}", Room: "lamps", Class: lane.Event, Commands: []CommandSpec{{Name: "on", Topic: "l/{device}/set", Payload: "ON"}}}
	inWorld(t, []RuleSpec{rule}, func(w *world) {
		w.publish("l/a", "hello a")
		w.publish("l/b", "hello b")
		w.says("@alice:x", "!1", "!on")
		w.want(2, "!1 @gatepost:x notice There are several devices in this room: say “!a on”, or reply to a message of the device. Devices: a, b.")
		w.says("@alice:x", "!1", "!b on")
		w.event(room.Event{Type: "m.room.message", Sender: "@alice:x", Room: "!1", Content: fmt.Appendf(nil, `{"msgtype":"m.text","body":"> <@gatepost_a:x> a: hello a\n\non","m.relates_to":{"m.in_reply_to":{"event_id":%q}}}`, w.matrix.eventOf("a: hello a"))})
		if got := w.devices.list(); !slices.Equal(got, []string{"l/b/set ON 0 false", "l/a/set ON 0 false"}) {
			t.Errorf("published %q", got)
		}
	})
}

func TestABrokerThatIsAwayGetsTheCommandWhenItIsBackInTime(t *testing.T) {
	inWorld(t, []RuleSpec{door}, func(w *world) {
		w.devices.set(errAway)
		w.says("@alice:x", "!1", "!unlock")
		time.Sleep(10 * time.Second)
		w.devices.set(nil)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := w.devices.list(); len(got) != 1 {
			t.Errorf("published %q", got)
		}
		w.devices.set(errAway)
		w.says("@alice:x", "!1", "!unlock")
		time.Sleep(31 * time.Second)
		w.devices.set(nil)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := w.devices.list(); len(got) != 1 {
			t.Errorf("published after its time: %q", got)
		}
	})
}

func TestACommandAfterACrashIsUnknownAndNotRepeated(t *testing.T) {
	inWorld(t, []RuleSpec{door}, func(w *world) {
		w.devices.on = func(string, string) { // the process dies while it publishes: nothing after it is committed
			w.store.mu.Lock()
			w.store.fail = errors.New("dead")
			w.store.mu.Unlock()
		}
		w.says("@alice:x", "!1", "!unlock")
		_ = w.stop()
		w.store.fail, w.store.flying, w.devices.on = nil, map[uint64]bool{}, nil
		w.start([]RuleSpec{door})
		if got := w.devices.list(); len(got) != 1 {
			t.Errorf("published %q", got)
		}
		list, err := w.g.Commands(w.t.Context(), 10)
		if err != nil || len(list) != 1 || list[0].State != Unknown {
			t.Errorf("commands: %+v, %v", list, err)
		}
		if got := strings.Join(w.matrix.said(), "\n"); !strings.Contains(got, "❓ unknown") {
			t.Errorf("nobody is told:\n%s", got)
		}
	})
}

func TestWhatWePublishIsNotAnEvent(t *testing.T) {
	rule := RuleSpec{Topic: "loop/{device}/set", Class: lane.Event, Commands: []CommandSpec{{Name: "on", Topic: "loop/{device}/set", Payload: "ON"}}}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start([]RuleSpec{rule})
		w.g.cfg.Echoes = true
		w.publish("loop/a/set", "hello")
		w.says("@alice:x", "!1", "!on")
		w.publish("loop/a/set", "ON") // our own, back from the broker
		w.want(1, "!1 @gatepost_a:x reaction 📤 sent")
		w.publish("loop/a/set", "ON") // somebody else's
		w.want(2, "!1 @gatepost_a:x text set: ON")
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestNamesThatClashAreRefused(t *testing.T) {
	inWorld(t, []RuleSpec{sensors}, func(w *world) {
		w.publish("sensors/Door 1/x", "1")
		id := string(ids.Device("Door 1"))
		w.publish("sensors/"+id+"/x", "2") // a device that calls itself what we made of the other's name
		w.want(0, "!1 @gatepost_"+id+":x text x: 1")
		if list := w.g.Unmatched(); len(list) != 1 {
			t.Errorf("unmatched: %+v", list)
		}
	})
}

func TestReloadBringsRoomsUpToDate(t *testing.T) {
	inWorld(t, []RuleSpec{sensors}, func(w *world) {
		w.publish("sensors/a/x", "1")
		n := len(w.matrix.calls)
		if err := w.g.Reload(w.t.Context(), mustRules(t, []RuleSpec{sensors}), People{Members: map[ids.UserID]int{"@alice:x": 100, "@dora:x": 50}}, nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := strings.Join(w.matrix.calls[n:], "; "); got != "power !1 map[@alice:x:100 @dora:x:50]; invite !1 @dora:x" {
			t.Errorf("the room was brought up to date by %s", got)
		}
	})
}

func TestATopicThatIsTooLongIsRefusedAndSaid(t *testing.T) {
	inWorld(t, []RuleSpec{sensors}, func(w *world) {
		w.publish("sensors/"+strings.Repeat("x", 60_000)+"/@room", "1")
		w.publish("sensors/a/x", "2")
		w.want(0, "!1 @gatepost_a:x text x: 2")
		if list := w.g.Unmatched(); len(list) != 1 || len(list[0].Topic) > 3*maxTopicShown {
			t.Errorf("%d topics are remembered as refused", len(list))
		}
	})
}

func TestAPersonWhoCanNotBeInvitedKeepsNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.change = func(c *Config) { c.People.Members["@nobody:x"] = 25 }
		w.start([]RuleSpec{sensors})
		w.publish("sensors/a/x", "1")
		w.want(0, "!1 @gatepost_a:x text x: 1")
		for _, who := range []string{"invite !1 @alice:x", "invite !1 @bob:x"} {
			if !slices.Contains(w.matrix.calls, who) {
				t.Errorf("no %q among %q", who, w.matrix.calls)
			}
		}
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}
