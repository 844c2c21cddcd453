package store

import (
	"os"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/internal/metrics"
)

// meters are the metrics of the store. Its owner is the holder of Store.mu, save for what is safe by itself.
type meters struct {
	commitSeconds *metrics.Histogram
	gapRecords    *metrics.Counter
	damaged       *metrics.Counter
	deadLetters   *metrics.Gauge
	laneRecords   *metrics.Gauge
	totals, shown laneCounts
}

// laneCounts counts records by class; gap markers are at 0.
type laneCounts [lane.Alarm + 1]int

func newMeters(reg *metrics.Registry, s *Store) *meters {
	m := &meters{
		commitSeconds: reg.Histogram("gatepost_store_commit_seconds", "Time of one commit, from its start to fsynced.", metrics.Seconds),
		gapRecords:    reg.Counter("gatepost_gap_records_total", "Messages that were dropped and counted in a gap marker."),
		damaged:       reg.Counter("gatepost_store_damaged_total", "Damaged values that were set aside."),
		deadLetters:   reg.Gauge("gatepost_dead_letters", "Records that will not be sent."),
		laneRecords:   reg.Gauge("gatepost_lane_records", "Records that wait to be sent, by class; gap: gap markers.", "class"),
	}
	m.shown = laneCounts{-1, -1, -1, -1, -1}
	reg.GaugeFunc("gatepost_lane_oldest_seconds", "Age of the oldest record that is first in its lane.", s.oldestSeconds)
	reg.GaugeFunc("gatepost_store_size_bytes", "Size of the store's file.", func() float64 {
		info, err := os.Stat(s.file)
		if err != nil {
			return 0
		}
		return float64(info.Size())
	})
	return m
}

// count takes what changed in x since it was last counted.
func (m *meters) count(x *index) {
	now := x.counts
	now[0] = len(x.gaps)
	for c := range now {
		m.totals[c] += now[c] - x.counted[c]
	}
	x.counted = now
}

// recount takes all lanes anew.
func (m *meters) recount(lanes map[ids.RoomKey]*index) {
	m.totals = laneCounts{}
	for _, x := range lanes {
		x.counted = laneCounts{}
		m.count(x)
	}
	m.show()
}

// show sets the gauges whose value is another than before.
func (m *meters) show() {
	for c, n := range m.totals {
		if n == m.shown[c] {
			continue
		}
		name := "gap"
		if c > 0 {
			name = lane.Class(c).String()
		}
		m.laneRecords.Set(float64(n), name)
	}
	m.shown = m.totals
}

func (s *Store) oldestSeconds() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	oldest := s.now()
	now := oldest
	for _, x := range s.lanes {
		if at := x.oldestAt(); !at.IsZero() && at.Before(oldest) {
			oldest = at
		}
	}
	return now.Sub(oldest).Seconds()
}
