//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
)

// site is a homeserver, a gatepost with devices, and a person who has a chat with each.
type site struct {
	hs    *harness.Dendrite
	gate  *harness.Gatepost
	alice *harness.Person
	rooms []string // the chats, by device
	ports []ports  // of the devices
	stop  context.CancelFunc
}

// ports of a device that sends plain RTP: of gatepost for sound and picture, and where the device hears.
type ports struct{ audio, video, hears int }

// relayed is the relay's part of the configuration: each call has an allocation, as it has on a host that serves people.
const relayed = "turn: {listen: [\"udp://127.0.0.1:%d\"], realm: bench, secret: a secret of the bench, public_ip: [127.0.0.1], " +
	"relay_ports: %d-%d, allow_peers: [127.0.0.0/8]}\n"

// newSite starts all. call is the configuration of a device's call.
func (b *bench) newSite(ctx context.Context, devices int, call func(ports) string) (s *site, err error) {
	s = &site{stop: func() {}}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	free, err := freePorts(4 + 3*devices)
	if err != nil {
		return s, err
	}
	dir, err := b.dir("gatepost")
	if err != nil {
		return s, err
	}
	home, err := b.dir("dendrite")
	if err != nil {
		return s, err
	}
	reg, file := harness.NewRegistration(free[0]), filepath.Join(dir, "registration.yaml")
	if err := reg.WriteFile(file, "localhost"); err != nil {
		return s, err
	}
	if s.hs, err = harness.NewDendrite(b.bin, home, file); err != nil {
		return s, err
	}
	if err := s.hs.Start(ctx); err != nil {
		return s, err
	}
	if err := s.hs.Register(ctx, "alice", "secret-alice"); err != nil {
		return s, err
	}
	if s.alice, err = harness.Login(ctx, s.hs, "alice", "secret-alice"); err != nil {
		return s, err
	}
	running, stop := context.WithCancel(ctx)
	s.stop = stop
	go func() { _ = s.alice.Run(running) }() // Await says how it ended
	var rules strings.Builder
	for i := range devices {
		p := ports{free[4+3*i], free[5+3*i], free[6+3*i]}
		s.ports = append(s.ports, p)
		fmt.Fprintf(&rules, "- topic: cam%d/{reading}\n  device: cam%d\n  class: event\n  call: {%s}\n", i, i, call(p))
	}
	mqtt := "127.0.0.1:" + strconv.Itoa(free[1])
	s.gate, err = harness.NewGatepost(filepath.Join(b.bin, "gatepost"), dir, harness.Settings{
		Homeserver: s.hs.URL(), ServerName: "localhost", Registration: file, Listen: strings.TrimPrefix(reg.URL, "http://"),
		Owners: []string{s.alice.UserID}, MQTT: mqtt, Admin: "127.0.0.1:" + strconv.Itoa(free[2]), Devices: rules.String(),
		Extra: "calls: {listen_udp: \"127.0.0.1:0\", allow_peers: [127.0.0.0/8]}\n" + fmt.Sprintf(relayed, free[3], firstRelay, lastRelay),
	})
	if err != nil {
		return s, err
	}
	if err := s.gate.Start(ctx); err != nil {
		return s, err
	}
	return s, s.populate(ctx, mqtt, devices)
}

// populate lets each device say something, so that it is known, and opens a chat with each.
func (s *site) populate(ctx context.Context, mqtt string, devices int) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	c, err := device.New(device.Config{Addr: mqtt, ClientID: "bench", Clean: true})
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); _ = c.Run(running) }() // Publish says how it goes
	defer func() { stop(); <-done }()
	for i := range devices {
		if err := c.Publish(ctx, device.Message{Topic: fmt.Sprintf("cam%d/event", i), Payload: []byte("here"), QoS: 1}); err != nil {
			return err
		}
	}
	for i := range devices { // its room is there, and so is its user
		name := fmt.Sprintf("@gatepost_cam%d:localhost", i)
		if err := s.alice.Await(ctx, name+" in a room", func(rooms map[string]*harness.Room) bool { return member(rooms, "", name) }); err != nil {
			return err
		}
		room, err := s.alice.CreateRoom(ctx, "", name)
		if err != nil {
			return err
		}
		if err := s.alice.Await(ctx, name+" in the chat", func(rooms map[string]*harness.Room) bool { return member(rooms, room, name) }); err != nil {
			return err
		}
		s.rooms = append(s.rooms, room)
	}
	return nil
}

// member says whether somebody is in a room; "": in any.
func member(rooms map[string]*harness.Room, room, user string) bool {
	for id, r := range rooms {
		if _, in := r.Members[user]; in && (room == "" || id == room) {
			return true
		}
	}
	return false
}

func (s *site) close() {
	s.stop()
	if s.gate != nil && s.gate.Process != nil {
		s.gate.Kill()
	}
	if s.hs != nil {
		s.hs.Kill()
	}
}

// say sends an event of a call.
func (s *site) say(ctx context.Context, room, typ, call string, more map[string]any) error {
	content := map[string]any{"call_id": call, "party_id": "PHONE", "version": "1"}
	for k, v := range more {
		content[k] = v
	}
	_, err := s.alice.Send(ctx, room, typ, content)
	return err
}

// answer waits for the answer to a call, and gives its description.
func (s *site) answer(ctx context.Context, room, call string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var text, over string
	err := s.alice.Await(ctx, "an answer", func(rooms map[string]*harness.Room) bool {
		r := rooms[room]
		if r == nil {
			return false
		}
		for _, e := range r.Events {
			var c struct {
				Call   string `json:"call_id"`
				Answer struct {
					SDP string `json:"sdp"`
				} `json:"answer"`
			}
			if e.Sender == s.alice.UserID || json.Unmarshal(e.Raw, &c) != nil || c.Call != call {
				continue
			}
			if e.Type == "m.call.hangup" || e.Type == "m.call.reject" {
				over = string(e.Raw)
				return true
			}
			if e.Type == "m.call.answer" {
				text = c.Answer.SDP
				return true
			}
		}
		return false
	})
	if err == nil && over != "" {
		err = fmt.Errorf("it is refused: %s", over)
	}
	return text, err
}
