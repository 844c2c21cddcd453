package mqtt

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// errWireClosed is what Read and Write of a closed wire give; Write has written nothing then. Its text is not that of
// net.ErrClosed, by which paho would take the end of a connection for one that it made itself.
var errWireClosed = errors.New("the connection is closed")

// writeTimeout is how long one packet may take to be written. A connection that takes longer is closed.
const writeTimeout = 10 * time.Second

// wire is the connection as paho sees it. It knows where packets begin, and so it can hold back a PUBLISH until the
// intake has room for it. To a ping that paho sends meanwhile it answers itself, since the broker's own answer is behind
// what is held back. After a failed write it is closed, because part of a packet may be out.
type wire struct {
	net.Conn
	r          *bufio.Reader
	in         *intake
	maxPayload int

	// owned by the reader
	ready     []byte // to be handed on first
	pass, cut int    // bytes of the packet to be handed on, and to be left out after them
	frame     frame  // with waiting: a PUBLISH for which there was no room yet
	waiting   bool

	taken  atomic.Int64  // room taken from the intake for what no message has claimed yet
	held   atomic.Bool   // a PUBLISH is held back
	asked  atomic.Int32  // number of filters in the SUBSCRIBE sent last
	pinged chan struct{} // paho has sent a ping
	hold   chan struct{} // closed: no PUBLISH any more
	closed chan struct{}

	holdOnce, closeOnce sync.Once
	cause               error // why it was closed; nil: paho did. Set before closed is closed
}

func newWire(c net.Conn, in *intake, maxPayload int) *wire {
	return &wire{
		Conn: c, r: bufio.NewReaderSize(c, 8<<10), in: in, maxPayload: maxPayload,
		pinged: make(chan struct{}, 1), hold: make(chan struct{}), closed: make(chan struct{}),
	}
}

// Read gives the bytes of whole packets. It is called by one goroutine at a time.
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.read(p)
	if err != nil {
		w.close(err)
		err = w.cause
		if err == nil {
			err = errWireClosed
		}
	}
	return n, err
}

func (w *wire) read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		switch {
		case len(w.ready) > 0:
			n := copy(p, w.ready)
			w.ready = w.ready[n:]
			return n, nil
		case w.pass > 0:
			n, err := w.r.Read(p[:min(len(p), w.pass)])
			w.pass -= n
			if n > 0 || err != nil {
				return n, err
			}
		case w.cut > 0:
			n, err := io.CopyN(io.Discard, w.r, int64(w.cut))
			w.cut -= int(n)
			if err != nil {
				return 0, err
			}
		default:
			if err := w.next(); err != nil {
				return 0, err
			}
		}
	}
}

// next reads the header of a packet and, when it is a PUBLISH, waits for room. Instead of it an answer to a ping may be
// handed on; the PUBLISH waits on then.
func (w *wire) next() error {
	if !w.waiting {
		f, err := readFrame(w.r, w.maxPayload)
		if err != nil {
			return err
		}
		if f.first&0xF0 == typeSuback && f.size > 2+int(w.asked.Load()) {
			return fmt.Errorf("%w: a SUBACK with more answers than filters", errMalformed) // paho would panic
		}
		w.frame, w.waiting = f, f.publish()
	}
	if w.waiting {
		ok, err := w.await(cost(w.frame.size))
		if err != nil {
			return err
		}
		if !ok {
			w.ready = []byte{typePingresp, 0}
			return nil
		}
		w.waiting = false
	}
	w.ready, w.pass, w.cut = w.frame.header(), w.frame.size, w.frame.cut
	return nil
}

// await takes room for n bytes, or reports false when a ping wants its answer first.
func (w *wire) await(n int64) (bool, error) {
	for {
		full := w.in.take(n)
		if full == nil {
			select {
			case <-w.hold:
				w.in.give(n)
			default:
				w.held.Store(false)
				w.taken.Add(n)
				return true, nil
			}
		}
		w.held.Store(true)
		select {
		case <-full: // never, when it is hold that holds us
		case <-w.pinged:
			return false, nil
		case <-w.closed:
			return false, errWireClosed
		}
	}
}

// claim says that the room taken for n bytes now belongs to a message.
func (w *wire) claim(n int64) { w.taken.Add(-n) }

// release gives back the room of what was read and never handed on. Called once, after the last Read.
func (w *wire) release() { w.in.give(w.taken.Swap(0)) }

// Write writes one whole packet. Safe for concurrent use.
func (w *wire) Write(p []byte) (int, error) {
	select {
	case <-w.closed:
		return 0, errWireClosed
	default:
	}
	err := w.Conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	if err != nil {
		w.close(err)
		return 0, err
	}
	n, err := w.Conn.Write(p)
	if err != nil {
		w.close(err)
		return n, err
	}
	if len(p) == 2 && p[0] == typePingreq {
		select {
		case w.pinged <- struct{}{}:
		default:
		}
	}
	return n, nil
}

// SetWriteDeadline does nothing: each Write has a deadline of its own.
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline is for reading only, see SetWriteDeadline.
func (w *wire) SetDeadline(t time.Time) error { return w.SetReadDeadline(t) }

// stopReading holds back every PUBLISH from now on.
func (w *wire) stopReading() { w.holdOnce.Do(func() { close(w.hold) }) }

// Close is for paho, and means that it gave the connection up for a reason of its own.
func (w *wire) Close() error {
	w.close(nil)
	return nil
}

// close ends the connection; the first cause stays.
func (w *wire) close(cause error) {
	w.closeOnce.Do(func() {
		w.cause = cause
		close(w.closed)
		_ = w.Conn.Close() // there is nothing to be done about an error
	})
}
