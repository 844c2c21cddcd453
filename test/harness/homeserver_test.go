//go:build e2e || interop

package harness

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

// meet lets two people meet in a room of a homeserver that is stopped and started: what the harness shows of it must be right, or
// nothing built on it is.
func meet(t *testing.T, prepare func(dir, registration string) (Homeserver, error)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	dir := t.TempDir()
	registration := filepath.Join(dir, "registration.yaml")
	if err := NewRegistration(1).WriteFile(registration, "localhost"); err != nil {
		t.Fatal(err)
	}
	hs, err := prepare(dir, registration)
	if err != nil {
		t.Fatal(err)
	}
	if err := hs.Start(ctx); err != nil {
		t.Fatal(err)
	}
	defer hs.Kill()

	people := map[string]*Person{}
	for _, name := range []string{"alice", "bob"} {
		if err := hs.Register(ctx, name, "secret-"+name); err != nil {
			t.Fatal(err)
		}
		p, err := Login(ctx, hs, name, "secret-"+name)
		if err != nil {
			t.Fatal(err)
		}
		people[name] = p
		go func() { _ = p.Run(ctx) }()
	}
	alice, bob := people["alice"], people["bob"]
	room, err := alice.CreateRoom(ctx, "hall", bob.UserID)
	if err != nil {
		t.Fatal(err)
	}
	// Dendrite leaves one of two events of one depth out of /messages, so nobody comes in while somebody speaks.
	err = bob.Await(ctx, "the room", func(rooms map[string]*Room) bool { return rooms[room] != nil && rooms[room].Joined })
	if err != nil {
		t.Fatal(err)
	}
	const n = 250 // more than one sync holds
	for i := range n {
		if _, err := alice.Say(ctx, room, fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
		if i == n/2 {
			if err := hs.Stop(); err != nil {
				t.Fatal(err)
			}
			if err := hs.Start(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	err = bob.Await(ctx, "all messages", func(rooms map[string]*Room) bool {
		return rooms[room] != nil && len(rooms[room].Messages()) == n
	})
	if err != nil {
		t.Fatal(err)
	}
	bob.View(func(rooms map[string]*Room) {
		for i, e := range rooms[room].Messages() {
			if e.Content.Body != fmt.Sprint(i) || e.Sender != alice.UserID {
				t.Fatalf("message %d is %q of %s", i, e.Content.Body, e.Sender)
			}
		}
		if got := rooms[room].Alias; got != "#hall:localhost" {
			t.Errorf("alias %q", got)
		}
	})
	history, err := bob.History(ctx, room)
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, e := range history {
		if e.Type == "m.room.message" {
			count++
		}
	}
	if count != n {
		t.Errorf("history has %d messages, want %d", count, n)
	}
}
