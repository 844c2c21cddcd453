package gateway

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func testCommand(change func(*Command)) *Command {
	c := &Command{ID: "1", Event: "$e", Room: "device/door", Device: "door", Name: "unlock", Topic: "door/set", Payload: "UNLOCK", Grade: Operate, Patience: 30 * time.Second, Confirm: &Answer{Topic: "door/state", Payload: "UNLOCKED"}}
	if change != nil {
		change(c)
	}
	return c
}

// told is the state after an event and the effects, as text.
func told(c *Command, effects []any) string {
	out := []string{string(c.State)}
	for _, e := range effects {
		switch e := e.(type) {
		case publish:
			out = append(out, "publish")
		case show:
			out = append(out, "show "+string(e.state))
		case reply:
			out = append(out, "reply")
		default:
			out = append(out, fmt.Sprintf("%T", e))
		}
	}
	return strings.Join(out, ", ")
}

func TestCommandSteps(t *testing.T) {
	type step struct {
		after time.Duration
		event any
		want  string
	}
	for _, c := range []struct {
		name   string
		change func(*Command)
		steps  []step
	}{
		{"confirmed by the device", nil, []step{
			{0, allowed{}, "received, publish"},
			{0, sent{}, "published, show published"},
			{time.Second, answered{}, "confirmed, show confirmed"},
			{time.Second, answered{}, "confirmed"},
			{time.Hour, ticked{}, "confirmed"},
		}},
		{"the answer overtakes the broker's", nil, []step{
			{0, allowed{}, "received, publish"},
			{0, answered{}, "confirmed, show confirmed"},
			{0, sent{}, "confirmed"},
		}},
		{"no answer", nil, []step{
			{0, allowed{}, "received, publish"},
			{0, sent{}, "published, show published"},
			{29 * time.Second, ticked{}, "published"},
			{time.Second, ticked{}, "failed, show failed, reply"},
			{0, answered{}, "failed"},
		}},
		{"not asked to answer", func(c *Command) { c.Confirm = nil }, []step{
			{0, allowed{}, "received, publish"},
			{0, sent{}, "published, show published"},
			{time.Hour, ticked{}, "published"},
		}},
		{"a crash while publishing", nil, []step{
			{0, allowed{}, "received, publish"},
			{0, restarted{}, "unknown, show unknown, reply"},
			{0, answered{}, "unknown"},
		}},
		{"a crash while publishing what may be repeated", func(c *Command) { c.Repeat = true }, []step{
			{0, allowed{}, "received, publish"},
			{0, restarted{}, "received, publish"},
		}},
		{"nobody knows whether it went out", nil, []step{
			{0, allowed{}, "received, publish"},
			{0, unsure{"cut"}, "unknown, show unknown, reply"},
		}},
		{"nobody knows, and it may be repeated until its time is over", func(c *Command) { c.Repeat = true }, []step{
			{0, allowed{}, "received, publish"},
			{0, unsure{"cut"}, "received, publish"},
			{31 * time.Second, unsure{"cut"}, "unknown, show unknown, reply"},
		}},
		{"the broker is away for good", nil, []step{
			{0, allowed{}, "received, publish"},
			{0, notSent{"away"}, "queued, show queued, publish"},
			{29 * time.Second, ticked{}, "queued"},
			{time.Second, ticked{}, "expired, show expired, reply"},
		}},
		{"a crash while the broker is away", nil, []step{
			{0, allowed{}, "received, publish"},
			{0, notSent{"away"}, "queued, show queued, publish"},
			{0, restarted{}, "queued, publish"},
		}},
		{"a crash while the broker is away, and too long a rest", nil, []step{
			{0, allowed{}, "received, publish"},
			{0, notSent{"away"}, "queued, show queued, publish"},
			{31 * time.Second, restarted{}, "expired, show expired, reply"},
		}},
		{"after a crash the clock shows a time before", func(c *Command) { c.Repeat = true }, []step{
			{0, allowed{}, "received, publish"},
			{-time.Hour, restarted{}, "unknown, show unknown, reply"},
		}},
		{"no time is left for another try", func(c *Command) { c.Repeat = true }, []step{
			{0, allowed{}, "received, publish"},
			{29 * time.Second, unsure{"cut"}, "received, publish"},
			{time.Second, overdue{}, "unknown, show unknown, reply"},
			{0, overdue{}, "unknown"},
		}},
		{"refused at the second look", func(c *Command) { c.Grade = Dangerous }, []step{
			{0, allowed{}, "waiting, reply"},
			{0, refused{"you have left"}, "refused, reply"},
			{0, looked{}, "refused"},
		}},
		{"forgotten while it waits", nil, []step{
			{0, allowed{}, "received, publish"},
			{0, forgotten{}, "received"},
			{0, notSent{"away"}, "queued, show queued, publish"},
			{0, forgotten{}, "failed, show failed, reply"},
		}},
		{"dangerous", func(c *Command) { c.Grade = Dangerous }, []step{
			{0, allowed{}, "waiting, reply"},
			{59 * time.Second, ticked{}, "waiting"},
			{0, looked{}, "received, publish"},
			{0, looked{}, "received"},
			{0, sent{}, "published, show published"},
		}},
		{"dangerous, and nobody looks", func(c *Command) { c.Grade = Dangerous }, []step{
			{0, allowed{}, "waiting, reply"},
			{60 * time.Second, ticked{}, "expired, show expired, reply"},
			{0, looked{}, "expired"},
		}},
		{"withdrawn in time", func(c *Command) { c.Grade = Dangerous }, []step{
			{0, allowed{}, "waiting, reply"},
			{0, withdrawn{}, "withdrawn, show withdrawn"},
			{0, looked{}, "withdrawn"},
		}},
		{"withdrawn too late", nil, []step{
			{0, allowed{}, "received, publish"},
			{0, withdrawn{}, "received"},
		}},
		{"asked for too long ago", nil, []step{{0, late{"old"}, "expired, show expired, reply"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			k, now := testCommand(c.change), noon
			for i, s := range c.steps {
				now = now.Add(s.after)
				if got := told(k, k.step(now, s.event)); got != s.want {
					t.Fatalf("step %d, %T: got %q, want %q", i, s.event, got, s.want)
				}
			}
		})
	}
}

func TestRetryIsStoredBeforeItIsPublished(t *testing.T) {
	k := testCommand(nil)
	k.step(noon, allowed{})
	k.step(noon, notSent{"away"})
	if !k.retry(noon.Add(time.Second)) || k.State != Received {
		t.Fatalf("a queued command is %s when it is tried again", k.State)
	}
	if got := told(k, k.step(noon.Add(2*time.Second), notSent{"away"})); got != "queued, publish" {
		t.Errorf("the second failure: %q; it is shown once", got)
	}
	if k.retry(noon.Add(31 * time.Second)) {
		t.Error("tried again after its time")
	}
}

// Whatever happens, a command that is not repeated is published at most once after it may have gone out, an ended one
// stays as it is, and time ends all.
func TestCommandModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := testCommand(func(c *Command) {
			c.Grade = rapid.SampledFrom([]Grade{Read, Operate, Dangerous}).Draw(t, "grade")
			c.Repeat = rapid.Bool().Draw(t, "repeat")
			if rapid.Bool().Draw(t, "plain") {
				c.Confirm = nil
			}
		})
		now := noon
		k.step(now, allowed{})
		uncertain := false
		for range rapid.IntRange(0, 30).Draw(t, "n") {
			ev := rapid.SampledFrom([]any{looked{}, sent{}, notSent{"x"}, unsure{"x"}, answered{}, ticked{}, restarted{}, withdrawn{}, forgotten{}, overdue{}, refused{"x"}}).Draw(t, "event")
			now = now.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "s")) * time.Second)
			before, ended := k.State, k.Ended()
			switch ev.(type) {
			case unsure, restarted:
				uncertain = uncertain || before == Received
			}
			effects := k.step(now, ev)
			if ended && k.State != before {
				t.Fatalf("%T moved an ended command from %s to %s", ev, before, k.State)
			}
			for _, e := range effects {
				if _, ok := e.(publish); ok && uncertain && !k.Repeat {
					t.Fatalf("%T publishes again what may have gone out", ev)
				}
			}
			if k.State == Queued && rapid.Bool().Draw(t, "retry") {
				k.retry(now)
			}
		}
		if k.State == Received {
			k.step(now, unsure{"end"})
		}
		now = now.Add(2 * time.Minute)
		k.step(now, ticked{})
		if k.State == Received {
			k.step(now, unsure{"end"})
		}
		if !k.Ended() {
			t.Fatalf("still %s after all", k.State)
		}
	})
}
