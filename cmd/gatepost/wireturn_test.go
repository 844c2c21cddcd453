package main

import (
	"slices"
	"testing"
	"time"

	"github.com/gatepost/gatepost/internal/config"
	"github.com/gatepost/gatepost/turn"
)

func turnSection(t *testing.T, text string) *config.Config {
	t.Helper()
	cfg, err := config.Parse("x.yaml", []byte("turn: "+text), nil)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestTurnConfig(t *testing.T) {
	cfg := turnSection(t, `{listen: ["udp://:3478", "tcp://127.0.0.1:1"], realm: r, secret: new, old_secret: old, users: [{user: u, password: p}],
  relay_ports: 1000-2000, limits: {connections_per_address: 3, answers_per_network: 4}}
calls: {listen_udp: ":50000"}`)
	got := turnConfig(cfg)
	if want := []string{"udp://0.0.0.0:3478", "udp://[::]:3478", "tcp://127.0.0.1:1"}; !slices.Equal(got.Listen, want) {
		t.Errorf("listens on %q", got.Listen)
	}
	if !slices.Equal(got.Secrets, []string{"new", "old"}) || !slices.Equal(got.Users, []turn.User{{Name: "u", Password: "p"}}) {
		t.Errorf("%d secrets, users %v", len(got.Secrets), got.Users)
	}
	if got.RelayPorts != (turn.Ports{First: 1000, Last: 2000}) || got.MediaPort != 50000 || got.Limits.ConnectionsPerIP != 3 ||
		got.Limits.AnswersPerSource != 4 || got.Limits.BytesPerSecondPerUser != 4_000_000 {
		t.Errorf("%+v", got)
	}
}

func TestCallCredential(t *testing.T) {
	now := time.Date(2026, 11, 22, 16, 0, 0, 0, time.UTC)
	cfg := turnSection(t, `{realm: r, secret: s}`)
	c := callCredential(cfg.Turn, "c1", now)
	if c == nil || c.TTL != 3600 || len(c.URIs) != 2 || c.URIs[0] != "turn:r:3478?transport=udp" {
		t.Fatalf("%+v", c)
	}
	if name, password := turn.Mint("s", "call c1", now.Add(time.Hour)); c.Username != name || c.Password != password {
		t.Errorf("%+v", c)
	}
	if callCredential(cfg.Turn, "c1", time.Unix(100, 0)) != nil {
		t.Error("a credential of a clock that was never set")
	}
	if callCredential(turnSection(t, `{realm: r, users: [{user: u, password: p}]}`).Turn, "c1", now) != nil || callCredential(nil, "c1", now) != nil {
		t.Error("a credential without a secret")
	}
}
