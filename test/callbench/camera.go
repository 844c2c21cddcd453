//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/pion/rtp"
)

const (
	pictureRate  = 30                    // a second
	pictureBytes = 2_000_000 / 8         // a second: what cameras make of 1280x720
	wholeEvery   = 2 * pictureRate       // pictures: one that can be decoded alone
	wholeSize    = 8                     // so many times another one
	cameraCut    = 1400                  // bytes of a packet of picture, as cameras cut them
	soundEvery   = 20 * time.Millisecond // and 160 bytes each: Opus of 64 kbit/s
	soundBytes   = 160
)

// rtspCamera is an RTSP server with one stream of H.264 and Opus, which it sends to all who watch, inside their connections.
// The parameter sets are those of 1280x720; the rest of the pictures is noise, since nobody decodes it.
type rtspCamera struct {
	server *gortsplib.Server
	stream *gortsplib.ServerStream
	video  *description.Media
	audio  *description.Media
}

func newRTSPCamera(port int) (*rtspCamera, error) {
	c := &rtspCamera{
		video: &description.Media{Type: description.MediaTypeVideo, Formats: []format.Format{&format.H264{
			PayloadTyp: h264Type, PacketizationMode: 1,
			SPS: []byte{0x67, 0x42, 0xc0, 0x1f, 0xd9, 0x00, 0x50, 0x05, 0xbb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0xc0, 0xf1, 0x83, 0x24, 0x80},
			PPS: []byte{0x68, 0xcb, 0x83, 0xcb, 0x20},
		}}},
		audio: &description.Media{Type: description.MediaTypeAudio, Formats: []format.Format{&format.Opus{PayloadTyp: opusType, ChannelCount: 2}}},
	}
	c.server = &gortsplib.Server{Handler: c, RTSPAddress: net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}
	if err := c.server.Start(); err != nil {
		return nil, err
	}
	c.stream = &gortsplib.ServerStream{Server: c.server, Desc: &description.Session{Medias: []*description.Media{c.video, c.audio}}}
	if err := c.stream.Initialize(); err != nil {
		c.server.Close()
		return nil, err
	}
	return c, nil
}

func (c *rtspCamera) close() {
	c.stream.Close()
	c.server.Close()
}

func (c *rtspCamera) url() string { return "rtsp://" + c.server.RTSPAddress + "/door" }

// OnDescribe is of gortsplib.ServerHandlerOnDescribe.
func (c *rtspCamera) OnDescribe(*gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	return &base.Response{StatusCode: base.StatusOK}, c.stream, nil
}

// OnSetup is of gortsplib.ServerHandlerOnSetup.
func (c *rtspCamera) OnSetup(*gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	return &base.Response{StatusCode: base.StatusOK}, c.stream, nil
}

// OnPlay is of gortsplib.ServerHandlerOnPlay.
func (c *rtspCamera) OnPlay(*gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	return &base.Response{StatusCode: base.StatusOK}, nil
}

// run sends until ctx is done.
func (c *rtspCamera) run(ctx context.Context) error {
	pictures := stream{pt: h264Type, ssrc: 3, cut: cameraCut, send: func(p *rtp.Packet) error { return c.stream.WritePacketRTP(c.video, p) }}
	sound := stream{pt: opusType, ssrc: 4, send: func(p *rtp.Packet) error { return c.stream.WritePacketRTP(c.audio, p) }}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	start := time.Now()
	for said, shown := 0, 0; ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		passed := time.Since(start)
		for ; said < int(passed/soundEvery); said++ {
			if err := sound.packet(make([]byte, soundBytes), uint32(said*960), said == 0); err != nil { //nolint:gosec // it wraps
				return fmt.Errorf("camera: %w", err)
			}
		}
		for ; shown < int(passed*pictureRate/time.Second); shown++ {
			size, whole := pictureBytes/pictureRate*wholeEvery/(wholeEvery+wholeSize-1), shown%wholeEvery == 0
			if whole {
				size *= wholeSize
			}
			if err := pictures.picture(size, uint32(shown*90000/pictureRate), whole); err != nil { //nolint:gosec // it wraps
				return fmt.Errorf("camera: %w", err)
			}
		}
	}
}
