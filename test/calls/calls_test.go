//go:build linux && interop

package calls

import (
	"testing"

	"github.com/gatepost/gatepost/test/harness"
)

// runs is how often each scenario is played.
const runs = 5

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
func scenarios(t *testing.T, list []scenario) {
	for _, s := range list {
		good := 0
		for range runs {
			if !t.Run(s.name, s.play) {
				break
			}
			good++
		}
		harness.Equal(t, "js-sdk in Chromium, aiortc as the device: "+s.name, good, runs, "runs")
	}
}

type scenario struct {
	name string
	play func(t *testing.T)
}

// The person's client is matrix-js-sdk, the device answers at once.
func TestCalls(t *testing.T) {
	w := newWorld(t, "at-once")
	b := newBrowser(t)
	alice, d := w.phone(b, "alice"), w.door
	room := w.chat(alice)
	call := func(t *testing.T, video bool) (from int) {
		t.Helper()
		alice.t, d.t = t, t
		from = d.mark()
		alice.do("place", map[string]any{"room": room, "video": video}, nil)
		talking(alice, d, from)
		return from
	}
	scenarios(t, []scenario{
		{"call out, hang up", func(t *testing.T) {
			from := call(t, false)
			alice.do("hangup", nil, nil)
			over(alice, d, from)
		}},
		{"call out, the device hangs up", func(t *testing.T) {
			from := call(t, false)
			d.do("hangup")
			over(alice, d, from)
		}},
		{"call in", func(t *testing.T) {
			alice.t, d.t = t, t
			from, before := d.mark(), alice.report().Incoming
			d.do("ring")
			alice.sees("the door ring", func(s seen) bool { return s.Incoming == before+1 && s.State == "ringing" })
			alice.do("answer", map[string]any{"video": false}, nil)
			talking(alice, d, from)
			alice.do("hangup", nil, nil)
			over(alice, d, from)
		}},
		{"call in, rejected", func(t *testing.T) {
			alice.t, d.t = t, t
			from, before := d.mark(), alice.report().Incoming
			d.do("ring")
			alice.sees("the door ring", func(s seen) bool { return s.Incoming == before+1 && s.State == "ringing" })
			alice.do("reject", nil, nil)
			over(alice, d, from)
		}},
	})
}
