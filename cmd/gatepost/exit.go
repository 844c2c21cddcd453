package main

import (
	"context"
	"errors"

	"github.com/gatepost/gatepost/internal/config"
	"github.com/gatepost/gatepost/store"
)

// The exit codes. They are part of the interface: service managers and scripts act on them.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2   // wrong use of the command line
	exitConfig      = 3   // the configuration cannot be used: do not restart
	exitStore       = 4   // the store cannot be read at all or is too new: do not restart
	exitInterrupted = 130 // by a signal, before the work was done
)

// errUsage is what every mistake on the command line is.
var errUsage = errors.New("wrong use")

// usageError is a mistake on the command line with a text of its own.
type usageError struct{ err error }

func (e usageError) Error() string        { return e.err.Error() }
func (e usageError) Unwrap() error        { return e.err }
func (e usageError) Is(target error) bool { return target == errUsage }

// codeOf is the exit code of an error; nil is done.
func codeOf(err error) int {
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errUsage):
		return exitUsage
	case errors.Is(err, config.ErrInvalid):
		return exitConfig
	case errors.Is(err, store.ErrNewer), errors.Is(err, store.ErrCorrupt):
		return exitStore
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	default:
		return exitFailed
	}
}
