package voip

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gatepost/gatepost/internal/ids"
)

// TestEveryCallEnds throws events at a Desk in any order, from the right people and the wrong ones, and lets time pass. Then
// nothing more comes, and every call must end by its own timers.
func TestEveryCallEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		th := theatre{
			desk:   NewDesk(DeskConfig{Most: rapid.IntRange(1, 3).Draw(t, "most"), Ring: rapid.IntRange(0, 3).Draw(t, "ring"), Call: Config{Blind: rapid.Bool().Draw(t, "blind")}}),
			now:    time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
			timers: map[Key]map[Timer]time.Time{}, out: &strings.Builder{},
		}
		w := witness{calls: map[ids.CallID]*seen{}}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if rapid.IntRange(0, 5).Draw(t, "wait?") == 0 {
				th.wait(time.Duration(rapid.IntRange(0, 100).Draw(t, "seconds")) * time.Second)
			} else {
				th.step(drawInput(t))
			}
		}
		th.step(BatchDone{})
		th.wait(longestLifetime + 2*time.Hour)
		if live := th.desk.Calls(); len(live) > 0 {
			t.Fatalf("still live: %+v\n%s", *live[0], th.out)
		}
		if err := w.read(th.out.String()); err != nil {
			t.Fatalf("%v\n%s", err, th.out)
		}
	})
}

func drawInput(t *rapid.T) Input {
	key := Key{room, rapid.SampledFrom([]ids.CallID{"C1", "C2", "zz1"}).Draw(t, "call")}
	from := Party{
		rapid.SampledFrom([]ids.UserID{person("alice"), person("alice"), person("bob"), self.User}).Draw(t, "user"),
		rapid.SampledFrom([]ids.PartyID{"A", "A", "B", "", "gate"}).Draw(t, "party"),
	}
	desc := Description{Type: rapid.SampledFrom([]string{sdpOffer, sdpAnswer, ""}).Draw(t, "type")}
	list := []Candidate{{Candidate: "c"}, {}}
	version := rapid.SampledFrom([]Version{Version1, Version0}).Draw(t, "version")
	reason := rapid.SampledFrom([]Reason{"", UserHangup, Replaced, UnknownError, "odd"}).Draw(t, "reason")
	remote := func(ev Event) Input { return Remote{key, self, ev, rapid.IntRange(0, 9).Draw(t, "forbidden") == 0} }
	local := func(ev Event) Input { return Local{key, ev} }
	switch rapid.IntRange(0, 24).Draw(t, "event") {
	case 0, 1:
		return remote(Invited{From: from, Version: version, Offer: desc, Left: time.Duration(rapid.IntRange(-1, 1000).Draw(t, "left")) * time.Second})
	case 2, 3, 4:
		return BatchDone{}
	case 5:
		return remote(Answered{From: from, Version: version, Answer: desc})
	case 6:
		return remote(Candidates{from, list})
	case 7:
		return remote(Selected{from, rapid.SampledFrom([]ids.PartyID{"gate", "other"}).Draw(t, "selected")})
	case 8:
		return remote(Rejected{from, reason})
	case 9:
		return remote(HungUp{from, reason})
	case 10, 11:
		return remote(Negotiated{From: from, Desc: desc})
	case 12:
		return remote(StreamsChanged{From: from})
	case 13:
		return PersonLeft{room, from.User}
	case 14:
		return local(Echoed{})
	case 15:
		return local(LegOffered{Offer: desc})
	case 16:
		return local(LegAnswered{Answer: desc})
	case 17:
		return local(LegAccepted{})
	case 18:
		return local(LegCandidates{list})
	case 19:
		return local(LegNegotiated{Desc: desc})
	case 20:
		return local(LegConnected{})
	case 21:
		return local(LegDisconnected{})
	case 22:
		return local(LegHungUp{reason})
	case 23:
		return Dial{key, self, person("alice")}
	}
	return local(Ended{reason})
}

// witness reads what came out, as the two sides of each call would, and objects.
type witness struct{ calls map[ids.CallID]*seen }

type seen struct {
	asked, closed, described, reported bool
}

func (w witness) read(log string) error {
	for line := range strings.Lines(log) {
		id, what, _ := strings.Cut(strings.TrimSpace(line), " ")
		what = strings.TrimSpace(what)
		c := w.calls[ids.CallID(id)]
		if c == nil {
			c = &seen{}
			w.calls[ids.CallID(id)] = c
		}
		if err := c.take(what); err != nil {
			return fmt.Errorf("%s: %s: %w", id, what, err)
		}
		if c.reported {
			delete(w.calls, ids.CallID(id)) // an id may be dialed again
		}
	}
	for id, c := range w.calls {
		if c.asked && !c.reported {
			return fmt.Errorf("%s: nobody was told that it is over", id)
		}
	}
	return nil
}

func (c *seen) take(what string) error {
	begin, _, _ := strings.Cut(what, " ")
	switch {
	case what == "leg prepare" || strings.HasPrefix(what, "leg invite"):
		if c.asked {
			return fmt.Errorf("asked twice")
		}
		c.asked = true
	case begin == "leg":
		if !c.asked || c.closed {
			return fmt.Errorf("the leg is not there (asked %v, closed %v)", c.asked, c.closed)
		}
		c.closed = strings.HasPrefix(what, "leg close")
	case strings.HasPrefix(what, "send invite"), strings.HasPrefix(what, "send answer"):
		if c.described {
			return fmt.Errorf("twice")
		}
		c.described = true
	case strings.HasPrefix(what, "send candidates"), strings.HasPrefix(what, "send negotiate"), strings.HasPrefix(what, "send select_answer"):
		if !c.described {
			return fmt.Errorf("before the description")
		}
	case begin == "send" || begin == "timer":
		if c.closed {
			return fmt.Errorf("after the end")
		}
	case what == "report answer":
	case begin == "report":
		c.reported = true
	}
	return nil
}
