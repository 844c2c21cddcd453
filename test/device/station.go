package device

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// Station is a weather station: every Every (0 means 1 s) it publishes three numbers to sensors/<Site>/<Name>/.
type Station struct {
	Broker string
	Site   string
	Name   string
	Every  time.Duration
}

// Run measures until ctx is done.
func (s Station) Run(ctx context.Context) error {
	return with(ctx, Config{Addr: s.Broker, ClientID: s.Site + "-" + s.Name}, func(ctx context.Context, c *Client) error {
		return every(ctx, s.Every, func(step int) error {
			for _, r := range weather(step) {
				m := Message{Topic: fmt.Sprintf("sensors/%s/%s/%s", s.Site, s.Name, r.name), Payload: []byte(r.value), QoS: 1}
				if err := c.Publish(ctx, m); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

type reading struct{ name, value string }

// weather is a day in 240 steps.
func weather(step int) []reading {
	phase := 2 * math.Pi * float64(step) / 240
	return []reading{
		{"temperature", fmt.Sprintf("%.1f", 16+7*math.Sin(phase)+0.2*math.Sin(float64(step)))},
		{"humidity", fmt.Sprintf("%.0f", 60-20*math.Sin(phase))},
		{"pressure", fmt.Sprintf("%.1f", 1013+4*math.Cos(phase/2))},
	}
}

// with runs f with a client that is connected and subscribed, and ends both together. The end of ctx is no error.
func with(ctx context.Context, cfg Config, f func(context.Context, *Client) error) error {
	c, err := New(cfg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		cancel(c.Run(ctx))
	}()
	err = c.Online(ctx)
	if err == nil {
		err = f(ctx, c)
	}
	if ctx.Err() != nil {
		if err = context.Cause(ctx); errors.Is(err, ctx.Err()) {
			err = nil
		}
	}
	cancel(nil)
	<-done
	return err
}

// every calls f at once and then at each interval (0 means 1 s) until it fails or ctx is done.
func every(ctx context.Context, interval time.Duration, f func(step int) error) error {
	if interval == 0 {
		interval = time.Second
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for step := 0; ; step++ {
		if err := f(step); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
