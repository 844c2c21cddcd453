//go:build e2e || interop || fault

package e2ee

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
)

func TestACommandAndItsAnswerInAnEncryptedRoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	alice := w.person("alice", "alice")
	room := w.doorRoom(alice)
	asked := w.say(alice, room, "!unlock")
	w.answers(alice, asked, "confirmed")
	if n := w.door.times("UNLOCK"); n != 1 {
		t.Errorf("the door was unlocked %d times", n)
	}
	asked = w.say(alice, room, "!explode")
	w.answers(alice, asked, "has no “explode”")

	// An edit is no command, and what is refused is said in private, too.
	edited := w.say(alice, room, "hello")
	_, err := alice.Edit(w.ctx, room, edited, "!unlock")
	w.must(err)
	bell := w.say(alice, room, "!bell twice")
	w.answers(alice, bell, "sent")
	if n := w.door.times("UNLOCK"); n != 1 {
		t.Errorf("after an edit the door was unlocked %d times", n)
	}
	w.sealed(alice, room)
}

func TestWhoReadsAnEncryptedRoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	alice, bob := w.person("alice", "alice"), w.person("bob", "bob")
	room := w.doorRoom(alice)
	w.joined(bob, room, bob.UserID)
	w.happensFor("for two", alice, bob)

	second := w.another("alice's telephone", alice)
	w.joined(second, room, alice.UserID)
	first := w.happensFor("for three", alice, bob, second)

	w.must(bob.Leave(w.ctx, room))
	w.gone(alice, room, bob.UserID)
	hidden := w.happensFor("without bob", alice, second)
	if hidden.Session == first.Session {
		t.Error("the session that bob has goes on after he left")
	}
	w.must(alice.Invite(w.ctx, room, bob.UserID))
	w.joined(bob, room, bob.UserID)
	w.happensFor("with bob again", alice, bob, second)
	for _, e := range bob.Events(room) {
		if e.ID == hidden.ID && e.Error == "" {
			t.Error("bob reads what was said while he was gone")
		}
	}

	// Who asks for a key that was not given to him does not get it.
	w.must(bob.AskKey(w.ctx, room, hidden.Session, w.bot))
	w.happensFor("after the question", alice, bob, second)
	for _, e := range bob.Events(room) {
		if e.ID == hidden.ID && e.Error == "" {
			t.Error("bob was given a key on demand")
		}
	}
	w.sealed(alice, room)
}

// happensFor has the door say something that all of the devices read, and gives it as the first one has it.
func (w *world) happensFor(text string, devices ...*Device) Event {
	w.t.Helper()
	text = plant(text)
	w.happens(text)
	var first Event
	for i, d := range devices {
		if e := w.shows(d, text); i == 0 {
			first = e
		}
	}
	return first
}

func TestSessionsAreReplacedAsTheRoomSays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	alice := w.person("alice", "alice")
	room := w.doorRoom(alice)
	w.must(alice.SetState(w.ctx, room, "m.room.encryption", "", map[string]any{"algorithm": "m.megolm.v1.aes-sha2", "rotation_period_msgs": 3}))
	sessions := map[string]int{}
	for i := range 12 {
		sessions[w.happensFor(fmt.Sprint("message ", i), alice).Session]++
	}
	if len(sessions) < 4 {
		t.Errorf("twelve messages in %d sessions, where one is good for three", len(sessions))
	}
	w.sealed(alice, room)
}

func TestAKeyThatComesLate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	alice := w.person("alice", "alice")
	room := w.doorRoom(alice)
	w.must(alice.HoldKeys(w.ctx, room))
	asked := w.say(alice, room, "!unlock")
	w.happensFor("meanwhile", alice)
	if n := w.door.times("UNLOCK"); n != 0 {
		t.Fatal("read without a key")
	}
	w.must(alice.ReleaseKeys(w.ctx))
	w.answers(alice, asked, "confirmed")

	// One that was lost on the way is asked for. That it comes again changes nothing.
	w.must(alice.HoldKeysUntilAsked(w.ctx, room))
	asked = w.say(alice, room, "!unlock")
	w.answers(alice, asked, "confirmed")
	w.must(alice.ReleaseKeys(w.ctx))
	asked = w.say(alice, room, "!bell after the keys")
	w.answers(alice, asked, "sent")
	if n := w.door.times("UNLOCK"); n != 2 {
		t.Errorf("the door was unlocked %d times, asked for twice", n)
	}
	w.sealed(alice, room)
}

func TestAKeyThatNeverComes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	alice := w.person("alice", "alice")
	room := w.doorRoom(alice)
	w.must(alice.HoldKeys(w.ctx, room))
	asked := w.say(alice, room, "!unlock")
	mine, err := alice.Await(w.soon(), "her own message", func(e Event) bool { return e.ID == asked })
	w.must(err)
	w.must(alice.Withhold(w.ctx, room, mine.Session, w.bot))
	const told = "could not read your message"
	w.answers(alice, asked, told)

	// She is told once, and what could not be read stays undone.
	w.say(alice, room, "!unlock")
	w.must(alice.ReleaseKeys(w.ctx))
	w.must(alice.Rotate(w.ctx, room))
	asked = w.say(alice, room, "!bell at last")
	w.answers(alice, asked, "sent")
	n := 0
	for _, e := range alice.Events(room) {
		if e.Sender != alice.UserID && strings.Contains(e.Content.Body, told) {
			n++
		}
	}
	if n != 1 || w.door.times("UNLOCK") != 0 {
		t.Errorf("told %d times, unlocked %d times", n, w.door.times("UNLOCK"))
	}
	w.sealed(alice, room)
}

