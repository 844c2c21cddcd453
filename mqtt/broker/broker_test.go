package broker

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatepost/gatepost/mqtt/topic"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is a broker that runs, and what it delivered.
type fixture struct {
	*Broker
	addr net.Addr // of the first listener
	stop func()   // and wait; done at the end of the test too

	mu   sync.Mutex
	got  []topic.Message
	fail error // what deliver answers instead of taking a message
	more chan struct{}
}

// start runs a broker on a free port. Topics that begin with "want/" are wanted.
func start(t testing.TB, change func(*Config)) *fixture {
	t.Helper()
	f := &fixture{more: make(chan struct{}, 1)}
	cfg := Config{
		Listeners: []string{"mqtt://127.0.0.1:0"},
		Deliver:   f.deliver,
		Store:     newMemory(),
		Wants:     func(name string) bool { return strings.HasPrefix(name, "want/") },
	}
	if change != nil {
		change(&cfg)
	}
	b, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Listen(); err != nil {
		t.Fatal(err)
	}
	f.Broker, f.addr = b, b.Addrs()[0]
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	f.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			t.Error("Run did not return")
		}
	})
	t.Cleanup(f.stop)
	eventually(t, "the broker runs", b.running.Load)
	return f
}

func (f *fixture) deliver(_ context.Context, m topic.Message) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return f.fail
	}
	f.got = append(f.got, m)
	select {
	case f.more <- struct{}{}:
	default:
	}
	return nil
}

func (f *fixture) delivered() []topic.Message {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]topic.Message{}, f.got...)
}

func (f *fixture) setFail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = err
}

// await waits until n messages were delivered.
func (f *fixture) await(t testing.TB, n int) []topic.Message {
	t.Helper()
	deadline := time.After(patience)
	for {
		if got := f.delivered(); len(got) >= n {
			return got
		}
		select {
		case <-f.more:
		case <-deadline:
			t.Fatalf("%d messages delivered, want %d", len(f.delivered()), n)
		}
	}
}

// eventually polls; for what no event tells.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not seen: %s", what)
		}
	}
}

