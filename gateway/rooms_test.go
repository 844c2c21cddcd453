package gateway

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/mqtt/topic"
)

var forbidden = lane.Outcome{Verdict: lane.Dead, Code: "M_FORBIDDEN", Reason: "no"}

// refuse makes the homeserver refuse calls that begin like one of those, until the next refuse.
func (w *world) refuse(o lane.Outcome, calls ...string) {
	w.matrix.mu.Lock()
	defer w.matrix.mu.Unlock()
	w.matrix.fail = func(call string) error {
		for _, c := range calls {
			if strings.HasPrefix(call, c) {
				return o
			}
		}
		return nil
	}
}

var inSpace = RuleSpec{Topic: "h/{device}", Space: "House", Class: lane.Event}

func TestWhatIsRefusedAboutARoomDoesNotStopWhatIsSaid(t *testing.T) {
	space := "create #gatepost_s_"
	for _, calls := range [][]string{{space}, {"state"}, {"power"}, {"invite !2 @bob:x"}, {"invite !1 @alice:x", "state !1"}} {
		t.Run(strings.Join(calls, " and "), func(t *testing.T) {
			inWorld(t, []RuleSpec{inSpace}, func(w *world) {
				w.refuse(forbidden, calls...)
				w.publish("h/a", "1")
				w.publish("h/a", "2")
				if err := w.g.Reload(w.t.Context(), mustRules(t, []RuleSpec{inSpace}), People{Members: map[ids.UserID]int{"@alice:x": 50, "@bob:x": 25}}, nil); err != nil {
					t.Fatal(err)
				}
				w.publish("h/a", "3")
				if got := w.matrix.said(); len(got) != 3 || len(w.store.dead) != 0 {
					t.Errorf("said %q, dead letters %v", got, w.store.dead)
				}
			})
		})
	}
}

func TestWhatCanNotBeSaidForWantOfARoomIsKept(t *testing.T) {
	inWorld(t, []RuleSpec{sensors}, func(w *world) {
		w.refuse(forbidden, "create")
		for i := range 3 {
			w.publish("sensors/a/x", fmt.Sprint(i))
			time.Sleep(time.Hour)
		}
		w.want(0)
		w.refuse(forbidden)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		w.want(0, "!1 @gatepost_a:x text x: 0", "!1 @gatepost_a:x text x: 1", "!1 @gatepost_a:x text x: 2")
	})
}

// A ghost that may not speak in a shared room is no reason for the others to be silent for long.
func TestAGhostThatIsBannedHoldsNobodyElse(t *testing.T) {
	rule := RuleSpec{Topic: "l/{device}", Room: "lamps", Class: lane.Event}
	inWorld(t, []RuleSpec{rule}, func(w *world) {
		w.refuse(forbidden, "invite !1 @gatepost_a:x")
		w.publish("l/a", "1")
		w.publish("l/b", "2")
		time.Sleep(3 * time.Minute) // pauses between attempts are random
		synctest.Wait()
		w.want(0, "!1 @gatepost_b:x text b: 2")
		if len(w.store.dead) != 1 || w.store.dead[0].Record.Post.Text != "a: 1" {
			t.Errorf("dead letters: %+v", w.store.dead)
		}
		w.publish("l/a", "3") // it is known now
		w.publish("l/b", "4")
		w.want(1, "!1 @gatepost_b:x text b: 4")
	})
}

// A homeserver that is about to stop refuses users whom it cannot look up any more. That is no reason to give up what they
// say.
func TestARefusalIsBelievedAfterAWhile(t *testing.T) {
	for _, what := range []string{"send", "invite !1 @gatepost_a:x"} {
		inWorld(t, []RuleSpec{sensors}, func(w *world) {
			if what == "send" {
				w.matrix.answer = func(lane.Record) (lane.Outcome, bool) { return forbidden, false }
			} else {
				w.refuse(forbidden, what)
			}
			w.publish("sensors/a/x", "1")
			time.Sleep(10 * time.Second)
			w.want(0)
			w.matrix.answer = nil
			w.refuse(forbidden)
			time.Sleep(time.Minute)
			synctest.Wait()
			w.want(0, "!1 @gatepost_a:x text x: 1")
			if len(w.store.dead) != 0 {
				t.Errorf("%s: dead letters: %+v", what, w.store.dead)
			}
		})
	}
}

