package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	simulated "github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
)

// confirmNumber commands are measured, after a few that are not.
const (
	confirmNumber = 60
	confirmWarm   = 4
)

// confirm measures from before a person's client sends a command to the homeserver until it sees the reaction that says that the
// device has done it: through Dendrite, gatepost and its embedded broker to a lamp that announced itself, and back.
func confirm(ctx context.Context, b *bench) error {
	s, err := b.openSite(ctx, setup{rules: alarmRule, more: "discovery: auto\n"}, true)
	if err != nil {
		return err
	}
	defer s.close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lamp := make(chan error, 1)
	go func() { lamp <- simulated.Lamp{Broker: s.gateway.mqtt, Name: "reading", Every: time.Hour}.Run(ctx) }()

	ready, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	id := ""
	err = s.owner.Await(ready, "the lamp's room and its card", func(rooms map[string]*harness.Room) bool {
		for _, r := range rooms {
			if r.Name == "Reading lamp" && r.Joined && len(r.Messages()) > 0 {
				id = r.ID
			}
		}
		return id != ""
	})
	if err != nil {
		return err
	}
	var took []float64
	for i := range confirmWarm + confirmNumber {
		one, stop := context.WithTimeout(ctx, 20*time.Second)
		start := time.Now()
		asked, err := s.owner.Say(one, id, []string{"!on", "!off"}[i%2])
		if err == nil {
			err = s.owner.Await(one, "the confirmation", func(rooms map[string]*harness.Room) bool {
				return slices.ContainsFunc(rooms[id].Reactions(asked), func(e harness.Event) bool {
					return strings.Contains(e.Content.Relates.Key, "confirmed")
				})
			})
		}
		ms := float64(time.Since(start).Microseconds()) / 1000
		stop()
		if err != nil {
			return err
		}
		if i >= confirmWarm {
			took = append(took, ms)
		}
		if err := s.gateway.delivered(ctx); err != nil {
			return err
		}
	}
	cancel()
	if err := <-lamp; err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	b.report.note("confirm: p50 %s, p90 %s, most %s ms of %d", number(quantile(took, 0.5)), number(quantile(took, 0.9)), number(quantile(took, 1)), len(took))
	b.report.below("command, asked to confirmed in the room, p50", quantile(took, 0.5), "ms", 300)
	b.report.recorded("command, asked to confirmed in the room, p90", quantile(took, 0.9), "ms")
	return nil
}
