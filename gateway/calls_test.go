package gateway

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/mqtt/topic"
)

// bellboy notes what calls are told.
type bellboy struct {
	mu   sync.Mutex
	said []string
}

func (b *bellboy) note(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.said = append(b.said, fmt.Sprintf(format, args...))
}

func (b *bellboy) take() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := b.said
	b.said = nil
	return list
}

func (b *bellboy) Event(_ context.Context, at CallRoom, e room.Event, age time.Duration, ring bool) error {
	b.note("%s for %s from %s, %v old, rings: %v", e.Type, at.Device, e.Sender, age, ring)
	return nil
}
func (b *bellboy) BatchDone(context.Context) error { return nil }
func (b *bellboy) Left(_ context.Context, at CallRoom) error {
	b.note("%s has no chat any more", at.Person)
	return nil
}

func (b *bellboy) Dial(_ context.Context, at CallRoom) error {
	b.note("dial %s", at.Person)
	return nil
}
func (b *bellboy) Said(d ids.DeviceID, payload []byte) { b.note("%s said %s", d, payload) }
func (b *bellboy) Ring(d ids.DeviceID)                 { b.note("%s rings", d) }

// inChat runs f in a world with a porch, and a chat of alice with it.
func inChat(t *testing.T, change func(*Config), f func(w *world, calls *bellboy, chat ids.RoomID)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w, calls := newWorld(t), &bellboy{}
		w.change = func(c *Config) {
			c.Calls = calls
			if change != nil {
				change(c)
			}
		}
		w.start([]RuleSpec{camera})
		w.publish("porch/event", "here")
		at, err := w.g.CallRoomFor(t.Context(), "porch", "@alice:x")
		if err != nil {
			t.Fatal(err)
		}
		w.setState(true, func(s *room.State) {
			s.Members = map[ids.UserID]string{"@alice:x": "join", "@gatepost_porch:x": "join", "@bob:x": "leave"}
		})
		f(w, calls, at.Room)
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestWhoRings(t *testing.T) {
	for name, c := range map[string]struct {
		sender ids.UserID
		age    time.Duration
		state  func(*room.State)
		config func(*Config)
		want   bool
	}{
		"whose chat it is":           {sender: "@alice:x", want: true},
		"a stranger":                 {sender: "@mallory:x"},
		"another member":             {sender: "@bob:x"},
		"who has just the power":     {sender: "@alice:x", config: func(c *Config) { c.People.Members = map[ids.UserID]int{"@alice:x": 25} }, want: true},
		"a room that anybody joins":  {sender: "@alice:x", state: func(s *room.State) { s.JoinRule = "public" }},
		"a room of a space":          {sender: "@alice:x", state: func(s *room.State) { s.JoinRule = "restricted" }},
		"a room with somebody else":  {sender: "@alice:x", state: func(s *room.State) { s.Members["@bob:x"] = "join" }},
		"a room that waits for more": {sender: "@alice:x", state: func(s *room.State) { s.Members["@bob:x"] = "invite" }},
		"a room that anybody reads":  {sender: "@alice:x", state: func(s *room.State) { s.WorldReadable = true }},
		"an encrypted room":          {sender: "@alice:x", state: func(s *room.State) { s.Encrypted = true }},
		"somebody of long ago":       {sender: "@alice:x", age: time.Hour, want: true}, // whether it is too late the call itself decides
	} {
		t.Run(name, func(t *testing.T) {
			inChat(t, c.config, func(w *world, calls *bellboy, chat ids.RoomID) {
				if c.state != nil {
					w.setState(true, c.state)
				}
				w.event(room.Event{Type: "m.call.invite", Sender: c.sender, Room: chat, Sent: time.Now().Add(-c.age), Content: []byte(`{"call_id":"C1"}`)})
				want := []string{fmt.Sprintf("m.call.invite for porch from %s, %v old, rings: %v", c.sender, c.age, c.want)}
				if got := calls.take(); !slices.Equal(got, want) {
					t.Errorf("calls are told %q, not %q", got, want)
				}
			})
		})
	}
}

// Who was a member, and is not one any more, is in the chat still.
func TestWhoWasAMemberDoesNotRing(t *testing.T) {
	inChat(t, nil, func(w *world, calls *bellboy, chat ids.RoomID) {
		w.g.setPeople(People{Members: map[ids.UserID]int{"@alice:x": Operate.Power() - 1}}, nil)
		w.event(room.Event{Type: "m.call.invite", Sender: "@alice:x", Room: chat, Content: []byte(`{}`)})
		if got := calls.take(); !slices.Equal(got, []string{"m.call.invite for porch from @alice:x, 0s old, rings: false"}) {
			t.Errorf("calls are told %q", got)
		}
		if _, err := w.g.CallRoomFor(w.t.Context(), "porch", "@alice:x"); err == nil {
			t.Error("they are called")
		}
	})
}

// Who lost the right while it rang does not get through, nor into a chat that is not one of two any more.
func TestWhoAnswers(t *testing.T) {
	answer := room.Event{Type: "m.call.answer", Sender: "@alice:x", Content: []byte(`{"call_id":"C1"}`)}
	for name, change := range map[string]func(w *world){
		"":                         func(*world) {},
		"not a member any more":    func(w *world) { w.g.setPeople(People{Members: map[ids.UserID]int{"@alice:x": 0}}, nil) },
		"somebody else came":       func(w *world) { w.setState(true, func(s *room.State) { s.Members["@bob:x"] = "join" }) },
		"the room became public":   func(w *world) { w.setState(true, func(s *room.State) { s.JoinRule = "public" }) },
		"it became world-readable": func(w *world) { w.setState(true, func(s *room.State) { s.WorldReadable = true }) },
	} {
		t.Run(name, func(t *testing.T) {
			inChat(t, nil, func(w *world, calls *bellboy, chat ids.RoomID) {
				change(w)
				answer.Room = chat
				w.event(answer)
				if got := calls.take(); (len(got) == 1) != (name == "") {
					t.Errorf("calls are told %q", got)
				}
			})
		})
	}
}

// called says whether the homeserver was asked for that.
func (w *world) called(call string) bool {
	w.matrix.mu.Lock()
	defer w.matrix.mu.Unlock()
	return slices.Contains(w.matrix.calls, call)
}

// Where nothing readable may be sent, a chat with a ghost, which can't encrypt, is refused.
func TestAChatWhereAllIsEncrypted(t *testing.T) {
	inChat(t, func(c *Config) { c.Encryption = EncryptionRequire }, func(w *world, _ *bellboy, _ ids.RoomID) {
		ghost := "@gatepost_porch:x"
		w.event(room.Event{Type: "m.room.member", Sender: "@alice:x", Room: "!own", StateKey: &ghost, Content: []byte(`{"membership":"invite","is_direct":true}`)})
		if !w.called("leave !own "+ghost) || w.called("join !own "+ghost) {
			t.Error("the invitation is not refused")
		}
	})
}

// A device rings in the latest chat of two, and in a new one when none is fit any more.
func TestWhereADeviceRings(t *testing.T) {
	inChat(t, nil, func(w *world, calls *bellboy, chat ids.RoomID) {
		alone := func(s *room.State) {
			s.Members = map[ids.UserID]string{"@alice:x": "join", "@gatepost_porch:x": "join"}
		}
		want := func(room ids.RoomID) {
			t.Helper()
			if at, err := w.g.CallRoomFor(w.t.Context(), "porch", "@alice:x"); err != nil || at.Room != room {
				t.Errorf("the next call is in %q, %v; want %q", at.Room, err, room)
			}
		}
		want(chat)
		ghost := "@gatepost_porch:x"
		var left []ids.RoomID
		for i := range chatsEach + 1 {
			time.Sleep(time.Second)
			own := ids.RoomID(fmt.Sprintf("!own%d", i))
			w.setState(true, alone)
			w.event(room.Event{Type: "m.room.member", Sender: "@alice:x", Room: own, StateKey: &ghost, Content: []byte(`{"membership":"invite","is_direct":true}`)})
			want(own)
			left = append(left, own)
		}
		if n := len(w.g.callRooms.byRoom); n != chatsEach {
			t.Errorf("%d chats of one person", n)
		}
		if got := calls.take(); len(got) != 2 {
			t.Errorf("calls are told %q", got)
		}
		for _, id := range []ids.RoomID{chat, left[0]} {
			if !w.called(fmt.Sprintf("leave %s %s", id, ghost)) {
				t.Errorf("%s is not left", id)
			}
		}
		w.setState(true, func(s *room.State) { s.JoinRule = "public" })
		at, err := w.g.CallRoomFor(w.t.Context(), "porch", "@alice:x")
		if err != nil || at.Room == chat || slices.Contains(left, at.Room) {
			t.Errorf("it rings in %q, which anybody can join; %v", at.Room, err)
		}
	})
}

// In a device's room, and in rooms that are none of ours, nothing is a call.
func TestCallsOfOtherRooms(t *testing.T) {
	inChat(t, nil, func(w *world, calls *bellboy, _ ids.RoomID) {
		for _, other := range []ids.RoomID{"!1", "!nobody"} {
			w.event(room.Event{Type: "m.call.invite", Sender: "@alice:x", Room: other, Content: []byte(`{"call_id":"C1"}`)})
		}
		if got := calls.take(); got != nil {
			t.Errorf("calls are told %q", got)
		}
	})
}

func TestWhoLeavesAChatHasNone(t *testing.T) {
	inChat(t, nil, func(w *world, calls *bellboy, chat ids.RoomID) {
		alice := "@alice:x"
		w.event(room.Event{Type: "m.room.member", Sender: "@alice:x", Room: chat, StateKey: &alice, Content: []byte(`{"membership":"leave"}`)})
		w.event(room.Event{Type: "m.call.invite", Sender: "@alice:x", Room: chat, Content: []byte(`{"call_id":"C1"}`)})
		if got := calls.take(); !slices.Equal(got, []string{"@alice:x has no chat any more"}) {
			t.Errorf("calls are told %q", got)
		}
		at, err := w.g.CallRoomFor(w.t.Context(), "porch", "@alice:x")
		if err != nil || at.Room == chat {
			t.Errorf("the next call is in %q, %v", at.Room, err)
		}
	})
}

// What a device says of calls goes to its own, and what is retained nowhere.
func TestWhatADeviceSaysOfCalls(t *testing.T) {
	inChat(t, nil, func(w *world, calls *bellboy, _ ids.RoomID) {
		from := len(w.matrix.said())
		w.publish("porch/call/out", "garbage")
		w.publish("porch/button", "pressed")
		w.send(topic.Message{Topic: "porch/button", Payload: []byte("pressed"), Retained: true, Time: time.Now()})
		w.publish("attic/call/out", "of nobody")
		if got := calls.take(); !slices.Equal(got, []string{"porch said garbage", "porch rings"}) {
			t.Errorf("calls are told %q", got)
		}
		w.want(from, "!1 @gatepost_porch:x text button: pressed") // a bell is an event too
	})
}

// A topic is one device's; who comes later is told once.
func TestATopicOfCallsBelongsToOne(t *testing.T) {
	p := newPhones()
	if taken := p.put(Phone{Device: "porch", Prefix: "porch", Ring: "bell"}); taken != nil {
		t.Errorf("%q are taken", taken)
	}
	if taken := p.put(Phone{Device: "yard", Prefix: "yard", Ring: "bell"}); !slices.Equal(taken, []string{"bell"}) {
		t.Errorf("%q are taken", taken)
	}
	thief := Phone{Device: "thief", Prefix: "porch"}
	if taken := p.put(thief); !slices.Equal(taken, []string{"porch/call/out"}) {
		t.Errorf("%q are taken", taken)
	}
	if taken := p.put(thief); taken != nil {
		t.Errorf("%q are told twice", taken)
	}
	if _, ok := p.get("thief"); ok {
		t.Error("the thief can be called")
	}
	for topic, device := range map[string]ids.DeviceID{"porch/call/out": "porch", "yard/call/out": "yard", "bell": "porch"} {
		if at, ok := p.topic(topic); !ok || at.device != device {
			t.Errorf("%s is %v's", topic, at)
		}
	}
}
