package media

import (
	"bytes"
	"encoding/binary"
)

// Markers of a JPEG (ITU-T T.81, table B.1).
const (
	jpegEOI  = 0xd9
	jpegSOS  = 0xda
	jpegAPP0 = 0xe0 // JFIF
	jpegAPP1 = 0xe1 // EXIF or XMP
	jpegAPP2 = 0xe2 // colour profile, and other things
	jpegAdbe = 0xee // Adobe: which colours the components are
	jpegCOM  = 0xfe
)

// jpegSegments calls f with every marker segment of b: its marker and all of its bytes, scan data behind a start of scan
// included. It ends at the end of the image, when f returns false, or where b ends; whole says that the end was seen.
func jpegSegments(b []byte, f func(marker byte, segment, body []byte) bool) (whole bool, err error) {
	if len(b) < 4 || b[0] != 0xff || b[1] != 0xd8 {
		return false, ErrMalformed
	}
	scans := 0
	for i := 2; ; {
		for i < len(b) && b[i] == 0xff && i+1 < len(b) && b[i+1] == 0xff { // fill bytes
			i++
		}
		if len(b)-i < 2 {
			if scans == 0 {
				return false, ErrMalformed
			}
			return false, nil
		}
		if b[i] != 0xff {
			return false, ErrMalformed
		}
		marker := b[i+1]
		if marker == jpegEOI {
			if scans == 0 {
				return false, ErrMalformed
			}
			return true, nil
		}
		if marker < 0xc0 || marker >= 0xd0 && marker <= 0xd8 || len(b)-i < 4 { // none of these has a length
			return false, ErrMalformed
		}
		n := int(binary.BigEndian.Uint16(b[i+2:]))
		end := i + 2 + n
		if n < 2 || end > len(b) {
			return false, ErrMalformed
		}
		body := b[i+4 : end]
		if marker == jpegSOS {
			scans++
			end = scanEnd(b, end)
		}
		if !f(marker, b[i:end], body) {
			return false, nil
		}
		i = end
	}
}

// scanEnd is where the coded data that begins at i ends: at the next marker that is neither a restart nor a stuffed byte.
func scanEnd(b []byte, i int) int {
	for {
		k := bytes.IndexByte(b[i:], 0xff)
		if k < 0 || i+k+1 >= len(b) {
			return len(b)
		}
		i += k
		switch c := b[i+1]; {
		case c == 0 || c >= 0xd0 && c <= 0xd7:
			i += 2
		case c == 0xff:
			i++
		default:
			return i
		}
	}
}

func stripJPEG(b []byte) ([]byte, error) {
	out := append(make([]byte, 0, len(b)+64), 0xff, 0xd8)
	if o := jpegOrientation(b); o > 1 {
		out = append(out, orientationSegment(o)...)
	}
	_, err := jpegSegments(b, func(marker byte, segment, body []byte) bool {
		switch {
		case marker == jpegCOM,
			marker >= jpegAPP1 && marker <= 0xef && marker != jpegAPP2 && marker != jpegAdbe,
			marker == jpegAPP0 && !bytes.HasPrefix(body, []byte("JFIF\x00")), // JFXX is a preview
			marker == jpegAPP2 && !bytes.HasPrefix(body, []byte("ICC_PROFILE\x00")):
			return true
		case marker == jpegAPP0 && len(body) > 14: // JFIF with a preview
			head := append([]byte{}, segment[:18]...)
			binary.BigEndian.PutUint16(head[2:], 16)
			head[16], head[17] = 0, 0
			out = append(out, head...)
			return true
		}
		out = append(out, segment...)
		return true
	})
	if err != nil {
		return nil, err
	}
	return append(out, 0xff, jpegEOI), nil
}

const exifHeader = "Exif\x00\x00"

// jpegOrientation is what EXIF says of how the picture lies: 1 to 8, or 0 when it does not say.
func jpegOrientation(b []byte) int {
	found := 0
	_, _ = jpegSegments(b, func(marker byte, _, body []byte) bool { // as far as it goes
		if marker == jpegAPP1 && bytes.HasPrefix(body, []byte(exifHeader)) {
			found = tiffOrientation(body[len(exifHeader):])
			return false
		}
		return marker != jpegSOS
	})
	return found
}

// tiffOrientation looks for tag 0x0112 in the first directory of t.
func tiffOrientation(t []byte) int {
	if len(t) < 8 {
		return 0
	}
	var order binary.ByteOrder
	switch string(t[:4]) {
	case "II*\x00":
		order = binary.LittleEndian
	case "MM\x00*":
		order = binary.BigEndian
	default:
		return 0
	}
	at := uint64(order.Uint32(t[4:]))
	if at+2 > uint64(len(t)) {
		return 0
	}
	const entry = 12
	entries := t[at+2:]
	for n := int(order.Uint16(t[at:])); n > 0 && len(entries) >= entry; n-- {
		if order.Uint16(entries) == 0x0112 && order.Uint16(entries[2:]) == 3 { // SHORT
			if o := int(order.Uint16(entries[8:])); o >= 1 && o <= 8 {
				return o
			}
			return 0
		}
		entries = entries[entry:]
	}
	return 0
}

// orientationSegment is an EXIF segment that says nothing but o.
func orientationSegment(o int) []byte {
	s := []byte{0xff, jpegAPP1, 0, 0}
	s = append(s, exifHeader...)
	s = append(s, "MM\x00*\x00\x00\x00\x08"...)                   // the directory is at 8
	s = append(s, 0, 1)                                           // it has one entry:
	s = append(s, 0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, byte(o), 0, 0) // orientation, one SHORT
	s = append(s, 0, 0, 0, 0)                                     // no further directory
	binary.BigEndian.PutUint16(s[2:], uint16(len(s)-2))
	return s
}
