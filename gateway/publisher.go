package gateway

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/gatepost/gatepost/internal/logkey"
	"github.com/gatepost/gatepost/mqtt/topic"
)

// A publish that takes longer is one that nobody can tell about.
const publishTime = 10 * time.Second

// publisher hands commands to the broker, one at a time, in the order in which they were stored.
type publisher struct {
	mu   sync.Mutex
	list []toPublish
	bell chan struct{}
}

type toPublish struct {
	command Command
	again   bool // not for the first time
}

func newPublisher() *publisher { return &publisher{bell: make(chan struct{}, 1)} }

// put queues a command that is stored as being published; with later, after that time.
func (p *publisher) put(c Command, later time.Duration) {
	add := func() {
		p.mu.Lock()
		p.list = append(p.list, toPublish{c, later > 0 || c.State == Queued})
		p.mu.Unlock()
		select {
		case p.bell <- struct{}{}:
		default:
		}
	}
	if later > 0 {
		time.AfterFunc(later, add) // outlives a stop without harm: nobody reads the list then
		return
	}
	add()
}

func (p *publisher) next() (t toPublish, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.list) == 0 {
		return t, false
	}
	t, p.list = p.list[0], p.list[1:]
	return t, true
}

// publishCommands publishes until ctx is done.
func (g *Gateway) publishCommands(ctx context.Context) error {
	for {
		for t, ok := g.publisher.next(); ok; t, ok = g.publisher.next() {
			if err := g.publishOne(ctx, t); err != nil {
				if ctx.Err() != nil || errors.Is(err, ErrStopped) {
					return nil
				}
				return err
			}
		}
		select {
		case <-g.publisher.bell:
		case <-ctx.Done():
			return nil
		}
	}
}

// commandMessage is the message that a command becomes.
func commandMessage(c *Command, now time.Time) topic.Message {
	return topic.Message{Topic: c.Topic, Payload: []byte(c.Payload), QoS: c.QoS, Time: now}
}

func (g *Gateway) publishOne(ctx context.Context, t toPublish) error {
	c := t.command
	if t.again { // that it is being published must be on disk before it is
		going := false
		if err := g.inside(ctx, func(b *batch) {
			if open := g.commands.open[c.ID]; open != nil && open.retry(g.now()) {
				g.commands.save(b, open)
				going = true
			}
		}); err != nil || !going {
			return err
		}
	}
	m := commandMessage(&c, g.now())
	if g.cfg.Echoes && g.rules.Load().Wants(c.Topic) {
		g.echo.expect(m)
	}
	pctx, cancel := context.WithTimeout(ctx, publishTime)
	err := g.cfg.Devices.Publish(pctx, c.Topic, m.Payload, c.QoS, c.Retain)
	cancel()
	if !c.read.IsZero() {
		g.metrics.reaction.Observe(time.Since(c.read).Seconds())
	}
	var ev any = sent{}
	if err != nil {
		ev = unsure{err.Error()}
		if n, ok := errors.AsType[interface {
			error
			NotSent() bool
		}](err); ok && n.NotSent() {
			ev = notSent{err.Error()}
		}
		g.log.Warn("command not published", logkey.Command, c.ID, logkey.Topic, c.Topic, logkey.Error, err)
	} else {
		g.metrics.messages.Inc("out")
	}
	return g.inside(context.WithoutCancel(ctx), func(b *batch) {
		if open := g.commands.open[c.ID]; open != nil {
			g.commands.step(b, open, g.now(), ev)
		}
	})
}
