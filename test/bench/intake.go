package main

import (
	"context"
	"fmt"
	"time"
)

// Both sides of the intake and of the broker get the same messages.
const (
	intakeDevices = 50
	intakeWindow  = 1000 // messages that the outside broker lets be under way
)

const eventRule = `  - topic: bench/{device}/{reading}
    class: event
`

// event is the i-th message of so many devices.
func event(i, devices int) (topic string, payload []byte) {
	return fmt.Sprintf("bench/device-%d/door", i%devices), fmt.Appendf(nil, "open %d", i)
}

// intake measures an outside broker's messages on their way into the lanes, until all are acknowledged, against paho,
// bbolt and nothing else.
func intake(ctx context.Context, b *bench) error {
	ours := func() (float64, error) { return b.intakeOurs(ctx) }
	theirs := func() (float64, error) { return b.intakeBaseline(ctx) }
	ratio, err := b.compare("intake", "messages/s", b.rounds, ours, theirs)
	if err != nil {
		return err
	}
	b.report.atLeast("intake against bare paho, bbolt and ack", ratio, "x", 0.7)
	return nil
}

func (b *bench) intakeOurs(ctx context.Context) (float64, error) {
	hose, err := newFirehose()
	if err != nil {
		return 0, err
	}
	defer hose.close()
	g, err := b.newGateway(setup{url: hose.url(), rules: eventRule, maxSize: "1GiB"})
	if err != nil {
		return 0, err
	}
	if err := g.Launch(); err != nil {
		return 0, err
	}
	defer g.Kill()
	took, err := b.pour(ctx, hose)
	if err != nil {
		return 0, fmt.Errorf("%w\n%s", err, g.Log().Tail(5))
	}
	waiting, err := g.metric(ctx, "gatepost_lane_records", `class="event"`)
	if err != nil {
		return 0, err
	}
	if int(waiting) != b.number {
		return 0, fmt.Errorf("%v events wait in the lanes, not %d", waiting, b.number)
	}
	return float64(b.number) / took.Seconds(), nil
}

func (b *bench) intakeBaseline(ctx context.Context) (float64, error) {
	hose, err := newFirehose()
	if err != nil {
		return 0, err
	}
	defer hose.close()
	dir, err := b.dir("baseline")
	if err != nil {
		return 0, err
	}
	p, err := start(dir, b.program("baseline"), "intake", hose.url(), dir)
	if err != nil {
		return 0, err
	}
	took, err := b.pour(ctx, hose)
	stored, e := p.stop()
	if err != nil || e != nil {
		return 0, fmt.Errorf("baseline: %w, %w", err, e)
	}
	if stored != fmt.Sprint(b.number) {
		return 0, fmt.Errorf("the baseline stored %q messages, not %d", stored, b.number)
	}
	return float64(b.number) / took.Seconds(), nil
}

func (b *bench) pour(ctx context.Context, hose *firehose) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	return hose.pour(ctx, b.number, intakeWindow, func(i int) (string, []byte) { return event(i, intakeDevices) })
}
