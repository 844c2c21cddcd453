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

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
	"github.com/gatepost/gatepost/test/sound"
)

// The gate rings, and alice answers with a WebRTC client (pion): they hear each other, and 9 opens.

// What is to be heard, in Hz.
const (
	gateTone  = 1000
	aliceTone = 700
)

// What is expected of the gate.
const (
	gateRings  = "gate: it rings, and alice answers (with pion as her WebRTC client)"
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
	i.scene.aside("Gate", "☎ it rings at alice's; she answers")
	p, err := newPeer()
	if err != nil {
		return err
	}
	defer p.Close()
	if err := p.take(invite.Offer.SDP); err != nil {
		return fmt.Errorf("the gate's offer: %w", err)
	}
	send := func(kind, more string) error {
		_, err := i.alice.Send(ctx, room, kind, json.RawMessage(fmt.Sprintf(`{"call_id":%q,"party_id":"DEMO","version":"1"%s}`, invite.ID, more)))
		return err
	}
	answer, err := json.Marshal(p.LocalDescription())
	if err != nil {
		return err
	}
	if err := send("m.call.answer", `,"answer":`+string(answer)); err != nil {
		return err
	}
	go func() { // if its offer had not all of them
		if _, more, err := i.awaitCall(ctx, "m.call.candidates", invite.ID); err == nil {
			for _, c := range more.Candidates {
				_ = p.AddICECandidate(c) // without it the call may fail, which is seen
			}
		}
	}()
	i.scene.list.tick(gateRings)
	go p.speak(ctx)
	if err := poll(ctx, func() bool { return sound.Near(p.heard.Hertz(), gateTone) }); err != nil {
		return err
	}
	i.scene.list.tick(gateHeard)
	i.scene.aside("Gate", "♪ alice hears it: a tone of %d Hz", gateTone)
	if err := poll(ctx, func() bool { return sound.Near(heard.Hertz(), aliceTone) }); err != nil {
		return err
	}
	i.scene.list.tick(aliceHeard)
	i.scene.aside("Gate", "♪ it hears alice: a tone of %d Hz", aliceTone)
	if err := p.press(9); err != nil {
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

// peer is alice's WebRTC client.
type peer struct {
	*webrtc.PeerConnection
	mic   *microphone
	heard *sound.Meter
}

// Payload types of PCMU (RFC 3551) and of the dial pad (RFC 4733) as alice's client offers or takes them.
const (
	payloadPCMU = 0
	payloadKeys = 101
)

func newPeer() (*peer, error) {
	var m webrtc.MediaEngine
	for _, c := range []webrtc.RTPCodecParameters{
		{RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypePCMU, ClockRate: sound.Rate}, PayloadType: payloadPCMU},
		{RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: "audio/telephone-event", ClockRate: sound.Rate, SDPFmtpLine: "0-15"}, PayloadType: payloadKeys},
	} {
		if err := m.RegisterCodec(c, webrtc.RTPCodecTypeAudio); err != nil {
			return nil, err
		}
	}
	var s webrtc.SettingEngine
	s.SetIncludeLoopbackCandidate(true)
	s.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(&m), webrtc.WithSettingEngine(s)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, err
	}
	p := &peer{PeerConnection: pc, mic: &microphone{keys: payloadKeys}, heard: &sound.Meter{}}
	pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		for {
			packet, _, err := track.ReadRTP()
			if err != nil {
				return
			}
			p.heard.Add(packet.Payload)
		}
	})
	_, err = pc.AddTrack(p.mic)
	return p, err
}

// take answers an offer; LocalDescription is the answer then, with all candidates.
func (p *peer) take(offer string) error {
	if err := p.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return err
	}
	answer, err := p.CreateAnswer(nil)
	if err != nil {
		return err
	}
	done := webrtc.GatheringCompletePromise(p.PeerConnection)
	if err := p.SetLocalDescription(answer); err != nil {
		return err
	}
	<-done
	return nil
}

// speak says a tone until ctx is done.
func (p *peer) speak(ctx context.Context) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		p.mic.say(sound.Tone(aliceTone, n))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (p *peer) press(key byte) error { return p.mic.press(key) }

// microphone is a track that can send keys of the dial pad too, which pion's own tracks can't.
type microphone struct {
	keys uint8 // payload type
	mu   sync.Mutex
	out  webrtc.TrackLocalWriter
	head rtp.Header
}

// Bind is of webrtc.TrackLocal, as the others are.
func (m *microphone) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, codec := range c.CodecParameters() {
		switch codec.MimeType {
		case webrtc.MimeTypePCMU:
			m.out, m.head = c.WriteStream(), rtp.Header{Version: 2, PayloadType: uint8(codec.PayloadType), SSRC: uint32(c.SSRC())}
		case "audio/telephone-event":
			m.keys = uint8(codec.PayloadType)
		}
	}
	if m.out == nil {
		return webrtc.RTPCodecParameters{}, webrtc.ErrUnsupportedCodec
	}
	return c.CodecParameters()[0], nil
}

func (*microphone) Unbind(webrtc.TrackLocalContext) error { return nil }
func (*microphone) ID() string                            { return "microphone" }
func (*microphone) RID() string                           { return "" }
func (*microphone) StreamID() string                      { return "alice" }
func (*microphone) Kind() webrtc.RTPCodecType             { return webrtc.RTPCodecTypeAudio }

// say sends 20 ms of sound. What can't be sent is not missed.
func (m *microphone) say(frame []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.head.SequenceNumber++
	m.head.Timestamp += sound.Frame
	if m.out != nil {
		_, _ = m.out.WriteRTP(&m.head, frame)
	}
}

// press sends a key as clients do: its end three times (RFC 4733 section 2.5.1.4).
func (m *microphone) press(key byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	head := m.head
	head.PayloadType = m.keys
	var errs []error
	for range 3 {
		m.head.SequenceNumber++
		head.SequenceNumber = m.head.SequenceNumber
		_, err := m.out.WriteRTP(&head, []byte{key, 0x80 | 10, 5 * sound.Frame >> 8, 5 * sound.Frame & 0xff})
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
