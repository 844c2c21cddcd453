package voip

import (
	"fmt"
	"testing"
	"time"

	"github.com/gatepost/gatepost/internal/ids"
)

var (
	noon = time.Unix(1_800_000_000, 0)

	phone = Party{User: "@alice:example.org", ID: "PHONE"}
)

// count sums what of each effect counts.
func count(effects []Effect, of func(Effect) int) (n int) {
	for _, e := range effects {
		n += of(e)
	}
	return n
}

func added(e Effect) int {
	if a, ok := e.(LegAdd); ok {
		return len(a.List)
	}
	return 0
}

func told(e Effect) int {
	if a, ok := e.(SendCandidates); ok {
		return len(a.List)
	}
	return 0
}

// incoming is a call that the leg has answered.
func answeredCall() *Call {
	c := NewCall("C1", "!r", self, phone.User, Config{})
	c.Step(noon, Invited{From: phone, Version: Version1, Left: time.Minute})
	c.Step(noon, LegAnswered{})
	return c
}

// However many candidates come, and in however many events: a call has so many of each side and no more.
func TestCandidatesAreBounded(t *testing.T) {
	c := answeredCall()
	given, said := 0, 0
	for range 100 {
		given += count(c.Step(noon, Candidates{From: phone, List: make([]Candidate, 64)}), added)
		said += count(c.Step(noon, LegCandidates{List: make([]Candidate, 64)}), told)
		said += count(c.Step(noon, Expired{Timer: TimerCandidates}), told)
	}
	if given != maxCandidates || said != maxCandidates {
		t.Errorf("%d are given to the leg, %d are told to the person", given, said)
	}
}

// Before anybody answered, so many parties are remembered, and so many candidates of each.
func TestCandidatesOfManyPartiesAreBounded(t *testing.T) {
	for name, from := range map[string]Party{"first": {phone.User, "P0"}, "beyond": {phone.User, ids.PartyID(fmt.Sprint("P", maxParties))}} {
		c := NewCall("zz1", "!r", self, phone.User, Config{})
		c.Step(noon, Dialed{})
		c.Step(noon, LegOffered{})
		for i := range 3 * maxParties {
			for range 10 {
				c.Step(noon, Candidates{From: Party{phone.User, ids.PartyID(fmt.Sprint("P", i))}, List: make([]Candidate, 64)})
			}
		}
		c.Step(noon, Answered{From: from, Version: Version1})
		want := maxCandidates
		if name == "beyond" {
			want = 0
		}
		if n := count(c.Step(noon, LegAccepted{}), added); n != want {
			t.Errorf("%s: %d candidates are given to the leg, want %d", name, n, want)
		}
	}
}

// Who sends offers without end gets no more answers.
func TestOffersAreBounded(t *testing.T) {
	c := answeredCall()
	n := 0
	for range 1000 {
		n += count(c.Step(noon, Negotiated{From: phone, Desc: Description{Type: "offer", SDP: "v=0"}}), func(e Effect) int {
			if _, ok := e.(LegNegotiate); ok {
				return 1
			}
			return 0
		})
		c.Step(noon, LegNegotiated{Desc: Description{Type: "answer", SDP: "v=0"}})
	}
	if n != maxOffers {
		t.Errorf("%d offers reach the leg", n)
	}
}

// What is remembered of calls that never come is bounded: candidates before their invitation, and invitations of one batch.
func TestADeskRemembersLittle(t *testing.T) {
	d := NewDesk(DeskConfig{})
	key := func(i int) Key { return Key{Room: "!r", Call: ids.CallID(fmt.Sprint("C", i))} }
	for i := range 10 * maxMarks {
		for range 2 * maxEarly {
			d.Step(noon.Add(time.Duration(i)), Remote{Key: key(i), Self: self, Event: Candidates{From: phone, List: make([]Candidate, 64)}})
		}
	}
	if len(d.marks) != maxMarks {
		t.Errorf("%d calls are remembered", len(d.marks))
	}
	for k, m := range d.marks {
		if len(m.early) > maxEarly {
			t.Fatalf("%d events of candidates of %v", len(m.early), k)
		}
	}
	for i := range 10 * maxWaiting {
		d.Step(noon, Remote{Key: key(i), Self: self, Event: Invited{From: phone, Version: Version1, Left: time.Minute}})
	}
	if len(d.waiting) != maxWaiting {
		t.Errorf("%d invitations wait", len(d.waiting))
	}
}
