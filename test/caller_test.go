//go:build e2e || interop

package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"github.com/thesyncim/gopus"

	"github.com/gatepost/gatepost/test/harness"
)

// caller is the WebRTC client of a person who calls the porch: it hears, and presses keys.
type caller struct {
	*webrtc.PeerConnection
	p     *place
	keys  *keyTrack
	heard chan []byte // Opus
	dec   *gopus.Decoder
}

// keyTrack is a track that sends telephone-event (RFC 4733), which pion's own tracks can't.
type keyTrack struct {
	mu   sync.Mutex
	out  webrtc.TrackLocalWriter
	head rtp.Header
}

const keyPayload = 110

// Bind is of webrtc.TrackLocal, as the others are.
func (k *keyTrack) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.out, k.head = c.WriteStream(), rtp.Header{Version: 2, PayloadType: keyPayload, SSRC: uint32(c.SSRC()), SequenceNumber: 100, Timestamp: 1000}
	return c.CodecParameters()[0], nil
}

func (*keyTrack) Unbind(webrtc.TrackLocalContext) error { return nil }
func (*keyTrack) ID() string                            { return "microphone" }
func (*keyTrack) RID() string                           { return "" }
func (*keyTrack) StreamID() string                      { return "person" }
func (*keyTrack) Kind() webrtc.RTPCodecType             { return webrtc.RTPCodecTypeAudio }

// press sends a key as clients do: in several packets.
func (k *keyTrack) press(event byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.head.Timestamp += 4800
	var errs []error
	for range 3 {
		k.head.SequenceNumber++
		_, err := k.out.WriteRTP(&k.head, []byte{event, 10, 0, 160})
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// call places a call of who's in their chat with the porch, and returns when the porch has answered.
func (p *place) call(who *harness.Person, room, id string) *caller {
	p.t.Helper()
	var m webrtc.MediaEngine
	p.must(m.RegisterDefaultCodecs())
	p.must(m.RegisterCodec(webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: "audio/telephone-event", ClockRate: 48000, SDPFmtpLine: "0-15"}, PayloadType: keyPayload,
	}, webrtc.RTPCodecTypeAudio))
	var s webrtc.SettingEngine
	s.SetIncludeLoopbackCandidate(true)
	s.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(&m), webrtc.WithSettingEngine(s)).NewPeerConnection(webrtc.Configuration{})
	p.must(err)
	p.t.Cleanup(func() { _ = pc.Close() })
	c := &caller{PeerConnection: pc, p: p, keys: &keyTrack{}, heard: make(chan []byte, 1000)}
	c.dec, err = gopus.NewDecoder(gopus.DefaultDecoderConfig(48000, 1))
	p.must(err)
	_, err = pc.AddTrack(c.keys)
	p.must(err)
	pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		for {
			pkt, _, err := track.ReadRTP()
			if err != nil {
				return
			}
			select {
			case c.heard <- pkt.Payload:
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
	p.callSend(who, room, "m.call.invite", id, fmt.Sprintf(`,"lifetime":60000,"offer":{"type":"offer","sdp":%s}`, sdp))
	_, content := p.callEvent(who, "m.call.answer", id)
	answer, _ := content["answer"].(map[string]any)
	text, _ := answer["sdp"].(string)
	p.must(pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: text}))
	p.callSend(who, room, "m.call.select_answer", id, `,"selected_party_id":"gatepost"`)
	return c
}

// hears waits until the sound that comes has a frequency (Hz), for 100 ms.
func (c *caller) hears(what string, want float64) {
	c.p.t.Helper()
	pcm := make([]int16, 5760)
	deadline, last := time.After(patience), 0.0
	for streak := 0; streak < 5; {
		select {
		case b := <-c.heard:
			n, err := c.dec.DecodeInt16(b, pcm)
			c.p.must(err)
			if last = frequency(pcm[:n]); math.Abs(last-want) <= max(want/20, 30) {
				streak++
			} else {
				streak = 0
			}
		case <-deadline:
			c.p.t.Fatalf("%s, %.0f Hz, is never heard; %.0f Hz is the last", what, want, last)
		}
	}
}

// frequency of a sound at 48 kHz, by the time between its first and its last zero crossing upwards.
func frequency(pcm []int16) float64 {
	first, last, periods := 0.0, 0.0, -1
	for i := 1; i < len(pcm); i++ {
		if pcm[i-1] < 0 && pcm[i] >= 0 {
			last = float64(i) - float64(pcm[i])/(float64(pcm[i])-float64(pcm[i-1]))
			if periods++; periods == 0 {
				first = last
			}
		}
	}
	if periods < 1 {
		return 0
	}
	return 48000 * float64(periods) / (last - first)
}
