package media

import (
	"bytes"
	"encoding/binary"
)

// Strip copies a picture without what its camera and its editors wrote into it: place, time, serial numbers, comments,
// previews, and anything behind its end. The pixels are not encoded again. What a viewer needs stays: colour profiles,
// animation, and for JPEG the orientation (as the only entry of a new EXIF segment; one in a PNG or WebP is lost, few
// cameras write those). mime is what Inspect said; anything but the four pictures is ErrUnknown, since nothing would be
// removed. A picture that is broken is ErrMalformed; a JPEG whose end is missing is mended.
func Strip(b []byte, mime string) ([]byte, error) {
	switch mime {
	case "image/jpeg":
		return stripJPEG(b)
	case "image/png":
		return stripPNG(b)
	case "image/webp":
		return stripWebP(b)
	case "image/gif":
		return stripGIF(b)
	}
	return nil, ErrUnknown
}

// The chunks of a PNG that say how it looks (PNG third edition, section 11).
var pngKept = map[string]bool{
	"IHDR": true, "PLTE": true, "IDAT": true, "IEND": true, "tRNS": true, "cHRM": true, "gAMA": true, "iCCP": true,
	"sBIT": true, "sRGB": true, "cICP": true, "mDCV": true, "cLLI": true, "bKGD": true, "hIST": true, "pHYs": true,
	"acTL": true, "fcTL": true, "fdAT": true,
}

const pngSignature = "\x89PNG\r\n\x1a\n"

func stripPNG(b []byte) ([]byte, error) {
	if !bytes.HasPrefix(b, []byte(pngSignature)) {
		return nil, ErrMalformed
	}
	out := append(make([]byte, 0, len(b)), pngSignature...)
	for i := len(pngSignature); len(b)-i >= 12; {
		size := binary.BigEndian.Uint32(b[i:])
		if uint64(size) > uint64(len(b)-i-12) {
			return nil, ErrMalformed
		}
		name := string(b[i+4 : i+8])
		end := i + 12 + int(size)
		switch {
		case pngKept[name]:
			out = append(out, b[i:end]...)
			if name == "IEND" {
				return out, nil
			}
		case name[0]&0x20 == 0: // critical: it cannot be shown without
			return nil, ErrMalformed
		}
		i = end
	}
	return nil, ErrMalformed
}

// stripWebP walks the RIFF chunks (WebP container specification).
func stripWebP(b []byte) ([]byte, error) {
	if len(b) < 12 || string(b[:4]) != "RIFF" || string(b[8:12]) != "WEBP" {
		return nil, ErrMalformed
	}
	size := binary.LittleEndian.Uint32(b[4:])
	if size < 4 || uint64(size) > uint64(len(b)-8) {
		return nil, ErrMalformed
	}
	out := append(make([]byte, 0, len(b)), b[:12]...)
	out, err := webpChunks(out, b[12:8+int(size)], true)
	if err != nil {
		return nil, err
	}
	binary.LittleEndian.PutUint32(out[4:], uint32(len(out)-8))
	return out, nil
}

// webpChunks appends those chunks of b that say how the picture looks. Frames of an animation have chunks of their own.
func webpChunks(out, b []byte, top bool) ([]byte, error) {
	const frameHeader = 16
	found := false
	for len(b) > 0 {
		if len(b) < 8 {
			return nil, ErrMalformed
		}
		size := binary.LittleEndian.Uint32(b[4:])
		if uint64(size) > uint64(len(b)-8) {
			return nil, ErrMalformed
		}
		n := int(size)
		padded := min(n+n&1, len(b)-8) // the last padding byte is sometimes forgotten
		name, chunk := string(b[:4]), b[:8+padded]
		b = b[8+padded:]
		switch name {
		case "VP8 ", "VP8L", "ALPH":
			out = append(out, chunk...)
			found = true
		case "ICCP", "ANIM":
			if top {
				out = append(out, chunk...)
			}
		case "VP8X":
			if !top || n < 10 {
				return nil, ErrMalformed
			}
			at := len(out)
			out = append(out, chunk...)
			out[at+8] &^= 0x08 | 0x04 // no EXIF, no XMP
			continue
		case "ANMF":
			if !top || n < frameHeader {
				return nil, ErrMalformed
			}
			at := len(out)
			out = append(out, chunk[:8+frameHeader]...)
			var err error
			if out, err = webpChunks(out, chunk[8+frameHeader:8+n], false); err != nil {
				return nil, err
			}
			binary.LittleEndian.PutUint32(out[at+4:], uint32(len(out)-at-8))
			found = true
		}
		if len(out)&1 == 1 {
			out = append(out, 0)
		}
	}
	if !found {
		return nil, ErrMalformed
	}
	return out, nil
}

// stripGIF walks the blocks (GIF89a specification).
func stripGIF(b []byte) ([]byte, error) {
	const header = 13
	if len(b) < header || string(b[:3]) != "GIF" {
		return nil, ErrMalformed
	}
	i := header
	if b[10]&0x80 != 0 {
		i += 3 << (b[10]&7 + 1)
	}
	if i > len(b) {
		return nil, ErrMalformed
	}
	out := append(make([]byte, 0, len(b)), b[:i]...)
	for i < len(b) {
		start := i
		keep := true
		switch b[i] {
		case 0x3b: // the end
			return append(out, 0x3b), nil
		case 0x2c: // an image
			if len(b)-i < 11 {
				return nil, ErrMalformed
			}
			flags := b[i+9]
			i += 10
			if flags&0x80 != 0 {
				i += 3 << (flags&7 + 1)
			}
			i++ // the size of a code
		case 0x21: // an extension
			if len(b)-i < 3 {
				return nil, ErrMalformed
			}
			switch b[i+1] {
			case 0xf9, 0x01: // timing and transparency; text that is drawn
			case 0xff:
				app := b[i+3 : min(len(b), i+14)]
				keep = string(app) == "NETSCAPE2.0" || string(app) == "ANIMEXTS1.0" // how often it runs
			default:
				keep = false
			}
			i += 2
		default:
			return nil, ErrMalformed
		}
		var ok bool
		if i, ok = gifBlocks(b, i); !ok {
			return nil, ErrMalformed
		}
		if keep {
			out = append(out, b[start:i]...)
		}
	}
	return nil, ErrMalformed
}

// gifBlocks skips data blocks up to and including the empty one.
func gifBlocks(b []byte, i int) (int, bool) {
	for i < len(b) {
		n := int(b[i])
		i += 1 + n
		if n == 0 {
			return i, true
		}
	}
	return 0, false
}
