package media

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
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
	openTime   = 8 * time.Second // for a device to say what it has; below voip.Config.Prepare
	todoQueue  = 64              // effects that wait; of more the call ends
	keyQueue   = 32              // keys that wait; more are lost
)

// Call is what Open makes a leg of. Source and Tell are required.
type Call struct {
	Record voip.Record
	Source Source // the leg closes it
	TURN   *TURN  // nil: no relay is used
	// Tell is told what the leg says.
	Tell func(voip.Event)
	// Digit is told of each key that the person presses, as our own decoder read it, one at a time. It may block for a moment,
	// in which the leg does not end. Nil: nobody listens.
	Digit func(l *Leg, key rune)
	// Say tells the people in the device's room why a call can't be. It does not block. Nil: nobody listens.
	Say func(text string)
}

// Leg is the leg of one call towards the person. One goroutine performs what it is told, in order. Safe for concurrent use.
type Leg struct {
	e     *Engine
	call  Call
	tell  func(voip.Event)
	log   func(msg string, err error)
	todo  chan voip.Effect
	keys  chan rune
	tones chan Tone
	ctx   context.Context
	done  context.CancelFunc
	wg    sync.WaitGroup // all goroutines but run

	pc     *webrtc.PeerConnection // of run; set before there is anything to forward
	tracks []Track
	out    []*outTrack // by the number of the track; nil: not shared
	in     []*inTrack
	path   *path

	described atomic.Bool               // the description with the first candidates was taken: later ones are told
	reflexive atomic.Pointer[string]    // candidate; nil: none yet
	reflected chan struct{}             // closed when there is one, or will be none
	held      atomic.Bool               // the person wants no media
	flows     chan struct{}             // there is a way for media
	began     atomic.Pointer[time.Time] // when there was one first; nil: never yet

	mu    sync.Mutex // of what Stats reads
	ready bool       // pc, out and in are there
	final *Stats     // the call is over
}

func newLeg(e *Engine, c Call) *Leg {
	if c.Digit == nil {
		c.Digit = func(*Leg, rune) {}
	}
	if c.Say == nil {
		c.Say = func(string) {}
	}
	l := &Leg{e: e, call: c, todo: make(chan voip.Effect, todoQueue), keys: make(chan rune, keyQueue), tones: make(chan Tone, toneQueue), flows: make(chan struct{}, 1), reflected: make(chan struct{})}
	l.log = func(msg string, err error) { e.cfg.Log.Warn(msg, logkey.ID, string(c.Record.ID), logkey.Error, err) } //nolint:sloglint // texts are below
	l.ctx, l.done = context.WithCancel(e.ctx)
	l.tell = func(ev voip.Event) {
		if l.ctx.Err() == nil {
			c.Tell(ev)
		}
	}
	return l
}

// Do is of voip.Leg.
func (l *Leg) Do(_ voip.Record, e voip.Effect) {
	if _, last := e.(voip.LegClose); last {
		l.done()
		return
	}
	select {
	case l.todo <- e:
	default:
		go l.tell(voip.LegHungUp{Reason: voip.MediaFailed})
	}
}

// run performs until the call is closed, and returns after the last goroutine.
func (l *Leg) run() {
	defer l.close()
	l.wg.Go(l.pressed)
	l.wg.Go(l.sing)
	var play sync.Once
	for {
		select {
		case e := <-l.todo:
			if err := l.perform(e); err != nil {
				l.fail("a call has no media", err)
			}
		case <-l.flows:
			play.Do(func() { l.wg.Go(l.play) })
		case <-l.ctx.Done():
			return
		}
	}
}

// fail ends the call, and says why where there are words for it.
func (l *Leg) fail(msg string, err error) {
	if l.ctx.Err() != nil {
		return
	}
	l.log(msg, err)
	var f *Failure
	if errors.As(err, &f) {
		l.call.Say(f.Text)
	}
	l.tell(voip.LegHungUp{Reason: voip.MediaFailed})
}

