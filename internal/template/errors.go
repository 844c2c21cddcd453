package template

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

var (
	// ErrSyntax is returned by Compile for what is not, or not allowed, in a template. A person must correct it.
	ErrSyntax = errors.New("bad template")
	// ErrLimit is returned by Compile, Render and Test when a limit of the package is reached.
	ErrLimit = errors.New("limit reached")
	// ErrValue is returned by Render and Test when the variables do not fit the template: something is undefined, has the
	// wrong type, or is not a number.
	ErrValue = errors.New("value does not fit")
)

// Error is every error of a template, with its place.
type Error struct {
	Line, Col int    // of the template, both from 1; Col counts characters
	Msg       string // in plain words, without the place
	kind      error
}

func (e *Error) Error() string { return fmt.Sprintf("%d:%d: %s", e.Line, e.Col, e.Msg) }

// Unwrap gives ErrSyntax, ErrLimit or ErrValue.
func (e *Error) Unwrap() error { return e.kind }

// fault is an error without its line: operators and filters return it, Render and Compile place it. pos is -1 until a
// place is known.
type fault struct {
	pos  int
	msg  string
	kind error
}

func (f *fault) Error() string { return f.msg }

func syntaxf(pos int, format string, args ...any) error {
	return &fault{pos, fmt.Sprintf(format, args...), ErrSyntax}
}

func valuef(format string, args ...any) error {
	return &fault{-1, fmt.Sprintf(format, args...), ErrValue}
}

func limitf(format string, args ...any) error {
	return &fault{-1, fmt.Sprintf(format, args...), ErrLimit}
}

// at gives err the place pos unless it has a more exact one.
func at(err error, pos int) error {
	if f, ok := err.(*fault); ok && f.pos < 0 { //nolint:errorlint // made in this package, never wrapped
		f.pos = pos
	}
	return err
}

// place makes the error that leaves the package.
func place(src string, err error) error {
	f, ok := err.(*fault) //nolint:errorlint // made in this package, never wrapped
	if !ok {
		return err
	}
	before := src[:min(max(f.pos, 0), len(src))]
	line := 1 + strings.Count(before, "\n")
	col := 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
	return &Error{Line: line, Col: col, Msg: f.msg, kind: f.kind}
}

// short quotes s for a message, cut to something a person reads.
func short(s string) string {
	const most = 40
	if utf8.RuneCountInString(s) > most {
		s = string([]rune(s)[:most]) + "…"
	}
	return fmt.Sprintf("%q", s)
}
