package mqtt

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

// ledger is a Session that notes what is saved and can fail.
type ledger struct {
	mu    sync.Mutex
	saved [][]string
	fail  map[int]bool // by number of the Save, from 1
	calls int
}

func (l *ledger) Load() ([]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.saved) == 0 {
		return nil, nil
	}
	return l.saved[len(l.saved)-1], nil
}

func (l *ledger) Save(lines []string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.calls++; l.fail[l.calls] {
		return errors.New("no space")
	}
	l.saved = append(l.saved, slices.Sorted(slices.Values(lines)))
	return nil
}

func (l *ledger) history() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprint(l.saved)
}

func TestSubscriptionsAreUnsureWhileTheyChange(t *testing.T) {
	t.Parallel()
	b := newFakeBroker(t, setup{})
	l := &ledger{}
	h := run(t, Config{URL: "mqtt://" + b.ln.Addr().String(), Filters: filters(t, "a", "b"), Session: l})
	h.connected(1)
	if err := h.SetFilters(t.Context(), filters(t, "b", "c")); err != nil {
		t.Fatal(err)
	}
	if got, want := l.history(), "[[##a ##b] [a b] [##a ##c b] [b c]]"; got != want {
		t.Errorf("saved %s, want %s", got, want)
	}
}

// TestUnsureSubscriptions: what a crash has left open is asked for again when it is wanted, and given up when it is not.
func TestUnsureSubscriptions(t *testing.T) {
	t.Parallel()
	b := newFakeBroker(t, setup{})
	b.sessions["gatepost-test"] = &fakeSession{filters: map[string]bool{"a": true, "old": true}}
	l := &ledger{saved: [][]string{{"a", "##b", "##old", "not/#/valid"}}}
	h := run(t, Config{URL: "mqtt://" + b.ln.Addr().String(), Filters: filters(t, "a", "b"), Session: l})
	h.connected(1)
	subs, unsubs := b.saw(tSubscribe), b.saw(tUnsubscribe)
	if len(subs) != 1 || string(subs[0].body[2:]) != string(str("b"))+"\x01" {
		t.Errorf("subscribed: %q", subs)
	}
	if len(unsubs) != 1 || string(unsubs[0].body[2:]) != string(str("old")) {
		t.Errorf("unsubscribed: %q", unsubs)
	}
}

// TestSaveFails: a connection whose subscriptions cannot be remembered is not used, but tried again.
func TestSaveFails(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2} {
		b := newFakeBroker(t, setup{})
		h := run(t, Config{URL: "mqtt://" + b.ln.Addr().String(), Filters: filters(t, "a"), Session: &ledger{fail: map[int]bool{n: true}}})
		h.connected(1)
		first := h.history()[0]
		if first.Connected || !strings.Contains(first.Reason, "remember subscriptions: no space") {
			t.Errorf("Save %d failed, state %+v", n, first)
		}
		if subs := b.saw(tSubscribe); len(subs) != n {
			t.Errorf("Save %d failed: %d SUBSCRIBE", n, len(subs))
		}
	}
}

func TestRefusedFilters(t *testing.T) {
	t.Parallel()
	b := startFake(t, setup{})
	l := &ledger{}
	h := run(t, Config{URL: b.url, Filters: filters(t, "a", "forbidden/#"), Session: l})
	h.connected(1)
	s := h.last()
	if !errors.Is(s.Err, ErrRefused) || !strings.HasSuffix(s.Reason, ": forbidden/#") {
		t.Errorf("state %+v", s)
	}
	if got, _ := l.Load(); fmt.Sprint(got) != "[a]" {
		t.Errorf("saved %v", got)
	}
	err := h.SetFilters(t.Context(), filters(t, "a", "forbidden/x"))
	if !errors.Is(err, ErrRefused) || !strings.HasSuffix(err.Error(), ": forbidden/x") {
		t.Errorf("SetFilters: %v", err)
	}
	if err := h.SetFilters(t.Context(), filters(t, "a")); err != nil {
		t.Error(err)
	}
	eventually(t, "a good state", func() bool { return h.last() == State{Connected: true} })
}

// TestManyFilters: more than one packet can hold, and overlapping ones joined.
func TestManyFilters(t *testing.T) {
	t.Parallel()
	b := startFake(t, setup{})
	var names []string
	for i := range 3*maxBatch + 1 {
		names = append(names, fmt.Sprintf("d/%d/+", i), fmt.Sprintf("d/%d/x", i))
	}
	h := run(t, Config{URL: b.url, Filters: filters(t, names...)})
	h.connected(1)
	dev := newDevice(t, b.addr, "", "")
	for _, i := range []int{0, maxBatch, 3 * maxBatch} {
		name := fmt.Sprintf("d/%d/x", i)
		dev.publish(name, "")
		h.expect(name, "").done(nil)
	}
	h.quiet()
	if err := h.SetFilters(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	dev.publish("d/0/x", "")
	h.quiet()
}
