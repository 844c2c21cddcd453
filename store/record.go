package store

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
)

// How a record of a lane is stored. All numbers are little endian or varint, strings have their length before them.
//
//	0   format (2)
//	1   CRC32C of the format, of bytes 5 to 13 and of the head
//	5   length of the head
//	9   CRC32C of the body
//	13  head: what the index needs (class, flags, count, times, lane, device, key)
//	…   body: size of the media, id, topic, digest, gap, post, the media
//
// The head can be trusted when the body is damaged, so that a gap marker can take the record's place, and the index is
// built without touching the bodies.
const (
	recordHead = 13

	flagUrgent = 1 << 0
	flagGap    = 1 << 1
	flagDigest = 1 << 2
)

// head is the part of a stored record that the index is made of.
type head struct {
	class              lane.Class
	flags              byte
	count              int
	at, expires, after int64 // nanoseconds; after is NotBefore
	lane, device, key  string
}

// appendRecord appends r as it is stored.
func appendRecord(dst []byte, r *lane.Record) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, recordHead)...)
	dst = append(dst, byte(r.Class), recordFlags(r))
	dst = appendCount(dst, r.Count())
	dst = appendTime(dst, r.At)
	dst = appendTime(dst, r.Expires)
	dst = appendTime(dst, r.NotBefore)
	dst = appendString(dst, string(r.Lane))
	dst = appendString(dst, string(r.Device))
	dst = appendString(dst, r.Key)
	headEnd := len(dst)
	dst = appendBody(dst, r)

	b := dst[start:]
	t := castagnoli()
	b[0] = formatRecord
	binary.LittleEndian.PutUint32(b[5:], uint32(headEnd-start-recordHead))
	binary.LittleEndian.PutUint32(b[9:], crc32.Checksum(dst[headEnd:], t))
	binary.LittleEndian.PutUint32(b[1:], headSum(b, headEnd-start))
	return dst
}

func headSum(b []byte, end int) uint32 {
	t := castagnoli()
	return crc32.Update(crc32.Checksum(b[:1], t), t, b[5:end])
}

func recordFlags(r *lane.Record) (f byte) {
	if r.Urgent {
		f |= flagUrgent
	}
	if r.Gap != nil {
		f |= flagGap
	}
	if r.Digest != nil {
		f |= flagDigest
	}
	return f
}

func appendBody(dst []byte, r *lane.Record) []byte {
	dst = appendCount(dst, len(r.Post.Data))
	dst = appendString(dst, r.ID)
	dst = appendString(dst, r.Topic)
	if d := r.Digest; d != nil {
		dst = appendCount(dst, d.N)
		dst = appendCount(dst, d.Other)
		for _, f := range [...]float64{d.Min, d.Max, d.Sum} {
			dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(f))
		}
		dst = appendTime(dst, d.Since)
	}
	if g := r.Gap; g != nil {
		dst = appendCount(dst, len(g.Dropped))
		for c, n := range g.Dropped {
			dst = appendCount(append(dst, byte(c)), n)
		}
		dst = appendCount(dst, g.Expired)
		dst = appendTime(appendTime(dst, g.From), g.To)
	}
	p := &r.Post
	dst = appendString(dst, string(p.Kind))
	dst = appendString(dst, p.Text)
	dst = appendString(dst, p.HTML)
	dst = appendCount(dst, len(p.Values))
	for k, v := range p.Values {
		dst = appendString(appendString(dst, k), v)
	}
	dst = appendString(dst, string(p.RelatesTo))
	dst = appendCount(dst, len(p.Mentions))
	for _, m := range p.Mentions {
		dst = appendString(dst, string(m))
	}
	dst = appendString(dst, p.MIME)
	dst = appendString(dst, p.Name)
	dst = appendCount(dst, p.Width)
	dst = appendCount(dst, p.Height)
	dst = appendString(dst, p.Command)
	dst = appendString(dst, p.State)
	dst = appendString(dst, string(p.Replaces))
	dst = appendCount(dst, int(min(p.Voice.Milliseconds(), math.MaxInt32)))
	return append(dst, p.Data...)
}

// appendCount appends a number that decoder.int can read: at least 0 and below 1<<31.
func appendCount(dst []byte, n int) []byte {
	return binary.AppendUvarint(dst, uint64(min(max(n, 0), math.MaxInt32)))
}

