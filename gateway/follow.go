package gateway

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/gatepost/gatepost/internal/logkey"
	"github.com/gatepost/gatepost/mqtt/topic"
)

// Following the topics that devices announce.
const (
	gatherTime   = 200 * time.Millisecond // several that come together are one change of subscriptions
	unparkAtOnce = 64                     // so many, then others have their turn
	followAgain  = 10 * time.Second       // after a change that failed
)

// followTopics tells Discovery.Follow which topics are wanted, until ctx is done.
func (g *Gateway) followTopics(ctx context.Context) error {
	if g.finder == nil {
		return nil
	}
	known := map[topic.Filter]bool{}
	announced := g.finder.host.Announcements() // fresh once
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
		for _, f := range g.finder.host.Sources() {
			if now[f] = true; !known[f] {
				fresh = append(fresh, f)
			}
		}
		if g.cfg.Discovery.Follow != nil {
			if err := g.cfg.Discovery.Follow(ctx, g.Filters(), append(announced, fresh...)); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				g.log.Warn("the topics of devices could not be subscribed to; trying again", logkey.Error, err)
				time.AfterFunc(followAgain, g.finder.ring)
				continue
			}
		}
		known, announced = now, nil
		if err := g.unpark(ctx, fresh); err != nil {
			if ctx.Err() != nil || errors.Is(err, ErrStopped) {
				return nil
			}
			return err
		}
	}
}

// unpark takes what was kept for devices that were not there yet, and has them asked for more.
func (g *Gateway) unpark(ctx context.Context, fresh []topic.Filter) error {
	taken := make(chan []topic.Message, 1)
	err := g.inside(ctx, func(*batch) {
		g.askFresh(g.now())
		taken <- g.finder.parked.take(fresh)
	})
	if err != nil {
		return err
	}
	for chunk := range slices.Chunk(<-taken, unparkAtOnce) {
		err := g.inside(ctx, func(b *batch) {
			for _, m := range chunk {
				g.discover(b, m)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// parked keeps the latest messages on topics that no admitted device wants yet. A subscription that covers much brings
// retained ones once, perhaps before the device that they are about has announced itself or is admitted.
type parked struct {
	by    map[string]parkedOne
	order []parkedAt // by arrival; may name what is gone
	bytes int
	n     uint64
}

type parkedOne struct {
	msg topic.Message
	n   uint64
}

type parkedAt struct {
	name string
	n    uint64
}

// So much is parked; the oldest gives way.
const (
	maxParked      = 20_000
	maxParkedBytes = 4 << 20
	maxParkedOne   = 16 << 10
)

func newParked() *parked { return &parked{by: map[string]parkedOne{}} }

// put keeps m in place of what was kept on its topic; an empty one deletes that.
func (p *parked) put(m topic.Message) {
	p.drop(m.Topic)
	if len(m.Payload) == 0 || len(m.Payload) > maxParkedOne || len(m.Topic) > maxTopic {
		return
	}
	for len(p.order) > 0 && (len(p.by) >= maxParked || p.bytes+weight(m) > maxParkedBytes || len(p.order) >= 2*maxParked) {
		if oldest := p.order[0]; p.by[oldest.name].n == oldest.n {
			p.drop(oldest.name)
		}
		p.order = p.order[1:]
	}
	p.n++
	p.by[m.Topic] = parkedOne{m, p.n}
	p.order = append(p.order, parkedAt{m.Topic, p.n})
	p.bytes += weight(m)
}

func (p *parked) drop(name string) {
	if old, ok := p.by[name]; ok {
		p.bytes -= weight(old.msg)
		delete(p.by, name)
	}
}

// take gives what was kept for the filters, as old values, and forgets it.
func (p *parked) take(filters []topic.Filter) (list []topic.Message) {
	give := func(one parkedOne) {
		one.msg.Retained = true
		list = append(list, one.msg)
		p.drop(one.msg.Topic)
	}
	var wild []topic.Filter
	for _, f := range filters {
		if one, ok := p.by[f.String()]; ok {
			give(one)
		} else if topic.ValidTopic(f.String()) != nil {
			wild = append(wild, f)
		}
	}
	for name, one := range p.by {
		if slices.ContainsFunc(wild, func(f topic.Filter) bool { return f.Match(name) }) {
			give(one)
		}
	}
	slices.SortFunc(list, func(a, b topic.Message) int { return a.Time.Compare(b.Time) })
	return list
}
