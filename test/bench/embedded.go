package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// brokerDevices take the messages of all publishers in turn, so that no lane comes to its bounds.
const brokerDevices = 400

// embedded measures the embedded broker with publishers that send one message at a time, all of it wanted by a rule,
// against a broker that commits the same messages and has nothing else to do.
func embedded(ctx context.Context, b *bench) error {
	for _, publishers := range []int{16, 200} {
		ours := func() (float64, error) { return b.brokerOurs(ctx, publishers) }
		theirs := func() (float64, error) { return b.brokerBaseline(ctx, publishers) }
		name := fmt.Sprintf("embedded broker, %d publishers", publishers)
		ratio, err := b.compare(name, "messages/s", ours, theirs)
		if err != nil {
			return err
		}
		b.report.atLeast(name+" against the bare broker", ratio, "x", 0.7)
	}
	return nil
}

func (b *bench) brokerOurs(ctx context.Context, publishers int) (float64, error) {
	g, err := b.newGateway(setup{rules: eventRule, maxSize: "2GiB"})
	if err != nil {
		return 0, err
	}
	if err := g.Launch(); err != nil {
		return 0, err
	}
	defer g.Kill()
	rate, total, err := b.flood(ctx, g.mqtt, publishers)
	if err != nil {
		return 0, fmt.Errorf("%w\n%s", err, g.Log().Tail(5))
	}
	waiting, err := g.metric(ctx, "gatepost_lane_records", `class="event"`)
	if err != nil {
		return 0, err
	}
	if int(waiting) < total {
		return 0, fmt.Errorf("%v events wait in the lanes, %d were acknowledged", waiting, total)
	}
	return rate, nil
}

func (b *bench) brokerBaseline(ctx context.Context, publishers int) (float64, error) {
	dir, err := b.dir("baseline")
	if err != nil {
		return 0, err
	}
	p, err := start(dir, b.program("baseline"), "broker", dir)
	if err != nil {
		return 0, err
	}
	rate, _, err := b.flood(ctx, p.line, publishers)
	if _, e := p.stop(); err != nil || e != nil {
		return 0, fmt.Errorf("baseline: %w, %w", err, e)
	}
	return rate, nil
}

// flood publishes from so many connections, each waiting for its PUBACK, and counts what is acknowledged: in a second, after
// the first, and in all.
func (b *bench) flood(ctx context.Context, addr string, publishers int) (rate float64, total int, err error) {
	conns := make([]*mqttConn, publishers)
	for i := range conns {
		if conns[i], err = dial(addr, fmt.Sprintf("publisher-%d", i)); err != nil {
			return 0, 0, err
		}
		defer conns[i].Close()
	}
	var acked, next atomic.Int64
	var failed error
	var once sync.Once
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	for _, c := range conns {
		wg.Go(func() {
			for id := uint16(1); ctx.Err() == nil; id = id%60000 + 1 {
				topic, payload := event(int(next.Add(1)), brokerDevices)
				if err := c.publish(topic, id, payload); err != nil {
					once.Do(func() { failed = err })
					cancel()
					return
				}
				acked.Add(1)
			}
		})
	}
	wait := func(d time.Duration) {
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
	}
	wait(time.Second)
	before, start := acked.Load(), time.Now()
	wait(time.Duration(b.seconds) * time.Second)
	rate = float64(acked.Load()-before) / time.Since(start).Seconds()
	cancel()
	wg.Wait()
	return rate, int(acked.Load()), failed
}
