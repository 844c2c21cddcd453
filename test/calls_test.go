//go:build e2e || interop

package test

import (
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/logging"
	"github.com/pion/turn/v5"

	"github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
)

const bell = `
- topic: porch/{reading}
  device: porch
  name: Front door
  class: event
  call: {mqtt: porch}
  ring: {topic: porch/button, people: ["@alice:localhost"], timeout: 5s}
`

// signal is a message of the protocol in docs/signalling-over-mqtt.md.
type signal struct {
	V          int                          `json:"v"`
	Type       string                       `json:"type"`
	Call       string                       `json:"call_id"`
	Person     string                       `json:"person"`
	Reason     string                       `json:"reason"`
	Auto       bool                         `json:"auto"`
	Offer      struct{ Type, SDP string }   `json:"offer"`
	Answer     struct{ Type, SDP string }   `json:"answer"`
	Candidates []struct{ Candidate string } `json:"candidates"`
	TURN       struct {
		URIs               []string
		Username, Password string
		TTL                int
	} `json:"turn"`
}

// intercom is a device with a WebRTC stack of its own, as far as MQTT shows it.
type intercom struct {
	*device.Client
	p     *place
	mu    sync.Mutex
	heard []signal
	more  chan struct{}
}

func (p *place) intercom() *intercom {
	d := &intercom{p: p, more: make(chan struct{}, 100)}
	d.Client = p.device(device.Config{ClientID: "porch", Subscribe: []string{"porch/call/in"}, OnMessage: func(m device.Message) {
		var s signal
		if json.Unmarshal(m.Payload, &s) != nil || s.V != 1 {
			s = signal{Type: "garbage: " + string(m.Payload)}
		}
		d.mu.Lock()
		d.heard = append(d.heard, s)
		d.mu.Unlock()
		d.more <- struct{}{}
	}})
	p.publish(d.Client, "porch/event", "here") // now it is known
	p.message(p.alice, "Front door", "the door's event", body("event: here"))
	return d
}

// hears waits for the next message, which must be of a type.
func (d *intercom) hears(want string) signal {
	d.p.t.Helper()
	deadline := time.After(patience)
	for {
		d.mu.Lock()
		if len(d.heard) > 0 {
			s := d.heard[0]
			d.heard = d.heard[1:]
			d.mu.Unlock()
			if s.Type != want {
				d.p.t.Fatalf("the device heard %+v, not %s", s, want)
			}
			return s
		}
		d.mu.Unlock()
		select {
		case <-d.more:
		case <-deadline:
			d.p.t.Fatalf("the device never heard %s", want)
		}
	}
}

func (d *intercom) says(format string, args ...any) {
	d.p.t.Helper()
	d.p.must(d.Publish(d.p.ctx, device.Message{Topic: "porch/call/out", Payload: fmt.Appendf(nil, format, args...), QoS: 1}))
}

// chat is a room of a person with the door's ghost (in account mode the bot), made by the person.
func (p *place) chat(who *harness.Person) string {
	p.t.Helper()
	ghost := p.user("gatepost_porch")
	if p.mode == "account" {
		ghost = p.user("gatepost")
	}
	room, err := who.CreateRoom(p.ctx, "", ghost)
	p.must(err)
	p.must(who.Await(p.ctx, "the door in the chat", func(rooms map[string]*harness.Room) bool {
		r := rooms[room]
		if r == nil {
			return false
		}
		_, in := r.Members[ghost]
		return in
	}))
	return room
}

// event waits for an event of a call of the door's, in any chat, and gives room and content.
func (p *place) callEvent(who *harness.Person, typ, call string) (room string, content map[string]any) {
	p.t.Helper()
	p.must(who.Await(p.ctx, typ, func(rooms map[string]*harness.Room) bool {
		for id, r := range rooms {
			for _, e := range r.Events {
				var c map[string]any
				if e.Type == typ && e.Sender != who.UserID && json.Unmarshal(e.Raw, &c) == nil && (call == "" || c["call_id"] == call) {
					room, content = id, c
					return true
				}
			}
		}
		return false
	}))
	if content["version"] != "1" || content["party_id"] != "gatepost" {
		p.t.Errorf("%s %v", typ, content)
	}
	return room, content
}

