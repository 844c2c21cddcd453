//go:build e2e || interop

package test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"github.com/zaf/g711"

	"github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
)

// A person calls a device that has an RTSP camera, sees and hears it, and gets a whole picture when the client asks for one. The
// camera's password is in no log.
func TestAPersonSeesACamera(t *testing.T) {
	const secret = "s3cr3t"
	ports, err := harness.FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", ports[0])
	cam, err := device.NewCamera(addr, "admin", secret)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { cam.Run(ctx) })
	defer running.Wait()
	defer cancel()

	p := plan(t, "appservice", fmt.Sprintf(`
- topic: porch/{reading}
  device: porch
  name: Front door
  class: event
  call: {rtsp: "rtsp://admin:%s@%s/door"}
`, secret, addr))
	p.set.Extra = "calls: {listen_udp: \"127.0.0.1:0\", allow_peers: [127.0.0.0/8]}\n"
	p.gate, err = harness.NewGatepost(filepath.Join(binaries, "gatepost"), t.TempDir(), p.set)
	p.must(err)
	defer p.gate.Kill()
	p.openHomeserver()
	p.must(p.gate.Start(p.ctx))
	p.publish(p.device(device.Config{ClientID: "porch"}), "porch/event", "here")
	p.message(p.alice, "Front door", "the door's event", body("event: here"))
	room := p.chat(p.alice)

	pc, got := p.viewer()
	defer func() { _ = pc.Close() }()
	p.dials(pc, room, "C1")

	// What is seen: the parameter sets, and a picture that needs them.
	picture := func(what string) *rtp.Packet {
		return p.packet(got, what, func(w watched) bool { return bytes.Equal(w.Payload, device.CameraWhole) }).Packet
	}
	stap := append(append([]byte{0x78, 0, byte(len(device.CameraSPS))}, device.CameraSPS...), 0, byte(len(device.CameraPPS)))
	sets := p.packet(got, "parameter sets", func(w watched) bool { return bytes.Equal(w.Payload, append(stap, device.CameraPPS...)) })
	if whole := picture("a picture"); whole.SequenceNumber != sets.SequenceNumber+1 || whole.Timestamp != sets.Timestamp {
		t.Errorf("after %v came %v", sets.Header, whole.Header)
	}
	// What the client asks for reaches the camera.
	for len(cam.Asked()) > 0 {
		<-cam.Asked()
	}
	p.must(pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: sets.SSRC}}))
	select {
	case <-cam.Asked():
	case <-time.After(patience):
		t.Fatal("the camera was not asked for a picture")
	}
	picture("the picture that was asked for")
	// What is heard: the tone.
	var pcm []int16
	for len(pcm) < 8000 {
		w := p.packet(got, "sound", func(w watched) bool { return w.mime == webrtc.MimeTypePCMU })
		for b := g711.DecodeUlaw(w.Payload); len(b) > 1; b = b[2:] {
			pcm = append(pcm, int16(uint16(b[0])|uint16(b[1])<<8)) //nolint:gosec // two's complement
		}
	}
	crossings := 0
	for i := range pcm[1:] {
		if pcm[i] < 0 && pcm[i+1] >= 0 {
			crossings++
		}
	}
	if hz := crossings * 8000 / len(pcm); hz < device.CameraTone-20 || hz > device.CameraTone+20 {
		t.Errorf("%d Hz are heard", hz)
	}

	// The camera goes away: the room is told, and the call goes on for now.
	cancel()
	running.Wait()
	p.message(p.alice, "Front door", "that the camera is gone", body("The camera is gone; trying to get it back."))
	p.callSend(p.alice, room, "m.call.hangup", "C1", `,"reason":"user_hangup"`)
	p.message(p.alice, "Front door", "the call log", func(m harness.Event) bool {
		return strings.HasPrefix(m.Content.Body, p.alice.UserID+" called:")
	})
	// And who calls now is told why nothing comes.
	other, _ := p.viewer()
	defer func() { _ = other.Close() }()
	p.invites(other, room, "C2")
	p.message(p.alice, "Front door", "that the camera does not answer", body("The camera does not answer."))
	if strings.Contains(strings.Join(p.gate.Log().Since(0), "\n"), secret) {
		t.Error("the camera's password is in the log")
	}
}

// watched is a packet that a viewer got.
type watched struct {
	*rtp.Packet
	mime string
}

// viewer is a WebRTC client that wants picture and sound.
func (p *place) viewer() (*webrtc.PeerConnection, <-chan watched) {
	p.t.Helper()
	var s webrtc.SettingEngine
	s.SetIncludeLoopbackCandidate(true)
	s.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(s)).NewPeerConnection(webrtc.Configuration{})
	p.must(err)
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo} {
		_, err = pc.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
		p.must(err)
	}
	got := make(chan watched, 2000)
	pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		for {
			pkt, _, err := track.ReadRTP()
			if err != nil {
				return
			}
			select {
			case got <- watched{pkt, track.Codec().MimeType}:
			default:
			}
		}
	})
	return pc, got
}

// invites calls the door.
func (p *place) invites(pc *webrtc.PeerConnection, room, call string) {
	p.t.Helper()
	offer, err := pc.CreateOffer(nil)
	p.must(err)
	done := webrtc.GatheringCompletePromise(pc)
	p.must(pc.SetLocalDescription(offer))
	<-done
	sdp, err := json.Marshal(pc.LocalDescription().SDP)
	p.must(err)
	p.callSend(p.alice, room, "m.call.invite", call, fmt.Sprintf(`,"lifetime":60000,"offer":{"type":"offer","sdp":%s}`, sdp))
}

// dials calls the door, which answers.
func (p *place) dials(pc *webrtc.PeerConnection, room, call string) {
	p.t.Helper()
	p.invites(pc, room, call)
	_, c := p.callEvent(p.alice, "m.call.answer", call)
	answer, _ := c["answer"].(map[string]any)
	text, _ := answer["sdp"].(string)
	p.must(pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: text}))
	p.callSend(p.alice, room, "m.call.select_answer", call, `,"selected_party_id":"gatepost"`)
}

// packet waits for one that want likes.
func (p *place) packet(got <-chan watched, what string, want func(watched) bool) watched {
	p.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case w := <-got:
			if want(w) {
				return w
			}
		case <-deadline:
			p.t.Fatalf("%s never came", what)
		}
	}
}
