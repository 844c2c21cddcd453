package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/gatepost/gatepost/internal/logkey"
)

// The limits. Sizes in bytes.
const (
	maxConns     = 32               // at once, on each listener
	maxHeader    = 16 << 10         // of a request
	maxBody      = 1 << 20          // of a verb's request
	readTimeout  = 10 * time.Second // header and body
	writeTimeout = 30 * time.Second // an answer; with a stream: each piece of it
	idleTimeout  = 60 * time.Second // between two requests of one connection
	drainTime    = 2 * time.Second  // what is running when Run is asked to stop may take
)

// VerbTime is how long a verb may work before its context is cancelled. Streams have no such limit, they end when the
// reader stops reading.
const VerbTime = 30 * time.Second

// Config says how a Server runs. The zero value serves nothing.
type Config struct {
	// Listen is a TCP address such as "127.0.0.1:8090"; "" none. The host must be an IP address or "localhost". An address
	// that is not loopback needs a Token.
	Listen string
	// Token opens /metrics on the TCP address; "" nobody may read them there.
	Token string
	// Socket is the path of the control socket; "" none. Its folder is made if it is missing (0700) and must not be
	// writable by group or others.
	Socket string
	// Metrics serves /metrics; nil answers 404.
	Metrics http.Handler
	// Live and Ready answer /healthz and /readyz: whether all is well and, if not, why. They are called from many
	// goroutines and must not block. Nil means always well.
	Live, Ready func() (ok bool, why []string)
	Log         *slog.Logger // nil: silent
}

// Server answers on the TCP address and the socket. Make it with New.
type Server struct {
	cfg   Config
	log   *slog.Logger
	verbs map[string]http.Handler // by name; fixed before Run

	tcp    net.Listener
	socket *socket
}

// New checks cfg. It starts nothing.
func New(cfg Config) (*Server, error) {
	if cfg.Listen != "" {
		loopback, err := isLoopback(cfg.Listen)
		if err != nil {
			return nil, fmt.Errorf("admin: listen %q: %w", cfg.Listen, err)
		}
		if !loopback && cfg.Token == "" {
			return nil, fmt.Errorf("admin: listen %q is open to other machines and needs a token", cfg.Listen)
		}
	}
	if err := checkSocketPath(cfg.Socket); err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	log := cfg.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Server{cfg: cfg, log: log, verbs: map[string]http.Handler{}}, nil
}

// Listen takes the address and the socket, both or none. A socket that a dead process left behind is replaced;
// ErrRunning when a live one answers on it.
func (s *Server) Listen() error {
	if s.cfg.Listen != "" {
		l, err := net.Listen("tcp", s.cfg.Listen)
		if err != nil {
			return fmt.Errorf("admin: %w", err)
		}
		s.tcp = limit(l, maxConns)
	}
	if s.cfg.Socket != "" {
		sock, err := listenSocket(s.cfg.Socket)
		if err != nil {
			if s.tcp != nil {
				err = errors.Join(err, s.tcp.Close())
			}
			return fmt.Errorf("admin: %w", err)
		}
		s.socket = sock
	}
	return nil
}

// Addr is the TCP address that Listen took, nil without one.
func (s *Server) Addr() net.Addr {
	if s.tcp == nil {
		return nil
	}
	return s.tcp.Addr()
}

// Run answers until ctx is done, gives what is running 2 s to end, and returns after its last goroutine. Nil means it was
// asked to stop. The socket is removed. Listen must have succeeded; Run is called once.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	errs := make(chan error, 2)
	serve := func(l net.Listener, h http.Handler) {
		srv := &http.Server{
			Handler:           h,
			ReadHeaderTimeout: readTimeout,
			ReadTimeout:       readTimeout,
			WriteTimeout:      writeTimeout + VerbTime,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeader,
			BaseContext:       func(net.Listener) context.Context { return ctx },
			ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
		}
		wg.Go(func() {
			if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				errs <- fmt.Errorf("admin: %w", err)
			}
			cancel() // the first to stop takes the other along
		})
		wg.Go(func() {
			<-ctx.Done()
			drain, stop := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
			defer stop()
			if srv.Shutdown(drain) != nil {
				_ = srv.Close() // cuts what did not end
			}
		})
	}
	if s.tcp != nil {
		serve(s.tcp, s.public())
		s.log.Info("admin address open", logkey.Address, s.tcp.Addr().String())
	}
	if s.socket != nil {
		serve(s.socket.listener, s.private())
		s.log.Info("control socket open", logkey.File, s.cfg.Socket)
	}
	<-ctx.Done()
	wg.Wait()
	close(errs)
	var err error
	for e := range errs {
		err = errors.Join(err, e)
	}
	if s.socket != nil {
		if e := s.socket.remove(); e != nil {
			s.log.Warn("control socket not removed", logkey.File, s.cfg.Socket, logkey.Error, e.Error())
		}
	}
	return err
}

// public is what the TCP address serves.
func (s *Server) public() http.Handler {
	mux := http.NewServeMux()
	s.health(mux)
	mux.Handle("GET /metrics", s.withToken(s.metrics()))
	return mux
}

// private is what the socket serves.
func (s *Server) private() http.Handler {
	mux := http.NewServeMux()
	s.health(mux)
	mux.Handle("GET /metrics", s.metrics())
	for name, h := range s.verbs {
		mux.Handle("POST /v1/"+name, h)
	}
	mux.HandleFunc("/v1/", func(w http.ResponseWriter, _ *http.Request) {
		fail(w, &Error{Code: NotFound, Text: "this gatepost does not know this verb: are both of the same version?"})
	})
	return mux
}

func (s *Server) metrics() http.Handler {
	if s.cfg.Metrics == nil {
		return http.NotFoundHandler()
	}
	return s.cfg.Metrics
}

// isLoopback says whether a listen address can be reached from this machine only.
func isLoopback(addr string) (bool, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false, err
	}
	if host == "localhost" {
		return true, nil
	}
	if host == "" {
		return false, nil
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false, errors.New(`the host must be an IP address or "localhost"`)
	}
	return ip.Unmap().IsLoopback(), nil
}
