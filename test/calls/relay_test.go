//go:build linux && interop

package calls

import (
	"encoding/json"
	"testing"
)

// useRelay lets alice's client use gatepost's relay; with force it uses nothing else.
func useRelay(t *testing.T, w *world, alice *phone, force bool) {
	t.Helper()
	r, err := w.gate.Do(w.ctx, "turn", "credentials", "--user", w.user("alice"), "--json")
	must(t, err)
	var turn struct {
		URIs               []string
		Username, Password string
	}
	if json.Unmarshal([]byte(r.Stdout), &turn) != nil || turn.Password == "" {
		t.Fatalf("turn credentials: %d: %s", r.Code, r.Stderr)
	}
	alice.do("relay", map[string]any{"urls": turn.URIs, "username": turn.Username, "credential": turn.Password, "force": force}, nil)
}

// The person's client uses nothing but gatepost's relay; the device has a credential of its own for the call.
func TestRelayOnly(t *testing.T) {
	w := newWorld(t, "at-once")
	l := &line{alice: w.phone(newBrowser(t), "alice"), door: w.door}
	l.room = w.chat(l.alice)
	useRelay(t, w, l.alice, true)
	scenarios(t, []scenario{
		{"call out, relay only", func(t *testing.T) {
			l.call(t, false)
			if s := l.alice.report(); s.Local != "relay" {
				t.Errorf("the person's candidate is of the type %q", s.Local)
			}
			l.hangup()
		}},
		{"call in, relay only", func(t *testing.T) {
			l.ring(t)
			l.alice.do("answer", map[string]any{"video": false}, nil)
			talking(l.alice, l.door, l.from)
			if s := l.alice.report(); s.Local != "relay" {
				t.Errorf("the person's candidate is of the type %q", s.Local)
			}
			l.hangup()
		}},
	})
}
