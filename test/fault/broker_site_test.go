//go:build fault

package fault

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
)

// site is a gatepost that is an MQTT broker and nothing else. Its folder stays when the test fails.
type site struct {
	*harness.Gatepost
	t    *testing.T
	ctx  context.Context
	addr string // host:port
}

// newSite starts one, with more of the section mqtt if keys is not empty ("anonymous: true, max_payload: 1MiB"). limit is
// how long the test may take in all; under the race detector four times that.
func newSite(t *testing.T, limit time.Duration, keys string) *site {
	t.Helper()
	s := planSite(t, limit, folder(t), keys)
	s.start()
	return s
}

// planSite prepares one in dir without starting it.
func planSite(t *testing.T, limit time.Duration, dir, keys string) *site {
	t.Helper()
	if race() {
		limit *= 4
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	s := &site{t: t, ctx: ctx}
	ports, err := harness.FreePorts(2)
	s.ok(err)
	s.addr = fmt.Sprintf("127.0.0.1:%d", ports[0])
	admin := fmt.Sprintf("127.0.0.1:%d", ports[1])
	s.Gatepost, err = harness.NewGatepost(filepath.Join(bin(), "gatepost"), dir, harness.Settings{Admin: admin})
	s.ok(err)
	if keys != "" {
		keys = ", " + keys
	}
	s.ok(s.Configure(fmt.Sprintf("mqtt: {listen: [\"mqtt://%s\"]%s}\nstore: {path: data}\nadmin: {listen: %q, socket: data/gatepost.sock}\n", s.addr, keys, admin)))
	t.Cleanup(s.end)
	return s
}

// race says that gatepost is built with the race detector: it is slower and larger then, and only what it does counts.
func race() bool { return os.Getenv("FAULT_RACE") != "" }

func (s *site) ok(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) start() { s.t.Helper(); s.ok(s.Start(s.ctx)) }

// restart is a SIGKILL and a start.
func (s *site) restart() { s.t.Helper(); s.Kill(); s.start() }

// end stops it and looks at what it has written: it must not have died by itself, nor raced.
func (s *site) end() {
	s.t.Helper()
	for _, line := range s.Log().Since(0) {
		if strings.Contains(line, "DATA RACE") || strings.HasPrefix(line, "panic:") || strings.HasPrefix(line, "fatal error:") {
			s.t.Errorf("gatepost: %s, see %s", line, s.Log().Path())
			break
		}
	}
	s.Kill()
}

// poll asks cond until it is true, until the test's time is over.
func (s *site) poll(what string, cond func() bool) {
	s.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			s.t.Fatalf("waited in vain for %s; the end of its log:\n%s", what, s.Log().Tail(10))
		}
	}
}

// pause waits; it returns at once when the test's time is over.
func (s *site) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-s.ctx.Done():
	}
}

// metric is the sum of all values of a metric, or the value of one with its labels; 0 when there is none.
func (s *site) metric(name string) int {
	s.t.Helper()
	page, err := s.Metrics(s.ctx)
	s.ok(err)
	sum := 0.0
	for line := range strings.Lines(page) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if key == name || strings.HasPrefix(key, name+"{") {
			v, err := strconv.ParseFloat(value, 64)
			s.ok(err)
			sum += v
		}
	}
	return int(sum)
}

// memory is what gatepost holds for itself now (RssAnon), in kB.
func (s *site) memory() int {
	s.t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", s.PID()))
	s.ok(err)
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, found := strings.CutPrefix(lines.Text(), "RssAnon:"); found {
			n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			s.ok(err)
			return n
		}
	}
	s.t.Fatal("no RssAnon")
	return 0
}

// settled is the least memory that gatepost gets down to within a time: what it freed goes back to the system bit by bit.
func (s *site) settled(within time.Duration) int {
	s.t.Helper()
	least := s.memory()
	for end := time.Now().Add(within); time.Now().Before(end); {
		s.pause(time.Second)
		least = min(least, s.memory())
	}
	return least
}

// dial logs a raw client in.
func (s *site) dial(l device.Login) *device.Raw {
	s.t.Helper()
	l.Addr = s.addr
	r, err := device.Dial(l)
	if err != nil {
		s.t.Fatalf("client %s: %v; the end of gatepost's log:\n%s", l.ClientID, err, s.Log().Tail(10))
	}
	s.t.Cleanup(func() { _ = r.Close() }) // it may be closed already
	return r
}

// session makes a persistent session that subscribes to the filters with QoS qos and is away.
func (s *site) session(id string, qos byte, filters ...string) {
	s.t.Helper()
	r := s.dial(device.Login{ClientID: id})
	codes, err := r.Subscribe(1, qos, filters...)
	s.ok(err)
	for _, code := range codes {
		if code > 2 {
			s.t.Fatalf("%s may not subscribe to %q: %#x", id, filters, code)
		}
	}
	s.ok(r.Leave())
}

// connect runs a client that never forgets what was not acknowledged, until the test ends or stop is called.
func (s *site) connect(cfg device.Config) (c *device.Client, stop func()) {
	s.t.Helper()
	cfg.Addr = s.addr
	c, err := device.New(cfg)
	s.ok(err)
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(s.ctx)
	go func() {
		defer close(done)
		_ = c.Run(ctx) // a refusal shows: nothing is acknowledged then
	}()
	stop = func() { cancel(); <-done }
	s.t.Cleanup(stop)
	return c, stop
}
