package discovery

import (
	"time"

	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/mqtt/convention"
)

// Device is an admitted device: what it announced, and what is known of it now. Others than the owner of the Host read it
// only in the owner's goroutine.
type Device struct {
	ID ids.DeviceID
	// Original is what ID was made of: name and identifier when the device was first seen.
	Original string
	Is       convention.Device // its announcements, merged; Is.ID is an identifier of a convention, not ours
	Alarms   map[string]Raised // that the device itself raised and did not clear; those of Is.Alarms show in Values
	Values   map[string]Value  // by DeviceReading.Name; a reading that never came is not there
	Online   Online
	Since    time.Time // of Online
}

// Value is what a reading is now.
type Value struct {
	Text  string    // in the form that the reading's kind says; "" when it is not known
	Known bool      // false: the device said that it does not know, or the value is too old
	At    time.Time // when it was measured, or came
}

// Raised is an alarm that a device said it has.
type Raised struct {
	Text  string    `json:"text"` // for people; may be ""
	Since time.Time `json:"since"`
}

// Online says whether a device can be reached.
type Online uint8

// The zero value is that nobody knows.
const (
	Unknown Online = iota
	Reachable
	Unreachable
)
