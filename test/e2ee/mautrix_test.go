//go:build e2e && goolm

package e2ee

import (
	"context"
	"testing"

	"github.com/gatepost/gatepost/test/harness"
	"github.com/gatepost/gatepost/test/sealed"
)

// The two kinds of people of the tests understand each other.
func TestAPersonOnMautrix(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	s.register("alice", "bob")
	alice := s.person("alice", "alice")
	bob, err := sealed.Login(s.ctx, s.hs, "bob", secret("bob"))
	s.must(err)
	heard := make(chan harness.Event, 10)
	bob.OnEvent = func(_ string, e harness.Event) { heard <- e }
	ctx, cancel := context.WithCancel(s.ctx)
	ended := make(chan error, 1)
	t.Cleanup(func() { cancel(); <-ended })
	go func() { ended <- bob.Run(ctx) }()
	second := s.device("bob's telephone", "bob") // accepts the invitation
	room := s.room(alice, Room{Name: "Talk"}, second)
	s.say(alice, room, "hello")
	if e := <-heard; e.Content.Body != "hello" || bob.RoomName(room) != "Talk" {
		t.Errorf("bob heard %s in %q", e.Raw, bob.RoomName(room))
	}
	_, err = bob.Say(s.ctx, room, "hello yourself")
	s.must(err)
	s.reads(alice, room, "hello yourself")
}
