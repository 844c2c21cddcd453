package store_test

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/store"
	"github.com/gatepost/gatepost/store/storetest"
)

const deviceRoom = ids.RoomKey("device/a")

func when(second int) time.Time { return time.Unix(int64(1_000_000+second), 0).UTC() }

// rec makes a record out of a few words: "e1" is event 1, "a2" alarm 2, "s3:k" state 3 of reading k, "t4:k" telemetry 4 of
// reading k whose number is 4; a "!" at the end makes it urgent.
func rec(word string) lane.Record {
	word, urgent := strings.CutSuffix(word, "!")
	name, key, _ := strings.Cut(word, ":")
	r := lane.Record{Lane: deviceRoom, ID: name, Device: "a", Key: key, Urgent: urgent, Post: lane.Post{Kind: lane.Text, Text: name}}
	n := 0
	_, _ = fmt.Sscan(name[1:], &n)
	r.At = when(n)
	switch name[0] {
	case 'e':
		r.Class = lane.Event
	case 'a':
		r.Class = lane.Alarm
	case 's':
		r.Class = lane.State
	case 't':
		r.Class = lane.Telemetry
		r.Digest = &lane.Digest{N: 1, Min: float64(n), Max: float64(n), Sum: float64(n), Since: r.At}
	}
	return r
}

func add(t testing.TB, s *storetest.Store, words ...string) {
	t.Helper()
	var c lane.Change
	for _, w := range words {
		c.Append = append(c.Append, rec(w))
	}
	if err := s.Commit(c); err != nil {
		t.Fatal(err)
	}
}

// tell is a record in the words of rec, with what it stands for.
func tell(r lane.Record) string {
	if g := r.Gap; g != nil {
		var parts []string
		for _, c := range []lane.Class{lane.Telemetry, lane.State, lane.Event, lane.Alarm} {
			if n := g.Dropped[c]; n > 0 {
				parts = append(parts, fmt.Sprintf("%d%s", n, c.String()[:1]))
			}
		}
		text := fmt.Sprintf("gap(%s %d-%d", strings.Join(parts, "+"), g.From.Unix()-when(0).Unix(), g.To.Unix()-when(0).Unix())
		if g.Expired > 0 {
			text += fmt.Sprintf(" expired %d", g.Expired)
		}
		return text + ")"
	}
	if d := r.Digest; d != nil && d.N > 1 {
		return fmt.Sprintf("%s(n%d %g..%g sum%g)", r.ID, d.N, d.Min, d.Max, d.Sum)
	}
	return r.ID
}

