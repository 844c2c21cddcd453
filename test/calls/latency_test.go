//go:build linux && interop

package calls

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
)

// tap hears when gatepost tells the door what of which call.
type tap struct {
	mu    sync.Mutex
	heard map[string]time.Time // by type and call
}

func (w *world) tap() *tap {
	w.t.Helper()
	p := &tap{heard: map[string]time.Time{}}
	c, err := device.New(device.Config{Addr: w.broker, ClientID: "tap", Subscribe: []string{"porch/call/in"}, OnMessage: func(m device.Message) {
		var s struct {
			Type string `json:"type"`
			Call string `json:"call_id"`
		}
		if json.Unmarshal(m.Payload, &s) != nil {
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.heard[s.Type+" "+s.Call] = time.Now()
	}})
	must(w.t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = c.Run(w.t.Context()) // Online says when it can't
	}()
	w.t.Cleanup(func() { <-done })
	must(w.t, c.Online(w.ctx))
	return p
}

func (p *tap) at(kind, call string) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.heard[kind+" "+call]
}

// How long gatepost takes to pass on an invitation, from when the homeserver has it until the device hears it; and an answer,
// from when the device is about to publish it until the homeserver has it. The homeserver's way to gatepost is in the first.
func TestLatency(t *testing.T) {
	const calls = 20
	w := newWorld(t, "at-once")
	tap := w.tap()
	witness, err := harness.Login(w.ctx, w.hs, "alice", "secret of alice")
	must(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = witness.Run(t.Context()) // Await says what it missed
	}()
	t.Cleanup(func() { <-done })
	l := &line{alice: w.phone(newBrowser(t), "alice"), door: w.door}
	l.room = w.chat(l.alice)
	sent := func(kind, call string) (at time.Time) {
		must(t, witness.Await(w.ctx, kind, func(rooms map[string]*harness.Room) bool {
			r := rooms[l.room]
			if r == nil {
				return false
			}
			for _, e := range r.Events {
				if e.Type == kind && strings.Contains(string(e.Raw), call) {
					at = e.Sent()
					return true
				}
			}
			return false
		}))
		return at
	}
	var invites, answers []time.Duration
	for range calls {
		l.begin(t)
		id := l.place(false)
		l.alice.sees("the call connected", func(s seen) bool { return s.State == "connected" })
		invites = append(invites, tap.at("invite", id).Sub(sent("m.call.invite", id)))
		answer := l.door.says(l.from, "that it answers", func(d word) bool { return d.Sends == "answer" })
		answers = append(answers, sent("m.call.answer", id).Sub(answer.At))
		l.hangup()
	}
	figures(t, "signalling: the homeserver has the invite -> the device is told", invites)
	figures(t, "signalling: the device answers -> the homeserver has the answer", answers)
}

// figures prints the median and the longest.
func figures(t *testing.T, what string, took []time.Duration) {
	t.Helper()
	slices.Sort(took)
	harness.Note(t, fmt.Sprintf("%s, median of %d", what, len(took)), took[len(took)/2].Milliseconds(), "ms")
	harness.Note(t, fmt.Sprintf("%s, longest of %d", what, len(took)), took[len(took)-1].Milliseconds(), "ms")
}
