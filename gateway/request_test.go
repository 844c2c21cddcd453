package gateway

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
)

func TestAPersonAsksByOtherMeansThanAMessage(t *testing.T) {
	for _, c := range []struct {
		name      string
		req       AskRequest
		published string
		err       error
		said      string
	}{
		{"confirmed by the device", AskRequest{Sender: "@bob:x", Name: "unlock"}, "door/set UNLOCK 0 false", nil, "“unlock”, asked for by @bob:x in a call: ✅ confirmed."},
		{"without power", AskRequest{Sender: "@carol:x", Name: "unlock"}, "", ErrRefused, "“unlock”, asked for by @carol:x in a call: 🚫 refused: “unlock” asks for power level 25; you have 0 here."},
		{"who is not there", AskRequest{Sender: "@mallory:x", Name: "unlock"}, "", ErrRefused, "“unlock”, asked for by @mallory:x in a call: 🚫 refused: You are not in this room."},
		{"one of ours", AskRequest{Sender: "@gatepost_door:x", Name: "unlock"}, "", ErrRefused, "“unlock”, asked for by @gatepost_door:x in a call: 🚫 refused: Only people ask for commands."},
		{"dangerous, said once", AskRequest{Sender: "@alice:x", Name: "open"}, "", ErrRefused, "“open”, asked for by @alice:x in a call: 🚫 refused: “open” is a dangerous command, and nobody confirmed it."},
		{"dangerous, said twice", AskRequest{Sender: "@alice:x", Name: "open", Confirmed: true}, "door/set OPEN  0 false", nil, "“open”, asked for by @alice:x in a call: 📤 sent."},
		{"dangerous, said twice without power", AskRequest{Sender: "@bob:x", Name: "open", Confirmed: true}, "", ErrRefused, "“open”, asked for by @bob:x in a call: 🚫 refused: “open” asks for power level 50; you have 25 here."},
		{"what there is not", AskRequest{Sender: "@alice:x", Name: "explode"}, "", ErrNoCommand, ""},
		{"a device that there is not", AskRequest{Device: "window", Sender: "@alice:x", Name: "unlock"}, "", ErrNoDevice, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, []RuleSpec{door}, func(w *world) {
				ended := make(chan Command, 1)
				c.req.Via, c.req.Done = "a call", func(c Command) { ended <- c }
				if c.req.Device == "" {
					c.req.Device = "door"
				}
				id, err := w.g.Ask(w.t.Context(), c.req)
				if !errors.Is(err, c.err) {
					t.Fatalf("error %v, want %v", err, c.err)
				}
				synctest.Wait()
				if c.req.Name == "unlock" && err == nil {
					w.publish("door/lock", "UNLOCKED")
				}
				var want []string
				if c.published != "" {
					want = []string{c.published}
				}
				if got := w.devices.list(); !slices.Equal(got, want) {
					t.Errorf("published %q", got)
				}
				said := w.matrix.said()
				if c.said != "" && (len(said) == 0 || said[len(said)-1] != "!1 @gatepost_door:x notice "+c.said) {
					t.Errorf("said %q", said)
				}
				select {
				case k := <-ended:
					if err != nil || k.ID != id || !k.Ended() {
						t.Errorf("ended as %+v", k)
					}
				default:
					if err == nil {
						t.Error("nobody is told how it ended")
					}
				}
			})
		})
	}
}

func TestHowARequestEndsIsToldOnce(t *testing.T) {
	inWorld(t, []RuleSpec{door}, func(w *world) {
		var ends []State
		if _, err := w.g.Ask(w.t.Context(), AskRequest{Device: "door", Sender: "@bob:x", Name: "unlock", Via: "a call", Done: func(c Command) { ends = append(ends, c.State) }}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		w.publish("door/lock", "UNLOCKED")
		if !slices.Equal(ends, []State{Failed}) {
			t.Errorf("told %v", ends)
		}
		if len(w.g.commands.done) != 0 {
			t.Error("somebody is still waited for")
		}
		w.setState(true, func(s *room.State) { s.Users = map[ids.UserID]int{} })
		if _, err := w.g.Ask(w.t.Context(), AskRequest{Device: "door", Sender: "@bob:x", Name: "unlock", Via: "a call"}); !errors.Is(err, ErrRefused) {
			t.Errorf("power that was taken away still counts: %v", err)
		}
	})
}
