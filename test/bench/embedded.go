package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A round of the broker. That many devices take the messages of all publishers in turn, so that no lane comes to its bounds.
const (
	brokerDevices = 400
	floodWarm     = 300 * time.Millisecond
	floodTime     = time.Second
)

// embedded measures the embedded broker with publishers that send one message at a time, all of it wanted by a rule,
// against a broker that commits the same messages and has nothing else to do. Both run all the time and are flooded in
// turn, a second each.
func embedded(ctx context.Context, b *bench) error {
	for _, publishers := range []int{16, 200} {
		if err := b.brokers(ctx, publishers); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) brokers(ctx context.Context, publishers int) error {
	g, err := b.newGateway(setup{rules: eventRule, maxSize: "4GiB"})
	if err != nil {
		return err
	}
	if err := g.Launch(); err != nil {
		return err
	}
	defer g.Kill()
	dir, err := b.dir("baseline")
	if err != nil {
		return err
	}
	p, err := start(dir, b.program("baseline"), "broker", dir)
	if err != nil {
		return err
	}
	defer func() { _, _ = p.stop() }() // it has said all that matters

	name := fmt.Sprintf("embedded broker, %d publishers", publishers)
	ours := &flood{addr: g.mqtt, pid: g.PID(), publishers: publishers}
	theirs := &flood{addr: p.line, pid: p.cmd.Process.Pid, publishers: publishers}
	ratio, err := b.compare(name, "messages/s", 2*b.rounds, func() (float64, error) { return ours.round(ctx) }, func() (float64, error) { return theirs.round(ctx) })
	if err != nil {
		return fmt.Errorf("%w\n%s", err, g.Log().Tail(5))
	}
	b.report.note("%s: gatepost %s, baseline %s µs of processor time a message", name, number(ours.cost()), number(theirs.cost()))
	waiting, err := g.metric(ctx, "gatepost_lane_records", `class="event"`)
	if err != nil {
		return err
	}
	if int(waiting) < ours.acked {
		return fmt.Errorf("%v events wait in the lanes, %d were acknowledged", waiting, ours.acked)
	}
	b.report.atLeast(name+" against the bare broker", ratio, "x", 0.7)
	return nil
}

// flood has publishers that each wait for the PUBACK of one message before they send the next.
type flood struct {
	addr       string
	pid        int // of the broker
	publishers int

	next  atomic.Int64 // number of the next message
	acked int          // in all rounds
	spent time.Duration
}

// cost is the processor time that the broker spent on one message, in microseconds.
func (f *flood) cost() float64 { return float64(f.spent.Microseconds()) / float64(f.acked) }

// round counts the messages that are acknowledged in a second, after a moment to get going.
func (f *flood) round(ctx context.Context) (rate float64, err error) {
	conns := make([]*mqttConn, f.publishers)
	for i := range conns {
		if conns[i], err = dial(f.addr, fmt.Sprintf("publisher-%d", i)); err != nil {
			return 0, err
		}
		defer conns[i].Close()
	}
	spent, err := processorTime(f.pid)
	if err != nil {
		return 0, err
	}
	var acked atomic.Int64
	var failed error
	var once sync.Once
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	for _, c := range conns {
		wg.Go(func() {
			for id := uint16(1); ctx.Err() == nil; id = id%60000 + 1 {
				topic, payload := event(int(f.next.Add(1)), brokerDevices)
				if err := c.publish(topic, id, payload); err != nil {
					once.Do(func() { failed = err })
					cancel()
					return
				}
				acked.Add(1)
			}
		})
	}
	_ = sleep(ctx, floodWarm) // cut short by a failure, which is told below
	before, began := acked.Load(), time.Now()
	_ = sleep(ctx, floodTime) // likewise
	rate = float64(acked.Load()-before) / time.Since(began).Seconds()
	cancel()
	wg.Wait()
	if failed != nil {
		return 0, failed
	}
	f.acked += int(acked.Load())
	after, err := processorTime(f.pid)
	f.spent += after - spent
	return rate, err
}

// processorTime is what a process has used so far, in user and system mode.
func processorTime(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(b), ") ") // the program's name ends here
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat: %q", pid, b)
	}
	ticks := 0
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil // USER_HZ is 100
}
