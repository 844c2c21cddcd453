//go:build e2e || interop || fault

package e2ee

import (
	"bytes"
	"slices"
	"testing"
)

// What the other tests rely on: the clients do among themselves all that is asked of them and gatepost.
func TestPeopleAmongThemselves(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	s.register("alice", "bob", "carol")
	alice, bob := s.device("alice", "alice"), s.device("bob", "bob")
	room := s.room(alice, Room{Rotate: 3}, bob)

	first := s.say(alice, room, "hello")
	s.reads(bob, room, "hello")
	s.say(bob, room, "hello yourself")
	s.reads(alice, room, "hello yourself")
	_, err := alice.Edit(s.ctx, room, first, "good morning")
	s.must(err)
	s.reads(bob, room, "* good morning")
	_, err = bob.React(s.ctx, room, first, "👍")
	s.must(err)
	_, err = alice.Await(s.soon(), "a reaction", func(e Event) bool { return e.Type == "m.reaction" && !e.Encrypted })
	s.must(err)
	file := bytes.Repeat([]byte("a file "), 1000)
	_, err = alice.SendFile(s.ctx, room, "file.bin", "application/octet-stream", file)
	s.must(err)
	got, err := bob.OpenFile(s.ctx, s.reads(bob, room, "file.bin"))
	s.must(err)
	if !bytes.Equal(got, file) {
		t.Error("the file did not come back as it was")
	}

	// The room asks for a new session every three messages.
	for _, text := range []string{"1", "2", "3", "4", "5"} {
		s.say(alice, room, text)
		s.reads(bob, room, text)
	}
	sessions := map[string]bool{}
	for _, e := range bob.Events(room) {
		if e.Sender == alice.UserID && e.Encrypted {
			sessions[e.Session] = true
			if e.Index < 0 || e.Index > 2 {
				t.Errorf("%q has place %d in its session", e.Content.Body, e.Index)
			}
		}
	}
	if len(sessions) < 2 {
		t.Errorf("%d sessions for eight messages", len(sessions))
	}
	if reused := Reused(bob.Events(room)); len(reused) > 0 {
		t.Errorf("two texts with one key: %v", reused)
	}

	// A device that comes later reads what is said from then on, a person who leaves reads nothing more.
	second := s.device("bob's telephone", "bob")
	s.joined(second, room, bob.UserID)
	s.say(alice, room, "for both of you")
	s.reads(second, room, "for both of you")
	s.reads(bob, room, "for both of you")
	carol := s.device("carol", "carol")
	s.must(alice.Invite(s.ctx, room, carol.UserID))
	s.joined(alice, room, carol.UserID)
	s.joined(carol, room, carol.UserID)
	s.say(alice, room, "welcome carol")
	s.reads(carol, room, "welcome carol")
	s.must(carol.Leave(s.ctx, room))
	s.gone(alice, room, carol.UserID)
	secret := s.say(alice, room, "she is gone")
	s.reads(bob, room, "she is gone")
	if slices.ContainsFunc(carol.Events(room), func(e Event) bool { return e.ID == secret }) {
		t.Error("who left still gets what is sent")
	}
}

// Cross-signing and a comparison of emoji, person with person.
func TestPeopleVerifyEachOther(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	s.register("alice", "bob")
	alice, bob := s.device("alice", "alice"), s.device("bob", "bob")
	_, err := alice.CrossSign(s.ctx)
	s.must(err)
	keys, err := bob.CrossSign(s.ctx)
	s.must(err)
	second := s.device("bob's telephone", "bob")
	s.must(second.CrossSignWith(s.ctx, keys))
	room := s.room(alice, Room{Direct: true}, bob)

	ask, err := alice.AskInRoom(s.ctx, bob.UserID, room)
	s.must(err)
	asked, err := bob.Asked(s.soon(), alice.UserID)
	s.must(err)
	s.compare(ask.Begin(), asked)
	trust, err := alice.Trust(s.ctx, bob.UserID)
	s.must(err)
	if !trust.Identity || !trust.Verified || len(trust.Devices) != 2 {
		t.Fatalf("after the comparison: %+v", trust)
	}
	for _, d := range trust.Devices {
		if !d.Signed || !d.Verified {
			t.Errorf("device %+v", d)
		}
	}
	s.say(bob, room, "it is me")
	if e := s.reads(alice, room, "it is me"); e.Warning != "" || e.Device != bob.ID {
		t.Errorf("a verified person's text is shown with %q, as of device %s", e.Warning, e.Device)
	}
}
