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
)

// react lets somebody react to an event in the first room.
func (w *world) react(user string, e ids.EventID) {
	w.event(room.Event{Type: "m.reaction", Sender: ids.UserID(user), Room: "!1", Content: fmt.Appendf(nil, `{"m.relates_to":{"rel_type":"m.annotation","event_id":%q,"key":"✅"}}`, e)})
}

// setState changes what decides about commands; unless silent, the gateway hears of it.
func (w *world) setState(silent bool, change func(*room.State)) {
	w.matrix.mu.Lock()
	change(&w.matrix.state)
	w.matrix.mu.Unlock()
	if !silent {
		w.event(room.Event{Type: "m.room.power_levels", Sender: "@alice:x", Room: "!1", StateKey: new(string), Content: []byte("{}")})
	}
}

func TestTheSecondLookIsJudgedByTheRoomAsItIsThen(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*room.State)
	}{
		{"anybody may join now", func(s *room.State) { s.JoinRule = "public" }},
		{"who asked has no power any more", func(s *room.State) { s.Users = map[ids.UserID]int{"@dave:x": 50} }},
		{"who asked has left", func(s *room.State) {
			s.Members = map[ids.UserID]string{"@alice:x": "leave", "@dave:x": "join"}
		}},
		{"who looks has no power any more", func(s *room.State) { s.Users = map[ids.UserID]int{"@alice:x": 100} }},
		{"nothing", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, []RuleSpec{door}, func(w *world) {
				w.setState(true, func(s *room.State) {
					s.Users = map[ids.UserID]int{"@alice:x": 100, "@dave:x": 50}
					s.Members = map[ids.UserID]string{"@alice:x": "join", "@dave:x": "join"}
				})
				e := w.says("@alice:x", "!1", "!open")
				want := 1
				if c.change != nil {
					want = 0
					w.setState(false, c.change)
				}
				w.react("@dave:x", e)
				if got := w.devices.list(); len(got) != want {
					t.Errorf("published %q", got)
				}
			})
		})
	}
}

// Right after an event a homeserver may still show what was before: that is not believed for minutes.
func TestAReadThatLagsBehindIsNotKept(t *testing.T) {
	inWorld(t, []RuleSpec{door}, func(w *world) {
		w.setState(false, func(*room.State) {})
		w.says("@bob:x", "!1", "!unlock") // reads the old state
		w.setState(true, func(s *room.State) { s.Users = map[ids.UserID]int{"@alice:x": 100} })
		time.Sleep(10 * time.Second)
		w.says("@bob:x", "!1", "!unlock")
		if got := w.devices.list(); len(got) != 1 {
			t.Errorf("published %q", got)
		}
	})
}

func TestWhoAsksTooOftenIsAnsweredNoMore(t *testing.T) {
	inWorld(t, []RuleSpec{door}, func(w *world) {
		w.says("@alice:x", "!1", "!unlock")
		for range 200 {
			w.says("@carol:x", "!1", "!unlock")
			w.says("@carol:x", "!1", "!status")
			w.says("@carol:x", "!1", "!nonsense")
			w.says("@carol:x", "!1", "!help")
		}
		if got := len(w.matrix.said()); got > 2*answerBurst {
			t.Errorf("%d posts because of one person", got)
		}
		if got := strings.Join(w.matrix.said(), "\n"); strings.Count(got, "silent for a while") != 1 {
			t.Errorf("it is not said once that there are no more answers:\n%s", got)
		}
		n := len(w.matrix.said())
		w.says("@bob:x", "!1", "!help")
		if got := len(w.matrix.said()); got != n+1 {
			t.Error("others wait for an answer")
		}
		time.Sleep(5 * time.Minute)
		w.says("@carol:x", "!1", "!help")
		if got := len(w.matrix.said()); got < n+2 {
			t.Error("there is no answer after a while either")
		}
		list, err := w.g.Commands(w.t.Context(), 1000)
		if err != nil || list[len(list)-1].Sender != "@alice:x" {
			t.Errorf("what was done is forgotten: %+v, %v", list, err)
		}
	})
}

