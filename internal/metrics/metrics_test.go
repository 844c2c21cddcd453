package metrics

import (
	"net/http/httptest"
	"strings"
	"testing"
)

func TestNilDoesNothing(t *testing.T) {
	var r *Registry
	r.Counter("a_total", "").Inc()
	r.Gauge("b", "").Set(1)
	r.GaugeFunc("c", "", func() float64 { return 1 })
	r.CounterFunc("e_total", "", func() float64 { return 1 }, "way", "in")
	r.Histogram("d", "", Seconds).Observe(1)
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 404 {
		t.Errorf("nil registry answered %d", w.Code)
	}
}

func TestHandlerShowsWhatWasCounted(t *testing.T) {
	r := New()
	r.Counter("gatepost_things_total", "Things.", "kind").Add(3, "good")
	r.Gauge("gatepost_level", "Level.").Set(7)
	r.GaugeFunc("gatepost_asked", "Asked.", func() float64 { return 9 })
	r.CounterFunc("gatepost_seen_total", "Seen.", func() float64 { return 4 }, "way", "in")
	r.CounterFunc("gatepost_seen_total", "Seen.", func() float64 { return 5 }, "way", "out")
	r.Histogram("gatepost_wait_seconds", "Wait.", Seconds).Observe(0.2)
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{`gatepost_things_total{kind="good"} 3`, "gatepost_level 7", "gatepost_asked 9", `gatepost_seen_total{way="in"} 4`, `gatepost_seen_total{way="out"} 5`, `gatepost_wait_seconds_bucket{le="0.3"} 1`} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("no %q in the answer", want)
		}
	}
}
