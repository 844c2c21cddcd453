package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
	"github.com/gatepost/gatepost/test/sound"
)

// The gate rings, and alice answers with a WebRTC client: they hear each other, and 9 opens.

// What is to be heard, in Hz.
const (
	gateTone  = 1000
	aliceTone = 700
)

// What is expected of the gate.
const (
	gateRings  = "gate: it rings, and alice answers"
	gateHeard  = "gate: alice hears it"
	aliceHeard = "gate: it hears alice"
	gateOpens  = "gate: 9 on alice's dial pad unlocks it"
	gateLogged = "gate: its room says that there was a call"
)

func gate() []string { return []string{gateRings, gateHeard, aliceHeard, gateOpens, gateLogged} }

// gateMedia lets calls stay on this machine.
const gateMedia = "calls: {listen_udp: \"127.0.0.1:0\", allow_peers: [127.0.0.0/8]}\n"

// gateRules are of a gate that hears at the port talk, and is heard at another.
func gateRules(talk, listen int) string {
	return fmt.Sprintf(`- topic: home/gate/event
  device: gate
  name: Gate
  space: Home
  class: event
  post: "{{ value }}"
  commands:
    - {name: unlock, topic: home/gate/set, payload: UNLOCK, confirm: {topic: home/gate/lock, payload: UNLOCKED}}
  call: {rtp: "rtp://127.0.0.1:%d?audio=pcmu&audio_port=%d"}
  ring: {topic: home/gate/bell, people: ["@alice:localhost"], timeout: 60s}
  keys: {"9": unlock}
- topic: home/gate/lock
  device: gate
  name: Gate
  space: Home
  class: state
  post: "the lock is {{ value | lower }}"
`, talk, listen)
}

// intercom is the gate, and alice's client for it.
type intercom struct {
	scene  *scene
	alice  *harness.Person
	broker string
	conn   net.PacketConn // of the gate
	port   int            // where it is heard
	aiortc string         // the Python that has it; "": alice has pion
}

// newIntercom takes the gate's port.
func newIntercom(s *scene, port int) (*intercom, error) {
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	return &intercom{scene: s, conn: conn, port: port}, err
}

func (i *intercom) rules() string {
	return gateRules(i.conn.LocalAddr().(*net.UDPAddr).Port, i.port)
}

// run lets the gate ring and alice answer.
func (i *intercom) run(ctx context.Context) error {
	heard := &sound.Meter{}
	gate := device.Intercom{
		Broker: i.broker, Name: "gate", Ring: lookTime, Tone: gateTone,
		Speech: i.conn, Listen: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: i.port}, Heard: heard,
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel(nil)
	wg.Go(func() { cancel(gate.Run(ctx)) })
	if err := i.answer(ctx, heard); err != nil {
		return err
	}
	<-ctx.Done()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, errOver) {
		return err
	}
	return nil
}

// answer takes the call that rings, to its end.
func (i *intercom) answer(ctx context.Context, heard *sound.Meter) error {
	room, invite, err := i.awaitCall(ctx, "m.call.invite", "")
	if err != nil {
		return err
	}
	p, err := i.phone()
	if err != nil {
		return err
	}
	defer p.Close()
	i.scene.aside("Gate", "☎ it rings at alice's; she answers, with %s as her WebRTC client", p)
	sdp, err := p.Answer(ctx, invite.Offer.SDP)
	if err != nil {
		return fmt.Errorf("%s and the gate's offer: %w", p, err)
	}
	send := func(kind, more string) error {
		_, err := i.alice.Send(ctx, room, kind, json.RawMessage(fmt.Sprintf(`{"call_id":%q,"party_id":"DEMO","version":"1"%s}`, invite.ID, more)))
		return err
	}
	answer, err := json.Marshal(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: sdp})
	if err != nil {
		return err
	}
	if err := send("m.call.answer", `,"answer":`+string(answer)); err != nil {
		return err
	}
	go func() { // if its offer had not all of them
		if _, more, err := i.awaitCall(ctx, "m.call.candidates", invite.ID); err == nil {
			for _, c := range more.Candidates {
				_ = p.Add(c) // without it the call may fail, which is seen
			}
		}
	}()
	i.scene.list.tick(gateRings)
	if err := poll(ctx, func() bool { return sound.Near(p.Hertz(), gateTone) }); err != nil {
		return err
	}
	i.scene.list.tick(gateHeard)
	i.scene.aside("Gate", "♪ alice hears it: a tone of %d Hz", gateTone)
	if err := poll(ctx, func() bool { return sound.Near(heard.Hertz(), aliceTone) }); err != nil {
		return err
	}
	i.scene.list.tick(aliceHeard)
	i.scene.aside("Gate", "♪ it hears alice: a tone of %d Hz", aliceTone)
	if err := p.Press(9); err != nil {
		return err
	}
	i.scene.aside("Gate", "alice presses 9")
	if err := i.awaitText(ctx, "the lock is unlocked"); err != nil {
		return err
	}
	i.scene.list.tick(gateOpens)
	if err := send("m.call.hangup", `,"reason":"user_hangup"`); err != nil {
		return err
	}
	if err := i.awaitText(ctx, i.alice.UserID); err != nil {
		return err
	}
	i.scene.list.tick(gateLogged)
	return nil
}

// phone is a WebRTC client for alice: aiortc where it is at hand, since gatepost has pion itself.
func (i *intercom) phone() (phone, error) {
	if i.aiortc != "" {
		return newAiortc(i.aiortc)
	}
	return newPeer()
}

// callContent is what alice's client reads of m.call events.
type callContent struct {
	ID         string                    `json:"call_id"`
	Offer      webrtc.SessionDescription `json:"offer"`
	Candidates []webrtc.ICECandidateInit `json:"candidates"`
}

// awaitCall waits for an event of a call that is not alice's own; with id of that call.
func (i *intercom) awaitCall(ctx context.Context, kind, id string) (room string, c callContent, err error) {
	err = i.alice.Await(ctx, kind, func(rooms map[string]*harness.Room) bool {
		for _, r := range rooms {
			for _, e := range r.Events {
				if e.Type == kind && e.Sender != i.alice.UserID && json.Unmarshal(e.Raw, &c) == nil && (id == "" || c.ID == id) {
					room = r.ID
					return true
				}
			}
		}
		return false
	})
	return room, c, err
}

// awaitText waits for a message with that text in the gate's room.
func (i *intercom) awaitText(ctx context.Context, text string) error {
	return i.alice.Await(ctx, text, func(rooms map[string]*harness.Room) bool {
		for _, r := range rooms {
			if r.Name != "Gate" {
				continue
			}
			for _, e := range r.Messages() {
				if strings.Contains(e.Content.Body, text) && !strings.Contains(e.Content.Body, "▶") {
					return true
				}
			}
		}
		return false
	})
}

// poll asks again and again.
func poll(ctx context.Context, done func() bool) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
