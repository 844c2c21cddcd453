package media

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatepost/gatepost/internal/metrics"
	"github.com/gatepost/gatepost/voip"
)

// read gives a metric by its name with labels; -1: it is not there.
func read(reg *metrics.Registry, name string) float64 {
	w := httptest.NewRecorder()
	reg.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		var v float64
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			if _, err := fmt.Sscan(value, &v); err == nil {
				return v
			}
		}
	}
	return -1
}

// What a call carries counts while it goes on, and once when it is over.
func TestMetricsOfCalls(t *testing.T) {
	t.Parallel()
	const packets, bandwidths = `gatepost_call_media_packets_total{direction="out"}`, `gatepost_call_bandwidth_bytes_per_second_count{direction="out"}`
	reg := metrics.New()
	e := engineWith(t, Config{ListenUDP: "127.0.0.1:0", Metrics: NewMetrics(reg)})
	l, p := open(t, e, "tone:1000"), newPerson(t)
	if n := read(reg, packets); n != 0 {
		t.Errorf("%v packets before the call", n)
	}
	p.calls(l)
	for range 10 {
		receive(t, "sound", p.heard)
	}
	live := read(reg, packets)
	if live < 10 || read(reg, bandwidths) > 0 {
		t.Errorf("%v packets in the call, %v calls are over", live, read(reg, bandwidths))
	}
	if s := l.Stats(); s.Flowed <= 0 || s.Flowed > patience {
		t.Errorf("media flows for %v", s.Flowed)
	}
	l.Do(voip.Record{}, voip.LegClose{})
	e.legs.Wait()
	s := l.Stats()
	if n := read(reg, packets); n != float64(s.Out[0].Packets) || n < live {
		t.Errorf("%v packets at the end, %d by the leg, %v before", n, s.Out[0].Packets, live)
	}
	for name, want := range map[string]float64{
		bandwidths: 1,
		`gatepost_call_media_bytes_total{direction="out"}`:                                      float64(s.Out[0].Bytes),
		`gatepost_call_loss_ratio_bucket{direction="out",le="0"}`:                               1,
		`gatepost_call_paths_total{local="host",protocol="udp",remote="` + s.Path.Remote + `"}`: 1,
		`gatepost_call_media_lost_total{direction="in"}`:                                        0,
	} {
		if n := read(reg, name); n != want {
			t.Errorf("%s: %v, want %v", name, n, want)
		}
	}
	if again := l.Stats(); again.Flowed != s.Flowed {
		t.Errorf("after the end media flowed for %v, then for %v", s.Flowed, again.Flowed)
	}
}
