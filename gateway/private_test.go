package gateway

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
)

// inPrivateWorld has a door and a lamp, whose own rooms !1 and !2 are not encrypted, and a chat of bob's with the bot.
func inPrivateWorld(t *testing.T, change func(*Config), f func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.change = func(cfg *Config) {
			cfg.Private, cfg.Encryption = true, EncryptionAllow
			if change != nil {
				change(cfg)
			}
		}
		w.matrix.state.Members = map[ids.UserID]string{"@bob:x": "join"}
		w.start([]RuleSpec{door, {Topic: "lamp/event", Name: "Lamp", Class: door.Class, Device: "lamp"}})
		w.publish("door/event", "open")
		w.publish("lamp/event", "on")
		w.invites("@bob:x", "!chat", true)
		f(w)
		if err := w.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func (w *world) invites(user, roomID string, direct bool) {
	w.t.Helper()
	bot := "@gatepost:x"
	content, _ := json.Marshal(map[string]any{"membership": "invite", "is_direct": direct})
	w.event(room.Event{Room: ids.RoomID(roomID), Sender: ids.UserID(user), Type: "m.room.member", StateKey: &bot, Content: content})
	synctest.Wait()
}

func (w *world) leaves(user, roomID string) {
	w.t.Helper()
	w.event(room.Event{Room: ids.RoomID(roomID), Sender: ids.UserID(user), Type: "m.room.member", StateKey: &user, Content: json.RawMessage(`{"membership":"leave"}`)})
	synctest.Wait()
}

// in is what is said in a room.
func (w *world) in(roomID string) (out []string) {
	time.Sleep(5 * time.Second)
	synctest.Wait()
	for _, line := range w.matrix.said() {
		if rest, ok := strings.CutPrefix(line, roomID+" "); ok {
			out = append(out, rest)
		}
	}
	return out
}

func TestAPrivateRoom(t *testing.T) {
	inPrivateWorld(t, nil, func(w *world) {
		if said := w.in("!chat"); len(said) != 1 || said[0] != "@gatepost:x notice "+chatHelp {
			t.Fatalf("in the chat: %q", said)
		}
		w.says("@bob:x", "!chat", "!private door")
		said := w.in("!chat")
		if last := said[len(said)-1]; !strings.Contains(last, "Your private room is for door now") {
			t.Fatalf("in the chat: %q", said)
		}
		const own = "!3"
		calls := strings.Join(w.matrix.calls, "\n")
		if !w.matrix.encrypted[own] || !strings.Contains(calls, `"gatepost, private"`) || !strings.Contains(calls, "with [@bob:x]") {
			t.Fatalf("encrypted %v, calls:\n%s", w.matrix.encrypted, calls)
		}
		w.publish("door/event", "closed")
		w.publish("lamp/event", "off")
		if got := w.in(own); !slices.Equal(got, []string{"@gatepost:x text Front door: event: closed"}) {
			t.Errorf("in the private room: %q", got)
		}

		// The device obeys there, and what became of it is said there alone.
		w.matrix.state.Encrypted = true
		w.sealed(text("@bob:x", own, "!unlock"), room.Known)
		if got := w.in(own); !strings.Contains(got[len(got)-1], "sent") {
			t.Errorf("in the private room: %q", got)
		}
		w.publish("door/lock", "UNLOCKED")
		if got := w.in(own); !strings.Contains(got[len(got)-1], "confirmed") {
			t.Errorf("in the private room: %q", got)
		}
		for _, roomID := range []string{"!1", "!2"} {
			if got := strings.Join(w.in(roomID), "\n"); strings.Contains(got, "📤") {
				t.Errorf("in %s: %s", roomID, got)
			}
		}
		w.matrix.state.Encrypted = false

		// It outlives a restart, another choice takes its place, and silence is kept.
		w.restart([]RuleSpec{door, {Topic: "lamp/event", Name: "Lamp", Class: door.Class, Device: "lamp"}})
		n := len(w.in(own))
		w.publish("door/event", "opened again")
		w.says("@bob:x", "!chat", "!private lamp, nobody")
		w.says("@bob:x", "!chat", "!private lamp")
		w.in(own)
		w.publish("lamp/event", "bright")
		w.publish("door/event", "unheard")
		if got := w.in(own)[n:]; !slices.Equal(got, []string{"@gatepost:x text Front door: event: opened again", "@gatepost:x text Lamp: event: bright"}) {
			t.Errorf("in the private room: %q", got)
		}
		if said := strings.Join(w.in("!chat"), "\n"); !strings.Contains(said, "There is no device “nobody”") {
			t.Errorf("in the chat: %s", said)
		}
		n = len(w.in(own))
		w.says("@bob:x", "!chat", "!private off")
		w.in(own)
		w.publish("lamp/event", "dark")
		if got := w.in(own)[n:]; len(got) > 0 {
			t.Errorf("in the private room: %q", got)
		}

		// In a device's room the word is enough; who leaves hears no more.
		w.says("@bob:x", w.roomNamed("Lamp"), "!private")
		w.in(own)
		w.publish("lamp/event", "dim")
		if got := w.in(own)[n:]; len(got) != 1 {
			t.Errorf("in the private room: %q", got)
		}
		w.leaves("@bob:x", own)
		w.publish("lamp/event", "gone")
		if got := w.in(own)[n:]; len(got) != 1 {
			t.Errorf("after bob left: %q", got)
		}
	})
}

func TestWhoGetsAPrivateRoom(t *testing.T) {
	inPrivateWorld(t, nil, func(w *world) {
		w.says("@carol:x", "!1", "!private")
		w.says("@carol:x", "!chat", "!private door")
		if said := strings.Join(w.in("!1"), "\n"); !strings.Contains(said, "owners and members") {
			t.Errorf("said: %s", said)
		}
		for _, call := range w.matrix.calls {
			if strings.Contains(call, privateName) {
				t.Errorf("a stranger: %s", call)
			}
		}
		w.invites("@carol:x", "!hers", true) // a stranger
		w.invites("@alice:x", "!more", false)
		w.invites("@alice:x", "!crowd", true) // bob is in it
		w.leaves("@bob:x", "!chat")
		calls := strings.Join(w.matrix.calls, "\n")
		for want, times := range map[string]int{"join !hers": 0, "join !more": 0, "join !crowd": 1, "leave !crowd @gatepost:x": 1, "leave !chat @gatepost:x": 1} {
			if strings.Count(calls, want) != times {
				t.Errorf("not %d times %q:\n%s", times, want, calls)
			}
		}
		n := len(w.in("!chat"))
		w.says("@bob:x", "!chat", "!help")
		if len(w.in("!chat")) != n {
			t.Error("a chat that was left is answered")
		}
	})
	inPrivateWorld(t, func(cfg *Config) { cfg.Private = false }, func(w *world) {
		w.says("@bob:x", "!chat", "!private door")
		if said := w.in("!chat"); !strings.Contains(said[len(said)-1], "I don't encrypt here") {
			t.Errorf("said: %q", said)
		}
	})
	inPrivateWorld(t, func(cfg *Config) { cfg.Encryption = EncryptionRequire }, func(w *world) {
		if calls := strings.Join(w.matrix.calls, "\n"); !strings.Contains(calls, "leave !chat") {
			t.Errorf("it stays in a readable chat:\n%s", calls)
		}
	})
}

// A device that was removed is in nobody's choice any more.
func TestAPrivateRoomOfARemovedDevice(t *testing.T) {
	inPrivateWorld(t, nil, func(w *world) {
		w.says("@bob:x", "!chat", "!private lamp")
		if err := w.g.RemoveDevice(w.t.Context(), "lamp"); err != nil {
			t.Fatal(err)
		}
		w.says("@bob:x", w.roomNamed("Front door"), "!private")
		if said := strings.Join(w.in(w.roomNamed("Front door")), "\n"); !strings.Contains(said, "Your private room is for door now") {
			t.Errorf("said %s", said)
		}
	})
}

// Who belongs to some spaces alone has a private room for their devices, and may there what they may in those.
func TestThePrivateRoomOfSomebodyOfASite(t *testing.T) {
	rules := []RuleSpec{
		{Topic: "{site}/{device}", Device: "{device}", Space: "{site}", Class: door.Class, Commands: []CommandSpec{
			{Name: "on", Topic: "{site}/{device}/set", Payload: "ON", Grade: Operate}, {Name: "ask", Topic: "{site}/{device}/get", Payload: "?", Grade: Read},
		}},
	}
	people := func() People {
		return People{Sites: map[string]map[ids.UserID]int{"Home": {"@carl:x": 25, "@dora:x": 0}, "Garage": {"@dora:x": 50}}}
	}
	inWorld(t, rules, func(w *world) {
		before := w.change
		w.change = func(cfg *Config) {
			if before != nil {
				before(cfg)
			}
			cfg.Private, cfg.Encryption, cfg.People = true, EncryptionAllow, people()
		}
		w.matrix.state.Members = map[ids.UserID]string{"@carl:x": "join"}
		w.restart(rules)
		for _, name := range []string{"Home/lamp", "Garage/gate"} {
			w.publish(name, "1")
		}
		w.invites("@carl:x", "!carl", true)
		w.says("@carl:x", "!carl", "!private gate")
		if said := strings.Join(w.in("!carl"), "\n"); !strings.Contains(said, "There is no device “gate”") || !strings.Contains(said, "Devices: lamp.") {
			t.Errorf("of another site: %s", said)
		}
		w.says("@carl:x", "!carl", "!private lamp")
		if said := strings.Join(w.in("!carl"), "\n"); !strings.Contains(said, "Your private room is for lamp now") {
			t.Errorf("said %s", said)
		}
		own := w.g.rooms.have(privateKey("@carl:x"))
		w.publish("Home/lamp", "2")
		w.publish("Garage/gate", "2")
		if got := w.in(string(own.Room)); len(got) != 1 || own.Power["@carl:x"] != 25 {
			t.Errorf("in carl's room %q, power %v", got, own.Power)
		}

		// Dora may do more in one place than in the other: her room has the lesser of the two.
		w.matrix.state.Members = map[ids.UserID]string{"@dora:x": "join"}
		w.invites("@dora:x", "!dora", true)
		w.says("@dora:x", "!dora", "!private gate")
		w.in("!dora")
		if p := w.g.rooms.have(privateKey("@dora:x")).Power; p["@dora:x"] != 50 {
			t.Errorf("dora has %v", p)
		}
		w.says("@dora:x", "!dora", "!private gate lamp")
		w.in("!dora")
		hers := w.g.rooms.have(privateKey("@dora:x"))
		if hers.Power["@dora:x"] != 0 {
			t.Errorf("dora has %v", hers.Power)
		}

		// Who does not belong to a device any more hears nothing of it, and asks it for nothing.
		p := people()
		p.Sites["Garage"]["@carl:x"] = 25
		delete(p.Sites["Home"], "@carl:x")
		delete(p.Sites["Garage"], "@dora:x")
		if err := w.g.Reload(w.t.Context(), mustRules(t, rules), p, nil); err != nil {
			t.Fatal(err)
		}
		n, m := len(w.in(string(own.Room))), len(w.in(string(hers.Room)))
		w.publish("Home/lamp", "3")
		w.publish("Garage/gate", "3")
		if got := w.in(string(own.Room))[n:]; len(got) != 0 {
			t.Errorf("carl hears %q", got)
		}
		if got := w.in(string(hers.Room))[m:]; len(got) != 1 || !strings.Contains(got[0], "lamp") {
			t.Errorf("dora hears %q", got)
		}
		w.matrix.state.Members, w.matrix.state.Encrypted = map[ids.UserID]string{"@carl:x": "join", "@dora:x": "join"}, true
		for _, ask := range []string{"!ask", "!status", "!help"} {
			n := len(w.in(string(own.Room)))
			w.sealed(text("@carl:x", string(own.Room), ask), room.Known)
			if got := strings.Join(w.in(string(own.Room))[n:], "\n"); !strings.Contains(got, "not one of the people of this device") || len(w.devices.list()) != 0 {
				t.Errorf("%s: said %q, published %q", ask, got, w.devices.list())
			}
		}
		w.sealed(text("@dora:x", string(hers.Room), "!lamp ask"), room.Known)
		if got := w.devices.list(); len(got) != 1 {
			t.Errorf("published %q", got)
		}
	})
}

// A device whose room is encrypted is called through the bot, in an encrypted chat.
func TestCallsInEncryptedRooms(t *testing.T) {
	calls := &callBook{}
	phone := door
	phone.Call = &CallSpec{Prefix: "door"}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.change = func(cfg *Config) {
			cfg.Encryption, cfg.Calls = EncryptionDefault, calls
			cfg.People.Members = map[ids.UserID]int{"@alice:x": 100}
		}
		w.matrix.state.Members = map[ids.UserID]string{"@alice:x": "join"}
		w.start([]RuleSpec{phone})
		w.publish("door/event", "open")
		at, err := w.g.CallRoomFor(t.Context(), "door", "@alice:x")
		if err != nil || at.Self != "@gatepost:x" || !at.Sealed || !w.matrix.encrypted[at.Room] {
			t.Fatalf("call room %+v, %v", at, err)
		}
		w.setState(true, func(s *room.State) { s.Encrypted = true })
		if again, err := w.g.CallRoomFor(t.Context(), "door", "@alice:x"); err != nil || again != at {
			t.Errorf("another call room: %+v, %v", again, err)
		}
		if err := w.g.SendCall(at, "m.call.invite", []byte(`{"call_id":"1"}`), 0); err != nil {
			t.Fatal(err)
		}
		if got := w.in(string(at.Room)); !slices.Equal(got, []string{`@gatepost:x call {"call_id":"1"}`}) {
			t.Errorf("in the call room: %q", got)
		}
		w.matrix.state.Encrypted = true
		answer := room.Event{Room: at.Room, Sender: "@alice:x", Type: "m.call.answer", Content: json.RawMessage(`{"call_id":"1"}`)}
		w.event(answer) // readable: anybody could have made it
		w.sealed(answer, room.Untrusted)
		w.sealed(answer, room.Known)
		invite := answer
		invite.Type = "m.call.invite"
		w.sealed(invite, room.CrossSigned)
		synctest.Wait()
		if got := strings.Join(calls.heard, " "); got != "m.call.answer m.call.invite:rings" {
			t.Errorf("heard %s", got)
		}
		if err := w.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// callBook notes the events of calls that it is told of.
type callBook struct {
	Calls
	heard []string
}

func (c *callBook) Event(_ context.Context, _ CallRoom, e room.Event, _ time.Duration, ring bool) error {
	what := e.Type
	if ring {
		what += ":rings"
	}
	c.heard = append(c.heard, what)
	return nil
}

func (c *callBook) BatchDone(context.Context) error { return nil }