func TestAGhostThatWasThrownOutComesBackAlsoAfterAnotherTrouble(t *testing.T) {
	inWorld(t, []RuleSpec{sensors}, func(w *world) {
		w.publish("sensors/a/x", "1")
		n := 0
		w.matrix.answer = func(lane.Record) (lane.Outcome, bool) {
			switch n++; n {
			case 1:
				return lane.Outcome{Verdict: lane.Retry, Reason: "trouble"}, false
			case 2:
				return forbidden, false
			default:
				return lane.Outcome{}, true
			}
		}
		w.publish("sensors/a/x", "2")
		time.Sleep(time.Minute)
		synctest.Wait()
		w.want(1, "!1 @gatepost_a:x text x: 2")
	})
}

func TestAnInvitationBackIntoARoomOfOursIsFollowed(t *testing.T) {
	inWorld(t, []RuleSpec{sensors}, func(w *world) {
		w.publish("sensors/a/x", "1")
		n := len(w.matrix.calls)
		bot, ghost := "@gatepost:x", "@gatepost_a:x"
		invite := func(user *string, in ids.RoomID, by ids.UserID, membership string) {
			w.event(room.Event{Type: "m.room.member", Sender: by, Room: in, StateKey: user, Content: fmt.Appendf(nil, `{"membership":%q}`, membership)})
		}
		invite(&bot, "!1", "@alice:x", "invite")
		invite(&ghost, "!1", "@alice:x", "invite")
		invite(&bot, "!elsewhere", "@alice:x", "invite")
		invite(&bot, "!1", "@alice:x", "leave")
		invite(&ghost, "!1", "@gatepost:x", "invite") // our own: a step of ensure
		if got := w.matrix.calls[n:]; !slices.Equal(got, []string{"join !1 @gatepost:x", "join !1 @gatepost_a:x"}) {
			t.Errorf("calls %q", got)
		}
	})
}

// A homeserver may keep an alias of a room that it deleted: nobody has it, and nobody can have it.
func TestAnAliasThatLeadsNowhereIsNotTriedForEver(t *testing.T) {
	inWorld(t, []RuleSpec{sensors}, func(w *world) {
		w.refuse(lane.Outcome{Verdict: lane.Dead, Code: "M_ROOM_IN_USE"}, `create #gatepost_a "`)
		w.publish("sensors/a/x", "1")
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		w.want(0, "!1 @gatepost_a:x text x: 1")
	})
}

func TestAPauseInMakingRoomsHoldsForAllOfThem(t *testing.T) {
	inWorld(t, []RuleSpec{sensors}, func(w *world) {
		tries := 0
		w.matrix.mu.Lock()
		w.matrix.fail = func(call string) error {
			if !strings.HasPrefix(call, "create") {
				return nil
			}
			tries++
			return lane.Outcome{Verdict: lane.Retry, Limited: true, After: time.Minute, Code: "M_LIMIT_EXCEEDED"}
		}
		w.matrix.mu.Unlock()
		for i := range 50 {
			w.publish(fmt.Sprintf("sensors/d%d/x", i), "1")
		}
		if tries > workers {
			t.Errorf("%d requests for rooms although the first was told to wait", tries)
		}
	})
}

