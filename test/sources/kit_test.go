//go:build linux && interop

package sources

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepost/gatepost/test/device"
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

// word is a line of what a script says.
type word struct {
	SDP       string `json:"sdp"`
	Heard     *int   `json:"heard"` // Hz
	Seen      []int  `json:"seen"`  // red, green, blue
	Sends     bool   `json:"sends"`
	Connected bool   `json:"connected"`
	Closed    bool   `json:"closed"`
	Trouble   string `json:"trouble"`
}

// script is a Python program that speaks JSON lines.
type script struct {
	t    *testing.T
	name string
	in   io.WriteCloser

	mu   sync.Mutex
	said []word
}

// run runs a script until the end of the test.
func run(t *testing.T, name string, args ...string) *script {
	t.Helper()
	python, err := filepath.Abs(binaries + "/intercom-venv/bin/python")
	must(t, err)
	if _, err := os.Stat(filepath.Join(filepath.Dir(python), "../installed")); err != nil {
		absent(t, "aiortc and paho-mqtt (make bin/intercom-venv/installed)")
	}
	cmd := exec.CommandContext(t.Context(), python, append([]string{"-B", name}, args...)...)
	s := &script{t: t, name: name}
	s.in, err = cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	launch(t, cmd, name)
	go s.read(out)
	return s
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
		_ = log.Close()
	})
}

func (s *script) read(out io.Reader) {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var w word
		if json.Unmarshal(lines.Bytes(), &w) != nil {
			w.Trouble = "not JSON: " + lines.Text()
		}
		s.mu.Lock()
		s.said = append(s.said, w)
		s.mu.Unlock()
	}
}

// says waits for a word that want likes.
func (s *script) says(what string, want func(word) bool) word {
	s.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		s.mu.Lock()
		for _, w := range s.said {
			if w.Trouble != "" {
				s.t.Errorf("%s: %s", s.name, w.Trouble)
			}
			if want(w) {
				s.said = nil
				s.mu.Unlock()
				return w
			}
		}
		last := s.said[max(0, len(s.said)-5):]
		s.mu.Unlock()
		if time.Now().After(deadline) {
			b, _ := json.Marshal(last)
			s.t.Fatalf("%s never said: %s; last %s", s.name, what, b)
		}
	}
}

// hears waits for a tone.
func (s *script) hears(pitch int) {
	s.t.Helper()
	s.says(fmt.Sprintf("that it hears %d Hz", pitch), func(w word) bool { return w.Heard != nil && *w.Heard > pitch-20 && *w.Heard < pitch+20 })
}

// sees waits for a colour.
func (s *script) sees(red, green, blue int) {
	s.t.Helper()
	s.says("that it sees the camera's colour", func(w word) bool {
		return len(w.Seen) == 3 && near(w.Seen[0], red) && near(w.Seen[1], green) && near(w.Seen[2], blue)
	})
}

// take is what it said since the last time.
func (s *script) take() []word {
	s.mu.Lock()
	defer s.mu.Unlock()
	said := s.said
	s.said = nil
	return said
}

func near(a, b int) bool { return a-b < 25 && b-a < 25 }

// world is a homeserver with alice, and gatepost with a door.
type world struct {
	t      *testing.T
	ctx    context.Context
	hs     harness.Homeserver
	gate   *harness.Gatepost
	alice  *harness.Person
	broker string
	way    *lossy // between alice's client and the gateway; nil: straight
}

