package legacy

import "errors"

// ErrNotCall is returned for an event whose type this package does not know; it is somebody else's.
var ErrNotCall = errors.New("not an event of a call")

// ErrMalformed is wrapped by what Decode returns for an event that is not as the specification has it, or beyond the bounds.
// The event is dropped; the text says why and holds nothing of the content but bounded names.
var ErrMalformed = errors.New("malformed event of a call")

// ErrOurs is returned for an event that we sent ourselves, by its party; and ErrInvitee for an invitation to somebody else.
// Both are to be ignored. A negotiation of ours that came back is no error: it is Echoed.
var (
	ErrOurs    = errors.New("our own event")
	ErrInvitee = errors.New("an invitation for somebody else")
)
