package voip

import (
	"time"
)

// Keys turns the digits of a dial pad into what they ask for. They come from our own media leg, never from the word of a
// device. The zero value asks for nothing.
type Keys struct {
	// Commands by digit: one of 0-9, *, A-D. # is the confirmation.
	Commands map[rune]KeyCommand

	pending KeyCommand // waits for #
	until   time.Time
}

// KeyCommand is what a digit runs. A dangerous one needs # after it, within ConfirmKey.
type KeyCommand struct {
	Name      string
	Dangerous bool
}

// ConfirmKey is how long after the digit of a dangerous command # counts.
const ConfirmKey = 5 * time.Second

// KeyResult is what a digit means.
type KeyResult string

// The results.
const (
	KeyNothing KeyResult = "nothing" // the digit asks for nothing
	KeyConfirm KeyResult = "confirm" // # is needed within ConfirmKey
	KeyRun     KeyResult = "run"     // the command is to be run, with the caller's own permission
)

// Press takes a digit at a time and says what it means and for which command. A digit between a dangerous one and # takes
// back what waits.
func (k *Keys) Press(now time.Time, digit rune) (KeyResult, string) {
	pending := k.pending
	k.pending = KeyCommand{}
	if digit == '#' {
		if pending.Name == "" || now.After(k.until) {
			return KeyNothing, ""
		}
		return KeyRun, pending.Name
	}
	c, ok := k.Commands[digit]
	switch {
	case !ok:
		return KeyNothing, ""
	case c.Dangerous:
		k.pending, k.until = c, now.Add(ConfirmKey)
		return KeyConfirm, c.Name
	}
	return KeyRun, c.Name
}
