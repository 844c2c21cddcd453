//go:build e2e || interop

package test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/thesyncim/gopus"

	"github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
)

const announcer = `
- topic: porch/{reading}
  device: porch
  name: Front door
  class: event
  call: {announce: "tone:1000"}
`

// A person's WebRTC client calls a device that plays a tone, and hears it.
func TestAPersonHearsAnAnnouncement(t *testing.T) {
	p := plan(t, "appservice", announcer)
	p.set.Extra = "calls: {listen_udp: \"127.0.0.1:0\", allow_peers: [127.0.0.0/8]}\n"
	var err error
	p.gate, err = harness.NewGatepost(filepath.Join(binaries, "gatepost"), t.TempDir(), p.set)
	p.must(err)
	defer p.gate.Kill()
	p.openHomeserver()
	p.must(p.gate.Start(p.ctx))
	p.publish(p.device(device.Config{ClientID: "porch"}), "porch/event", "here")
	p.message(p.alice, "Front door", "the door's event", body("event: here"))
	room := p.chat(p.alice)

	var s webrtc.SettingEngine
	s.SetIncludeLoopbackCandidate(true)
	s.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(s)).NewPeerConnection(webrtc.Configuration{})
	p.must(err)
	defer func() { _ = pc.Close() }()
	_, err = pc.AddTransceiverFromKind(webrtc.RTPCodecTypeAudio)
	p.must(err)
	heard := make(chan []byte, 1000)
	pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		for {
			pkt, _, err := track.ReadRTP()
			if err != nil {
				return
			}
			select {
			case heard <- pkt.Payload:
			default:
			}
		}
	})
	offer, err := pc.CreateOffer(nil)
	p.must(err)
	done := webrtc.GatheringCompletePromise(pc)
	p.must(pc.SetLocalDescription(offer))
	<-done
	sdp, err := json.Marshal(pc.LocalDescription().SDP)
	p.must(err)
	p.callSend(p.alice, room, "m.call.invite", "C1", fmt.Sprintf(`,"lifetime":60000,"offer":{"type":"offer","sdp":%s}`, sdp))
	_, c := p.callEvent(p.alice, "m.call.answer", "C1")
	answer, _ := c["answer"].(map[string]any)
	text, _ := answer["sdp"].(string)
	p.must(pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: text}))
	p.callSend(p.alice, room, "m.call.select_answer", "C1", `,"selected_party_id":"gatepost"`)

	dec, err := gopus.NewDecoder(gopus.DefaultDecoderConfig(48000, 1))
	p.must(err)
	pcm := make([]int16, 5760)
	samples, crossings, last := 0, 0, int16(0)
	deadline := time.After(patience)
	for i := range 60 {
		select {
		case b := <-heard:
			n, err := dec.DecodeInt16(b, pcm)
			p.must(err)
			for _, v := range pcm[:n] {
				if i >= 10 { // the decoder has settled
					samples++
					if last < 0 && v >= 0 {
						crossings++
					}
				}
				last = v
			}
		case <-deadline:
			t.Fatal("nothing is heard")
		}
	}
	if hz := crossings * 48000 / samples; hz < 980 || hz > 1020 {
		t.Errorf("%d Hz are heard", hz)
	}
	p.callSend(p.alice, room, "m.call.hangup", "C1", `,"reason":"user_hangup"`)
	p.message(p.alice, "Front door", "the call log", func(m harness.Event) bool {
		return len(m.Content.Body) > len(p.alice.UserID) && m.Content.Body[:len(p.alice.UserID)+8] == p.alice.UserID+" called:"
	})
}
