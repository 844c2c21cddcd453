package template

import (
	"fmt"
	"strings"
	"sync"
)

// Template is a compiled template. Safe for concurrent use.
type Template struct {
	src    string
	body   []node
	single expr // the only thing in the template, if it is nothing but one {{ }}
	runs   sync.Pool
}

// Compile reads a template. Every error is an *Error; errors.Is tells ErrSyntax from ErrLimit.
func Compile(src string) (*Template, error) {
	if len(src) > maxSource {
		return nil, &Error{1, 1, fmt.Sprintf("longer than %d bytes", maxSource), ErrLimit}
	}
	tokens, err := lex(src)
	if err != nil {
		return nil, place(src, err)
	}
	body, err := parse(tokens)
	if err != nil {
		return nil, place(src, err)
	}
	t := &Template{src: src, body: body}
	if len(body) == 1 {
		if o, ok := body[0].(outputNode); ok {
			t.single = o.value
		}
	}
	return t, nil
}

// String is the source.
func (t *Template) String() string { return t.src }

// Render evaluates the template with vars, which it does not change or keep. A value may be nil, a bool, any integer or
// float, a string, a json.Number, a []string, a []any or a map of strings to these, what JSON, LazyText and LazyJSON return. A
// variable that is not there is empty; something inside a variable that is not there is an error. The text is not escaped.
// Every error is an *Error; errors.Is tells ErrValue from ErrLimit.
func (t *Template) Render(vars map[string]any) (string, error) {
	r := t.start(vars)
	defer t.done(r)
	if err := r.nodes(t.body); err != nil {
		return "", place(t.src, err)
	}
	return string(r.out), nil
}

// Test renders the template as a condition. A template that is one {{ expression }} is true as Jinja sees its value, save
// for text. Text, and the result of any other template, is true for "true", "yes", "on" and numbers but 0; false for
// "false", "no", "off", "none", "0" and nothing, in any case and with white space around; anything else is an error, so
// that a sensor that says "unavailable" is not taken for a yes or a no.
func (t *Template) Test(vars map[string]any) (bool, error) {
	r := t.start(vars)
	defer t.done(r)
	text := ""
	if t.single != nil {
		v, err := t.single.eval(r)
		if err != nil {
			return false, place(t.src, err)
		}
		s, ok := asText(v)
		if !ok {
			return truth(v), nil
		}
		text = s
	} else {
		if err := r.nodes(t.body); err != nil {
			return false, place(t.src, err)
		}
		text = string(r.out)
	}
	text = strings.TrimSpace(text)
	switch strings.ToLower(text) {
	case "true", "yes", "on":
		return true, nil
	case "false", "no", "off", "none", "":
		return false, nil
	}
	if n, ok := parseNumber(text); ok {
		return n.float() != 0, nil
	}
	return false, place(t.src, valuef("%s is neither true nor false", short(text)))
}

func (t *Template) start(vars map[string]any) *run {
	r, ok := t.runs.Get().(*run)
	if !ok {
		r = &run{}
	}
	r.vars, r.filters, r.tests = vars, filters, tests
	return r
}

// done takes r back for the next render, unless it has grown large.
func (t *Template) done(r *run) {
	const keep = 4 << 10
	if cap(r.out) > keep {
		return
	}
	*r = run{out: r.out[:0]}
	t.runs.Put(r)
}
