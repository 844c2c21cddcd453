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

// TestDiscoveryAtAnOutsideBroker: the broker is another gatepost, which has no homeserver. Everything there is retained
// before the gateway comes.
func TestDiscoveryAtAnOutsideBroker(t *testing.T) {
	t.Parallel()
	p := plan(t, "appservice", "")
	dir := filepath.Join(t.TempDir(), "broker")
	p.must(os.Mkdir(dir, 0o700))
	other, err := harness.NewGatepost(filepath.Join(binaries, "gatepost"), dir, harness.Settings{MQTT: p.broker, Admin: "127.0.0.1:0"})
	p.must(err)
	t.Cleanup(func() { other.Kill() })
	p.must(other.Configure("mqtt: {listen: [\"mqtt://" + p.broker + "\"]}\nstore: {path: data}\nadmin: {listen: \"\", socket: data/gatepost.sock}\n"))
	p.must(other.Launch())
	p.set.MQTT, p.set.Broker = "", "mqtt://"+p.broker
	p.set.Extra = "conventions: [homeassistant, homie, zigbee2mqtt, tasmota]\n"
	p.must(p.gate.Configure(p.set.YAML()))
	p.openHomeserver()
	names := p.announced()
	p.device(device.Config{ClientID: "waits until the broker is there"})
	p.must(p.gate.Start(p.ctx))
	for _, name := range names {
		room, e := p.message(p.alice, "gatepost", "the question about "+name, func(e harness.Event) bool {
			return strings.HasPrefix(e.Content.Body, "A new device: “"+name+"”")
		})
		_, err := p.alice.React(p.ctx, room, e.ID, "✅")
		p.must(err)
	}
	for _, name := range names {
		p.roomNamed(p.alice, name)
	}
}
