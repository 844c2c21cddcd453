//go:build linux

package load

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// bufferSize is asked for in both directions: what arrives is read late.
const bufferSize = 1 << 20

// Ports of clients and peers: below the ephemeral ones.
const (
	firstPort = 10000
	lastPort  = 32000
)

// ports hands out ports of one address, from the one after next on.
type ports struct {
	addr [4]byte
	next int
}

// bind makes a UDP socket that does not block, at the next free port.
func (p *ports) bind() (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("load: socket: %w", err)
	}
	for _, opt := range []struct{ force, plain int }{{unix.SO_RCVBUFFORCE, unix.SO_RCVBUF}, {unix.SO_SNDBUFFORCE, unix.SO_SNDBUF}} {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, opt.force, bufferSize) != nil { // needs root
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, opt.plain, bufferSize); err != nil {
				return -1, errors.Join(fmt.Errorf("load: socket buffer: %w", err), unix.Close(fd))
			}
		}
	}
	for p.next < lastPort {
		p.next++
		switch err := unix.Bind(fd, &unix.SockaddrInet4{Addr: p.addr, Port: p.next}); {
		case err == nil:
			return fd, nil
		case !errors.Is(err, unix.EADDRINUSE):
			return -1, errors.Join(fmt.Errorf("load: bind: %w", err), unix.Close(fd))
		}
	}
	return -1, errors.Join(fmt.Errorf("load: no port left at %v", p.addr), unix.Close(fd))
}

func connect(fd int, a netip.AddrPort) error {
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: a.Addr().Unmap().As4(), Port: int(a.Port())}); err != nil {
		return fmt.Errorf("load: connect to %v: %w", a, err)
	}
	return nil
}

// send writes the packets to a connected socket and returns how many the kernel took.
func send(fd int, packets []mmsghdr) (int, error) {
	n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&packets[0])), uintptr(len(packets)), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// receive reads what is there, 0 if nothing is.
func receive(fd int, packets []mmsghdr) (int, error) {
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&packets[0])), uintptr(len(packets)), unix.MSG_DONTWAIT, 0, 0)
	switch errno {
	case 0:
		return int(n), nil
	case unix.EAGAIN, unix.EINTR, unix.ECONNREFUSED: // refused: the answer to an earlier packet
		return 0, nil
	}
	return 0, errno
}

// batch is room for packets to be received, each with its time of arrival if the socket has SO_TIMESTAMPNS.
type batch struct {
	packets []mmsghdr
	data    [][]byte
	control [][]byte
}

func newBatch(n, size int) *batch {
	b := &batch{packets: make([]mmsghdr, n)}
	for i := range n {
		data, control := make([]byte, size), make([]byte, unix.CmsgSpace(int(unsafe.Sizeof(unix.Timespec{}))))
		iov := &unix.Iovec{Base: &data[0]}
		iov.SetLen(size)
		b.packets[i].hdr.Iov, b.packets[i].hdr.Control = iov, &control[0]
		b.packets[i].hdr.SetIovlen(1)
		b.data, b.control = append(b.data, data), append(b.control, control)
	}
	return b
}

// receive fills the batch. The bytes of a packet are valid until the next call.
func (b *batch) receive(fd int) (int, error) {
	for i := range b.packets {
		b.packets[i].hdr.SetControllen(len(b.control[i]))
	}
	return receive(fd, b.packets)
}

func (b *batch) bytes(i int) []byte { return b.data[i][:b.packets[i].n] }

// arrived is when the kernel got packet i, in nanoseconds since 1970; 0 when it did not say.
func (b *batch) arrived(i int) int64 {
	if b.packets[i].hdr.Controllen == 0 {
		return 0
	}
	ts := (*unix.Timespec)(unsafe.Pointer(&b.control[i][unix.CmsgLen(0)]))
	return ts.Nano()
}

// CPU is the processor time that a process has used, in all its threads.
func CPU(pid int) (time.Duration, error) {
	var ts unix.Timespec
	clock := ^int32(pid)<<3 | 2 // CPUCLOCK_SCHED of the process, see clock_getcpuclockid(3)
	if err := unix.ClockGettime(clock, &ts); err != nil {
		return 0, fmt.Errorf("load: processor time of %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}
