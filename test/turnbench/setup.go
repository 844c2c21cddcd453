//go:build linux

package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/gatepost/gatepost/test/turn/load"
)

// setUps is how many allocations a round makes.
const setUps = 5000

// setup measures how many allocations a second a server makes, the round trip for the nonce included.
func setup(ctx context.Context, b *bench) error {
	const what = "turn allocations set up per second"
	type result struct{ rate, cpu, generator float64 }
	results, err := eachRound(b, b.rounds, func(round, who int) (r result, err error) {
		s, err := b.side[who].start(ctx) // each round finds a server that has done nothing yet
		if err != nil {
			return r, err
		}
		defer func() {
			_, e := s.Stop(grace)
			err = errors.Join(err, e)
		}()
		f, err := b.fleet(s, load.Config{Clients: setUps})
		if err != nil {
			return r, err
		}
		defer f.Close()
		cpu := [2]time.Duration{}
		own := cpu
		if cpu[0], err = load.CPU(s.PID()); err != nil {
			return r, err
		}
		if own[0], err = load.CPU(os.Getpid()); err != nil {
			return r, err
		}
		took, err := f.Allocate(ctx, window)
		if err != nil {
			return r, err
		}
		if cpu[1], err = load.CPU(s.PID()); err != nil {
			return r, err
		}
		if own[1], err = load.CPU(os.Getpid()); err != nil {
			return r, err
		}
		r = result{setUps / took.Seconds(), (cpu[1] - cpu[0]).Seconds() / setUps * 1e6, percent(own[1]-own[0], took)}
		b.report.note("set-up, round %d: %s %.0f a second, %.0f us of the server each, generator %.0f %%, %d requests sent again (%s)", round+1,
			b.side[who].name, r.rate, r.cpu, r.generator, f.Retries, machineLoad())
		return r, f.Release(ctx, window)
	})
	if err != nil {
		return err
	}
	rates := make([][]float64, len(results))
	caveat := ""
	for who := range results {
		var busy []float64
		for _, r := range results[who] {
			rates[who] = append(rates[who], r.rate)
			busy = append(busy, r.generator)
		}
		if median(busy) > 95 { // it has one thread
			caveat = " (the generator was the limit)"
		}
		b.report.note("set-up: %s %s a second", b.side[who].name, spread(rates[who]))
		b.report.recorded(what+", "+b.side[who].name, median(rates[who]), "1/s")
	}
	if mine, coturn := b.find(ours), b.find("coturn"); mine >= 0 && coturn >= 0 {
		b.ratio(what, rates, mine, coturn, func(name string, v float64) { b.report.atLeast(name, v, "x", 1, caveat) })
	}
	return nil
}
