package media

import "errors"

// ErrClosed is returned by Open before Listen and after the end of Run: there are no calls then.
var ErrClosed = errors.New("media: the engine does not run")

// ErrDescription is wrapped by the errors about a session description that can't be used; the call ends.
var ErrDescription = errors.New("media: session description refused")

// ErrAnnouncement is wrapped by the errors about an announcement that can't be played.
var ErrAnnouncement = errors.New("media: announcement")
