package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/gatepost/gatepost/test/sound"
)

// peer is a phone made of pion.
type peer struct {
	pc    *webrtc.PeerConnection
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
	p := &peer{pc: pc, mic: &microphone{keys: payloadKeys}, heard: &sound.Meter{}}
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

func (*peer) String() string                        { return "pion" }
func (p *peer) Add(c webrtc.ICECandidateInit) error { return p.pc.AddICECandidate(c) }
func (p *peer) Hertz() int                          { return p.heard.Hertz() }
func (p *peer) Press(key byte) error                { return p.mic.press(key) }
func (p *peer) Close() error                        { return p.pc.Close() }

// Answer is of phone.
func (p *peer) Answer(ctx context.Context, offer string) (string, error) {
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return "", err
	}
	answer, err := p.pc.CreateAnswer(nil)
	if err != nil {
		return "", err
	}
	done := webrtc.GatheringCompletePromise(p.pc)
	if err := p.pc.SetLocalDescription(answer); err != nil {
		return "", err
	}
	<-done
	go p.speak(ctx)
	return p.pc.LocalDescription().SDP, nil
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
