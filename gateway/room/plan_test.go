package room

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/gatepost/gatepost/internal/ids"
)

// plan does every step that is missing and names them in order.
func plan(t interface{ Fatal(...any) }, w Want, h *Have) string {
	var out []string
	for range 50 {
		s, ok := Next(w, *h)
		if !ok {
			return strings.Join(out, " ")
		}
		name := s.Do.String()
		if s.User != "" {
			name += "=" + string(s.User)
		}
		out = append(out, name)
		switch s.Do {
		case MakeToken:
			h.Token = "t"
		case FindOrMake:
			h.Room = "!r"
		default:
			*h = h.Done(w, s)
		}
	}
	t.Fatal("the plan does not end:", out)
	return ""
}

func TestPlan(t *testing.T) {
	w := Want{Alias: "a", Name: "Door", Topic: "front", Parent: "!s", Ghost: "@g:x", People: map[ids.UserID]int{"@b:x": 25, "@a:x": 100, "@c:x": 0}}
	var h Have
	if got, want := plan(t, w, &h), "token room join=@g:x name topic space power invite=@a:x invite=@b:x invite=@c:x"; got != want {
		t.Errorf("a new room:\n got %s\nwant %s", got, want)
	}
	if got := plan(t, w, &h); got != "" {
		t.Errorf("nothing changed, but: %s", got)
	}
	w.Name = "Back door"
	w.People["@c:x"] = 50
	w.People["@d:x"] = 0
	if got, want := plan(t, w, &h), "name power invite=@d:x"; got != want {
		t.Errorf("a changed room: got %s, want %s", got, want)
	}
	delete(w.People, "@c:x")
	if got, want := plan(t, w, &h), "power"; got != want {
		t.Errorf("a person less: got %s, want %s", got, want)
	}
	w.Parent = ""
	if got := plan(t, w, &h); got != "" {
		t.Errorf("a room stays in its space, but: %s", got)
	}
	w.Parent, w.Avatar = "!s2", "lamp"
	if got, want := plan(t, w, &h), "avatar space"; got != want {
		t.Errorf("another space: got %s, want %s", got, want)
	}
	gone := Want{Alias: "a", Name: "Door (removed)", Gone: true, Leave: []ids.UserID{"@g:x", "@never:x"}, People: map[ids.UserID]int{"@new:x": 25}}
	if got, want := plan(t, gone, &h), "leave=@g:x name topic avatar out of the space"; got != want {
		t.Errorf("a room that is about nothing: got %s, want %s", got, want)
	}
	if got, want := plan(t, w, &h), "join=@g:x name topic avatar space"; got != want {
		t.Errorf("a room that came back: got %s, want %s", got, want)
	}
}

func TestDoneLeavesItsReceiverAlone(t *testing.T) {
	h := Have{Invited: make([]ids.UserID, 1, 8)}
	a, b := h.Done(Want{}, Step{Invite, "@a:x"}), h.Done(Want{}, Step{Invite, "@b:x"})
	if a.Invited[1] != "@a:x" || b.Invited[1] != "@b:x" {
		t.Errorf("shared memory: %v %v", a.Invited, b.Invited)
	}
}

// From whatever is recorded, the plan ends, and then nothing is missing.
func TestPlanEndsFromAnywhere(t *testing.T) {
	users := []ids.UserID{"@a:x", "@b:x", "@c:x"}
	rapid.Check(t, func(t *rapid.T) {
		people := rapid.MapOf(rapid.SampledFrom(users), rapid.SampledFrom([]int{0, 25, 100}))
		text := rapid.SampledFrom([]string{"", "x", "y"})
		w := Want{Name: text.Draw(t, "name"), Topic: text.Draw(t, "topic"), Parent: ids.RoomID(text.Draw(t, "parent")), Ghost: ids.UserID(text.Draw(t, "ghost")), Avatar: text.Draw(t, "avatar"), Gone: rapid.Bool().Draw(t, "gone"), People: people.Draw(t, "people")}
		h := Have{Ghosts: rapid.SliceOf(rapid.SampledFrom(users)).Draw(t, "ghosts"), Parent: ids.RoomID(text.Draw(t, "had parent")), Token: text.Draw(t, "token"), Room: ids.RoomID(text.Draw(t, "room")), Name: text.Draw(t, "had name"), Power: people.Draw(t, "power"), Invited: rapid.SliceOf(rapid.SampledFrom(users)).Draw(t, "invited")}
		plan(t, w, &h)
		for u := range w.People {
			if !w.Gone && !slices.Contains(h.Invited, u) {
				t.Fatalf("%s is not invited", u)
			}
		}
	})
}
