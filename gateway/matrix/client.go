package matrix

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/internal/logkey"
)

// Client talks to one homeserver. Safe for concurrent use.
type Client struct {
	cfg     Config
	base    *url.URL
	bot     ids.UserID
	metrics clientMetrics
	watch   *watch
	http    *http.Client
	health  health
	again   chan struct{} // one waiting wish to probe again

	abilities atomic.Pointer[Abilities] // nil before the first successful Probe
	token     atomic.Pointer[string]    // account mode: the access token in use
	devices   deviceSet
	book      *roomBook
	engine    *engine // nil without encryption
	uploads   uploadMemo

	listener net.Listener  // set by Listen, used up by Run
	intake   chan struct{} // holds a token while a transaction is taken in

	refusedAt atomic.Int64 // Unix seconds of the last request with a wrong hs_token
}

// New checks cfg and makes a Client. It starts nothing and asks nobody.
func New(cfg Config) (*Client, error) {
	cfg.Aliases = append([]string(nil), cfg.Aliases...)
	base, err := cfg.check()
	if err != nil {
		return nil, err
	}
	c := &Client{
		cfg:     cfg,
		base:    base,
		bot:     ids.UserID("@" + cfg.Bot + ":" + cfg.ServerName),
		metrics: newMetrics(cfg.Metrics),
		again:   make(chan struct{}, 1),
		intake:  make(chan struct{}, 1),
	}
	if len(c.bot) > maxUserID {
		return nil, errors.New("matrix: Bot, ServerName: the user id is longer than 255 bytes")
	}
	c.watch = newWatch(cfg.Dial, cfg.Now, c.askAgain)
	c.http = c.watch.client()
	c.health.set(partProbe, ErrNotAsked)
	if cfg.Token != "" {
		c.token.Store(&cfg.Token)
	}
	c.book = newRoomBook(c)
	if cfg.Crypto != nil {
		if c.engine, err = newEngine(c, *cfg.Crypto); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Bot is the bot's user id.
func (c *Client) Bot() ids.UserID { return c.bot }

// Ghost is the user id of the ghost that stands for a device; in account mode the bot's.
func (c *Client) Ghost(d ids.DeviceID) ids.UserID {
	if c.cfg.Mode == Account {
		return c.bot
	}
	return ids.UserID("@" + c.cfg.GhostPrefix + string(d) + ":" + c.cfg.ServerName)
}

// Offset is the homeserver's clock less ours, to about a second, as its last answer said; ok is false before the first.
func (c *Client) Offset() (d time.Duration, ok bool) {
	if p := c.watch.offset.Load(); p != nil {
		return *p, true
	}
	return 0, false
}

// Ready is nil when the homeserver knows us, we can read from it, and (as far as it can tell) it can reach us. Otherwise it
// says what is wrong.
func (c *Client) Ready() error { return c.health.err() }

// Listen takes the address for appservice transactions; without one, and in account mode, it does nothing.
func (c *Client) Listen() error {
	if c.cfg.Mode != Appservice || c.cfg.Listen == "" {
		return nil
	}
	ln, err := net.Listen("tcp", c.cfg.Listen)
	if err != nil {
		return err
	}
	c.listener = ln
	return nil
}

// Addr is where Listen listens; nil when it does not.
func (c *Client) Addr() net.Addr {
	if c.listener == nil {
		return nil
	}
	return c.listener.Addr()
}

// Run asks the homeserver what it can do, until it answers, and takes in events until ctx is done. It returns after its
// last goroutine; nil means it was asked to stop. A homeserver that is away or refuses us does not end it. Called once.
func (c *Client) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if c.cfg.Inbox == nil {
		return errors.New("matrix: Inbox: missing")
	}
	defer c.watch.close()
	var wg sync.WaitGroup
	wg.Go(func() { c.keepAsking(ctx, &wg) })
	if c.engine != nil {
		wg.Go(func() { c.engine.verify(ctx) })
	}
	err := c.serve(ctx)
	cancel()
	wg.Wait()
	if c.engine != nil {
		err = errors.Join(err, c.engine.stop())
	}
	return err
}

const (
	firstWait = time.Second
	maxWait   = 30 * time.Second
	minAgain  = 5 * time.Second // between two probes that an event asked for
)

// keepAsking probes until the homeserver answers, and again whenever it was away or refused us. After the first success it
// starts reading by /sync where that is needed.
func (c *Client) keepAsking(ctx context.Context, wg *sync.WaitGroup) {
	syncing := false
	var said string
	wait := firstWait
	for {
		err := c.Probe(ctx)
		if ctx.Err() != nil {
			return
		}
		select { // what was wished for so far is done: the Probe itself may have found the homeserver back
		case <-c.again:
		default:
		}
		if err == nil {
			if !syncing && c.needsSync() {
				syncing = true
				wg.Go(func() { c.syncLoop(ctx) })
			}
			c.cfg.Log.Info("homeserver is ready", logkey.URL, c.base.Host, logkey.Mode, string(c.cfg.Mode), logkey.Version, c.abilities.Load().RoomVersion)
			said, wait = "", firstWait
			if !pauseFor(ctx, minAgain) {
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-c.again:
			}
			continue
		}
		if text := err.Error(); text != said { // once for each new trouble
			c.cfg.Log.Warn("homeserver is not ready", logkey.URL, c.base.Host, logkey.Error, err)
			said = text
		}
		if !pauseFor(ctx, max(wait, min(lane.OutcomeOf(err).After, maxPause))) {
			return
		}
		wait = min(2*wait, maxWait)
	}
}

// askAgain wants another Probe soon. It never blocks.
func (c *Client) askAgain() {
	select {
	case c.again <- struct{}{}:
	default:
	}
}

// pauseFor waits and says whether ctx is still alive.
func pauseFor(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// part names what can be wrong on its own.
type part int

const (
	partProbe part = iota
	partToken
	partSync
	partKeys
	parts
)

// health holds what is wrong. Safe for concurrent use.
type health struct {
	mu     sync.Mutex
	faults [parts]error
}

func (h *health) set(p part, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults[p] = err
}

func (h *health) err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return errors.Join(h.faults[:]...)
}
