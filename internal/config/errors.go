package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrInvalid is what every Errors is (errors.Is): the configuration cannot be used, and trying again will not help before
// a person has changed it.
var ErrInvalid = errors.New("config: invalid")

// Error is one mistake and its place.
type Error struct {
	File      string
	Line, Col int    // from 1; 0 when the mistake has no place in the file
	Key       string // such as "turn.allow_peers[2]"; "" for the file as a whole
	Reason    string // what is wrong and what was expected
	Err       error  // the cause, where another package found it; may be nil
}

// Error is "file:line:col: key: reason".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Col)
	}
	if e.File != "" {
		b.WriteString(": ")
	}
	if e.Key != "" {
		b.WriteString(e.Key + ": ")
	}
	b.WriteString(e.Reason)
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// Is makes a single mistake ErrInvalid too.
func (e *Error) Is(target error) bool { return target == ErrInvalid }

// Errors is every mistake of a file, in the order of the file. Never empty.
type Errors []*Error

// Error is one line a mistake.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i := range e {
		lines[i] = e[i].Error()
	}
	return strings.Join(lines, "\n")
}

func (e Errors) Unwrap() []error {
	errs := make([]error, len(e))
	for i := range e {
		errs[i] = e[i]
	}
	return errs
}

// Join makes one Errors of what At and Load gave, in the order of the file; nil when all are nil. An error of another kind
// goes first, without a place.
func Join(errs ...error) error {
	var all Errors
	for _, err := range errs {
		var several Errors
		var one *Error
		switch {
		case err == nil:
		case errors.As(err, &several):
			all = append(all, several...)
		case errors.As(err, &one):
			all = append(all, one)
		default:
			all = append(all, &Error{Reason: err.Error(), Err: err})
		}
	}
	return all.sorted()
}

// maxErrors is how many mistakes are reported; a file with more is hardly a configuration.
const maxErrors = 100

// sorted gives the mistakes in the order of the file, the first maxErrors of them, as an error that is nil for none.
func (e Errors) sorted() error {
	if len(e) == 0 {
		return nil
	}
	slices.SortStableFunc(e, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
	})
	if more := len(e) - maxErrors; more > 0 {
		e = append(e[:maxErrors:maxErrors], &Error{File: e[0].File, Reason: fmt.Sprintf("and %d more mistakes", more)})
	}
	return e
}
