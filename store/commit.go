package store

import (
	"go.etcd.io/bbolt"

	"github.com/gatepost/gatepost/gateway/lane"
)

// Commit makes c durable, all of it or nothing, together with what others commit meanwhile. A nil error means fsynced.
// ErrNoSpace means nothing was written and a later try may succeed; ErrInvalid that this change never can be; after any
// other error the process must end. Slices in c are not kept. An empty change writes nothing and only says whether the store
// is well. Safe for concurrent use.
//
// What is no longer there is no mistake: finishing a record twice, deleting what does not exist, burying what is gone (a
// dead letter is made only of a record that waits, or of one that never was in a lane, with Seq 0).
func (s *Store) Commit(c lane.Change) error {
	if len(c.Put)+len(c.Append)+len(c.Finish)+len(c.Bury)+len(c.Handled) == 0 {
		return s.failure()
	}
	added, err := s.checkChange(&c)
	if err != nil {
		return err
	}
	records := len(c.Put) + len(c.Append) + len(c.Finish) + len(c.Bury) + len(c.Handled)
	r := s.request(func(b *batch) error { return b.change(&c) }, records, added)
	r.relief = added == 0 || added <= reliefBytes && len(c.Finish)+len(c.Bury)+len(c.Handled) > 0
	return s.do(r)
}

// reliefBytes is how much a change that takes away may add and still be let into the room that is kept free.
const reliefBytes = 64 << 10

// request makes one whose work is done on the batch.
func (s *Store) request(work func(*batch) error, records, bytes int) *request {
	return s.queue.request(func(*bbolt.Tx) error { return work(&s.batch) }, records, bytes)
}

// run applies all requests. The index changes with the transaction; when that fails, it is built again.
func (s *Store) run(tx *bbolt.Tx, group []*request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batch.begin(s, tx, s.now())
	for _, r := range group {
		if err := r.work(tx); err != nil {
			return err
		}
	}
	return s.batch.finish()
}

func (s *Store) undo() { s.rebuild(&s.batch) }

func (s *Store) settle([]*request) {
	s.mu.Lock()
	s.batch.settle()
	s.mu.Unlock()
	s.batch.tell()
}

// over wakes those who wait for a commit that will not come. Of engine: it never has s.mu when it calls this.
func (s *Store) over() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle.Broadcast()
}
