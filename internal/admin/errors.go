package admin

import "errors"

var (
	// ErrRunning is returned by Listen when a live process answers on the socket: another gatepost is running.
	ErrRunning = errors.New("another gatepost is running")
	// ErrNotRunning is returned by a Client when nothing listens on the socket. The text that people see says what to
	// start; callers that can do without a running gateway test for it.
	ErrNotRunning = errors.New("no gatepost is running")
	// ErrCutShort is returned by Client.Stream when the stream ended before its end: what was written is not whole.
	ErrCutShort = errors.New("the answer was cut short")
)

// The codes of Error.
const (
	BadRequest  = "bad_request" // the request itself is wrong
	NotFound    = "not_found"   // what it names does not exist
	Refused     = "refused"     // it may not be done
	Unavailable = "unavailable" // not now: the gateway is starting, stopping or too slow
	Failed      = "failed"      // anything else
)

// Error is what a verb answers when it could not do its work, and what a Client returns for it. A verb returns one (it may
// be wrapped) to choose the code; any other error of a verb has the code Failed.
type Error struct {
	Code string // one of the codes above
	Text string // for people; it says what to do
}

func (e *Error) Error() string { return e.Text }

// status is the HTTP status of a code.
func status(code string) int {
	switch code {
	case BadRequest:
		return 400
	case NotFound:
		return 404
	case Refused:
		return 403
	case Unavailable:
		return 503
	default:
		return 500
	}
}
