package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/gatepost/gatepost/internal/logkey"
)

// Broker is an MQTT broker. All methods but Listen and Run are safe for concurrent use.
type Broker struct {
	cfg   Config
	urls  []listenURL
	log   *slog.Logger
	m     brokerMetrics
	stats stats

	accounts   atomic.Pointer[accounts]
	accountsMu sync.Mutex // for SetAccounts
	verifier   *verifier
	logins     logins
	places     places
	news       news

	queue    bounds // of durable sessions
	sessions sessions
	subs     subscriptions
	retained retained
	wills    wills
	lazy     *lazy
	nextBody uint64 // of messages that several queues refer to, the last one; only Works use it

	listeners []net.Listener
	cert      *certificate

	running    atomic.Bool
	stopping   chan struct{}   // closed when Run was asked to stop
	failed     chan error      // holds why the broker cannot go on
	delivering context.Context //nolint:containedctx // of Run; what serves a connection outlives it by a moment

	mu    sync.Mutex
	conns map[*conn]struct{}
	wg    sync.WaitGroup // of what Run started
}

// New checks cfg, reads what is in the Store, and starts nothing. The error names all that is wrong with cfg.
func New(cfg Config) (*Broker, error) {
	urls, err := cfg.check()
	all, aerr := newAccounts(cfg.Accounts, nil)
	if err := errors.Join(err, aerr); err != nil {
		return nil, err
	}
	cfg.Accounts = nil // with the passwords
	b := &Broker{
		cfg:      cfg,
		urls:     urls,
		log:      cfg.Log,
		verifier: newVerifier(),
		logins:   logins{limit: cfg.Limits.LoginFailures},
		places:   places{all: cfg.Limits.Connections, perAddress: cfg.Limits.PerAddress},
		queue:    bounds{cfg.Queue.Messages, cfg.Queue.Bytes},
		sessions: sessions{byID: map[string]*session{}},
		retained: retained{bounds: bounds{cfg.Retained.Messages, cfg.Retained.Bytes}, byTopic: map[string]*message{}},
		wills:    wills{byID: map[string]*will{}},
		lazy:     newLazy(),
		stopping: make(chan struct{}),
		failed:   make(chan error, 1),
		conns:    map[*conn]struct{}{},
	}
	if err := errors.Join(b.checkOpen(all), b.checkCertificates(all)); err != nil {
		return nil, err
	}
	b.accounts.Store(&all)
	b.m = newMetrics(cfg.Metrics, b)
	return b, b.restore()
}

func (b *Broker) checkOpen(all accounts) error {
	if len(all) > 0 || b.cfg.Anonymous {
		return nil
	}
	for _, u := range b.urls {
		if !u.loopback() {
			return fmt.Errorf("%s: %w", u.address(), ErrOpen)
		}
	}
	return nil
}

// Listen takes every port, or none. Clients may connect from then on; they are served when Run is called.
func (b *Broker) Listen() error {
	var errs []error
	for _, u := range b.urls {
		l, err := u.listen()
		if err != nil {
			errs = append(errs, err)
			continue
		}
		b.listeners = append(b.listeners, l)
	}
	if slices.ContainsFunc(b.urls, listenURL.tls) {
		cert, err := newCertificate(b.cfg.CertFile, b.cfg.KeyFile, b.cfg.ClientCAFile, b.log)
		b.cert = cert
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		for _, l := range b.listeners {
			_ = l.Close() // it was never used
		}
		b.listeners = nil
		return err
	}
	return nil
}

// Addrs are the addresses that Listen took, in the order of Config.Listeners.
func (b *Broker) Addrs() []net.Addr {
	var all []net.Addr
	for _, l := range b.listeners {
		all = append(all, l.Addr())
	}
	return all
}

