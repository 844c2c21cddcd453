package media

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// Kind says what a payload is.
type Kind uint8

// The kinds.
const (
	Empty      Kind = iota // no bytes, or nothing but white space
	Number                 // a JSON number
	Boolean                // true, false, on or off, in any case
	PlainText              // valid UTF-8 without control characters but white space
	JSONObject             // begins and ends like one; Object says whether it is
	JSONArray              // begins and ends like one
	Image                  // JPEG, PNG, GIF, WebP by their first bytes
	Audio                  // Ogg, WAV, MP3, FLAC, AAC, M4A
	Video                  // MP4, WebM, QuickTime, AVI
	Binary                 // anything else
)

// IsMedia is true for what is posted as a picture, sound, film or file.
func (k Kind) IsMedia() bool { return k >= Image }

func (k Kind) String() string {
	names := [...]string{"empty", "number", "boolean", "text", "object", "array", "image", "audio", "video", "binary"}
	if int(k) < len(names) {
		return names[k]
	}
	return "unknown"
}

// looked is how many bytes decide whether a long payload is text.
const looked = 4 << 10

// KindOf says what payload is. It looks at the first bytes, and at up to 4 KiB when they say text: what comes behind them
// may still be bad UTF-8, which Text repairs.
func KindOf(payload []byte) Kind {
	s := trim(payload)
	if len(s) == 0 {
		return Empty
	}
	switch c := s[0]; {
	case c == '{' && s[len(s)-1] == '}':
		if isText(s) {
			return JSONObject
		}
	case c == '[' && s[len(s)-1] == ']':
		if isText(s) {
			return JSONArray
		}
	case (c == '-' || c >= '0' && c <= '9') && isNumber(s):
		return Number
	case len(s) <= 5 && isBoolean(s):
		return Boolean
	}
	if f := sniff(payload); f != nil {
		return f.kind
	}
	if isText(s) {
		return PlainText
	}
	return Binary
}

// trim cuts the white space that a shell or a serial line leaves round a value. It stops at what is no ASCII space, so a
// binary payload is untouched save for such bytes at its ends.
func trim(b []byte) []byte { return bytes.Trim(b, " \t\r\n") }

const longestNumber = 64

func isNumber(s []byte) bool { return len(s) <= longestNumber && json.Valid(s) }

func isBoolean(s []byte) bool {
	for _, word := range []string{"true", "false", "on", "off"} {
		if len(s) == len(word) && bytes.EqualFold(s, []byte(word)) {
			return true
		}
	}
	return false
}

// isText looks for valid UTF-8 without control characters but tab, newline, carriage return, form feed and escape (colours
// of a terminal: Text removes them).
func isText(b []byte) bool {
	cut := len(b) > looked
	b = b[:min(len(b), looked)]
	for len(b) > 0 {
		if c := b[0]; c < utf8.RuneSelf {
			if c < ' ' && c != '\t' && c != '\n' && c != '\r' && c != '\f' && c != 0x1b || c == 0x7f {
				return false
			}
			b = b[1:]
			continue
		}
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n <= 1 {
			return cut && len(b) < utf8.UTFMax && !utf8.FullRune(b)
		}
		b = b[n:]
	}
	return true
}