// A picture of one pixel.
const pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

func TestMediaAreEncrypted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	alice := w.person("alice", "alice")
	room := w.doorRoom(alice)
	picture, err := base64.StdEncoding.DecodeString(pixel)
	w.must(err)
	w.must(w.door.Publish(w.soon(), device.Message{Topic: "home/door/event", Payload: picture, QoS: 1}))
	e, err := alice.Await(w.soon(), "a picture", func(e Event) bool { return e.Room == room && e.Content.MsgType == "m.image" })
	w.must(err)
	if !e.Encrypted || e.Content.URL != "" {
		t.Errorf("the picture is %s", e.Raw)
	}
	got, err := alice.OpenFile(w.ctx, e)
	w.must(err)
	if !bytes.HasPrefix(got, []byte("\x89PNG")) {
		t.Errorf("%d bytes that are no picture", len(got))
	}
	w.sealed(alice, room)
}

// announces has a sensor say what it is called and where it is.
func (w *world) announces(name, area string) {
	w.t.Helper()
	config, err := json.Marshal(map[string]any{
		"name": "Mood", "unique_id": "probe1", "state_topic": "probe/mood",
		"device": map[string]any{"identifiers": []string{"probe1"}, "name": name, "suggested_area": area},
	})
	w.must(err)
	w.must(w.door.Publish(w.soon(), device.Message{Topic: "homeassistant/sensor/probe1/config", Payload: config, QoS: 1, Retain: true}))
}

// reports has the sensor publish a value and waits until its card, as edited last, shows it to a device.
func (w *world) reports(d *Device, name, value string) {
	w.t.Helper()
	w.must(w.door.Publish(w.soon(), device.Message{Topic: "probe/mood", Payload: []byte(value), QoS: 1, Retain: true}))
	e, err := d.Await(w.soon(), "a card with "+value, func(e Event) bool {
		body := e.Content.Body
		if e.Content.New != nil {
			body = e.Content.New.Body
		}
		return strings.Contains(body, name) && strings.Contains(body, value)
	})
	w.must(err)
	if !e.Encrypted {
		w.t.Errorf("%q was readable for the homeserver", e.Content.Body)
	}
}

// What is said in encrypted rooms is nowhere in what the homeserver keeps: not in its databases and their logs, not in its
// media, not in its own log.
func TestTheHomeserverLearnsNothing(t *testing.T) {
	t.Parallel()
	payload, reading, argument, edited, late := plant("payload"), plant("reading"), plant("argument"), plant("edited"), plant("late")
	name, text, sensor := plant("Door"), plant("text"), strings.ToLower(harness.Secret())
	probe, area, value := plant("Probe"), plant("Attic"), plant("value")
	w := newWorld(t, func(s *harness.Settings) {
		s.Extra = "discovery: auto\ncard: {every: 1s}\n"
		s.Devices = strings.ReplaceAll(rules, "class: event", "class: event\n  room: Entrance") + fmt.Sprintf(`
- topic: sensors/{device}/{reading}
  name: %q
  room: Entrance
  class: event
  post: %q
`, name, text+" {{ reading }} {{ value }}")
	})
	alice := w.person("alice", "alice")
	room := w.doorRoom(alice)
	w.happens(payload)
	w.shows(alice, payload)
	w.must(w.door.Publish(w.soon(), device.Message{Topic: "sensors/hall/" + sensor, Payload: []byte(reading), QoS: 1}))
	w.shows(alice, reading)
	asked := w.say(alice, room, "!door bell "+argument)
	w.answers(alice, asked, "sent")
	_, err := alice.Edit(w.ctx, room, asked, "!door bell "+edited)
	w.must(err)
	picture, err := base64.StdEncoding.DecodeString(pixel)
	w.must(err)
	w.must(w.door.Publish(w.soon(), device.Message{Topic: "home/door/event", Payload: picture, QoS: 1}))
	_, err = alice.Await(w.soon(), "a picture", func(e Event) bool { return e.Content.MsgType == "m.image" })
	w.must(err)

	// A device that announces itself has a card, which is edited.
	w.announces(probe, area)
	w.reports(alice, probe, value)
	shown := plant("shown")
	w.reports(alice, probe, shown)

	// What is sent again after the homeserver was away, and after we were.
	w.must(w.hs.Stop())
	w.happens(late)
	w.gate.Kill()
	w.must(w.hs.Start(w.ctx))
	w.must(w.gate.Start(w.ctx))
	w.shows(alice, late)
	w.sealed(alice, room)

	w.must(w.hs.Stop())
	texts := []string{payload, reading, sensor, argument, edited, late, name, text, probe, strings.ReplaceAll(probe, " ", "-"), area, value, shown, "!door bell", string(picture)}
	found, err := planted(w.home, texts)
	w.must(err)
	for _, f := range found {
		t.Errorf("the homeserver has %s", f)
	}
	harness.Zero(t, "canaries found in what "+w.hs.Kind()+" keeps of encrypted rooms", len(found), "finds")

	// The search does find what is there.
	if found, err := planted(w.home, []string{room}); err != nil || len(found) == 0 {
		t.Errorf("the room itself is found in %v, %v", found, err)
	}
}
