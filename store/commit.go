package store

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/logkey"
)

// One transaction takes at most so much of what waits; a single request is never split.
const (
	maxGroupRecords = 256
	maxGroupBytes   = 1 << 20
)

// request is one thing to be committed, together with others.
type request struct {
	work    func(*batch) error // may run twice; an error means the transaction cannot be trusted
	records int
	bytes   int
	relief  bool // takes away more than it adds: allowed into the room that is kept free
	err     error
	turn    chan bool // true: you lead now; false: done, see err
}

// queue holds the requests that wait. The goroutine whose request is the first of them leads: it commits a group of
// them, tells the others, and hands the lead to the first of the rest.
type queue struct {
	mu      sync.Mutex
	waiting []*request
	led     bool
	pool    sync.Pool
}

func (q *queue) request(work func(*batch) error, records, bytes int) *request {
	r, _ := q.pool.Get().(*request)
	if r == nil {
		r = &request{turn: make(chan bool, 1)}
	}
	r.work, r.records, r.bytes, r.relief, r.err = work, records, bytes, false, nil
	return r
}

// do commits r with what others bring meanwhile and returns when it is durable.
func (s *Store) do(r *request) error {
	q := &s.queue
	q.mu.Lock()
	q.waiting = append(q.waiting, r)
	lead := !q.led
	q.led = true
	q.mu.Unlock()
	if lead || <-r.turn {
		s.lead()
	}
	err := r.err
	r.work = nil
	q.pool.Put(r)
	return err
}

// lead commits one group, whose first request is the caller's.
func (s *Store) lead() {
	q := &s.queue
	q.mu.Lock()
	n, records, bytes := 0, 0, 0
	for _, r := range q.waiting {
		if n > 0 && (records+r.records > maxGroupRecords || bytes+r.bytes > maxGroupBytes) {
			break
		}
		n++
		records += r.records
		bytes += r.bytes
	}
	group := append(s.group[:0], q.waiting[:n]...)
	q.waiting = append(q.waiting[:0], q.waiting[n:]...)
	clear(q.waiting[len(q.waiting):min(cap(q.waiting), len(q.waiting)+n)])
	q.mu.Unlock()

	s.commitGroup(group)
	for _, r := range group[1:] {
		r.turn <- false
	}
	clear(group)

	q.mu.Lock()
	s.group = group[:0]
	var next *request
	if len(q.waiting) > 0 {
		next = q.waiting[0]
	} else {
		q.led = false
	}
	q.mu.Unlock()
	if next != nil {
		next.turn <- true
	}
}

// commitGroup commits what it can of the group and gives each request its result.
func (s *Store) commitGroup(group []*request) {
	if err := s.failure(); err != nil {
		for _, r := range group {
			r.err = err
		}
		return
	}
	s.closing.RLock()
	defer s.closing.RUnlock()
	start := s.now()
	todo, full := s.admit(group)
	err := s.commitOnce(todo)
	room := false
	if err == nil {
		room = grows(todo)
	}
	if errors.Is(err, ErrNoSpace) {
		full = true
		var rest []*request
		for _, r := range todo {
			if r.err = err; r.relief {
				rest = append(rest, r)
			}
		}
		if len(rest) > 0 && len(rest) < len(todo) {
			todo = rest
			err = s.commitOnce(todo)
		}
	}
	for _, r := range todo {
		r.err = err
	}
	s.metrics.commitSeconds.Observe(s.now().Sub(start).Seconds())
	if full || room {
		s.noteFull(full)
	}
}

// grows says whether a request of the group adds something and had to ask whether there is room.
func grows(group []*request) bool {
	for _, r := range group {
		if !r.relief && r.bytes > 0 {
			return true
		}
	}
	return false
}

// admit gives the requests that may be tried; the others have been refused, as the store is full.
func (s *Store) admit(group []*request) (todo []*request, refused bool) {
	used := s.used.Load()
	todo = s.todo[:0]
	for _, r := range group {
		if !r.relief && r.bytes > 0 {
			need := int64(r.bytes)*3/2 + 16<<10
			if used+need > s.limit {
				r.err = noSpace{fmt.Sprintf("%d of at most %d bytes are in use", used, s.limit)}
				refused = true
				continue
			}
			used += int64(r.bytes) * 3 / 2
		}
		todo = append(todo, r)
	}
	s.todo = todo
	return todo, refused
}

