//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

var began = time.Now()

// stamp is what the payloads of measured packets begin with: when they were sent.
const stampSize = 8

func stamp(b []byte) {
	binary.BigEndian.PutUint64(b, uint64(time.Since(began))) //nolint:gosec // not negative
}

func since(b []byte) time.Duration {
	return time.Since(began) - time.Duration(binary.BigEndian.Uint64(b)) //nolint:gosec // as stamp has it
}

// client is a person's, in one call.
type client struct {
	pc        *webrtc.PeerConnection
	mic       *webrtc.TrackLocalStaticRTP
	connected chan struct{}
	audio     atomic.Int64 // packets that came
	video     atomic.Int64
	delays    func(time.Duration) // nil: nobody wants them
	id, room  string
	waited    time.Duration // from the invitation to its answer
}

func newClient(video bool, delays func(time.Duration)) (*client, error) {
	var s webrtc.SettingEngine
	s.SetIncludeLoopbackCandidate(true)
	s.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(s)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, err
	}
	c := &client{pc: pc, connected: make(chan struct{}), delays: delays}
	if c.mic, err = webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}, "mic", "alice"); err != nil {
		return nil, errors.Join(err, pc.Close())
	}
	if _, err = pc.AddTrack(c.mic); err == nil && video {
		_, err = pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
	}
	if err != nil {
		return nil, errors.Join(err, pc.Close())
	}
	pc.OnTrack(func(t *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { c.listen(t) })
	pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		if state == webrtc.PeerConnectionStateConnected {
			close(c.connected)
		}
	})
	return c, nil
}

func (c *client) listen(t *webrtc.TrackRemote) {
	count, skip := &c.audio, 0
	if t.Kind() == webrtc.RTPCodecTypeVideo {
		count, skip = &c.video, headOfPicture
	}
	buf := make([]byte, 1500)
	var p rtp.Packet
	for {
		n, _, err := t.Read(buf)
		if err != nil {
			return
		}
		if p.Unmarshal(buf[:n]) != nil {
			continue
		}
		count.Add(1)
		if c.delays != nil && len(p.Payload) >= skip+stampSize {
			c.delays(since(p.Payload[skip:]))
		}
	}
}

// headOfPicture is what a packet of H.264 has before the stamp: the indicator and the header of a fragment.
const headOfPicture = 2

// offer is the description of the client, with all its candidates.
func (c *client) offer() (string, error) {
	o, err := c.pc.CreateOffer(nil)
	if err != nil {
		return "", err
	}
	done := webrtc.GatheringCompletePromise(c.pc)
	if err := c.pc.SetLocalDescription(o); err != nil {
		return "", err
	}
	<-done
	return c.pc.LocalDescription().SDP, nil
}

// accept applies an answer, and waits for the connection.
func (c *client) accept(ctx context.Context, answer string) error {
	if err := c.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		return err
	}
	select {
	case <-c.connected:
		return nil
	case <-time.After(20 * time.Second):
		return errors.New("no connection after 20 s")
	case <-ctx.Done():
		return ctx.Err()
	}
}

var lastCall atomic.Int64

// call lets a client call a device.
func (s *site) call(ctx context.Context, device int, video bool, delays func(time.Duration)) (*client, error) {
	c, err := newClient(video, delays)
	if err != nil {
		return nil, err
	}
	text, err := c.offer()
	if err != nil {
		return nil, errors.Join(err, c.pc.Close())
	}
	c.room, c.id = s.rooms[device], "bench"+strconv.FormatInt(lastCall.Add(1), 10)
	err = s.say(ctx, c.room, "m.call.invite", c.id, map[string]any{"lifetime": 60000, "offer": map[string]any{"type": "offer", "sdp": text}})
	sent := time.Now()
	if err == nil {
		text, err = s.answer(ctx, c.room, c.id)
	}
	c.waited = time.Since(sent)
	if err == nil {
		err = s.say(ctx, c.room, "m.call.select_answer", c.id, map[string]any{"selected_party_id": "gatepost"})
	}
	if err == nil {
		err = c.accept(ctx, text)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("call %s: %w", c.id, err), c.pc.Close())
	}
	return c, nil
}

// hangup ends a call.
func (s *site) hangup(ctx context.Context, c *client) error {
	return errors.Join(s.say(ctx, c.room, "m.call.hangup", c.id, map[string]any{"reason": "user_hangup"}), c.pc.Close())
}
