package mqtt

import (
	"sync"

	"github.com/gatepost/gatepost/mqtt/topic"
)

// overhead is what a message costs beyond its bytes, so that small messages are bounded too.
const overhead = 256

// cost is the room of a PUBLISH with that remaining length.
func cost(size int) int64 { return int64(size) + overhead }

// intake is what lies between the connections and Config.Deliver: a queue, and the count of all bytes that are in it or
// delivered and not yet done. It outlives connections.
type intake struct {
	deliver func(topic.Message, func(error))
	limit   int64

	mu    sync.Mutex
	used  int64
	queue []item
	open  int           // delivered and not done
	freed chan struct{} // not nil: to be closed when used goes down
	wake  chan struct{} // holds one token when there may be something in queue
	idle  chan struct{} // not nil: to be closed when queue and open are empty
}

// item is a message in the queue.
type item struct {
	message topic.Message
	cost    int64
	skip    func() bool // tells, when its turn has come, that it shall not be delivered
	done    func(error)
}

func newIntake(limit int64, deliver func(topic.Message, func(error))) *intake {
	return &intake{deliver: deliver, limit: limit, wake: make(chan struct{}, 1)}
}

// take reserves n bytes and returns nil, or a channel that is closed when a new try makes sense. When nothing else is in
// flight there is room for anything.
func (in *intake) take(n int64) <-chan struct{} {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.used > 0 && in.used+n > in.limit {
		if in.freed == nil {
			in.freed = make(chan struct{})
		}
		return in.freed
	}
	in.used += n
	return nil
}

// give returns n bytes.
func (in *intake) give(n int64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.used -= n
	if in.freed != nil {
		close(in.freed)
		in.freed = nil
	}
	in.checkIdle()
}

// checkIdle is called with mu held.
func (in *intake) checkIdle() {
	if in.idle != nil && len(in.queue) == 0 && in.open == 0 {
		close(in.idle)
		in.idle = nil
	}
}

// put queues a message whose room has been taken.
func (in *intake) put(it item) {
	in.mu.Lock()
	in.queue = append(in.queue, it)
	in.mu.Unlock()
	select {
	case in.wake <- struct{}{}:
	default:
	}
}

// whenIdle gives a channel that is closed as soon as all is delivered and done. Nothing may be put meanwhile.
func (in *intake) whenIdle() <-chan struct{} {
	in.mu.Lock()
	defer in.mu.Unlock()
	idle := make(chan struct{})
	in.idle = idle
	in.checkIdle()
	return idle
}

// bytes is what is in flight.
func (in *intake) bytes() int64 {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.used
}

// run delivers until stop is closed.
func (in *intake) run(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-in.wake:
		}
		for {
			select {
			case <-stop:
				return
			default:
			}
			it, ok := in.pop()
			if !ok {
				break
			}
			if it.skip() {
				in.finish(it)
				continue
			}
			var once sync.Once
			in.deliver(it.message, func(err error) {
				once.Do(func() {
					it.done(err)
					in.finish(it)
				})
			})
		}
	}
}

func (in *intake) pop() (item, bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.queue) == 0 {
		in.queue = nil // what a burst has made large is not kept
		return item{}, false
	}
	it := in.queue[0]
	in.queue[0] = item{}
	in.queue = in.queue[1:]
	in.open++
	return it, true
}

// finish ends what pop began.
func (in *intake) finish(it item) {
	in.mu.Lock()
	in.open--
	in.mu.Unlock()
	in.give(it.cost)
}
