package device

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/bluenviron/gortsplib/v5/pkg/liberrors"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/zaf/g711"
)

// Camera is an RTSP server with one stream, /door: H264 that no decoder would take, whose units are in Camera's variables, and a
// tone in PCMU. Its parameter sets are in the description only.
type Camera struct {
	server *gortsplib.Server
	stream *gortsplib.ServerStream
	video  *description.Media
	audio  *description.Media
	user   string
	pass   string
	asked  chan struct{}

	mu    sync.Mutex
	whole bool // the next picture is to be one
}

// The H264 units of a Camera.
var (
	CameraSPS   = []byte{0x67, 0x64, 0, 0x0c, 0xac, 0x3b, 0x50, 0xb0, 0x4b, 0x42, 0, 0, 3, 0, 2, 0, 0, 3, 0, 0x3d, 8}
	CameraPPS   = []byte{0x68, 0xee, 0x3c, 0x80}
	CameraWhole = []byte{0x65, 'w', 'h', 'o', 'l', 'e'} // a picture that can be decoded alone: the first, and when asked for
	CameraPart  = []byte{0x41, 'p', 'a', 'r', 't'}
)

// CameraTone is its sound, in Hz.
const CameraTone = 1000

// NewCamera listens on addr; who watches needs user and password.
func NewCamera(addr, user, password string) (*Camera, error) {
	c := &Camera{user: user, pass: password, asked: make(chan struct{}, 1), whole: true}
	c.video = &description.Media{Type: description.MediaTypeVideo, Formats: []format.Format{&format.H264{PayloadTyp: 96, SPS: CameraSPS, PPS: CameraPPS, PacketizationMode: 1}}}
	c.audio = &description.Media{Type: description.MediaTypeAudio, Formats: []format.Format{&format.G711{MULaw: true, SampleRate: 8000, ChannelCount: 1}}}
	c.server = &gortsplib.Server{Handler: c, RTSPAddress: addr}
	if err := c.server.Start(); err != nil {
		return nil, fmt.Errorf("camera: %w", err)
	}
	c.stream = &gortsplib.ServerStream{Server: c.server, Desc: &description.Session{Medias: []*description.Media{c.audio, c.video}}}
	if err := c.stream.Initialize(); err != nil {
		c.server.Close()
		return nil, fmt.Errorf("camera: %w", err)
	}
	return c, nil
}

// Asked gets something when somebody wants a whole picture.
func (c *Camera) Asked() <-chan struct{} { return c.asked }

// Run sends 50 packets of each kind a second until ctx is done, and closes the camera.
func (c *Camera) Run(ctx context.Context) {
	defer c.server.Close()
	defer c.stream.Close()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		pcm := make([]byte, 0, 320)
		for i := range 160 {
			v := int16(8000 * math.Sin(2*math.Pi*CameraTone*float64(n*160+i)/8000))
			pcm = append(pcm, byte(v), byte(v>>8)) //nolint:gosec // its two bytes
		}
		c.mu.Lock()
		picture := CameraPart
		if c.whole {
			picture = CameraWhole
		}
		c.whole = false
		c.mu.Unlock()
		c.send(c.audio, n, 160, g711.EncodeUlaw(pcm))
		c.send(c.video, n, 1800, picture)
	}
}

func (c *Camera) send(m *description.Media, n, step int, payload []byte) {
	_ = c.stream.WritePacketRTP(m, &rtp.Packet{Payload: payload, Header: rtp.Header{ // nobody may watch
		Version: 2, Marker: true, PayloadType: m.Formats[0].PayloadType(), SequenceNumber: uint16(n), Timestamp: uint32(n * step), SSRC: 7, //nolint:gosec // they wrap
	}})
}

// OnDescribe is of gortsplib's handlers, as are the next ones.
func (c *Camera) OnDescribe(ctx *gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	if !ctx.Conn.VerifyCredentials(ctx.Request, c.user, c.pass) {
		return &base.Response{StatusCode: base.StatusUnauthorized}, nil, liberrors.ErrServerAuth{}
	}
	if ctx.Path != "/door" {
		return &base.Response{StatusCode: base.StatusNotFound}, nil, nil
	}
	return &base.Response{StatusCode: base.StatusOK}, c.stream, nil
}

// OnSetup takes everybody who could describe.
func (c *Camera) OnSetup(*gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	return &base.Response{StatusCode: base.StatusOK}, c.stream, nil
}

// OnPlay begins with a whole picture.
func (c *Camera) OnPlay(ctx *gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	ctx.Session.OnPacketRTCPAny(func(_ *description.Media, p rtcp.Packet) {
		if _, ok := p.(*rtcp.PictureLossIndication); ok {
			c.picture()
			select {
			case c.asked <- struct{}{}:
			default:
			}
		}
	})
	c.picture()
	return &base.Response{StatusCode: base.StatusOK}, nil
}

func (c *Camera) picture() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.whole = true
}
