//go:build linux

package load

import (
	"encoding/binary"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// header is what a packet carries of us: session and direction, number, time of sending in nanoseconds since 1970.
const header = 16

// MinSize is the smallest payload.
const MinSize = header

// lane is one direction of a session, from its first packet in a run on.
type lane struct {
	tag  uint32 // session and direction
	next uint32 // number of the next packet; sender's
	seen []uint64
	got  int // different packets; receiver's
}

func (l *lane) reset(tag uint32) { *l = lane{tag: tag, seen: l.seen[:0]} }

// stamp writes the header of the lane's next packet.
func (l *lane) stamp(b []byte, now int64) {
	binary.BigEndian.PutUint32(b, l.tag)
	binary.BigEndian.PutUint32(b[4:], l.next)
	binary.BigEndian.PutUint64(b[8:], uint64(now))
	l.next++
}

// note counts a packet that arrived, and says when it was sent. known is false for one that has no business here: another
// lane's, one twice, or rubbish.
func (l *lane) note(b []byte) (sent int64, known bool) {
	if len(b) < header || binary.BigEndian.Uint32(b) != l.tag {
		return 0, false
	}
	number := binary.BigEndian.Uint32(b[4:])
	word, bit := int(number/64), uint64(1)<<(number%64)
	if word > 1<<20 {
		return 0, false
	}
	if word >= len(l.seen) {
		l.seen = slices.Grow(l.seen, word+1-len(l.seen))
		for len(l.seen) <= word {
			l.seen = append(l.seen, 0)
		}
	}
	if l.seen[word]&bit != 0 {
		return 0, false
	}
	l.seen[word] |= bit
	l.got++
	return int64(binary.BigEndian.Uint64(b[8:])), true
}

// outgoing is one burst, ready but for the stamps.
type outgoing struct {
	packets []mmsghdr
	stamps  [][]byte // where the header goes in each
}

// newOutgoing makes n packets with a payload of size bytes behind a prefix.
func newOutgoing(n, size int, prefix []byte) outgoing {
	var o outgoing
	for range n {
		b := append(slices.Clone(prefix), make([]byte, size)...)
		iov := &unix.Iovec{Base: &b[0]}
		iov.SetLen(len(b))
		var p mmsghdr
		p.hdr.Iov = iov
		p.hdr.SetIovlen(1)
		o.packets, o.stamps = append(o.packets, p), append(o.stamps, b[len(prefix):])
	}
	return o
}

// send sends the burst on a lane and returns how many packets the kernel took; what it did not take is not counted as sent.
func (o outgoing) send(fd int, l *lane) int {
	now := time.Now().UnixNano()
	for _, b := range o.stamps {
		l.stamp(b, now)
	}
	n, err := send(fd, o.packets)
	if err != nil { // a full buffer, or ECONNREFUSED from an earlier packet
		n = 0
	}
	l.next -= uint32(len(o.packets) - n)
	return n
}