// noteFull tells once when the store becomes full, and once when it no longer is.
func (s *Store) noteFull(full bool) {
	if s.full.Swap(full) == full {
		return
	}
	if full {
		s.log.Error("store is full, nothing more is taken until there is room")
	} else {
		s.log.Info("store has room again")
	}
}

// commitOnce runs the requests in one transaction. An error holds for all of them: ErrNoSpace (nothing was written) or
// ErrFatal.
func (s *Store) commitOnce(group []*request) error {
	if len(group) == 0 {
		return nil
	}
	tx, err := s.db.Begin(true)
	if err != nil {
		return s.fail(err)
	}
	before := tx.ID()
	b := &s.batch
	s.mu.Lock()
	b.begin(s, tx, s.now())
	err = b.run(group)
	s.mu.Unlock()
	if err != nil {
		_ = tx.Rollback() // changes nothing, and err is the reason
		return s.fail(err)
	}
	if err := s.commitTx(tx); err != nil {
		if reason, ok := outOfSpace(err); ok && s.lastCommit() < before {
			s.rebuild(b)
			return noSpace{reason}
		}
		return s.fail(err)
	}
	s.measure()
	s.mu.Lock()
	b.settle()
	s.mu.Unlock()
	b.tell()
	return nil
}

// run applies all requests. The index changes with the transaction; when that fails, it is built again.
func (b *batch) run(group []*request) error {
	return guard(func() error {
		for _, r := range group {
			if err := r.work(b); err != nil {
				return err
			}
		}
		return b.finish()
	})
}

// commitTx commits tx through the seam that tests put failures in.
func (s *Store) commitTx(tx *bbolt.Tx) error {
	err := guard(func() error { return s.commit(tx) })
	if errors.Is(err, errPanic) { // then the transaction still has the writer's lock, which Close would wait for
		_ = guard(tx.Rollback)
	}
	return err
}

// lastCommit is the number of the transaction that a reader sees.
func (s *Store) lastCommit() int {
	tx, err := s.db.Begin(false)
	if err != nil {
		return int(^uint(0) >> 1)
	}
	defer func() { _ = tx.Rollback() }() // of a reader: cannot fail
	return tx.ID()
}

// fail makes err the fate of this and every later commit.
func (s *Store) fail(err error) error {
	err = fmt.Errorf("%w: %w", ErrFatal, err)
	s.log.Error("commit failed, the store must be opened again", logkey.Error, err.Error())
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed == nil {
		s.failed = err
	}
	s.idle.Broadcast()
	return s.failed
}

// failure is why nothing can be done any more; nil if all is well.
func (s *Store) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// outOfSpace says whether err means that there is no room. bbolt does not wrap what growing the file failed with.
func outOfSpace(err error) (reason string, ok bool) {
	if errors.Is(err, berrors.ErrMaxSizeReached) {
		return "the file has reached max_size", true
	}
	for _, no := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if errors.Is(err, no) || strings.HasSuffix(err.Error(), ": "+no.Error()) {
			return no.Error(), true
		}
	}
	return "", false
}

// measure notes how much of the file is in use. Called by the leader only.
func (s *Store) measure() {
	stats := s.db.Stats()
	page := int64(s.db.Info().PageSize)
	_ = s.db.View(func(tx *bbolt.Tx) error { // fails only on a closed file, where nobody asks any more
		s.used.Store(tx.Size() - int64(stats.FreePageN+stats.PendingPageN)*page)
		return nil
	})
}

// Full says whether the last commit that wanted room was refused. Safe for concurrent use.
func (s *Store) Full() bool { return s.full.Load() }

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
	r := s.queue.request(func(b *batch) error { return b.change(&c) }, records, added)
	r.relief = added == 0 || added <= reliefBytes && len(c.Finish)+len(c.Bury)+len(c.Handled) > 0
	return s.do(r)
}

// reliefBytes is how much a change that takes away may add and still be let into the room that is kept free.
const reliefBytes = 64 << 10

// now is the time, for what is kept and for how long things took.
func (s *Store) now() time.Time { return s.opts.Now() }
