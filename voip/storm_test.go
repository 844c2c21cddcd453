package voip

import (
	"fmt"
	"testing"
	"time"
)

// Who floods a call with offers gets a bounded number of answers, and the call goes on.
func TestAStormOfOffersIsBounded(t *testing.T) {
	now := time.Unix(0, 0)
	key, alice := Key{room, "C1"}, Party{"@alice:example.org", "A"}
	d := NewDesk(DeskConfig{})
	d.Step(now, Remote{Key: key, Self: self, Event: Invited{From: alice, Version: Version1, Left: time.Minute}})
	d.Step(now, BatchDone{})
	d.Step(now, Local{key, LegAnswered{}})
	asked := 0
	for i := range 10_000 {
		for _, o := range d.Step(now, Remote{Key: key, Self: self, Event: Negotiated{From: alice, Desc: Description{Type: "offer", SDP: fmt.Sprint(i)}}}) {
			if _, ok := o.Effect.(LegNegotiate); ok {
				asked++
			}
		}
		for _, o := range d.Step(now, Local{key, LegNegotiated{Desc: Description{Type: "answer"}}}) {
			if _, ok := o.Effect.(LegNegotiate); ok {
				asked++
			}
		}
	}
	if asked == 0 || asked > maxOffers || len(d.Calls()) != 1 {
		t.Errorf("%d offers reached the leg; %d calls are live", asked, len(d.Calls()))
	}
}
