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

// flow is one load and what its cost is held against.
type flow struct {
	name              string
	size, rate, burst int
	coturn, pion      float64 // the most that ours may cost, as a part of theirs
}

func flows() []flow {
	return []flow{
		{"172 B at 40 kpps", 172, 40000, 1, 0.9, 0.6},
		{"172 B at 100 kpps", 172, 100000, 1, 0.8, 0.6},
		{"1200 B in bursts of 8 at 60 kpps", 1200, 60000, 8, 0.75, 0.6},
	}
}

// limited is the part of the asked rate below which the generator is called the limit.
const limited = 0.98

// relayed measures what a relayed packet costs, and how many are lost.
func relayed(ctx context.Context, b *bench) error {
	servers, stop, err := b.startAll(ctx)
	if err != nil {
		return err
	}
	var failed error
	for _, f := range flows() {
		results, err := eachRound(b, b.rounds, func(round, who int) (load.Result, error) {
			r, err := b.slice(ctx, servers[who], load.Traffic{Size: f.size, Rate: f.rate, Burst: f.burst, For: b.length, Warm: time.Second, PID: servers[who].PID()})
			b.report.note("%s, round %d: %s %.2f CPU-s per million, lost %d of %d, server %.0f %%, generator %.0f %% (%s)", f.name, round+1,
				b.side[who].name, r.PerMillion(), r.Lost, r.Sent, percent(r.CPU, r.Took), percent(r.Generator, r.Took), machineLoad())
			return r, err
		})
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", f.name, err))
			break
		}
		b.cost(f, results)
	}
	return errors.Join(failed, stop())
}

func percent(cpu, took time.Duration) float64 { return 100 * cpu.Seconds() / max(took.Seconds(), 1e-9) }

// slice sends through fresh allocations of a running server.
func (b *bench) slice(ctx context.Context, s *relay.Server, t load.Traffic) (load.Result, error) {
	return b.sliceOf(ctx, s, t, load.Config{Clients: b.clients, Peers: true})
}

func (b *bench) sliceOf(ctx context.Context, s *relay.Server, t load.Traffic, cfg load.Config) (r load.Result, err error) {
	f, err := b.fleet(s, cfg)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if !cfg.Direct {
		if _, err := f.Allocate(ctx, window); err != nil {
			return r, err
		}
		if err := f.Bind(ctx, window); err != nil {
			return r, err
		}
	}
	if r, err = f.Run(ctx, t); err != nil || cfg.Direct {
		return r, err
	}
	return r, f.Release(ctx, window)
}

// cost prints the figures of one load.
func (b *bench) cost(f flow, results [][]load.Result) {
	mine := b.find(ours)
	var offered []float64 // as a part of the rate
	lost, costs := make([]int, len(results)), make([][]float64, len(results))
	for who := range results {
		strange, generator := 0, 0.0
		for _, r := range results[who] {
			costs[who] = append(costs[who], r.PerMillion())
			lost[who] += r.Lost
			strange += r.Strange
			generator = max(generator, percent(r.Generator, r.Took))
			offered = append(offered, r.Offered/float64(f.rate))
		}
		name := b.side[who].name
		b.report.note("%s: %s %s CPU-s per million; generator at most %.0f %% of a core", f.name, name, spread(costs[who]), generator)
		b.report.recorded("turn relay "+f.name+", "+name, median(costs[who]), "CPU-s/million")
		b.report.recorded("turn relay "+f.name+", "+name+" lost", float64(lost[who]), "packets")
		if strange > 0 || name == ours {
			b.report.figure("turn relay "+f.name+", "+name+" packets twice or astray", float64(strange), "packets", "0", strange == 0)
		}
	}
	caveat := ""
	if m := median(offered); m < limited {
		caveat = fmt.Sprintf(" (the generator was the limit: %.0f %% of the rate)", 100*m)
	}
	if mine < 0 {
		return
	}
	for who, must := range map[int]float64{b.find("coturn"): f.coturn, b.find("pion"): f.pion} {
		if who >= 0 {
			b.ratio("turn relay "+f.name, costs, mine, who, func(name string, v float64) { b.report.atMost(name, v, "x", must, caveat) })
		}
	}
	if who := b.find("coturn"); who >= 0 {
		b.report.figure("turn relay "+f.name+", lost more than coturn", float64(max(0, lost[mine]-lost[who])), "packets", "0", lost[mine] <= lost[who])
	}
}

// find is the number of a contender, -1 when it is not measured.
func (b *bench) find(name string) int {
	return slices.IndexFunc(b.side, func(c contender) bool { return c.name == name })
}

// ratio gives the median of the rounds' ratios of one contender to another.
func (b *bench) ratio(what string, values [][]float64, mine, other int, figure func(name string, v float64)) {
	var ratios []float64
	for i, v := range values[mine] {
		ratios = append(ratios, v/values[other][i])
	}
	b.report.note("%s: against %s %s", what, b.side[other].name, spread(ratios))
	figure(what+", against "+b.side[other].name, median(ratios))
}
