package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/gatepost/gatepost/test/harness"
)

// site is a homeserver and a gatepost, whose owner is invited to every room.
type site struct {
	hs      *harness.Dendrite
	gateway *gateway
	owner   *harness.Person // nil when nobody comes to see the rooms
	devices []device
	stop    context.CancelFunc // of the owner's client
}

// device is one as `gatepost devices` shows it.
type device struct {
	ID     string `json:"id"`
	RoomID string `json:"room_id"`
	User   string `json:"user"`
}

// newSite starts both and makes a room for each of so many devices. With joined the owner accepts the invitations and
// follows the rooms, which is much work for the homeserver when they are many.
func (b *bench) newSite(ctx context.Context, rules string, devices int, joined bool) (*site, error) {
	s, err := b.openSite(ctx, setup{rules: rules}, joined)
	if err != nil {
		return nil, err
	}
	if err := s.populate(ctx, b, devices); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// openSite starts both, with what cfg says besides the homeserver.
func (b *bench) openSite(ctx context.Context, cfg setup, joined bool) (s *site, err error) {
	s = &site{stop: func() {}}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	ports, err := harness.FreePorts(1)
	if err != nil {
		return s, err
	}
	dir, err := b.dir("gatepost")
	if err != nil {
		return s, err
	}
	reg := harness.NewRegistration(ports[0])
	file := filepath.Join(dir, "registration.yaml")
	if err := reg.WriteFile(file, "localhost"); err != nil {
		return s, err
	}
	home, err := b.dir("dendrite")
	if err != nil {
		return s, err
	}
	if s.hs, err = harness.NewDendrite(b.bin, home, file); err != nil {
		return s, err
	}
	if err := s.hs.Start(ctx); err != nil {
		return s, err
	}
	if err := s.hs.Register(ctx, "alice", "secret-alice"); err != nil {
		return s, err
	}
	if joined {
		if s.owner, err = harness.Login(ctx, s.hs, "alice", "secret-alice"); err != nil {
			return s, err
		}
		var running context.Context
		running, s.stop = context.WithCancel(ctx)
		go func() { _ = s.owner.Run(running) }() // Await says how it ended
	}
	cfg.homeserver, cfg.owner, cfg.dir, cfg.reg = s.hs, "@alice:localhost", dir, reg
	if s.gateway, err = b.newGateway(cfg); err != nil {
		return s, err
	}
	return s, s.gateway.Start(ctx)
}

func (s *site) close() {
	s.stop()
	if s.gateway != nil {
		s.gateway.Kill()
	}
	if s.hs != nil {
		s.hs.Kill()
	}
}

// populate has a message of each device and waits until all their rooms are there and the owner is in them.
func (s *site) populate(ctx context.Context, b *bench, devices int) error {
	start := time.Now()
	c, err := dial(s.gateway.mqtt, "populate")
	if err != nil {
		return err
	}
	defer c.Close()
	for i := range devices {
		topic, payload := event(i, devices)
		if err := c.publish(topic, uint16(i+1), payload); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute+time.Duration(devices)*time.Second)
	defer cancel()
	if err := s.gateway.delivered(ctx); err != nil {
		return err
	}
	if s.devices, err = s.gateway.devices(ctx); err != nil {
		return err
	}
	if len(s.devices) != devices {
		return fmt.Errorf("%d devices, not %d", len(s.devices), devices)
	}
	b.report.note("%d rooms took %s", devices, time.Since(start).Round(time.Second))
	if s.owner == nil {
		return nil
	}
	return s.owner.Await(ctx, "all rooms", func(rooms map[string]*harness.Room) bool {
		for _, d := range s.devices {
			if r := rooms[d.RoomID]; r == nil || !r.Joined || len(r.Messages()) == 0 {
				return false
			}
		}
		return true
	})
}

// delivered waits until nothing waits in the lanes.
func (g *gateway) delivered(ctx context.Context) error {
	for {
		n, err := g.metric(ctx, "gatepost_lane_records", "")
		if err != nil || n == 0 {
			return err
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%v records still wait: %w; %s", n, ctx.Err(), g.Log().Tail(5))
		}
	}
}

// devices asks the running gatepost.
func (g *gateway) devices(ctx context.Context) ([]device, error) {
	result, err := g.Do(ctx, "devices", "--json")
	if err != nil {
		return nil, err
	}
	if result.Code != 0 {
		return nil, fmt.Errorf("devices: code %d: %s", result.Code, strings.TrimSpace(result.Stderr))
	}
	var list []device
	return list, json.Unmarshal([]byte(result.Stdout), &list)
}
