//go:build e2e || interop || fault

package e2ee

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
)

// signal is a message of the door's calls, as docs/signalling-over-mqtt.md has it.
type signal struct {
	Type       string
	Call       string `json:"call_id"`
	Person     string
	Reason     string
	Offer      struct{ SDP string }
	Answer     struct{ SDP string }
	Candidates []struct{ Candidate string }
}

// handset is the part of the door that calls, as far as MQTT shows it.
type handset struct {
	*device.Client
	w     *world
	heard chan signal
}

func (w *world) newHandset() *handset {
	w.t.Helper()
	h := &handset{w: w, heard: make(chan signal, 100)}
	c, err := device.New(device.Config{Addr: w.set.MQTT, ClientID: "handset", Subscribe: []string{"home/door/call/in"}, OnMessage: func(m device.Message) {
		var s signal
		if json.Unmarshal(m.Payload, &s) == nil {
			h.heard <- s
		}
	}})
	w.must(err)
	h.Client = c
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = c.Run(w.t.Context()) // Publish says when it can't
	}()
	w.t.Cleanup(func() { <-done })
	w.must(c.Online(w.ctx))
	return h
}

// hears waits for the next message, which must be of a type.
func (h *handset) hears(kind string) signal {
	h.w.t.Helper()
	select {
	case s := <-h.heard:
		if s.Type != kind {
			h.w.t.Fatalf("the door hears %+v, not %s", s, kind)
		}
		return s
	case <-time.After(patience):
		h.w.t.Fatalf("the door never hears %s", kind)
		return signal{}
	}
}

func (h *handset) says(topic, format string, args ...any) {
	h.w.t.Helper()
	h.w.must(h.Publish(h.w.soon(), device.Message{Topic: topic, Payload: fmt.Appendf(nil, format, args...), QoS: 1}))
}

// sdp is a description whose texts are found again.
func sdp(user string) string {
	return "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\nc=IN IP4 0.0.0.0\r\na=rtcp-mux\r\na=ice-ufrag:" + user +
		"\r\na=ice-pwd:0123456789012345678901\r\na=fingerprint:sha-256 " + strings.TrimSuffix(strings.Repeat("AB:", 32), ":") + "\r\na=setup:actpass\r\na=mid:0\r\na=sendrecv\r\na=rtpmap:0 PCMU/8000\r\n"
}

// ufrag is one that is found again; it has no spaces, which ICE does not allow.
func ufrag() string { return strings.ToLower(harness.Secret()) }

// spoken is an event of a call that the other side sent to a device, encrypted.
func (w *world) spoken(d *Device, kind, call, text string) Event {
	w.t.Helper()
	e, err := d.Await(w.soon(), kind+" with "+text, func(e Event) bool {
		return e.Type == kind && e.Sender != d.UserID && strings.Contains(string(e.Raw), call) && strings.Contains(string(e.Raw), text)
	})
	w.must(err)
	if !e.Encrypted {
		w.t.Errorf("%s was readable for the homeserver", kind)
	}
	return e
}