// waiting is what waits in the lane, in order.
func waiting(t testing.TB, s *storetest.Store) string {
	t.Helper()
	records, err := s.Records(deviceRoom, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, r := range records {
		all = append(all, tell(r))
	}
	return strings.Join(all, " ")
}

func want(t testing.TB, s *storetest.Store, want string) {
	t.Helper()
	if got := waiting(t, s); got != want {
		t.Errorf("in the lane: %s\n       want: %s", got, want)
	}
}

func take(t testing.TB, s *storetest.Store, second int) (lane.Record, bool, time.Time) {
	t.Helper()
	r, ok, next, err := s.Take(deviceRoom, when(second))
	if err != nil {
		t.Fatal(err)
	}
	return r, ok, next
}

// drain takes and finishes everything that may be sent at a time.
func drain(t testing.TB, s *storetest.Store, second int) string {
	t.Helper()
	var all []string
	for {
		r, ok, _ := take(t, s, second)
		if !ok {
			return strings.Join(all, " ")
		}
		all = append(all, tell(r))
		finish(t, s, r)
	}
}

func finish(t testing.TB, s *storetest.Store, r lane.Record) {
	t.Helper()
	if err := s.Commit(lane.Change{Finish: []lane.Ref{{Lane: r.Lane, Seq: r.Seq}}}); err != nil {
		t.Fatal(err)
	}
}

func TestRecordsGoInOrderUrgentFirst(t *testing.T) {
	s := storetest.Open(t, store.Options{})
	add(t, s, "e1", "a2", "e3!", "s4:k", "t5:k", "e6!")
	if got := drain(t, s, 10); got != "e3 e6 e1 a2 s4 t5" {
		t.Errorf("sent %s", got)
	}
}

func TestTakenRecordComesBackWhole(t *testing.T) {
	s := storetest.Open(t, store.Options{})
	r := rec("e1")
	r.Topic, r.Post.Data, r.Post.MIME = "a/b", bytes.Repeat([]byte{7}, 100_000), "image/png"
	r.Post.Values = map[string]string{"x": "1"}
	if err := s.Commit(lane.Change{Append: []lane.Record{r}}); err != nil {
		t.Fatal(err)
	}
	r.Seq = 1
	for range 2 {
		got, ok, _ := take(t, s, 10)
		if !ok || !reflect.DeepEqual(got, r) {
			t.Errorf("%v: got %+v", ok, got)
		}
		s.Reopen(t) // forgets what was in flight
	}
}

func TestOneInFlightALane(t *testing.T) {
	s := storetest.Open(t, store.Options{})
	add(t, s, "e1", "e2", "e3!")
	first, ok, _ := take(t, s, 10)
	if !ok || first.ID != "e3" {
		t.Fatalf("first %+v", first)
	}
	if r, ok, next := take(t, s, 10); ok || !next.IsZero() {
		t.Errorf("a second one is in flight: %+v, next %v", r, next)
	}
	s.Release(lane.Ref{Lane: deviceRoom, Seq: 99}) // another one: nothing happens
	if _, ok, _ := take(t, s, 10); ok {
		t.Error("the release of another record freed the lane")
	}
	s.Release(lane.Ref{Lane: deviceRoom, Seq: first.Seq})
	if r, _, _ := take(t, s, 10); r.ID != "e3" {
		t.Errorf("after a release came %+v", r)
	}
	finish(t, s, first)
	finish(t, s, first) // twice is no mistake
	if got := drain(t, s, 10); got != "e1 e2" {
		t.Errorf("then %s", got)
	}
	if len(s.Lanes()) != 0 {
		t.Errorf("an empty lane is listed: %v", s.Lanes())
	}
}

func TestNotBefore(t *testing.T) {
	s := storetest.Open(t, store.Options{})
	later, soon := rec("t1:x"), rec("t2:y")
	later.NotBefore, soon.NotBefore = when(100), when(50)
	if err := s.Commit(lane.Change{Append: []lane.Record{later, soon}}); err != nil {
		t.Fatal(err)
	}
	if _, ok, next := take(t, s, 10); ok || !next.Equal(when(50)) {
		t.Errorf("ok %v, next %v", ok, next)
	}
	add(t, s, "e3")
	for _, step := range []struct {
		second int
		want   string
	}{{49, "e3"}, {50, "t2"}, {99, ""}, {100, "t1"}} {
		if got := drain(t, s, step.second); got != step.want {
			t.Errorf("at %d: %q, want %q", step.second, got, step.want)
		}
	}
}

func TestExpiredRecordsBecomeAGap(t *testing.T) {
	s := storetest.Open(t, store.Options{})
	for i, w := range []string{"e1", "e2", "e3", "e4!", "e5"} {
		r := rec(w)
		if i != 2 {
			r.Expires = when(50)
		}
		if err := s.Commit(lane.Change{Append: []lane.Record{r}}); err != nil {
			t.Fatal(err)
		}
	}
	if r, _, _ := take(t, s, 50); r.ID != "e4" {
		t.Errorf("at the last moment came %+v", r)
	}
	s.Reopen(t)
	if got := drain(t, s, 51); got != "gap(2e 1-2 expired 2) e3 gap(2e 4-5 expired 2)" {
		t.Errorf("sent %s", got)
	}
}

func TestMergeKeepsThePlaceInLine(t *testing.T) {
	s := storetest.Open(t, store.Options{})
	add(t, s, "s1:k", "t2:k", "e3", "s4:other")
	add(t, s, "t5:k", "s6:k", "t7:k", "e8")
	want(t, s, "s6 t7(n3 2..7 sum14) e3 s4 e8")
	s.Reopen(t)
	add(t, s, "s9:k", "t10:k")
	want(t, s, "s9 t10(n4 2..10 sum24) e3 s4 e8")
}

func TestNothingMergesIntoWhatWasTried(t *testing.T) {
	s := storetest.Open(t, store.Options{})
	add(t, s, "s1:k")
	r, _, _ := take(t, s, 10)
	add(t, s, "s2:k", "s3:k")
	want(t, s, "s1 s3")
	s.Release(lane.Ref{Lane: deviceRoom, Seq: r.Seq})
	add(t, s, "s4:k")
	want(t, s, "s1 s4")
	if got := drain(t, s, 10); got != "s1 s4" {
		t.Errorf("sent %s", got)
	}
}

func TestFullLane(t *testing.T) {
	for _, c := range []struct {
		name  string
		words string
		more  string
		want  string
	}{
		{"oldest events go", "e1 e2 e3 e4 e5 e6 e7 e8 e9", "e10 e11", "gap(2e 1-2) e3 e4 e5 e6 e7 e8 e9 e10 e11"},
		{"telemetry goes before", "e1 t2:x e3 t4:y e5 e6 e7 e8 e9", "e10 e11", "e1 gap(1t 2-2) e3 gap(1t 4-4) e5 e6 e7 e8 e9 e10 e11"},
		{"state goes before events", "e1 e2 s3:x e4 s5:y e6 e7 e8 e9", "e10", "e1 e2 gap(1s 3-3) e4 s5 e6 e7 e8 e9 e10"},
		{"alarms have room", "e1 e2 e3 e4 e5 e6 e7 e8 e9", "a10", "e1 e2 e3 e4 e5 e6 e7 e8 e9 a10"},
		{"alarms push out events", "e1 e2 e3 e4 e5 e6 e7 e8 e9", "a10 a11", "gap(1e 1-1) e2 e3 e4 e5 e6 e7 e8 e9 a10 a11"},
		{"alarms push out alarms last", "a1 a2 a3 a4 a5 a6 a7 a8 a9 a10", "a11", "gap(1a 1-1) a2 a3 a4 a5 a6 a7 a8 a9 a10 a11"},
		{"an event does not push out alarms", "a1 a2 a3 a4 a5 a6 a7 a8 a9 a10", "e11", "a1 a2 a3 a4 a5 a6 a7 a8 a9 a10 gap(1e 11-11)"},
		{"urgent is outside", "e1 e2 e3 e4 e5 e6 e7 e8 e9", "e10! e11!", "e1 e2 e3 e4 e5 e6 e7 e8 e9 e10 e11"},
		{"merging needs no room", "t1:x e2 e3 e4 e5 e6 e7 e8 e9", "t10:x t11:x", "t11(n3 1..11 sum22) e2 e3 e4 e5 e6 e7 e8 e9"},
		{"a digest counts all its messages", "t1:x t2:x t3:x e4 e5 e6 e7 e8 e9 e10", "e11 e12", "gap(3t 1-3) e4 e5 e6 e7 e8 e9 e10 e11 e12"},
		{"a run of drops is one marker", "e1 t2:x e3 e4 e5 e6 e7 e8 e9", "e10 e11 e12", "gap(1t+2e 1-3) e4 e5 e6 e7 e8 e9 e10 e11 e12"},
	} {
		t.Run(c.name, func(t *testing.T) {
			evicted := 0
			s := storetest.Open(t, store.Options{LaneRecords: 10, OnEvict: func(key ids.RoomKey, n int) {
				if key != deviceRoom {
					t.Errorf("lane %q", key)
				}
				evicted += n
			}})
			add(t, s, strings.Fields(c.words)...)
			for _, w := range strings.Fields(c.more) {
				add(t, s, w)
			}
			want(t, s, c.want)
			s.Reopen(t)
			want(t, s, c.want)
			counted := 0
			records, _ := s.Records(deviceRoom, 100)
			for _, r := range records {
				if r.Gap != nil {
					counted += r.Gap.Count()
				}
			}
			if counted != evicted {
				t.Errorf("OnEvict told of %d, the markers of %d", evicted, counted)
			}
		})
	}
}

func TestExpiredGoesFirstFromAFullLane(t *testing.T) {
	now := when(0)
	s := storetest.Open(t, store.Options{LaneRecords: 10, Now: func() time.Time { return now }})
	var c lane.Change
	for i := range 9 {
		r := rec(fmt.Sprint("e", i))
		if i == 4 || i == 6 {
			r.Expires = when(50)
		}
		c.Append = append(c.Append, r)
	}
	c.Append[0] = rec("t0:x")
	if err := s.Commit(c); err != nil {
		t.Fatal(err)
	}
	now = when(51)
	add(t, s, "e9")
	add(t, s, "e10")
	add(t, s, "e11")
	want(t, s, "gap(1t 0-0) e1 e2 e3 gap(1e 4-4 expired 1) e5 gap(1e 6-6 expired 1) e7 e8 e9 e10 e11")
}

func TestInFlightAndTriedMarkersAreNotCountedInto(t *testing.T) {
	s := storetest.Open(t, store.Options{LaneRecords: 10})
	add(t, s, strings.Fields("e1 e2 e3 e4 e5 e6 e7 e8 e9")...)
	first, _, _ := take(t, s, 20)
	add(t, s, "e10")
	want(t, s, "e1 gap(1e 2-2) e3 e4 e5 e6 e7 e8 e9 e10")
	finish(t, s, first)
	gap, _, _ := take(t, s, 20)
	if gap.Gap == nil {
		t.Fatalf("got %+v", gap)
	}
	add(t, s, "e11", "e12")
	want(t, s, "gap(1e 2-2) gap(1e 3-3) e4 e5 e6 e7 e8 e9 e10 e11 e12")
	s.Release(lane.Ref{Lane: deviceRoom, Seq: gap.Seq})
	add(t, s, "e13")
	want(t, s, "gap(1e 2-2) gap(2e 3-4) e5 e6 e7 e8 e9 e10 e11 e12 e13")
}

func TestSupersededStateGoesBeforeState(t *testing.T) {
	s := storetest.Open(t, store.Options{LaneRecords: 10})
	add(t, s, strings.Fields("s1:x s2:y e3 e4 e5 e6 e7 e8")...)
	if r, _, _ := take(t, s, 20); r.ID != "s1" {
		t.Fatal(r)
	}
	add(t, s, "s9:x")
	s.Release(lane.Ref{Lane: deviceRoom, Seq: 1})
	add(t, s, "e10")
	want(t, s, "gap(1s 1-1) s2 e3 e4 e5 e6 e7 e8 s9 e10")
}

func TestRecordLargerThanTheLane(t *testing.T) {
	evicted := 0
	s := storetest.Open(t, store.Options{LaneBytes: 64 << 10, MaxSize: 8 << 20, OnEvict: func(_ ids.RoomKey, n int) { evicted += n }})
	huge := rec("e0")
	huge.Post.Data = make([]byte, 9<<20) // than the store, even
	if err := s.Commit(lane.Change{Append: []lane.Record{huge}}); err != nil {
		t.Fatal(err)
	}
	want(t, s, "gap(1e 0-0)")
	drain(t, s, 10)
	add(t, s, "e1")
	big := rec("e2")
	big.Post.Data = make([]byte, 60<<10) // the last tenth is for alarms
	alarm := rec("a3")
	alarm.Post.Data = make([]byte, 60<<10)
	if err := s.Commit(lane.Change{Append: []lane.Record{big, alarm}}); err != nil {
		t.Fatal(err)
	}
	want(t, s, "e1 gap(1e 2-2) a3")
	add(t, s, "e4")
	if evicted != 2 {
		t.Errorf("OnEvict was told of %d", evicted)
	}
	if l := s.Lanes(); len(l) != 1 || l[0].Bytes > 64<<10 {
		t.Errorf("lane %+v", l)
	}
}

func TestLaneKeepsItsBoundInBytes(t *testing.T) {
	s := storetest.Open(t, store.Options{LaneBytes: 64 << 10})
	for i := range 100 {
		r := rec(fmt.Sprint("e", i))
		r.Post.Data = make([]byte, 5000)
		if err := s.Commit(lane.Change{Append: []lane.Record{r}}); err != nil {
			t.Fatal(err)
		}
	}
	if l := s.Lanes()[0]; l.Bytes > 64<<10*9/10+200 || l.Records < 11 {
		t.Errorf("lane %+v", l)
	}
	if got := waiting(t, s); !strings.HasPrefix(got, "gap(89e 0-88) e89 ") {
		t.Errorf("in the lane: %s", got)
	}
}

func TestGapMarkersAreBounded(t *testing.T) {
	s := storetest.Open(t, store.Options{LaneRecords: 1000})
	var c lane.Change
	for i := 0; i < 900; i += 2 {
		c.Append = append(c.Append, rec(fmt.Sprint("e", i)), rec(fmt.Sprintf("t%d:k%d", i+1, i)))
	}
	if err := s.Commit(c); err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		add(t, s, fmt.Sprint("e", 1000+i))
	}
	records, err := s.Records(deviceRoom, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	gaps, dropped := 0, 0
	last := time.Time{}
	for _, r := range records {
		if r.Gap != nil {
			gaps++
			dropped += r.Gap.Count()
			if r.Gap.To.Before(last) {
				t.Errorf("a marker ends at %v, one before it at %v", r.Gap.To, last)
			}
			last = r.Gap.To
		}
	}
	if gaps > 64 || dropped != 300 || !slices.IsSortedFunc(records, func(a, b lane.Record) int { return int(a.Seq) - int(b.Seq) }) {
		t.Errorf("%d markers for %d messages", gaps, dropped)
	}
}

func TestWakeAndLanes(t *testing.T) {
	s := storetest.Open(t, store.Options{})
	var woken []ids.RoomKey
	s.OnAppend(func(key ids.RoomKey) { woken = append(woken, key) })
	other := rec("a5")
	other.Lane = "device/b"
	if err := s.Commit(lane.Change{Append: []lane.Record{rec("e1"), other, rec("e2")}}); err != nil {
		t.Fatal(err)
	}
	finish(t, s, other)
	if !slices.Equal(woken, []ids.RoomKey{"device/a", "device/b"}) {
		t.Errorf("woken %v", woken)
	}
	lanes := s.Lanes()
	if len(lanes) != 2 || lanes[0].Lane != "device/a" || lanes[0].Records != 2 || !lanes[0].Oldest.Equal(when(1)) ||
		lanes[0].Classes[lane.Event] != 2 || lanes[1].Classes[lane.Alarm] != 1 || lanes[0].Bytes < 50 {
		t.Errorf("lanes %+v", lanes)
	}
}

func TestSequencesAreNeverUsedAgain(t *testing.T) {
	s := storetest.Open(t, store.Options{})
	last := uint64(0)
	for i := range 5 {
		add(t, s, fmt.Sprint("e", i))
		r, ok, _ := take(t, s, 10)
		if !ok || r.Seq <= last {
			t.Fatalf("sequence %d after %d", r.Seq, last)
		}
		last = r.Seq
		finish(t, s, r)
		s.Reopen(t)
	}
}

func TestReleasedRecordGivesWayAgain(t *testing.T) {
	now := when(20)
	s := storetest.Open(t, store.Options{LaneRecords: 10, Now: func() time.Time { return now }})
	first := rec("e1")
	first.Expires = when(30)
	if err := s.Commit(lane.Change{Append: []lane.Record{first}}); err != nil {
		t.Fatal(err)
	}
	add(t, s, strings.Fields("e2 e3 e4 e5 e6 e7 e8 e9")...)
	for range 2 {
		if r, _, _ := take(t, s, 20); r.ID != "e1" {
			t.Fatal(r)
		}
		if now.Equal(when(20)) {
			add(t, s, "e10") // passes over what is in flight
			want(t, s, "e1 gap(1e 2-2) e3 e4 e5 e6 e7 e8 e9 e10")
			now = when(40)
		} else {
			add(t, s, "e11") // though it has expired by now
			want(t, s, "e1 gap(2e 2-3) e4 e5 e6 e7 e8 e9 e10 e11")
		}
		s.Release(lane.Ref{Lane: deviceRoom, Seq: 1})
	}
	add(t, s, "e12")
	want(t, s, "gap(3e 1-3 expired 1) e4 e5 e6 e7 e8 e9 e10 e11 e12")
	add(t, s, "e13")
	want(t, s, "gap(4e 1-4 expired 1) e5 e6 e7 e8 e9 e10 e11 e12 e13")
}

func TestReleasedRecordIsTheOldestAgain(t *testing.T) {
	s := storetest.Open(t, store.Options{LaneRecords: 10})
	add(t, s, strings.Fields("e1 e2 e3 e4 e5 e6 e7 e8 e9")...)
	take(t, s, 20)
	add(t, s, "e10")
	s.Release(lane.Ref{Lane: deviceRoom, Seq: 1})
	add(t, s, "e11")
	want(t, s, "gap(2e 1-2) e3 e4 e5 e6 e7 e8 e9 e10 e11")
}

// TestLanesTellTheHighestSequence is what a gateway goes by after a crash: of the records up to it one may have been sent.
func TestLanesTellTheHighestSequence(t *testing.T) {
	s := storetest.Open(t, store.Options{})
	add(t, s, "e1", "e2", "e3")
	for range 2 {
		r, ok, _, err := s.Take(deviceRoom, when(9))
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		lanes := s.Lanes()
		if len(lanes) != 1 || lanes[0].Last < r.Seq || lanes[0].Last != 3 {
			t.Fatalf("record %d is in flight, and the lanes are %+v", r.Seq, lanes)
		}
		s.Release(lane.Ref{Lane: deviceRoom, Seq: r.Seq})
		s.Reopen(t)
	}
}
