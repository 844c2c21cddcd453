package source

import (
	"errors"

	"github.com/gatepost/gatepost/voip/media"
)

// ErrMalformed is wrapped by what is wrong with a device's message. It is dropped; the text holds nothing of it.
var ErrMalformed = errors.New("not an answer of a libpeer device")

// ErrAddress is wrapped by what is wrong with an address in the configuration. The text holds no password.
var ErrAddress = errors.New("source")

func fail(words string, err error) error { return &media.Failure{Text: words, Err: err} }
