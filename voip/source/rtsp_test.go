package source

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/bluenviron/gortsplib/v5/pkg/liberrors"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/gatepost/gatepost/voip/media"
)

func TestParseRTSP(t *testing.T) {
	for text, want := range map[string]string{
		"rtsp://camera/stream":              "camera:554",
		"rtsp://u:p@camera:8554/stream?a=b": "camera:8554",
		"rtsps://[fd00::1]/stream":          "[fd00::1]:322",
		"http://camera/":                    "",
		"rtsp:///stream":                    "",
		"rtsp://secret:word@/":              "",
		"":                                  "",
	} {
		r, err := ParseRTSP(text)
		switch {
		case want == "" && !errors.Is(err, ErrAddress):
			t.Errorf("%s: %v", text, err)
		case want == "" && strings.Contains(err.Error(), "secret"):
			t.Errorf("a password in %v", err)
		case want != "" && (err != nil || r.addr != want):
			t.Errorf("%s: %+v, %v", text, r, err)
		}
	}
}

// camera is an RTSP server with one stream.
type camera struct {
	t      *testing.T
	server *gortsplib.Server
	desc   *description.Session
	user   string // and password; "": none
	away   string // another address, to which it sends everybody
	asked  chan rtcp.Packet

	mu     sync.Mutex
	stream *gortsplib.ServerStream
}

var (
	video = &format.H264{PayloadTyp: 96, SPS: []byte{0x67, 0x64, 0, 0x0c, 0xac, 0x3b, 0x50, 0xb0, 0x4b, 0x42, 0, 0, 3, 0, 2, 0, 0, 3, 0, 0x3d, 8}, PPS: []byte{0x68, 0xee, 0x3c, 0x80}, PacketizationMode: 1}
	sound = &format.G711{PayloadTyp: 0, MULaw: true, SampleRate: 8000, ChannelCount: 1}
	aac   = &format.MPEG4Audio{PayloadTyp: 97, SizeLength: 13, IndexLength: 3, IndexDeltaLength: 3, Config: &mpeg4audio.AudioSpecificConfig{Type: mpeg4audio.ObjectTypeAACLC, SampleRate: 48000, ChannelCount: 2}}
)

func watch(f ...format.Format) *description.Session {
	d := &description.Session{}
	for _, f := range f {
		m := &description.Media{Type: description.MediaTypeAudio, Formats: []format.Format{f}}
		switch f.(type) {
		case *format.H264, *format.H265, *format.MJPEG:
			m.Type = description.MediaTypeVideo
		}
		d.Medias = append(d.Medias, m)
	}
	return d
}

// newCamera is one on a port of 127.0.0.1; addr "" takes a new one.
func newCamera(t *testing.T, addr string, desc *description.Session) *camera {
	t.Helper()
	if addr == "" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr = l.Addr().String()
		_ = l.Close()
	}
	c := &camera{t: t, desc: desc, asked: make(chan rtcp.Packet, 10)}
	c.server = &gortsplib.Server{Handler: c, RTSPAddress: addr}
	deadline := time.Now().Add(patience)
	for {
		err := c.server.Start()
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	c.stream = &gortsplib.ServerStream{Server: c.server, Desc: desc}
	if err := c.stream.Initialize(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	return c
}

func (c *camera) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stream != nil {
		c.stream.Close()
		c.server.Close()
		c.stream = nil
	}
}

func (c *camera) url(path string) string { return "rtsp://" + c.server.RTSPAddress + path }

func (c *camera) OnDescribe(ctx *gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	user, password, _ := strings.Cut(c.user, ":")
	switch {
	case c.user != "" && !ctx.Conn.VerifyCredentials(ctx.Request, user, password):
		return &base.Response{StatusCode: base.StatusUnauthorized}, nil, liberrors.ErrServerAuth{}
	case c.away != "":
		return &base.Response{StatusCode: base.StatusMovedPermanently, Header: base.Header{"Location": base.HeaderValue{c.away}}}, nil, nil
	case ctx.Path != "/stream":
		return &base.Response{StatusCode: base.StatusNotFound}, nil, nil
	}
	return &base.Response{StatusCode: base.StatusOK}, c.stream, nil
}

func (c *camera) OnSetup(*gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	return &base.Response{StatusCode: base.StatusOK}, c.stream, nil
}

