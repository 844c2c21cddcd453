package gateway

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
)

// farewell is what happens to the room of a device that is removed.
func farewell(room, space, ghost, name string) []string {
	return []string{
		"leave " + room + " " + ghost,
		`state ` + room + ` m.room.name "" map[name:` + name + ` (removed)]`,
		`state ` + space + ` m.space.child "` + room + `" map[]`,
		`state ` + room + ` m.space.parent "` + space + `" map[]`,
	}
}

func TestTheRoomOfARemovedDeviceIsArchivedAndComesBack(t *testing.T) {
	finding(t, false, nil, func(w *world) {
		w.announces(haLamp("l1", "Lamp", "lamps/1"))
		settle()
		_, question, control := w.about("A new device")
		w.reacts("@alice:x", control, question, "✅")
		carded()
		id := w.ids()[0]
		key := ids.DeviceRoom(id)
		was := w.g.rooms.have(key)
		ghost := "@gatepost_" + string(id) + ":x"
		w.forgetCalls()
		w.announces("homeassistant/light/l1/config", "")
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		if got, want := w.changes("leave", "state", "invite", "join"), farewell(string(was.Room), string(was.Parent), ghost, "Lamp"); !slices.Equal(got, want) {
			t.Errorf("removed: %q, want %q", got, want)
		}
		said := w.matrix.said()
		if last := said[len(said)-1]; last != string(was.Room)+" @gatepost:x notice Lamp withdrew its announcement and was removed. Its history stays here." {
			t.Errorf("the last words: %q", last)
		}
		for k := range w.store.values {
			if strings.Contains(k, string(id)) && !strings.HasPrefix(k, spaceRooms+"\x00") && !strings.HasPrefix(k, spaceIDs+"\x00") {
				t.Errorf("%q is still stored", k)
			}
		}

		w.forgetCalls()
		w.restart(nil)
		w.announces(haLamp("l1", "Lamp", "lamps/1"))
		settle()
		if got := w.changes("leave", "state "+string(was.Room), "join"); len(got) != 0 || len(w.ids()) != 0 {
			t.Errorf("it came back before anybody admitted it: %q", got)
		}
		_, question, control = w.about("A new device")
		w.reacts("@alice:x", control, question, "✅")
		carded()
		now := w.g.rooms.have(key)
		if now.Room != was.Room || now.Name != "Lamp" || now.Parent != was.Parent || !slices.Contains(now.Ghosts, ids.UserID(ghost)) {
			t.Errorf("it has %+v, and had %+v", now, was)
		}
	})
}

// Whatever of it was done when the process died, the rest follows.
func TestACrashWhileARoomIsArchived(t *testing.T) {
	for _, at := range []string{"leave !2 ", "state !2 m.room.name", "state !1 m.space.child", "state !2 m.space.parent"} {
		t.Run(at, func(t *testing.T) {
			inWorld(t, []RuleSpec{inSpace}, func(w *world) {
				w.publish("h/a", "1")
				key := ids.DeviceRoom("a")
				was := w.g.rooms.have(key)
				w.refuse(lane.Outcome{Verdict: lane.Retry, Reason: "not now"}, at)
				if err := w.g.RemoveDevice(w.t.Context(), "a"); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if now := w.g.rooms.have(key); now.Parent == "" {
					t.Errorf("all was done before: %+v", now)
				}
				w.die()
				w.matrix.fail = nil
				w.start([]RuleSpec{inSpace})
				time.Sleep(time.Minute)
				synctest.Wait()
				if now := w.g.rooms.have(key); now.Name != "a (removed)" || now.Parent != "" || len(now.Ghosts) != 0 || now.Room != was.Room {
					t.Errorf("%+v", now)
				}
				w.publish("h/a", "2") // a rule that still matches makes it anew
				if now := w.g.rooms.have(key); now.Name != "a" || now.Parent != was.Parent || len(now.Ghosts) != 1 || now.Room != was.Room {
					t.Errorf("back: %+v", now)
				}
			})
		})
	}
}

// In a room of many only the ghost goes, and what it had still to say is said by the bot.
func TestADeviceIsRemovedFromASharedRoom(t *testing.T) {
	rule := RuleSpec{Topic: "l/{device}", Room: "lamps", Class: lane.Event}
	inWorld(t, []RuleSpec{rule}, func(w *world) {
		w.publish("l/a", "1")
		w.publish("l/b", "2")
		w.forgetCalls()
		if err := w.g.RemoveDevice(w.t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got, want := w.changes("leave", "state"), []string{"leave !1 @gatepost_a:x"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		w.publish("l/b", "3")
		w.want(0, "!1 @gatepost_a:x text a: 1", "!1 @gatepost_b:x text b: 2", "!1 @gatepost:x notice a was removed. Its history stays here.", "!1 @gatepost_b:x text b: 3")
	})
}

// A device that has moved leaves its old room as it is.
func TestAMovedDeviceIsNotRemoved(t *testing.T) {
	inWorld(t, []RuleSpec{sensors}, func(w *world) {
		w.publish("sensors/a/x", "1")
		moved := sensors
		moved.Room = "all"
		if err := w.g.Reload(w.t.Context(), mustRules(t, []RuleSpec{moved}), People{Members: map[ids.UserID]int{"@alice:x": 100}}, nil); err != nil {
			t.Fatal(err)
		}
		w.publish("sensors/a/x", "2")
		if have := w.g.rooms.have(ids.DeviceRoom("a")); have.Name != "a" || len(have.Ghosts) != 1 {
			t.Errorf("%+v", have)
		}
	})
}
