package matrix

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testRoom  = ids.RoomID("!room:example.org")
	testGhost = ids.UserID("@gatepost_porch:example.org")
	testBot   = ids.UserID("@gatepost:example.org")
)

// homeserver is a small homeserver in memory, so that tests may run in synctest bubbles. Patterns are those of
// http.ServeMux; on replaces what a pattern does.
type homeserver struct {
	t        testing.TB
	mu       sync.Mutex
	handlers map[string]http.HandlerFunc
	away     bool // refuses connections
	asked    []string
	watch    func(*http.Request) // called with each request, under mu; nil: nobody looks
	conns    chan net.Conn
	closed   chan struct{}
}

const (
	onVersions  = "GET /_matrix/client/versions"
	onWhoami    = "GET /_matrix/client/v3/account/whoami"
	onRegister  = "POST /_matrix/client/v3/register"
	onPing      = "POST /_matrix/client/v1/appservice/{id}/ping"
	onDevice    = "PUT /_matrix/client/v3/devices/{device}"
	onCaps      = "GET /_matrix/client/v3/capabilities"
	onMedia     = "GET /_matrix/client/v1/media/config"
	onLogin     = "POST /_matrix/client/v3/login"
	onSend      = "PUT /_matrix/client/v3/rooms/{room}/send/{type}/{txn}"
	onRedact    = "PUT /_matrix/client/v3/rooms/{room}/redact/{event}/{txn}"
	onUpload    = "POST /_matrix/media/v3/upload"
	onSync      = "GET /_matrix/client/v3/sync"
	onMessages  = "GET /_matrix/client/v3/rooms/{room}/messages"
	onEvent     = "GET /_matrix/client/v3/rooms/{room}/event/{event}"
	onState     = "GET /_matrix/client/v3/rooms/{room}/state"
	onMember    = "GET /_matrix/client/v3/rooms/{room}/state/m.room.member/{user}"
	onInvite    = "POST /_matrix/client/v3/rooms/{room}/invite"
	onCreate    = "POST /_matrix/client/v3/createRoom"
	onDirectory = "GET /_matrix/client/v3/directory/room/{alias}"
	onName      = "GET /_matrix/client/v3/profile/{user}/displayname"
	onSetName   = "PUT /_matrix/client/v3/profile/{user}/displayname"
)

// newHomeserver starts a homeserver like Synapse: it has pings and devices, and makes rooms of version 12.
func newHomeserver(t testing.TB) *homeserver {
	h := &homeserver{t: t, handlers: map[string]http.HandlerFunc{}, conns: make(chan net.Conn), closed: make(chan struct{})}
	h.on(onVersions, says(200, `{"versions":["v1.2","v1.11"],"unstable_features":{"org.matrix.msc4140":true}}`))
	h.on(onWhoami, func(w http.ResponseWriter, r *http.Request) {
		user := r.URL.Query().Get("user_id")
		if user == "" {
			user = "@gatepost-as:example.org"
		}
		says(200, fmt.Sprintf(`{"user_id":%q,"device_id":%q}`, user, r.URL.Query().Get("device_id")))(w, r)
	})
	h.on(onRegister, says(400, `{"errcode":"M_USER_IN_USE","error":"taken"}`))
	h.on(onCaps, says(200, `{"capabilities":{"m.room_versions":{"default":"12","available":{"12":"stable"}}}}`))
	h.on(onMedia, says(200, `{"m.upload.size":1000}`))
	h.on(onDevice, says(201, `{}`))
	h.on(onPing, says(200, `{"duration_ms":3}`))
	srv := &http.Server{Handler: h}
	served := make(chan struct{})
	go func() { defer close(served); _ = srv.Serve(h) }()
	t.Cleanup(func() { _ = srv.Close(); <-served })
	return h
}

func (h *homeserver) on(pattern string, f http.HandlerFunc) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.handlers[pattern] = f
}

func (h *homeserver) setAway(away bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.away = away
}

func (h *homeserver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	mux := http.NewServeMux()
	h.mu.Lock()
	h.asked = append(h.asked, r.Method+" "+r.URL.Path)
	if h.watch != nil {
		h.watch(r)
	}
	for pattern, f := range h.handlers {
		mux.HandleFunc(pattern, f)
	}
	h.mu.Unlock()
	mux.HandleFunc("/", says(404, `{"errcode":"M_UNRECOGNIZED","error":"Unrecognized request"}`))
	mux.ServeHTTP(w, r)
}

// count says how often a method and path were asked for.
func (h *homeserver) count(request string) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range h.asked {
		if a == request {
			n++
		}
	}
	return n
}

func (h *homeserver) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	h.mu.Lock()
	away := h.away
	h.mu.Unlock()
	if away {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: io.EOF}
	}
	ours, theirs := net.Pipe()
	select {
	case h.conns <- theirs:
		return ours, nil
	case <-h.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept, Close and Addr make the homeserver a net.Listener.
func (h *homeserver) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

func (h *homeserver) Close() error   { close(h.closed); return nil }
func (h *homeserver) Addr() net.Addr { return &net.TCPAddr{} }

// says answers a status and a body.
func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// hangsUp reads the request and closes the connection.
func hangsUp(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	panic(http.ErrAbortHandler)
}

// waits answers nothing until the client gives up.
func waits(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// inbox is an Inbox in memory that drops repeated ids, like the store.
type inbox struct {
	mu        sync.Mutex
	fail      error
	positions map[string]string
	events    []room.Event
	accepts   int
}

func (b *inbox) Accept(source, position string, events []room.Event) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		return 0, b.fail
	}
	b.accepts++
	if b.positions == nil {
		b.positions = map[string]string{}
	}
	b.positions[source] = position
	fresh := 0
next:
	for _, e := range events {
		for _, have := range b.events {
			if have.ID == e.ID {
				continue next
			}
		}
		b.events = append(b.events, e)
		fresh++
	}
	return fresh, nil
}

func (b *inbox) Position(source string) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.positions[source], b.fail
}

func (b *inbox) ids() (out []ids.EventID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.events {
		out = append(out, e.ID)
	}
	return out
}

func (b *inbox) all() []room.Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.events)
}

func (b *inbox) commits() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.accepts
}

func (b *inbox) setFail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fail = err
}

type secrets map[string]string

func (s secrets) Get(name string) (string, error) { return s[name], nil }
func (s secrets) Put(name, value string) error    { s[name] = value; return nil }

// newClient makes an appservice client of h, changed by edit.
func newClient(t testing.TB, h *homeserver, edit func(*Config)) *Client {
	t.Helper()
	cfg := Config{
		Homeserver: "http://homeserver", ServerName: "example.org", Mode: Appservice, Bot: "gatepost", ID: "gatepost",
		ASToken: "as-secret", HSToken: "hs-secret", Inbox: &inbox{}, Dial: h.dial,
	}
	if edit != nil {
		edit(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.watch.close)
	return c
}

// probed is newClient after a Probe.
func probed(t testing.TB, h *homeserver, edit func(*Config)) *Client {
	t.Helper()
	c := newClient(t, h, edit)
	if err := c.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// start runs c until the test ends or stop is called.
func start(t testing.TB, c *Client) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("Run did not end")
		}
	})
	t.Cleanup(stop)
	return stop
}

// message is an event in the client format.
func message(id, sender, body string) string {
	return fmt.Sprintf(`{"type":"m.room.message","event_id":%q,"room_id":%q,"sender":%q,"origin_server_ts":1795000000000,"content":{"msgtype":"m.text","body":%q}}`, id, testRoom, sender, body)
}

func decode(t testing.TB, raw []byte) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	return v
}
