package media

import "errors"

var (
	// ErrUnknown is returned by Inspect for bytes that are no medium known here. Post them as a file.
	ErrUnknown = errors.New("unknown kind of media")
	// ErrMalformed is returned when the bytes are not what their first bytes say, or their structure is broken. Post them as
	// a file of unknown type: metadata may still be in it.
	ErrMalformed = errors.New("malformed media")
	// ErrTooLarge is returned when a picture has too many pixels, or a JSON object too much of everything.
	ErrTooLarge = errors.New("too large")
)