// newWorld has everything running; media is what follows `call:`.
func newWorld(t *testing.T, media string) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute+lasts(t))
	t.Cleanup(cancel)
	w := &world{t: t, ctx: ctx}
	ports, err := harness.FreePorts(3)
	must(t, err)
	at := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", ports[i]) }
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "homeserver"), 0o700))
	must(t, os.Mkdir(filepath.Join(dir, "gatepost"), 0o700))
	registration := filepath.Join(dir, "registration.yaml")
	w.hs, err = harness.NewDendrite(binaries, filepath.Join(dir, "homeserver"), registration)
	must(t, err)
	must(t, harness.NewRegistration(ports[0]).WriteFile(registration, w.hs.ServerName()))
	w.broker = at(1)
	w.gate, err = harness.NewGatepost(filepath.Join(binaries, "gatepost"), filepath.Join(dir, "gatepost"), harness.Settings{
		Homeserver: w.hs.URL(), ServerName: w.hs.ServerName(), Listen: at(0), Registration: registration,
		Owners: []string{"@alice:" + w.hs.ServerName()}, MQTT: w.broker, Admin: at(2),
		Devices: "\n- topic: porch/{reading}\n  device: porch\n  name: Front door\n  class: event\n  call: " + media + "\n",
		Extra:   "calls: {listen_udp: \"127.0.0.1:0\", allow_peers: [127.0.0.0/8]}\n",
	})
	must(t, err)
	t.Cleanup(func() {
		w.gate.Kill()
		w.hs.Kill()
		if t.Failed() {
			t.Logf("gatepost:\n%s", w.gate.Log().Tail(30))
		}
	})
	must(t, w.hs.Start(ctx))
	must(t, w.hs.Register(ctx, "alice", "secret of alice"))
	w.alice, err = harness.Login(ctx, w.hs, "alice", "secret of alice")
	must(t, err)
	following, stop := context.WithCancel(ctx)
	var reading sync.WaitGroup
	reading.Go(func() { _ = w.alice.Run(following) }) // Await says when it can't
	t.Cleanup(func() { stop(); reading.Wait() })
	must(t, w.gate.Start(ctx))
	return w
}

// known makes the door known, as its first message does.
func (w *world) known() {
	w.t.Helper()
	c, err := device.New(device.Config{Addr: w.broker, ClientID: "test"})
	must(w.t, err)
	ctx, cancel := context.WithCancel(w.ctx)
	var wg sync.WaitGroup
	wg.Go(func() { _ = c.Run(ctx) })
	w.t.Cleanup(func() { cancel(); wg.Wait() })
	must(w.t, c.Publish(w.ctx, device.Message{Topic: "porch/event", Payload: []byte("here"), QoS: 1}))
}

// calls has alice's client call the door: the client, and what ends the call; flags are person.py's.
func (w *world) calls(flags ...string) (person *script, hangup func()) {
	w.t.Helper()
	must(w.t, w.alice.Await(w.ctx, "the door's event", func(rooms map[string]*harness.Room) bool {
		for _, r := range rooms {
			for _, e := range r.Events {
				if strings.Contains(e.Content.Body, "here") {
					return true
				}
			}
		}
		return false
	}))
	ghost := "@gatepost_porch:" + w.hs.ServerName()
	room, err := w.alice.CreateRoom(w.ctx, "", ghost)
	must(w.t, err)
	must(w.t, w.alice.Await(w.ctx, "the door in the chat", func(rooms map[string]*harness.Room) bool {
		r := rooms[room]
		return r != nil && has(r.Members, ghost)
	}))
	person = run(w.t, "person.py", append([]string{"700"}, flags...)...)
	offer := person.says("its offer", func(w word) bool { return w.SDP != "" }).SDP
	if w.way != nil {
		offer = withoutCandidates(offer)
	}
	send := func(typ string, more map[string]any) {
		w.t.Helper()
		more["call_id"], more["party_id"], more["version"] = "C1", "PHONE", "1"
		_, err := w.alice.Send(w.ctx, room, typ, more)
		must(w.t, err)
	}
	send("m.call.invite", map[string]any{"lifetime": 60000, "offer": map[string]string{"type": "offer", "sdp": offer}})
	var answer string
	must(w.t, w.alice.Await(w.ctx, "the answer", func(rooms map[string]*harness.Room) bool {
		for _, e := range rooms[room].Events {
			var c struct{ Answer struct{ SDP string } }
			if e.Type == "m.call.answer" && json.Unmarshal(e.Raw, &c) == nil {
				answer = c.Answer.SDP
			}
		}
		return answer != ""
	}))
	send("m.call.select_answer", map[string]any{"selected_party_id": "gatepost"})
	if w.way != nil {
		answer = w.way.instead(answer)
	}
	b, err := json.Marshal(map[string]string{"sdp": answer})
	must(w.t, err)
	_, err = person.in.Write(append(b, '\n'))
	must(w.t, err)
	return person, func() { send("m.call.hangup", map[string]any{"reason": "user_hangup"}) }
}

// told waits for a text in one of alice's rooms.
func (w *world) told(text string) {
	w.t.Helper()
	must(w.t, w.alice.Await(w.ctx, text, func(rooms map[string]*harness.Room) bool {
		for _, r := range rooms {
			for _, e := range r.Events {
				if e.Content.Body == text {
					return true
				}
			}
		}
		return false
	}))
}

func has[V any](m map[string]V, key string) bool {
	_, ok := m[key]
	return ok
}