// Run serves until ctx is done and returns after its last goroutine, within 3 s if Deliver keeps to its ctx. Nil means it
// was asked to stop. It is called once, after Listen.
func (b *Broker) Run(ctx context.Context) error {
	delivering, abandon := context.WithCancel(context.WithoutCancel(ctx))
	defer abandon()
	b.delivering = delivering
	b.running.Store(true)
	old := maps.Clone(b.wills.byID) // nobody has connected yet
	b.wg.Go(func() { b.sendOldWills(old) })
	b.wg.Go(b.publishSys)
	b.wg.Go(b.tend)

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var stops []func()
	for i, u := range b.urls {
		stop := b.serve(u, b.listeners[i], cancel)
		stops = append(stops, stop)
	}
	select {
	case <-ctx.Done():
	case err := <-b.failed:
		cancel(err)
	}

	b.running.Store(false)
	b.mu.Lock()
	close(b.stopping) // from here on add refuses
	b.mu.Unlock()
	for _, stop := range stops {
		stop()
	}
	b.disconnectAll()
	kill := time.AfterFunc(stopTime, func() { abandon(); b.killAll() })
	b.wg.Wait()
	kill.Stop()
	b.flush() // without room, or with a Store that has failed, it is as after a crash
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// serve accepts the connections of one listener until stop is called. A listener that fails ends everything.
func (b *Broker) serve(u listenURL, l net.Listener, fail context.CancelCauseFunc) (stop func()) {
	l = &guarded{Listener: l, places: &b.places, refuse: b.refuseConn}
	if u.tls() && u.websocket() {
		l = tls.NewListener(l, b.cert.config("http/1.1"))
	} else if u.tls() {
		l = tls.NewListener(l, b.cert.config("mqtt"))
	}
	accept := func() error { return b.acceptLoop(l) }
	stop = func() { _ = l.Close() } // it is of no use any more
	if u.websocket() {
		srv := wsServer(u, b.cfg.Limits.ConnectTime, b.mayCome, b.serveConn)
		accept = func() error { return srv.Serve(l) }
		stop = func() { _ = srv.Close() } // the same
	}
	b.wg.Go(func() {
		err := accept()
		if !b.isStopping() {
			fail(fmt.Errorf("accept on %s: %w", l.Addr(), err))
		}
	})
	return stop
}

// acceptLoop returns when l is closed. Other errors pass, such as too many open files.
func (b *Broker) acceptLoop(l net.Listener) error {
	const least, most = 5 * time.Millisecond, time.Second
	pause := least
	for {
		c, err := l.Accept()
		if err == nil {
			pause = least
			b.wg.Go(func() { b.serveConn(c, c) })
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if b.news.due("accept") {
			b.log.Warn("connection could not be accepted", logkey.Error, err)
		}
		select {
		case <-b.stopping:
			return err
		case <-time.After(pause):
			pause = min(2*pause, most)
		}
	}
}

// fail ends Run: the Store cannot go on. Any goroutine.
func (b *Broker) fail(err error) {
	select {
	case b.failed <- fmt.Errorf("broker: %w", err):
	default: // there is one already
	}
}

func (b *Broker) isStopping() bool {
	select {
	case <-b.stopping:
		return true
	default:
		return false
	}
}

// add is false when Run is about to end. Otherwise Run waits for one b.wg.Done.
func (b *Broker) add(c *conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.isStopping() {
		return false
	}
	b.wg.Add(1)
	b.conns[c] = struct{}{}
	return true
}

func (b *Broker) remove(c *conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.conns, c)
}

func (b *Broker) allConns() []*conn {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]*conn, 0, len(b.conns))
	for c := range b.conns {
		all = append(all, c)
	}
	return all
}

// disconnectAll tells clients that we stop, and closes their connections.
func (b *Broker) disconnectAll() {
	for _, c := range b.allConns() {
		b.disconnect(c, packets.ErrServerShuttingDown)
	}
}

func (b *Broker) killAll() {
	for _, c := range b.allConns() {
		c.kill()
	}
}

// dropSlow is told of a connection that ends because its client does not read.
func (b *Broker) dropSlow(c *conn) {
	b.m.slow.Inc()
	if b.news.due("slow") {
		b.log.Warn("client dropped: it does not read", logkey.Address, c.RemoteAddr().String())
	}
}

// refuseConn closes a connection before anything was read.
func (b *Broker) refuseConn(c net.Conn, reason string) {
	_ = c.Close() // it is of no use any more
	b.refused(reason, c.RemoteAddr().String(), "")
}

// refused counts and, now and then, logs.
func (b *Broker) refused(reason, address, user string) {
	b.m.refused.Inc(reason)
	if b.news.due(reason) {
		b.log.Warn("connection refused", logkey.Reason, reason, logkey.Address, address, logkey.User, user)
	}
}

// news keeps what strangers can cause from filling the log: each kind of line at most once in ten seconds.
type news struct {
	mu   sync.Mutex
	last map[string]time.Time
}

// due tells whether a line of that kind may be written now. Kinds are constants.
func (n *news) due(kind string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	if last, ok := n.last[kind]; ok && now.Sub(last) < 10*time.Second {
		return false
	}
	if n.last == nil {
		n.last = map[string]time.Time{}
	}
	n.last[kind] = now
	return true
}
