package turn

import "errors"

// ErrConfig is returned by New for a Config that cannot work; the text says which field and why. Mend it and start again.
var ErrConfig = errors.New("turn: bad configuration")

// ErrNotRunning is returned by Kick before Run and after its end; nothing was done.
var ErrNotRunning = errors.New("turn: not running")

// Why bytes from the network are not taken. Only counted: the sender gets no answer.
var (
	errNotSTUN = errors.New("not a STUN message")
	errShort   = errors.New("shorter than it says")
)
