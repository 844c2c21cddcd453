package gateway

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/mqtt/topic"
)

var furnace = RuleSpec{
	Topic: "f/{device}/{reading}", Class: lane.State,
	Alarms: []AlarmSpec{{When: "{{ value > 60 }}", Text: "hot: {{ value }}", Clear: "{{ value < 55 }}"}},
}

// alarms are the alarms that were posted, and that they are over, in order.
func (w *world) alarms() (out []string) {
	w.matrix.mu.Lock()
	defer w.matrix.mu.Unlock()
	for _, p := range w.matrix.posts {
		if p.Post.Values["raised"] == "" || p.Key == cardKey {
			continue
		}
		if raised := p.Post.Values["raised"] == "true"; raised != (p.Class == lane.Alarm) || raised != slices.Equal(p.Post.Mentions, []ids.UserID{"@alice:x", "@bob:x"}) {
			w.t.Errorf("%+v", p)
		}
		out = append(out, p.Post.Text)
	}
	return out
}

func (w *world) wantAlarms(want ...string) {
	w.t.Helper()
	time.Sleep(time.Second)
	synctest.Wait()
	if got := w.alarms(); !slices.Equal(got, want) {
		w.t.Errorf("posted %q, want %q", got, want)
	}
}

func TestAnAlarmIsRaisedOnceAndEndsAlsoAfterARestart(t *testing.T) {
	inWorld(t, []RuleSpec{furnace}, func(w *world) {
		w.publish("f/a/temperature", "59")
		w.wantAlarms()
		w.publish("f/a/temperature", "61.5")
		w.publish("f/a/temperature", "70")
		w.publish("f/a/humidity", "40") // another reading
		w.publish("f/b/temperature", "20")
		w.publish("f/a/temperature", "58")
		w.wantAlarms("⚠ hot: 61.5")
		list, err := w.g.Alarms(w.t.Context())
		if err != nil || len(list) != 1 || list[0].Device != "a" || list[0].Text != "hot: 61.5" {
			t.Errorf("raised: %+v %v", list, err)
		}
		w.restart([]RuleSpec{furnace})
		w.publish("f/a/temperature", "80")
		w.wantAlarms("⚠ hot: 61.5")
		w.publish("f/a/temperature", "54")
		w.wantAlarms("⚠ hot: 61.5", "Over: hot: 61.5")
		w.publish("f/a/temperature", "100")
		w.wantAlarms("⚠ hot: 61.5", "Over: hot: 61.5", "⚠ hot: 100")
	})
}

func TestWhatAConditionMayBe(t *testing.T) {
	for _, tc := range []struct{ when, payload, want string }{
		{"{{ value == 'open' }}", "open", "⚠ it"},
		{"{{ value }}", "ON", "⚠ it"},
		{"{{ value }}", "0", ""},
		{"{{ value }}", "2", "⚠ it"},
		{"{{ value }}", "nan", ""},
		{"{{ value_json.level < 10 }}", `{"level":5}`, "⚠ it"},
		{"{{ value_json.level < 10 }}", `{"level":50}`, ""},
		{"{% if value > 3 %}yes{% endif %}", "4", "⚠ it"},
		{"{{ value > 60 }}", "warm", ""}, // an error raises nothing
	} {
		t.Run(tc.when+" "+tc.payload, func(t *testing.T) {
			inWorld(t, []RuleSpec{{Topic: "s/{device}", Alarms: []AlarmSpec{{When: tc.when, Text: "it"}}}}, func(w *world) {
				w.publish("s/a", tc.payload)
				if tc.want == "" {
					w.wantAlarms()
				} else {
					w.wantAlarms(tc.want)
				}
			})
		})
	}
	_, err := Compile(RuleSpec{Topic: "s/{device}", Silence: -1, Alarms: []AlarmSpec{{When: "value > 3", Text: "{{"}}})
	for _, want := range []string{"alarms[0].when: is no condition", "alarms[0].text: ", "silence: "} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}

// Without clear the alarm ends when its condition does, and a text that gives an error is shown all the same.
func TestAnAlarmWithoutClear(t *testing.T) {
	inWorld(t, []RuleSpec{{Topic: "s/{device}", Alarms: []AlarmSpec{{When: "{{ value > 1 }}", Text: "bad {{ 1 / 0 }}"}}}}, func(w *world) {
		w.publish("s/a", "2")
		w.publish("s/a", "1")
		time.Sleep(time.Second)
		synctest.Wait()
		if got := w.alarms(); len(got) != 2 || !strings.HasPrefix(got[0], "⚠ bad {{ 1 / 0 }} (the alarm's text: ") || !strings.HasPrefix(got[1], "Over: bad") {
			t.Errorf("posted %q", got)
		}
	})
}

// What a broker kept is how things are: told if it is news (class state), else only known.
func TestAlarmsOfRetainedMessages(t *testing.T) {
	event := furnace
	event.Class = lane.Event
	for _, tc := range []struct {
		rule RuleSpec
		want []string
	}{{event, nil}, {furnace, []string{"⚠ hot: 70"}}} {
		inWorld(t, []RuleSpec{tc.rule}, func(w *world) {
			w.send(topic.Message{Topic: "f/a/temperature", Payload: []byte("70"), Retained: true, Time: time.Now()})
			w.wantAlarms(tc.want...)
			if list, _ := w.g.Alarms(w.t.Context()); len(list) != 1 {
				t.Errorf("raised: %+v", list)
			}
		})
	}
}

