package gateway

import (
	"context"
	"sync"

	"github.com/gatepost/gatepost/mqtt/topic"
)

// queue is a list of arrivals bounded in bytes. Safe for concurrent use.
type queue struct {
	mu     sync.Mutex
	room   *sync.Cond // somebody took, or closed
	more   chan struct{}
	list   []arrival
	bytes  int
	closed bool
}

func newQueue() *queue {
	q := &queue{more: make(chan struct{}, 1)}
	q.room = sync.NewCond(&q.mu)
	return q
}

func weight(m topic.Message) int { return len(m.Payload) + len(m.Topic) + 200 }

// put waits for room until ctx is done. A message that is larger than the queue gets in when the queue is empty.
func (q *queue) put(ctx context.Context, a arrival) error {
	w := weight(a.msg)
	q.mu.Lock()
	defer q.mu.Unlock()
	full := func() bool { return !q.closed && q.bytes > 0 && q.bytes+w > queueBytes }
	if full() {
		defer context.AfterFunc(ctx, func() {
			q.mu.Lock()
			defer q.mu.Unlock()
			q.room.Broadcast()
		})()
		for full() && ctx.Err() == nil {
			q.room.Wait()
		}
		if full() {
			return ctx.Err()
		}
	}
	if q.closed {
		return ErrStopped
	}
	q.list = append(q.list, a)
	q.bytes += w
	q.tell()
	return nil
}

// take gives what waits, at most count messages of room bytes in all but at least one, and their size. When more waits
// still, q.more says so again.
func (q *queue) take(count, room int) (list []arrival, size int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for n < len(q.list) && n < count && (n == 0 || size+weight(q.list[n].msg) <= room) {
		size += weight(q.list[n].msg)
		n++
	}
	list = q.list[:n:n]
	q.list = q.list[n:]
	if len(q.list) == 0 {
		q.list = nil // the taken part stays the taker's
	} else {
		q.tell()
	}
	q.bytes -= size
	q.room.Broadcast()
	return list, size
}

// tell says that something waits.
func (q *queue) tell() {
	select {
	case q.more <- struct{}{}:
	default:
	}
}

// close refuses what comes and gives back what waits.
func (q *queue) close() []arrival {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	out := q.list
	q.list, q.bytes = nil, 0
	q.room.Broadcast()
	return out
}
