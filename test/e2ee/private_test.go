//go:build e2e || interop || fault

package e2ee

import (
	"strings"
	"testing"

	"github.com/gatepost/gatepost/test/harness"
)

// Whoever begins an encrypted chat with the bot, as clients do by themselves, is answered in it, and gets an encrypted room of
// their own although the devices' rooms are not encrypted.
func TestARoomOfOnesOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *harness.Settings) { s.Encryption = "allow" })
	bob := w.person("bob", "bob")
	w.happens("first") // the device is known from now on
	chat, err := bob.CreateRoom(w.ctx, Room{Direct: true, Encrypted: true, Invite: []string{w.bot}})
	w.must(err)
	w.joined(bob, chat, w.bot)
	if e := w.shows(bob, "!private DEVICE"); e.Room != chat {
		t.Errorf("the bot spoke in %s", e.Room)
	}
	asked := w.say(bob, chat, "!private door")
	w.answers(bob, asked, "Your private room is for door now")

	text := plant("opened")
	var own string
	w.until("word of the door in a room of bob's own", func() bool {
		w.happens(text)
		for _, e := range bob.all() {
			if e.Encrypted && strings.Contains(e.Content.Body, text) {
				own = e.Room
			}
		}
		return own != ""
	})
	w.joined(bob, own, w.bot) // or what he says is readable: a homeserver may show a room's messages before its state
	asked = w.say(bob, own, "!bell twice")
	w.answers(bob, asked, "sent")
	w.until("the bell", func() bool { return w.door.times("RING twice") == 1 })
	w.sealed(bob, own)
	w.sealed(bob, chat)
	if in, _, err := bob.In(w.ctx, own, "@alice:localhost"); err != nil || in {
		t.Errorf("alice is in bob's room: %v, %v", in, err)
	}
}
