//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gatepost/gatepost/test/turn/load"
	"github.com/gatepost/gatepost/test/turn/relay"
)

// delay measures how much later a packet arrives through the relay than without one, at 10 kpps.
func delay(ctx context.Context, b *bench) error {
	servers, stop, err := b.startAll(ctx)
	if err != nil {
		return err
	}
	flow := load.Traffic{Size: 172, Rate: 10000, Burst: 1, For: b.length, Warm: time.Second}
	type quantiles struct{ p50, p99 float64 }
	take := func(s *relay.Server, direct bool) (q quantiles, err error) {
		r, err := b.sliceOf(ctx, s, flow, load.Config{Clients: b.clients, Peers: true, Clock: true, Direct: direct})
		if err != nil {
			return q, err
		}
		if len(r.Delays) == 0 || r.Lost > len(r.Delays)/100 {
			return q, fmt.Errorf("%d of %d packets arrived, so there is no delay", len(r.Delays), r.Sent)
		}
		slices.Sort(r.Delays)
		return quantiles{quantile(r.Delays, 0.50), quantile(r.Delays, 0.99)}, nil
	}
	floors := make([]float64, b.rounds) // what the way takes without a relay
	results, err := eachRound(b, b.rounds, func(round, who int) (quantiles, error) {
		if floors[round] == 0 {
			q, err := take(servers[who], true)
			if err != nil {
				return q, err
			}
			floors[round] = q.p50
		}
		q, err := take(servers[who], false)
		added := quantiles{q.p50 - floors[round], q.p99 - floors[round]}
		b.report.note("delay, round %d: %s adds %.1f us (p50), %.1f us (p99) to %.1f us (%s)", round+1, b.side[who].name, added.p50, added.p99, floors[round], machineLoad())
		return added, err
	})
	if err != nil {
		return errors.Join(err, stop())
	}
	mine, coturn := b.find(ours), b.find("coturn")
	for _, p := range []struct {
		name string
		of   func(quantiles) float64
	}{{"p50", func(q quantiles) float64 { return q.p50 }}, {"p99", func(q quantiles) float64 { return q.p99 }}} {
		what := "turn added delay at 10 kpps, " + p.name
		values := make([][]float64, len(results))
		for who := range results {
			for _, q := range results[who] {
				values[who] = append(values[who], p.of(q))
			}
			b.report.note("%s: %s %s us", what, b.side[who].name, spread(values[who]))
			b.report.recorded(what+", "+b.side[who].name, median(values[who]), "us")
		}
		if mine >= 0 && coturn >= 0 {
			b.ratio(what, values, mine, coturn, func(name string, v float64) { b.report.atMost(name, v, "x", 1.1, "") })
		}
	}
	return stop()
}
