package turn

import (
	"net"
	"sync/atomic"
	"time"
)

const (
	firstRead = 2 << 10      // bytes a stream's buffer begins with; it grows to what one message takes
	mostRead  = 2 * slotSize // and no further
	outLen    = 32 << 10     // bytes that may wait for a client which reads slowly; a power of 2
)

// stream is a TCP or TLS connection of a client. It has two goroutines: one reads and hands whole messages to the worker,
// the other writes what the worker put into out.
type stream struct {
	conn   net.Conn
	worker *worker
	route  route
	times  streamTimes

	allocated atomic.Bool // there is an allocation
	out       outbox
	closed    chan struct{} // when the writer should end

	// To the worker, between handOver and its return.
	whole []byte // whole messages
	over  bool   // the connection has ended
	next  *stream
	taken chan struct{}
}

// streamTimes are the deadlines of a stream.
type streamTimes struct {
	message time.Duration // for the first message, TLS handshake included, and for the rest of a message that has begun
	idle    time.Duration // without an allocation, between messages
	live    time.Duration // with one: longer than an allocation lives without a refresh
	write   time.Duration // for a client to take what it was sent
}

func defaultTimes() streamTimes {
	return streamTimes{message: 10 * time.Second, idle: time.Minute, live: 65 * time.Minute, write: 10 * time.Second}
}

func newStream(conn net.Conn, w *worker, r route, times streamTimes) *stream {
	s := &stream{conn: conn, worker: w, route: r, times: times, closed: make(chan struct{}), taken: make(chan struct{}, 1)}
	s.out.wake = make(chan struct{}, 1)
	s.route.stream = s
	return s
}

// run serves the connection until it ends, and closes it.
func (s *stream) run() {
	written := make(chan struct{})
	go func() {
		defer close(written)
		s.write()
	}()
	s.read()
	s.conn.Close()
	s.whole, s.over = nil, true
	s.worker.path.handOver(s)
	close(s.closed)
	<-written
}

// read reads until the client is gone, is silent for too long, or sends what no message of ours begins like.
func (s *stream) read() {
	buf := make([]byte, firstRead)
	used := 0
	wait, fresh := s.times.message, true // the next deadline, if it may be put off
	for {
		if fresh {
			_ = s.conn.SetReadDeadline(time.Now().Add(wait))
		}
		n, err := s.conn.Read(buf[used:])
		used += n
		whole, next, bad := wholeFrames(buf[:used])
		if whole > 0 {
			s.whole = buf[:whole:whole]
			s.worker.path.handOver(s)
			used = copy(buf, buf[whole:used])
		}
		if err != nil || bad != nil {
			return
		}
		if full := used == len(buf) || next > len(buf) || whole == len(buf); full && len(buf) < mostRead {
			buf = append(make([]byte, 0, mostRead), buf[:used]...)[:mostRead]
		}
		// A message that trickles in does not put its own deadline off.
		switch {
		case whole > 0 && used > 0:
			wait, fresh = s.times.message, true
		case whole > 0 && s.allocated.Load():
			wait, fresh = s.times.live, true
		case whole > 0:
			wait, fresh = s.times.idle, true
		case used == n: // the first bytes of a message
			wait, fresh = s.times.message, true
		default:
			fresh = false
		}
	}
}

// released says that the allocation is gone: a client that wants no other one must not stay. Safe for concurrent use.
func (s *stream) released() {
	s.allocated.Store(false)
	_ = s.conn.SetReadDeadline(time.Now().Add(s.times.idle)) // a connection that is closed needs none
}

// write writes what the worker puts into out, until the stream has ended or the client does not read.
func (s *stream) write() {
	for {
		b := s.out.front()
		if len(b) == 0 {
			select {
			case <-s.out.wake:
				continue
			case <-s.closed:
				return
			}
		}
		_ = s.conn.SetWriteDeadline(time.Now().Add(s.times.write))
		n, err := s.conn.Write(b)
		if err != nil {
			s.conn.Close() // ends the reader, and with it us
			<-s.closed
			return
		}
		s.out.taken(n)
	}
}
