//go:build linux

package main

import (
	"context"
	"errors"
	"time"

	"github.com/gatepost/gatepost/test/turn/load"
)

// memoryRounds are enough for what hardly varies.
const memoryRounds = 3

// memory measures what idle allocations, with a permission and a channel each, hold. Sockets are the kernel's and not in it.
func memory(ctx context.Context, b *bench) error {
	type result struct{ total, grown float64 }
	results, err := eachRound(b, min(b.rounds, memoryRounds), func(round, who int) (r result, err error) {
		s, err := b.side[who].start(ctx)
		if err != nil {
			return r, err
		}
		defer func() {
			_, e := s.Stop(grace)
			err = errors.Join(err, e)
		}()
		empty, err := memoryOf(s.PID())
		if err != nil {
			return r, err
		}
		f, err := b.fleet(s, load.Config{Clients: b.idle})
		if err != nil {
			return r, err
		}
		defer f.Close()
		if _, err := f.Allocate(ctx, window); err != nil {
			return r, err
		}
		if err := f.Bind(ctx, window); err != nil {
			return r, err
		}
		select {
		case <-time.After(b.settling):
		case <-ctx.Done():
			return r, ctx.Err()
		}
		if r.total, err = memoryOf(s.PID()); err != nil {
			return r, err
		}
		r.grown = r.total - empty
		b.report.note("memory, round %d: %s %.1f MB with %d allocations, %.1f MB before", round+1, b.side[who].name, r.total, b.idle, empty)
		return r, f.Release(ctx, window)
	})
	if err != nil {
		return err
	}
	mine, coturn := b.find(ours), b.find("coturn")
	for _, p := range []struct {
		name string
		of   func(result) float64
	}{{"turn memory with 10000 idle allocations", func(r result) float64 { return r.total }}, {"turn memory that 10000 idle allocations add", func(r result) float64 { return r.grown }}} {
		values := make([][]float64, len(results))
		for who := range results {
			for _, r := range results[who] {
				values[who] = append(values[who], p.of(r))
			}
			b.report.recorded(p.name+", "+b.side[who].name, median(values[who]), "MB")
		}
		if mine >= 0 && coturn >= 0 {
			b.ratio(p.name, values, mine, coturn, func(name string, v float64) { b.report.atMost(name, v, "x", 0.7, "") })
		}
	}
	return nil
}
