package source

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/gatepost/gatepost/internal/logkey"
	"github.com/gatepost/gatepost/voip/media"
)

// WHEP is a stream of a server that speaks WHEP (draft-ietf-wish-whep), such as go2rtc or MediaMTX. Safe for concurrent use.
type WHEP struct {
	url    *url.URL // without user name and password
	user   *url.Userinfo
	permit func(netip.Addr) bool
	client *http.Client
}

// Bounds on what a server may answer.
const (
	maxAnswer     = 64 << 10 // bytes of SDP
	maxCandidates = 32
	maxRedirects  = 3
	whepTime      = 8 * time.Second // for the answer
	deleteTime    = 2 * time.Second // for the end
)

// ParseWHEP reads an address of the configuration, http:// or https://, with user name and password if the server wants
// them. The error wraps ErrAddress.
func ParseWHEP(text string) (*WHEP, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Fragment != "" {
		return nil, fmt.Errorf("%w: is not an address like http://192.168.1.5:1984/api/webrtc?src=door", ErrAddress) // without its text: passwords
	}
	w := &WHEP{url: u, user: u.User}
	u.User = nil
	host := u.Hostname()
	addr, err := netip.ParseAddr(host)
	w.permit = permitting(host == "localhost" || err == nil && addr.IsLoopback())
	w.client = &http.Client{
		Timeout: whepTime,
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects || r.URL.Host != u.Host || r.URL.Scheme != u.Scheme || r.Method != http.MethodPost {
				return errElsewhere
			}
			return nil
		},
		Transport: &http.Transport{DisableKeepAlives: true, TLSHandshakeTimeout: whepTime, ResponseHeaderTimeout: whepTime, MaxResponseHeaderBytes: maxAnswer},
	}
	return w, nil
}

// Source is the stream for one call; log nil: silent.
func (w *WHEP) Source(log *slog.Logger) media.Source {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &whepSource{whep: w, log: log.With(logkey.URL, w.url.Scheme+"://"+w.url.Host)}
}

// whepSource is a stream in one call.
type whepSource struct {
	whep    *WHEP
	log     *slog.Logger
	party   *party
	tracks  []partyTrack
	session *url.URL // what to delete at the end; nil: nothing
}

// Open asks the server for the stream and waits until it is known what it has.
func (s *whepSource) Open(ctx context.Context) ([]media.Track, error) {
	p, err := newParty(s.whep.permit, s.log)
	if err != nil {
		return nil, fail("The gateway can't take the stream.", err)
	}
	s.party = p
	offer, err := s.offer(ctx)
	if err != nil {
		return nil, fail("The gateway can't take the stream.", err)
	}
	text, err := s.post(ctx, offer)
	if err != nil {
		return nil, err
	}
	answer, err := checkAnswer(text, s.whep.permit)
	if err == nil {
		err = p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer})
	}
	if err != nil {
		return nil, fail("The stream's server gives an answer that can't be understood.", err)
	}
	var out []media.Track
	s.tracks, out, err = p.open(ctx)
	return out, err
}

// offer is ours, with all its candidates: they are at hand, as no server is asked.
func (s *whepSource) offer(ctx context.Context) (string, error) {
	pc := s.party.pc
	if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
		return "", err
	}
	if _, err := pc.AddTransceiverFromTrack(s.party.voice, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendrecv}); err != nil {
		return "", err
	}
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		return "", err
	}
	return s.party.local(ctx, offer)
}

// local applies a description of ours and gives it with its candidates.
func (p *party) local(ctx context.Context, d webrtc.SessionDescription) (string, error) {
	done := webrtc.GatheringCompletePromise(p.pc)
	if err := p.pc.SetLocalDescription(d); err != nil {
		return "", err
	}
	select {
	case <-done:
		return p.pc.LocalDescription().SDP, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// post brings our offer to the server.
func (s *whepSource) post(ctx context.Context, offer string) (string, error) {
	req, err := s.request(ctx, http.MethodPost, s.whep.url, offer)
	if err != nil {
		return "", fail("The gateway can't take the stream.", err)
	}
	req.Header.Set("Content-Type", "application/sdp")
	res, err := s.whep.client.Do(req)
	if err != nil {
		return "", fail("The stream's server does not answer.", plain(err))
	}
	defer func() { _ = res.Body.Close() }()
	switch res.StatusCode {
	case http.StatusCreated, http.StatusOK:
	case http.StatusUnauthorized, http.StatusForbidden:
		return "", fail("The stream's server refuses the gateway's user name or password.", fmt.Errorf("status %d", res.StatusCode))
	case http.StatusNotFound:
		return "", fail("The stream's server knows no such stream.", fmt.Errorf("status %d", res.StatusCode))
	default:
		return "", fail("The stream's server refuses.", fmt.Errorf("status %d", res.StatusCode))
	}
	if at := res.Header.Get("Location"); at != "" {
		if u, err := res.Request.URL.Parse(at); err == nil && u.Host == s.whep.url.Host && u.Scheme == s.whep.url.Scheme {
			u.User = nil
			s.session = u
		}
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return "", fail("The stream's server does not answer.", plain(err))
	}
	return string(b), nil
}

func (s *whepSource) request(ctx context.Context, method string, to *url.URL, body string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, to.String(), strings.NewReader(body))
	if err != nil {
		return nil, plain(err)
	}
	if u := s.whep.user; u != nil {
		password, _ := u.Password()
		req.SetBasicAuth(u.Username(), password)
	}
	return req, nil
}

// plain is an error without the address, which may hold a secret.
func plain(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

var errAnswer = errors.New("not a session description")

// checkAnswer is a description that pion may have: bounded, and without candidates that permit refuses or that are names,
// which would be looked up.
func checkAnswer(text string, permit func(netip.Addr) bool) (string, error) {
	if len(text) > maxAnswer || !strings.HasPrefix(text, "v=0") {
		return "", errAnswer
	}
	var out strings.Builder
	left := maxCandidates
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		line := lines.Text() // without \r\n
		if value, ok := strings.CutPrefix(line, "a=candidate:"); ok {
			f := strings.Fields(value)
			if left == 0 || len(f) < 8 {
				continue
			}
			addr, err := netip.ParseAddr(f[4])
			if err != nil || addr.Zone() != "" || !permit(addr.Unmap()) {
				continue
			}
			left--
		}
		if line != "" {
			out.WriteString(line + "\r\n")
		}
	}
	return out.String(), nil
}

// Run is of media.Source.
func (s *whepSource) Run(ctx context.Context, to media.Link) error {
	return s.party.run(ctx, s.tracks, to)
}

// Receive is of media.Source.
func (s *whepSource) Receive(_ int, p *rtp.Packet) { s.party.voice.take(p) }

// Keyframe is of media.Source.
func (s *whepSource) Keyframe(track int) {
	if track < len(s.tracks) {
		s.party.keyframe(s.tracks[track].kind)
	}
}

// Close ends the session at the server, too.
func (s *whepSource) Close() error {
	if s.party == nil {
		return nil
	}
	s.party.close()
	if s.session == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), deleteTime)
	defer cancel()
	req, err := s.request(ctx, http.MethodDelete, s.session, "")
	if err != nil {
		return err
	}
	res, err := s.whep.client.Do(req)
	if err != nil {
		return fmt.Errorf("end the stream at its server: %w", plain(err))
	}
	return res.Body.Close()
}