func TestTheLimiterForgetsPeople(t *testing.T) {
	l := newLimiter()
	for i := range 3 * maxAsking {
		l.allow(ids.UserID(fmt.Sprint(i)), noon)
	}
	if len(l.by) > maxAsking {
		t.Errorf("%d people are remembered", len(l.by))
	}
	if ok, _ := l.allow("@new:x", noon.Add(time.Hour)); !ok || len(l.by) != 1 {
		t.Errorf("after an hour %v, and %d people are remembered", ok, len(l.by))
	}
}

func TestRefusalsDoNotFillTheHistory(t *testing.T) {
	inWorld(t, []RuleSpec{door}, func(w *world) {
		for range 2 * maxRefused {
			w.says("@bob:x", "!1", "!nonsense")
			time.Sleep(answerEvery)
		}
		list, err := w.g.Commands(w.t.Context(), 10_000)
		if err != nil || len(list) != maxRefused {
			t.Errorf("%d refusals are kept, %v", len(list), err)
		}
		w.restart([]RuleSpec{door})
		w.says("@bob:x", "!1", "!nonsense")
		if list, _ = w.g.Commands(w.t.Context(), 10_000); len(list) != maxRefused {
			t.Errorf("%d refusals are kept after a restart", len(list))
		}
	})
}

func TestAReplyThatIsNoCommandIsLeftAlone(t *testing.T) {
	inWorld(t, []RuleSpec{door}, func(w *world) {
		w.publish("door/event", "open")
		e := w.matrix.eventOf("event: open")
		for _, body := range []string{"thanks!", "help", "ok"} {
			w.event(room.Event{Type: "m.room.message", Sender: "@bob:x", Room: "!1", Content: fmt.Appendf(nil, `{"msgtype":"m.text","body":%q,"m.relates_to":{"m.in_reply_to":{"event_id":%q}}}`, body, e)})
		}
		w.want(0, "!1 @gatepost_door:x text event: open")
	})
}

func TestALongMessageQuotedInAReplyDoesNotHideTheCommand(t *testing.T) {
	inWorld(t, []RuleSpec{door}, func(w *world) {
		w.publish("door/event", "open")
		e := w.matrix.eventOf("event: open")
		body := "> <@gatepost_door:x> " + strings.Repeat("long ", 2000) + "\n\nstatus"
		w.event(room.Event{Type: "m.room.message", Sender: "@bob:x", Room: "!1", Content: fmt.Appendf(nil, `{"msgtype":"m.text","body":%q,"m.relates_to":{"m.in_reply_to":{"event_id":%q}}}`, body, e)})
		if got := w.devices.list(); len(got) != 1 {
			t.Errorf("published %q", got)
		}
		w.says("@bob:x", "!1", "!unlock "+strings.Repeat("x", 10_000))
		if got := w.matrix.said(); !strings.Contains(got[len(got)-1], "too long") {
			t.Errorf("said %q", got[len(got)-1])
		}
	})
}

func TestADeviceHearsItsCommandsInOrderAlsoAfterAnOutage(t *testing.T) {
	rule := RuleSpec{Topic: "l/{device}", Class: lane.Event, Commands: []CommandSpec{{Name: "say", Topic: "l/{device}/set", Payload: "{{ args }}", Expires: 10 * time.Minute}}}
	inWorld(t, []RuleSpec{rule}, func(w *world) {
		w.publish("l/a", "hello")
		w.devices.set(errAway)
		w.says("@alice:x", "!1", "!say 1")
		w.says("@alice:x", "!1", "!say 2")
		time.Sleep(2500 * time.Millisecond)
		w.devices.set(nil)
		w.says("@alice:x", "!1", "!say 3") // the broker is back, but 1 and 2 have not been tried again yet
		time.Sleep(10 * time.Second)
		w.devices.set(errAway)
		for i := range 5 {
			w.says("@alice:x", "!1", fmt.Sprintf("!say %d", 4+i))
		}
		w.die()
		w.devices.set(nil)
		w.start([]RuleSpec{rule})
		time.Sleep(20 * time.Second)
		synctest.Wait()
		var want []string
		for i := range 8 {
			want = append(want, fmt.Sprintf("l/a/set %d 0 false", i+1))
		}
		if got := w.devices.list(); !slices.Equal(got, want) {
			t.Errorf("the device heard %q", got)
		}
		if n := len(w.g.publisher.waiting); n != 0 {
			t.Errorf("%d devices are still waited for", n)
		}
	})
}

