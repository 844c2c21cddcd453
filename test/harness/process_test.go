package harness

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"))
}

func shell(t *testing.T, script string) *Process {
	t.Helper()
	p, err := newProcess("script", "/bin/sh", t.TempDir(), nil, "-c", script)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAProcessAndItsEnd(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	p := shell(t, "echo up; echo down >&2; exit 7")
	if err := p.awaitLine(ctx, 0, "down"); err != nil {
		t.Fatal(err)
	}
	if code, err := p.Wait(ctx); err != nil || code != 7 {
		t.Errorf("ended with %d, %v", code, err)
	}
	if p.Running() || p.PID() != 0 {
		t.Error("still there")
	}
	n := p.Log().Len()
	if err := p.start(); err != nil {
		t.Fatalf("a second time: %v", err)
	}
	err := p.awaitLine(ctx, n, "never said")
	if err == nil || !strings.Contains(err.Error(), "ended instead") || !strings.Contains(err.Error(), "up\ndown") {
		t.Errorf("waiting for what never comes: %v", err)
	}
	file, err := os.ReadFile(p.Log().Path())
	if err != nil || string(file) != "up\ndown\nup\ndown\n" {
		t.Errorf("the file holds %q, %v", file, err)
	}
}

func TestStopIsPatientOnce(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	p := shell(t, "trap 'exit 3' TERM; echo up; while :; do sleep 0.01; done")
	if err := p.awaitLine(ctx, 0, "up"); err != nil {
		t.Fatal(err)
	}
	if err := p.start(); err == nil {
		t.Error("started twice")
	}
	if code, err := p.Stop(5 * time.Second); err != nil || code != 3 {
		t.Errorf("ended with %d, %v", code, err)
	}
	p = shell(t, "trap '' TERM; echo up; while :; do sleep 0.01; done")
	if err := p.awaitLine(ctx, 0, "up"); err != nil {
		t.Fatal(err)
	}
	if code, err := p.Stop(50 * time.Millisecond); !errors.Is(err, errSlow) || code != -1 || p.Running() {
		t.Errorf("ended with %d, %v", code, err)
	}
}

func TestAProgramThatIsNotThere(t *testing.T) {
	if _, err := newProcess("gatepost", "no/such/file", t.TempDir(), nil); err == nil || !strings.Contains(err.Error(), "make build") {
		t.Errorf("%v", err)
	}
}

func TestLinesInPieces(t *testing.T) {
	p := shell(t, "printf 'one\\ntw'; printf 'o\\nthr'")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := p.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(p.Log().Since(0), "|"); got != "one|two" || p.Log().Tail(1) != "two" {
		t.Errorf("lines %q", got)
	}
}

func TestFreePorts(t *testing.T) {
	ports, err := FreePorts(20)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for _, p := range ports {
		if p == 0 || seen[p] {
			t.Errorf("ports %v", ports)
		}
		seen[p] = true
	}
}
