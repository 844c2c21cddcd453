package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/gatepost/gatepost/gateway"
	"github.com/gatepost/gatepost/internal/config"
	"github.com/gatepost/gatepost/internal/logkey"
	"github.com/gatepost/gatepost/mqtt/convention"
	"github.com/gatepost/gatepost/mqtt/topic"
)

// conventions makes those that the configuration names, all of them when it names none. "homie" is both versions of it.
func conventions(cfg *config.Config) ([]convention.Convention, error) {
	list := cfg.Conventions
	if len(list) == 0 {
		list = convention.Names()
	}
	var out []convention.Convention
	var errs []error
	seen := map[string]bool{}
	for i, item := range list {
		name, prefix, _ := strings.Cut(item, "=")
		names := []string{name}
		if name == "homie" {
			names = []string{"homie5", "homie4"}
		}
		for _, n := range names {
			c, err := convention.New(n, prefix)
			switch {
			case err != nil:
				errs = append(errs, cfg.At(fmt.Sprintf("conventions[%d]", i), err))
			case seen[n]:
				errs = append(errs, cfg.At(fmt.Sprintf("conventions[%d]", i), fmt.Errorf("%s is there twice", n)))
			default:
				out = append(out, c)
			}
			seen[n] = true
		}
	}
	return out, config.Join(errs...)
}

// discovery is how the gateway takes devices that announce themselves; nil when it does not.
func (d *daemon) discovery() (*gateway.Discovery, error) {
	if d.cfg.Discovery == "off" {
		return nil, nil
	}
	list, err := conventions(d.cfg)
	if err != nil {
		return nil, err
	}
	return &gateway.Discovery{Conventions: list, Auto: d.cfg.Discovery == "auto", Follow: d.follow}, nil
}

// follow subscribes to what is wanted at the outside broker, or takes what the embedded one has retained of what was not
// wanted before.
func (d *daemon) follow(ctx context.Context, all, fresh []topic.Filter) error {
	if d.client != nil {
		return d.client.SetFilters(ctx, all)
	}
	var waiting sync.WaitGroup
	defer waiting.Wait()
	for _, f := range fresh {
		list, total := d.broker.Retained(f, maxReplayed, int(d.cfg.MQTT.MaxPayload))
		if total > len(list) {
			d.p.Log.Warn("too many retained messages for a filter that a device named", logkey.Topic, f.String(), logkey.Count, total)
		}
		for _, r := range list {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			waiting.Add(1)
			d.gateway.Submit(topic.Message{Topic: r.Topic, Payload: r.Payload, Retained: true, Time: time.Now()}, func(error) { waiting.Done() }) // what is not stored now is asked for again after the restart
		}
	}
	return nil
}

// So many retained messages of one filter are taken.
const maxReplayed = 20_000
