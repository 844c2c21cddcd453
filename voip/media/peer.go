package media

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/gatepost/gatepost/internal/logkey"
	"github.com/gatepost/gatepost/voip"
)

const (
	streamID   = "gatepost" // browsers need one, and voip.Streams names it
	gatherTime = 200 * time.Millisecond
	todoQueue  = 64 // effects that wait; of more the call ends
)

// peer is the leg of one call towards the person. One goroutine performs what it is told, in order.
type peer struct {
	permit func(netip.Addr) bool
	tell   func(voip.Event)
	digit  func(rune)
	src    Source
	pc     *webrtc.PeerConnection
	out    []*webrtc.TrackLocalStaticRTP
	log    func(msg string, err error)
	todo   chan voip.Effect
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup // all goroutines but run

	described atomic.Bool   // the description with the first candidates was taken: later ones are told
	held      atomic.Bool   // the person wants no media
	flows     chan struct{} // there is a way for media
}

func newPeer(e *Engine, r voip.Record, src Source, digit func(rune), tell func(voip.Event)) (*peer, error) {
	api, err := e.api(src.Tracks())
	if err != nil {
		return nil, err
	}
	var cfg webrtc.Configuration
	if t := e.cfg.TURN(r.ID); t != nil {
		cfg.ICEServers = []webrtc.ICEServer{{URLs: t.URIs, Username: t.Username, Credential: t.Password}}
	}
	pc, err := api.NewPeerConnection(cfg)
	if err != nil {
		return nil, fmt.Errorf("media: %w", err)
	}
	p := &peer{permit: e.cfg.Permit, src: src, digit: digit, pc: pc, todo: make(chan voip.Effect, todoQueue), flows: make(chan struct{}, 1)}
	p.log = func(msg string, err error) { e.cfg.Log.Warn(msg, logkey.ID, string(r.ID), logkey.Error, err) } //nolint:sloglint // texts are below
	p.ctx, p.cancel = context.WithCancel(e.ctx)
	p.tell = func(ev voip.Event) {
		if p.ctx.Err() == nil {
			tell(ev)
		}
	}
	for i, t := range src.Tracks() {
		track, err := webrtc.NewTrackLocalStaticRTP(t.capability(), fmt.Sprintf("track%d", i), streamID)
		if err == nil {
			err = p.add(track)
		}
		if err != nil {
			p.cancel()
			return nil, errors.Join(fmt.Errorf("media: %w", err), pc.Close())
		}
	}
	pc.OnICECandidate(p.candidate)
	pc.OnConnectionStateChange(p.state)
	pc.OnTrack(func(t *webrtc.TrackRemote, r *webrtc.RTPReceiver) { p.listen(t, r) })
	return p, nil
}

func (p *peer) add(track *webrtc.TrackLocalStaticRTP) error {
	sender, err := p.pc.AddTrack(track)
	if err != nil {
		return err
	}
	p.out = append(p.out, track)
	p.wg.Go(func() { // the interceptors see RTCP only when it is read
		for {
			if _, _, err := sender.ReadRTCP(); err != nil {
				return
			}
		}
	})
	return nil
}

// Do is of voip.Leg.
func (p *peer) Do(_ voip.Record, e voip.Effect) {
	if _, last := e.(voip.LegClose); last {
		p.cancel()
		return
	}
	select {
	case p.todo <- e:
	default:
		go p.tell(voip.LegHungUp{Reason: voip.MediaFailed})
	}
}

// run performs until the call is closed, and returns after the last goroutine.
func (p *peer) run() {
	var play sync.Once
	for {
		select {
		case e := <-p.todo:
			if err := p.perform(e); err != nil {
				p.log("a call has no media", err)
				p.tell(voip.LegHungUp{Reason: voip.MediaFailed})
			}
		case <-p.flows:
			play.Do(func() { p.wg.Go(p.play) })
		case <-p.ctx.Done():
			if err := p.pc.Close(); err != nil {
				p.log("a call's media did not close well", err)
			}
			p.wg.Wait()
			return
		}
	}
}

func (p *peer) perform(e voip.Effect) error {
	switch e := e.(type) {
	case voip.LegPrepare:
		offer, err := p.pc.CreateOffer(nil)
		if err != nil {
			return err
		}
		text, err := p.local(offer)
		if err != nil {
			return err
		}
		p.tell(voip.LegOffered{Offer: voip.Description{Type: "offer", SDP: text}, Streams: streams()})
	case voip.LegInvite:
		text, err := p.answer(e.Offer)
		if err != nil {
			return err
		}
		p.tell(voip.LegAnswered{Answer: voip.Description{Type: "answer", SDP: text}, Streams: streams()})
	case voip.LegAnswer:
		if err := p.remote(webrtc.SDPTypeAnswer, e.Answer); err != nil {
			return err
		}
		if !accepted(e.Answer.SDP) {
			return fmt.Errorf("%w: all media is refused", ErrDescription)
		}
		p.tell(voip.LegAccepted{})
	case voip.LegNegotiate:
		if e.Desc.Type != "offer" {
			return nil // this leg makes no offers within a call
		}
		text, err := p.answer(e.Desc)
		if err != nil {
			return err
		}
		p.tell(voip.LegNegotiated{Desc: voip.Description{Type: "answer", SDP: text}, Streams: streams()})
	case voip.LegAdd:
		p.addCandidates(e.List)
	}
	return nil
}

