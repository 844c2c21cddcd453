//go:build linux && interop

package calls

import (
	"testing"

	"github.com/gatepost/gatepost/test/harness"
)

// runs is how often each scenario is played: once on Synapse, whose part is small.
var runs = map[bool]int{false: 5, true: 1}[onSynapse()]

// The tones of the two microphones, in Hz. What is heard may be one step of the analysis off.
const (
	doorTone   = 1000
	personTone = 700
)

func near(hertz, want int) bool { return hertz > want-20 && hertz < want+20 }

// talking waits until both hear each other.
func talking(p *phone, d *intercom, from int) {
	p.t.Helper()
	p.sees("the call connected, with the door's tone", func(s seen) bool { return s.State == "connected" && near(s.Hertz, doorTone) })
	d.says(from, "that it hears the person's tone", func(w word) bool { return w.Heard != nil && near(w.Heard.Hertz, personTone) })
}

// over waits until both know that the call is.
func over(p *phone, d *intercom, from int) {
	p.t.Helper()
	p.sees("the end", func(s seen) bool { return s.State == "ended" })
	d.says(from, "that the call is over", func(w word) bool { return w.Over != "" })
}

// scenarios plays each of them several times between the same two, and prints how many went well.
func scenarios(t *testing.T, list []scenario) { between(t, "aiortc as the device", list) }

// between does the same with another peer of the person's client.
func between(t *testing.T, peer string, list []scenario) {
	t.Helper()
	if onSynapse() {
		peer += ", on Synapse"
	}
	for _, s := range list {
		good, played := 0, false
		for range runs {
			if !t.Run(s.name, func(t *testing.T) {
				played = true
				s.play(t)
			}) {
				break
			}
			good++
		}
		if !played {
			continue // not asked for
		}
		harness.Equal(t, "js-sdk in Chromium, "+peer+": "+s.name, good, runs, "runs")
	}
}

type scenario struct {
	name string
	play func(t *testing.T)
}

// line is alice's client, the door, and the chat of the two.
type line struct {
	alice *phone
	door  *intercom
	room  string
	from  int // where what the door says about the present scenario begins
}

// begin makes t answer for what fails.
func (l *line) begin(t *testing.T) {
	l.alice.t, l.door.t = t, t
	l.from = l.door.mark()
}

// call is a call of alice's that both take part in.
func (l *line) call(t *testing.T, video bool) {
	t.Helper()
	l.begin(t)
	l.place(video)
	talking(l.alice, l.door, l.from)
}

func (l *line) place(video bool) string {
	l.alice.t.Helper()
	var placed struct{ Call string }
	l.alice.do("place", map[string]any{"room": l.room, "video": video}, &placed)
	return placed.Call
}

// ring is a call of the door's that rings at alice's.
func (l *line) ring(t *testing.T) {
	t.Helper()
	l.begin(t)
	before := l.alice.report().Incoming
	l.door.do("ring")
	l.alice.rings(before + 1)
}

// rings waits for the n-th call that comes in.
func (p *phone) rings(n int) {
	p.t.Helper()
	p.sees("the door ring", func(s seen) bool { return s.Incoming == n && s.State == "ringing" })
}

// hangup ends the call from alice's side.
func (l *line) hangup() {
	l.alice.t.Helper()
	l.alice.do("hangup", nil, nil)
	over(l.alice, l.door, l.from)
}

