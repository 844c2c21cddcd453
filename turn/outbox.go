package turn

import "sync/atomic"

// outbox is a ring of bytes from one goroutine, the worker, to another, the writer of a stream. It has no lock: each side
// moves its own end. What does not fit is not put.
type outbox struct {
	ring    atomic.Pointer[[outLen]byte] // made with the first message
	begin   atomic.Uint64                // moved by the writer
	end     atomic.Uint64                // moved by the worker
	waiting atomic.Bool                  // the writer sleeps, or is about to
	wake    chan struct{}                // has room for one
}

// put copies b behind what is there, all of it or, when there is no room, nothing. The worker calls it; it never waits.
func (o *outbox) put(b []byte) bool {
	end := o.end.Load()
	if len(b) > outLen-int(end-o.begin.Load()) {
		return false
	}
	ring := o.ring.Load()
	if ring == nil {
		ring = new([outLen]byte)
		o.ring.Store(ring)
	}
	n := copy(ring[end%outLen:], b)
	copy(ring[:], b[n:])
	o.end.Store(end + uint64(len(b)))
	if o.waiting.CompareAndSwap(true, false) {
		select {
		case o.wake <- struct{}{}:
		default:
		}
	}
	return true
}

// front is what can be written at once, without what wraps round the ring's end. When there is nothing, the writer must
// wait for wake. The bytes are good until taken.
func (o *outbox) front() []byte {
	begin, end := o.begin.Load(), o.end.Load()
	if begin == end {
		o.waiting.Store(true)
		if end = o.end.Load(); begin == end {
			return nil
		}
		o.waiting.Store(false)
	}
	from := begin % outLen
	return o.ring.Load()[from:min(from+end-begin, outLen)]
}

// taken frees the first n bytes of front.
func (o *outbox) taken(n int) { o.begin.Add(uint64(n)) }
