package gateway

import "time"

// Clock tells how far the homeserver's clock is ahead of ours, by the Date header of its latest answer; ok is false
// before the first.
type Clock interface {
	Offset() (d time.Duration, ok bool)
}

// buildYear is a year that no true clock is before.
const buildYear = 2026

// believed gives the time at which to judge the age of events, corrected by the homeserver's clock; ok is false while
// neither clock can be believed: then no command runs.
func believed(now time.Time, offset time.Duration, known bool) (t time.Time, ok bool) {
	if !known {
		return now, false
	}
	t = now.Add(offset)
	return t, t.UTC().Year() >= buildYear
}

// Age of an event above which a command in it is from the future: no clock of ours is that wrong.
const maxFuture = 60 * time.Second

// timely says whether a command that was sent at may still run at now; why is for people.
func timely(now, at time.Time, expires time.Duration) (why string, ok bool) {
	switch age := now.Sub(at); {
	case age > expires:
		return "it was asked for " + age.Round(time.Second).String() + " ago; a command is good for " + expires.String(), false
	case age < -maxFuture:
		return "its time is " + (-age).Round(time.Second).String() + " in the future: a clock is wrong", false
	}
	return "", true
}