func permissions(t testing.TB, list ...string) []Permission {
	t.Helper()
	var all []Permission
	for _, s := range list {
		p, err := ParsePermission(s)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

func TestNewNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	deliver := func(context.Context, topic.Message) error { return nil }
	for _, tc := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"nothing", Config{}, "deliver: it is needed"},
		{"no listener", Config{Deliver: deliver}, "at least one"},
		{"scheme", Config{Listeners: []string{"tcp://127.0.0.1:1"}}, "mqtt://, mqtts://"},
		{"port", Config{Listeners: []string{"mqtt://127.0.0.1:99999"}}, "port"},
		{"path", Config{Listeners: []string{"mqtt://127.0.0.1/x"}}, "only ws and wss"},
		{"user", Config{Listeners: []string{"mqtt://u:p@127.0.0.1"}}, "mqtt.accounts"},
		{"open", Config{Deliver: deliver, Store: newMemory(), Listeners: []string{"mqtt://0.0.0.0:0"}}, "beyond loopback"},
		{"all addresses", Config{Deliver: deliver, Store: newMemory(), Listeners: []string{"mqtt://:0"}}, "beyond loopback"},
		{"a name", Config{Deliver: deliver, Store: newMemory(), Listeners: []string{"mqtt://broker.example:0"}}, "beyond loopback"},
		{"certificate", Config{Deliver: deliver, Listeners: []string{"mqtts://127.0.0.1:0"}}, "cert_file"},
		{"no file", Config{Listeners: []string{"wss://127.0.0.1:0"}, CertFile: "/nowhere/c", KeyFile: "/nowhere/k"}, "/nowhere/c"},
		{"payload", Config{MaxPayload: 1 << 30}, "max payload"},
		{"limit", Config{Limits: Limits{Subscriptions: -1}}, "subscriptions"},
		{"queue", Config{Queue: Queue{Capacity: Capacity{Bytes: -1}}}, "queue"},
		{"store", Config{Deliver: deliver}, "store: it is needed"},
		{"user name", Config{Accounts: []Account{{User: "", Password: "x"}}}, "without NUL"},
		{"password", Config{Accounts: []Account{{User: "u"}}}, "no password"},
		{"twice", Config{Accounts: []Account{{User: "u", Password: "p"}, {User: "u", Password: "q"}}}, "twice"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := New(tc.cfg)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
	for _, cfg := range []Config{
		{Listeners: []string{"mqtt://0.0.0.0:0"}, Anonymous: true},
		{Listeners: []string{"mqtt://0.0.0.0:0"}, Accounts: []Account{{User: "u", Password: "p"}}},
		{Listeners: []string{"mqtt://localhost", "mqtt://[::1]", "ws://127.9.9.9/mqtt"}},
	} {
		cfg.Deliver, cfg.Store = deliver, newMemory()
		if _, err := New(cfg); err != nil {
			t.Errorf("New(%+v): %v", cfg, err)
		}
	}
}

func TestListenTakesAllOrNone(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	free.Close()
	b, err := New(Config{
		Store:     newMemory(),
		Listeners: []string{"mqtt://" + addr, "mqtt://" + taken.Addr().String()},
		Deliver:   func(context.Context, topic.Message) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	err = b.Listen()
	want := taken.Addr().String() + " is already in use by another program: stop it or change mqtt.listen"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
	again, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatalf("the first port is still taken: %v", err)
	}
	again.Close()
}

func TestPublishBeforeRunIsCertainlyNotSent(t *testing.T) {
	t.Parallel()
	b, err := New(Config{Listeners: []string{"mqtt://127.0.0.1:0"}, Store: newMemory(), Deliver: func(context.Context, topic.Message) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	err = b.Publish(t.Context(), "a", nil, 0, false)
	certain := interface{ NotSent() bool }(nil)
	if !errors.Is(err, ErrNotRunning) || !errors.As(err, &certain) || !certain.NotSent() {
		t.Errorf("error %v, want ErrNotRunning that says NotSent", err)
	}
}

func TestPublish(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	c := connect(t, f.addr, login{id: "dev", clean: true})
	c.subscribe(t, 1, 1, "want/cmd/#")
	for _, tc := range []struct {
		name    string
		topic   string
		payload []byte
		qos     byte
	}{
		{"empty topic", "", nil, 0},
		{"wildcard", "a/#", nil, 0},
		{"nul", "a\x00", nil, 0},
		{"qos", "a", nil, 3},
		{"size", "a", make([]byte, defaultMaxPayload+1), 0},
	} {
		if err := f.Publish(t.Context(), tc.topic, tc.payload, tc.qos, false); err == nil {
			t.Errorf("%s: no error", tc.name)
		}
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Publish(done, "want/cmd/x", nil, 0, false); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want canceled", err)
	}
	payload := []byte("ON")
	if err := f.Publish(t.Context(), "want/cmd/x", payload, 1, true); err != nil {
		t.Fatal(err)
	}
	payload[0] = 'X'
	p := c.want(t, kindPublish)
	if p.topic() != "want/cmd/x" || p.payload() != "ON" || p.qos() != 1 {
		t.Errorf("device got %q %q QoS %d", p.topic(), p.payload(), p.qos())
	}
	c.ack(t, 0x40, p.id())
	c.quiet(t)
	late := connect(t, f.addr, login{id: "late", clean: true, level: 5})
	late.subscribe(t, 1, 0, "want/cmd/#")
	if p := late.want(t, kindPublish); p.payload() != "ON" || p.flags&1 == 0 {
		t.Errorf("retained: got %q, flags %x", p.payload(), p.flags)
	}
	if got := f.delivered(); len(got) != 0 {
		t.Errorf("what we published came back: %v", got)
	}
}

func TestStopWhileDeliverBlocks(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{})
	f := start(t, func(cfg *Config) {
		cfg.Deliver = func(ctx context.Context, _ topic.Message) error {
			close(entered)
			<-ctx.Done()
			return ctx.Err()
		}
	})
	c := connect(t, f.addr, login{id: "dev", clean: true, will: "want/will"})
	silent := dial(t, f.addr)
	c.send(t, c.publish(publish{topic: "want/x", qos: 1, id: 1}))
	<-entered
	began := time.Now()
	f.stop()
	if d := time.Since(began); d > 3*time.Second {
		t.Errorf("stopping took %v, want less than 3 s", d)
	}
	c.wantClosed(t)
	silent.wantClosed(t)
	if got := f.delivered(); len(got) != 0 {
		t.Errorf("delivered while stopping: %v", got)
	}
	if err := f.Publish(t.Context(), "a", nil, 0, false); !errors.Is(err, ErrNotRunning) {
		t.Errorf("Publish after the end: %v", err)
	}
}

func TestStopTellsClientsOfMQTT5(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	c := connect(t, f.addr, login{id: "dev", level: 5, clean: true})
	f.stop()
	if p := c.want(t, kindDisconnect); p.body[0] != 0x8B {
		t.Errorf("DISCONNECT reason %x, want 8b (server shutting down)", p.body[0])
	}
	c.wantClosed(t)
}

func TestClients(t *testing.T) {
	t.Parallel()
	f := start(t, func(cfg *Config) {
		cfg.Accounts = []Account{{User: "a", Password: "p"}, {User: "b", Password: "p"}}
	})
	connect(t, f.addr, login{id: "two", user: "a", password: "p", clean: true})
	c := connect(t, f.addr, login{id: "one", user: "b", password: "p", clean: true})
	connect(t, f.addr, login{id: "one", user: "a", password: "p", clean: true})
	list := func() string {
		var s []string
		for _, c := range f.Clients() {
			if c.Since.IsZero() || !strings.HasPrefix(c.Address, "127.0.0.1:") {
				t.Errorf("client %+v", c)
			}
			s = append(s, c.Account+"/"+c.ID)
		}
		return strings.Join(s, " ")
	}
	eventually(t, "three clients", func() bool { return list() == "a/one a/two b/one" })
	c.Close()
	eventually(t, "two clients", func() bool { return list() == "a/one a/two" })
}