func (p *place) callSend(who *harness.Person, room, typ, call, more string) {
	p.t.Helper()
	content := json.RawMessage(fmt.Sprintf(`{"call_id":%q,"party_id":"PHONE","version":"1"%s}`, call, more))
	_, err := who.Send(p.ctx, room, typ, content)
	p.must(err)
}

const callOffer = `,"lifetime":60000,"offer":{"type":"offer","sdp":"v=0 from alice"}`

func TestAPersonCallsADevice(t *testing.T) {
	modes(t, func(t *testing.T, mode string) {
		p := settle(t, mode, bell)
		d := p.intercom()
		room := p.chat(p.alice)
		p.callSend(p.alice, room, "m.call.invite", "C1", callOffer)
		if s := d.hears("invite"); s.Call != "C1" || s.Person != p.alice.UserID || s.Offer.SDP != "v=0 from alice" || s.Auto {
			t.Errorf("%+v", s)
		}
		p.callSend(p.alice, room, "m.call.candidates", "C1", `,"candidates":[{"candidate":"candidate:1","sdpMid":"0","sdpMLineIndex":0}]`)
		if s := d.hears("candidates"); len(s.Candidates) != 1 || s.Candidates[0].Candidate != "candidate:1" {
			t.Errorf("%+v", s)
		}
		d.says(`{"v":1,"type":"candidates","call_id":"C1","candidates":[{"candidate":"candidate:9","sdpMid":"0"}]}`)
		d.says(`{"v":1,"type":"answer","call_id":"C1","answer":{"type":"answer","sdp":"v=0 from the door"}}`)
		_, c := p.callEvent(p.alice, "m.call.answer", "C1")
		if a, _ := c["answer"].(map[string]any); a["sdp"] != "v=0 from the door" || a["type"] != "answer" {
			t.Errorf("%v", c)
		}
		p.callEvent(p.alice, "m.call.candidates", "C1")
		p.callSend(p.alice, room, "m.call.select_answer", "C1", `,"selected_party_id":"gatepost"`)

		// Who calls meanwhile finds it busy; the call goes on.
		p.callSend(p.alice, room, "m.call.invite", "C2", callOffer)
		if _, c := p.callEvent(p.alice, "m.call.reject", "C2"); c["reason"] != "user_busy" {
			t.Errorf("%v", c)
		}
		p.callSend(p.alice, room, "m.call.hangup", "C1", `,"reason":"user_hangup"`)
		if s := d.hears("hangup"); s.Call != "C1" || s.Reason != "user_hangup" {
			t.Errorf("%+v", s)
		}
		p.message(p.alice, "Front door", "the call log", func(m harness.Event) bool {
			return len(m.Content.Body) > len(p.alice.UserID) && m.Content.Body[:len(p.alice.UserID)+8] == p.alice.UserID+" called:"
		})
	})
}

// calls is what the command line lists.
func (p *place) calls() string {
	p.t.Helper()
	r, err := p.gate.Do(p.ctx, "calls")
	p.must(err)
	return strings.Join(strings.Fields(r.Stdout+r.Stderr), " ")
}

// A gateway that is killed in a call ends it as soon as it is back.
func TestACallIsEndedAfterAKill(t *testing.T) {
	p := settle(t, "appservice", bell)
	d := p.intercom()
	room := p.chat(p.alice)
	p.callSend(p.alice, room, "m.call.invite", "C1", callOffer)
	d.hears("invite")
	d.says(`{"v":1,"type":"answer","call_id":"C1","answer":{"type":"answer","sdp":"v=0"}}`)
	p.callEvent(p.alice, "m.call.answer", "C1")
	p.gate.Kill()
	p.must(p.gate.Start(p.ctx))
	if _, c := p.callEvent(p.alice, "m.call.hangup", "C1"); c["reason"] != "unknown_error" {
		t.Errorf("%v", c)
	}
}

