package media

import (
	"html"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text makes of a payload what may stand in a room as plain text: valid UTF-8 (bad bytes become U+FFFD), lines that end in
// "\n", no control characters but newline and tab, no terminal colours, nothing that turns the direction of what follows,
// and no mentions (NoMentions). At most max characters come out; cut says that there would have been more. Bytes far behind
// the cut are not looked at. For HTML, EscapeHTML comes on top.
func Text(b []byte, max int) (s string, cut bool) {
	if len(b) <= max && printable(b) {
		return NoMentions(string(b)), false
	}
	var out strings.Builder
	out.Grow(min(len(b), 4*max))
	n := 0
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		if r == 0x1b { // a sequence for a terminal
			b = b[escapeLen(b):]
			continue
		}
		if r == '\r' && size < len(b) && b[size] == '\n' {
			b = b[size:]
			continue
		}
		b = b[size:]
		switch r {
		case '\r', '\u2028', '\u2029', '\v', '\f', '\u0085':
			r = '\n'
		}
		if !shown(r) {
			continue
		}
		if n == max {
			cut = true
			break
		}
		n++
		out.WriteRune(r)
	}
	return NoMentions(out.String()), cut
}

// printable is true for ASCII without control characters: most of what devices say.
func printable(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// shown is false for what has no place in plain text: control characters, marks that turn the direction of the text
// (overrides, embeddings, isolates), and the byte order mark.
func shown(r rune) bool {
	switch {
	case r == '\n' || r == '\t':
		return true
	case r < ' ', r >= 0x7f && r <= 0x9f:
		return false
	case r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0xfeff:
		return false
	case r >= 0xfff9 && r <= 0xfffb: // interlinear annotation
		return false
	}
	return !unicode.Is(unicode.Noncharacter_Code_Point, r)
}

// escapeLen is the length of the sequence that an ESC begins (ECMA-48): ESC [ parameters letter, or the ESC alone.
func escapeLen(b []byte) int {
	const longest = 32
	if len(b) < 2 || b[1] != '[' {
		return 1
	}
	for i := 2; i < len(b) && i < longest; i++ {
		if c := b[i]; c >= 0x40 && c <= 0x7e {
			return i + 1
		} else if c < 0x20 || c > 0x3f {
			break
		}
	}
	return 1
}

// joiner is U+2060 WORD JOINER: no width, no break, no other effect.
const joiner = "\u2060"

// NoMentions puts a WORD JOINER into what clients make a mention or a pill of: "@room", "@user:server", matrix.to links and
// matrix: URIs. It looks the same and mentions nobody. Every event of ours says whom it mentions (m.mentions) and clients
// then look nowhere else; this is for those that do not know m.mentions, and for pills that would only look like mentions.
func NoMentions(s string) string {
	var out strings.Builder
	done := 0 // bytes of s that are in out
	for i := 0; i < len(s); i++ {
		n := 0 // bytes before the joiner
		switch rest := s[i:]; rest[0] {
		case '@':
			if hasFold(rest, "@room") || looksLikeUser(rest) {
				n = 1
			}
		case 'm', 'M':
			if hasFold(rest, "matrix.to") || hasFold(rest, "matrix:") {
				n = len("matrix")
			}
		}
		if n > 0 {
			out.WriteString(s[done : i+n])
			out.WriteString(joiner)
			done = i + n
		}
	}
	if done == 0 {
		return s
	}
	return out.String() + s[done:]
}

func hasFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// looksLikeUser is true for "@localpart:" and something behind it; a localpart is at most 255 bytes (Matrix specification).
func looksLikeUser(s string) bool {
	const longest = 255
	if strings.HasPrefix(s[1:], joiner) {
		return false // done already
	}
	for i := 1; i < len(s) && i <= longest; i++ {
		switch c := s[i]; {
		case c == ':':
			return i > 1 && i+1 < len(s) && s[i+1] > ' '
		case c <= ' ':
			return false
		}
	}
	return false
}

// EscapeHTML makes text stand for itself in HTML, in attributes too.
func EscapeHTML(s string) string { return html.EscapeString(s) }
