package media

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// oggPackets splits an Ogg file of one stream of Opus (RFC 3533, RFC 7845) into its packets of sound. They are parts of b,
// but for those that go over several pages. Checksums are not looked at: the file is the owner's own.
func oggPackets(b []byte) ([][]byte, error) {
	var out [][]byte
	var part []byte // of a packet that goes on
	heads := 0      // of the two headers that were there
	for len(b) > 0 {
		const fixed = 27
		if len(b) < fixed || string(b[:4]) != "OggS" || b[4] != 0 {
			return nil, errors.New("is no Ogg file, or is broken")
		}
		lacing := int(b[26])
		if len(b) < fixed+lacing {
			return nil, errors.New("is cut off")
		}
		sizes := b[fixed : fixed+lacing]
		b = b[fixed+lacing:]
		for _, n := range sizes {
			if len(b) < int(n) {
				return nil, errors.New("is cut off")
			}
			part = append(part[:len(part):len(part)], b[:n]...)
			b = b[n:]
			if n == 255 {
				if len(part) > maxOggPacket {
					return nil, errors.New("has a packet that is too long")
				}
				continue
			}
			switch {
			case heads == 0 && !opusHead(part):
				return nil, errors.New("holds no Opus of one channel or two")
			case heads < 2:
				heads++
			case len(part) > maxOpus:
				return nil, errors.New("has a packet of Opus that is too long")
			case len(part) > 0:
				out = append(out, part)
			}
			part = nil
		}
	}
	if len(out) == 0 {
		return nil, errors.New("has no sound")
	}
	return out, nil
}

const (
	maxOggPacket = 1 << 20 // bytes: the comments may have a picture
	maxOpus      = 1275    // bytes of a frame (RFC 6716 section 3.2.1), as encoders make one a packet
)

// opusHead says whether a packet begins a stream that RTP can carry (RFC 7845 section 5.1): mapping family 0.
func opusHead(b []byte) bool {
	return len(b) >= 19 && bytes.HasPrefix(b, []byte("OpusHead")) && b[8]>>4 == 0 && (b[9] == 1 || b[9] == 2) && b[18] == 0
}

// opusSamples is how long a packet lasts, at 48 kHz (RFC 6716 section 3.1); 0 for one that is broken.
func opusSamples(b []byte) uint32 {
	if len(b) == 0 {
		return 0
	}
	var frame uint32
	switch config := b[0] >> 3; {
	case config < 12:
		frame = []uint32{480, 960, 1920, 2880}[config&3]
	case config < 16:
		frame = []uint32{480, 960}[config&1]
	default:
		frame = []uint32{120, 240, 480, 960}[config&3]
	}
	n := uint32(2)
	switch b[0] & 3 {
	case 0:
		n = 1
	case 3:
		if len(b) < 2 {
			return 0
		}
		n = uint32(b[1] & 63)
	}
	if frame*n > 5760 { // 120 ms
		return 0
	}
	return frame * n
}

// oggWriter makes an Ogg file of one stream of Opus. The zero value is not usable; see newOgg.
type oggWriter struct {
	b       []byte
	page    uint32
	granule uint64 // samples at 48 kHz
	body    []byte // of the page that grows
	lacing  []byte
}

// newOgg begins a file of mono sound.
func newOgg() *oggWriter {
	w := &oggWriter{}
	head := append([]byte("OpusHead"), 1, 1)
	head = binary.LittleEndian.AppendUint16(head, 0) // samples to skip: it began before we did
	head = binary.LittleEndian.AppendUint32(head, sampleRate)
	w.add(append(head, 0, 0, 0), 0)
	w.flush(2)
	vendor := "gatepost"
	tags := binary.LittleEndian.AppendUint32([]byte("OpusTags"), uint32(len(vendor))) //nolint:gosec // short
	tags = append(tags, vendor...)
	w.add(binary.LittleEndian.AppendUint32(tags, 0), 0)
	w.flush(0)
	return w
}

// packet adds a packet of sound of at most maxOpus bytes.
func (w *oggWriter) packet(p []byte, samples uint32) {
	if len(w.lacing) > 200 {
		w.flush(0)
	}
	w.add(p, samples)
}

func (w *oggWriter) add(p []byte, samples uint32) {
	for n := len(p); ; n -= 255 {
		w.lacing = append(w.lacing, byte(min(n, 255))) //nolint:gosec // bounded
		if n < 255 {
			break
		}
	}
	w.body = append(w.body, p...)
	w.granule += uint64(samples)
}

// flush ends a page; flags are 2 for the first and 4 for the last (RFC 3533 section 6).
func (w *oggWriter) flush(flags byte) {
	at := len(w.b)
	w.b = append(w.b, 'O', 'g', 'g', 'S', 0, flags)
	w.b = binary.LittleEndian.AppendUint64(w.b, w.granule)
	w.b = binary.LittleEndian.AppendUint32(w.b, 1) // the stream
	w.b = binary.LittleEndian.AppendUint32(w.b, w.page)
	w.b = append(w.b, 0, 0, 0, 0, byte(len(w.lacing))) //nolint:gosec // at most 206
	w.b = append(append(w.b, w.lacing...), w.body...)
	binary.LittleEndian.PutUint32(w.b[at+22:], oggSum(w.b[at:]))
	w.page++
	w.lacing, w.body = w.lacing[:0], w.body[:0]
}

// end is the whole file.
func (w *oggWriter) end() []byte {
	w.flush(4)
	return w.b
}

// oggSum is the checksum of a page: polynomial 0x04c11db7, neither reflected nor inverted (RFC 3533 section 6).
func oggSum(b []byte) uint32 {
	var sum uint32
	for _, c := range b {
		sum ^= uint32(c) << 24
		for range 8 {
			if sum&(1<<31) != 0 {
				sum = sum<<1 ^ 0x04c11db7
			} else {
				sum <<= 1
			}
		}
	}
	return sum
}
