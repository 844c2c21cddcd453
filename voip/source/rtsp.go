package source

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/bluenviron/gortsplib/v5/pkg/liberrors"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/gatepost/gatepost/internal/logkey"
	"github.com/gatepost/gatepost/voip/media"
)

// RTSP is a camera that is watched by RTSP 1.0 (RFC 2326), with RTP inside the connection. Safe for concurrent use.
type RTSP struct {
	url  *base.URL
	addr string // host:port, the only one that is ever dialled
	name string // of the address in logs: scheme and host
}

// ParseRTSP reads an address of the configuration, rtsp:// or rtsps://, with user name and password if the camera wants
// them. The error wraps ErrAddress.
func ParseRTSP(text string) (*RTSP, error) {
	u, err := base.ParseURL(text)
	if err != nil || u.Scheme != "rtsp" && u.Scheme != "rtsps" || hostOf(u.Host) == "" {
		return nil, fmt.Errorf("%w: is not an address like rtsp://camera.local/stream", ErrAddress) // without its text: passwords
	}
	port := "554"
	if u.Scheme == "rtsps" {
		port = "322"
	}
	addr := u.Host
	if _, _, err := net.SplitHostPort(addr); err != nil {
		addr = net.JoinHostPort(hostOf(u.Host), port)
	}
	return &RTSP{url: u, addr: addr, name: u.Scheme + "://" + u.Host}, nil
}

// hostOf is a host without port and brackets.
func hostOf(hostport string) string {
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		return h
	}
	return strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]")
}

// Source is the camera for one call; log nil: silent.
func (r *RTSP) Source(log *slog.Logger) media.Source {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &rtspSource{rtsp: r, log: log.With(logkey.URL, r.name)}
}

const (
	rtspTime      = 5 * time.Second // for each answer, and between packets
	rtspDials     = 4               // connections for one start: the camera may answer with another path
	rtspLeast     = 500 * time.Millisecond
	rtspMost      = 8 * time.Second // between attempts to connect anew
	rtspPatience  = time.Minute     // without a picture, then the call ends
	wordsSilent   = "The camera does not answer."
	wordsBroken   = "The camera's stream can't be understood."
	wordsNoMedia  = "The camera sends neither picture nor sound that calls can carry."
	wordsChanged  = "The camera sends something else than before."
	wordsPassword = "The camera refuses the gateway's user name or password."
	wordsNoStream = "The camera knows no such stream."
	wordsGone     = "The camera is gone; trying to get it back."
	wordsBack     = "The camera is back."
)

// rtspSource is a camera in one call.
type rtspSource struct {
	rtsp   *RTSP
	log    *slog.Logger
	codecs []media.Codec            // of each track
	first  *rtspConn                // from Open on, until Run takes it
	live   atomic.Pointer[rtspConn] // for keyframe requests
}

// rtspConn is one connection to the camera.
type rtspConn struct {
	client *gortsplib.Client
	codecs []media.Codec        // of each track
	medias []*description.Media // of each track
	format []format.Format      // of each track
	passed []string             // names of what can't be carried
	ssrc   []atomic.Uint32      // of each track, as the camera sends it
}

// Open asks the camera what it has.
func (s *rtspSource) Open(ctx context.Context) ([]media.Track, error) {
	c, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	s.first, s.codecs = c, c.codecs
	var tracks []media.Track
	for _, codec := range c.codecs {
		tracks = append(tracks, media.Track{Codecs: []media.Codec{codec}})
	}
	return withSound(tracks), nil
}

// Close ends what Open began, if Run was never called.
func (s *rtspSource) Close() error {
	if c := s.first; c != nil {
		s.first = nil
		c.client.Close()
	}
	return nil
}

