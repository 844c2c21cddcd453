package turn

import (
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func (p *fastPath) run() error {
	defer close(p.ended)
	defer p.closeAll()
	idle := true
	for !p.stopped.Load() {
		n, err := p.wait(idle)
		if err != nil {
			return err
		}
		idle = n == 0
		p.turn(n)
	}
	return nil
}

// wait fills events and says how many there are. Nothing may be called between its last look at what others want and the
// kernel's wait that they could end too early: they ring after they have put it down.
func (p *fastPath) wait(idle bool) (int, error) {
	p.sleeping.Store(true)
	timeout := 0
	if p.streams.Load() == nil && !p.calls.any.Load() && !p.stopped.Load() && !p.w.posted() {
		timeout = briefWait
		if idle {
			timeout = int(p.w.untilTick() / time.Millisecond)
		}
	}
	var n uintptr
	var errno unix.Errno
	if !idle && p.brief || timeout == 0 {
		// While packets come, the wait is too short for handing the processor to another thread to pay. The garbage
		// collector waits for us meanwhile, which is why it is brief.
		n, _, errno = unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.ep), uintptr(unsafe.Pointer(&p.events)), eventBatch, uintptr(timeout), 0, 0)
	} else {
		n, _, errno = unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.ep), uintptr(unsafe.Pointer(&p.events)), eventBatch, uintptr(timeout), 0, 0)
	}
	p.sleeping.Store(false)
	switch errno {
	case 0:
		return int(n), nil
	case unix.EINTR:
		return 0, nil
	}
	return 0, os.NewSyscallError("epoll_pwait", errno)
}

// turn is one turn of the loop. It is not inlined: entering it is where the garbage collector can stop a loop that has
// nothing but raw system calls.
//
//go:noinline
func (p *fastPath) turn(events int) {
	p.w.clock()
	p.seg.turn(p.w.now)
	for i := range p.events[:events] {
		switch as := p.events[i].Fd; {
		case as >= 0:
			p.readRelay(as)
		case as == bellEvent:
			p.hush()
		default:
			p.readListener(&p.listeners[listenerEvent-as])
		}
	}
	p.flushDown()
	if p.streams.Load() != nil {
		p.readStreams()
	}
	if p.w.posted() {
		p.w.readInbox(p.flushDown)
	}
	if p.calls.any.Load() {
		p.answerCalls()
	}
	p.w.tick()
}

// readListener takes one batch from a listener. When there is more, the next wait says so at once, and peers had their turn.
func (p *fastPath) readListener(l *fastListener) {
	r := p.fromUser
	n := r.read(l.fd, 0, listenBatch, l.wild)
	from := &p.from
	from.tuple.listener, from.local = l.index, origin{}
	for i := range n {
		size := r.size(i)
		if size < 0 || !r.names[i].get(&from.tuple.client) {
			p.w.drops[dropMalformed]++
			continue
		}
		if l.wild {
			from.local.ip, from.local.set = r.controls[i].destination(int(r.msgs[i].Hdr.Controllen))
		}
		p.w.fromClient(from, r.slot(i)[:size:size])
	}
	p.up.flush(p.w.now)
}

// readRelay takes one batch from a relay socket.
func (p *fastPath) readRelay(handle int32) {
	s := p.w.sockets.at(handle)
	if s == nil {
		return // closed since the event came
	}
	if p.next == relaySlots {
		p.flushDown()
	}
	limit := min(s.fast.batch, relaySlots-p.next)
	r, first := p.fromPeers, p.next
	n := r.read(s.fast.fd, first, limit, false)
	p.next += n
	if n == limit {
		s.fast.batch = min(2*limit, relayBatch)
	} else {
		s.fast.batch = max(n, 1)
	}
	var from endpoint
	for i := first; i < first+n; i++ {
		size := r.size(i)
		if size < 0 || !r.names[i].get(&from) {
			p.w.drops[dropMalformed]++
			continue
		}
		p.w.fromPeer(s, from, r.slot(i), size)
	}
}

func (p *fastPath) readStreams() {
	var first *stream // oldest first
	for s := p.streams.Swap(nil); s != nil; {
		next := s.next
		s.next = first
		first, s = s, next
	}
	for s := first; s != nil; {
		next := s.next
		s.next = nil
		p.w.fromStream(s)
		p.up.flush(p.w.now)
		s.taken <- struct{}{}
		s = next
	}
	p.flushDown()
}

func (p *fastPath) handOver(s *stream) {
	for {
		s.next = p.streams.Load()
		if p.streams.CompareAndSwap(s.next, s) {
			break
		}
	}
	p.wake()
	select {
	case <-s.taken:
	case <-p.ended: // it failed; nobody reads s.whole any more
	}
}

func (p *fastPath) enter(f func()) {
	done := make(chan struct{})
	p.calls.Lock()
	p.calls.waiting = append(p.calls.waiting, func() { defer close(done); f() })
	p.calls.any.Store(true)
	p.calls.Unlock()
	p.wake()
	select {
	case <-done:
	case <-p.ended:
	}
}

func (p *fastPath) answerCalls() {
	p.calls.Lock()
	waiting := p.calls.waiting
	p.calls.waiting = nil
	p.calls.any.Store(false)
	p.calls.Unlock()
	for _, f := range waiting {
		f()
	}
	p.up.flush(p.w.now)
}

func (p *fastPath) wake() {
	if p.sleeping.CompareAndSwap(true, false) {
		p.ring()
	}
}

// ring ends a wait; hush readies the bell for the next ring. An eventfd does not fail at either.
func (p *fastPath) ring() {
	one := [8]byte{7: 1}
	_, _ = unix.Write(p.bell, one[:])
}

func (p *fastPath) hush() {
	var b [8]byte
	_, _ = unix.Read(p.bell, b[:])
}

func (p *fastPath) stop() {
	p.stopped.Store(true)
	p.wake()
}