func streams() voip.Streams { return voip.Streams{streamID: {Purpose: "m.usermedia"}} }

func (p *peer) remote(kind webrtc.SDPType, d voip.Description) error {
	text, err := checked(d, p.permit)
	if err != nil {
		return err
	}
	return p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: kind, SDP: text})
}

// answer takes an offer, and gives our answer as it is to be sent. pion does not take one with other directions than it
// made, so only the text is corrected.
func (p *peer) answer(offer voip.Description) (string, error) {
	if err := p.remote(webrtc.SDPTypeOffer, offer); err != nil {
		return "", err
	}
	answer, err := p.pc.CreateAnswer(nil)
	if err != nil {
		return "", err
	}
	text, err := p.local(answer)
	if err != nil {
		return "", err
	}
	if !accepted(text) {
		return "", fmt.Errorf("%w: no codec of the other side is the device's", ErrDescription)
	}
	text, held, err := mirrored(offer.SDP, text)
	p.held.Store(held)
	return text, err
}

// local applies a description of ours and gives it with the candidates of the first moment.
func (p *peer) local(d webrtc.SessionDescription) (string, error) {
	p.described.Store(false)
	done := webrtc.GatheringCompletePromise(p.pc)
	if err := p.pc.SetLocalDescription(d); err != nil {
		return "", err
	}
	wait := time.NewTimer(gatherTime)
	defer wait.Stop()
	select {
	case <-done:
	case <-wait.C:
	case <-p.ctx.Done():
	}
	p.described.Store(true) // first: a candidate that is told twice does no harm
	return p.pc.LocalDescription().SDP, nil
}

// candidate tells what was found after the description. Nil is the end of them.
func (p *peer) candidate(c *webrtc.ICECandidate) {
	if !p.described.Load() {
		return
	}
	var out voip.Candidate
	if c != nil {
		init := c.ToJSON()
		out.Candidate = init.Candidate
		if init.SDPMid != nil {
			out.MID = *init.SDPMid
		}
		if init.SDPMLineIndex != nil {
			i := int(*init.SDPMLineIndex)
			out.Index = &i
		}
	}
	p.tell(voip.LegCandidates{List: []voip.Candidate{out}})
}

// addCandidates leaves out what is refused or can't be read: others may do.
func (p *peer) addCandidates(list []voip.Candidate) {
	for _, c := range list {
		if !permitted(c.Candidate, p.permit) {
			continue
		}
		init := webrtc.ICECandidateInit{Candidate: c.Candidate, SDPMid: &c.MID}
		if c.Index != nil && *c.Index >= 0 && *c.Index < maxSections {
			i := uint16(*c.Index)
			init.SDPMLineIndex = &i
		}
		if err := p.pc.AddICECandidate(init); err != nil {
			p.log("a candidate is dropped", err)
		}
	}
}

func (p *peer) state(s webrtc.PeerConnectionState) {
	switch s {
	case webrtc.PeerConnectionStateConnected:
		p.tell(voip.LegConnected{})
		select {
		case p.flows <- struct{}{}:
		default:
		}
	case webrtc.PeerConnectionStateDisconnected, webrtc.PeerConnectionStateFailed:
		p.tell(voip.LegDisconnected{})
	}
}

// play is what the person hears and sees. The end of it is the end of the call.
func (p *peer) play() {
	err := p.src.Run(p.ctx, func(track int, pkt *rtp.Packet) {
		if !p.held.Load() {
			_ = p.out[track].WriteRTP(pkt) // a packet that is lost on the way, or a call that is over
		}
	})
	reason := voip.UserHangup
	if err != nil && p.ctx.Err() == nil {
		p.log("a device's media broke off", err)
		reason = voip.MediaFailed
	}
	p.tell(voip.LegHungUp{Reason: reason})
}

// listen reads what the person says, of which the keys matter.
func (p *peer) listen(t *webrtc.TrackRemote, r *webrtc.RTPReceiver) {
	events := map[uint8]bool{}
	for _, c := range r.GetParameters().Codecs {
		if strings.EqualFold(c.MimeType, mimeEvents) {
			events[uint8(c.PayloadType)] = true
		}
	}
	var d digits
	for {
		pkt, _, err := t.ReadRTP()
		if err != nil {
			return
		}
		if !events[pkt.PayloadType] {
			continue
		}
		if key, ok := d.take(pkt); ok {
			p.digit(key)
		}
	}
}
