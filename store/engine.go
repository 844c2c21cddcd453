package store

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/gatepost/gatepost/internal/logkey"
)

// engine is one open bbolt file whose writers share transactions: what Store and Table have in common. Safe for concurrent
// use.
type engine struct {
	file   string
	db     *bbolt.DB
	log    *slog.Logger
	limit  int64 // bytes in use beyond which only relief is let in
	now    func() time.Time
	commit func(*bbolt.Tx) error // the seam that tests put failures in
	took   func(seconds float64) // told of each commit
	owner  owner

	used   atomic.Int64 // bytes of the file that are in use
	full   atomic.Bool
	failed atomic.Pointer[error] // why nothing can be done any more; nil: all is well

	queue queue
	group []*request // the leader's, as is todo
	todo  []*request

	closing sync.RWMutex // held for reading by every transaction; before all other locks
	closed  bool
}

// owner is what a Store or a Table does in the transactions of its engine. All but over are called by the leader of the
// queue, one at a time.
type owner interface {
	run(tx *bbolt.Tx, group []*request) error // do the work of the requests; an error means the file cannot be trusted
	undo()                                    // what run did was not written
	settle(group []*request)                  // it is durable
	over()                                    // failure has an answer now
}

// One transaction takes at most so much of what waits; a single request is never split.
const (
	maxGroupRecords = 256
	maxGroupBytes   = 1 << 20
)

