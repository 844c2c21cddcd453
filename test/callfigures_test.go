//go:build e2e || interop

package test

import (
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"

	"github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
)

// walled is a UDP socket that reaches the relay's ports alone.
type walled struct{ net.PacketConn }

const firstRelay, lastRelay = 52000, 52100

func (walled) open(a net.Addr) bool {
	port := a.(*net.UDPAddr).Port
	return port >= firstRelay && port <= lastRelay
}

func (w walled) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := w.PacketConn.ReadFrom(b)
		if err != nil || w.open(from) {
			return n, from, err
		}
	}
}

func (w walled) WriteTo(b []byte, to net.Addr) (int, error) {
	if !w.open(to) {
		return len(b), nil
	}
	return w.PacketConn.WriteTo(b, to)
}

// listed is a call as the command line lists it.
type listed struct {
	State   string
	Relayed uint64 `json:"relayed_bytes"`
	Media   *struct {
		Path    string
		Codecs  string
		Out, In struct {
			Bytes, Packets, Expected, Lost uint64
			Rate                           float64 `json:"bits_per_second"`
		}
	}
}

// latestCall is the one that the command line lists first; nil: none.
func (p *place) latestCall() *listed {
	p.t.Helper()
	r, err := p.gate.Do(p.ctx, "calls", "--json")
	p.must(err)
	var all []listed
	p.must(json.Unmarshal([]byte(r.Stdout), &all))
	if len(all) == 0 {
		return nil
	}
	return &all[0]
}

// counted is a metric by its name with labels; -1: it is not there.
func (p *place) counted(name string) float64 {
	p.t.Helper()
	page, err := p.gate.Metrics(p.ctx)
	p.must(err)
	for line := range strings.Lines(page) {
		var v float64
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			if _, err := fmt.Sscan(value, &v); err == nil {
				return v
			}
		}
	}
	return -1
}

// A call that only the gateway's relay can carry: what it carries, what is lost and which way it goes is seen by whoever looks,
// while it goes on and later.
func TestACallThroughTheRelayIsSeen(t *testing.T) {
	p := plan(t, "appservice", announcer)
	ports, err := harness.FreePorts(1)
	p.must(err)
	p.set.Extra = fmt.Sprintf("calls: {listen_udp: \"127.0.0.1:0\", allow_peers: [127.0.0.0/8]}\n"+
		"turn: {listen: [\"udp://127.0.0.1:%d\"], realm: example.org, secret: a secret of the test, public_ip: [127.0.0.1], relay_ports: %d-%d, allow_peers: [127.0.0.0/8]}\n",
		ports[0], firstRelay, lastRelay)
	p.gate, err = harness.NewGatepost(filepath.Join(binaries, "gatepost"), t.TempDir(), p.set)
	p.must(err)
	defer p.gate.Kill()
	p.openHomeserver()
	p.must(p.gate.Start(p.ctx))
	p.publish(p.device(device.Config{ClientID: "porch"}), "porch/event", "here")
	p.message(p.alice, "Front door", "the door's event", body("event: here"))
	room := p.chat(p.alice)

	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	p.must(err)
	var s webrtc.SettingEngine
	s.SetIncludeLoopbackCandidate(true)
	mux := ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: walled{conn}})
	defer func() { _ = mux.Close() }()
	s.SetICEUDPMux(mux)
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(s)).NewPeerConnection(webrtc.Configuration{})
	p.must(err)
	defer func() { _ = pc.Close() }()
	_, err = pc.AddTransceiverFromKind(webrtc.RTPCodecTypeAudio)
	p.must(err)
	heard := make(chan struct{}, 1)
	pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		for {
			if _, _, err := track.ReadRTP(); err != nil {
				return
			}
			select {
			case heard <- struct{}{}:
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
	for range 20 {
		select {
		case <-heard:
		case <-time.After(patience):
			t.Fatal("nothing is heard")
		}
	}

	now := p.latestCall()
	if now == nil || now.State != "connected" || now.Media == nil {
		t.Fatalf("%+v", now)
	}
	if m := now.Media; !strings.HasPrefix(m.Path, "relay-") || m.Codecs != "opus" || m.Out.Packets < 20 || m.Out.Bytes == 0 || m.Out.Rate < 1000 || m.Out.Lost > m.Out.Expected {
		t.Errorf("%+v", m)
	}
	if now.Relayed < now.Media.Out.Bytes/2 {
		t.Errorf("%d bytes went through the relay, of %d", now.Relayed, now.Media.Out.Bytes)
	}
	if n := p.counted(`gatepost_call_media_bytes_total{direction="out"}`); n < float64(now.Media.Out.Bytes) {
		t.Errorf("%v bytes in the metrics, %d are listed", n, now.Media.Out.Bytes)
	}
	p.callSend(p.alice, room, "m.call.hangup", "C1", `,"reason":"user_hangup"`)
	p.message(p.alice, "Front door", "the call log", func(m harness.Event) bool { return strings.Contains(m.Content.Body, " called:") })
	var over *listed
	for deadline := time.Now().Add(patience); ; {
		if over = p.latestCall(); over != nil && over.State == "over" && p.counted("gatepost_turn_allocations") == 0 && p.counted(`gatepost_call_loss_ratio_count{direction="out"}`) == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the call is not over: %+v, %v allocations", over, p.counted("gatepost_turn_allocations"))
		}
	}
	if over.Media == nil || over.Media.Path != now.Media.Path || over.Media.Out.Bytes < now.Media.Out.Bytes || over.Relayed < now.Relayed {
		t.Errorf("at the end %+v %+v, before %+v %+v", over, over.Media, now, now.Media)
	}
	if list := p.calls(); !strings.Contains(list, "KBIT/S LOST RTT RELAYED") || !strings.Contains(list, over.Media.Path) || !strings.Contains(list, "0.0%") {
		t.Errorf("gatepost calls:\n%s", list)
	}
}
