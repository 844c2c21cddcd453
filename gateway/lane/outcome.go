package lane

import (
	"errors"
	"fmt"
	"time"

	"github.com/gatepost/gatepost/internal/ids"
)

// Verdict says what a request to the homeserver came to.
type Verdict uint8

// The verdicts.
const (
	Done    Verdict = iota + 1
	Retry           // certainly not done; again after Outcome.After
	Unknown         // no whole answer was seen: look whether it was done before doing it again
	Dead            // refused for good
	Stop            // refused because of who we are (401): nothing may be sent until a person acts
)

// Outcome is what a request to the homeserver came to. As an error it is every Verdict but Done.
type Outcome struct {
	Verdict Verdict
	Event   ids.EventID   // with Done: the event made, if one was
	After   time.Duration // with Retry: not before; 0 lets the caller choose
	// Limited is true for a 429: the pause holds for everything this user sends to that endpoint.
	Limited bool
	Code    string // errcode of the Matrix specification, or "HTTP 502", "network"
	Reason  string // for people, without tokens
}

func (o Outcome) Error() string {
	if o.Code == "" {
		return o.Reason
	}
	return fmt.Sprintf("%s: %s", o.Code, o.Reason)
}

// OutcomeOf finds the Outcome in err. A nil err is Done, an error without one is Retry: something of ours failed.
func OutcomeOf(err error) Outcome {
	var o Outcome
	switch {
	case err == nil:
		return Outcome{Verdict: Done}
	case errors.As(err, &o):
		return o
	default:
		return Outcome{Verdict: Retry, Reason: err.Error()}
	}
}
