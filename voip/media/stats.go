package media

import (
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

// Stats are what one call has carried so far. In is what the person sends.
type Stats struct {
	Out, In []StreamStats // one per stream: audio, video
	RTT     time.Duration // of the path; 0: not known
	Flowed  time.Duration // since media could flow first, until the end
	Path    Path
}

// total is what all streams of a direction have in common.
func total(list []StreamStats) (t StreamStats) {
	for _, s := range list {
		t.Packets += s.Packets
		t.Bytes += s.Bytes
		t.Expected += s.Expected
		t.Lost += s.Lost
	}
	return t
}

// StreamStats are about one stream of RTP in one direction.
type StreamStats struct {
	Codec    string // such as opus
	Packets  uint64
	Bytes    uint64        // of payload
	Expected uint64        // packets that the receiver should have got
	Lost     uint64        // packets, as the receiver counts; of ours it is what the person's client reports
	Jitter   time.Duration // RFC 3550 section 6.4.1, at the receiver
}

// Path is the way that media goes. The zero Path is none.
type Path struct {
	Local, Remote string // host, srflx, prflx or relay
	Protocol      string // udp or tcp: ours, so that a client's way to its relay does not count
}

// Stats are what the call has carried so far. After its end they stay as they were.
func (l *Leg) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.final != nil {
		return *l.final
	}
	if !l.ready {
		return Stats{}
	}
	var s Stats
	for i, o := range l.out {
		if o == nil {
			continue
		}
		name := o.chosen().name()
		out := StreamStats{
			Codec: name, Packets: o.sent.packets.Load(), Bytes: o.sent.bytes.Load(), Lost: o.far.lost.Load(), Jitter: time.Duration(o.far.jitter.Load()),
		}
		out.Expected = max(out.Packets, out.Lost)
		a := &l.in[i].came
		in := StreamStats{
			Codec: name, Packets: a.got.packets.Load(), Bytes: a.got.bytes.Load(), Lost: a.lost.Load(), Jitter: time.Duration(a.jitter.Load()),
		}
		in.Expected = in.Packets + in.Lost
		s.Out, s.In = append(s.Out, out), append(s.In, in)
	}
	s.Path, s.RTT = l.path.stats()
	if at := l.began.Load(); at != nil {
		s.Flowed = time.Since(*at)
	}
	return s
}

// counter counts what goes or comes. Safe for concurrent use.
type counter struct{ packets, bytes atomic.Uint64 }

func (c *counter) add(n int) {
	c.packets.Add(1)
	c.bytes.Add(uint64(n)) //nolint:gosec // a length
}

// farEnd is what the other side reports about a stream of ours. Safe for concurrent use.
type farEnd struct {
	lost   atomic.Uint64
	jitter atomic.Int64 // nanoseconds
}

// report takes the blocks of a report, which is about one stream of ours, as there is one sender to whom it is given.
func (f *farEnd) report(list []rtcp.ReceptionReport, rate uint32) {
	for _, r := range list {
		if r.TotalLost < 1<<23 { // 24 bits with a sign: below 0 more came than went
			f.lost.Store(uint64(r.TotalLost))
		}
		if rate > 0 {
			f.jitter.Store(int64(r.Jitter) * int64(time.Second) / int64(rate))
		}
	}
}

// arrivals counts what comes of one stream (RFC 3550 appendix A.3 and A.8). Not safe for concurrent use, but for its
// numbers.
type arrivals struct {
	got     counter
	lost    atomic.Uint64
	jitter  atomic.Int64 // nanoseconds
	began   bool
	base    uint64 // extended sequence number of the first, and of the highest
	high    uint64
	done    uint64 // expected of the senders before this one
	came    uint64 // of this sender
	transit int64  // nanoseconds
	mean    float64
}

// take counts a packet that came at a time; fresh: the first of another sender.
func (a *arrivals) take(p *rtp.Packet, fresh bool, now time.Time, rate uint32) {
	a.got.add(len(p.Payload))
	seq := uint64(p.SequenceNumber)
	if fresh || !a.began {
		if a.began {
			a.done += a.high - a.base + 1 - min(a.came, a.high-a.base+1) // what was lost of the one before
		}
		a.began, a.base, a.high, a.came = true, 1<<16+seq, 1<<16+seq, 0
		a.transit = 0
	}
	a.came++
	if ahead := int16(p.SequenceNumber - uint16(a.high)); ahead > 0 { //nolint:gosec // serial number arithmetic
		a.high += uint64(ahead)
	}
	expected := a.high - a.base + 1
	a.lost.Store(a.done + expected - min(a.came, expected))
	if rate == 0 {
		return
	}
	transit := now.UnixNano() - int64(p.Timestamp)*int64(time.Second)/int64(rate)
	if d := transit - a.transit; a.transit != 0 && d < int64(10*time.Second) && d > -int64(10*time.Second) { // else the timestamp wrapped
		a.mean += (float64(max(d, -d)) - a.mean) / 16
		a.jitter.Store(int64(a.mean))
	}
	a.transit = transit
}
