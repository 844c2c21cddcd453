package store_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/store"
	"github.com/gatepost/gatepost/store/storetest"
)

// TestNothingAcknowledgedIsLostByAKill has four writers append numbered events, each to a lane of its own and with a value
// beside it, and take the oldest away now and then.
func TestNothingAcknowledgedIsLostByAKill(t *testing.T) {
	const writers = 4
	last := [writers]int{} // acknowledged, over all rounds
	storetest.Kill(t, 10, func(folder string, ack func(string)) {
		s, err := store.Open(store.Options{Path: folder})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		var mu sync.Mutex
		for w := range writers {
			key := ids.RoomKey(fmt.Sprint("lane", w))
			next := newest(t, s, key) + 1
			wg.Go(func() {
				for n := next; ; n++ {
					r := rec(fmt.Sprint("e", n))
					r.Lane = key
					c := lane.Change{Append: []lane.Record{r}, Put: []lane.Item{{Space: "n", Key: string(key), Value: fmt.Append(nil, n)}}}
					if taken, ok, _, err := s.Take(key, when(0)); err == nil && ok && n%3 > 0 {
						c.Finish = []lane.Ref{{Lane: key, Seq: taken.Seq}}
					} else if ok {
						s.Release(lane.Ref{Lane: key, Seq: taken.Seq})
					}
					if err := s.Commit(c); err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					ack(fmt.Sprintf("%d/%d", w, n))
					mu.Unlock()
				}
			})
		}
		wg.Wait()
	}, func(folder string, acked []string) {
		for _, a := range acked {
			var w, n int
			if _, err := fmt.Sscanf(a, "%d/%d", &w, &n); err != nil || n <= last[w] {
				t.Fatalf("%q after %d: %v", a, last[w], err)
			}
			last[w] = n
		}
		s := storetest.Open(t, store.Options{Path: folder})
		for w, n := range last {
			key := ids.RoomKey(fmt.Sprint("lane", w))
			found := newest(t, s.Store, key)
			value, _, err := s.Get("n", string(key))
			if err != nil || found < n || string(value) != fmt.Sprint(found) {
				t.Errorf("%v: lane %d: %d acknowledged, %d there, its value says %s", err, w, n, found, value)
			}
			last[w] = found // it may have been written and not acknowledged
		}
		s.End(t)
	})
}

// newest is the number of the last event of a lane, whose events must follow each other without a hole; 0 none.
func newest(t *testing.T, s *store.Store, key ids.RoomKey) int {
	records, err := s.Records(key, 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	last := 0
	for _, r := range records {
		var n int
		if _, err := fmt.Sscanf(r.ID, "e%d", &n); err != nil || last != 0 && n != last+1 {
			t.Fatalf("%q after %d in %s", r.ID, last, key)
		}
		last = n
	}
	return last
}
