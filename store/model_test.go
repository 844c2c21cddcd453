package store_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/store"
	"github.com/gatepost/gatepost/store/storetest"
)

// model is the books on every message that was ever appended: each is sent, or counted in a sent gap, or waits.
type model struct {
	t        *testing.T
	s        *storetest.Store
	clock    int
	appended map[lane.Class]int
	sent     map[lane.Class]int // alone or in a digest
	gone     map[lane.Class]int // in gaps that were sent
	lastSent map[ids.RoomKey]lane.Record
	inFlight map[ids.RoomKey]lane.Record
}

// TestModel runs random sequences of everything that changes lanes and checks after each step that no message is
// unaccounted for: appended = sent + waiting + counted in gaps, and for state at most that (what a newer value replaced
// while it waited is not a loss).
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{
			t:        t,
			appended: map[lane.Class]int{}, sent: map[lane.Class]int{}, gone: map[lane.Class]int{},
			lastSent: map[ids.RoomKey]lane.Record{}, inFlight: map[ids.RoomKey]lane.Record{},
		}
		folder := t.TempDir()
		m.s = storetest.Open(quiet{t, rt}, store.Options{Path: folder, LaneRecords: 8, LaneBytes: 64 << 10})
		defer m.s.End(quiet{t, rt})
		steps := rapid.SliceOfN(rapid.IntRange(0, 99), 1, 80).Draw(rt, "steps")
		for _, step := range steps {
			m.step(rt, step)
			m.check(rt)
		}
	})
}

// quiet lets storetest report to rapid.
type quiet struct {
	testing.TB
	rt *rapid.T
}

func (q quiet) Fatalf(format string, args ...any) { q.rt.Fatalf(format, args...) }
func (q quiet) Errorf(format string, args ...any) { q.rt.Errorf(format, args...) }
func (q quiet) Cleanup(func())                    {} // each run ends its own store

func (m *model) step(rt *rapid.T, step int) {
	m.clock++
	key := ids.RoomKey(fmt.Sprint("lane", step%2))
	switch {
	case step < 55:
		m.append(rt, key)
	case step < 75:
		m.take(rt, key)
	case step < 85:
		m.finish(rt, key)
	case step < 92:
		if r, ok := m.inFlight[key]; ok {
			m.s.Release(lane.Ref{Lane: key, Seq: r.Seq})
			delete(m.inFlight, key)
		}
	case step < 96:
		m.s.Reopen(quiet{m.t, rt})
		clear(m.inFlight)
	default:
		m.clock += 20 // things expire
	}
}

func (m *model) append(rt *rapid.T, key ids.RoomKey) {
	var c lane.Change
	for range rapid.IntRange(1, 4).Draw(rt, "records") {
		class := rapid.SampledFrom([]lane.Class{lane.Telemetry, lane.State, lane.Event, lane.Event, lane.Alarm}).Draw(rt, "class")
		r := lane.Record{Lane: key, ID: ids.NewULID(when(m.clock)), Device: "a", Class: class, At: when(m.clock)}
		r.Key = rapid.SampledFrom([]string{"x", "y", ""}).Draw(rt, "key")
		r.Post.Text = fmt.Sprint(m.clock)
		switch rapid.IntRange(0, 9).Draw(rt, "kind") {
		case 0:
			r.Urgent = true
		case 1:
			r.Expires = when(m.clock + 10)
		case 2:
			r.NotBefore = when(m.clock + 5)
		case 3:
			r.Post.Data = make([]byte, rapid.IntRange(0, 70<<10).Draw(rt, "bytes"))
		}
		if class == lane.Telemetry && r.Key != "" && !r.Urgent {
			r.Digest = &lane.Digest{N: 1, Since: r.At}
		}
		m.appended[class]++
		c.Append = append(c.Append, r)
	}
	if err := m.s.Commit(c); err != nil {
		rt.Fatal(err)
	}
}

func (m *model) take(rt *rapid.T, key ids.RoomKey) {
	r, ok, _, err := m.s.Take(key, when(m.clock))
	if err != nil {
		rt.Fatal(err)
	}
	if !ok {
		return
	}
	if old, flying := m.inFlight[key]; flying {
		rt.Fatalf("%s is in flight, and Take gave %s", old.ID, r.ID)
	}
	if !r.Expires.IsZero() && r.Expires.Before(when(m.clock)) {
		rt.Fatalf("%s had expired", r.ID)
	}
	if r.NotBefore.After(when(m.clock)) {
		rt.Fatalf("%s came too early", r.ID)
	}
	m.inFlight[key] = r
}

func (m *model) finish(rt *rapid.T, key ids.RoomKey) {
	r, ok := m.inFlight[key]
	if !ok {
		return
	}
	if err := m.s.Commit(lane.Change{Finish: []lane.Ref{{Lane: key, Seq: r.Seq}}}); err != nil {
		rt.Fatal(err)
	}
	delete(m.inFlight, key)
	if r.Gap != nil {
		for c, n := range r.Gap.Dropped {
			m.gone[c] += n
		}
		return
	}
	m.sent[r.Class] += r.Count()
	// Events and alarms that are neither urgent nor held back go in the order in which they came.
	if r.Class < lane.Event || r.Urgent || !r.NotBefore.IsZero() {
		return
	}
	if last, ok := m.lastSent[key]; ok && last.Seq >= r.Seq {
		rt.Fatalf("%d was sent after %d", r.Seq, last.Seq)
	}
	m.lastSent[key] = r
}

func (m *model) check(rt *rapid.T) {
	waiting, gaps := map[lane.Class]int{}, map[lane.Class]int{}
	for _, l := range m.s.Lanes() {
		records, err := m.s.Records(l.Lane, 1000)
		if err != nil || len(records) != l.Records {
			rt.Fatalf("%v: %d records in %s, the index says %d", err, len(records), l.Lane, l.Records)
		}
		bounded, classes := 0, map[lane.Class]int{}
		for _, r := range records {
			if r.Gap != nil {
				for c, n := range r.Gap.Dropped {
					gaps[c] += n
				}
				continue
			}
			waiting[r.Class] += r.Count()
			classes[r.Class]++
			if !r.Urgent {
				bounded++
			}
		}
		if bounded > 8 {
			rt.Fatalf("%d records wait in %s", bounded, l.Lane)
		}
		for c, n := range classes {
			if l.Classes[c] != n {
				rt.Fatalf("%d %ss wait, the index says %d", n, c, l.Classes[c])
			}
		}
	}
	for _, c := range []lane.Class{lane.Telemetry, lane.State, lane.Event, lane.Alarm} {
		have := m.sent[c] + m.gone[c] + waiting[c] + gaps[c]
		if have > m.appended[c] || have < m.appended[c] && c != lane.State {
			rt.Fatalf("%s: %d appended; %d sent, %d in sent gaps, %d wait, %d in waiting gaps",
				c, m.appended[c], m.sent[c], m.gone[c], waiting[c], gaps[c])
		}
	}
}
