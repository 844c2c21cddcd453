package source

import (
	"encoding/binary"

	"github.com/pion/rtp"
)

// NAL unit types and packet types (RFC 6184 section 5.2).
const (
	nalPicture = 5 // of a picture that can be decoded alone
	nalSPS     = 7
	nalPPS     = 8
	nalSTAPA   = 24
	nalFUA     = 28
)

const (
	mostPayload = 1400 // bytes that fit through every path with all that goes round them
	newPayload  = 1200 // bytes of the parts of what does not
	mostSets    = 1000 // bytes of parameter sets
)

// h264 makes packets fit for WebRTC. Used by one goroutine.
type h264 struct {
	sps, pps []byte // the last that were seen; own copies
	// The sets for the picture of this time are on their way.
	told   bool
	toldAt uint32
	// What was added to sequence numbers up to that of the packet after which it changed, and since.
	before, shift uint16
	changed       uint16
}

// take hands on p, or what becomes of it, in order. p is not kept; what send gets may share its bytes.
func (h *h264) take(p *rtp.Packet, send func(*rtp.Packet)) {
	b := p.Payload
	if len(b) < 2 {
		return
	}
	if h.learn(p.Timestamp, b) && (!h.told || h.toldAt != p.Timestamp) {
		h.told, h.toldAt = true, p.Timestamp
		if sets := h.sets(); sets != nil {
			extra := *p
			extra.Marker, extra.Payload = false, sets
			extra.SequenceNumber += h.shift
			send(&extra)
			h.grow(p.SequenceNumber-1, 1)
		}
	}
	parts := split(b)
	shift := h.shift
	if int16(p.SequenceNumber-h.changed) <= 0 { //nolint:gosec // a late packet, by serial numbers
		shift = h.before
	}
	for i, part := range parts {
		out := *p
		out.Payload = part
		out.Marker = p.Marker && i == len(parts)-1
		out.SequenceNumber += shift + uint16(i) //nolint:gosec // few parts
		send(&out)
	}
	if len(parts) > 1 {
		h.grow(p.SequenceNumber, uint16(len(parts)-1)) //nolint:gosec // few parts
	}
}

// grow says that n packets were added after the one with number seq.
func (h *h264) grow(seq, n uint16) {
	h.before, h.changed = h.shift, seq
	h.shift += n
}

// learn keeps the parameter sets in a payload, and says whether a picture begins that needs them first.
func (h *h264) learn(at uint32, b []byte) (picture bool) {
	switch b[0] & 0x1f {
	case nalSTAPA:
		units(b[1:], func(u []byte) { picture = h.unit(at, u) || picture })
		return picture
	case nalFUA:
		return b[1]&0x80 != 0 && b[1]&0x1f == nalPicture
	default:
		return h.unit(at, b)
	}
}

func (h *h264) unit(at uint32, u []byte) (picture bool) {
	switch u[0] & 0x1f {
	case nalSPS:
		h.sps = append(h.sps[:0], u...)
		h.told, h.toldAt = true, at // PPS follows it
	case nalPPS:
		h.pps = append(h.pps[:0], u...)
	case nalPicture:
		return true
	}
	return false
}

// sets is a packet of both parameter sets (RFC 6184 section 5.7.1); nil: they are not known, or too large.
func (h *h264) sets() []byte {
	if len(h.sps) == 0 || len(h.pps) == 0 || len(h.sps)+len(h.pps) > mostSets {
		return nil
	}
	b := []byte{h.sps[0]&0x60 | nalSTAPA}
	for _, u := range [][]byte{h.sps, h.pps} {
		b = binary.BigEndian.AppendUint16(b, uint16(len(u))) //nolint:gosec // bounded above
		b = append(b, u...)
	}
	return b
}

// units gives the NAL units of a STAP-A without its first byte; what is cut off is left out.
func units(b []byte, f func([]byte)) {
	for len(b) > 2 {
		n := int(binary.BigEndian.Uint16(b))
		if b = b[2:]; n == 0 || n > len(b) {
			return
		}
		f(b[:n])
		b = b[n:]
	}
}

// split gives the payloads that b becomes: itself, if it fits (RFC 6184 section 5.8).
func split(b []byte) [][]byte {
	if len(b) <= mostPayload {
		return [][]byte{b}
	}
	switch b[0] & 0x1f {
	case nalSTAPA:
		var out [][]byte
		units(b[1:], func(u []byte) { out = append(out, split(u)...) })
		return out
	case nalFUA:
		return fragments(b[0], b[1], b[2:])
	default:
		return fragments(b[0]&0xe0|nalFUA, b[0]&0x1f|0xc0, b[1:])
	}
}

// fragments divides body, of which head says whether it is the start and the end of a NAL unit (bits 0x80 and 0x40).
func fragments(indicator, head byte, body []byte) [][]byte {
	var out [][]byte
	for first := true; len(body) > 0; first = false {
		n := min(len(body), newPayload-2)
		h := head & 0x1f
		if first {
			h |= head & 0x80
		}
		if n == len(body) {
			h |= head & 0x40
		}
		out = append(out, append([]byte{indicator, h}, body[:n]...))
		body = body[n:]
	}
	return out
}
