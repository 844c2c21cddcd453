package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost/gatepost/internal/config"
)

// quiet is a process that tells nobody anything.
func quiet(t *testing.T) process {
	log := slog.New(slog.DiscardHandler)
	t.Setenv("NOTIFY_SOCKET", "")
	return process{Log: log, Notify: newNotifier(log)}
}

func TestSignals(t *testing.T) {
	failed := errors.New("the store failed")
	over := make(chan struct{})
	defer close(over)
	for _, c := range []struct {
		name    string
		signals []os.Signal
		gateway func(context.Context, process) error
		code    int
	}{
		{"ends by itself", nil, func(context.Context, process) error { return nil }, exitDone},
		{"fails by itself", nil, func(context.Context, process) error { return failed }, exitFailed},
		{"stops well", []os.Signal{syscall.SIGTERM}, func(ctx context.Context, _ process) error {
			<-ctx.Done()
			return nil
		}, exitDone},
		{"stops, and something fails", []os.Signal{os.Interrupt}, func(ctx context.Context, _ process) error {
			<-ctx.Done()
			return failed
		}, exitFailed},
		{"is cut short", []os.Signal{os.Interrupt, os.Interrupt}, func(_ context.Context, p process) error {
			<-p.Cut.Done()
			return failed
		}, exitInterrupted},
		{"hangs", []os.Signal{os.Interrupt, syscall.SIGTERM, os.Interrupt}, func(context.Context, process) error {
			<-over
			return nil
		}, exitInterrupted},
	} {
		t.Run(c.name, func(t *testing.T) {
			signals := make(chan os.Signal, len(c.signals))
			for _, s := range c.signals {
				signals <- s
			}
			if got := codeOf(supervise(quiet(t), signals, c.gateway)); got != c.code {
				t.Errorf("exit code %d, want %d", got, c.code)
			}
		})
	}
}

func TestReloadSignalReachesTheGateway(t *testing.T) {
	signals := make(chan os.Signal, 1)
	signals <- syscall.SIGHUP
	err := supervise(quiet(t), signals, func(ctx context.Context, p process) error {
		select {
		case <-p.Reload:
			return nil
		case <-ctx.Done():
			return errors.New("SIGHUP stopped it")
		case <-time.After(5 * time.Second):
			return errors.New("no reload")
		}
	})
	if err != nil {
		t.Error(err)
	}
}

func TestLogFormatAndLevel(t *testing.T) {
	for format, want := range map[string]string{
		"text": `level=WARN msg="it rains"`,
		"json": `"level":"WARN","msg":"it rains"`,
	} {
		var out bytes.Buffer
		log, level := newLog(&out, config.Log{Level: slog.LevelWarn, Format: format})
		log.Info("the sun shines")
		log.Warn("it rains")
		if got := out.String(); !strings.Contains(got, want) || strings.Contains(got, "sun") {
			t.Errorf("%s: %s", format, got)
		}
		level.Set(slog.LevelDebug)
		if log.Debug("a cloud"); !strings.Contains(out.String(), "a cloud") {
			t.Errorf("%s: the level cannot be changed", format)
		}
	}
}

func TestSystemdIsTold(t *testing.T) {
	dir, err := os.MkdirTemp("", "gp")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	t.Setenv("NOTIFY_SOCKET", path)
	n := newNotifier(slog.New(slog.DiscardHandler))
	for _, c := range []struct {
		tell func()
		want string
	}{
		{n.Ready, "READY=1"},
		{n.Reloading, "RELOADING=1\nMONOTONIC_USEC="},
		{n.Stopping, "STOPPING=1"},
		{func() { n.Status("two\nlines") }, "STATUS=two lines"},
	} {
		c.tell()
		buf := make([]byte, 512)
		if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		got, err := conn.Read(buf)
		if err != nil || !strings.HasPrefix(string(buf[:got]), c.want) {
			t.Errorf("got %q, %v, want %q", buf[:got], err, c.want)
		}
	}
}

func TestWatchdogIsFedOnlyWhileAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fed atomic.Int32
		var hangs atomic.Bool
		n := &notifier{watchdog: 30 * time.Second, log: slog.New(slog.DiscardHandler), send: func(state string) (bool, error) {
			if state == "WATCHDOG=1" {
				fed.Add(1)
			}
			return true, nil
		}}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go n.Watch(ctx, func() (bool, []string) { return !hangs.Load(), []string{"sender"} })
		for _, step := range []struct {
			hang  bool
			sleep time.Duration
			want  int32
		}{{false, 0, 1}, {false, 25 * time.Second, 3}, {true, 60 * time.Second, 3}, {false, 10 * time.Second, 4}} {
			hangs.Store(step.hang)
			time.Sleep(step.sleep)
			synctest.Wait()
			if got := fed.Load(); got != step.want {
				t.Fatalf("after %v more: fed %d times, want %d", step.sleep, got, step.want)
			}
		}
	})
}
