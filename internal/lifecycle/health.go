package lifecycle

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"
)

// Reason says why a part is not ready, or that it is hung.
type Reason struct {
	Part   string `json:"part"`
	Reason string `json:"reason"`
}

// Health is what the parts say of themselves. The zero value is usable, and on a nil *Health every call does nothing and
// all is well, so that tests pass nil. Safe for concurrent use.
type Health struct {
	mu       sync.Mutex
	notReady map[string]string
	pulses   map[string]pulse
}

// pulse is the promise of a loop to come round within a time, and when it last did.
type pulse struct {
	within time.Duration
	last   time.Time // with its monotonic reading: a clock that is set does not matter
}

// NotReady records why part cannot do its work now. A later call replaces the reason. A part that must be waited for says
// so before it starts.
func (h *Health) NotReady(part, reason string) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.notReady == nil {
		h.notReady = make(map[string]string)
	}
	h.notReady[part] = reason
}

// SetReady takes back what NotReady said of part.
func (h *Health) SetReady(part string) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.notReady, part)
}

// Ready is true when no part has said otherwise; else why, in order of the parts' names.
func (h *Health) Ready() (bool, []Reason) {
	if h == nil {
		return true, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []Reason
	for part, reason := range h.notReady {
		out = append(out, Reason{part, reason})
	}
	return len(out) == 0, sorted(out)
}

// Promise records that part will call Beat at least once within d from now on, every time. Another Promise replaces it.
func (h *Health) Promise(part string, d time.Duration) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pulses == nil {
		h.pulses = make(map[string]pulse)
	}
	h.pulses[part] = pulse{d, time.Now()}
}

// Beat keeps the promise of part. Without a promise it does nothing.
func (h *Health) Beat(part string) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if p, ok := h.pulses[part]; ok {
		p.last = time.Now()
		h.pulses[part] = p
	}
}

// Release ends the promise of part, which stops on purpose.
func (h *Health) Release(part string) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.pulses, part)
}

// Hung lists the parts that broke their promise, in order of their names. None: the program is alive.
func (h *Health) Hung() []Reason {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	var out []Reason
	for part, p := range h.pulses {
		if silent := now.Sub(p.last); silent > p.within {
			out = append(out, Reason{part, "silent for " + silent.Round(time.Second).String() + ", promised " + p.within.String()})
		}
	}
	return sorted(out)
}

// Watchdog calls pat now and then every so often, but only while nothing is hung, until ctx is done. It is how systemd
// (WatchdogSec) or a hardware watchdog learns of a hang. An error of pat is not fatal: the next one may succeed.
func (h *Health) Watchdog(ctx context.Context, every time.Duration, pat func() error) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if len(h.Hung()) == 0 {
			_ = pat()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func sorted(r []Reason) []Reason {
	slices.SortFunc(r, func(a, b Reason) int { return strings.Compare(a.Part, b.Part) })
	return r
}
