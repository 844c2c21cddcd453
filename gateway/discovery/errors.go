package discovery

import "errors"

// ErrNone is returned by Decide and Remove when there is nothing with that id to decide about. Its text is for people.
var ErrNone = errors.New("no device with that id waits, is ignored or blocked")

// ErrChanged is returned by Decide when the device announces something else than what was shown. Ask again.
var ErrChanged = errors.New("it announces something else by now")
