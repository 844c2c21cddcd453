package media

import (
	"encoding/binary"

	"github.com/pion/rtp"
)

const mimeEvents = "audio/telephone-event"

// keypad are the digits of events 0 to 15 (RFC 4733 section 3.2).
const keypad = "0123456789*#ABCD"

// digits reads the keys of a telephone out of RTP. The zero value is ready. Not safe for concurrent use.
type digits struct {
	any    bool
	event  byte   // the last that was told
	last   uint32 // its timestamp, or that of its newest segment
	length uint16 // of that segment so far, in units of the clock
	ended  bool
}

// take gives the key that a packet of telephone-event begins. An event is many packets with one timestamp (RFC 4733 section
// 2.5.1.2), of which any may be lost; it is told once, and not again when a packet comes late. One that is pressed for
// long goes on in segments, each with a timestamp of its own where the one before ended (section 2.5.1.3).
func (d *digits) take(p *rtp.Packet) (rune, bool) {
	if len(p.Payload) < 4 || int(p.Payload[0]) >= len(keypad) {
		return 0, false
	}
	event, end, length := p.Payload[0], p.Payload[1]&0x80 != 0, binary.BigEndian.Uint16(p.Payload[2:])
	since := int32(p.Timestamp - d.last) //nolint:gosec // serial number arithmetic: the sign is what is asked for
	if d.any && since < 0 {
		return 0, false
	}
	if d.any && since == 0 {
		d.length, d.ended = max(d.length, length), d.ended || end
		return 0, false
	}
	again := d.any && event == d.event && !d.ended && d.length >= longest && since <= 0xffff
	d.any, d.event, d.last, d.length, d.ended = true, event, p.Timestamp, length, end
	if again {
		return 0, false
	}
	return rune(keypad[event]), true
}

// longest is what a segment that is followed by another has at least, in units of the clock: its length does not fit in 16
// bits any more, but for the packets that were lost.
const longest = 0xffff - 4800