// The button calls alice, in a chat that the door makes; nobody answers, and the room tells.
func TestADeviceRingsPeople(t *testing.T) {
	p := settle(t, "appservice", bell)
	d := p.intercom()
	p.publish(d.Client, "porch/button", "pressed")
	s := d.hears("ring")
	if s.Person != p.alice.UserID {
		t.Errorf("%+v", s)
	}
	d.says(`{"v":1,"type":"invite","call_id":%q,"offer":{"type":"offer","sdp":"v=0 from the door"}}`, s.Call)
	_, c := p.callEvent(p.alice, "m.call.invite", s.Call)
	if c["invitee"] != p.alice.UserID || c["lifetime"] != 90000.0 {
		t.Errorf("%v", c)
	}
	p.callEvent(p.alice, "m.call.hangup", s.Call)
	d.hears("hangup")
	p.message(p.alice, "Front door", "that nobody answered", body("Rang; nobody answered."))
	p.message(p.alice, "Front door", "the button, which is an event too", body("button: pressed"))
}

// allocate asks a relay for an address.
func (p *place) allocate(server, username, password string) (close func(), err error) {
	p.t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	p.must(err)
	log := logging.NewDefaultLoggerFactory()
	log.DefaultLogLevel = logging.LogLevelDisabled
	client, err := turn.NewClient(&turn.ClientConfig{
		STUNServerAddr: server, TURNServerAddr: server, Conn: conn, Username: username, Password: password, Realm: "example.org", LoggerFactory: log,
	})
	p.must(err)
	p.must(client.Listen())
	_, err = client.Allocate()
	return func() { client.Close(); _ = conn.Close() }, err
}

// With a relay of our own the device gets a credential for each call, which is good for nothing after it.
func TestACallHasARelay(t *testing.T) {
	p := plan(t, "appservice", bell)
	ports, err := harness.FreePorts(1)
	p.must(err)
	p.set.Extra = fmt.Sprintf("turn: {listen: [\"udp://127.0.0.1:%d\"], realm: example.org, secret: a secret of the test, public_ip: [127.0.0.1], relay_ports: 51000-51100}\n", ports[0])
	p.gate, err = harness.NewGatepost(filepath.Join(binaries, "gatepost"), t.TempDir(), p.set)
	p.must(err)
	defer p.gate.Kill()
	p.openHomeserver()
	p.must(p.gate.Start(p.ctx))
	d := p.intercom()
	room := p.chat(p.alice)
	p.callSend(p.alice, room, "m.call.invite", "C1", callOffer)
	relay := d.hears("invite").TURN
	if want := fmt.Sprintf("turn:127.0.0.1:%d?transport=udp", ports[0]); !slices.Contains(relay.URIs, want) || relay.Password == "" || relay.TTL < 600 || !strings.HasSuffix(relay.Username, "C1") {
		t.Errorf("%+v, want %s", relay, want)
	}
	server := fmt.Sprintf("127.0.0.1:%d", ports[0])
	leave, err := p.allocate(server, relay.Username, relay.Password)
	p.must(err)
	defer leave()
	allocations := func() string {
		r, err := p.gate.Do(p.ctx, "turn", "allocations")
		p.must(err)
		return r.Stdout
	}
	if list := allocations(); !strings.Contains(list, "call ") {
		t.Errorf("gatepost turn allocations:\n%s", list)
	}
	p.callSend(p.alice, room, "m.call.hangup", "C1", `,"reason":"user_hangup"`)
	d.hears("hangup")
	p.message(p.alice, "Front door", "the call log", func(m harness.Event) bool { return strings.HasPrefix(m.Content.Body, p.alice.UserID+" called:") })
	if list := allocations(); strings.Contains(list, "call ") {
		t.Errorf("after the call, gatepost turn allocations:\n%s", list)
	}
	again, err := p.allocate(server, relay.Username, relay.Password)
	defer again()
	if err == nil {
		t.Error("the credential is good after the call")
	}
}

