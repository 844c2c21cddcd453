//go:build e2e || interop || fault

package e2ee

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatepost/gatepost/test/harness"
)

const binaries = "../../bin"

// site is a homeserver and people at their clients.
type site struct {
	t    *testing.T
	ctx  context.Context
	hs   harness.Homeserver
	node *Node
	home string // folder of the homeserver
}

// newSite has the homeserver running. registration is the file of an application service, "" for none.
func newSite(t *testing.T, registration string) *site {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	s := &site{t: t, ctx: ctx}
	log := filepath.Join(t.TempDir(), "clients.log")
	node, err := Start(ctx, binaries, log)
	if errors.Is(err, ErrMissing) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	s.must(err)
	s.node = node
	t.Cleanup(func() {
		node.Stop()
		if t.Failed() {
			text, _ := os.ReadFile(log) // nothing then
			t.Logf("the clients' program complained:\n%s", text[max(0, len(text)-3000):])
		}
	})
	dir := filepath.Join(t.TempDir(), "homeserver")
	s.must(os.Mkdir(dir, 0o700))
	s.home = dir
	s.hs = newHomeserver(t, dir, registration)
	s.must(s.hs.Start(ctx))
	t.Cleanup(s.hs.Kill)
	return s
}

func (s *site) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// soon is the time for what happens at once.
func (s *site) soon() context.Context {
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	s.t.Cleanup(cancel)
	return ctx
}

func secret(user string) string { return "secret of " + user }

// register makes people.
func (s *site) register(names ...string) {
	s.t.Helper()
	for _, name := range names {
		s.must(s.hs.Register(s.ctx, name, secret(name)))
	}
}

// device is a log-in of a registered person.
func (s *site) device(name, user string) *Device {
	s.t.Helper()
	d, err := s.node.Login(s.ctx, name, s.hs, user, secret(user))
	s.must(err)
	return d
}

// person is a log-in of a registered person who has cross-signing keys, as people have whose client set them up.
func (s *site) person(name, user string) *Device {
	s.t.Helper()
	d := s.device(name, user)
	var err error
	d.Keys, err = d.CrossSign(s.ctx)
	s.must(err)
	return d
}

// another is a further log-in of the same person, who has verified it.
func (s *site) another(name string, first *Device) *Device {
	s.t.Helper()
	d := s.device(name, strings.TrimPrefix(strings.TrimSuffix(first.UserID, ":localhost"), "@"))
	s.must(d.CrossSignWith(s.ctx, first.Keys))
	return d
}

// room is an encrypted one that a makes and the others have joined.
func (s *site) room(a *Device, r Room, others ...*Device) string {
	s.t.Helper()
	for _, o := range others {
		r.Invite = append(r.Invite, o.UserID)
	}
	r.Encrypted = true
	room, err := a.CreateRoom(s.ctx, r)
	s.must(err)
	for _, d := range append(others, a) {
		for _, o := range others {
			s.joined(d, room, o.UserID)
		}
	}
	return room
}

// joined waits until a device knows that a user is in a room and that the room is encrypted.
func (s *site) joined(d *Device, room, user string) {
	s.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for ctx := s.soon(); ; {
		in, encrypted, err := d.In(ctx, room, user)
		if err != nil {
			s.t.Fatalf("%s does not know that %s is in %s: %v; the last events: %s", d.name, user, room, err, d.tail(20))
		}
		if in && encrypted {
			return
		}
		<-tick.C
	}
}

func (s *site) say(d *Device, room, text string) string {
	s.t.Helper()
	id, err := d.Say(s.ctx, room, text)
	s.must(err)
	return id
}

// reads waits until a device reads a text that was encrypted.
func (s *site) reads(d *Device, room, text string) Event {
	s.t.Helper()
	e, err := d.Await(s.soon(), "the text "+text, func(e Event) bool {
		return e.Room == room && e.Type == "m.room.message" && e.Content.Body == text
	})
	s.must(err)
	if !e.Encrypted {
		s.t.Errorf("%q was readable for the homeserver", text)
	}
	return e
}

// gone waits until a device knows that a user is not in a room.
func (s *site) gone(d *Device, room, user string) {
	s.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for ctx := s.soon(); ; {
		in, _, err := d.In(ctx, room, user)
		s.must(err)
		if !in {
			return
		}
		<-tick.C
	}
}

// compare takes a verification to its end from both sides, as people would who see the same emoji.
func (s *site) compare(a, b *Verification) {
	s.t.Helper()
	type seen struct {
		step Step
		err  error
	}
	other := make(chan seen, 1)
	go func() {
		step, err := b.Emoji(s.soon())
		other <- seen{step, err}
	}()
	mine, err := a.Emoji(s.soon())
	s.must(err)
	theirs := <-other
	s.must(theirs.err)
	if got, want := strings.Join(theirs.step.Emoji, " "), strings.Join(mine.Emoji, " "); got != want {
		s.t.Fatalf("one sees %s, the other %s", got, want)
	}
	ended := make(chan error, 1)
	go func() { ended <- b.Confirm(s.soon()) }()
	s.must(a.Confirm(s.soon()))
	s.must(<-ended)
}
