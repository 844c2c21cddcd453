package source

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/gatepost/gatepost/voip/media"
)

// peer is the WebRTC stack of a device, or of a server: it sends VP8 and Opus or PCMA, and hears.
type peer struct {
	t            *testing.T
	pc           *webrtc.PeerConnection
	video, audio *webrtc.TrackLocalStaticRTP
	heard        chan string // the codec and what was said in it
	asked        chan struct{}
}

func newPeer(t *testing.T, codec media.Codec) *peer {
	t.Helper()
	var s webrtc.SettingEngine
	s.SetIncludeLoopbackCandidate(true)
	var m webrtc.MediaEngine
	for _, c := range offered() {
		kind := webrtc.RTPCodecTypeAudio
		if strings.HasPrefix(c.MimeType, "video/") {
			kind = webrtc.RTPCodecTypeVideo
		}
		if err := m.RegisterCodec(c, kind); err != nil {
			t.Fatal(err)
		}
	}
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(s), webrtc.WithMediaEngine(&m)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.GracefulClose() })
	p := &peer{t: t, pc: pc, heard: make(chan string, 100), asked: make(chan struct{}, 100)}
	track := func(c media.Codec, name string) *webrtc.TrackLocalStaticRTP {
		l, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: c.MimeType, ClockRate: c.ClockRate, Channels: c.Channels, SDPFmtpLine: c.Fmtp}, name, "device")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	p.video, p.audio = track(media.VP8(), "v"), track(codec, "a")
	pc.OnTrack(func(r *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		for {
			pkt, _, err := r.ReadRTP()
			if err != nil {
				return
			}
			select {
			case p.heard <- r.Codec().MimeType + " " + string(pkt.Payload):
			default:
			}
		}
	})
	return p
}

// add gives it its tracks; sound goes both ways.
func (p *peer) add() {
	for _, track := range []*webrtc.TrackLocalStaticRTP{p.video, p.audio} {
		sender, err := p.pc.AddTrack(track)
		if err != nil {
			p.t.Fatal(err)
		}
		go func() {
			for {
				list, _, err := sender.ReadRTCP()
				if err != nil {
					return
				}
				for _, r := range list {
					if isPLI(r) && track == p.video {
						select {
						case p.asked <- struct{}{}:
						default:
						}
					}
				}
			}
		}()
	}
}

func isPLI(p rtcp.Packet) bool {
	_, ok := p.(*rtcp.PictureLossIndication)
	return ok
}

// local applies a description of its own and gives it whole.
func (p *peer) local(d webrtc.SessionDescription, err error) string {
	done := webrtc.GatheringCompletePromise(p.pc)
	if err == nil {
		err = p.pc.SetLocalDescription(d)
	}
	if err != nil {
		p.t.Error(err)
		return ""
	}
	select {
	case <-done:
	case <-time.After(patience):
		p.t.Error("no candidates")
	}
	return p.pc.LocalDescription().SDP
}

func (p *peer) remote(kind webrtc.SDPType, sdp string) {
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: kind, SDP: sdp}); err != nil {
		p.t.Error(err)
	}
}

// play sends until the end of the test.
func (p *peer) play() {
	every(p.t, func(n int) {
		h := rtp.Header{Version: 2, SequenceNumber: uint16(n), Timestamp: uint32(n * 160)} //nolint:gosec // it wraps
		_ = p.video.WriteRTP(&rtp.Packet{Header: h, Payload: []byte{0x10, 0, 'p', 'i', 'c'}})
		_ = p.audio.WriteRTP(&rtp.Packet{Header: h, Payload: []byte("sound")})
	})
}

// talks checks a running call: the picture and the sound come, the person is heard, and a picture is asked for.
func (p *peer) talks(c *call, codec media.Codec) {
	p.t.Helper()
	if len(c.tracks) != 2 || !c.tracks[0].Video() || c.tracks[1].Codecs[0] != codec || c.tracks[0].Codecs[0] != media.VP8() || !c.tracks[1].Receives {
		p.t.Fatalf("tracks %+v", c.tracks)
	}
	c.gets("the picture", func(q packet) bool {
		return q.track == 0 && strings.HasSuffix(string(q.Payload), "pic") && !q.Extension
	})
	c.gets("the sound", func(q packet) bool { return q.track == 1 && string(q.Payload) == "sound" })
	c.src.Keyframe(0)
	deadline := time.After(patience)
	for n := uint16(1); ; n++ {
		c.src.Receive(1, &rtp.Packet{Header: rtp.Header{SequenceNumber: n, Timestamp: uint32(n) * 160}, Payload: []byte("hello")})
		select {
		case got := <-p.heard:
			if want := codec.MimeType + " hello"; !strings.EqualFold(got, want) {
				p.t.Fatalf("the device heard %q, not %q", got, want)
			}
			select {
			case <-p.asked:
			case <-deadline:
				p.t.Error("the device was not asked for a picture")
			}
			return
		case <-time.After(10 * time.Millisecond):
		case <-deadline:
			p.t.Fatal("the device did not hear the person")
		}
	}
}

// gone checks that a call ends when the device does.
func (p *peer) gone(c *call) {
	p.t.Helper()
	if err := p.pc.Close(); err != nil {
		p.t.Error(err)
	}
	select {
	case err := <-c.ended:
		if err == nil {
			p.t.Error("the call ended without a reason")
		}
	case <-time.After(patience):
		p.t.Error("the call goes on without the device")
	}
}

// cancelled is a context that is over.
func cancelled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
