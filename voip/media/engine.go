package media

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/logging"
	"github.com/pion/webrtc/v4"

	"github.com/gatepost/gatepost/voip"
)

// Config says how an Engine runs. ListenUDP and Permit are required.
type Config struct {
	// ListenUDP is host:port of the one port for all calls. Without a host it is taken on every address of Interfaces.
	ListenUDP string
	// ListenTCP is host:port for clients whose networks let no UDP out; "": none.
	ListenTCP string
	// Interfaces are the names of those to use; empty: all but loopback and those of containers.
	Interfaces []string
	// Permit says whether connectivity checks may be sent to an address of the other side. Safe for concurrent use.
	Permit func(netip.Addr) bool
	// LocalNames: names that end in .local, behind which browsers hide their addresses, are asked for in the local network.
	// What they stand for must be permitted too.
	LocalNames bool
	Metrics    *Metrics     // nil: none
	Log        *slog.Logger // nil: silent
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
	ports    *ports

	mu     sync.Mutex
	closed bool
	legs   sync.WaitGroup // Add only with mu held and closed false
	ctx    context.Context
	cancel context.CancelFunc
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

// Listen takes the ports, all or none. Whoever listens must Run, which gives them back.
func (e *Engine) Listen() error {
	p, err := e.listenPorts()
	if err != nil {
		return err
	}
	e.ports = p
	return nil
}

// Run lets calls be until ctx is done, closes what is left of them and gives the ports back. Calls should have been ended
// before: what is live then is cut.
func (e *Engine) Run(ctx context.Context) error {
	<-ctx.Done()
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.cancel()
	e.legs.Wait()
	if err := e.ports.close(); err != nil {
		return fmt.Errorf("media: close the ports: %w", err)
	}
	return nil
}

// Open makes the leg of a call.
func (e *Engine) Open(c Call) (*Leg, error) {
	if c.Source == nil || c.Tell == nil {
		return nil, errors.New("media: Source and Tell are needed")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed || e.ports == nil {
		return nil, ErrClosed
	}
	l := newLeg(e, c)
	e.cfg.Metrics.begun(l)
	e.legs.Go(l.run)
	return l, nil
}

// resent is how many packets of a picture are kept to be sent again: about a second of 2 Mbit/s. A power of two.
const resent = 256

// quiet are the logs of the libraries beneath: what matters of them comes back as an error or a state.
func quiet() *logging.DefaultLoggerFactory {
	f := logging.NewDefaultLoggerFactory()
	f.Writer = io.Discard
	return f
}

// api is pion's for one call with these codecs. The times are what made calls to browsers quick and kept them alive over a
// change of path; a call that has no path any more is ended by the machine, which waits for the other side's ICE restart.
func (e *Engine) api(codecs [][]payload, way *path) (*webrtc.API, error) {
	m, err := mediaEngine(codecs)
	if err != nil {
		return nil, err
	}
	var r interceptor.Registry
	responder, err := nack.NewResponderInterceptor(nack.ResponderSize(resent))
	if err != nil {
		return nil, fmt.Errorf("media: %w", err)
	}
	generator, err := nack.NewGeneratorInterceptor()
	if err != nil {
		return nil, fmt.Errorf("media: %w", err)
	}
	r.Add(responder)
	r.Add(generator)
	if err := webrtc.ConfigureRTCPReports(&r); err != nil {
		return nil, fmt.Errorf("media: %w", err)
	}
	s := webrtc.SettingEngine{LoggerFactory: quiet()}
	types := []webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6}
	s.SetICEUDPMux(e.ports.mux)
	// The port is taken: pion finds none for server reflexive candidates of its own; see reflexive.go.
	if err := s.SetEphemeralUDPPortRange(e.ports.port(), e.ports.port()); err != nil {
		return nil, fmt.Errorf("media: %w", err)
	}
	if e.ports.tcp != nil {
		s.SetICETCPMux(e.ports.tcp)
		types = append(types, webrtc.NetworkTypeTCP4, webrtc.NetworkTypeTCP6)
	}
	s.SetNetworkTypes(types)
	s.DisableActiveTCP(true) // a client waits for us on no port
	s.SetIncludeLoopbackCandidate(e.loopback)
	s.SetInterfaceFilter(e.useInterface)
	s.SetIPFilter(e.ports.listens)
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	if e.cfg.LocalNames {
		s.SetICEMulticastDNSMode(ice.MulticastDNSModeQueryOnly)
	}
	s.SetSrflxAcceptanceMinWait(100 * time.Millisecond)
	s.SetPrflxAcceptanceMinWait(200 * time.Millisecond)
	s.SetRelayAcceptanceMinWait(400 * time.Millisecond)
	s.SetSTUNGatherTimeout(500 * time.Millisecond)
	s.SetICETimeouts(5*time.Second, 25*time.Second, 500*time.Millisecond)
	// never by itself within a call; but a controlling side checks all pairs only so
	if err := s.SetICERenomination(webrtc.WithRenominationInterval(24 * time.Hour)); err != nil {
		return nil, fmt.Errorf("media: %w", err)
	}
	s.SetICEBindingRequestHandler(way.checked)
	s.SetRemoteIPFilter(func(ip net.IP) bool {
		addr, ok := netip.AddrFromSlice(ip)
		return ok && e.cfg.Permit(addr.Unmap())
	})
	s.SetDTLSRetransmissionInterval(100 * time.Millisecond) // what is lost of a handshake would cost a second
	s.DisableCloseByDTLS(true)                              // browsers close it just before m.call.hangup arrives
	return webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithInterceptorRegistry(&r), webrtc.WithSettingEngine(s)), nil
}

var _ voip.Leg = (*Leg)(nil)