// In encrypted rooms the bot is the party of calls, and nothing of them can be read by the homeserver: not what the two clients
// tell each other, nor the lines and pictures about it.
func TestCallsAreEncrypted(t *testing.T) {
	t.Parallel()
	name, alarm := plant("Gate"), plant("alarm")
	picture, err := base64.StdEncoding.DecodeString(pixel)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(s *harness.Settings) {
		s.Devices = strings.ReplaceAll(rules, "name: Front door", fmt.Sprintf("name: %q\n  room: Entrance", name)) + `  call: {mqtt: "home/{device}"}
  ring: {topic: "home/{device}/bell", people: ["@alice:localhost"], timeout: 20s}
  snapshot: {topic: "home/{device}/camera"}
- topic: home/{device}/alarm
  class: alarm
- topic: attic/{reading}
  device: attic
  room: Entrance
  class: event
  call: {announce: "tone:1000"}
`
		s.Extra = "calls: {listen_udp: \"127.0.0.1:0\", allow_peers: [127.0.0.0/8]}\n"
	})
	alice, h := w.person("alice", "alice"), w.newHandset()
	home := w.doorRoom(alice)
	h.says("home/door/camera", "%s", picture)

	// The door rings, and alice answers.
	h.says("home/door/bell", "pressed")
	ring := h.hears("ring")
	theirs, mine, candidate := ufrag(), ufrag(), ufrag()
	invite, err := json.Marshal(map[string]any{"v": 1, "type": "invite", "call_id": ring.Call, "offer": map[string]string{"type": "offer", "sdp": sdp(theirs)}})
	w.must(err)
	h.says("home/door/call/out", "%s", invite)
	e := w.spoken(alice, "m.call.invite", ring.Call, theirs)
	if e.Sender != w.bot || e.Room == home {
		t.Errorf("the invitation is by %s in %s; the door's room is %s", e.Sender, e.Room, home)
	}
	room := e.Room
	w.joined(alice, room, w.bot)
	content := func(more map[string]any) map[string]any {
		more["call_id"], more["party_id"], more["version"] = ring.Call, "ALICE", "1"
		return more
	}
	_, err = alice.Send(w.ctx, room, "m.call.answer", content(map[string]any{"answer": map[string]string{"type": "answer", "sdp": sdp(mine)}}))
	w.must(err)
	if s := h.hears("answer"); s.Answer.SDP != sdp(mine) {
		t.Errorf("the door hears %q", s.Answer.SDP)
	}
	w.spoken(alice, "m.call.select_answer", ring.Call, "ALICE")
	_, err = alice.Send(w.ctx, room, "m.call.candidates", content(map[string]any{"candidates": []map[string]any{{"candidate": "candidate:" + candidate + " 1 udp 1 127.0.0.1 9 typ host", "sdpMid": "0", "sdpMLineIndex": 0}}}))
	w.must(err)
	if s := h.hears("candidates"); len(s.Candidates) != 1 || !strings.Contains(s.Candidates[0].Candidate, candidate) {
		t.Errorf("the door hears %+v", s.Candidates)
	}
	h.says("home/door/call/out", `{"v":1,"type":"hangup","call_id":%q,"reason":"user_hangup"}`, ring.Call)
	w.spoken(alice, "m.call.hangup", ring.Call, "user_hangup")
	h.hears("hangup")
	if e := w.shows(alice, "was called"); e.Room != home {
		t.Errorf("the line about the call is in %s, the door's room is %s", e.Room, home)
	}
	_, err = alice.Await(w.soon(), "the picture of who rang", func(e Event) bool { return e.Content.MsgType == "m.image" && e.Encrypted })
	w.must(err)

	// Alice calls, and the door answers.
	called, hers, its := "call"+ufrag(), ufrag(), ufrag()
	ring.Call = called
	_, err = alice.Send(w.ctx, room, "m.call.invite", content(map[string]any{"lifetime": 60000, "offer": map[string]string{"type": "offer", "sdp": sdp(hers)}}))
	w.must(err)
	if s := h.hears("invite"); s.Offer.SDP != sdp(hers) || s.Person != alice.UserID {
		t.Errorf("the door hears %+v", s)
	}
	answer, err := json.Marshal(map[string]any{"v": 1, "type": "answer", "call_id": called, "answer": map[string]string{"type": "answer", "sdp": sdp(its)}})
	w.must(err)
	h.says("home/door/call/out", "%s", answer)
	w.spoken(alice, "m.call.answer", called, its)
	_, err = alice.Send(w.ctx, room, "m.call.hangup", content(map[string]any{"reason": "user_hangup"}))
	w.must(err)
	h.hears("hangup")

	h.says("attic/state", "here")
	w.shows(alice, "here")
	ours, gateways := w.talks(alice, home)
	h.says("home/door/alarm", "%s", alarm)
	w.shows(alice, alarm)
	w.sealed(alice, room)
	w.sealed(alice, home)
	w.must(w.hs.Stop())
	found, err := planted(w.home, []string{name, alarm, theirs, mine, candidate, hers, its, called, ours, gateways, string(picture)})
	w.must(err)
	for _, f := range found {
		t.Errorf("the homeserver has %s", f)
	}
	harness.Zero(t, "canaries of calls found in what "+w.hs.Kind()+" keeps of encrypted rooms", len(found), "finds")
}

// talks is a call to alice from a device for which the gateway is the party, in a chat with the bot, until she hears it. It gives the
// user name fragments of both.
func (w *world) talks(alice *Device, home string) (hers, gateways string) {
	w.t.Helper()
	asked := w.say(alice, home, "!attic call")
	w.answers(alice, asked, "I am calling you")
	e := w.spoken(alice, "m.call.invite", "msid:gatepost", "a=fingerprint")
	var invite struct {
		Call  string `json:"call_id"`
		Offer webrtc.SessionDescription
	}
	w.must(json.Unmarshal(e.Raw, &invite))
	w.joined(alice, e.Room, w.bot)
	pc, heard := w.peer()
	w.must(pc.SetRemoteDescription(invite.Offer))
	answer, err := pc.CreateAnswer(nil)
	w.must(err)
	done := webrtc.GatheringCompletePromise(pc)
	w.must(pc.SetLocalDescription(answer))
	<-done
	send := func(kind string, content map[string]any) {
		content["call_id"], content["party_id"], content["version"] = invite.Call, "ALICE", "1"
		_, err := alice.Send(w.ctx, e.Room, kind, content)
		w.must(err)
	}
	send("m.call.answer", map[string]any{"answer": pc.LocalDescription()})
	select {
	case <-heard:
	case <-w.soon().Done():
		w.t.Fatal("alice hears nothing")
	}
	send("m.call.hangup", map[string]any{"reason": "user_hangup"})
	w.sealed(alice, e.Room)
	fragment := regexp.MustCompile(`a=ice-ufrag:(\S+)`)
	return fragment.FindStringSubmatch(pc.LocalDescription().SDP)[1], fragment.FindStringSubmatch(invite.Offer.SDP)[1]
}

// peer is a WebRTC client on loopback; heard has something when media came.
func (w *world) peer() (pc *webrtc.PeerConnection, heard <-chan struct{}) {
	w.t.Helper()
	var s webrtc.SettingEngine
	s.SetIncludeLoopbackCandidate(true)
	s.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(s)).NewPeerConnection(webrtc.Configuration{})
	w.must(err)
	w.t.Cleanup(func() { _ = pc.Close() }) // it is over
	came := make(chan struct{}, 1)
	pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		if _, _, err := track.ReadRTP(); err == nil {
			came <- struct{}{}
		}
	})
	return pc, came
}
