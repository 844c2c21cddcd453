package template

import (
	"encoding/json"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// LazyText is a variable that holds the payload of a message as text, white space around it removed; if it is a number it
// also calculates and compares as one, and prints as it came. It is made when a template first asks for it, and once. The
// payload must not change while the variable is in use. Safe for concurrent use.
func LazyText(payload []byte) any { return &lazy{payload: payload, decode: textOf} }

// LazyJSON is like LazyText for the payload as JSON; undefined, with the reason, if it is none.
func LazyJSON(payload []byte) any { return &lazy{payload: payload, decode: jsonOf} }

type lazy struct {
	payload []byte
	decode  func([]byte) any
	once    sync.Once
	value   any
}

func (l *lazy) get() any {
	l.once.Do(func() { l.value = l.decode(l.payload) })
	return l.value
}

func jsonOf(payload []byte) any {
	v, err := JSON(payload)
	if err != nil {
		return undefined{"value_json (the payload is not JSON: " + err.Error() + ")"}
	}
	return v
}

// textOf is the payload as text: valid UTF-8, and a json.Number if it is nothing but a number.
func textOf(payload []byte) any {
	if len(payload) > maxResult {
		return undefined{"value (the payload is longer than " + strconv.Itoa(maxResult) + " bytes)"}
	}
	s := strings.TrimSpace(strings.ToValidUTF8(string(payload), "\uFFFD"))
	if s != "" && (s[0] == '-' || digit(s[0])) {
		d := jsonReader{s: s}
		if _, err := d.number(); err == nil && d.i == len(s) {
			return json.Number(s)
		}
	}
	return s
}

// JSON decodes a payload into what templates work with: integers become int64, other numbers float64, and larger integers
// json.Number, which prints exactly. Objects keep their order; of equal keys the last counts. Nesting is limited to 32,
// the payload to 1 MiB and 50 000 values. The payload is not kept. The errors are *Error with line and column of the payload.
func JSON(payload []byte) (any, error) {
	if len(payload) > maxJSON {
		return nil, &Error{1, 1, "longer than " + strconv.Itoa(maxJSON) + " bytes", ErrLimit}
	}
	d := jsonReader{s: string(payload)}
	v, err := d.value(0)
	if err == nil {
		if d.space(); d.i < len(d.s) {
			err = d.errorf("more behind the value")
		}
	}
	if err != nil {
		return nil, place(d.s, err)
	}
	return v, nil
}

// jsonReader reads RFC 8259. Texts without escapes share the memory of s.
type jsonReader struct {
	s      string
	i      int
	values int
}

func (d *jsonReader) errorf(what string) error { return &fault{d.i, what, ErrValue} }

func (d *jsonReader) space() {
	for d.i < len(d.s) {
		switch d.s[d.i] {
		case ' ', '\t', '\n', '\r':
			d.i++
		default:
			return
		}
	}
}

func (d *jsonReader) value(depth int) (any, error) {
	if d.values++; d.values > maxValues {
		return nil, &fault{d.i, "more than " + strconv.Itoa(maxValues) + " values", ErrLimit}
	}
	if depth > maxDepth {
		return nil, &fault{d.i, "nested more than " + strconv.Itoa(maxDepth) + " deep", ErrLimit}
	}
	d.space()
	if d.i >= len(d.s) {
		return nil, d.errorf("a value is missing")
	}
	switch c := d.s[d.i]; {
	case c == '{':
		return d.object(depth)
	case c == '[':
		return d.array(depth)
	case c == '"':
		return d.text()
	case c == '-' || digit(c):
		return d.number()
	}
	for word, v := range map[string]any{"true": true, "false": false, "null": nil} {
		if strings.HasPrefix(d.s[d.i:], word) {
			d.i += len(word)
			return v, nil
		}
	}
	return nil, d.errorf("no value begins like this")
}

func (d *jsonReader) object(depth int) (any, error) {
	m := &Map{}
	d.i++
	for {
		d.space()
		if d.i < len(d.s) && d.s[d.i] == '}' && len(m.keys) == 0 {
			d.i++
			return m, nil
		}
		if d.i >= len(d.s) || d.s[d.i] != '"' {
			return nil, d.errorf("a name in quotes is missing")
		}
		key, err := d.text()
		if err != nil {
			return nil, err
		}
		if d.space(); d.i >= len(d.s) || d.s[d.i] != ':' {
			return nil, d.errorf("a colon is missing")
		}
		d.i++
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		m.put(key, v)
		more, err := d.more('}')
		if !more {
			return m, err
		}
	}
}

func (d *jsonReader) array(depth int) (any, error) {
	l := list{}
	d.i++
	if d.space(); d.i < len(d.s) && d.s[d.i] == ']' {
		d.i++
		return l, nil
	}
	for {
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		l = append(l, v)
		more, err := d.more(']')
		if !more {
			return l, err
		}
	}
}

// more takes a comma (true) or the end of the object or array.
func (d *jsonReader) more(end byte) (bool, error) {
	if d.space(); d.i < len(d.s) {
		switch d.s[d.i] {
		case ',':
			d.i++
			return true, nil
		case end:
			d.i++
			return false, nil
		}
	}
	return false, d.errorf("a comma or " + string(end) + " is missing")
}

// number takes -?(0|[1-9][0-9]*)(.[0-9]+)?([eE][+-]?[0-9]+)?
func (d *jsonReader) number() (any, error) {
	start := d.i
	if d.s[d.i] == '-' {
		d.i++
	}
	digits := func() int {
		from := d.i
		for d.i < len(d.s) && digit(d.s[d.i]) {
			d.i++
		}
		return d.i - from
	}
	first := d.i
	if n := digits(); n == 0 || n > 1 && d.s[first] == '0' {
		return nil, d.errorf("this is no number")
	}
	whole := true
	if d.i < len(d.s) && d.s[d.i] == '.' {
		whole = false
		d.i++
		if digits() == 0 {
			return nil, d.errorf("this is no number")
		}
	}
	if d.i < len(d.s) && (d.s[d.i] == 'e' || d.s[d.i] == 'E') {
		whole = false
		d.i++
		if d.i < len(d.s) && (d.s[d.i] == '+' || d.s[d.i] == '-') {
			d.i++
		}
		if digits() == 0 {
			return nil, d.errorf("this is no number")
		}
	}
	s := d.s[start:d.i]
	if whole {
		if i, err := strconv.ParseInt(s, 10, 64); err == nil {
			return i, nil
		}
		return json.Number(s), nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return json.Number(s), nil // beyond float64: it prints, it does not calculate
	}
	return f, nil
}

// text takes a string in quotes. Bad UTF-8 and lone surrogates become U+FFFD, as in encoding/json.
func (d *jsonReader) text() (string, error) {
	d.i++
	rest := d.s[d.i:]
	for n := range len(rest) {
		switch c := rest[n]; {
		case c == '"':
			d.i += n + 1
			return rest[:n], nil
		case c == '\\' || c < ' ' || c >= utf8.RuneSelf:
			return d.slowText()
		}
	}
	return "", d.errorf("a text has no end")
}

// slowText is text for what has escapes or is not ASCII: the end is found here, the decoding is encoding/json's.
func (d *jsonReader) slowText() (string, error) {
	for n := d.i; n < len(d.s); n++ {
		switch d.s[n] {
		case '\\':
			n++
		case '"':
			var s string
			if err := json.Unmarshal([]byte(d.s[d.i-1:n+1]), &s); err != nil {
				return "", d.errorf("a text has a bad escape or a control character")
			}
			d.i = n + 1
			return s, nil
		}
	}
	return "", d.errorf("a text has no end")
}