func (l *Leg) close() {
	l.done()
	s := l.Stats()
	if l.pc != nil {
		if err := l.pc.Close(); err != nil {
			l.log("a call's media did not close well", err)
		}
	}
	l.wg.Wait()
	if err := l.call.Source.Close(); err != nil {
		l.log("a device did not close well", err)
	}
	l.mu.Lock()
	l.final = &s
	l.mu.Unlock()
	l.e.cfg.Metrics.ended(l)
}

// pressed hands over keys, apart from the goroutine that carries sound.
func (l *Leg) pressed() {
	for {
		select {
		case key := <-l.keys:
			l.call.Digit(l, key)
		case <-l.ctx.Done():
			return
		}
	}
}

func (l *Leg) perform(e voip.Effect) error {
	switch e := e.(type) {
	case voip.LegPrepare:
		if err := l.open(""); err != nil {
			return err
		}
		offer, err := l.pc.CreateOffer(nil)
		if err != nil {
			return err
		}
		text, err := l.local(offer)
		if err != nil {
			return err
		}
		l.tell(voip.LegOffered{Offer: voip.Description{Type: "offer", SDP: text}, Streams: streams()})
	case voip.LegInvite:
		text, err := l.e.checked(e.Offer)
		if err != nil {
			return err
		}
		if err := l.open(text); err != nil {
			return err
		}
		if text, err = l.answer(e.Offer); err != nil {
			return err
		}
		l.tell(voip.LegAnswered{Answer: voip.Description{Type: "answer", SDP: text}, Streams: streams()})
	case voip.LegAnswer:
		if err := l.remote(webrtc.SDPTypeAnswer, e.Answer); err != nil {
			return err
		}
		if !l.shares() {
			return l.nothingShared(e.Answer.SDP)
		}
		l.tell(voip.LegAccepted{})
	case voip.LegNegotiate:
		if e.Desc.Type != "offer" || l.pc == nil {
			return nil // this leg makes no offers within a call
		}
		text, err := l.answer(e.Desc)
		if err != nil {
			return err
		}
		l.tell(voip.LegNegotiated{Desc: voip.Description{Type: "answer", SDP: text}, Streams: streams()})
	case voip.LegAdd:
		l.addCandidates(e.List)
	}
	return nil
}

func streams() voip.Streams { return voip.Streams{streamID: {Purpose: "m.usermedia"}} }

// open makes contact with the device, and the connection for what it has; with an offer, for what both share.
func (l *Leg) open(offer string) error {
	if l.pc != nil {
		return errors.New("media: begun twice")
	}
	ctx, cancel := context.WithTimeout(l.ctx, openTime)
	defer cancel()
	tracks, err := l.call.Source.Open(ctx)
	if err != nil {
		return fmt.Errorf("media: the device: %w", err)
	}
	if err := l.ctx.Err(); err != nil {
		return err // the call is over: it needs no relay any more
	}
	l.tracks = tracks
	codecs := allCodecs(tracks)
	if offer != "" {
		if codecs, err = sharedCodecs(tracks, offer); err != nil {
			return err
		}
		if !slices.ContainsFunc(codecs, func(list []payload) bool { return len(list) > 0 }) {
			return l.nothingShared(offer)
		}
	}
	return l.connect(codecs, offer == "")
}