// The person's client is matrix-js-sdk, the device answers at once.
func TestCalls(t *testing.T) {
	w := newWorld(t, "at-once")
	l := &line{alice: w.phone(newBrowser(t), "alice"), door: w.door}
	l.room = w.chat(l.alice)
	scenarios(t, []scenario{
		{"call out, hang up", func(t *testing.T) {
			l.call(t, false)
			l.hangup()
		}},
		{"call out, the device hangs up", func(t *testing.T) {
			l.call(t, false)
			l.door.do("hangup")
			over(l.alice, l.door, l.from)
		}},
		{"call in", func(t *testing.T) {
			l.ring(t)
			l.alice.do("answer", map[string]any{"video": false}, nil)
			talking(l.alice, l.door, l.from)
			l.hangup()
		}},
		{"call in, rejected", func(t *testing.T) {
			l.ring(t)
			l.alice.do("reject", nil, nil)
			over(l.alice, l.door, l.from)
		}},
		{"video both ways", func(t *testing.T) {
			l.call(t, true)
			l.alice.sees("the door's picture: green and magenta", func(s seen) bool {
				return len(s.Colours) == 2 && green(s.Colours[0]) && magenta(s.Colours[1])
			})
			l.door.says(l.from, "that it sees blue", func(d word) bool { return d.Seen != nil && blue(d.Seen.Colour) })
			l.hangup()
		}},
		{"hold and unhold", func(t *testing.T) {
			l.call(t, false)
			l.alice.do("hold", map[string]any{"on": true}, nil)
			l.door.says(l.from, "that it is held", func(d word) bool { return d.Held != nil && *d.Held })
			l.alice.sees("silence", func(s seen) bool { return s.Held && s.Hertz == 0 && s.State == "connected" })
			from := l.door.mark()
			l.alice.do("hold", map[string]any{"on": false}, nil)
			l.door.says(from, "that it is not held", func(d word) bool { return d.Held != nil && !*d.Held })
			talking(l.alice, l.door, from)
			l.hangup()
		}},
		{"mute", func(t *testing.T) {
			l.call(t, false)
			l.alice.do("mute", map[string]any{"on": true}, nil)
			l.door.says(l.from, "that the person is muted", func(d word) bool { return d.Muted != nil && d.Muted.Audio })
			l.door.says(l.door.mark(), "that it hears nothing", func(d word) bool { return d.Heard != nil && d.Heard.Loudness < 0.001 })
			l.alice.do("mute", map[string]any{"on": false}, nil)
			talking(l.alice, l.door, l.door.mark())
			l.hangup()
		}},
		{"ICE restart", func(t *testing.T) {
			l.call(t, false)
			before := l.alice.report().Ufrag
			l.alice.do("restart", nil, nil)
			l.alice.sees("other credentials of the device's", func(s seen) bool { return s.Ufrag != "" && s.Ufrag != before })
			talking(l.alice, l.door, l.door.mark())
			l.hangup()
		}},
		{"glare", func(t *testing.T) {
			l.begin(t)
			l.door.do("ring")
			id := l.place(false)
			// Whichever came first, the person's call is the one that is left.
			s := l.alice.sees("its own call connected", func(s seen) bool { return s.State == "connected" && near(s.Hertz, doorTone) })
			if s.Call != id {
				t.Errorf("the call %s is connected, not the person's %s", s.Call, id)
			}
			l.hangup()
		}},
	})
}

func green(c [3]int) bool   { return c[1] > c[0]+60 && c[1] > c[2]+60 }
func magenta(c [3]int) bool { return c[0] > c[1]+60 && c[2] > c[1]+60 }
func blue(c [3]int) bool    { return c[2] > c[0]+60 && c[2] > c[1]+60 }

// The device answers when somebody there says so.
func TestUnanswered(t *testing.T) {
	w := newWorld(t, "by-hand")
	b := newBrowser(t)
	l := &line{alice: w.phone(b, "alice"), door: w.door}
	l.room = w.chat(l.alice)
	rung := func(t *testing.T) {
		t.Helper()
		l.begin(t)
		id := l.place(false)
		l.door.says(l.from, "that somebody calls", func(d word) bool { return d.Call == id && d.Person == w.user("alice") })
	}
	second := w.phone(b, "alice")
	scenarios(t, []scenario{
		{"call out, answered by hand", func(t *testing.T) {
			rung(t)
			l.door.do("answer")
			talking(l.alice, l.door, l.from)
			l.hangup()
		}},
		{"call out, rejected by the device", func(t *testing.T) {
			rung(t)
			l.door.do("reject")
			over(l.alice, l.door, l.from)
		}},
		{"call out, given up before the answer", func(t *testing.T) {
			rung(t)
			l.hangup()
		}},
		{"call in, unanswered", func(t *testing.T) {
			l.ring(t)
			l.alice.sees("the end", func(s seen) bool { return s.State == "ended" })
			l.door.says(l.from, "that nobody answered", func(d word) bool { return d.Over == "invite_timeout" })
		}},
		{"busy", func(t *testing.T) {
			rung(t)
			second.t = t
			second.do("place", map[string]any{"room": l.room, "video": false}, nil)
			if s := second.sees("the end of the other call", func(s seen) bool { return s.State == "ended" }); s.Reason != "user_busy" {
				t.Errorf("the reason is %q", s.Reason)
			}
			l.door.do("answer")
			talking(l.alice, l.door, l.from)
			l.hangup()
		}},
		{"answered elsewhere", func(t *testing.T) {
			second.t = t
			before := second.report().Incoming
			l.ring(t)
			second.rings(before + 1)
			second.do("answer", map[string]any{"video": false}, nil)
			talking(second, l.door, l.from)
			l.alice.sees("that it was answered elsewhere", func(s seen) bool { return s.State == "ended" })
			second.do("hangup", nil, nil)
			over(second, l.door, l.from)
		}},
	})
}
