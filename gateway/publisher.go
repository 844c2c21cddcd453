package gateway

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/internal/logkey"
	"github.com/gatepost/gatepost/mqtt/topic"
)

const (
	publishTime  = 10 * time.Second // a publish that takes longer is one that nobody can tell about
	publishAgain = 1 * time.Second  // between two tries while the broker is away
)

// publisher hands commands to the broker, one at a time, in the order in which they were stored. A command of a device does
// not overtake another one of it that waits for the broker.
type publisher struct {
	mu   sync.Mutex
	list []toPublish
	bell chan struct{}

	waiting map[ids.DeviceID][]string // ids of commands that wait for the broker, in order; the publishing goroutine's
}

type toPublish struct {
	command Command
	again   bool // not for the first time
}

func newPublisher() *publisher {
	return &publisher{bell: make(chan struct{}, 1), waiting: map[ids.DeviceID][]string{}}
}

// behind says whether another command of the device goes first.
func (p *publisher) behind(c Command) bool {
	list := p.waiting[c.Device]
	return len(list) > 0 && list[0] != c.ID
}

// wait puts c behind those that wait.
func (p *publisher) wait(c Command) {
	if list := p.waiting[c.Device]; !slices.Contains(list, c.ID) {
		p.waiting[c.Device] = append(list, c.ID)
	}
}

// leave lets those behind c go on.
func (p *publisher) leave(c Command) {
	list := slices.DeleteFunc(p.waiting[c.Device], func(id string) bool { return id == c.ID })
	if p.waiting[c.Device] = list; len(list) == 0 {
		delete(p.waiting, c.Device)
	}
}

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
	for ctx.Err() == nil {
		for ctx.Err() == nil {
			t, ok := g.publisher.next()
			if !ok {
				break
			}
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
		}
	}
	return nil
}

// queueUnpublished records of the commands that were not handed to the broker that they certainly were not: after the
// restart they are published if there is time, and not unknown. All other parts have ended.
func (g *Gateway) queueUnpublished() {
	for t, ok := g.publisher.next(); ok; t, ok = g.publisher.next() {
		if t.again {
			continue
		}
		if g.report(t.command, notSent{"gatepost was stopped"}) != nil {
			return
		}
	}
}

// report steps a command that is still open.
func (g *Gateway) report(c Command, ev any) error {
	return g.inside(context.Background(), func(b *batch) {
		if open := g.commands.open[c.ID]; open != nil {
			g.commands.step(b, open, g.now(), ev)
		}
	})
}

// commandMessage is the message that a command becomes.
func commandMessage(c *Command, now time.Time) topic.Message {
	return topic.Message{Topic: c.Topic, Payload: c.payload(), QoS: c.QoS, Time: now}
}

// expectEcho waits for c to come back from an outside broker, if anybody reads its topic.
func (g *Gateway) expectEcho(c *Command, now time.Time) (expected bool) {
	if !g.cfg.Echoes || !g.Wants(c.Topic) {
		return false
	}
	g.echo.expect(commandMessage(c, now))
	return true
}

func (g *Gateway) publishOne(ctx context.Context, t toPublish) error {
	c, p := t.command, g.publisher
	switch {
	case t.again && p.behind(c):
		p.wait(c)
		p.put(c, publishAgain)
		return nil
	case p.behind(c):
		p.wait(c)
		return g.report(c, notSent{"an earlier command of the device waits for the broker"})
	case t.again: // that it is being published must be on disk before it is
		going := false
		if err := g.inside(ctx, func(b *batch) {
			open := g.commands.open[c.ID]
			switch {
			case open == nil:
			case open.retry(g.now()):
				g.commands.save(b, open)
				going = true
			default:
				g.commands.step(b, open, g.now(), overdue{})
			}
		}); err != nil {
			return err
		}
		if !going {
			p.leave(c)
			return nil
		}
	}
	expected := g.expectEcho(&c, g.now())
	pctx, cancel := context.WithTimeout(ctx, publishTime)
	err := g.cfg.Devices.Publish(pctx, c.Topic, c.payload(), c.QoS, c.Retain)
	cancel()
	if !c.read.IsZero() && !t.again {
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
			if expected {
				g.echo.ours(commandMessage(&c, g.now())) // nothing will come back
			}
		}
		g.log.Warn("command not published", logkey.Command, c.ID, logkey.Topic, c.Topic, logkey.Error, err)
	} else {
		g.metrics.messages.Inc("out")
	}
	if _, no := ev.(notSent); no {
		p.wait(c)
	} else {
		p.leave(c)
	}
	return g.report(c, ev)
}
