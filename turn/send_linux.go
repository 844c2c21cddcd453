package turn

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	queueLen    = 128 // messages a queue takes between two flushes
	maxSegments = 64  // datagrams in one message: the least that kernels with UDP_SEGMENT take
	maxJoined   = 62000
	// maxSegment is the longest datagram that is joined with others. Media is sent in packets of up to 1 200 bytes; with
	// longer ones the kernel's answer would depend on each path's MTU.
	maxSegment   = 1300
	segmentAgain = instant(time.Minute) // after the kernel refused to segment, it is asked again
)

// segmenting says up to which size datagrams to one destination are joined and cut again by the kernel or the network
// card (UDP_SEGMENT). What the kernel refuses is sent one by one, and for a while not tried again.
type segmenting struct {
	limit int // bytes; 0: not at all
	again instant
}

func (s *segmenting) refused(size int, why unix.Errno, now instant) {
	if why == unix.EIO { // the device cannot
		size = 1
	}
	s.limit, s.again = min(s.limit, size-1), now+segmentAgain
}

func (s *segmenting) turn(now instant) {
	if s.limit < maxSegment && now > s.again {
		s.limit = maxSegment
	}
}

// sendQueue gathers datagrams and sends them with few system calls: those of one socket with one sendmmsg, those of one
// destination in it as one message that the kernel cuts. It keeps the bytes it is given only until the next flush.
// One goroutine's.
type sendQueue struct {
	seg      *segmenting
	n        int // messages
	niov     int
	open     bool // the last message may grow
	fds      [queueLen]int32
	to       [queueLen]endpoint
	local    [queueLen]origin
	size     [queueLen]int // of the first datagram in the message
	total    [queueLen]int
	msgs     [queueLen]unix.Mmsghdr
	names    [queueLen]sockaddr
	controls [queueLen]control
	iovs     [queueLen * 2]unix.Iovec
	single   [maxSegments]unix.Mmsghdr // to send one by one what could not be cut
	lost     int64                     // datagrams the kernel did not take
}

// add queues b for to, out of socket fd. local is which of our addresses it must leave from.
func (q *sendQueue) add(fd int, to *endpoint, local *origin, b []byte, now instant) {
	if q.open && q.join(fd, to, local, b) {
		return
	}
	if q.n == queueLen || q.niov == len(q.iovs) {
		q.flush(now)
	}
	i := q.n
	q.n++
	q.fds[i], q.to[i], q.local[i], q.size[i], q.total[i] = int32(fd), *to, *local, len(b), len(b)
	h := &q.msgs[i].Hdr
	h.Name, h.Namelen = (*byte)(unsafe.Pointer(&q.names[i])), q.names[i].set(to)
	h.Iov = &q.iovs[q.niov]
	h.SetIovlen(1)
	c := &q.controls[i]
	c.n = 0
	if local.set {
		c.source(local.ip)
	}
	q.setControl(i)
	q.iov(b)
	q.open = len(b) <= q.seg.limit && len(b) > 0
}

// join makes b one more segment of the last message, where it may be.
func (q *sendQueue) join(fd int, to *endpoint, local *origin, b []byte) bool {
	i := q.n - 1
	if q.fds[i] != int32(fd) || len(b) > q.size[i] || len(b) == 0 || q.to[i] != *to || q.local[i] != *local ||
		q.niov == len(q.iovs) || q.total[i]+len(b) > maxJoined {
		return false
	}
	h := &q.msgs[i].Hdr
	if h.Iovlen == 1 {
		q.controls[i].segments(q.size[i])
		q.setControl(i)
	}
	q.iov(b)
	h.SetIovlen(int(h.Iovlen) + 1)
	q.total[i] += len(b)
	q.open = len(b) == q.size[i] && h.Iovlen < maxSegments // only the last segment may be shorter
	return true
}

func (q *sendQueue) iov(b []byte) {
	v := &q.iovs[q.niov]
	v.Base = unsafe.SliceData(b)
	v.SetLen(len(b))
	q.niov++
}

func (q *sendQueue) setControl(i int) {
	h, c := &q.msgs[i].Hdr, &q.controls[i]
	h.Control = nil
	if c.n > 0 {
		h.Control = (*byte)(unsafe.Pointer(&c.buf))
	}
	h.SetControllen(c.n)
}

// flush sends everything. What the kernel does not take is lost, as datagrams are.
func (q *sendQueue) flush(now instant) {
	for from := 0; from < q.n; {
		to := from + 1
		for to < q.n && q.fds[to] == q.fds[from] {
			to++
		}
		q.send(from, to, now)
		from = to
	}
	q.n, q.niov, q.open = 0, 0, false
}

// send sends the messages from, to of one socket.
func (q *sendQueue) send(from, to int, now instant) {
	for from < to {
		sent, errno := sendMsgs(int(q.fds[from]), q.msgs[from:to])
		from += sent
		if errno == 0 {
			continue
		}
		segments := int(q.msgs[from].Hdr.Iovlen)
		switch {
		case segments > 1 && (errno == unix.EIO || errno == unix.EINVAL || errno == unix.EMSGSIZE):
			q.seg.refused(q.size[from], errno, now)
			q.sendSingly(from)
		case errno == unix.EAGAIN || errno == unix.ENOBUFS: // the socket takes no more now
			for ; from < to; from++ {
				q.lost += int64(q.msgs[from].Hdr.Iovlen)
			}
			return
		default: // this destination, not the socket
			q.lost += int64(segments)
		}
		from++
	}
}

// sendSingly sends the segments of message i as datagrams.
func (q *sendQueue) sendSingly(i int) {
	h := &q.msgs[i].Hdr
	n := int(h.Iovlen)
	c := &q.controls[i]
	c.n = 0
	if q.local[i].set {
		c.source(q.local[i].ip)
	}
	q.setControl(i)
	for j := range n {
		q.single[j].Hdr = *h
		q.single[j].Hdr.Iov = (*unix.Iovec)(unsafe.Add(unsafe.Pointer(h.Iov), uintptr(j)*unsafe.Sizeof(unix.Iovec{})))
		q.single[j].Hdr.SetIovlen(1)
	}
	for at := 0; at < n; {
		sent, errno := sendMsgs(int(q.fds[i]), q.single[at:n])
		at += sent
		if errno != 0 {
			q.lost++
			at++
		}
	}
}

// sendMsgs says how many messages the kernel took, at least one or the errno of the first.
func sendMsgs(fd int, msgs []unix.Mmsghdr) (int, unix.Errno) {
	for {
		var n uintptr
		var errno unix.Errno
		if h := &msgs[0].Hdr; len(msgs) == 1 && h.Iovlen == 1 && h.Control == nil { // the usual case of a relay socket
			_, _, errno = unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(h.Iov.Base)), uintptr(h.Iov.Len),
				unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, uintptr(unsafe.Pointer(h.Name)), uintptr(h.Namelen))
			n = 1
		} else {
			n, _, errno = unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&msgs[0])), uintptr(len(msgs)),
				unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		}
		switch errno {
		case 0:
			return int(n), 0
		case unix.EINTR:
			continue
		}
		return 0, errno
	}
}
