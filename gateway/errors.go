package gateway

import "errors"

var (
	// ErrNoDevice is returned when somebody names a device that gatepost does not know. The text says which.
	ErrNoDevice = errors.New("gateway: no such device")
	// ErrNoCommand is returned when a device has no command of that name. The text lists those it has.
	ErrNoCommand = errors.New("gateway: no such command")
	// ErrTooLong is returned when what is asked for is longer than a command may be.
	ErrTooLong = errors.New("gateway: too long")

	errEnough = errors.New("enough") // ends a walk through the store
)

// refusal says why something is not done, in a sentence for people.
type refusal struct {
	kind error
	text string
}

func (r refusal) Error() string { return r.text }
func (r refusal) Unwrap() error { return r.kind }
