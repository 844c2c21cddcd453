package gateway

import (
	"testing"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
)

// After a crash each look-up of something that was never sent costs seconds, so only what may have been in flight is
// looked for: a room with hundreds of reactions waiting must not take minutes to show them.
func TestOnlyWhatMayHaveBeenInFlightIsLookedFor(t *testing.T) {
	began := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	u := newUncertain([]lane.Status{{Lane: "a", Last: 10}}, began)
	urgent := func(seq uint64) lane.Record { return lane.Record{Lane: "a", Seq: seq, Urgent: true} }
	plain := func(seq uint64) lane.Record { return lane.Record{Lane: "a", Seq: seq} }
	timed := func(seq uint64) lane.Record { return lane.Record{Lane: "a", Seq: seq, NotBefore: began} }
	want := func(what string, r lane.Record, may bool) {
		t.Helper()
		if u.may(r) != may {
			t.Errorf("%s: may have been sent: %v, want %v", what, !may, may)
		}
	}
	want("first urgent", urgent(7), true)
	want("appended since", urgent(11), false)
	want("of a lane that was empty", lane.Record{Lane: "b", Seq: 1}, false)
	u.settled(urgent(7))
	want("second urgent", urgent(8), false)
	want("first plain, behind an urgent one", plain(1), true)
	want("waited for its time", timed(2), true)
	u.settled(timed(2))
	want("first plain, behind one that waited", plain(1), true)
	want("another that waited", timed(3), true)
	u.settled(plain(1))
	want("second plain", plain(4), false)

	if n := u.looks(began.Add(time.Second)); n != 0 {
		t.Errorf("a second after the start %d looks are left out", n)
	}
	if n := u.looks(began.Add(time.Minute)); n != len(lookAt)-1 {
		t.Errorf("a minute after the start %d looks are left out, one is to be left", n)
	}
}
