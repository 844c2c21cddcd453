package source

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/gatepost/gatepost/voip/media"
)

// LibpeerConfig says how a Libpeer speaks. Publish is required.
type LibpeerConfig struct {
	// Publish brings a message to PREFIX/invoke. An error means that the device can't be reached now.
	Publish  func(ctx context.Context, payload []byte) error
	Loopback bool         // the device may be on this host
	Log      *slog.Logger // nil: silent
}

// Libpeer is a device with libpeer, a small WebRTC library, whose signalling goes over MQTT: the device makes the offer, and
// all candidates are in the descriptions. Safe for concurrent use.
type Libpeer struct {
	cfg LibpeerConfig

	mu    sync.Mutex
	last  int // id of a request
	waits map[int]chan rpcReply
}

// NewLibpeer checks cfg and starts nothing.
func NewLibpeer(cfg LibpeerConfig) (*Libpeer, error) {
	if cfg.Publish == nil {
		return nil, errors.New("source: Publish is needed")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Libpeer{cfg: cfg, waits: map[int]chan rpcReply{}}, nil
}

const (
	libpeerTime  = 8 * time.Second // for its offer; small devices make a certificate first
	libpeerClose = time.Second     // for our last word
)

// Receive takes what the device published on PREFIX/result. The error wraps ErrMalformed; the message had no effect then.
func (l *Libpeer) Receive(payload []byte) error {
	r, err := decodeReply(payload)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.waits[r.ID]; c != nil {
		delete(l.waits, r.ID)
		c <- r // there is room for one
	}
	return nil
}

// ask publishes a request and gives what the reply comes to; forget must be called.
func (l *Libpeer) ask(ctx context.Context, method, params string) (reply <-chan rpcReply, forget func(), err error) {
	l.mu.Lock()
	l.last++
	id, c := l.last, make(chan rpcReply, 1)
	l.waits[id] = c
	l.mu.Unlock()
	forget = func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.waits, id)
	}
	b, err := encodeRequest(rpcRequest{ID: id, Method: method, Params: params})
	if err == nil {
		err = l.cfg.Publish(ctx, b)
	}
	return c, forget, err
}

// Source is the device for one call.
func (l *Libpeer) Source() media.Source { return &libpeerSource{device: l} }

// libpeerSource is a device in one call.
type libpeerSource struct {
	device *Libpeer
	party  *party
	tracks []partyTrack
}

// Open asks for the device's offer, and answers it.
func (s *libpeerSource) Open(ctx context.Context) ([]media.Track, error) {
	permit := permitting(s.device.cfg.Loopback)
	p, err := newParty(permit, s.device.cfg.Log)
	if err != nil {
		return nil, fail("The gateway can't take the device's media.", err)
	}
	s.party = p
	offer, err := s.offer(ctx)
	if err != nil {
		return nil, err
	}
	offer, err = checkAnswer(offer, permit)
	if err == nil {
		err = p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer})
	}
	if err != nil {
		return nil, fail("The device makes an offer that can't be understood.", err)
	}
	answer, err := s.answer(ctx, offer)
	if err != nil {
		return nil, fail("The gateway can't take the device's media.", err)
	}
	_, forget, err := s.device.ask(ctx, "answer", answer)
	forget() // there is no reply
	if err != nil {
		return nil, fail("The device can't be reached.", err)
	}
	var out []media.Track
	s.tracks, out, err = p.open(ctx)
	return out, err
}

func (s *libpeerSource) offer(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, libpeerTime)
	defer cancel()
	reply, forget, err := s.device.ask(ctx, "offer", "")
	defer forget()
	if err != nil {
		return "", fail("The device can't be reached.", err)
	}
	select {
	case r := <-reply:
		if r.Code != 0 {
			return "", fail("The device refuses the call.", fmt.Errorf("error %d", r.Code))
		}
		return r.Result, nil
	case <-ctx.Done():
		return "", fail("The device does not answer.", ctx.Err())
	}
}

// answer is ours, with all its candidates.
func (s *libpeerSource) answer(ctx context.Context, offer string) (string, error) {
	pc := s.party.pc
	if d := directions(offer)[webrtc.RTPCodecTypeAudio]; d == webrtc.RTPTransceiverDirectionSendrecv || d == webrtc.RTPTransceiverDirectionRecvonly {
		if _, err := pc.AddTrack(s.party.voice); err != nil {
			return "", err
		}
	}
	answer, err := pc.CreateAnswer(nil)
	if err != nil {
		return "", err
	}
	text, err := s.party.local(ctx, answer)
	if err != nil {
		return "", err
	}
	return forDevice(text)
}

// Run is of media.Source.
func (s *libpeerSource) Run(ctx context.Context, to media.Link) error {
	return s.party.run(ctx, s.tracks, to)
}

// Receive is of media.Source.
func (s *libpeerSource) Receive(_ int, p *rtp.Packet) { s.party.voice.take(p) }

// Keyframe is of media.Source.
func (s *libpeerSource) Keyframe(track int) {
	if track < len(s.tracks) {
		s.party.keyframe(s.tracks[track].kind)
	}
}

// Close tells the device that the call is over.
func (s *libpeerSource) Close() error {
	if s.party == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), libpeerClose)
	defer cancel()
	_, forget, err := s.device.ask(ctx, "close", "")
	forget() // its reply says nothing
	s.party.close()
	return err
}