func (c *camera) OnPlay(ctx *gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	ctx.Session.OnPacketRTCPAny(func(_ *description.Media, p rtcp.Packet) {
		select {
		case c.asked <- p:
		default:
		}
	})
	return &base.Response{StatusCode: base.StatusOK}, nil
}

// play sends pictures and sound until the end of the test.
func (c *camera) play() {
	every(c.t, func(n int) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.stream == nil {
			return
		}
		for _, m := range c.desc.Medias {
			p := &rtp.Packet{Header: rtp.Header{
				Version: 2, PayloadType: m.Formats[0].PayloadType(), SequenceNumber: uint16(n), Timestamp: uint32(n * 160), Marker: true, SSRC: 77, //nolint:gosec // it wraps
			}, Payload: []byte("sound")}
			if m.Type == description.MediaTypeVideo {
				p.Payload = idr
			}
			_ = c.stream.WritePacketRTP(m, p) // nobody may watch
		}
	})
}

func source(t *testing.T, url string) media.Source {
	t.Helper()
	r, err := ParseRTSP(url)
	if err != nil {
		t.Fatal(err)
	}
	return r.Source(nil)
}

func TestRTSP(t *testing.T) {
	cam := newCamera(t, "", watch(video, sound))
	cam.play()
	c := open(t, source(t, cam.url("/stream")))
	if len(c.tracks) != 2 || !c.tracks[0].Codecs[0].Is(media.H264("")) || c.tracks[1].Codecs[0] != media.PCMU() || c.tracks[1].Receives {
		t.Fatalf("tracks %+v", c.tracks)
	}
	c.start()
	sets := c.gets("parameter sets", func(p packet) bool { return p.track == 0 && p.Payload[0]&0x1f == nalSTAPA })
	var list [][]byte
	units(sets.Payload[1:], func(u []byte) { list = append(list, u) })
	if len(list) != 2 || !bytes.Equal(list[0], video.SPS) || !bytes.Equal(list[1], video.PPS) {
		t.Errorf("sets %x", list)
	}
	p := c.gets("the picture after them", func(p packet) bool { return p.track == 0 })
	if !bytes.Equal(p.Payload, idr) || p.SequenceNumber != sets.SequenceNumber+1 || p.Timestamp != sets.Timestamp || !p.Marker || sets.Marker {
		t.Errorf("after %v came %v", sets.Header, p.Header)
	}
	c.gets("sound", func(p packet) bool { return p.track == 1 && string(p.Payload) == "sound" })

	c.src.Keyframe(0)
	deadline := time.After(patience)
	for asked := false; !asked; {
		select {
		case p := <-cam.asked:
			pli, ok := p.(*rtcp.PictureLossIndication)
			asked = ok && pli.MediaSSRC != 0
		case <-deadline:
			t.Fatal("the camera was not asked for a picture")
		}
	}
}

func TestRTSPComesBack(t *testing.T) {
	cam := newCamera(t, "", watch(video, sound))
	cam.play()
	c := open(t, source(t, cam.url("/stream")))
	c.start()
	before := c.gets("sound", func(p packet) bool { return p.track == 1 })
	cam.close()
	c.hears(wordsGone)
	again := newCamera(t, cam.server.RTSPAddress, watch(video, sound))
	again.play()
	c.hears(wordsBack)
	c.gets("sound of a new sender", func(p packet) bool { return p.track == 1 && p.SSRC != before.SSRC })
	again.close()
	c.hears(wordsGone)
	newCamera(t, cam.server.RTSPAddress, watch(sound)).play()
	select {
	case err := <-c.ended:
		var f *media.Failure
		if !errors.As(err, &f) || f.Text != wordsChanged {
			t.Errorf("the call ended: %v", err)
		}
	case <-time.After(patience):
		t.Error("the call goes on with another stream")
	}
}

func TestRTSPWithAAC(t *testing.T) {
	cam := newCamera(t, "", watch(aac, video))
	cam.play()
	c := open(t, source(t, cam.url("/stream")))
	if len(c.tracks) != 2 || !c.tracks[0].Video() || len(c.tracks[1].Codecs) != 3 { // the second is silent
		t.Fatalf("tracks %+v", c.tracks)
	}
	c.start()
	c.hears("The camera also sends AAC, which calls can't carry; it is left out.")
	c.gets("the picture", func(p packet) bool { return p.track == 0 })
}

