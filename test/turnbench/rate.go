//go:build linux

package main

import (
	"context"
	"errors"
	"time"

	"github.com/gatepost/gatepost/test/turn/load"
	"github.com/gatepost/gatepost/test/turn/relay"
)

const (
	lossy    = 0.001 // the loss that a highest rate stays below
	firstTry = 60000 // packets a second
	lastTry  = 2e6
	fine     = 1.03 // how close the search goes
	tries    = 2    // of a rate until it is too high: a hiccup of the machine is not the server
)

// reached is the end of a search.
type reached struct {
	rate      float64
	generator bool // it was the limit
}

// highest looks for the rate at which a server with one worker begins to lose packets.
func highest(ctx context.Context, b *bench) error {
	servers, stop, err := b.startAll(ctx)
	if err != nil {
		return err
	}
	results, err := eachRound(b, b.rounds, func(round, who int) (reached, error) {
		r, err := b.search(ctx, servers[who])
		b.report.note("highest rate, round %d: %s %.0f packets/s, generator the limit: %v (%s)", round+1, b.side[who].name, r.rate, r.generator, machineLoad())
		return r, err
	})
	if err != nil {
		return errors.Join(err, stop())
	}
	const what = "turn highest rate, 172 B, one worker"
	rates, short := make([][]float64, len(results)), make([]int, len(results))
	for who := range results {
		for _, r := range results[who] {
			rates[who] = append(rates[who], r.rate)
			if r.generator {
				short[who]++
			}
		}
		b.report.note("highest rate: %s %s", b.side[who].name, spread(rates[who]))
		b.report.recorded(what+", "+b.side[who].name, median(rates[who]), "packets/s")
	}
	mine, coturn := b.find(ours), b.find("coturn")
	if mine >= 0 && coturn >= 0 {
		caveat := ""
		if short[mine] > 0 || short[coturn] > 0 {
			caveat = " (the generator was the limit in some rounds)"
		}
		b.ratio(what, rates, mine, coturn, func(name string, v float64) { b.report.atLeast(name, v, "x", 1, caveat) })
	}
	return stop()
}

// search doubles the rate until packets are lost, then halves the step.
func (b *bench) search(ctx context.Context, s *relay.Server) (reached, error) {
	f, err := b.fleet(s, load.Config{Clients: b.clients, Peers: true})
	if err != nil {
		return reached{}, err
	}
	defer f.Close()
	if _, err := f.Allocate(ctx, window); err != nil {
		return reached{}, err
	}
	if err := f.Bind(ctx, window); err != nil {
		return reached{}, err
	}
	var best reached
	good, bad := 0.0, 0.0
	for rate := float64(firstTry); rate < lastTry && (bad == 0 || bad/good > fine); {
		held, offered, err := b.holds(ctx, f, rate)
		if err != nil {
			return best, err
		}
		best.generator = held && offered < limited*rate
		switch {
		case held:
			good, best.rate = rate, offered
			if best.generator {
				return best, f.Release(ctx, window)
			}
		default:
			bad = rate
		}
		switch {
		case good == 0:
			rate /= 2
		case bad == 0:
			rate *= 1.5
		default:
			rate = (good + bad) / 2
		}
	}
	return best, f.Release(ctx, window)
}

// holds says whether a rate can be had without loss.
func (b *bench) holds(ctx context.Context, f *load.Fleet, rate float64) (held bool, offered float64, err error) {
	for range tries {
		r, err := f.Run(ctx, load.Traffic{Size: 172, Rate: int(rate), Burst: 1, For: b.length / 2, Warm: time.Second / 2})
		if err != nil {
			return false, 0, err
		}
		if r.Loss() < lossy {
			return true, r.Offered, nil
		}
	}
	return false, 0, nil
}
