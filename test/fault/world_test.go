//go:build fault

package fault

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
)

// bin is the folder of the programs; FAULT_BIN names one with other versions of them.
func bin() string { return cmp.Or(os.Getenv("FAULT_BIN"), "../../bin") }

// scaled is n, or the part of it that FAULT_SCALE asks for (0.1 is a tenth), at least 1.
func scaled(t *testing.T, n int) int {
	t.Helper()
	text := os.Getenv("FAULT_SCALE")
	if text == "" {
		return n
	}
	scale, err := strconv.ParseFloat(text, 64)
	if err != nil || scale <= 0 || scale > 100 {
		t.Fatalf("FAULT_SCALE=%s is not a number above 0", text)
	}
	return max(1, int(float64(n)*scale))
}

// world is a homeserver, a gatepost and alice, who owns it and looks at the rooms. Its folder stays when the test fails.
type world struct {
	t     *testing.T
	ctx   context.Context
	dir   string
	rng   *rand.Rand
	hs    *harness.Dendrite
	gp    *harness.Gatepost
	alice *harness.Person
	mqtt  string // host:port of gatepost's broker
}

// newWorld starts the homeserver and prepares gatepost, which does not run yet. shape may change its settings, whose
// other fields are filled in. limit is how long the test may take in all.
func newWorld(t *testing.T, limit time.Duration, shape func(*harness.Settings)) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	w := &world{t: t, ctx: ctx, dir: folder(t)}
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("FAULT_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("FAULT_SEED: %v", err)
		}
	}
	w.rng = rand.New(rand.NewPCG(seed, 0))
	harness.Note(t, t.Name()+" seed", seed, "-")

	ports := w.must(harness.FreePorts(3))
	registration := harness.NewRegistration(ports[0])
	file := filepath.Join(w.dir, "registration.yaml")
	w.ok(registration.WriteFile(file, "localhost"))
	var err error
	w.hs, err = harness.NewDendrite(bin(), w.folder("homeserver"), file)
	w.ok(err)
	w.ok(w.hs.Start(ctx))
	t.Cleanup(w.hs.Kill)
	w.ok(w.hs.Register(ctx, "alice", "secret-of-alice"))
	w.alice, err = harness.Login(ctx, w.hs, "alice", "secret-of-alice")
	w.ok(err)
	go func() { _ = w.alice.Run(ctx) }()

	w.mqtt = fmt.Sprintf("127.0.0.1:%d", ports[1])
	s := harness.Settings{
		Homeserver: w.hs.URL(), ServerName: w.hs.ServerName(), Listen: fmt.Sprintf("127.0.0.1:%d", ports[0]),
		Registration: file, Owners: []string{w.alice.UserID}, MQTT: w.mqtt, Admin: fmt.Sprintf("127.0.0.1:%d", ports[2]),
	}
	shape(&s)
	w.gp, err = harness.NewGatepost(filepath.Join(bin(), "gatepost"), w.folder("gatepost"), s)
	w.ok(err)
	t.Cleanup(w.gp.Kill)
	return w
}

// folder is a new one that stays when the test fails.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "gatepost-fault-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("what is left of it is in %s", dir)
			return
		}
		_ = os.RemoveAll(dir) // what cannot be removed is only in the way
	})
	return dir
}

func (w *world) folder(name string) string {
	w.t.Helper()
	dir := filepath.Join(w.dir, name)
	w.ok(os.MkdirAll(dir, 0o700))
	return dir
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) must(ports []int, err error) []int {
	w.t.Helper()
	w.ok(err)
	return ports
}

// pause waits; it returns at once when the test's time is over.
func (w *world) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-w.ctx.Done():
	}
}

// between is a random duration from a to b.
func (w *world) between(a, b time.Duration) time.Duration {
	return a + time.Duration(w.rng.Int64N(int64(b-a)))
}

// poll asks cond every so often until it is true; when the test's time is over before, it ends the test.
func (w *world) poll(what string, every time.Duration, cond func() bool) {
	w.t.Helper()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-w.ctx.Done():
			w.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// ask runs a subcommand of gatepost that lists something and decodes its answer; false when it could not.
func (w *world) ask(out any, args ...string) bool {
	r, err := w.gp.Do(w.ctx, append(args, "--json")...)
	return err == nil && r.Code == 0 && json.Unmarshal([]byte(r.Stdout), out) == nil
}

// drained waits until gatepost has nothing left to send.
func (w *world) drained() {
	w.t.Helper()
	w.poll("an empty outbox", 200*time.Millisecond, func() bool {
		var lanes []json.RawMessage
		return w.ask(&lanes, "outbox") && len(lanes) == 0
	})
}

// settle waits until alice sees so many different events and gatepost has nothing left to send; when what she sees has not
// changed for a minute, it gives up waiting, since what is missing then is for the figures to say.
func (w *world) settle(want int) {
	w.t.Helper()
	last, since := 0, time.Now()
	w.poll("the events in the rooms", 200*time.Millisecond, func() bool {
		if n := w.shown(); n != last {
			last, since = n, time.Now()
		}
		return last >= want || time.Since(since) > time.Minute
	})
	w.drained()
}

// shown is how many different events alice sees.
func (w *world) shown() int {
	events := map[[2]string]bool{}
	w.alice.View(func(rooms map[string]*harness.Room) {
		for _, r := range rooms {
			for _, m := range r.Messages() {
				if strings.HasPrefix(m.Sender, "@gatepost_") {
					events[[2]string{m.Sender, m.Content.Body}] = true
				}
			}
		}
	})
	return len(events)
}

// connect runs an MQTT client until the test ends.
func (w *world) connect(cfg device.Config) *device.Client {
	w.t.Helper()
	c, err := device.New(cfg)
	w.ok(err)
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(w.ctx)
	go func() {
		defer close(done)
		_ = c.Run(ctx) // a refusal shows: nothing is acknowledged then
	}()
	w.t.Cleanup(func() { cancel(); <-done })
	return c
}

// roomOf waits until alice is in the room with that alias, and returns its id.
func (w *world) roomOf(alias string) string {
	w.t.Helper()
	id := ""
	w.ok(w.alice.Await(w.ctx, "room "+alias, func(rooms map[string]*harness.Room) bool {
		for _, r := range rooms {
			if r.Alias == alias && r.Joined {
				id = r.ID
			}
		}
		return id != ""
	}))
	return id
}
