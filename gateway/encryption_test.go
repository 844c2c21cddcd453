package gateway

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
)

// inSealedWorld is inWorld where all rooms are encrypted from the start.
func inSealedWorld(t *testing.T, kind Encryption, f func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.change = func(cfg *Config) { cfg.Encryption = kind }
		for i := range 10 {
			w.matrix.encrypted[ids.RoomID(fmt.Sprintf("!%d", i))] = kind.makes()
		}
		w.start([]RuleSpec{door})
		f(w)
		if err := w.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// sealed makes an event that decrypts to what e says, with that trust.
func (w *world) sealed(e room.Event, trust room.Trust) ids.EventID {
	w.t.Helper()
	inner := e
	w.matrix.mu.Lock()
	w.matrix.decrypt = func(got room.Event) (room.Event, error) {
		got.Type, got.Content, got.Encrypted, got.Trust = inner.Type, inner.Content, true, trust
		return got, nil
	}
	w.matrix.mu.Unlock()
	e.Type, e.Content = "m.room.encrypted", json.RawMessage(`{"algorithm":"x"}`)
	return w.event(e)
}

func text(user, roomID, body string) room.Event {
	raw, _ := json.Marshal(map[string]string{"msgtype": "m.text", "body": body})
	return room.Event{Room: ids.RoomID(roomID), Sender: ids.UserID(user), Type: "m.room.message", Content: raw}
}

func TestInEncryptedRoomsTheBotSpeaks(t *testing.T) {
	inSealedWorld(t, EncryptionDefault, func(w *world) {
		w.publish("door/event", "open")
		w.want(0, "!1 @gatepost:x text Front door: event: open")
		if made := strings.Join(w.matrix.calls, "\n"); strings.Contains(made, "join") || strings.Contains(made, "user @gatepost_door") {
			t.Errorf("a ghost came:\n%s", made)
		}
		w.matrix.state.Encrypted = true
		w.sealed(text("@alice:x", "!1", "!unlock"), room.Known)
		w.want(1, "!1 @gatepost:x notice Front door: 📤 sent")
		w.publish("door/lock", "UNLOCKED")
		said := w.matrix.said()
		last := w.matrix.posts[len(said)-1]
		if last.Post.Text != "Front door: ✅ confirmed" || last.Post.Replaces == "" {
			t.Errorf("last said %q, which replaces %q", last.Post.Text, last.Post.Replaces)
		}
	})
}

func TestNothingRunsOnWhatIsNotSurelyTheirs(t *testing.T) {
	inSealedWorld(t, EncryptionDefault, func(w *world) {
		w.publish("door/event", "open")
		w.matrix.state.Encrypted = true
		w.says("@alice:x", "!1", "!unlock")
		w.sealed(text("@alice:x", "!1", "!unlock"), room.Untrusted)
		synctest.Wait()
		if len(w.devices.heard) != 0 {
			t.Errorf("it ran: %v", w.devices.heard)
		}
		w.want(1, "!1 @gatepost:x notice Front door: This room is encrypted, but your message was not, so anybody could have written it and nothing runs.",
			"!1 @gatepost:x notice Front door: I can't tell whether your message is from a device of yours, so nothing runs.")
	})
}

func TestAMessageWaitsForItsKey(t *testing.T) {
	inSealedWorld(t, EncryptionDefault, func(w *world) {
		w.publish("door/event", "open")
		w.matrix.state.Encrypted = true
		w.sealed(text("@alice:x", "!1", "!unlock"), room.Known)
		opens := w.matrix.decrypt
		w.matrix.decrypt = func(e room.Event) (room.Event, error) { return e, room.ErrNoKeys }
		w.event(room.Event{Room: "!1", Sender: "@bob:x", Type: "m.room.encrypted", Content: json.RawMessage(`{}`)})
		synctest.Wait()
		heard := len(w.devices.heard)
		w.die() // it is still in the inbox
		w.start([]RuleSpec{door})
		w.matrix.mu.Lock()
		w.matrix.decrypt = opens
		w.matrix.mu.Unlock()
		w.g.KeysCame()
		synctest.Wait()
		if len(w.devices.heard) != heard+1 {
			t.Errorf("heard %v", w.devices.heard)
		}
		w.matrix.mu.Lock()
		w.matrix.decrypt = func(e room.Event) (room.Event, error) { return e, room.ErrNoKeys }
		w.matrix.mu.Unlock()
		n := len(w.matrix.said())
		for range 3 {
			w.event(room.Event{Room: "!1", Sender: "@bob:x", Type: "m.room.encrypted", Content: json.RawMessage(`{}`)})
		}
		time.Sleep(keyTime + 2*unreadAgain)
		synctest.Wait()
		if said := strings.Join(w.matrix.said()[n:], "\n"); strings.Count(said, unreadText) != 1 {
			t.Errorf("told:\n%s", said)
		}
		if events, _ := w.store.Events(0, 100); len(events) != 0 {
			t.Errorf("%d events wait for ever", len(events))
		}
	})
}

// Who sends much that nobody can read takes nobody else's place, and of their own the oldest gives way.
func TestWhoSendsMuchThatCantBeRead(t *testing.T) {
	for name, senders := range map[string][]ids.UserID{
		"another": {"@mallory:x"}, "several others": {"@mallory:x", "@eve:x", "@bob:x"}, "the same one": {"@alice:x"},
	} {
		t.Run(name, func(t *testing.T) {
			inSealedWorld(t, EncryptionDefault, func(w *world) {
				w.publish("door/event", "open")
				w.matrix.state.Encrypted = true
				w.sealed(text("@alice:x", "!1", "!unlock"), room.Known)
				synctest.Wait()
				heard := len(w.devices.heard)
				w.matrix.mu.Lock()
				opens, key := w.matrix.decrypt, ids.EventID("")
				w.matrix.decrypt = func(e room.Event) (room.Event, error) {
					if key != "" && e.ID == key {
						return opens(e)
					}
					return e, room.ErrNoKeys
				}
				w.matrix.mu.Unlock()
				for i := range maxUnread + 100 {
					w.event(room.Event{Room: "!1", Sender: senders[i%len(senders)], Type: "m.room.encrypted", Content: json.RawMessage(`{}`)})
				}
				last := w.event(room.Event{Room: "!1", Sender: "@alice:x", Type: "m.room.encrypted", Content: json.RawMessage(`{}`)})
				synctest.Wait()
				w.matrix.mu.Lock()
				key = last
				w.matrix.mu.Unlock()
				w.g.KeysCame()
				synctest.Wait()
				if len(w.devices.heard) != heard+1 {
					t.Errorf("heard %v", w.devices.heard)
				}
				told := 0
				for _, line := range w.matrix.said() {
					told += strings.Count(line, unreadText)
				}
				if told != len(senders) {
					t.Errorf("%d were told that they can't be read, want %d", told, len(senders))
				}
			})
		})
	}
}

func TestNothingReadableWhereEncryptionIsRequired(t *testing.T) {
	inSealedWorld(t, EncryptionRequire, func(w *world) {
		w.matrix.encrypted["!1"] = false
		w.publish("door/event", "open")
		time.Sleep(10 * time.Minute)
		for _, line := range w.matrix.said() {
			if strings.HasPrefix(line, "!1 ") {
				t.Errorf("said: %s", line)
			}
		}
		w.matrix.mu.Lock()
		w.matrix.encrypted["!1"] = true
		w.matrix.mu.Unlock()
		time.Sleep(2 * time.Minute)
		if said := strings.Join(w.matrix.said(), "\n"); !strings.Contains(said, "!1 @gatepost:x text Front door: event: open") {
			t.Errorf("what waited was not said:\n%s", said)
		}
	})
}

// That a room is encrypted is kept with the room: the bot's own memory may be lost, and the homeserver may take it back.
func TestARoomStaysEncrypted(t *testing.T) {
	inSealedWorld(t, EncryptionAllow, func(w *world) {
		w.matrix.encrypted["!1"] = true // a person turned it on
		w.publish("door/event", "open")
		w.want(0, "!1 @gatepost:x text Front door: event: open")
		w.die()
		w.matrix.mu.Lock()
		w.matrix.asked = nil
		w.matrix.encrypted["!1"] = false
		w.matrix.mu.Unlock()
		w.start([]RuleSpec{door})
		w.publish("door/event", "canary")
		time.Sleep(2 * time.Minute)
		for _, line := range w.matrix.said() {
			if strings.HasPrefix(line, "!1 ") && strings.Contains(line, "canary") {
				t.Errorf("said readable: %s", line)
			}
		}
		w.matrix.mu.Lock()
		for _, user := range w.matrix.asked {
			if user != "@gatepost:x" {
				t.Errorf("%s was asked about a room that only the bot is in", user)
			}
		}
		w.matrix.mu.Unlock()
	})
}

// In an encrypted control room a reply decides; a reaction, which is readable, could be anybody's.
func TestAdmissionInAnEncryptedRoom(t *testing.T) {
	finding(t, false, nil, func(w *world) {
		w.announces(haLamp("l1", "Lamp", "lamps/1"))
		settle()
		_, event, control := w.about("A new device")
		w.setState(false, func(s *room.State) { s.Encrypted = true })
		reply := func(user string) room.Event {
			raw := fmt.Appendf(nil, `{"msgtype":"m.text","body":"✅","m.relates_to":{"m.in_reply_to":{"event_id":%q}}}`, event)
			return room.Event{Room: ids.RoomID(control), Sender: ids.UserID(user), Type: "m.room.message", Content: raw}
		}
		w.reacts("@alice:x", control, event, "✅")
		w.event(reply("@alice:x"))
		w.sealed(reply("@alice:x"), room.Untrusted)
		w.sealed(reply("@bob:x"), room.Known)
		settle()
		if len(w.ids()) != 0 {
			t.Fatal("admitted by what anybody could have made")
		}
		w.about("Reply to the message with the same sign")
		w.sealed(reply("@alice:x"), room.Known)
		settle()
		if len(w.ids()) != 1 {
			t.Error("a reply of an owner did not admit the device")
		}
	})
}
