package media

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/webrtc/v4"

	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/voip"
)

// Config says how an Engine runs. ListenUDP and Permit are required.
type Config struct {
	// ListenUDP is host:port of the one port for all calls. Without a host it is taken on every address of Interfaces.
	ListenUDP string
	// Interfaces are the names of those to use; empty: all but loopback and those of containers.
	Interfaces []string
	// Permit says whether connectivity checks may be sent to an address of the other side. Safe for concurrent use.
	Permit func(netip.Addr) bool
	// TURN makes credentials for one call; nil, or a nil answer: no relay is used.
	TURN func(ids.CallID) *TURN
	Log  *slog.Logger // nil: silent
}

// TURN is a relay and the credential of one call.
type TURN struct {
	URIs               []string
	Username, Password string
}

// Engine is the media of all calls. Made by New; Listen, then Run. Open is safe for concurrent use.
type Engine struct {
	cfg      Config
	host     string
	port     int
	loopback bool // it listens there on purpose
	mux      udpMux

	mu     sync.Mutex
	closed bool
	peers  sync.WaitGroup // Add only with mu held and closed false
	ctx    context.Context
	cancel context.CancelFunc
}

type udpMux interface {
	ice.UDPMux
	Close() error
}

// New checks cfg and starts nothing.
func New(cfg Config) (*Engine, error) {
	if cfg.Permit == nil {
		return nil, errors.New("media: Permit is needed")
	}
	host, port, err := net.SplitHostPort(cfg.ListenUDP)
	if err != nil {
		return nil, fmt.Errorf("media: %w", err)
	}
	n, err := net.LookupPort("udp", port)
	if err != nil {
		return nil, fmt.Errorf("media: %w", err)
	}
	if cfg.TURN == nil {
		cfg.TURN = func(ids.CallID) *TURN { return nil }
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	e := &Engine{cfg: cfg, host: host, port: n}
	if ip, err := netip.ParseAddr(host); err == nil {
		if e.loopback = ip.IsLoopback(); ip.IsUnspecified() {
			e.host = ""
		}
	}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	return e, nil
}

// Listen takes the port. Whoever listens must Run, which gives it back.
func (e *Engine) Listen() error {
	if e.host == "" {
		mux, err := ice.NewMultiUDPMuxFromPort(e.port, ice.UDPMuxFromPortWithInterfaceFilter(e.useInterface), ice.UDPMuxFromPortWithIPFilter(useIP))
		if err != nil {
			return fmt.Errorf("media: listen on port %d: %w", e.port, err)
		}
		e.mux = mux
		return nil
	}
	addr, err := net.ResolveUDPAddr("udp", net.JoinHostPort(e.host, fmt.Sprint(e.port)))
	if err != nil {
		return fmt.Errorf("media: %w", err)
	}
	conn, err := net.ListenUDP("udp", addr)
	if err != nil {
		return fmt.Errorf("media: %w", err)
	}
	e.mux = ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: conn})
	return nil
}

// Run lets calls be until ctx is done, closes what is left of them and gives the port back. Calls should have been ended
// before: what is live then is cut.
func (e *Engine) Run(ctx context.Context) error {
	<-ctx.Done()
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.cancel()
	e.peers.Wait()
	if err := e.mux.Close(); err != nil {
		return fmt.Errorf("media: close the port: %w", err)
	}
	return nil
}

// containers are prefixes of interface names that lead to no person.
var containers = []string{"docker", "br-", "veth", "cni", "podman", "virbr"}

func (e *Engine) useInterface(name string) bool {
	if len(e.cfg.Interfaces) > 0 {
		return slices.Contains(e.cfg.Interfaces, name)
	}
	return !slices.ContainsFunc(containers, func(p string) bool { return strings.HasPrefix(name, p) })
}

// useIP leaves out link-local addresses: no peer elsewhere can reach them.
func useIP(ip net.IP) bool { return !ip.IsLinkLocalUnicast() }

// api is pion's for a peer with these tracks. The times are what made calls to browsers quick and kept them alive over a
// change of path; a call that has no path any more is ended by the machine, which waits for the other side's ICE restart.
func (e *Engine) api(tracks []Track) (*webrtc.API, error) {
	var m webrtc.MediaEngine
	for i, t := range tracks {
		kind := webrtc.RTPCodecTypeAudio
		if strings.HasPrefix(t.MimeType, "video/") {
			kind = webrtc.RTPCodecTypeVideo
		}
		if err := m.RegisterCodec(webrtc.RTPCodecParameters{RTPCodecCapability: t.capability(), PayloadType: webrtc.PayloadType(96 + i)}, kind); err != nil {
			return nil, fmt.Errorf("media: codec %s: %w", t.MimeType, err)
		}
	}
	events := webrtc.RTPCodecCapability{MimeType: mimeEvents, ClockRate: 48000, SDPFmtpLine: "0-16"}
	if err := m.RegisterCodec(webrtc.RTPCodecParameters{RTPCodecCapability: events, PayloadType: 110}, webrtc.RTPCodecTypeAudio); err != nil {
		return nil, fmt.Errorf("media: %w", err)
	}
	var r interceptor.Registry
	if err := errors.Join(webrtc.ConfigureNack(&m, &r), webrtc.ConfigureRTCPReports(&r)); err != nil {
		return nil, fmt.Errorf("media: %w", err)
	}
	var s webrtc.SettingEngine
	s.SetICEUDPMux(e.mux)
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6})
	s.SetIncludeLoopbackCandidate(e.loopback)
	s.SetInterfaceFilter(e.useInterface)
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	s.SetSrflxAcceptanceMinWait(100 * time.Millisecond)
	s.SetPrflxAcceptanceMinWait(200 * time.Millisecond)
	s.SetRelayAcceptanceMinWait(400 * time.Millisecond)
	s.SetSTUNGatherTimeout(500 * time.Millisecond)
	s.SetICETimeouts(5*time.Second, 25*time.Second, 500*time.Millisecond)
	s.SetRemoteIPFilter(func(ip net.IP) bool {
		addr, ok := netip.AddrFromSlice(ip)
		return ok && e.cfg.Permit(addr.Unmap())
	})
	s.DisableCloseByDTLS(true) // browsers close it just before m.call.hangup arrives
	return webrtc.NewAPI(webrtc.WithMediaEngine(&m), webrtc.WithInterceptorRegistry(&r), webrtc.WithSettingEngine(s)), nil
}

// Open makes the leg of a call, which owns src from then on. digit is told of each key that the person presses, as our own
// decoder read it; it may block. Nil: nobody listens.
func (e *Engine) Open(r voip.Record, src Source, digit func(rune), tell func(voip.Event)) (voip.Leg, error) {
	if digit == nil {
		digit = func(rune) {}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed || e.mux == nil {
		return nil, ErrClosed
	}
	p, err := newPeer(e, r, src, digit, tell)
	if err != nil {
		return nil, err
	}
	e.peers.Go(p.run)
	return p, nil
}
