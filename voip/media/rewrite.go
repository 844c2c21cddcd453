package media

import (
	"time"

	"github.com/pion/rtp"
)

// rewriter makes one stream of RTP out of those that follow each other: sequence numbers and timestamps go on where a sender
// begins anew, and where packets were kept back. The zero value is ready. Not safe for concurrent use.
type rewriter struct {
	began    bool
	from     uint32 // SSRC of the sender
	in, out  uint16 // the highest sequence number, as it came and as it went
	inTS     uint32 // timestamp of that packet
	outTS    uint32
	at       time.Time // when it came
	resuming bool      // packets were kept back since
}

// jump is how far sequence numbers of one sender may be apart; beyond that it began anew (RFC 3550 appendix A.1).
const jump = 3000

// pause says that packets are kept back, so that the next one follows the last that went.
func (r *rewriter) pause() { r.resuming = r.began }

// next gives the numbers of a packet that came at a time, of a clock of rate Hz. fresh: another sender's first packet.
func (r *rewriter) next(h *rtp.Header, now time.Time, rate uint32) (seq uint16, ts uint32, fresh bool) {
	ahead := int16(h.SequenceNumber - r.in) //nolint:gosec // serial number arithmetic
	if ahead > jump || ahead < -jump {
		fresh = true
	}
	switch {
	case !r.began:
		r.began, fresh = true, true
		r.from, r.out, r.outTS = h.SSRC, h.SequenceNumber, h.Timestamp
	case fresh || h.SSRC != r.from:
		fresh = true
		r.from = h.SSRC
		r.out++
		passed := uint64(max(now.Sub(r.at), time.Millisecond)) * uint64(rate) / uint64(time.Second) //nolint:gosec // not negative
		r.outTS += uint32(passed)                                                                   //nolint:gosec // it wraps
	case r.resuming:
		r.out++
		r.outTS += h.Timestamp - r.inTS
	default:
		seq, ts = r.out+uint16(ahead), r.outTS+h.Timestamp-r.inTS //nolint:gosec // it wraps
		if ahead <= 0 {
			return seq, ts, false // late: the highest stays
		}
		r.out, r.outTS = seq, ts
	}
	r.in, r.inTS, r.at, r.resuming = h.SequenceNumber, h.Timestamp, now, false
	return r.out, r.outTS, fresh
}