func TestNothingIsRepeatedAfterItsTime(t *testing.T) {
	rule := RuleSpec{Topic: "l/{device}", Class: lane.Event, Commands: []CommandSpec{{Name: "on", Topic: "l/{device}/set", Payload: "ON", Repeat: true}}}
	for _, away := range []time.Duration{5 * time.Second, time.Hour} {
		inWorld(t, []RuleSpec{rule}, func(w *world) {
			w.publish("l/a", "hello")
			w.devices.on = func(string, string) { w.store.set(fmt.Errorf("dead")) }
			w.says("@alice:x", "!1", "!on")
			w.die()
			w.devices.on = nil
			time.Sleep(away)
			w.start([]RuleSpec{rule})
			want, state := 2, Published
			if away > time.Minute {
				want, state = 1, Unknown
			}
			if got := w.devices.list(); len(got) != want {
				t.Errorf("after %v: published %q", away, got)
			}
			if list, _ := w.g.Commands(w.t.Context(), 1); list[0].State != state {
				t.Errorf("after %v the command is %s", away, list[0].State)
			}
		})
	}
}

// A command that may be repeated, of which nobody knows whether it went out, is not left open when its time is over.
func TestNoCommandStaysOpenForEver(t *testing.T) {
	rule := RuleSpec{Topic: "l/{device}", Class: lane.Event, Commands: []CommandSpec{{Name: "on", Topic: "l/{device}/set", Payload: "ON", Repeat: true}}}
	inWorld(t, []RuleSpec{rule}, func(w *world) {
		w.publish("l/a", "hello")
		w.devices.set(fmt.Errorf("cut"))
		w.says("@alice:x", "!1", "!on")
		time.Sleep(time.Hour)
		synctest.Wait()
		if list, _ := w.g.Commands(w.t.Context(), 1); list[0].State != Unknown {
			t.Errorf("after an hour the command is %s", list[0].State)
		}
		if len(w.g.commands.open)+len(w.g.commands.byEvent) != 0 {
			t.Error("it is still open")
		}
	})
}

func TestACommandThatTheConfigurationForgotIsNotPublished(t *testing.T) {
	inWorld(t, []RuleSpec{door}, func(w *world) {
		w.devices.set(errAway)
		w.says("@alice:x", "!1", "!unlock")
		bare := door
		bare.Commands = nil
		if err := w.g.Reload(w.t.Context(), mustRules(t, []RuleSpec{bare}), People{}, nil); err != nil {
			t.Fatal(err)
		}
		w.devices.set(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := w.devices.list(); len(got) != 0 {
			t.Errorf("published %q", got)
		}
		if list, _ := w.g.Commands(w.t.Context(), 1); list[0].State != Failed {
			t.Errorf("the command is %s", list[0].State)
		}
	})
}

func TestCommandsOfTheCommandLine(t *testing.T) {
	inWorld(t, []RuleSpec{door}, func(w *world) {
		id, err := w.g.Command(w.t.Context(), "door", "unlock", "")
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(w.g.commands.byEvent) != 0 {
			t.Error("a command without an event is known by one")
		}
		w.react("@alice:x", "")
		w.event(room.Event{Type: "m.room.redaction", Sender: "@gatepost:x", Room: "!1"})
		if _, err := w.g.Command(w.t.Context(), "door", "unlock", strings.Repeat("x", 10_000)); err == nil {
			t.Error("ten thousand bytes are taken")
		}
		time.Sleep(time.Minute)
		c, ok, err := w.g.CommandOf(w.t.Context(), id)
		if err != nil || !ok || c.State != Failed {
			t.Errorf("%+v, %v, %v", c, ok, err)
		}
		w.want(0)
	})
}
