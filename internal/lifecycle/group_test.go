package lifecycle

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// diary notes what happens, in order.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) note(s string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, s)
}

func (d *diary) read() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.lines, " ")
}

// part notes start, run, end and close of itself, and takes slow to end.
func (d *diary) part(name string, slow time.Duration) Part {
	return Part{
		Name:  name,
		Start: func(context.Context) error { d.note("+" + name); return nil },
		Run: func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(slow)
			d.note("-" + name)
			return nil
		},
		Close: func() error { d.note("x" + name); return nil },
	}
}

func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		var g Group
		for _, name := range []string{"a", "b", "c"} {
			g.Add(d.part(name, time.Second))
		}
		stop, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- g.Run(stop, context.Background()) }()
		time.Sleep(time.Hour)
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if got, want := d.read(), "+a +b +c -c xc -b xb -a xa"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

func TestFirstErrorStopsAll(t *testing.T) {
	boom := errors.New("boom")
	for _, tc := range []struct {
		name string
		run  func(context.Context) error
		want error
	}{
		{"error", func(context.Context) error { time.Sleep(time.Minute); return boom }, boom},
		{"nil too early", func(context.Context) error { return nil }, ErrEnded},
		{"somebody else's cancel", func(context.Context) error { return context.Canceled }, context.Canceled},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var d diary
				var g Group
				g.Add(d.part("a", 0))
				g.Add(Part{Name: "bad", Run: tc.run})
				g.Add(d.part("c", 0))
				err := g.Run(t.Context(), context.Background())
				if !errors.Is(err, tc.want) || !strings.HasPrefix(err.Error(), "bad: ") {
					t.Errorf("got %v", err)
				}
				if got := d.read(); !strings.HasSuffix(got, "-a xa") {
					t.Errorf("not all stopped: %s", got)
				}
			})
		})
	}
}

func TestStartFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		var g Group
		g.Add(d.part("a", 0))
		taken := errors.New("port taken")
		bad := d.part("b", 0)
		bad.Start = func(context.Context) error { return taken }
		g.Add(bad)
		g.Add(d.part("c", 0))
		err := g.Run(t.Context(), context.Background())
		if !errors.Is(err, taken) || err.Error() != "b: port taken" {
			t.Errorf("got %v", err)
		}
		if got, want := d.read(), "+a -a xa"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

// A part that fails while another one is still starting interrupts that start, and the cause comes out, not the interruption.
func TestFailureInterruptsStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boom := errors.New("boom")
		var g Group
		g.Add(Part{Name: "a", Run: func(context.Context) error { time.Sleep(time.Second); return boom }})
		g.Add(Part{Name: "b", Start: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }})
		if err := g.Run(t.Context(), context.Background()); err == nil || err.Error() != "a: boom" {
			t.Errorf("got %v", err)
		}
	})
}

func TestStopWhileStarting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		var g Group
		g.Add(d.part("a", 0))
		g.Add(Part{Name: "b", Start: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }})
		stop, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := g.Run(stop, context.Background()); err != nil {
			t.Errorf("got %v", err)
		}
		if got, want := d.read(), "+a -a xa"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		var g Group
		g.Add(d.part("a", 0))
		slow := d.part("b", time.Hour)
		slow.Deadline = 2 * time.Second
		g.Add(slow)
		begin := time.Now()
		stop, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		err := g.Run(stop, context.Background())
		if !errors.Is(err, ErrStuck) || err.Error() != "b: did not stop in time (2s)" {
			t.Errorf("got %v", err)
		}
		if took := time.Since(begin); took != time.Minute+2*time.Second {
			t.Errorf("took %v", took)
		}
		if got, want := d.read(), "+a +b -a xa"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		time.Sleep(time.Hour) // let the slow part end inside the bubble
	})
}

func TestCutShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		var g Group
		g.Add(d.part("a", time.Hour))
		g.Add(d.part("b", time.Hour))
		g.parts[0].Deadline, g.parts[1].Deadline = 2*time.Hour, 2*time.Hour
		stop, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		cut, cancelCut := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancelCut()
		begin := time.Now()
		if err := g.Run(stop, cut); !errors.Is(err, ErrCut) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(begin); took != 3*time.Second {
			t.Errorf("took %v", took)
		}
		time.Sleep(2 * time.Hour)
	})
}

func TestCloseError(t *testing.T) {
	broken := errors.New("disk gone")
	var g Group
	g.Add(Part{Name: "store", Close: func() error { return broken }})
	stop, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Run(stop, context.Background()); err != nil {
		t.Errorf("nothing was started, so nothing is closed: %v", err)
	}
	stop, cancel = context.WithCancel(t.Context())
	g.parts[0].Start = func(context.Context) error { cancel(); return nil }
	if err := g.Run(stop, context.Background()); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func TestSignals(t *testing.T) {
	stop, cut, release := Signals(t.Context(), syscall.SIGUSR1)
	defer release()
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []context.Context{stop, cut} {
		if want.Err() != nil {
			t.Fatal("done before its signal")
		}
		if err := self.Signal(syscall.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		select {
		case <-want.Done():
		case <-time.After(5 * time.Second):
			t.Fatal("signal not seen")
		}
	}
	release()
	release() // a second time is fine
}

func TestReady(t *testing.T) {
	var h Health
	if ok, _ := h.Ready(); !ok {
		t.Error("nothing said, so ready")
	}
	h.NotReady("store", "opening")
	h.NotReady("matrix", "starting")
	h.NotReady("matrix", "401: unknown token")
	ok, why := h.Ready()
	if ok || !slices.Equal(why, []Reason{{"matrix", "401: unknown token"}, {"store", "opening"}}) {
		t.Errorf("got %v %v", ok, why)
	}
	h.SetReady("matrix")
	h.SetReady("store")
	if ok, why := h.Ready(); !ok || len(why) != 0 {
		t.Errorf("got %v %v", ok, why)
	}
	var none *Health
	none.NotReady("x", "y")
	none.SetReady("x")
	none.Promise("x", 1)
	none.Beat("x")
	none.Release("x")
	if ok, _ := none.Ready(); !ok || none.Hung() != nil {
		t.Error("nil Health must be well")
	}
}

func TestHungIsNotNotReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h Health
		h.Beat("stranger") // no promise: nothing
		h.Promise("intake", 10*time.Second)
		h.NotReady("matrix", "away")
		for range 100 {
			time.Sleep(9 * time.Second)
			h.Beat("intake")
		}
		if got := h.Hung(); len(got) != 0 {
			t.Fatalf("beating, yet %v", got)
		}
		time.Sleep(10*time.Second + 1)
		want := []Reason{{"intake", "silent for 10s, promised 10s"}}
		if got := h.Hung(); !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
		h.Beat("intake")
		if got := h.Hung(); len(got) != 0 {
			t.Fatalf("woke up, yet %v", got)
		}
		time.Sleep(time.Hour)
		h.Release("intake")
		if got := h.Hung(); len(got) != 0 {
			t.Fatalf("released, yet %v", got)
		}
	})
}

func TestWatchdogIsNotFedWhileHung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h Health
		h.Promise("loop", 10*time.Second)
		pats := 0
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute+time.Millisecond)
		defer cancel()
		h.Watchdog(ctx, 5*time.Second, func() error { pats++; return errors.New("socket gone") })
		if pats != 3 { // at 0, 5 and 10 s; from then on the loop is hung
			t.Errorf("%d pats, want 3", pats)
		}
	})
}