func TestTheFirstRuleOfADeviceIsItsHome(t *testing.T) {
	rules := []RuleSpec{
		{Topic: "door/event", Device: "door", Name: "Front door", Class: lane.Event},
		{Topic: "door/alarm", Device: "door", Room: "Alarms", Class: lane.Event, Commands: []CommandSpec{{Name: "reset", Topic: "door/reset", Payload: "R"}}},
		{Topic: "door/{reading}", Device: "door", Class: lane.Event},
	}
	inWorld(t, rules, func(w *world) {
		w.publish("door/battery", "80")
		n := len(w.matrix.calls)
		for i := range 3 {
			w.publish("door/event", fmt.Sprint(i))
			w.publish("door/battery", fmt.Sprint(i))
		}
		w.publish("door/alarm", "fire")
		if got := strings.Join(w.matrix.calls[n:], "\n"); strings.Count(got, "user") > 1 || strings.Count(got, "m.room.name") > 1 {
			t.Errorf("names come and go:\n%s", got)
		}
		w.want(7, "!2 @gatepost_door:x text alarm: fire")
		w.says("@alice:x", "!2", "!reset")
		w.restart(rules)
		w.says("@alice:x", "!2", "!reset")
		if got := w.devices.list(); len(got) != 2 {
			t.Errorf("published %q", got)
		}
	})
}

