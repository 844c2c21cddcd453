package turn

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatepost/gatepost/internal/logkey"
)

// Server is a TURN server. Its methods are safe for concurrent use, except that Listen and Run are called once and in this
// order.
type Server struct {
	cfg     Config
	log     *slog.Logger
	metrics turnMetrics
	handler *handler
	workers []*worker
	homes   *homes
	parcels *parcels
	streams *streams
	cert    *certificate // nil: no TLS
	began   time.Time

	listen []listenAddr // as configured
	addrs  []net.Addr   // as bound
	tcp    []streamListener
	binds  []netip.AddrPort // what relay sockets may be bound to when the public address is not the host's
	host   []netip.Addr     // when we began

	portable bool // the portable path also where there is a better one: for tests
	running  atomic.Bool
	live     chan struct{} // has room for one: an allocation ended
}

// listenAddr is one of Config.Listen.
type listenAddr struct {
	transport transport
	addr      netip.AddrPort
}

// New checks cfg and starts nothing. Its errors are ErrConfig, or of reading the certificate or the host's addresses.
func New(cfg Config) (*Server, error) { return newServer(cfg, false) }

func newServer(cfg Config, portable bool) (*Server, error) {
	cfg, err := cfg.checked()
	if err != nil {
		return nil, err
	}
	if portable && cfg.Workers > 1 || cfg.Workers > maxWorkers {
		return nil, fmt.Errorf("%w: %d Workers are more than this system can have", ErrConfig, cfg.Workers)
	}
	s := &Server{cfg: cfg, log: cfg.Log, began: cfg.Now(), portable: portable, live: make(chan struct{}, 1)}
	if cfg.CertFile != "" {
		if s.cert, err = newCertificate(cfg.CertFile, cfg.KeyFile, s.log); err != nil {
			return nil, err
		}
	}
	if s.host, err = hostAddrs(); err != nil {
		return nil, err
	}
	for _, text := range cfg.Listen {
		over, at, err := parseListen(text)
		if err != nil {
			return nil, err
		}
		s.listen, s.binds = append(s.listen, listenAddr{over, at}), append(s.binds, at)
	}
	addrs := relayAddrs(cfg.PublicIP, s.binds, s.host)
	s.streams = newStreams(s, defaultTimes())
	s.metrics = newMetrics(cfg.Metrics, func() float64 { return float64(s.handler.quotas.live()) }, func() float64 { return float64(s.streams.gate.count()) })
	if s.handler, err = newHandler(&s.cfg, addrs, fragmentControl && !portable, s.metrics); err != nil {
		return nil, err
	}
	s.handler.policy.setHost(s.host)
	ips := make([][16]byte, len(addrs))
	for i, a := range addrs {
		ips[i] = a.As16()
	}
	s.homes, s.parcels = newHomes(ips), newParcels(cfg.Workers)
	return s, nil
}

// clock is the server's own time.
func (s *Server) clock() instant { return instant(s.cfg.Now().Sub(s.began)) }

func (s *Server) bindAddr(public netip.Addr) netip.Addr { return bindAddr(public, s.host, s.binds) }

// Listen takes all listening ports, or none of them.
func (s *Server) Listen() (err error) {
	defer func() {
		if err != nil {
			s.unlisten()
		}
	}()
	udp := make([]netip.AddrPort, len(s.listen))
	s.addrs = make([]net.Addr, len(s.listen))
	for i, l := range s.listen {
		if l.transport == overUDP {
			udp[i] = l.addr
		}
	}
	for i := range s.cfg.Workers {
		w, err := newWorker(s, i)
		if err != nil {
			return err
		}
		s.workers = append(s.workers, w)
		if udp, err = w.path.listen(udp, s.cfg.Workers > 1); err != nil {
			return err
		}
	}
	for i, l := range s.listen {
		if l.transport == overUDP {
			s.addrs[i] = net.UDPAddrFromAddrPort(udp[i])
			continue
		}
		tcp, err := net.Listen(tcpNetwork(l.addr), l.addr.String())
		if err != nil {
			return err
		}
		sl := streamListener{Listener: tcp, index: uint16(i), transport: l.transport}
		if l.transport == overTLS {
			sl.tls = s.cert.config()
		}
		s.tcp = append(s.tcp, sl)
		s.addrs[i] = tcp.Addr()
	}
	return nil
}

func tcpNetwork(at netip.AddrPort) string {
	if at.Addr().Is4() {
		return "tcp4"
	}
	return "tcp6"
}

// unlisten gives back what Listen took when it could not take everything.
func (s *Server) unlisten() {
	for _, l := range s.tcp {
		l.Close()
	}
	for _, w := range s.workers {
		w.path.abandon()
	}
	s.tcp, s.workers = nil, nil
}

// Addrs are the addresses listened on, one for each of Config.Listen in that order, after Listen.
func (s *Server) Addrs() []net.Addr { return slices.Clone(s.addrs) }

// Run serves until ctx is done, then lets the allocations that live go on for Config.Drain, and returns after its last
// goroutine ended. Nil means it was asked to stop.
func (s *Server) Run(ctx context.Context) error {
	broken, fail := context.WithCancelCause(context.WithoutCancel(ctx)) // a worker failed
	defer fail(nil)
	var workers, others sync.WaitGroup
	for _, w := range s.workers {
		workers.Go(func() {
			if err := w.path.run(); err != nil {
				fail(err)
			}
		})
	}
	s.running.Store(true)
	others.Go(func() { s.watchHost(broken) })
	for _, l := range s.tcp {
		others.Go(func() { s.streams.accept(broken, l) })
	}

	select {
	case <-ctx.Done():
	case <-broken.Done():
	}
	s.handler.draining.Store(true)
	for _, l := range s.tcp {
		l.Close()
	}
	s.drain(broken)
	err := context.Cause(broken)
	fail(nil)
	s.streams.close()
	s.running.Store(false)
	for _, w := range s.workers {
		w.path.enter(func() { w.endAll(EndStopped) })
		w.path.stop()
	}
	workers.Wait()
	others.Wait()
	return err
}

// drain waits until no allocation lives, Config.Drain is over, or the server is broken.
func (s *Server) drain(broken context.Context) {
	if s.cfg.Drain <= 0 {
		return
	}
	s.log.Info("relay stops when its allocations have ended", logkey.Count, s.handler.quotas.live(), logkey.Wait, s.cfg.Drain.String())
	over := time.NewTimer(s.cfg.Drain)
	defer over.Stop()
	for s.handler.quotas.live() > 0 {
		select {
		case <-s.live:
		case <-over.C:
			return
		case <-broken.Done():
			return
		}
	}
}