func TestAnAlarmThatIsNotWatchedAnyMoreEnds(t *testing.T) {
	inWorld(t, []RuleSpec{furnace}, func(w *world) {
		w.publish("f/a/temperature", "61")
		w.wantAlarms("⚠ hot: 61")
		without := furnace
		without.Alarms = nil
		if err := w.g.Reload(w.t.Context(), mustRules(t, []RuleSpec{without}), People{}, nil); err != nil {
			t.Fatal(err)
		}
		w.wantAlarms("⚠ hot: 61", "Over: hot: 61 (it is not watched any more)")
	})
}

func TestADeviceHasABoundedNumberOfAlarms(t *testing.T) {
	inWorld(t, []RuleSpec{furnace}, func(w *world) {
		for i := range maxAlarms + 10 {
			w.publish("f/a/"+strings.Repeat("x", i+1), "61")
		}
		if list, _ := w.g.Alarms(w.t.Context()); len(list) != maxAlarms {
			t.Errorf("%d alarms", len(list))
		}
	})
}

func TestSilenceIsAnAlarm(t *testing.T) {
	quiet := RuleSpec{Topic: "q/{device}/{reading}", Class: lane.State, Silence: time.Hour}
	inWorld(t, []RuleSpec{quiet}, func(w *world) {
		for range 5 {
			w.publish("q/a/x", "1")
			w.publish("q/b/x", "1")
			time.Sleep(50 * time.Minute)
		}
		w.wantAlarms()
		for range 2 {
			w.publish("q/b/x", "1")
			time.Sleep(50 * time.Minute)
		}
		w.wantAlarms("⚠ Nothing came from a for 1 hour.")
		w.restart([]RuleSpec{quiet})
		for range 5 { // raised once, and b is watched still
			w.publish("q/b/x", "1")
			time.Sleep(50 * time.Minute)
		}
		w.send(topic.Message{Topic: "q/a/x", Payload: []byte("2"), Retained: true, Time: time.Now()}) // no sign of life
		w.wantAlarms("⚠ Nothing came from a for 1 hour.")
		w.publish("q/a/y", "1")
		w.wantAlarms("⚠ Nothing came from a for 1 hour.", "Over: Nothing came from a for 1 hour.")
		time.Sleep(time.Hour)
		w.publish("q/b/x", "1")
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := w.alarms(); len(got) != 5 || !slices.Contains(got[2:], "⚠ Nothing came from a for 1 hour.") || !slices.Contains(got[2:], "⚠ Nothing came from b for 1 hour.") || got[4] != "Over: Nothing came from b for 1 hour." {
			t.Errorf("posted %q", got)
		}
	})
}

// A device that says nothing after a start is not silent before its time.
func TestTimeWithoutAGatewayIsNoSilence(t *testing.T) {
	quiet := RuleSpec{Topic: "q/{device}", Class: lane.State, Silence: time.Hour}
	inWorld(t, []RuleSpec{quiet}, func(w *world) {
		w.publish("q/a", "1")
		if err := w.stop(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Hour)
		w.start([]RuleSpec{quiet})
		time.Sleep(59 * time.Minute)
		w.wantAlarms()
		time.Sleep(2 * time.Minute)
		w.wantAlarms("⚠ Nothing came from a for 1 hour.")
	})
}

func TestAlarmsAreOnTheCard(t *testing.T) {
	finding(t, true, nil, func(w *world) {
		w.change = func(change func(*Config)) func(*Config) {
			return func(c *Config) {
				change(c)
				c.Cards.Rules = true
			}
		}(w.change)
		w.restart([]RuleSpec{furnace})
		w.publish("f/a/temperature", "61")
		carded()
		posts, _, _ := w.cards()
		if len(posts) != 1 || !strings.Contains(posts[0].Post.Text, "⚠ hot: 61") {
			t.Fatalf("cards %+v", posts)
		}
		w.publish("f/a/temperature", "50")
		time.Sleep(15 * time.Second)
		synctest.Wait()
		if posts, _, _ = w.cards(); len(posts) != 2 || strings.Contains(posts[1].Post.Text, "⚠") {
			t.Errorf("cards %+v", posts)
		}
	})
}

// What a device says of itself survives a restart, with its text.
func TestAlarmsOfDevicesAreOnTheCard(t *testing.T) {
	finding(t, true, nil, func(w *world) {
		for name, payload := range map[string]string{
			"homie/5/pump/$description": `{"homie":"5.0","version":1,"name":"Pump","nodes":{"n":{"properties":{"flow":{"datatype":"float"}}}}}`,
			"homie/5/pump/$state":       "ready",
		} {
			w.send(topic.Message{Topic: name, Payload: []byte(payload), Retained: true, Time: time.Now()})
		}
		settle()
		w.publish("homie/5/pump/$alert/dry", "It runs dry")
		carded()
		w.restart(nil)
		carded()
		list, err := w.g.Alarms(w.t.Context())
		if err != nil || len(list) != 1 || list[0].Text != "It runs dry" || list[0].Name != "Pump" {
			t.Errorf("raised: %+v %v", list, err)
		}
		posts, _, _ := w.cards()
		if len(posts) == 0 || !strings.Contains(posts[len(posts)-1].Post.Text, "⚠ It runs dry") {
			t.Errorf("cards %+v", posts)
		}
		w.publish("homie/5/pump/$alert/dry", "")
		w.wantAlarms("⚠ It runs dry", "Over: It runs dry")
	})
}
