package mqtt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatepost/gatepost/internal/logkey"
	"github.com/gatepost/gatepost/mqtt/topic"
)

const (
	pingTimeout = 10 * time.Second
	quiesce     = 400 * time.Millisecond
	drainTime   = 800 * time.Millisecond
	// handOver is how long paho may take from Publish to the goroutine that writes.
	handOver = time.Second

	firstPause = 100 * time.Millisecond // before connecting again; doubles up to
	lastPause  = 2 * time.Second        // this, or to
	slowPause  = 30 * time.Second       // this when our credentials are refused, so that no broker locks us out
	steady     = 5 * time.Second        // a connection that lasted so long was a good one

	firstRetry = time.Second      // from a refused message to its next delivery; doubles up to
	lastRetry  = 30 * time.Second // this
)

// errRedeliver ends a connection so that the broker delivers again what was not taken.
var errRedeliver = errors.New("a message could not be stored; the broker is asked to deliver it again")

// Client is our side of one broker. Safe for concurrent use.
type Client struct {
	cfg     Config
	url     *url.URL
	log     *slog.Logger
	in      *intake
	metrics instruments

	started  atomic.Bool
	drained  sync.Once
	refusals atomic.Int32 // messages refused in a row, counted once a connection

	mu     sync.Mutex // guards what follows; never held across I/O or callbacks
	wanted []topic.Filter
	cur    *conn // nil while there is none

	last State // Run's goroutine only

	dropMu   sync.Mutex
	dropLast time.Time // when a dropped message was logged
	dropMore int       // dropped since
}

// New checks cfg and reads the certificates once, so that a mistake shows early. It starts nothing.
func New(cfg Config) (*Client, error) {
	u, err := cfg.check()
	if err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, url: u, log: cfg.Log, wanted: topic.Cover(cfg.Filters)}
	c.in = newIntake(cfg.MaxInFlight, cfg.Deliver)
	c.metrics = newInstruments(cfg.Metrics, c.in)
	return c, nil
}

// Run keeps up the connection until ctx is done and returns after its last goroutine, within two seconds: what has been
// read is still delivered, and acknowledged if it is done within one. A broker that cannot be reached is not an error but
// a State. Run can be called once.
func (c *Client) Run(ctx context.Context) error {
	if !c.started.CompareAndSwap(false, true) {
		return ErrRunning
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { c.in.run(stop) })
	pause := firstPause
	for ctx.Err() == nil {
		lasted, err := c.session(ctx)
		if ctx.Err() != nil {
			break
		}
		if lasted > steady {
			pause = firstPause
		}
		reason, err := explain(err, c.url.Host)
		if lasted > 0 && lasted < steady && errors.Is(err, io.EOF) {
			reason += " soon after it let us in; perhaps another client uses the same client id"
		}
		c.state(State{Reason: reason, Err: err})
		wait := pause
		if errors.Is(err, ErrCredentials) {
			wait = slowPause
		}
		pause = min(2*pause, lastPause)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	c.drain()
	close(stop)
	wg.Wait()
	c.state(State{Reason: "stopped"})
	return nil
}

// session connects and serves one connection until it or ctx ends. It tells how long the connection lasted, 0 when none
// was made, and why there is none any more.
func (c *Client) session(ctx context.Context) (time.Duration, error) {
	cn, err := c.connect(ctx)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	err = c.serve(ctx, cn)
	return time.Since(began), err
}

// serve uses a connection until it or ctx ends, and ends it. The error says why.
func (c *Client) serve(ctx context.Context, cn *conn) error {
	c.metrics.connections.Inc()
	c.setConn(cn)
	defer c.setConn(nil)
	note, err := c.subscribe(ctx, cn)
	if err != nil && ctx.Err() == nil {
		cn.abort(err)
		return err
	}
	if ctx.Err() == nil {
		c.state(State{Connected: true, Reason: reasonOf(note), Err: note})
	}
	var retry <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			c.setConn(nil)
			cn.wire.stopReading()
			c.drain()
			cn.bye()
			return ctx.Err()
		case <-cn.wire.closed:
			cn.abort(nil)
			return cn.why()
		case answer := <-cn.resync:
			note, err := c.subscribe(ctx, cn)
			answer <- note
			switch {
			case err == nil:
				c.state(State{Connected: true, Reason: reasonOf(note), Err: note})
			case ctx.Err() == nil:
				cn.abort(err)
				return err
			}
		case <-cn.failed:
			n := c.refusals.Add(1)
			retry = time.After(min(firstRetry<<min(n-1, 10), lastRetry))
		case <-retry:
			cn.bye()
			return errRedeliver
		}
	}
}

// drain waits, once, until what was read is delivered and done, but not for long. Nothing more may be read.
func (c *Client) drain() {
	c.drained.Do(func() {
		late := time.NewTimer(drainTime)
		defer late.Stop()
		select {
		case <-c.in.whenIdle():
		case <-late.C:
		}
	})
}

func reasonOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func (c *Client) setConn(cn *conn) {
	c.mu.Lock()
	c.cur = cn
	c.mu.Unlock()
}

func (c *Client) conn() *conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cur
}

// state tells the log and OnState. Called from Run's goroutine.
func (c *Client) state(s State) {
	if s.Connected == c.last.Connected && s.Reason == c.last.Reason {
		return // one line for an hour of the same failure
	}
	c.last = s
	switch log := c.log.With(logkey.Address, c.url.Host); {
	case s.Connected && s.Err == nil:
		log.Info("connected to the broker")
	case s.Connected:
		log.Warn("connected to the broker, but not all is well", logkey.Reason, s.Reason)
	case s.Err == nil:
		log.Info("not connected to the broker", logkey.Reason, s.Reason)
	default:
		log.Warn("not connected to the broker", logkey.Reason, s.Reason)
	}
	up := 0.0
	if s.Connected {
		up = 1
	}
	c.metrics.connected.Set(up)
	if c.cfg.OnState != nil {
		c.cfg.OnState(s)
	}
}

// SetFilters changes what is wanted; the filters may overlap. Only the difference goes to the broker. It returns when the
// broker has answered, ErrRefused when it refuses some. Without a connection, or when that is lost meanwhile, it returns
// nil and the next connection sees to it.
func (c *Client) SetFilters(ctx context.Context, filters []topic.Filter) error {
	cover := topic.Cover(filters)
	c.mu.Lock()
	c.wanted = cover
	cn := c.cur
	c.mu.Unlock()
	if cn == nil {
		return nil
	}
	answer := make(chan error, 1)
	select {
	case cn.resync <- answer:
	case <-cn.wire.closed:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("mqtt: change subscriptions: %w", ctx.Err())
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return fmt.Errorf("mqtt: change subscriptions: %w", ctx.Err())
	}
}

// dropLog says that a message was dropped, at most once in ten seconds since anybody may cause it.
func (c *Client) dropLog(name, reason string) {
	c.dropMu.Lock()
	defer c.dropMu.Unlock()
	now := time.Now()
	if !c.dropLast.IsZero() && now.Sub(c.dropLast) < 10*time.Second {
		c.dropMore++
		return
	}
	c.log.Warn("message dropped", logkey.Topic, name, logkey.Reason, reason, logkey.Count, c.dropMore+1)
	c.dropLast, c.dropMore = now, 0
}
