package store_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/metrics"
	"github.com/gatepost/gatepost/store"
	"github.com/gatepost/gatepost/store/storetest"
)

func TestMetrics(t *testing.T) {
	reg := metrics.New()
	s := storetest.Open(t, store.Options{LaneRecords: 10, Metrics: reg, Now: func() time.Time { return when(100) }})
	add(t, s, strings.Fields("e1 e2 e3 e4 e5 e6 e7 e8 e9 e10 a11 t12:x e13!")...)
	r, _, _ := take(t, s, 20) // e13
	if err := s.Commit(lane.Change{Bury: []lane.DeadLetter{{Record: r}}}); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	reg.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, line := range []string{
		`gatepost_lane_records{class="event"} 9`, `gatepost_lane_records{class="alarm"} 1`, `gatepost_lane_records{class="telemetry"} 0`,
		`gatepost_lane_records{class="state"} 0`, `gatepost_lane_records{class="gap"} 2`, `gatepost_gap_records_total 2`,
		`gatepost_dead_letters 1`, `gatepost_lane_oldest_seconds 99`, `gatepost_store_damaged_total 0`, `gatepost_store_commit_seconds_count 2`,
	} {
		if !strings.Contains(w.Body.String(), line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	if strings.Contains(w.Body.String(), "gatepost_store_size_bytes 0\n") {
		t.Error("the file has no size")
	}
}
