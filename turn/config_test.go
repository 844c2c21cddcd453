package turn

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestConfig(t *testing.T) {
	good := Config{Listen: []string{"udp://0.0.0.0:3478", "tcp://[::]:0"}, Realm: "r", Secrets: []string{"s"}}
	cfg, err := good.checked()
	if err != nil || cfg.RelayPorts != (Ports{49152, 65535}) || cfg.Workers != 1 || cfg.Limits.Allocations != 10_000 ||
		cfg.Limits.Permissions != 100_000 || cfg.Limits.BytesPerSecondPerUser != 4_000_000 || cfg.Now == nil || cfg.Rand == nil || cfg.Log == nil {
		t.Fatalf("%v: %+v", err, cfg)
	}
	for want, change := range map[string]func(*Config){
		"Listen is empty":    func(c *Config) { c.Listen = nil },
		"Listen \"udp://x:1": func(c *Config) { c.Listen = []string{"udp://x:1"} },
		"Listen \"sctp://":   func(c *Config) { c.Listen = []string{"sctp://0.0.0.0:1"} },
		"needs CertFile":     func(c *Config) { c.Listen = []string{"tls://0.0.0.0:1"} },
		"PublicIP 0.0.0.0":   func(c *Config) { c.PublicIP = []netip.Addr{netip.IPv4Unspecified()} },
		"PublicIP 224.0.0.1": func(c *Config) { c.PublicIP = []netip.Addr{netip.MustParseAddr("224.0.0.1")} },
		"Realm has 0 bytes":  func(c *Config) { c.Realm = "" },
		"Realm has 61 bytes": func(c *Config) { c.Realm = strings.Repeat("r", 61) },
		"neither Secrets":    func(c *Config) { c.Secrets = nil },
		"Secrets is empty":   func(c *Config) { c.Secrets = []string{"s", ""} },
		`user "b"`:           func(c *Config) { c.Users = []User{{"b", "p"}, {"b", "q"}} },
		`user "c"`:           func(c *Config) { c.Users = []User{{"c", ""}} },
		"RelayPorts 9-8":     func(c *Config) { c.RelayPorts = Ports{9, 8} },
		"RelayPorts 0-8":     func(c *Config) { c.RelayPorts = Ports{0, 8} },
		"Drain or Workers":   func(c *Config) { c.Drain = -1 },
		"Limits is negative": func(c *Config) { c.Limits.Channels = -1 },
	} {
		cfg := good
		change(&cfg)
		_, err := cfg.checked()
		if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("one mistake, but: %v", err)
		}
	}
}

func TestUpdate(t *testing.T) {
	cfg := Config{Listen: []string{"udp://127.0.0.1:0"}, PublicIP: []netip.Addr{netip.MustParseAddr("5.5.5.5")}, Realm: testRealm, Secrets: []string{"old"}}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	name, password := Mint("new", "a", testNow.Add(time.Hour))
	good := func() bool {
		_, ok := s.handler.credentials.Load().prove(name, withMD5, func(k *key) bool { return *k == makeKey(withMD5, name, testRealm, password) })
		return ok
	}
	for _, bad := range []func(*Config){func(c *Config) { c.Realm = "other" }, func(c *Config) { c.Secrets = nil }} {
		next := cfg
		bad(&next)
		if err := s.Update(next); !errors.Is(err, ErrConfig) {
			t.Errorf("a bad update: %v", err)
		}
	}
	if good() {
		t.Fatal("the new secret is good already")
	}
	cfg.Secrets, cfg.Limits.AllocationsPerUser = []string{"new", "old"}, 1
	if err := s.Update(cfg); err != nil || !good() {
		t.Fatalf("update: %v", err)
	}
	if _, full := s.handler.quotas.allocate("a", 0); full != "" {
		t.Error(full)
	}
	if _, full := s.handler.quotas.allocate("a", 0); full != refusedUserQuota {
		t.Errorf("a second allocation: %q", full)
	}
}
