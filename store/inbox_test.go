package store_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/store"
	"github.com/gatepost/gatepost/store/storetest"
)

func accept(t testing.TB, s *storetest.Store, position string, events ...ids.EventID) int {
	t.Helper()
	var all []room.Event
	for _, id := range events {
		all = append(all, room.Event{ID: id, Room: "!r:x", Type: "m.room.message", Received: when(1), Content: []byte(`{"body":"hi"}`)})
	}
	fresh, err := s.Accept("appservice", position, all)
	if err != nil {
		t.Fatal(err)
	}
	return fresh
}

func inbox(t testing.TB, s *storetest.Store, after uint64, n int) string {
	t.Helper()
	events, err := s.Events(after, n)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range events {
		all = append(all, fmt.Sprintf("%d:%s", e.Seq, e.ID))
	}
	return strings.Join(all, " ")
}

func TestEventsAreAcceptedOnce(t *testing.T) {
	s := storetest.Open(t, store.Options{})
	if n := accept(t, s, "txn1", "$a", "$b", "$a"); n != 2 {
		t.Errorf("%d were new", n)
	}
	s.Reopen(t)
	if n := accept(t, s, "txn2", "$b", "$c"); n != 1 {
		t.Errorf("%d were new", n)
	}
	if got := inbox(t, s, 0, 10); got != "1:$a 2:$b 3:$c" {
		t.Errorf("inbox %s", got)
	}
	if got := inbox(t, s, 1, 1); got != "2:$b" {
		t.Errorf("after the first: %s", got)
	}
	if err := s.Commit(lane.Change{Handled: []uint64{1, 3, 77}}); err != nil {
		t.Fatal(err)
	}
	if n := accept(t, s, "txn3", "$a", "$c"); n != 0 {
		t.Errorf("%d were new that had been handled", n)
	}
	if got := inbox(t, s, 0, 10); got != "2:$b" {
		t.Errorf("inbox %s", got)
	}
	for source, want := range map[string]string{"appservice": "txn3", "sync": ""} {
		if got, err := s.Position(source); err != nil || got != want {
			t.Errorf("position of %s: %q, %v", source, got, err)
		}
	}
	if events, _ := s.Events(0, 1); string(events[0].Content) != `{"body":"hi"}` || !events[0].Received.Equal(when(1)) {
		t.Errorf("event %+v", events[0])
	}
}

// What a homeserver brings after an outage may be more than there is room for at once. It must get in bit by bit, as the
// gateway handles what is there already: refused as a whole it would come again, and be refused, for ever.
func TestALargeDeliveryGetsIntoASmallStore(t *testing.T) {
	s := storetest.Open(t, store.Options{MaxSize: 8 << 20})
	var all []room.Event
	for i := range 120 {
		body := fmt.Sprintf(`{"body":%q}`, strings.Repeat("x", 60<<10))
		all = append(all, room.Event{ID: ids.EventID(fmt.Sprintf("$%d", i)), Room: "!r:x", Type: "m.room.message", Received: when(1), Content: []byte(body)})
	}
	total, refused := 0, 0
	for try := 0; ; try++ {
		fresh, err := s.Accept("sync", "next", all)
		total += fresh
		if err == nil {
			break
		}
		if !errors.Is(err, store.ErrNoSpace) || try > 10 {
			t.Fatalf("try %d: %v", try, err)
		}
		refused++
		if position, err := s.Position("sync"); err != nil || position != "" {
			t.Fatalf("position %q after a refusal, %v", position, err)
		}
		events, err := s.Events(0, len(all))
		if err != nil || len(events) == 0 {
			t.Fatalf("%d events are in the inbox, %v", len(events), err)
		}
		var c lane.Change
		for _, e := range events {
			c.Handled = append(c.Handled, e.Seq)
		}
		if err := s.Commit(c); err != nil {
			t.Fatal(err)
		}
	}
	if total != len(all) || refused == 0 {
		t.Errorf("%d of %d events were new, %d times refused", total, len(all), refused)
	}
	if position, err := s.Position("sync"); err != nil || position != "next" {
		t.Errorf("position %q, %v", position, err)
	}
}

func TestOldEventIDsAreForgotten(t *testing.T) {
	now := when(0)
	s := storetest.Open(t, store.Options{Now: func() time.Time { return now }})
	accept(t, s, "1", "$old")
	now = now.Add(6 * 24 * time.Hour)
	if accept(t, s, "2", "$old", "$young") != 1 {
		t.Error("forgotten after six days")
	}
	now = now.Add(25 * time.Hour)
	accept(t, s, "3")
	if accept(t, s, "4", "$old", "$young") != 1 {
		t.Error("after seven days the old one is new again, the young one is not")
	}
}

func TestAcceptRefusesWhatCannotBeKept(t *testing.T) {
	s := storetest.Open(t, store.Options{})
	if _, err := s.Accept("", "p", nil); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("no source: %v", err)
	}
	if _, err := s.Accept("sync", "p", []room.Event{{ID: "$a", Content: []byte("no JSON")}}); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("no JSON: %v", err)
	}
	if p, _ := s.Position("sync"); p != "" {
		t.Errorf("position %q was kept", p)
	}
}

