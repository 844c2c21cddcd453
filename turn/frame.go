package turn

import "encoding/binary"

// Sizes of what is relayed. A datagram that is longer, and a message over TCP that is longer, is not taken: jumbo frames
// fit, and nobody makes us keep 64 KiB for each.
const (
	slotSize    = 9 << 10
	headroom    = 48 // before a peer's datagram: the longest header it may get (a Data indication with an IPv6 peer)
	tailroom    = 4  // after it: padding
	maxDatagram = slotSize - headroom - tailroom

	channelHeader = 4
	stunHeader    = 20
	magicCookie   = 0x2112A442
)

// frameSize says how long the first message in b is on a stream, padding included (RFC 8656 section 12.5; RFC 8489 section
// 6.2.2). 0: b is too short to tell. errNotSTUN: no message of ours begins like this, or it is too long.
func frameSize(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	kind := b[0] >> 6
	if kind > 1 {
		return 0, errNotSTUN
	}
	if len(b) < channelHeader {
		return 0, nil
	}
	length := int(binary.BigEndian.Uint16(b[2:]))
	size := channelHeader + (length+3)&^3
	if kind == 0 {
		if length%4 != 0 || len(b) >= 8 && binary.BigEndian.Uint32(b[4:]) != magicCookie {
			return 0, errNotSTUN
		}
		size = stunHeader + length
	}
	if size > maxDatagram {
		return 0, errNotSTUN
	}
	return size, nil
}

// wholeFrames says how many bytes at the beginning of b are whole messages, and how many bytes the message after them
// takes (0: unknown yet).
func wholeFrames(b []byte) (whole, next int, err error) {
	for {
		size, err := frameSize(b[whole:])
		if err != nil || size == 0 || whole+size > len(b) {
			return whole, size, err
		}
		whole += size
	}
}