// TestRTSPWithH265 is a camera whose picture the person's client does not take.
func TestRTSPWithH265(t *testing.T) {
	hevc := &format.H265{PayloadTyp: 98}
	for _, c := range []struct {
		name string
		desc *description.Session
		want string // what ends the call; "": it goes on
	}{
		{"alone", watch(hevc), "The device sends H265, which the person's client does not take."},
		{"with sound", watch(hevc, sound), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			cam := newCamera(t, "", c.desc)
			cam.play()
			call := open(t, source(t, cam.url("/stream")))
			call.without = media.H265()
			call.start()
			if c.want == "" {
				call.hears("The camera's picture is H265, which the person's client does not take; the call has sound alone.")
				call.gets("sound", func(p packet) bool { return p.track == 1 })
				return
			}
			var f *media.Failure
			select {
			case err := <-call.ended:
				if !errors.As(err, &f) || f.Text != c.want {
					t.Errorf("the call ended: %v", err)
				}
			case <-time.After(patience):
				t.Error("the call goes on")
			}
		})
	}
}

// TestRTSPWithoutPicture is a call for sound alone, of which there is nothing to say.
func TestRTSPWithoutPicture(t *testing.T) {
	cam := newCamera(t, "", watch(video, sound))
	cam.play()
	c := open(t, source(t, cam.url("/stream")))
	c.without = media.H264("42e01f")
	c.start()
	c.gets("sound", func(p packet) bool { return p.track == 1 })
	select {
	case said := <-c.said:
		t.Errorf("the room is told %q", said)
	default:
	}
}

func TestRTSPRefusals(t *testing.T) {
	const secret = "s3cr3t"
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	var elsewhere sync.WaitGroup
	trap, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	elsewhere.Go(func() {
		if conn, err := trap.Accept(); err == nil {
			t.Error("the gateway followed a camera to another host")
			_ = conn.Close()
		}
	})
	t.Cleanup(func() { _ = trap.Close(); elsewhere.Wait() })

	guarded, moved, endless := newCamera(t, "", watch(video)), newCamera(t, "", watch(video)), newCamera(t, "", watch(video))
	guarded.user = "admin:" + secret
	moved.away = "rtsp://" + trap.Addr().String() + "/stream"
	endless.away = endless.url("/again")
	with := func(url, user string) string { return strings.Replace(url, "rtsp://", "rtsp://"+user+"@", 1) }
	for _, c := range []struct{ name, url, want string }{
		{"nobody there", with("rtsp://"+closed.Addr().String()+"/stream", "admin:"+secret), wordsSilent},
		{"no password", guarded.url("/stream"), wordsPassword},
		{"wrong password", with(guarded.url("/stream"), "admin:"+secret+"x"), wordsPassword},
		{"no such stream", with(guarded.url("/other"), "admin:"+secret), wordsNoStream},
		{"sent elsewhere", with(moved.url("/stream"), "admin:"+secret), wordsSilent},
		{"sent round and round", with(endless.url("/stream"), "admin:"+secret), wordsSilent},
		{"only AAC", newCamera(t, "", watch(aac)).url("/stream"), "The camera sends AAC, which calls can't carry."},
		{"only JPEG", newCamera(t, "", watch(&format.MJPEG{})).url("/stream"), "The camera sends M-JPEG, which calls can't carry."},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log logged
			r, err := ParseRTSP(c.url)
			if err != nil {
				t.Fatal(err)
			}
			words, text := fails(t, r.Source(log.logger()))
			if words != c.want {
				t.Errorf("%q (%s), want %q", words, text, c.want)
			}
			if strings.Contains(text+log.String(), secret) {
				t.Errorf("the password is in %s or %s", text, log.String())
			}
		})
	}
	c := open(t, source(t, with(guarded.url("/stream"), "admin:"+secret))) // and the right one works
	if err := c.src.Close(); err != nil {
		t.Error(err)
	}
}

// TestRTSPSilent is a camera that takes the connection and says nothing: the call's own patience counts.
func TestRTSPSilent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		b := make([]byte, 1)
		_, _ = conn.Read(b) // it was asked
		cancel()
		_ = conn.Close()
	})
	defer wg.Wait()
	src := source(t, "rtsp://"+l.Addr().String()+"/stream")
	var f *media.Failure
	if _, err := src.Open(ctx); !errors.As(err, &f) || f.Text != wordsSilent {
		t.Errorf("got %v", err)
	}
	if err := src.Close(); err != nil {
		t.Error(err)
	}
}
