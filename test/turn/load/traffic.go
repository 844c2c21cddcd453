//go:build linux

package load

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Traffic says what is sent. Half of the packets go up, as ChannelData, half down.
type Traffic struct {
	Size  int           // bytes of payload, at least MinSize
	Rate  int           // packets a second, of all sessions and both directions
	Burst int           // packets of one session at once, at the sender's full speed; 1 spreads them evenly
	For   time.Duration // how long is measured, after Warm
	Warm  time.Duration
	PID   int // whose processor time is measured; 0 for nobody's
}

// Result is what became of it. Sent, Lost, Strange and Delays are of the whole run, the others of the measured part.
type Result struct {
	Sent    int
	Lost    int
	Strange int // arrived twice, at the wrong one, or was never sent
	Delays  []time.Duration

	Took      time.Duration
	Offered   float64       // packets a second that were really sent
	Relayed   int           // packets that arrived
	CPU       time.Duration // of PID
	Generator time.Duration // our own
}

// Loss is the lost part of what was sent.
func (r Result) Loss() float64 { return float64(r.Lost) / float64(max(r.Sent, 1)) }

// PerMillion is the processor time, in seconds, that a million relayed packets cost.
func (r Result) PerMillion() float64 { return r.CPU.Seconds() / float64(max(r.Relayed, 1)) * 1e6 }

const (
	pause    = 100 * time.Microsecond // of the sender when nothing is due
	behind   = 2 * time.Millisecond   // what the sender is late by is not made up for beyond this
	readEach = 10 * time.Millisecond  // the receiver's round
	settle   = 300 * time.Millisecond // how long nothing has to arrive until the rest is lost
)

// run is one run's shared state. The sender's and the receiver's fields are theirs; counters are read by others.
type run struct {
	f       *Fleet
	t       Traffic
	stop    atomic.Bool // of the sender
	finish  atomic.Bool // of the receiver
	sent    atomic.Int64
	arrived atomic.Int64
	strange int
	delays  []time.Duration
}

// Run sends and counts. With Peers or Direct only, and, without Direct, after Allocate and Bind.
func (f *Fleet) Run(ctx context.Context, t Traffic) (Result, error) {
	if len(f.sessions) == 0 || f.sessions[0].peer < 0 || t.Size < MinSize || t.Burst < 1 || t.Rate < 1 {
		return Result{}, fmt.Errorf("load: cannot run %+v", t)
	}
	for i := range f.sessions {
		f.sessions[i].up.reset(uint32(i) << 1)
		f.sessions[i].down.reset(uint32(i)<<1 | 1)
	}
	r := &run{f: f, t: t}
	sender, receiver := make(chan struct{}), make(chan error, 1)
	go func() { r.send(); close(sender) }()
	go func() { receiver <- r.receive() }()

	var res Result
	err := r.measure(ctx, &res)
	r.stop.Store(true)
	<-sender
	r.await()
	r.finish.Store(true)
	if e := <-receiver; err == nil {
		err = e
	}
	res.Sent, res.Strange, res.Delays = int(r.sent.Load()), r.strange, r.delays
	for i := range f.sessions {
		res.Lost += int(f.sessions[i].up.next) - f.sessions[i].up.got + int(f.sessions[i].down.next) - f.sessions[i].down.got
	}
	return res, err
}

// measure waits for the warm-up and takes the counters at both ends of the measured part.
func (r *run) measure(ctx context.Context, res *Result) error {
	wait := func(d time.Duration) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	type counters struct {
		at            time.Time
		sent, arrived int64
		cpu, own      time.Duration
	}
	read := func() (c counters, err error) {
		c = counters{at: time.Now(), sent: r.sent.Load(), arrived: r.arrived.Load()}
		if r.t.PID != 0 {
			if c.cpu, err = CPU(r.t.PID); err != nil {
				return c, err
			}
		}
		c.own, err = CPU(os.Getpid())
		return c, err
	}
	if err := wait(r.t.Warm); err != nil {
		return err
	}
	a, err := read()
	if err != nil {
		return err
	}
	if err := wait(r.t.For); err != nil {
		return err
	}
	b, err := read()
	if err != nil {
		return err
	}
	res.Took = b.at.Sub(a.at)
	res.Offered = float64(b.sent-a.sent) / res.Took.Seconds()
	res.Relayed = int(b.arrived - a.arrived)
	res.CPU, res.Generator = b.cpu-a.cpu, b.own-a.own
	return nil
}

// await returns when everything has arrived, or nothing more does.
func (r *run) await() {
	last, since := r.arrived.Load(), time.Now()
	for last < r.sent.Load() && time.Since(since) < settle {
		time.Sleep(readEach)
		if n := r.arrived.Load(); n != last {
			last, since = n, time.Now()
		}
	}
}

// send is the sender's thread: it sends what is due and sleeps a little.
func (r *run) send() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) // nanoseconds; the usual 50 us would make bursts
	frame := make([]byte, 4)
	binary.BigEndian.PutUint16(frame, channel)
	binary.BigEndian.PutUint16(frame[2:], uint16(r.t.Size))
	if r.f.cfg.Direct {
		frame = nil
	}
	up, down := newOutgoing(r.t.Burst, r.t.Size, frame), newOutgoing(r.t.Burst, r.t.Size, nil)
	sessions := r.f.sessions
	turn := 0
	var due int64 // packets that should have been sent by now, less those that were given up
	began := time.Now()
	for !r.stop.Load() {
		gone := time.Since(began)
		owed := int64(gone.Seconds()*float64(r.t.Rate)) - due
		if most := int64(behind.Seconds() * float64(r.t.Rate)); owed > most+int64(r.t.Burst) {
			due += owed - most
			owed = most
		}
		for ; owed >= int64(r.t.Burst); owed -= int64(r.t.Burst) {
			s := &sessions[turn/2%len(sessions)]
			n := 0
			if turn%2 == 0 {
				n = up.send(s.client, &s.up)
			} else {
				n = down.send(s.peer, &s.down)
			}
			turn++
			due += int64(r.t.Burst)
			r.sent.Add(int64(n))
		}
		ts := unix.NsecToTimespec(int64(pause))
		_ = unix.Nanosleep(&ts, nil) // woken early is as good
	}
}

// receive is the receiver's thread: every few milliseconds it reads what has come to all sockets.
func (r *run) receive() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	b := newBatch(64, 2048)
	read := func(fd int, l *lane, skip int) error {
		for {
			n, err := b.receive(fd)
			if err != nil {
				return fmt.Errorf("load: receive: %w", err)
			}
			for i := range n {
				p := b.bytes(i)
				if len(p) < skip {
					r.strange++
					continue
				}
				sent, known := l.note(p[skip:])
				if !known || len(p) != skip+r.t.Size {
					r.strange++
				} else if at := b.arrived(i); at != 0 {
					r.delays = append(r.delays, time.Duration(at-sent))
				}
			}
			r.arrived.Add(int64(n))
			if n < len(b.packets) {
				return nil
			}
		}
	}
	skip := 4 // the channel's header, downwards
	if r.f.cfg.Direct {
		skip = 0
	}
	for last := false; ; {
		for i := range r.f.sessions {
			s := &r.f.sessions[i]
			if err := read(s.peer, &s.up, 0); err != nil {
				return err
			}
			if err := read(s.client, &s.down, skip); err != nil {
				return err
			}
		}
		if last {
			return nil
		}
		last = r.finish.Load()
		time.Sleep(readEach)
	}
}