func TestAChangedRoomIsFollowedWithOneLink(t *testing.T) {
	with := func(room string) []RuleSpec { return []RuleSpec{{Topic: "l/{device}", Room: room, Class: lane.Event}} }
	inWorld(t, with("lamps"), func(w *world) {
		w.publish("l/a", "1")
		if err := w.g.Reload(w.t.Context(), mustRules(t, with("lights")), People{}, nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		link := "!1 @gatepost:x notice a speaks in #gatepost_r_" + ids.Hash("room/lights") + ":x from now on."
		w.want(1, link)
		w.publish("l/a", "2")
		w.want(2, "!2 @gatepost_a:x text a: 2")
		w.restart(with("lights"))
		w.want(3)
		w.restart(with("")) // the configuration may change while gatepost is not running
		w.want(3, "!2 @gatepost:x notice a speaks in #gatepost_a:x from now on.")
	})
}

func TestNamesThatAreTooLongAreRefused(t *testing.T) {
	long := strings.Repeat("x", maxName+1)
	for _, rule := range []RuleSpec{
		{Topic: "t/{device}/{x}", Room: "{x}"},
		{Topic: "t/{device}/{x}", Space: "{x}"},
		{Topic: "t/{device}/{x}", Name: "{x}"},
		{Topic: "t/{d}/{x}", Device: "{x}"},
	} {
		inWorld(t, []RuleSpec{rule}, func(w *world) {
			w.publish("t/a/"+long, "1")
			w.want(0)
			if len(w.g.devices.byID) != 0 || len(w.g.Unmatched()) != 1 {
				t.Errorf("%+v: devices %v, unmatched %v", rule, w.g.devices.byID, w.g.Unmatched())
			}
		})
	}
}

func TestRefusedMessagesDoNotFloodTheOwners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.change = func(c *Config) { c.People.Owners = []ids.UserID{"@alice:x"} }
		w.start([]RuleSpec{sensors})
		for i := range 100 {
			w.publish(fmt.Sprintf("sensors/%d%s/x", i, strings.Repeat("x", maxName)), "1")
		}
		if got := w.matrix.said(); len(got) != 1 {
			t.Errorf("%d messages to the owners", len(got))
		}
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestReadingsAreBoundedAndSurviveARestart(t *testing.T) {
	rule := RuleSpec{Topic: "s/{device}/{reading}", Class: lane.State}
	inWorld(t, []RuleSpec{rule}, func(w *world) {
		for i := range maxReadings + 50 {
			w.publish(fmt.Sprintf("s/a/%d", i), "on")
			time.Sleep(time.Second)
		}
		if n := len(w.g.devices.byID["a"].Readings); n != maxReadings {
			t.Errorf("%d readings are remembered", n)
		}
		n := len(w.matrix.said())
		w.publish(fmt.Sprintf("s/a/%d", maxReadings+49), "on")
		w.publish("s/a/bytes", "\xff\xfe")
		w.restart([]RuleSpec{rule})
		w.publish("s/a/bytes", "\xff\xfe")
		if got := w.matrix.said()[n:]; len(got) != 1 {
			t.Errorf("what did not change is posted again: %q", got)
		}
	})
}

func TestInAccountModeASharedRoomHearsWhoSpeaks(t *testing.T) {
	rule := RuleSpec{Topic: "l/{device}", Name: "Lamp <{device}>", Room: "lamps", Class: lane.Event}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.change = func(c *Config) { c.Ghosts = false }
		w.start([]RuleSpec{rule, sensors})
		w.publish("l/a", "alone")
		w.publish("l/b", "on")
		w.publish("sensors/c/x", "1")
		w.want(0, "!1 @gatepost:x text a: alone", "!1 @gatepost:x text Lamp <b>: b: on", "!2 @gatepost:x text x: 1")
		if got := w.matrix.posts[1].Post.HTML; got != "<strong>Lamp &lt;b&gt;</strong>: <strong>b</strong> on" {
			t.Errorf("HTML %q", got)
		}
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}

// What is sent a second time reads as it did the first time.
func TestADigestThatIsSentAgainIsSummedUpOnce(t *testing.T) {
	rule := RuleSpec{Topic: "t/{device}", Class: lane.Telemetry}
	inWorld(t, []RuleSpec{rule}, func(w *world) {
		w.matrix.answer = func(lane.Record) (lane.Outcome, bool) {
			return lane.Outcome{Verdict: lane.Unknown, Reason: "cut"}, false
		}
		w.publish("t/a", "5")
		time.Sleep(time.Second)
		if err := w.store.Commit(lane.Change{Append: []lane.Record{{
			Lane: "device/a", ID: "digest", Device: "a", Class: lane.Telemetry, At: time.Now(),
			Digest: &lane.Digest{N: 2, Min: 1, Max: 3, Sum: 4, Since: time.Now()}, Post: lane.Post{Kind: lane.Notice, Text: "a: 3"},
		}}}); err != nil {
			t.Fatal(err)
		}
		sends := 0
		w.matrix.mu.Lock()
		w.matrix.answer = func(r lane.Record) (lane.Outcome, bool) {
			if r.ID == "digest" {
				if sends++; sends < 3 {
					return lane.Outcome{Verdict: lane.Unknown, Reason: "cut"}, false
				}
			}
			return lane.Outcome{}, true
		}
		w.matrix.mu.Unlock()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		w.want(1, "!1 @gatepost_a:x notice a: 3 (2 values: min 1, mean 2, max 3)")
	})
}

func TestWhatIsNotSentLeavesNothingBehind(t *testing.T) {
	inWorld(t, []RuleSpec{sensors}, func(w *world) {
		w.matrix.answer = func(lane.Record) (lane.Outcome, bool) {
			return lane.Outcome{Verdict: lane.Retry, Reason: "away"}, false
		}
		for i := range 100 {
			w.publish("sensors/a/x", fmt.Sprint(i))
			time.Sleep(time.Minute)
			w.store.mu.Lock()
			w.store.records, w.store.flying = nil, map[uint64]bool{} // evicted, or merged into a newer one
			w.store.mu.Unlock()
		}
		if n := len(w.g.tries.lanes); n > 1 {
			t.Errorf("%d tries of records that are gone are remembered", n)
		}
	})
}

func TestACommandThatDidNotGoOutIsNoEcho(t *testing.T) {
	rule := RuleSpec{Topic: "loop/{device}/set", Class: lane.Event, Commands: []CommandSpec{{Name: "on", Topic: "loop/{device}/set", Payload: "ON", Expires: 500 * time.Millisecond}}}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.change = func(c *Config) { c.Echoes = true }
		w.start([]RuleSpec{rule})
		w.publish("loop/a/set", "hello")
		w.devices.set(errAway)
		w.says("@alice:x", "!1", "!on")
		time.Sleep(time.Second)
		n := len(w.matrix.said())
		w.publish("loop/a/set", "ON") // the device's own
		w.want(n, "!1 @gatepost_a:x text set: ON")
		for range 3 * maxEcho {
			w.g.echo.expect(topic.Message{Topic: "same", Time: time.Now()})
		}
		for _, list := range w.g.echo.sent {
			if len(list) > maxEcho+1 {
				t.Errorf("%d times are kept of one message", len(list))
			}
		}
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}
