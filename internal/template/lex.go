package template

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// kind says what a token is.
type kind uint8

const (
	tokEnd    kind = iota // of the source
	tokText               // outside of all delimiters; val is what remains after white space control
	tokOpen               // {{
	tokClose              // }}
	tokBegin              // {%
	tokFinish             // %}
	tokName
	tokInt
	tokFloat
	tokString // val is the value, escapes resolved
	tokOp     // val is the operator
)

// token is one word of a template. pos is its offset in the source.
type token struct {
	kind kind
	val  string
	pos  int
}

// lexer cuts a template into tokens.
type lexer struct {
	src    string
	pos    int
	trim   bool // the white space at the start of the next text goes: "-}}" was before it
	tokens []token
}

// lex cuts src. One newline at the very end does not count, as in Jinja.
func lex(src string) ([]token, error) {
	if s, ok := strings.CutSuffix(src, "\n"); ok {
		src = strings.TrimSuffix(s, "\r")
	}
	l := &lexer{src: src}
	for l.pos < len(l.src) {
		if err := l.next(); err != nil {
			return nil, err
		}
	}
	return append(l.tokens, token{tokEnd, "", len(l.src)}), nil
}

func (l *lexer) add(k kind, val string, pos int) { l.tokens = append(l.tokens, token{k, val, pos}) }

// next takes the text up to the next delimiter, and what the delimiter opens.
func (l *lexer) next() error {
	start := l.pos
	open := start
	for {
		i := strings.IndexByte(l.src[open:], '{')
		if i < 0 || open+i+1 >= len(l.src) {
			l.text(start, len(l.src), false)
			l.pos = len(l.src)
			return nil
		}
		open += i
		if c := l.src[open+1]; c == '{' || c == '%' || c == '#' {
			break
		}
		open++
	}
	body := open + 2
	strip := body < len(l.src) && l.src[body] == '-'
	l.text(start, open, strip)
	if body < len(l.src) && (strip || l.src[body] == '+') {
		body++
	}
	l.pos = body
	switch l.src[open+1] {
	case '#':
		i := strings.Index(l.src[body:], "#}")
		if i < 0 {
			return syntaxf(open, "this comment has no end: #} is missing")
		}
		l.trim = i > 0 && l.src[body+i-1] == '-'
		l.pos = body + i + 2
		return nil
	case '{':
		l.add(tokOpen, "{{", open)
		return l.inside(open, "}}", tokClose)
	default:
		l.add(tokBegin, "{%", open)
		return l.inside(open, "%}", tokFinish)
	}
}

// text adds the text of src[from:to].
func (l *lexer) text(from, to int, stripEnd bool) {
	s := l.src[from:to]
	if l.trim {
		s = strings.TrimLeftFunc(s, unicode.IsSpace)
		l.trim = false
	}
	if stripEnd {
		s = strings.TrimRightFunc(s, unicode.IsSpace)
	}
	if s != "" {
		l.add(tokText, s, from)
	}
}

// The operators, longer ones before those they begin with.
var operators = []string{
	"//", "**", "==", "!=", ">=", "<=",
	"+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",",
}