// connect makes the connection, with a track of ours for each that has codecs.
func (l *Leg) connect(codecs [][]payload, caller bool) error {
	l.path = newPath(caller, l.e.ports.sendUDP)
	api, err := l.e.api(codecs, l.path)
	if err != nil {
		return err
	}
	var cfg webrtc.Configuration
	if t := l.call.TURN; t != nil {
		cfg.ICEServers = []webrtc.ICEServer{{URLs: t.URIs, Username: t.Username, Credential: t.Password}}
	}
	pc, err := api.NewPeerConnection(cfg)
	if err != nil {
		return fmt.Errorf("media: %w", err)
	}
	l.pc = pc
	l.wg.Go(func() {
		defer close(l.reflected)
		if t := l.call.TURN; t != nil {
			l.reflect(t.URIs)
		}
	})
	out, in := make([]*outTrack, len(l.tracks)), make([]*inTrack, len(l.tracks))
	for i, t := range l.tracks {
		if len(codecs[i]) == 0 {
			continue
		}
		if out[i], err = l.add(i, t, codecs[i]); err != nil {
			return fmt.Errorf("media: %w", err)
		}
		in[i] = &inTrack{digit: l.press, give: func(*rtp.Packet) {}}
		if t.Receives {
			in[i].give = func(p *rtp.Packet) { l.call.Source.Receive(i, p) }
		}
	}
	pc.OnICECandidate(l.candidate)
	pc.OnConnectionStateChange(l.state)
	pc.OnTrack(l.heard)
	pc.SCTP().Transport().ICETransport().OnSelectedCandidatePairChange(l.path.carries)
	l.mu.Lock()
	l.out, l.in, l.ready = out, in, true
	l.mu.Unlock()
	return nil
}

// add makes our side of a track. Of audio the person is heard always, since they press keys; a picture nobody looks at is
// not asked for.
func (l *Leg) add(i int, t Track, codecs []payload) (*outTrack, error) {
	keyframe := func() { l.call.Source.Keyframe(i) }
	o := &outTrack{id: "track" + strconv.Itoa(i), held: &l.held, fresh: func() {}}
	for _, c := range codecs {
		o.codecs = append(o.codecs, c.codec)
	}
	direction := webrtc.RTPTransceiverDirectionSendrecv
	if t.Video() {
		o.fresh = keyframe
		if !t.Receives {
			direction = webrtc.RTPTransceiverDirectionSendonly
		}
	}
	tr, err := l.pc.AddTransceiverFromTrack(o, webrtc.RTPTransceiverInit{Direction: direction})
	if err != nil {
		return nil, err
	}
	l.wg.Go(func() { o.serve(tr.Sender(), keyframe) })
	return o, nil
}

func (l *Leg) press(key rune) {
	select {
	case l.keys <- key:
	default:
	}
}

// shares says whether the person takes anything of ours.
func (l *Leg) shares() bool {
	for _, o := range l.out {
		if o != nil && o.chosen() != (Codec{}) {
			return true
		}
	}
	return false
}

// nothingShared is why there is no call with a client that says it takes what theirs describes.
func (l *Leg) nothingShared(theirs string) error {
	err := fmt.Errorf("%w: no codec of the other side is the device's (%s)", ErrDescription, names(l.tracks))
	if !slices.ContainsFunc(l.tracks, func(t Track) bool { return !t.Video() }) && !takesVideo(theirs) {
		return &Failure{Text: "The call can't be: the device has a picture alone, and a voice call shows none. Make it a video call.", Err: err}
	}
	return &Failure{Text: "The call can't be: " + names(l.tracks) + " is what the device speaks, and your client takes none of it.", Err: err}
}

func (l *Leg) remote(kind webrtc.SDPType, d voip.Description) error {
	text, err := l.e.checked(d)
	if err != nil {
		return err
	}
	l.path.described(text, false)
	if err := l.pc.SetRemoteDescription(webrtc.SessionDescription{Type: kind, SDP: text}); err != nil {
		return fmt.Errorf("%w: %w", ErrDescription, err)
	}
	for line := range strings.Lines(text) {
		if c, ok := strings.CutPrefix(line, "a=candidate:"); ok {
			l.late(strings.TrimSpace(c))
		}
	}
	return nil
}

// late sees to it that a relayed candidate is checked.
func (l *Leg) late(candidate string) {
	if to, ok := l.path.relay(candidate); ok {
		l.wg.Go(func() { l.path.check(l.ctx, to) })
	}
}

