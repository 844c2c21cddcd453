//go:build e2e

package test

import (
	"testing"

	"github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
)

// onVersion is planOn's way to a Dendrite whose rooms have a version.
func onVersion(version string) func(t *testing.T, dir, registration string) harness.Homeserver {
	return func(t *testing.T, dir, registration string) harness.Homeserver {
		t.Helper()
		d, err := harness.NewDendrite(binaries, dir, registration)
		if err == nil {
			err = d.RoomVersion(version)
		}
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
}

const frontDoor = `
- topic: doors/{device}
  space: House
  class: event
  commands:
    - {name: open, topic: "doors/{device}/set", payload: OPEN, confirm: {topic: "doors/{device}/is", payload: OPEN}}
`

// obeys lets a door open when it is asked to.
func (p *place) obeys() *device.Client {
	var c *device.Client
	ready := make(chan struct{})
	c = p.device(device.Config{ClientID: "door", Subscribe: []string{"doors/front/set"}, OnMessage: func(m device.Message) {
		<-ready
		go func() { _ = c.Publish(p.ctx, device.Message{Topic: "doors/front/is", Payload: m.Payload, QoS: 1}) }()
	}})
	close(ready)
	return c
}

// In rooms of every version that is in use the gateway makes room and space, invites people with their power, lets the ghost
// speak, and obeys.
func TestRoomVersions(t *testing.T) {
	for _, version := range []string{"10", "11", "12"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			p := planOn(t, "appservice", frontDoor, onVersion(version))
			p.openHomeserver()
			p.must(p.gate.Start(p.ctx))
			c := p.obeys()
			p.publish(c, "doors/front", "closed")
			room, e := p.message(p.bob, "front", "the door", body("front: closed"))
			if e.Sender != p.user("gatepost_front") {
				t.Errorf("said by %s", e.Sender)
			}
			if v := state(p.bob, room, "m.room.create", "room_version"); v != version {
				t.Fatalf("the room has version %q", v)
			}
			space := p.roomNamed(p.bob, "House")
			p.must(p.bob.Await(p.ctx, "the room in its space", func(rooms map[string]*harness.Room) bool { return rooms[space].Children[room] }))
			asked, err := p.bob.Say(p.ctx, room, "!open")
			p.must(err)
			p.reacted(p.bob, room, asked, "confirmed")
		})
	}
}

func TestAnUpgradedRoomIsFollowed(t *testing.T) {
	t.Parallel()
	p := planOn(t, "appservice", frontDoor, onVersion("10"))
	p.openHomeserver()
	p.must(p.gate.Start(p.ctx))
	c := p.obeys()
	p.publish(c, "doors/front", "closed")
	old, _ := p.message(p.alice, "front", "the door", body("front: closed"))
	space := p.roomNamed(p.alice, "House")
	room, err := p.alice.Upgrade(p.ctx, old, "11")
	p.must(err)
	p.must(p.alice.Invite(p.ctx, room, p.user("gatepost")))
	p.must(p.alice.Await(p.ctx, "the new room in the space of the old one", func(rooms map[string]*harness.Room) bool {
		return rooms[space].Children[room] && !rooms[space].Children[old]
	}))
	p.publish(c, "doors/front", "still closed")
	p.must(p.bob.Await(p.ctx, "bob in the new room, and what is said there", func(rooms map[string]*harness.Room) bool {
		r := rooms[room]
		if r == nil {
			return false
		}
		for _, e := range r.Messages() {
			if e.Content.Body == "front: still closed" && e.Sender == p.user("gatepost_front") {
				return true
			}
		}
		return false
	}))
	asked, err := p.bob.Say(p.ctx, room, "!open")
	p.must(err)
	p.reacted(p.bob, room, asked, "confirmed")
}
