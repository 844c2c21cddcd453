package store

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"time"
)

// The envelope of a value: one byte of format, the CRC32C (little endian) of that byte and the payload, the payload.
// Records of lanes have one of their own, see record.go.
const (
	formatPlain   = 1
	formatRecord  = 2
	envelopeBytes = 5
)

// castagnoli returns the table of CRC32C; the standard library makes it once and uses the processor's instruction.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// seal appends the envelope of payload to dst.
func seal(dst, payload []byte) []byte {
	start := len(dst)
	dst = append(dst, formatPlain, 0, 0, 0, 0)
	dst = append(dst, payload...)
	finishSeal(dst[start:])
	return dst
}

// finishSeal fills in the checksum of an envelope whose payload is in place.
func finishSeal(sealed []byte) {
	t := castagnoli()
	sum := crc32.Update(crc32.Checksum(sealed[:1], t), t, sealed[envelopeBytes:])
	binary.LittleEndian.PutUint32(sealed[1:], sum)
}

// unseal returns the payload inside b, not copied.
func unseal(b []byte) ([]byte, error) {
	if len(b) < envelopeBytes || b[0] != formatPlain {
		return nil, errDamaged
	}
	t := castagnoli()
	if crc32.Update(crc32.Checksum(b[:1], t), t, b[envelopeBytes:]) != binary.LittleEndian.Uint32(b[1:]) {
		return nil, errDamaged
	}
	return b[envelopeBytes:], nil
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendTime(dst []byte, t time.Time) []byte { return binary.AppendUvarint(dst, uint64(nanos(t))) }

// nanos is t in nanoseconds since 1970, 0 for the zero time. What is before 1970 or after 2262 becomes the nearest
// that can be kept.
func nanos(t time.Time) int64 {
	switch {
	case t.IsZero():
		return 0
	case t.Year() < 1970:
		return 1
	case t.Year() >= 2262:
		return math.MaxInt64
	default:
		return max(t.UnixNano(), 1)
	}
}

// timeOf is the opposite of nanos, in UTC.
func timeOf(ns int64) time.Time {
	if ns <= 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

// decoder takes fields from the front of b. After the first field that is not there it is bad, and every further one is
// zero. Strings are parts of all, which is a copy of b, so that they neither keep the file's pages nor cost a copy each.
type decoder struct {
	b   []byte
	all string
	bad bool
}

func newDecoder(b []byte) *decoder { return &decoder{b: b, all: string(b)} }

func (d *decoder) fail() { d.bad, d.b = true, nil }

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

// int is a number that must fit 31 bits.
func (d *decoder) int() int {
	v := d.uvarint()
	if v > math.MaxInt32 {
		d.fail()
		return 0
	}
	return int(v)
}

// length is the number of fields that follow, each of at least one byte.
func (d *decoder) length() int {
	n := d.int()
	if n > len(d.b) {
		d.fail()
		return 0
	}
	return n
}

func (d *decoder) string() string {
	n := d.length()
	if n == 0 {
		return ""
	}
	from := len(d.all) - len(d.b)
	d.b = d.b[n:]
	return d.all[from : from+n]
}

func (d *decoder) time() time.Time {
	v := d.uvarint()
	if v > math.MaxInt64 {
		d.fail()
		return time.Time{}
	}
	return timeOf(int64(v))
}

func (d *decoder) float() float64 {
	if len(d.b) < 8 {
		d.fail()
		return 0
	}
	v := math.Float64frombits(binary.LittleEndian.Uint64(d.b))
	d.b = d.b[8:]
	return v
}
