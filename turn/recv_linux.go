package turn

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// receiver reads datagrams of one socket after the other, many with one system call. One goroutine's.
type receiver struct {
	msgs     []unix.Mmsghdr
	iovs     []unix.Iovec
	names    []sockaddr
	controls []control
	slots    []byte
	head     int
}

// newReceiver makes room for n datagrams of at most maxDatagram bytes, each with head bytes free before it and tailroom
// bytes after it.
func newReceiver(n, head int) *receiver {
	r := &receiver{
		msgs:     make([]unix.Mmsghdr, n),
		iovs:     make([]unix.Iovec, n),
		names:    make([]sockaddr, n),
		controls: make([]control, n),
		slots:    make([]byte, n*slotSize),
		head:     head,
	}
	for i := range r.msgs {
		r.iovs[i].Base = &r.slots[i*slotSize+head]
		r.iovs[i].SetLen(maxDatagram)
		h := &r.msgs[i].Hdr
		h.Name = (*byte)(unsafe.Pointer(&r.names[i]))
		h.Iov = &r.iovs[i]
		h.SetIovlen(1)
		h.Control = (*byte)(unsafe.Pointer(&r.controls[i].buf))
	}
	return r
}

// read takes what waits on fd, at most limit datagrams, into the slots from first on, and says how many came: 0 when
// nothing waits. withControl asks for the control messages.
func (r *receiver) read(fd, first, limit int, withControl bool) int {
	for i := first; i < first+limit; i++ {
		h := &r.msgs[i].Hdr
		h.Namelen = uint32(unsafe.Sizeof(sockaddr{}))
		h.Flags = 0
		if withControl {
			h.SetControllen(controlLen)
		} else {
			h.SetControllen(0)
		}
	}
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&r.msgs[first])), uintptr(limit), unix.MSG_DONTWAIT, 0, 0)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return 0 // nothing waits; an error that the network reported is consumed by being read
		}
		return int(n)
	}
}

// slot is the whole slot of datagram i: the datagram begins at r.head.
func (r *receiver) slot(i int) []byte { return r.slots[i*slotSize : (i+1)*slotSize : (i+1)*slotSize] }

// size is the length of datagram i, or -1 when there was more of it than a slot takes.
func (r *receiver) size(i int) int {
	if r.msgs[i].Hdr.Flags&unix.MSG_TRUNC != 0 {
		return -1
	}
	return int(r.msgs[i].Len)
}
