package media

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// What of a JSON object is shown.
const (
	maxLines = 40  // lines, and values for machines
	maxName  = 80  // characters of a name, with the names it is inside of
	maxValue = 200 // characters of a value
	maxDepth = 8   // objects inside objects; deeper ones are shown as "{…}"
	maxBytes = 1 << 20
)

// Shown is a JSON object as people read it.
type Shown struct {
	Text   string            // "name: value", a line each, in the order of the object
	HTML   string            // the same as a list, made here: <ul><li><b>name</b>: value</li>…</ul>
	Values map[string]string // by name; numbers exactly as they were written
	More   int               // lines that were left out; Text and HTML say so
}

// Object makes the lines of a JSON object. A value inside another has a name with dots ("battery.voltage"), arrays of plain
// values are one line, other arrays count from 0 ("slots.0.id"). Of equal names all are shown and the last is in Values.
// Errors: ErrMalformed for what is no JSON object, ErrTooLarge beyond 1 MiB.
func Object(payload []byte) (Shown, error) {
	if len(payload) > maxBytes {
		return Shown{}, ErrTooLarge
	}
	s := trim(payload)
	if len(s) == 0 || s[0] != '{' || !json.Valid(s) {
		return Shown{}, ErrMalformed
	}
	w := walker{s: s, out: Shown{Values: make(map[string]string)}}
	w.value("", 0)
	if w.lines == 0 {
		w.line("", "{}")
	}
	if w.out.More > 0 {
		fmt.Fprintf(&w.text, "… and %d more\n", w.out.More)
		fmt.Fprintf(&w.html, "<li>… and %d more</li>", w.out.More)
	}
	w.out.Text = strings.TrimSuffix(w.text.String(), "\n")
	w.out.HTML = "<ul>" + w.html.String() + "</ul>"
	return w.out, nil
}

// walker goes through JSON that is known to be valid.
type walker struct {
	s          []byte
	i          int
	lines      int
	text, html strings.Builder
	out        Shown
}

func (w *walker) space() {
	for w.i < len(w.s) && (w.s[w.i] == ' ' || w.s[w.i] == '\t' || w.s[w.i] == '\n' || w.s[w.i] == '\r') {
		w.i++
	}
}

// at takes the white space and then c if it is next.
func (w *walker) at(c byte) bool {
	w.space()
	if w.s[w.i] != c {
		return false
	}
	w.i++
	return true
}

// value takes one value and makes lines of it. Once there are enough lines, values are only counted and skipped.
func (w *walker) value(name string, depth int) {
	w.space()
	c := w.s[w.i]
	if c != '{' && c != '[' {
		w.line(name, w.scalar())
		return
	}
	if w.lines >= maxLines {
		w.skip()
		w.out.More++
		return
	}
	if depth == maxDepth || w.flat() {
		w.line(name, w.brief())
		return
	}
	w.i++
	end := c + 2 // } or ]
	for n := 0; !w.at(end); n++ {
		w.at(',')
		key := strconv.Itoa(n)
		if c == '{' {
			w.space()
			key = w.scalar()
			w.at(':')
		}
		if name != "" {
			key = name + "." + key
		}
		w.value(key, depth+1)
	}
}

// flat is true where an empty object, or an array without objects and arrays in it, is next.
func (w *walker) flat() bool {
	start := w.i
	defer func() { w.i = start }()
	w.i++
	if w.s[start] == '{' {
		return w.at('}')
	}
	for !w.at(']') {
		w.at(',')
		w.space()
		if c := w.s[w.i]; c == '{' || c == '[' {
			return false
		}
		w.skip()
	}
	return true
}

// brief takes an array of plain values, or anything that is too deep, as one text.
func (w *walker) brief() string {
	start := w.i
	if w.s[w.i] == '{' {
		w.skip()
		if len(trim(w.s[start+1:w.i-1])) == 0 {
			return "{}"
		}
		return "{…}"
	}
	var b strings.Builder
	w.i++
	for n := 0; !w.at(']'); n++ {
		w.at(',')
		w.space()
		if c := w.s[w.i]; c == '{' || c == '[' {
			w.skip()
			b.WriteString(string(c) + "…" + string(c+2))
			continue
		}
		if b.Len() > 4*maxValue {
			w.skip()
			continue
		}
		if n > 0 {
			b.WriteString(", ")
		}
		b.WriteString(w.scalar())
	}
	if b.Len() == 0 {
		return "[]"
	}
	return b.String()
}

// scalar takes a text, without its quotes, or anything else as it is written.
func (w *walker) scalar() string {
	start := w.i
	w.skip()
	raw := w.s[start:w.i]
	if raw[0] != '"' {
		return string(raw)
	}
	const most = 16 * maxValue // more is never shown
	plain := true
	for k, c := range raw[1 : len(raw)-1] {
		if c == '\\' || c >= utf8.RuneSelf {
			plain = false
			break
		}
		if k >= most {
			break
		}
	}
	if plain {
		return string(raw[1:min(len(raw)-1, most)])
	}
	var s string
	_ = json.Unmarshal(raw, &s) // valid: Object has looked
	return s
}

// skip moves behind the value that is next.
func (w *walker) skip() {
	switch w.s[w.i] {
	case '"':
		w.skipText()
	case '{', '[':
		for depth := 0; ; {
			switch w.s[w.i] {
			case '"':
				w.skipText()
				continue
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			w.i++
			if depth == 0 {
				return
			}
		}
	default:
		for w.i < len(w.s) && bytes.IndexByte([]byte(",:}] \t\n\r"), w.s[w.i]) < 0 {
			w.i++
		}
	}
}

// skipText moves behind a text in quotes.
func (w *walker) skipText() {
	for w.i++; w.s[w.i] != '"'; w.i++ {
		if w.s[w.i] == '\\' {
			w.i++
		}
	}
	w.i++
}

// line adds one line, if there is room.
func (w *walker) line(name, value string) {
	if w.lines >= maxLines {
		w.out.More++
		return
	}
	w.lines++
	name = short(name, maxName)
	value = short(value, maxValue)
	if name == "" {
		w.text.WriteString(value + "\n")
		w.html.WriteString("<li>" + EscapeHTML(value) + "</li>")
		return
	}
	w.out.Values[name] = value
	w.text.WriteString(name + ": " + value + "\n")
	w.html.WriteString("<li><b>" + EscapeHTML(name) + "</b>: " + EscapeHTML(value) + "</li>")
}

// short makes one line of at most max characters.
func short(s string, max int) string {
	out, cut := Text([]byte(s), max)
	if strings.Contains(out, "\n") {
		out = strings.Join(strings.FieldsFunc(out, func(r rune) bool { return r == '\n' }), " ")
	}
	if cut {
		out += "…"
	}
	return out
}