// answer takes an offer, and gives our answer as it is to be sent. pion does not take one with other directions than it
// made, so only the text is corrected.
func (l *Leg) answer(offer voip.Description) (string, error) {
	if err := l.remote(webrtc.SDPTypeOffer, offer); err != nil {
		return "", err
	}
	answer, err := l.pc.CreateAnswer(nil)
	if err != nil {
		return "", err
	}
	text, err := l.local(answer)
	if err != nil {
		return "", err
	}
	text, held, err := mirrored(offer.SDP, text)
	l.held.Store(held)
	return text, err
}

// local applies a description of ours and gives it with the candidates of the first moment.
func (l *Leg) local(d webrtc.SessionDescription) (string, error) {
	l.described.Store(false)
	l.path.described(d.SDP, true)
	done := webrtc.GatheringCompletePromise(l.pc)
	if err := l.pc.SetLocalDescription(d); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(l.ctx, gatherTime)
	defer cancel()
	for _, found := range []<-chan struct{}{done, l.reflected} {
		select {
		case <-found:
		case <-ctx.Done():
		}
	}
	l.described.Store(true) // first: a candidate that is told twice does no harm
	text := l.pc.LocalDescription().SDP
	if c := l.reflexive.Load(); c != nil {
		text = withCandidate(text, *c)
	}
	return text, nil
}

// candidate tells what was found after the description. Nil is the end of them.
func (l *Leg) candidate(c *webrtc.ICECandidate) {
	if !l.described.Load() {
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
	l.tell(voip.LegCandidates{List: []voip.Candidate{out}})
}

// addCandidates leaves out what is refused or can't be read: others may do.
func (l *Leg) addCandidates(list []voip.Candidate) {
	for _, c := range list {
		if l.pc == nil || !l.e.permitted(c.Candidate) {
			continue
		}
		init := webrtc.ICECandidateInit{Candidate: c.Candidate, SDPMid: &c.MID}
		if c.Index != nil && *c.Index >= 0 && *c.Index < maxSections {
			i := uint16(*c.Index)
			init.SDPMLineIndex = &i
		}
		if err := l.pc.AddICECandidate(init); err != nil {
			l.log("a candidate is dropped", err)
			continue
		}
		l.late(c.Candidate)
	}
}

func (l *Leg) state(s webrtc.PeerConnectionState) {
	switch s {
	case webrtc.PeerConnectionStateConnected:
		now := time.Now()
		l.began.CompareAndSwap(nil, &now)
		l.tell(voip.LegConnected{})
		select {
		case l.flows <- struct{}{}:
		default:
		}
	case webrtc.PeerConnectionStateDisconnected, webrtc.PeerConnectionStateFailed:
		l.tell(voip.LegDisconnected{})
	}
}

// play is what the person hears and sees. The end of it is the end of the call.
func (l *Leg) play() {
	link := Link{Codecs: make([]Codec, len(l.out)), Say: l.call.Say}
	for i, o := range l.out {
		if o != nil {
			link.Codecs[i] = o.chosen()
		}
	}
	link.Send = func(track int, p *rtp.Packet) {
		if o := l.out[track]; o != nil {
			o.send(p)
		}
	}
	if err := l.call.Source.Run(l.ctx, link); err != nil {
		l.fail("a device's media broke off", err)
		return
	}
	l.tell(voip.LegHungUp{Reason: voip.UserHangup})
}

// heard forwards what the person sends on a track of ours. What they send besides is read and dropped.
func (l *Leg) heard(t *webrtc.TrackRemote, r *webrtc.RTPReceiver) {
	for _, tr := range l.pc.GetTransceivers() {
		if tr.Receiver() != r || tr.Sender() == nil {
			continue
		}
		for i, o := range l.out {
			if o != nil && tr.Sender().Track() == webrtc.TrackLocal(o) {
				l.in[i].codec = o.chosen()
				l.in[i].listen(t, r)
				return
			}
		}
	}
	(&inTrack{digit: func(rune) {}, give: func(*rtp.Packet) {}}).listen(t, r)
}
