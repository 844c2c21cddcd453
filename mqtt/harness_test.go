package mqtt

import (
	"context"
	"net/url"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatepost/gatepost/mqtt/topic"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// waitTime is how long a test waits for what should come soon; quietTime is how long it waits for what should not come.
const (
	waitTime  = 10 * time.Second
	quietTime = 150 * time.Millisecond
)

// delivery is a message that has reached Deliver and waits for its done.
type delivery struct {
	topic.Message
	done func(error)
}

// harness is a client that runs, and what it tells.
type harness struct {
	*Client
	t    *testing.T
	got  chan delivery
	stop func()

	mu     sync.Mutex
	states []State
}

// run starts a client with what cfg says; Deliver and OnState are the harness's own. It is stopped at the end of the test
// at the latest, which must take less than two seconds.
func run(t *testing.T, cfg Config) *harness {
	t.Helper()
	h := &harness{t: t, got: make(chan delivery, 10_000)}
	if cfg.ClientID == "" {
		cfg.ClientID = "gatepost-test"
	}
	cfg.Deliver = func(m topic.Message, done func(error)) { h.got <- delivery{m, done} }
	cfg.OnState = func(s State) {
		h.mu.Lock()
		h.states = append(h.states, s)
		h.mu.Unlock()
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	h.Client = c
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	var once sync.Once
	h.stop = func() {
		once.Do(func() {
			cancel()
			select {
			case err := <-ended:
				if err != nil {
					t.Errorf("Run: %v", err)
				}
			case <-time.After(2 * time.Second):
				t.Error("Run has not stopped after two seconds")
				<-ended
			}
		})
	}
	t.Cleanup(h.stop)
	return h
}

// next waits for a message.
func (h *harness) next() delivery {
	h.t.Helper()
	select {
	case d := <-h.got:
		return d
	case <-time.After(waitTime):
		h.t.Fatalf("no message came; states: %v", h.history())
		panic("unreachable")
	}
}

// expect waits for a message, which must be this one.
func (h *harness) expect(name, payload string) delivery {
	h.t.Helper()
	d := h.next()
	if d.Topic != name || string(d.Payload) != payload {
		h.t.Fatalf("got %.40q on %q, want %.40q on %q", d.Payload, d.Topic, payload, name)
	}
	return d
}

// quiet fails when a message comes.
func (h *harness) quiet() {
	h.t.Helper()
	select {
	case d := <-h.got:
		h.t.Fatalf("got %.40q on %q, want nothing", d.Payload, d.Topic)
	case <-time.After(quietTime):
	}
}

func (h *harness) history() []State {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]State(nil), h.states...)
}

// last is the state now.
func (h *harness) last() State {
	s := h.history()
	if len(s) == 0 {
		return State{}
	}
	return s[len(s)-1]
}

// connected waits until the client has been connected n times.
func (h *harness) connected(n int) {
	h.t.Helper()
	eventually(h.t, "connections", func() bool {
		have, was := 0, false
		for _, s := range h.history() {
			if s.Connected && !was {
				have++
			}
			was = s.Connected
		}
		return have >= n && was
	})
}

// eventually polls until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(waitTime)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("still waiting for: %s", what)
		}
	}
}

func filters(t *testing.T, names ...string) (out []topic.Filter) {
	t.Helper()
	for _, s := range names {
		f, err := topic.ParseFilter(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, f)
	}
	return out
}

// at is u with another host.
func at(t *testing.T, u, host string) string {
	t.Helper()
	parsed, err := url.Parse(u)
	if err != nil {
		t.Fatal(err)
	}
	parsed.Host = host
	return parsed.String()
}