// !call in the door's room makes the door call who said it.
func TestAPersonIsCalledBack(t *testing.T) {
	p := settle(t, "appservice", bell)
	d := p.intercom()
	home, _ := p.message(p.bob, "Front door", "the door's event", body("event: here"))
	p.say(p.bob, home, "!call")
	s := d.hears("ring")
	d.says(`{"v":1,"type":"invite","call_id":%q,"offer":{"type":"offer","sdp":"v=0"}}`, s.Call)
	room, _ := p.callEvent(p.bob, "m.call.invite", s.Call)
	if list := p.calls(); !strings.Contains(list, "porch @bob:localhost out inviting") {
		t.Errorf("gatepost calls:\n%s", list)
	}
	p.callSend(p.bob, room, "m.call.answer", s.Call, `,"answer":{"type":"answer","sdp":"v=0 from bob"}`)
	if a := d.hears("answer"); a.Answer.SDP != "v=0 from bob" {
		t.Errorf("%+v", a)
	}
	if _, c := p.callEvent(p.bob, "m.call.select_answer", s.Call); c["selected_party_id"] != "PHONE" {
		t.Errorf("%v", c)
	}
	d.says(`{"v":1,"type":"hangup","call_id":%q,"reason":"user_hangup"}`, s.Call)
	p.callEvent(p.bob, "m.call.hangup", s.Call)
	if list := p.calls(); !strings.Contains(list, "out over: user_hangup") {
		t.Errorf("gatepost calls:\n%s", list)
	}
}

// Who placed a call may change it: the offer counts when it came back from the homeserver.
func TestADeviceChangesItsCall(t *testing.T) {
	modes(t, func(t *testing.T, mode string) {
		p := settle(t, mode, bell)
		d := p.intercom()
		p.publish(d.Client, "porch/button", "pressed")
		s := d.hears("ring")
		d.says(`{"v":1,"type":"invite","call_id":%q,"offer":{"type":"offer","sdp":"v=0"}}`, s.Call)
		room, _ := p.callEvent(p.alice, "m.call.invite", s.Call)
		p.callSend(p.alice, room, "m.call.answer", s.Call, `,"answer":{"type":"answer","sdp":"v=0 from alice"}`)
		d.hears("answer")
		d.says(`{"v":1,"type":"negotiate","call_id":%q,"description":{"type":"offer","sdp":"v=0 with a camera"}}`, s.Call)
		p.callEvent(p.alice, "m.call.negotiate", s.Call)
		d.hears("negotiate_stands")
		p.callSend(p.alice, room, "m.call.negotiate", s.Call, `,"description":{"type":"answer","sdp":"v=0 seen"}`)
		d.hears("negotiate")
	})
}

// Into an encrypted chat the ghost says how to call, and leaves.
func TestAnEncryptedChatIsLeft(t *testing.T) {
	p := settle(t, "appservice", bell)
	p.intercom()
	room, err := p.alice.CreateRoom(p.ctx, "")
	p.must(err)
	p.must(p.alice.SetState(p.ctx, room, "m.room.encryption", "", map[string]string{"algorithm": "m.megolm.v1.aes-sha2"}))
	p.must(p.alice.Invite(p.ctx, room, p.user("gatepost_porch")))
	notice := "I can't read, write or take calls in an encrypted chat. Talk to " + p.user("gatepost") +
		" instead, or in the room that it made for me: there !call rings you."
	p.must(p.alice.Await(p.ctx, "the ghost's notice, and that it left", func(rooms map[string]*harness.Room) bool {
		r := rooms[room]
		if r == nil {
			return false
		}
		said := false
		for _, m := range r.Messages() {
			said = said || m.Sender == p.user("gatepost_porch") && m.Content.Body == notice
		}
		_, in := r.Members[p.user("gatepost_porch")]
		return said && !in
	}))
}
