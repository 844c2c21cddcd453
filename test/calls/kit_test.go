//go:build linux && interop

package calls

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/gatepost/gatepost/test/harness"
)

const (
	patience = 30 * time.Second // for what must happen
	binaries = "../../bin"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// absent ends a test for which something is not on this machine: in CI that is a failure.
func absent(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("not on this machine: %s", what)
	}
	t.Skipf("not on this machine: %s", what)
}

// until asks again and again, with a deadline.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !done(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for: %s", patience, what)
		}
	}
}

// command makes a command of a program; some run it elsewhere.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, name, args...)
}

// launch starts a program that ends with the test.
func launch(t *testing.T, cmd *exec.Cmd, name string) {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), name+".log"))
	must(t, err)
	cmd.Stderr = log
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // with whatever
		if t.Failed() {
			b, _ := os.ReadFile(log.Name()) // nothing then
			t.Logf("%s wrote:\n%s", name, b[max(0, len(b)-3000):])
		}
		log.Close()
	})
}

// world is a homeserver with alice, who owns the gateway, and bob, who is a member; gatepost with a door that can be called; and
// the door.
type world struct {
	t      *testing.T
	ctx    context.Context
	hs     harness.Homeserver
	gate   *harness.Gatepost
	broker string
	web    string // the same, as the URL of its WebSocket listener
	relay  string // host:port of gatepost's relay
	ports  []int  // of gatepost, on loopback
	door   *intercom
}

const rule = `
- topic: porch/{reading}
  device: porch
  name: Front door
  class: event
  call: {mqtt: porch}
  ring: {topic: porch/button, people: ["@alice:localhost"], timeout: 8s}
`

// setting is what differs between worlds.
type setting struct {
	answer  string                // the door's --answer; "": there is no door yet
	origins []string              // of pages that may connect to the broker
	rules   string                // of more devices
	bin     string                // the folder of dendrite and gatepost; "": binaries
	extra   func(w *world) string // more of the configuration; nil: a relay on loopback
	before  func(w *world)        // what must be there before anything is started; nil: nothing
}

// newHomeserver is Dendrite, or with GATEPOST_TEST_HOMESERVER=synapse Synapse.
func newHomeserver(t *testing.T, bin, dir, registration string) harness.Homeserver {
	t.Helper()
	var hs harness.Homeserver
	var err error
	if onSynapse() {
		hs, err = harness.NewSynapse(filepath.Join(binaries, "synapse-venv"), dir, harness.SynapseOptions{Registration: registration})
	} else {
		hs, err = harness.NewDendrite(bin, dir, registration)
	}
	must(t, err)
	return hs
}

func onSynapse() bool { return os.Getenv("GATEPOST_TEST_HOMESERVER") == "synapse" }

// newWorld has everything running. answer is the door's --answer.
func newWorld(t *testing.T, answer string) *world {
	t.Helper()
	return setting{answer: answer}.begin(t)
}

// begin has everything running.
func (s setting) begin(t *testing.T) *world {
	t.Helper()
	bin := cmp.Or(s.bin, binaries)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	t.Cleanup(cancel)
	w := &world{t: t, ctx: ctx}
	ports, err := harness.FreePorts(5)
	must(t, err)
	at := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", ports[i]) }
	dir := t.TempDir()
	home, gate, registration := filepath.Join(dir, "homeserver"), filepath.Join(dir, "gatepost"), filepath.Join(dir, "registration.yaml")
	must(t, os.Mkdir(home, 0o700))
	must(t, os.Mkdir(gate, 0o700))
	w.hs = newHomeserver(t, bin, home, registration)
	must(t, harness.NewRegistration(ports[0]).WriteFile(registration, w.hs.ServerName()))
	w.broker, w.relay, w.web = at(1), at(3), "ws://"+at(4)
	w.ports = ports
	if s.extra == nil {
		s.extra = func(w *world) string {
			return fmt.Sprintf("turn: {listen: [\"udp://%s\"], realm: example.org, secret: a secret of the test, public_ip: [127.0.0.1], relay_ports: 52000-52200}\n", w.relay)
		}
	}
	w.gate, err = harness.NewGatepost(filepath.Join(bin, "gatepost"), gate, harness.Settings{
		Homeserver: w.hs.URL(), ServerName: w.hs.ServerName(), Listen: at(0), Registration: registration,
		Owners: []string{w.user("alice")}, Members: []string{w.user("bob")}, MQTT: w.broker, WebSocket: at(4), Origins: s.origins, Admin: at(2), Devices: rule + s.rules,
		Extra: s.extra(w),
	})
	must(t, err)
	t.Cleanup(func() {
		w.gate.Kill()
		w.hs.Kill()
		if t.Failed() {
			for _, word := range []*intercom{w.door} {
				if word != nil {
					rest, _ := json.Marshal(word.said)
					t.Logf("the door said: %s", rest)
				}
			}
			t.Logf("the end of gatepost's log:\n%s", w.gate.Log().Tail(40))
		}
	})
	if s.before != nil {
		s.before(w)
	}
	must(t, w.hs.Start(ctx))
	for _, name := range []string{"alice", "bob"} {
		must(t, w.hs.Register(ctx, name, "secret of "+name))
	}
	must(t, w.gate.Start(ctx))
	if s.answer != "" {
		w.door = newIntercom(t, command, w.broker, "--answer", s.answer)
	}
	return w
}

func (w *world) user(name string) string { return "@" + name + ":" + w.hs.ServerName() }

// phone is a client of a person.
func (w *world) phone(b *browser, name string) *phone {
	w.t.Helper()
	return b.phone(w.t, w.hs.URL(), name, "secret of "+name)
}

// chat is a room of the person and the door's ghost, made by the person.
func (w *world) chat(p *phone) string {
	w.t.Helper()
	return w.chatWith(p, "porch")
}

// chatWith is the same with another device.
func (w *world) chatWith(p *phone, device string) string {
	w.t.Helper()
	ghost := w.user("gatepost_" + device)
	var made struct{ Room string }
	until(w.t, "the ghost to be there", func() bool { // it comes with the door's first message
		value, err := p.evaluate(fmt.Sprintf("phone.client.getProfileInfo(%q).then(() => true, () => false)", ghost))
		return err == nil && string(value) == "true"
	})
	p.do("chat", map[string]any{"ghost": ghost}, &made)
	until(w.t, "the door in the chat", func() bool {
		var there struct{ Membership string }
		p.do("joined", map[string]any{"room": made.Room, "user": ghost}, &there)
		return there.Membership == "join"
	})
	return made.Room
}
