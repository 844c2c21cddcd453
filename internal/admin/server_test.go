package admin

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gatepost/gatepost/internal/metrics"
)

func TestNewRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"no port", Config{Listen: "127.0.0.1"}, "missing port"},
		{"a name", Config{Listen: "example.org:80", Token: "x"}, "must be an IP address"},
		{"everywhere without token", Config{Listen: ":8090"}, "needs a token"},
		{"any v6 without token", Config{Listen: "[::]:8090"}, "needs a token"},
		{"lan without token", Config{Listen: "192.0.2.1:8090"}, "needs a token"},
		{"long socket", Config{Socket: "/" + strings.Repeat("x", 120)}, "choose a shorter one"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := New(c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
		})
	}
	for _, ok := range []Config{
		{}, {Listen: "127.0.0.1:0"}, {Listen: "[::1]:0"}, {Listen: "localhost:0"}, {Listen: "[::ffff:127.0.0.1]:0"}, {Listen: ":8090", Token: "x"},
	} {
		if _, err := New(ok); err != nil {
			t.Errorf("%+v: %v", ok, err)
		}
	}
}

func TestHealth(t *testing.T) {
	answers := map[string]func() (bool, []string){
		"ok":   func() (bool, []string) { return true, nil },
		"away": func() (bool, []string) { return false, []string{"the homeserver does not answer", "the store is full"} },
	}
	for _, c := range []struct {
		live, ready string
		path        string
		code        int
		body        string
	}{
		{"ok", "ok", "/healthz", 200, `{"ok":true}`},
		{"ok", "away", "/healthz", 200, `{"ok":true}`},
		{"away", "ok", "/healthz", 503, `{"ok":false,"why":["the homeserver does not answer","the store is full"]}`},
		{"ok", "away", "/readyz", 503, `{"ok":false,"why":["the homeserver does not answer","the store is full"]}`},
		{"", "", "/readyz", 200, `{"ok":true}`},
	} {
		s := start(t, Config{Listen: "127.0.0.1:0", Live: answers[c.live], Ready: answers[c.ready]}, nil)
		code, typ, body := get(t, "http://"+s.Addr().String()+c.path, "")
		if code != c.code || strings.TrimSpace(body) != c.body || typ != "application/json" {
			t.Errorf("%+v: got %d %s %s", c, code, typ, body)
		}
	}
}

func TestMetricsNeedToken(t *testing.T) {
	reg := metrics.New()
	reg.Counter("gatepost_test_total", "for the test").Inc()
	for _, c := range []struct {
		name, token, auth string
		code              int
	}{
		{"right", "s3cret", "Bearer s3cret", 200},
		{"missing", "s3cret", "", 401},
		{"wrong", "s3cret", "Bearer s3creT", 401},
		{"bare", "s3cret", "s3cret", 401},
		{"none configured", "", "Bearer ", 403},
		{"none configured, none given", "", "", 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, Config{Listen: "127.0.0.1:0", Token: c.token, Metrics: reg.Handler()}, nil)
			code, _, body := get(t, "http://"+s.Addr().String()+"/metrics", c.auth)
			if code != c.code || strings.Contains(body, "gatepost_test_total 1") != (c.code == 200) {
				t.Fatalf("got %d %.100s", code, body)
			}
		})
	}
}

func TestVerbsAreOnTheSocketOnly(t *testing.T) {
	s := start(t, Config{Listen: "127.0.0.1:0", Socket: socketPath(t), Token: "x"}, func(s *Server) {
		s.Handle("ping", echo)
	})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.Addr().String()+"/v1/ping", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer x")
	res, err := client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusNotFound {
		t.Fatalf("the TCP address answers verbs: %d", res.StatusCode)
	}
}

func TestAddressTaken(t *testing.T) {
	first := start(t, Config{Listen: "127.0.0.1:0"}, nil)
	second, err := New(Config{Listen: first.Addr().String(), Socket: socketPath(t)})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Listen(); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Fatalf("got %v", err)
	}
}

func get(t *testing.T, url, auth string) (code int, contentType, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if auth != "" {
		req.Header.Set("Authorization", auth)
	}
	res, err := client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header.Get("Content-Type"), string(text)
}