// request is one thing to be committed, together with others.
type request struct {
	work    func(*bbolt.Tx) error // may run twice; an error means the transaction cannot be trusted. nil: only to wait
	settled func(ok bool)         // Table: after each run of work; nil: nobody
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

func (q *queue) request(work func(*bbolt.Tx) error, records, bytes int) *request {
	r, _ := q.pool.Get().(*request)
	if r == nil {
		r = &request{turn: make(chan bool, 1)}
	}
	r.work, r.settled, r.records, r.bytes, r.relief, r.err = work, nil, records, bytes, false, nil
	return r
}

// do commits r with what others bring meanwhile and returns when it is durable.
func (e *engine) do(r *request) error {
	q := &e.queue
	q.mu.Lock()
	q.waiting = append(q.waiting, r)
	lead := !q.led
	q.led = true
	q.mu.Unlock()
	if lead || <-r.turn {
		e.lead()
	}
	err := r.err
	r.work, r.settled = nil, nil
	q.pool.Put(r)
	return err
}

// lead commits one group, whose first request is the caller's.
func (e *engine) lead() {
	q := &e.queue
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
	group := append(e.group[:0], q.waiting[:n]...)
	q.waiting = append(q.waiting[:0], q.waiting[n:]...)
	clear(q.waiting[len(q.waiting):min(cap(q.waiting), len(q.waiting)+n)])
	q.mu.Unlock()

	e.commitGroup(group)
	for _, r := range group[1:] {
		r.turn <- false
	}
	clear(group)

	q.mu.Lock()
	e.group = group[:0]
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
func (e *engine) commitGroup(group []*request) {
	if err := e.failure(); err != nil {
		for _, r := range group {
			r.err = err
		}
		return
	}
	e.closing.RLock()
	defer e.closing.RUnlock()
	start := e.now()
	todo, full := e.admit(group)
	err := e.commitOnce(todo)
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
			err = e.commitOnce(todo)
		}
	}
	for _, r := range todo {
		r.err = err
	}
	if len(todo) > 0 {
		e.took(e.now().Sub(start).Seconds())
	}
	if full || room {
		e.noteFull(full)
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

// admit gives the requests that may be tried; the others have been refused, as the store is full, or want nothing written.
func (e *engine) admit(group []*request) (todo []*request, refused bool) {
	used := e.used.Load()
	todo = e.todo[:0]
	for _, r := range group {
		if r.work == nil {
			continue
		}
		if !r.relief && r.bytes > 0 {
			need := int64(r.bytes)*3/2 + 16<<10
			if used+need > e.limit {
				r.err = noSpace{fmt.Sprintf("%d of at most %d bytes are in use", used, e.limit)}
				refused = true
				continue
			}
			used += int64(r.bytes) * 3 / 2
		}
		todo = append(todo, r)
	}
	e.todo = todo
	return todo, refused
}

// noteFull tells once when the file becomes full, and once when it no longer is.
func (e *engine) noteFull(full bool) {
	if e.full.Swap(full) == full {
		return
	}
	if full {
		e.log.Error("store is full, nothing more is taken until there is room", logkey.File, e.file)
	} else {
		e.log.Info("store has room again", logkey.File, e.file)
	}
}

// commitOnce runs the requests in one transaction. An error holds for all of them: ErrNoSpace (nothing was written) or
// ErrFatal.
func (e *engine) commitOnce(group []*request) error {
	if len(group) == 0 {
		return nil
	}
	tx, err := e.db.Begin(true)
	if err != nil {
		return e.fail(err)
	}
	before := tx.ID()
	if err := guard(func() error { return e.owner.run(tx, group) }); err != nil {
		_ = tx.Rollback() // changes nothing, and err is the reason
		return e.fail(err)
	}
	if err := e.commitTx(tx); err != nil {
		if reason, ok := outOfSpace(err); ok && e.lastCommit() < before {
			e.owner.undo()
			return noSpace{reason}
		}
		return e.fail(err)
	}
	e.measure()
	e.owner.settle(group)
	return nil
}

// commitTx commits tx.
func (e *engine) commitTx(tx *bbolt.Tx) error {
	err := guard(func() error { return e.commit(tx) })
	if errors.Is(err, errPanic) { // then the transaction still has the writer's lock, which Close would wait for
		_ = guard(tx.Rollback)
	}
	return err
}

// lastCommit is the number of the transaction that a reader sees.
func (e *engine) lastCommit() int {
	tx, err := e.db.Begin(false)
	if err != nil {
		return int(^uint(0) >> 1)
	}
	defer func() { _ = tx.Rollback() }() // of a reader: cannot fail
	return tx.ID()
}

// fail makes err the fate of this and every later commit, unless there is one already, which comes back.
func (e *engine) fail(err error) error {
	err = fmt.Errorf("%w: %w", ErrFatal, err)
	e.log.Error("commit failed, the store must be opened again", logkey.File, e.file, logkey.Error, err.Error())
	return e.end(err)
}

// end lets every later call fail with err, if it does not fail already.
func (e *engine) end(err error) error {
	e.failed.CompareAndSwap(nil, &err)
	e.owner.over()
	return e.failure()
}

// failure is why nothing can be done any more; nil if all is well.
func (e *engine) failure() error {
	if err := e.failed.Load(); err != nil {
		return *err
	}
	return nil
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
func (e *engine) measure() {
	stats := e.db.Stats()
	page := int64(e.db.Info().PageSize)
	_ = e.db.View(func(tx *bbolt.Tx) error { // fails only on a closed file, where nobody asks any more
		e.used.Store(tx.Size() - int64(stats.FreePageN+stats.PendingPageN)*page)
		return nil
	})
}

// view runs f in a reading transaction. Panics and faults of reading mangled pages come back as errors.
func (e *engine) view(f func(tx *bbolt.Tx) error) error {
	e.closing.RLock()
	defer e.closing.RUnlock()
	if e.closed {
		return ErrClosed
	}
	return guard(func() error { return e.db.View(f) })
}

// Full says whether the last commit that wanted room was refused. Safe for concurrent use.
func (e *engine) Full() bool { return e.full.Load() }

// Size is the size of the file. Safe for concurrent use.
func (e *engine) Size() (Size, error) {
	info, err := os.Stat(e.file)
	if err != nil {
		return Size{}, fmt.Errorf("store: %w", err)
	}
	return Size{File: info.Size(), Used: e.used.Load(), Limit: e.limit}, nil
}

// shut closes the file. It waits for transactions that are going on; what is called later returns ErrClosed. It tells
// whether the file was open.
func (e *engine) shut() (bool, error) {
	_ = e.end(ErrClosed) // or an earlier failure stays
	e.closing.Lock()
	defer e.closing.Unlock()
	if e.closed {
		return false, nil
	}
	e.closed = true
	return true, e.db.Close()
}
