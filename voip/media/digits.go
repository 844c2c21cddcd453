package media

import "github.com/pion/rtp"

const mimeEvents = "audio/telephone-event"

// keypad are the digits of events 0 to 15 (RFC 4733 section 3.2).
const keypad = "0123456789*#ABCD"

// digits reads the keys of a telephone out of RTP. The zero value is ready. Not safe for concurrent use.
type digits struct {
	last uint32 // timestamp of the event that was told
	any  bool
}

// take gives the key that a packet of telephone-event begins. An event is many packets with one timestamp (RFC 4733 section
// 2.5.1); it is told once, and not again when a packet comes late.
func (d *digits) take(p *rtp.Packet) (rune, bool) {
	if len(p.Payload) < 4 || int(p.Payload[0]) >= len(keypad) {
		return 0, false
	}
	if d.any && int32(p.Timestamp-d.last) <= 0 { //nolint:gosec // serial number arithmetic: the sign is what is asked for
		return 0, false
	}
	d.any, d.last = true, p.Timestamp
	return rune(keypad[p.Payload[0]]), true
}
