package main

import (
	"context"
	"fmt"
	"time"
)

const (
	settle    = 60 * time.Second // after ready, before memory is read
	connected = 100              // devices of the large gateway that are connected
	starts    = 5
)

const telemetryRule = `  - topic: bench/{device}/{reading}
    class: telemetry
    every: 10m
`

// idle measures the memory of a gateway with the embedded broker that nobody uses.
func idle(ctx context.Context, b *bench) error {
	s, err := b.newSite(ctx, telemetryRule, 0, false)
	if err != nil {
		return err
	}
	defer s.close()
	if err := sleep(ctx, settle); err != nil {
		return err
	}
	mb, err := s.gateway.rss()
	if err != nil {
		return err
	}
	b.report.below("memory, idle with the embedded broker", mb, "MB RssAnon", 30)
	return nil
}

// large measures a gateway that knows many devices: its start, and its memory when 100 of them are connected and send a
// reading every ten seconds.
func large(ctx context.Context, b *bench) error {
	s, err := b.newSite(ctx, telemetryRule, b.devices, false)
	if err != nil {
		return err
	}
	defer s.close()
	took, err := s.gateway.startTimes(ctx, starts)
	if err != nil {
		return err
	}
	b.report.note("start with %d devices: %s s", b.devices, spread(took))
	b.report.below(fmt.Sprintf("start to ready with %d known devices", b.devices), median(took), "s", 0.5)

	end := time.Now().Add(settle)
	conns := make([]*mqttConn, connected)
	for i := range conns {
		if conns[i], err = dial(s.gateway.mqtt, fmt.Sprintf("device-%d", i)); err != nil {
			return err
		}
		defer conns[i].Close()
		if err := conns[i].subscribe(fmt.Sprintf("command/device-%d/#", i), 1); err != nil {
			return err
		}
	}
	for n := 0; time.Now().Before(end); n++ {
		c := conns[n%connected]
		topic, _ := event(n%connected, connected)
		if err := c.publish(topic, uint16(n/connected+1), fmt.Append(nil, n)); err != nil {
			return err
		}
		if err := sleep(ctx, 10*time.Second/connected); err != nil {
			return err
		}
	}
	mb, err := s.gateway.rss()
	if err != nil {
		return err
	}
	b.report.below(fmt.Sprintf("memory, %d devices and rooms, %d connected", b.devices, connected), mb, "MB RssAnon", 80)
	return nil
}

// startTimes stops the running gateway and starts it, n times, and gives the seconds from the start of the process to the
// line that says that it is ready. It runs afterwards.
func (g *gateway) startTimes(ctx context.Context, n int) ([]float64, error) {
	var took []float64
	for range n {
		if code, err := g.Stop(10 * time.Second); err != nil || code != 0 {
			return nil, fmt.Errorf("stop: code %d, %w", code, err)
		}
		began := time.Now()
		if err := g.Start(ctx); err != nil {
			return nil, err
		}
		took = append(took, time.Since(began).Seconds())
	}
	return took, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