// connect makes a connection that is ready to play.
func (s *rtspSource) connect(ctx context.Context) (*rtspConn, error) {
	tcp, dials := gortsplib.ProtocolTCP, 0
	client := &gortsplib.Client{
		Scheme: s.rtsp.url.Scheme, Host: s.rtsp.url.Host, Protocol: &tcp, UserAgent: "gatepost",
		ReadTimeout: rtspTime, WriteTimeout: rtspTime,
		TLSConfig: &tls.Config{ServerName: hostOf(s.rtsp.url.Host), MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if dials++; addr != s.rtsp.addr || dials > rtspDials {
				return nil, errElsewhere
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
		OnDecodeError: func(error) {}, OnPacketsLost: func(uint64) {},
	}
	if err := client.Start(); err != nil {
		return nil, fail(wordsSilent, err)
	}
	stop := context.AfterFunc(ctx, client.Close)
	c, err := describe(client, s.rtsp.url)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		client.Close()
		return nil, rtspFailure(err)
	}
	return c, nil
}

// errElsewhere is a camera that sends us to another host.
var errElsewhere = errors.New("it names another address than the configuration")

func rtspFailure(err error) error {
	var own *media.Failure
	if errors.As(err, &own) {
		return err
	}
	if status, ok := errors.AsType[liberrors.ErrClientBadStatusCode](err); ok {
		err = fmt.Errorf("status %d", status.Code) // not its text, which may repeat the address
		switch status.Code {
		case base.StatusUnauthorized, base.StatusForbidden:
			return fail(wordsPassword, err)
		case base.StatusNotFound:
			return fail(wordsNoStream, err)
		}
		return fail(wordsSilent, err)
	}
	if _, ok := errors.AsType[liberrors.ErrClientSDPInvalid](err); ok {
		return fail(wordsBroken, nil)
	}
	if _, ok := errors.AsType[liberrors.ErrClientAuthSetup](err); ok {
		return fail(wordsPassword, nil)
	}
	if _, ok := errors.AsType[net.Error](err); ok || errors.Is(err, errElsewhere) {
		return fail(wordsSilent, err)
	}
	return fail(wordsSilent, nil)
}

// describe asks for the streams and sets up the first picture and the first sound that calls can carry.
func describe(client *gortsplib.Client, u *base.URL) (*rtspConn, error) {
	d, _, err := client.Describe(u)
	if err != nil {
		return nil, err
	}
	c := &rtspConn{client: client}
	has := map[bool]bool{}
	for _, m := range d.Medias {
		if m.IsBackChannel || m.Type != description.MediaTypeVideo && m.Type != description.MediaTypeAudio {
			continue
		}
		for _, f := range m.Formats {
			codec, ok := codecOf(f)
			switch {
			case !ok && len(c.passed) < 2:
				c.passed = append(c.passed, codecName(f))
			case ok && !has[isVideo(codec)]:
				has[isVideo(codec)] = true
				c.codecs, c.medias, c.format = append(c.codecs, codec), append(c.medias, m), append(c.format, f)
			}
		}
	}
	if len(c.codecs) == 0 {
		if len(c.passed) > 0 {
			return nil, fail("The camera sends "+strings.Join(c.passed, " and ")+", which calls can't carry.", nil)
		}
		return nil, fail(wordsNoMedia, nil)
	}
	c.ssrc = make([]atomic.Uint32, len(c.codecs))
	for _, m := range c.medias {
		if _, err := client.Setup(d.BaseURL, m, 0, 0); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// codecOf is what a stream of a camera is in a call; false: it can't be carried.
func codecOf(f format.Format) (media.Codec, bool) {
	switch f := f.(type) {
	case *format.H264:
		return media.H264("42e01f"), true
	case *format.H265:
		return media.H265(), true
	case *format.VP8:
		return media.VP8(), true
	case *format.Opus:
		return media.Opus(), f.ChannelCount <= 2
	case *format.G711:
		codec := media.PCMA()
		if f.MULaw {
			codec = media.PCMU()
		}
		return codec, f.SampleRate == 8000 && f.ChannelCount == 1
	}
	return media.Codec{}, false
}

// codecName is a format's name for people: not what the camera calls it.
func codecName(f format.Format) string {
	switch f := f.(type) {
	case *format.MPEG4Audio, *format.MPEG4AudioLATM:
		return "AAC"
	case *format.Generic:
		return "an unknown codec"
	case *format.G711:
		return "G.711 that is not 8000 Hz mono"
	default:
		return f.Codec()
	}
}

// Run plays, over as many connections as it takes.
func (s *rtspSource) Run(ctx context.Context, to media.Link) error {
	c := s.first
	s.first = nil
	if err := untaken(s.codecs, to.Codecs); err != nil {
		c.client.Close()
		return err
	}
	for _, name := range c.passed {
		to.Say(fmt.Sprintf("The camera also sends %s, which calls can't carry; it is left out.", name))
	}
	for i, codec := range c.codecs {
		if to.Codecs[i] == (media.Codec{}) && codec == media.H265() { // without others, the person called for sound
			to.Say(fmt.Sprintf("The camera's picture is %s, which the person's client does not take; the call has sound alone.", nameOf(codec)))
		}
	}
	wait, lost := rtspLeast, time.Time{}
	for {
		err := s.play(ctx, c, to.Send, func() {
			if !lost.IsZero() {
				to.Say(wordsBack)
			}
			wait, lost = rtspLeast, time.Time{}
		})
		if ctx.Err() != nil {
			return nil
		}
		if lost.IsZero() {
			lost = time.Now()
			s.log.Warn("a camera is gone", logkey.Error, err)
			to.Say(wordsGone)
		}
		if errors.Is(err, errChanged) || time.Since(lost) > rtspPatience {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
		c, wait = nil, min(2*wait, rtspMost)
	}
}

var errChanged = fail(wordsChanged, nil)

// play plays one connection until it breaks; nil: a new one. begun is called at its first packet.
func (s *rtspSource) play(ctx context.Context, c *rtspConn, send func(int, *rtp.Packet), begun func()) error {
	if c == nil {
		var err error
		if c, err = s.connect(ctx); err != nil {
			return err
		}
		if !slices.Equal(c.codecs, s.codecs) {
			c.client.Close()
			return errChanged
		}
	}
	defer c.client.Close()
	first := make(chan struct{})
	var once atomic.Bool
	for i, f := range c.format {
		fw := newForwarder(i, c.codecs[i], rand.Uint32(), send) //nolint:gosec // no secret
		if h, ok := f.(*format.H264); ok {
			fw.h264.sps, fw.h264.pps = append([]byte(nil), h.SPS...), append([]byte(nil), h.PPS...)
		}
		c.client.OnPacketRTP(c.medias[i], f, func(p *rtp.Packet) {
			if once.CompareAndSwap(false, true) {
				close(first)
			}
			c.ssrc[i].Store(p.SSRC)
			fw.take(p)
		})
	}
	stop := context.AfterFunc(ctx, c.client.Close)
	defer stop()
	if _, err := c.client.Play(nil); err != nil {
		return rtspFailure(err)
	}
	s.live.Store(c)
	defer s.live.Store(nil)
	ended := make(chan error, 1)
	go func() { ended <- c.client.Wait() }()
	select {
	case <-first:
		begun()
		return rtspFailure(<-ended)
	case err := <-ended:
		return rtspFailure(err)
	}
}

// Keyframe asks the camera for a picture that can be decoded alone (RFC 4585 section 6.3.1). Many do not listen.
func (s *rtspSource) Keyframe(track int) {
	if c := s.live.Load(); c != nil && track < len(c.medias) {
		_ = c.client.WritePacketRTCP(c.medias[track], &rtcp.PictureLossIndication{MediaSSRC: c.ssrc[track].Load()}) // the connection ends, or it is asked again
	}
}

// Receive is of media.Source; no track receives.
func (*rtspSource) Receive(int, *rtp.Packet) {}
