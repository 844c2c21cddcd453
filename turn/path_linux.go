package turn

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// newPath makes the data path of a worker: this one, or where it is asked for the portable one.
func newPath(w *worker, portable bool) (path, error) {
	if portable {
		return newPlainPath(w), nil
	}
	return newFastPath(w)
}

const (
	fragmentControl = true // the path can forbid fragments (DONT-FRAGMENT)
	maxWorkers      = 64
)

const (
	listenBatch = 64  // datagrams taken from a listener at once
	relaySlots  = 128 // datagrams from peers between two flushes
	relayBatch  = 32  // at most, from one relay socket at once
	eventBatch  = 128
	// briefWait is how long the worker waits for packets while it keeps its processor, in milliseconds. Then it waits as
	// others do.
	briefWait = 1

	listenBuffer = 4 << 20 // bytes the kernel may keep for a listener; less where it is not allowed
	relayBuffer  = 512 << 10
)

// fastPath is the data path on Linux: one goroutine with an epoll, the listeners and the relay sockets of its worker. It takes
// and sends datagrams in batches, and nothing in it locks or allocates.
type fastPath struct {
	w         *worker
	ep, bell  int // epoll, and an eventfd that ends a wait
	listeners []fastListener
	seg       segmenting
	up, down  sendQueue
	fromUser  *receiver
	fromPeers *receiver
	next      int // first free slot of fromPeers
	events    [eventBatch]unix.EpollEvent
	from      route // of the datagram that a listener gave last
	brief     bool  // a wait may keep the processor: there are others

	sleeping atomic.Bool
	streams  atomic.Pointer[stream] // with something read, newest first
	stopped  atomic.Bool
	calls    struct {
		sync.Mutex
		waiting []func()
		any     atomic.Bool
	}
	ended chan struct{} // closed when run has ended
}

type fastListener struct {
	fd    int
	index uint16
	wild  bool // bound to all addresses
}

// fastSocket is the part of a socket that this path has.
type fastSocket struct {
	fd    int
	batch int // datagrams to ask for next time
}

// What epoll says about an event: a relay socket's handle, or one of these.
const (
	bellEvent     = -1
	listenerEvent = -2 // and below: -2-i is listener i
)

func newFastPath(w *worker) (*fastPath, error) {
	p := &fastPath{
		w:         w,
		fromUser:  newReceiver(listenBatch, 0),
		fromPeers: newReceiver(relaySlots, headroom),
		brief:     runtime.GOMAXPROCS(0) > w.s.cfg.Workers,
		ended:     make(chan struct{}),
	}
	p.seg.limit = maxSegment
	p.up.seg, p.down.seg = &p.seg, &p.seg
	var err error
	if p.ep, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if p.bell, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		unix.Close(p.ep)
		return nil, os.NewSyscallError("eventfd", err)
	}
	if err := p.watch(p.bell, bellEvent); err != nil {
		p.closeAll()
		return nil, err
	}
	return p, nil
}

func (p *fastPath) watch(fd int, as int32) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: as}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.ep, unix.EPOLL_CTL_ADD, fd, &ev))
}

func (p *fastPath) listen(at []netip.AddrPort, shared bool) ([]netip.AddrPort, error) {
	bound := make([]netip.AddrPort, len(at))
	for i, a := range at {
		if !a.IsValid() {
			continue
		}
		fd, err := bindUDP(a, shared, listenBuffer)
		if err != nil {
			return nil, fmt.Errorf("listen on udp %s: %w", a, err)
		}
		p.listeners = append(p.listeners, fastListener{fd: fd, index: uint16(i), wild: a.Addr().IsUnspecified()})
		if err := p.watch(fd, listenerEvent-int32(len(p.listeners)-1)); err != nil {
			return nil, err
		}
		if bound[i], err = boundTo(fd); err != nil {
			return nil, err
		}
		if a.Addr().IsUnspecified() {
			if err := wantDestination(fd, a.Addr()); err != nil {
				return nil, err
			}
		}
	}
	return bound, nil
}

func (p *fastPath) open(s *socket, at netip.AddrPort) error {
	fd, err := bindUDP(at, false, relayBuffer)
	if err != nil {
		return fmt.Errorf("open relay port %d: %w", at.Port(), err)
	}
	if at.Addr().Is4() {
		// Without DONT-FRAGMENT a packet may be fragmented (RFC 8656 section 15); nor do we believe who says "too big".
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT)
	}
	if err := p.watch(fd, s.handle); err != nil {
		unix.Close(fd)
		return err
	}
	s.fast = fastSocket{fd: fd, batch: 1}
	return nil
}

// close has nothing of the socket left in a queue: queues are empty when it is called, or flushed by it.
func (p *fastPath) close(s *socket) {
	p.up.flush(p.w.now)
	unix.Close(s.fast.fd)
	s.fast.fd = -1
}

func (p *fastPath) toPeer(s *socket, peer endpoint, b []byte, whole bool) {
	if !whole {
		p.up.add(s.fast.fd, &peer, &origin{}, b, p.w.now)
		return
	}
	p.up.flush(p.w.now)
	level, option, on, off := unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO, unix.IP_PMTUDISC_DONT
	if peer.family() == ipv6 {
		level, option, on, off = unix.IPPROTO_IPV6, unix.IPV6_DONTFRAG, 1, 0
	}
	if unix.SetsockoptInt(s.fast.fd, level, option, on) != nil {
		p.up.lost++
		return
	}
	p.up.add(s.fast.fd, &peer, &origin{}, b, p.w.now)
	p.up.flush(p.w.now)
	_ = unix.SetsockoptInt(s.fast.fd, level, option, off)
}

func (p *fastPath) toClient(r *route, b []byte) {
	p.down.add(p.listeners[p.listener(r)].fd, &r.tuple.client, &r.local, b, p.w.now)
}

func (p *fastPath) answer(r *route, b []byte) {
	p.down.flush(p.w.now)
	p.toClient(r, b)
	p.down.flush(p.w.now)
}

// listener is the place of a route's listener; there are few.
func (p *fastPath) listener(r *route) int {
	for i := range p.listeners {
		if p.listeners[i].index == r.tuple.listener {
			return i
		}
	}
	return 0
}

func (p *fastPath) room() []byte {
	if p.next == relaySlots {
		p.flushDown()
	}
	p.next++
	return p.fromPeers.slot(p.next - 1)
}

func (p *fastPath) flushDown() {
	p.down.flush(p.w.now)
	p.next = 0
}

func (p *fastPath) lost() int64 {
	n := p.up.lost + p.down.lost
	p.up.lost, p.down.lost = 0, 0
	return n
}

func (p *fastPath) abandon() { p.closeAll() }

func (p *fastPath) closeAll() {
	for _, l := range p.listeners {
		unix.Close(l.fd)
	}
	p.listeners = nil
	unix.Close(p.bell)
	unix.Close(p.ep)
}
