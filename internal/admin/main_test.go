package admin

import (
	"context"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs a server until the test ends and checks that it stops well. Verbs are added by prepare, which may be nil.
func start(t *testing.T, cfg Config, prepare func(*Server)) *Server {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if prepare != nil {
		prepare(s)
	}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(2 * drainTime):
			t.Error("Run did not return")
		}
	})
	return s
}

// socketPath is short enough for a socket wherever tests run.
func socketPath(t *testing.T) string {
	t.Helper()
	return filepath.Join(shortDir(t), "g.sock")
}

// client is an HTTP client that keeps no connections, so that goleak sees none.
func client() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
}
