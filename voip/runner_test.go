package voip

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/gatepost/gatepost/internal/ids"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is everything around a Runner. Every line says what became durable or visible, in order.
type world struct {
	mu    sync.Mutex
	log   []string
	kept  map[Key]Record
	tell  map[Key]func(Event)
	fails error // of Journal.Put
	noLeg error // of Open
}

func (w *world) say(words ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, strings.Join(words, " "))
}

func (w *world) lines() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.log, "\n")
}

func (w *world) Put(key Key, r Record) error {
	if w.fails != nil {
		return w.fails
	}
	w.say("keep", string(key.Call), string(r.State))
	w.kept[key] = r
	return nil
}

func (w *world) Delete(key Key) error {
	w.say("forget", string(key.Call))
	delete(w.kept, key)
	return nil
}

func (w *world) Each(f func(Key, Record)) error {
	for k, r := range maps.Clone(w.kept) {
		f(k, r)
	}
	return nil
}

type legs struct {
	w   *world
	key Key
}

func (l legs) Do(_ Record, e Effect) { l.w.say(string(l.key.Call), describe(e)) }

func (w *world) runner(t *testing.T) *Runner {
	r, err := NewRunner(RunnerConfig{
		Journal: w,
		Open: func(key Key, _ Record, tell func(Event)) (Leg, error) {
			w.mu.Lock()
			w.tell[key] = tell
			w.mu.Unlock()
			return legs{w, key}, w.noLeg
		},
		Send:   func(key Key, _ Record, e Effect) error { w.say(string(key.Call), describe(e)); return nil },
		Report: func(s Summary) { w.say(string(s.ID), describe(Report{s})) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func newWorld() *world { return &world{kept: map[Key]Record{}, tell: map[Key]func(Event){}} }

// start runs r until stop is called, which gives what Run returned.
func start(t *testing.T, r *Runner) (stop func() error) {
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- r.Run(ctx) }()
	return func() error { cancel(); return <-result }
}

func do(t *testing.T, r *Runner, in Input) {
	t.Helper()
	if err := r.Do(t.Context(), in); err != nil {
		t.Error(err)
	}
}

var callKey = Key{room, "C1"}

func incoming() Remote {
	return Remote{Key: callKey, Self: self, Event: Invited{From: Party{person("alice"), "A"}, Version: Version1, Left: time.Minute}}
}

// What begins is kept before it is visible, what ends is forgotten after the hangup is on its way; the stop ends what is live.
func TestRunnerKeepsBeforeItPerforms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r := w.runner(t)
		stop := start(t, r)
		do(t, r, incoming())
		do(t, r, BatchDone{})
		w.tell[callKey](LegAnswered{})
		synctest.Wait()
		if calls := r.Calls(); len(calls) != 1 || calls[0].State != Connecting {
			t.Errorf("live %+v", calls)
		}
		time.Sleep(time.Second)
		if err := stop(); err != nil {
			t.Error(err)
		}
		want := strings.Join([]string{
			"keep C1 ringing", "C1 leg invite", "keep C1 connecting", "C1 send answer",
			"C1 send hangup user_hangup", "C1 leg close user_hangup", "C1 report callee user_hangup rang=0s talked=1s", "forget C1",
		}, "\n")
		if got := w.lines(); got != want || len(r.Calls()) > 0 {
			t.Errorf("%s\nwant\n%s", got, want)
		}
		if err := r.Do(t.Context(), BatchDone{}); !errors.Is(err, ErrRunnerStopped) {
			t.Error(err)
		}
	})
}

// After a crash the calls that were live are hung up, before anything else.
func TestRunnerHangsUpAfterACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		c := NewCall("C1", room, self, person("alice"), Config{})
		c.Step(time.Now(), incoming().Event)
		ringing := c.Record()
		c.Step(time.Now(), LegAnswered{})
		w.kept[callKey] = c.Record()
		ringing.ID = "C2"
		w.kept[Key{room, "C2"}] = ringing
		w.kept[Key{room, "zz1"}] = Record{ID: "zz1", Room: room, Self: self, Person: person("bob"), Role: Caller, State: Preparing}
		time.Sleep(time.Minute)
		stop := start(t, w.runner(t))
		synctest.Wait()
		lines := strings.Split(w.lines(), "\n")
		for _, want := range []string{"C1 send hangup unknown_error", "C1 report callee unknown_error rang=0s talked=1m0s", "C2 send hangup unknown_error", "forget zz1"} {
			if !slices.Contains(lines, want) {
				t.Errorf("%q is missing in\n%s", want, w.lines())
			}
		}
		if i, j := slices.Index(lines, "C1 send hangup unknown_error"), slices.Index(lines, "forget C1"); i > j || slices.Contains(lines, "zz1 send hangup unknown_error") || len(w.kept) > 0 {
			t.Errorf("%s", w.lines())
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestRunnerTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r := w.runner(t)
		stop := start(t, r)
		do(t, r, incoming())
		do(t, r, BatchDone{})
		time.Sleep(59 * time.Second)
		synctest.Wait()
		if strings.Contains(w.lines(), "close") {
			t.Errorf("too early\n%s", w.lines())
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if !strings.Contains(w.lines(), "C1 leg close invite_timeout") || len(w.kept) > 0 {
			t.Errorf("not over\n%s", w.lines())
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestRunnerWithoutALegHangsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.noLeg = errors.New("the camera is away")
		r := w.runner(t)
		stop := start(t, r)
		do(t, r, incoming())
		do(t, r, BatchDone{})
		synctest.Wait()
		if !strings.Contains(w.lines(), "C1 send reject user_media_failed") {
			t.Errorf("%s", w.lines())
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// Nothing is performed that could not be kept.
func TestRunnerStopsWhenItCannotKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.fails = errors.New("the disk is gone")
		r := w.runner(t)
		stop := start(t, r)
		do(t, r, incoming())
		if err := r.Do(t.Context(), BatchDone{}); err == nil {
			t.Error("done")
		}
		if err := stop(); !errors.Is(err, w.fails) || w.lines() != "" {
			t.Errorf("%v\n%s", err, w.lines())
		}
	})
}

func TestReviveKnowsWhatRecordKept(t *testing.T) {
	c := NewCall("C1", room, self, person("alice"), Config{})
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, ev := range []Event{incoming().Event, LegAnswered{}, LegConnected{}} {
		c.Step(now, ev)
		now = now.Add(time.Second)
	}
	if got, want := Revive(c.Record()).Record(), c.Record(); got != want || want.State != Connected || want.Peer != ids.PartyID("A") {
		t.Errorf("%+v, want %+v", got, want)
	}
}