// inside takes the words up to the delimiter end. Brackets are balanced, so that {{ {'a': {}} }} ends where it should.
func (l *lexer) inside(open int, end string, k kind) error {
	var brackets []byte
	for l.pos < len(l.src) {
		rest := l.src[l.pos:]
		if len(brackets) == 0 {
			if e, minus := strings.CutPrefix(rest, "-"); strings.HasPrefix(e, end) {
				l.trim = minus
				l.add(k, end, l.pos)
				l.pos += len(rest) - len(e) + len(end)
				return nil
			}
			if e, plus := strings.CutPrefix(rest, "+"); plus && strings.HasPrefix(e, end) {
				l.add(k, end, l.pos)
				l.pos += 1 + len(end)
				return nil
			}
		}
		r, size := utf8.DecodeRuneInString(rest)
		switch {
		case unicode.IsSpace(r):
			l.pos += size
		case r == '"' || r == '\'':
			if err := l.quoted(byte(r)); err != nil {
				return err
			}
		case r >= '0' && r <= '9':
			l.number()
		case r == '_' || unicode.IsLetter(r):
			n := strings.IndexFunc(rest, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
			if n < 0 {
				n = len(rest)
			}
			l.add(tokName, rest[:n], l.pos)
			l.pos += n
		default:
			op := operator(rest)
			if op == "" {
				return syntaxf(l.pos, "%q has no meaning here", r)
			}
			var err error
			if brackets, err = balance(brackets, op, l.pos); err != nil {
				return err
			}
			l.add(tokOp, op, l.pos)
			l.pos += len(op)
		}
	}
	return syntaxf(open, "this has no end: %s is missing", end)
}

func operator(s string) string {
	for _, op := range operators {
		if strings.HasPrefix(s, op) {
			return op
		}
	}
	return ""
}

// balance keeps the stack of closing brackets that are due.
func balance(due []byte, op string, pos int) ([]byte, error) {
	switch op {
	case "(":
		return append(due, ')'), nil
	case "[":
		return append(due, ']'), nil
	case "{":
		return append(due, '}'), nil
	case ")", "]", "}":
		if len(due) == 0 {
			return nil, syntaxf(pos, "%s closes nothing", op)
		}
		if want := due[len(due)-1]; want != op[0] {
			return nil, syntaxf(pos, "%s stands where %c must come first", op, want)
		}
		return due[:len(due)-1], nil
	}
	return due, nil
}

// number takes an integer (1, 1_000, 0x1f) or a float (1.5, 1e5). "1." is an integer and a dot, as in Jinja.
func (l *lexer) number() {
	s := l.src[l.pos:]
	n, k := 0, tokInt
	digits := func(ok func(byte) bool) bool {
		from := n
		for n < len(s) && (ok(s[n]) || s[n] == '_' && n+1 < len(s) && ok(s[n+1])) {
			n++
		}
		return n > from
	}
	if len(s) > 2 && s[0] == '0' && strings.IndexByte("xXoObB", s[1]) >= 0 && hexDigit(s[2]) {
		n = 2
		digits(hexDigit)
	} else {
		digits(digit)
		if n+1 < len(s) && s[n] == '.' && digit(s[n+1]) {
			n++
			digits(digit)
			k = tokFloat
		}
		if mark := n; n < len(s) && (s[n] == 'e' || s[n] == 'E') {
			n++
			if n < len(s) && (s[n] == '+' || s[n] == '-') {
				n++
			}
			if digits(digit) {
				k = tokFloat
			} else {
				n = mark
			}
		}
	}
	l.add(k, strings.ReplaceAll(s[:n], "_", ""), l.pos)
	l.pos += n
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

func hexDigit(c byte) bool { return digit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' }

// quoted takes a text in quotes and resolves its escapes as Python does (\n \\ \xNN \uNNNN and so on; one that is not known stays as it is).
func (l *lexer) quoted(quote byte) error {
	start := l.pos
	var b strings.Builder
	for i := start + 1; i < len(l.src); i++ {
		c := l.src[i]
		switch {
		case c == quote:
			l.add(tokString, b.String(), start)
			l.pos = i + 1
			return nil
		case c != '\\' || i+1 >= len(l.src):
			b.WriteByte(c)
		default:
			i += l.escape(&b, i+1)
		}
	}
	return syntaxf(start, "this text has no end: a closing %c is missing", quote)
}

// escape writes what the escape at i (behind its backslash) stands for and says how many bytes behind the backslash it is.
func (l *lexer) escape(b *strings.Builder, i int) int {
	simple := map[byte]byte{
		'n': '\n', 't': '\t', 'r': '\r', '\\': '\\', '\'': '\'', '"': '"', 'a': '\a', 'b': '\b', 'f': '\f', 'v': '\v',
	}
	c := l.src[i]
	if r, ok := simple[c]; ok {
		b.WriteByte(r)
		return 1
	}
	if width := map[byte]int{'x': 2, 'u': 4, 'U': 8}[c]; width > 0 && i+width < len(l.src) {
		r, ok := rune(0), true
		for _, h := range []byte(l.src[i+1 : i+1+width]) {
			ok = ok && hexDigit(h)
			r = r<<4 | rune(unhex(h))
		}
		if ok && utf8.ValidRune(r) {
			b.WriteRune(r)
			return 1 + width
		}
	}
	if c == '\n' {
		return 1 // the line goes on
	}
	if n := 0; c >= '0' && c <= '7' { // octal: at most three digits
		value := rune(0)
		for n < 3 && l.src[i+n] >= '0' && l.src[i+n] <= '7' { // there is at least the closing quote
			value = value<<3 | rune(l.src[i+n]-'0')
			if n++; i+n >= len(l.src) {
				break
			}
		}
		b.WriteRune(value)
		return n
	}
	b.WriteByte('\\')
	b.WriteByte(c)
	return 1
}

func unhex(c byte) byte {
	switch {
	case digit(c):
		return c - '0'
	case c >= 'a':
		return c - 'a' + 10
	default:
		return c - 'A' + 10
	}
}