func TestSpaces(t *testing.T) {
	s := storetest.Open(t, store.Options{})
	put := func(items ...lane.Item) {
		t.Helper()
		if err := s.Commit(lane.Change{Put: items}); err != nil {
			t.Fatal(err)
		}
	}
	put(lane.Item{Space: "a", Key: "k1", Value: []byte("1")}, lane.Item{Space: "a", Key: "k2", Value: []byte{}},
		lane.Item{Space: "a", Key: "l\x00", Value: []byte("3")}, lane.Item{Space: "ab", Key: "k1", Value: []byte("4")})
	put(lane.Item{Space: "a", Key: "k1", Value: []byte("5")}, lane.Item{Space: "a", Key: "none"})
	s.Reopen(t)
	for _, c := range []struct{ prefix, want string }{{"", `["k1" "k2" "l\x00"]`}, {"k", `["k1" "k2"]`}, {"k2", `["k2"]`}, {"z", `[]`}} {
		var keys []string
		if err := s.Each("a", c.prefix, func(key string, _ []byte) error { keys = append(keys, key); return nil }); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%q", keys); got != c.want {
			t.Errorf("prefix %q: %s", c.prefix, got)
		}
	}
	if v, ok, err := s.Get("a", "k1"); string(v) != "5" || !ok || err != nil {
		t.Errorf("got %q, %v, %v", v, ok, err)
	}
	if v, ok, err := s.Get("a", "k2"); v == nil || len(v) != 0 || !ok || err != nil {
		t.Errorf("the empty value: %v, %v, %v", v, ok, err)
	}
	stop := errors.New("stop")
	if err := s.Each("a", "", func(string, []byte) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("Each says %v", err)
	}
	put(lane.Item{Space: "a", Key: "k1"})
	if _, ok, _ := s.Get("a", "k1"); ok {
		t.Error("a deleted value is there")
	}
	if err := s.Each("", "", nil); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("no space: %v", err)
	}
}

func bury(t testing.TB, s *storetest.Store, r lane.Record) {
	t.Helper()
	if err := s.Commit(lane.Change{Bury: []lane.DeadLetter{{Record: r, Reason: "M_FORBIDDEN: no", At: when(9)}}}); err != nil {
		t.Fatal(err)
	}
}

func TestDeadLetters(t *testing.T) {
	s := storetest.Open(t, store.Options{})
	r := rec("e1")
	r.Expires = when(500)
	if err := s.Commit(lane.Change{Append: []lane.Record{r, rec("e2"), rec("e3")}}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		taken, _, _ := take(t, s, 10)
		bury(t, s, taken)
		bury(t, s, taken) // it has left the lane: no second letter
	}
	bury(t, s, rec("e9")) // never was in a lane
	letters, err := s.DeadLetters(0, 10)
	if err != nil || len(letters) != 3 {
		t.Fatal(err, letters)
	}
	l, ok, err := s.DeadLetter(1)
	if !ok || err != nil || l.Record.ID != "e1" || l.Lane != deviceRoom || l.Reason != "M_FORBIDDEN: no" || !l.At.Equal(when(9)) || l.Record.Post.Text != "e1" {
		t.Errorf("%v, %v: %+v", ok, err, l)
	}
	if more, _ := s.DeadLetters(1, 1); len(more) != 1 || more[0].Seq != 2 {
		t.Errorf("after the first: %+v", more)
	}
	if err := errors.Join(s.Retry(1), s.Drop(2)); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{s.Retry(1), s.Drop(2), s.Drop(0), s.Retry(44)} {
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("got %v", err)
		}
	}
	s.Reopen(t)
	records, _ := s.Records(deviceRoom, 10)
	if len(records) != 2 || records[0].ID != "e3" {
		t.Fatalf("in the lane: %+v", records)
	}
	again := records[1]
	if again.ID == "e1" || len(again.ID) != 26 || again.Post.Text != "e1" || !again.Expires.IsZero() || !again.At.Equal(when(1)) {
		t.Errorf("sent again: %+v", again)
	}
}

func TestDeadLettersAreBounded(t *testing.T) {
	s := storetest.Open(t, store.Options{MaxSize: 16 << 20})
	var c lane.Change
	for i := range 1005 {
		c.Bury = append(c.Bury, lane.DeadLetter{Record: rec(fmt.Sprint("e", i))})
	}
	if err := s.Commit(c); err != nil {
		t.Fatal(err)
	}
	letters, err := s.DeadLetters(0, 2000)
	if err != nil || len(letters) != 1000 || letters[0].Record.ID != "e5" || letters[0].At.IsZero() {
		t.Errorf("%v: %d letters", err, len(letters))
	}
	s.Reopen(t)
	for i := range 5 { // of 16 MiB an eighth
		big := rec(fmt.Sprint("e", 2000+i))
		big.Post.Data = make([]byte, 600<<10)
		bury(t, s, big)
	}
	letters, err = s.DeadLetters(0, 2000)
	if err != nil || len(letters) != 3 || letters[2].Record.ID != "e2004" {
		t.Errorf("%v: %d letters", err, len(letters))
	}
}
