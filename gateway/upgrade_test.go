package gateway

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
)

// upgraded puts the tombstone of a room into the inbox.
func (w *world) upgraded(by, from, to string) {
	key := ""
	w.event(room.Event{Type: "m.room.tombstone", Sender: ids.UserID(by), Room: ids.RoomID(from), StateKey: &key, Content: fmt.Appendf(nil, `{"replacement_room":%q}`, to)})
	time.Sleep(2 * time.Second)
	synctest.Wait()
}

func TestAnUpgradedRoomIsFollowed(t *testing.T) {
	good := room.State{Creator: "@alice:x", Predecessor: "!2", JoinRule: "invite", Users: map[ids.UserID]int{"@gatepost:x": 100}, Members: map[ids.UserID]string{"@alice:x": "join"}}
	for name, tc := range map[string]struct {
		by      string
		change  func(s *room.State)
		old     func(s *room.State)
		uninvit bool
		follows bool
		told    string // in the control room
	}{
		"by an owner":                {by: "@alice:x", follows: true},
		"by a creator of version 12": {by: "@alice:x", change: func(s *room.State) { s.Creators = []ids.UserID{"@alice:x"} }, follows: true},
		"by a member":                {by: "@bob:x", told: "only owners may do that"},
		"of another room":            {by: "@alice:x", change: func(s *room.State) { s.Predecessor = "!9" }, told: "in place of the old one"},
		"without a predecessor":      {by: "@alice:x", change: func(s *room.State) { s.Predecessor = "" }, told: "in place of the old one"},
		"made by somebody else":      {by: "@alice:x", change: func(s *room.State) { s.Creator = "@mallory:x" }, told: "in place of the old one"},
		"without power":              {by: "@alice:x", change: func(s *room.State) { s.Users = nil }, told: "give me the power level 100"},
		"open":                       {by: "@alice:x", change: func(s *room.State) { s.JoinRule = "public" }, told: "open to everybody"},
		"not encrypted":              {by: "@alice:x", old: func(s *room.State) { s.Encrypted = true }, told: "is not encrypted"},
		"without an invitation":      {by: "@alice:x", uninvit: true, told: "invite me"},
	} {
		t.Run(name, func(t *testing.T) {
			finding(t, true, nil, func(w *world) {
				w.announces(haLamp("l1", "Lamp", "lamps/1"))
				carded()
				key := ids.DeviceRoom(w.ids()[0])
				was := w.g.rooms.have(key)
				now, old := good, w.matrix.state
				now.Predecessor = was.Room
				if tc.change != nil {
					tc.change(&now)
				}
				if tc.old != nil {
					tc.old(&old)
				}
				w.matrix.mu.Lock()
				w.matrix.states = map[ids.RoomID]room.State{"!new": now, was.Room: old}
				w.matrix.mu.Unlock()
				if tc.uninvit {
					w.refuse(forbidden, "join !new")
				}
				w.forgetCalls()
				w.upgraded(tc.by, string(was.Room), "!new")
				carded()
				got := w.g.rooms.have(key)
				if tc.told != "" {
					w.about(tc.told)
				}
				if !tc.follows {
					if got.Room != was.Room {
						t.Errorf("it is followed: %+v", got)
					}
					return
				}
				if got.Room != "!new" || got.Name != "Lamp" || got.Avatar != "lamp" || got.Parent != was.Parent || !slices.Equal(got.Ghosts, was.Ghosts) {
					t.Errorf("%+v", got)
				}
				if left := w.changes(`state ` + string(was.Parent) + ` m.space.child "` + string(was.Room) + `" map[]`); len(left) != 1 {
					t.Error("the old room is in the space still")
				}
				posts, _, pins := w.cards()
				if last := posts[len(posts)-1]; last.Post.Replaces != "" || len(pins) != 1 {
					t.Errorf("no new card: %+v, pins %q", last, pins)
				}
				w.value("ON")
				w.restart(nil)
				if err := w.g.Say(w.t.Context(), w.ids()[0], "here"); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if said := w.matrix.said(); !strings.HasPrefix(said[len(said)-1], "!new ") {
					t.Errorf("said %q", said)
				}
				if _, ours := w.g.directory.key(was.Room); ours {
					t.Error("the old room is ours still")
				}
			})
		})
	}
}

// Somebody has to let us in; a crash meanwhile changes nothing.
func TestAnUpgradeWaitsForItsInvitation(t *testing.T) {
	finding(t, true, nil, func(w *world) {
		w.announces(haLamp("l1", "Lamp", "lamps/1"))
		carded()
		key := ids.DeviceRoom(w.ids()[0])
		was := w.g.rooms.have(key)
		w.matrix.mu.Lock()
		w.matrix.states = map[ids.RoomID]room.State{"!new": {Creator: "@alice:x", Predecessor: was.Room, JoinRule: "invite", Users: map[ids.UserID]int{"@gatepost:x": 100}}}
		w.matrix.mu.Unlock()
		w.refuse(forbidden, "join !new")
		w.upgraded("@alice:x", string(was.Room), "!new")
		w.die()
		w.start(nil)
		synctest.Wait()
		if got := w.g.rooms.have(key); got.Room != was.Room {
			t.Fatalf("%+v", got)
		}
		w.matrix.mu.Lock()
		w.matrix.fail = nil
		w.matrix.mu.Unlock()
		bot := "@gatepost:x"
		w.event(room.Event{Type: "m.room.member", Sender: "@alice:x", Room: "!new", StateKey: &bot, Content: []byte(`{"membership":"invite"}`)})
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := w.g.rooms.have(key); got.Room != "!new" {
			t.Errorf("%+v", got)
		}
		if rest, _, _ := w.store.Get(spaceUpgrades, string(key)); rest != nil {
			t.Errorf("%s is still stored", rest)
		}
	})
}
