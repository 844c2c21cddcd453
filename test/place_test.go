//go:build e2e || interop

package test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
)

// patience is how long anything may take that happens at once on an idle machine.
const patience = 60 * time.Second

// place is a homeserver with alice, who owns the gateway, bob, who is a member, and a gatepost beside it.
type place struct {
	t          *testing.T
	ctx        context.Context
	mode       string // appservice or account
	hs         harness.Homeserver
	gate       *harness.Gatepost
	set        harness.Settings
	reg        harness.Registration
	alice, bob *harness.Person
	broker     string // host:port
}

// plan is a place before anything is started.
func plan(t *testing.T, mode, rules string) *place {
	t.Helper()
	return planOn(t, mode, rules, newHomeserver)
}

// planOn is plan with a homeserver of the caller's.
func planOn(t *testing.T, mode, rules string, prepare func(t *testing.T, dir, registration string) harness.Homeserver) *place {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	p := &place{t: t, ctx: ctx, mode: mode}
	ports, err := harness.FreePorts(3)
	p.must(err)
	address := func(i int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[i])) }
	dir := t.TempDir()
	home, gate, registration := filepath.Join(dir, "homeserver"), filepath.Join(dir, "gatepost"), filepath.Join(dir, "registration.yaml")
	p.must(os.Mkdir(home, 0o700))
	p.must(os.Mkdir(gate, 0o700))
	p.reg = harness.NewRegistration(ports[0])
	p.set = harness.Settings{Owners: []string{}, MQTT: address(1), Admin: address(2), Devices: rules}
	service := ""
	if mode == "appservice" {
		p.set.Listen, p.set.Registration, service = address(0), registration, registration
	} else {
		p.set.PasswordFile = filepath.Join(dir, "password")
		p.must(os.WriteFile(p.set.PasswordFile, []byte(botPassword+"\n"), 0o600))
	}
	p.hs = prepare(t, home, service)
	if service != "" {
		p.must(p.reg.WriteFile(registration, p.hs.ServerName()))
	}
	p.set.Homeserver, p.set.ServerName = p.hs.URL(), p.hs.ServerName()
	p.set.Owners, p.set.Members = []string{p.user("alice")}, []string{p.user("bob")}
	p.broker = p.set.MQTT
	p.gate, err = harness.NewGatepost(filepath.Join(binaries, "gatepost"), gate, p.set)
	p.must(err)
	t.Cleanup(func() {
		p.gate.Kill()
		p.hs.Kill()
		if t.Failed() {
			t.Logf("the end of gatepost's log (all of it, and the homeserver's: %s):\n%s", p.keepLogs(), p.gate.Log().Tail(40))
		}
	})
	return p
}

// keepLogs copies what the programs wrote to where it outlives the test, and says where.
func (p *place) keepLogs() string {
	dir := filepath.Join(binaries, "failed", p.t.Name())
	p.must(os.MkdirAll(dir, 0o700))
	for _, log := range []*harness.Log{p.gate.Log(), p.hs.Log()} {
		text, err := os.ReadFile(log.Path())
		p.must(err)
		p.must(os.WriteFile(filepath.Join(dir, filepath.Base(log.Path())), text, 0o600))
	}
	return dir
}

const (
	binaries    = "../bin"
	botPassword = "the bot's secret"
)

// settle is a place with everything running.
func settle(t *testing.T, mode, rules string) *place {
	t.Helper()
	p := plan(t, mode, rules)
	p.openHomeserver()
	p.must(p.gate.Start(p.ctx))
	return p
}

// openHomeserver starts it and lets the people log in.
func (p *place) openHomeserver() {
	p.t.Helper()
	p.must(p.hs.Start(p.ctx))
	if p.mode == "account" {
		p.must(p.hs.Register(p.ctx, "gatepost", botPassword))
	}
	p.alice, p.bob = p.person("alice"), p.person("bob")
}

func (p *place) user(name string) string { return "@" + name + ":" + p.hs.ServerName() }

func (p *place) person(name string) *harness.Person {
	p.t.Helper()
	p.must(p.hs.Register(p.ctx, name, "secret of "+name))
	who, err := harness.Login(p.ctx, p.hs, name, "secret of "+name)
	p.must(err)
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(p.ctx)
	go func() {
		defer close(done)
		_ = who.Run(ctx) // Await says what it missed
	}()
	p.t.Cleanup(func() {
		cancel()
		<-done
	})
	return who
}

func (p *place) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// device connects a device that lives as long as the test.
func (p *place) device(cfg device.Config) *device.Client {
	p.t.Helper()
	if cfg.Addr == "" {
		cfg.Addr = p.broker
	}
	c, err := device.New(cfg)
	p.must(err)
	ctx, cancel := context.WithCancel(p.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = c.Run(ctx) // Publish says when it can't
	}()
	p.t.Cleanup(func() {
		cancel()
		<-done
	})
	p.must(c.Online(p.ctx))
	return c
}

// publish returns when the message is acknowledged.
func (p *place) publish(c *device.Client, topic, payload string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	p.must(c.Publish(ctx, device.Message{Topic: topic, Payload: []byte(payload), QoS: 1}))
}

// message waits until who sees a message that fits in the room called name, and gives it.
func (p *place) message(who *harness.Person, name, what string, fits func(harness.Event) bool) (room string, found harness.Event) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	p.must(who.Await(ctx, fmt.Sprintf("%s in %q", what, name), func(rooms map[string]*harness.Room) bool {
		for _, r := range rooms {
			if r.Name != name || !r.Joined {
				continue
			}
			for _, e := range r.Messages() {
				if fits(e) {
					room, found = r.ID, e
					return true
				}
			}
		}
		return false
	}))
	return room, found
}

// body fits messages with this text.
func body(text string) func(harness.Event) bool {
	return func(e harness.Event) bool { return e.Content.Body == text }
}

// reacted waits until who sees a reaction with a key that contains text on the event, and no others on it.
func (p *place) reacted(who *harness.Person, room, event, text string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	var seen []string
	err := who.Await(ctx, fmt.Sprintf("the reaction %q", text), func(rooms map[string]*harness.Room) bool {
		seen = nil
		redacted := map[string]bool{}
		for _, e := range rooms[room].Events {
			if e.Type == "m.room.redaction" {
				redacted[e.Redacts] = true
			}
		}
		for _, e := range rooms[room].Reactions(event) {
			if !redacted[e.ID] && e.Content.Relates.Key != "" {
				seen = append(seen, e.Content.Relates.Key)
			}
		}
		return len(seen) == 1 && strings.Contains(seen[0], text)
	})
	if err != nil {
		p.t.Fatalf("%v; there were %q", err, seen)
	}
}

// roomCount is how many rooms called name the person sees.
func (p *place) roomCount(who *harness.Person, name string) int {
	n := 0
	who.View(func(rooms map[string]*harness.Room) {
		for _, r := range rooms {
			if r.Name == name {
				n++
			}
		}
	})
	return n
}

// awaitStatus polls a page of the admin listener until it answers want, with holding in its text.
func (p *place) awaitStatus(path string, want int, holding string) string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		status, text, err := p.gate.Get(ctx, path)
		if err == nil && status == want && strings.Contains(text, holding) {
			return text
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			p.t.Fatalf("%s never answered %d with %q; last %d %s %v", path, want, holding, status, text, err)
		}
	}
}
