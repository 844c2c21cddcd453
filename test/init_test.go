//go:build e2e || interop

package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
)

// What init writes is enough for a homeserver and gatepost to work together; only the ports are changed, which other
// programs of this machine may have.
func TestWhatInitWritesWorks(t *testing.T) {
	p := plan(t, "appservice", "")
	p.must(os.Remove(p.gate.Config))
	r, err := p.gate.Do(p.ctx, "init", "--dir", p.gate.Dir, "--homeserver", p.hs.URL(), "--server-name", p.hs.ServerName(),
		"--owner", p.user("alice"), "--mqtt-listen", "mqtt://"+p.broker)
	p.must(err)
	registration := filepath.Join(p.gate.Dir, "registration.yaml")
	if r.Code != 0 || !strings.Contains(r.Stdout, registration) {
		t.Fatalf("init: %d: %s%s", r.Code, r.Stdout, r.Stderr)
	}
	for _, file := range []string{p.gate.Config, registration} {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, info.Mode(), err)
		}
	}
	change := func(file, old, new string) {
		text, err := os.ReadFile(file)
		p.must(err)
		if strings.Count(string(text), old) != 1 {
			t.Fatalf("%s does not say %s once:\n%s", file, old, text)
		}
		p.must(os.WriteFile(file, []byte(strings.Replace(string(text), old, new, 1)), 0o600))
	}
	change(registration, "127.0.0.1:29333", p.set.Listen)
	change(p.gate.Config, "mode: appservice", "mode: appservice\n  listen: "+p.set.Listen)
	change(p.gate.Config, "127.0.0.1:8090", p.set.Admin)

	checked, err := p.gate.Do(p.ctx, "registration")
	p.must(err)
	if checked.Code != 0 || !strings.Contains(checked.Stdout, "is good") {
		t.Errorf("registration: %d: %s%s", checked.Code, checked.Stdout, checked.Stderr)
	}
	text, err := os.ReadFile(registration)
	p.must(err)
	p.must(os.WriteFile(p.set.Registration, text, 0o600)) // where the homeserver looks
	p.openHomeserver()
	p.must(p.gate.Start(p.ctx))
	c := p.device(device.Config{ClientID: "porch"})
	p.publish(c, "devices/porch/light", "on")
	p.message(p.alice, "porch", "the first message", func(e harness.Event) bool { return strings.HasSuffix(e.Content.Body, "on") })
}
