//go:build goolm

package main

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
	"github.com/gatepost/gatepost/test/sealed"
)

// encryption is gatepost's setting for all rooms.
const encryption = "allow"

// privateRules are of a device whose room the homeserver cannot read; they come before the others.
const privateRules = `
- topic: home/safe/event
  device: safe
  name: Safe
  space: Home
  class: event
  encryption: require
  post: "{{ value }}"
  commands:
    - {name: unlock, topic: home/safe/set, payload: UNLOCK, confirm: {topic: home/safe/lock, payload: UNLOCKED}}
- topic: home/safe/lock
  device: safe
  name: Safe
  space: Home
  class: state
  encryption: require
  post: "the lock is {{ value | lower }}"
`

const (
	privateEvent   = "encrypted: event of the safe"
	privateCommand = "encrypted: unlock: confirmed by the safe"
)

// private is what is expected of the encrypted room.
func private() []string { return []string{privateEvent, privateCommand} }

// privately is what runs for the encrypted room: the safe, and a second client of alice's that encrypts, shows what the safe says
// and unlocks it.
func (s *scene) privately(ctx context.Context, hs harness.Homeserver, password, broker string) (map[string]func(context.Context) error, error) {
	alice, err := sealed.Login(ctx, hs, "alice", password)
	if err != nil {
		return nil, err
	}
	p := &privacy{scene: s, alice: alice, heard: make(chan string, 1)}
	alice.OnEvent = p.event
	return map[string]func(context.Context) error{
		"alice's encrypting client":  alice.Run,
		"alice's encrypted commands": p.unlock,
		"safe":                       device.Door{Broker: broker, Name: "safe", Every: 4 * time.Second}.Run,
	}, nil
}

// privacy is what happens in the encrypted room.
type privacy struct {
	scene *scene
	alice *sealed.Person
	heard chan string // room of the first event
	asked atomic.Bool // for the safe to be unlocked
	cards cards       // of the goroutine that sees events
}

func (p *privacy) event(room string, e harness.Event) {
	who, _, _ := strings.Cut(strings.TrimPrefix(e.Sender, "@"), ":")
	if _, news := p.cards.lines(e); strings.Contains(e.Content.Body, "\n▶ ") && !news {
		return // a card of which only readings have changed
	}
	p.scene.say("%s  %-16s %-16s 🔒 %s", e.Sent().Local().Format("15:04:05"), p.alice.RoomName(room), who, strings.ReplaceAll(e.Content.Body, "\n", " · "))
	switch {
	case e.Sender == p.alice.UserID:
	case p.asked.Load() && strings.Contains(e.Content.Body, "confirmed"):
		p.scene.list.tick(privateCommand)
	default:
		p.scene.list.tick(privateEvent)
		select {
		case p.heard <- room:
		default:
		}
	}
}

// unlock asks for it some time after the first event.
func (p *privacy) unlock(ctx context.Context) error {
	var room string
	select {
	case room = <-p.heard:
	case <-ctx.Done():
		return nil
	}
	select {
	case <-time.After(lookTime):
	case <-ctx.Done():
		return nil
	}
	p.asked.Store(true)
	_, err := p.alice.Say(ctx, room, "!unlock")
	return err
}
