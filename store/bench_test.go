package store_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/store"
)

// BenchmarkCommit commits single small records, each to one of 50 lanes, from so many goroutines.
func BenchmarkCommit(b *testing.B) {
	for _, writers := range []int{1, 16, 256} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			s, err := store.Open(store.Options{Path: b.TempDir(), MaxSize: 2 << 30, LaneRecords: 10_000_000, LaneBytes: 1 << 30})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			work := make(chan int, 1024)
			var wg sync.WaitGroup
			for range writers {
				wg.Go(func() {
					for i := range work {
						r := rec("e1")
						r.Lane, r.ID, r.Topic = lanes[i%len(lanes)], "01ARYZ6S41TSV4RRFFQ69G5FAV", "sensors/cellar/temperature"
						if err := s.Commit(lane.Change{Append: []lane.Record{r}}); err != nil {
							b.Error(err)
						}
					}
				})
			}
			for i := range b.N {
				work <- i
			}
			close(work)
			wg.Wait()
			b.StopTimer()
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkOpen opens a store in which so many small records wait.
func BenchmarkOpen(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			o := store.Options{Path: b.TempDir(), LaneBytes: 64 << 20, LaneRecords: n}
			s, err := store.Open(o)
			if err != nil {
				b.Fatal(err)
			}
			for i := 0; i < n; i += 1000 {
				var c lane.Change
				for j := range 1000 {
					r := rec("e1")
					r.Lane = lanes[j%len(lanes)]
					c.Append = append(c.Append, r)
				}
				if err := s.Commit(c); err != nil {
					b.Fatal(err)
				}
			}
			for b.Loop() {
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
				if s, err = store.Open(o); err != nil {
					b.Fatal(err)
				}
			}
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

var lanes = func() (keys [50]ids.RoomKey) {
	for i := range keys {
		keys[i] = ids.DeviceRoom(ids.DeviceID(fmt.Sprint("device-", i)))
	}
	return keys
}()