// splitRecord checks the head of a stored record and returns it with the bytes of both parts, which are not copied.
func splitRecord(b []byte) (headBytes, body []byte, err error) {
	if len(b) < recordHead || b[0] != formatRecord {
		return nil, nil, errDamaged
	}
	n := uint64(binary.LittleEndian.Uint32(b[5:]))
	if n > uint64(len(b)-recordHead) {
		return nil, nil, errDamaged
	}
	end := recordHead + int(n)
	if headSum(b, end) != binary.LittleEndian.Uint32(b[1:]) {
		return nil, nil, errDamaged
	}
	return b[recordHead:end], b[end:], nil
}

func decodeHead(b []byte) (h head, err error) {
	d := newDecoder(b)
	h.class, h.flags, h.count = lane.Class(d.byte()), d.byte(), d.int()
	h.at, h.expires, h.after = int64(d.uvarint()), int64(d.uvarint()), int64(d.uvarint())
	h.lane, h.device, h.key = d.string(), d.string(), d.string()
	if d.bad || len(d.b) > 0 || h.class < lane.Telemetry || h.class > lane.Alarm || h.count < 1 || h.lane == "" ||
		h.at < 0 || h.expires < 0 || h.after < 0 {
		return head{}, errDamaged
	}
	return h, nil
}

// decodeRecord reads a whole stored record. Nothing of it refers to b.
func decodeRecord(b []byte) (r lane.Record, err error) {
	hb, body, err := splitRecord(b)
	if err != nil {
		return r, err
	}
	if crc32.Checksum(body, castagnoli()) != binary.LittleEndian.Uint32(b[9:]) {
		return r, errDamaged
	}
	h, err := decodeHead(hb)
	if err != nil {
		return r, err
	}
	r = lane.Record{
		Lane: ids.RoomKey(h.lane), Device: ids.DeviceID(h.device), Key: h.key, Class: h.class,
		At: timeOf(h.at), Expires: timeOf(h.expires), NotBefore: timeOf(h.after), Urgent: h.flags&flagUrgent != 0,
	}
	if !decodeBody(&r, body, h.flags) {
		return lane.Record{}, errDamaged
	}
	return r, nil
}

func decodeBody(r *lane.Record, body []byte, flags byte) bool {
	media, n := binary.Uvarint(body)
	if n <= 0 || media > uint64(len(body)-n) {
		return false
	}
	data := body[len(body)-int(media):]
	d := newDecoder(body[n : len(body)-len(data)])
	r.ID, r.Topic = d.string(), d.string()
	if flags&flagDigest != 0 {
		r.Digest = &lane.Digest{N: d.int(), Other: d.int(), Min: d.float(), Max: d.float(), Sum: d.float(), Since: d.time()}
	}
	if flags&flagGap != 0 {
		n := d.length()
		r.Gap = &lane.Gap{Dropped: make(map[lane.Class]int, min(n, int(lane.Alarm)))}
		for range n {
			c := lane.Class(d.byte())
			r.Gap.Dropped[c] += d.int()
		}
		r.Gap.Expired, r.Gap.From, r.Gap.To = d.int(), d.time(), d.time()
	}
	p := &r.Post
	p.Kind, p.Text, p.HTML = lane.Kind(d.string()), d.string(), d.string()
	if n := d.length(); n > 0 {
		p.Values = make(map[string]string, n)
		for range n {
			k := d.string()
			p.Values[k] = d.string()
		}
	}
	p.RelatesTo = ids.EventID(d.string())
	if n := d.length(); n > 0 {
		p.Mentions = make([]ids.UserID, n)
		for i := range p.Mentions {
			p.Mentions[i] = ids.UserID(d.string())
		}
	}
	p.MIME, p.Name = d.string(), d.string()
	p.Width, p.Height = d.int(), d.int()
	p.Command, p.State = d.string(), d.string()
	if len(d.b) > 0 { // what older versions wrote ends here
		p.Replaces, p.Voice = ids.EventID(d.string()), time.Duration(d.int())*time.Millisecond
	}
	if d.bad || len(d.b) > 0 {
		return false
	}
	if len(data) > 0 {
		p.Data = append([]byte(nil), data...)
	}
	return true
}
