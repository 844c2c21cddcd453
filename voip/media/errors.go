package media

import "errors"

// ErrClosed is returned by Open before Listen and after the end of Run: there are no calls then.
var ErrClosed = errors.New("media: the engine does not run")

// ErrDescription is wrapped by the errors about a session description that can't be used; the call ends.
var ErrDescription = errors.New("media: session description refused")

// ErrAnnouncement is wrapped by the errors about an announcement that can't be played.
var ErrAnnouncement = errors.New("media: announcement")

// Failure is why a device can't take part in a call, in words for the person who calls it.
type Failure struct {
	Text string // a sentence without credentials and addresses, such as "The camera does not answer."
	Err  error  // for the log; nil: none
}

func (f *Failure) Error() string {
	if f.Err == nil {
		return f.Text
	}
	return f.Err.Error()
}

func (f *Failure) Unwrap() error { return f.Err }
