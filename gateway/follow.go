package gateway

import (
	"context"
	"errors"
	"time"

	"github.com/gatepost/gatepost/internal/logkey"
	"github.com/gatepost/gatepost/mqtt/topic"
)

// Following the topics that devices announce.
const (
	gatherTime  = 200 * time.Millisecond // several that come together are one change of subscriptions
	followAgain = 10 * time.Second       // after a change that failed
)

// followTopics tells Discovery.Follow which topics are wanted, until ctx is done.
func (g *Gateway) followTopics(ctx context.Context) error {
	if g.finder == nil {
		return nil
	}
	known := map[topic.Filter]bool{}
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-g.finder.bell:
		case <-ctx.Done():
			return nil
		}
		pause.Reset(gatherTime)
		select {
		case <-pause.C:
		case <-ctx.Done():
			return nil
		}
		now := map[topic.Filter]bool{}
		var fresh []topic.Filter
		for _, f := range g.finder.host.Filters() {
			if now[f] = true; !known[f] {
				fresh = append(fresh, f)
			}
		}
		if g.cfg.Discovery.Follow != nil {
			if err := g.cfg.Discovery.Follow(ctx, g.Filters(), fresh); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				g.log.Warn("the topics of devices could not be subscribed to; trying again", logkey.Error, err)
				time.AfterFunc(followAgain, g.finder.ring)
				continue
			}
		}
		known = now
		err := g.inside(ctx, func(b *batch) {
			for _, m := range g.finder.parked.take(fresh) {
				g.discover(b, m)
			}
		})
		if ctx.Err() != nil || errors.Is(err, ErrStopped) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// parked keeps retained messages that nobody wants yet. A subscription that covers much brings them once, and perhaps before
// the device that they are about has announced itself.
type parked struct {
	by    map[string]topic.Message
	order []string // by arrival; may name what is gone
	bytes int
}

// So much is parked; the oldest gives way.
const (
	maxParked      = 20_000
	maxParkedBytes = 4 << 20
	maxParkedOne   = 16 << 10
)

func newParked() *parked { return &parked{by: map[string]topic.Message{}} }

// put keeps m, or forgets what was kept on its topic.
func (p *parked) put(m topic.Message) {
	p.drop(m.Topic)
	if len(m.Payload) == 0 || len(m.Payload) > maxParkedOne || len(m.Topic) > maxTopic {
		return
	}
	for len(p.order) > 0 && (len(p.by) >= maxParked || p.bytes+weight(m) > maxParkedBytes || len(p.order) >= 2*maxParked) {
		p.drop(p.order[0])
		p.order = p.order[1:]
	}
	p.by[m.Topic] = m
	p.order = append(p.order, m.Topic)
	p.bytes += weight(m)
}

func (p *parked) drop(name string) {
	if old, ok := p.by[name]; ok {
		p.bytes -= weight(old)
		delete(p.by, name)
	}
}

// take gives what was kept for the filters, and forgets it.
func (p *parked) take(filters []topic.Filter) (list []topic.Message) {
	if len(p.by) == 0 {
		return nil
	}
	var wild []topic.Filter
	for _, f := range filters {
		if m, ok := p.by[f.String()]; ok {
			list = append(list, m)
			p.drop(m.Topic)
		} else if !exact(f) {
			wild = append(wild, f)
		}
	}
	for name, m := range p.by {
		for _, f := range wild {
			if f.Match(name) {
				list = append(list, m)
				p.drop(name)
				break
			}
		}
	}
	return list
}

// exact says whether a filter is a topic.
func exact(f topic.Filter) bool { return topic.ValidTopic(f.String()) == nil }
