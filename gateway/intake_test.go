package gateway

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/mqtt/topic"
)

// batchStore notes how many records of devices each commit brings.
type batchStore struct {
	*memStore
	mu    sync.Mutex
	sizes []int
}

func (s *batchStore) Commit(c lane.Change) error {
	err := s.memStore.Commit(c)
	n := 0
	for _, r := range c.Append {
		if r.Device != "" {
			n++
		}
	}
	if err == nil && n > 0 {
		s.mu.Lock()
		s.sizes = append(s.sizes, n)
		s.mu.Unlock()
	}
	return err
}

func (s *batchStore) take() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.sizes
	s.sizes = nil
	return out
}

// What comes while one batch is committed goes with the next one, however often the router has looked meanwhile: a message
// waits for two commits at most.
func TestABatchGrowsWhileAnotherIsCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := &batchStore{memStore: w.store}
		w.change = func(c *Config) { c.Store = s }
		w.start([]RuleSpec{door})
		w.publish("door/event", "open")
		s.take()
		for _, c := range []struct {
			messages int
			want     []int
		}{
			{16, []int{1, 15}},
			{2 * batchRecords, []int{1, batchRecords, batchRecords - 1}},
		} {
			w.store.set(fullError{}) // a commit that takes long: it is tried every second
			var wg sync.WaitGroup
			for i := range c.messages {
				wg.Go(func() {
					m := topic.Message{Topic: "door/event", Payload: fmt.Append(nil, i), Time: time.Now()}
					if err := w.g.Deliver(context.Background(), m); err != nil {
						t.Errorf("message %d: %v", i, err)
					}
				})
				synctest.Wait() // the router has it before the next one comes
			}
			w.store.set(nil)
			wg.Wait()
			synctest.Wait()
			if got := s.take(); !slices.Equal(got, c.want) {
				t.Errorf("%d messages were committed as %v, want %v", c.messages, got, c.want)
			}
		}
		if err := w.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// A batch that is full of bytes is as full as one that is full of messages.
func TestABatchIsBoundedInBytes(t *testing.T) {
	b := &batch{}
	if b.size = batchBytes - 1; b.full() {
		t.Error("full too early")
	}
	if b.size++; !b.full() {
		t.Error("never full")
	}
	q := newQueue()
	for range 3 {
		if err := q.put(t.Context(), arrival{msg: topic.Message{Payload: make([]byte, 1000)}}); err != nil {
			t.Fatal(err)
		}
	}
	<-q.more
	if list, size := q.take(10, 2500); len(list) != 2 || size != 2400 {
		t.Errorf("%d messages of %d bytes where there is room for two", len(list), size)
	}
	<-q.more // one more waits
	if list, _ := q.take(10, 1); len(list) != 1 {
		t.Errorf("%d messages: one is always taken", len(list))
	}
}

func TestAResetBatchHoldsNothing(t *testing.T) {
	b := &batch{began: time.Now(), size: 7, due: true}
	b.change.Append = append(b.change.Append, lane.Record{ID: "x"})
	b.change.Put = append(b.change.Put, lane.Item{Value: []byte("x")})
	b.dones = append(b.dones, func(error) {})
	b.after = append(b.after, func() {})
	b.marks = append(b.marks, mark{client: "x"})
	b.reset()
	if len(b.change.Append)+len(b.change.Put)+len(b.dones)+len(b.after)+len(b.marks)+b.size != 0 || b.due || !b.began.IsZero() {
		t.Errorf("%+v", b)
	}
	if r, p := b.change.Append[:1][0], b.change.Put[:1][0]; r.ID != "" || p.Value != nil || b.dones[:1][0] != nil || b.after[:1][0] != nil {
		t.Error("what the batch held can't be collected")
	}
}
