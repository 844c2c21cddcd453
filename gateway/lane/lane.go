// Package lane is the vocabulary of the outbox, all of it pure: what waits to be sent to a room, in which order, what
// gives way when a lane is full, and what became of a send. The store keeps lanes, the gateway fills and drains them.
//
// A lane is the ordered outbox of one room key. Its records are sent one at a time. Urgent records go first, in their own
// order; the others go in order of their sequence, save those that may not be sent yet (NotBefore).
package lane

import (
	"time"

	"github.com/gatepost/gatepost/internal/ids"
)

// Class says how a record is treated while it waits.
type Class uint8

// The classes, from the first to give way to the last.
const (
	Telemetry Class = iota + 1 // may become a digest (n, min, mean, max) of one reading
	State                      // the latest value of a reading wins while it waits
	Event                      // in order, may expire
	Alarm                      // in order, never merged, has reserved room
)

// String is the class as configuration, metrics and people write it.
func (c Class) String() string {
	switch c {
	case Telemetry:
		return "telemetry"
	case State:
		return "state"
	case Event:
		return "event"
	case Alarm:
		return "alarm"
	default:
		return "none"
	}
}

// Record is one thing that waits in a lane: exactly one request to the homeserver (media is uploaded first).
type Record struct {
	Seq       uint64       `json:"-"` // place in the lane, given by the store; 0 before
	Lane      ids.RoomKey  `json:"-"`
	ID        string       `json:"id"`               // ULID: content id and transaction id, never used for anything else
	Device    ids.DeviceID `json:"device,omitempty"` // speaks; "" is the bot
	Class     Class        `json:"class"`
	Key       string       `json:"key,omitempty"` // names the reading; state and telemetry merge with a waiting record of the same class, device and key; "" never merges
	Topic     string       `json:"topic,omitempty"`
	At        time.Time    `json:"at"`                  // when the message reached us
	Expires   time.Time    `json:"expires,omitzero"`    // not sent after it; zero never
	NotBefore time.Time    `json:"not_before,omitzero"` // not sent before it; zero at once
	Urgent    bool         `json:"urgent,omitempty"`    // command states, call signalling, first cards: first in line, outside the bounds, never evicted
	Digest    *Digest      `json:"digest,omitempty"`    // telemetry that stands for more than one message
	Gap       *Gap         `json:"gap,omitempty"`       // stands for records that were dropped; Post is empty
	Post      Post         `json:"post,omitzero"`
}

// Kind says what a Post is.
type Kind string

// The kinds of Post.
const (
	Text      Kind = "text"      // m.text by the device
	Notice    Kind = "notice"    // m.notice by the bot or the device
	Media     Kind = "media"     // m.image, m.audio, m.video or m.file by Post.MIME
	Reaction  Kind = "reaction"  // m.reaction with Text as key on Post.RelatesTo
	Redaction Kind = "redaction" // of Post.RelatesTo
	Pin       Kind = "pin"       // Post.RelatesTo becomes one of the room's pinned events, in the place of Post.Replaces; either may be ""
	Room      Kind = "room"      // nothing is sent: the room is made, or brought up to date
	Call      Kind = "call"      // m.call.*: Name is the type, Text the content as JSON; not sent after Record.Expires
)

// Post is what people will see of a Record. All text is final: valid UTF-8, escaped where it is HTML.
type Post struct {
	Kind      Kind              `json:"kind"`
	Text      string            `json:"text,omitempty"`
	HTML      string            `json:"html,omitempty"`       // made by the gateway only; "" none
	Values    map[string]string `json:"values,omitempty"`     // for "dev.gatepost".values
	RelatesTo ids.EventID       `json:"relates_to,omitempty"` // a reply to it (text, notice, media), else what Kind says
	Replaces  ids.EventID       `json:"replaces,omitempty"`   // text, notice: it is edited to say this (m.replace); "" a new event
	Mentions  []ids.UserID      `json:"mentions,omitempty"`
	MIME      string            `json:"mime,omitempty"`
	Name      string            `json:"name,omitempty"` // file name
	Width     int               `json:"width,omitempty"`
	Height    int               `json:"height,omitempty"`
	Voice     time.Duration     `json:"voice,omitempty"`   // media: it is a voice message of this length; 0: it is none
	Data      []byte            `json:"-"`                 // the media itself
	Command   string            `json:"command,omitempty"` // the command whose state this shows
	State     string            `json:"state,omitempty"`   // that state
}

// Digest sums up the messages of one reading since the record began to wait. Telemetry whose value is a number carries one
// with N 1 from the start; telemetry without a number carries none until Merge counts it.
type Digest struct {
	N     int       `json:"n"`               // messages, with or without a number
	Other int       `json:"other,omitempty"` // how many of them had no number; Min, Max and Sum are about the rest
	Min   float64   `json:"min"`
	Max   float64   `json:"max"`
	Sum   float64   `json:"sum"`
	Since time.Time `json:"since"`
}

// Gap counts what was dropped at this place of the lane.
type Gap struct {
	Dropped map[Class]int `json:"dropped"` // messages: a digest of n counts n
	Expired int           `json:"expired"` // how many of them because their time was over
	From    time.Time     `json:"from"`    // first and last Record.At
	To      time.Time     `json:"to"`
}

// DeadLetter is a record that will not be sent, with the reason.
type DeadLetter struct {
	Seq    uint64      `json:"-"` // its own number among the dead letters
	Record Record      `json:"record"`
	Lane   ids.RoomKey `json:"lane"`
	Reason string      `json:"reason"`
	At     time.Time   `json:"dead_at"`
}

// Ref points at a record.
type Ref struct {
	Lane ids.RoomKey
	Seq  uint64
}

// Item is one value of a named space of the store. A nil Value deletes.
type Item struct {
	Space string
	Key   string
	Value []byte
}

// Change is what one commit does: all of it or nothing. The zero value does nothing.
type Change struct {
	Put     []Item
	Append  []Record     // to the end of their lanes, under their bounds; merged where lane.Merge says so
	Finish  []Ref        // sent, or no longer wanted
	Bury    []DeadLetter // Record.Lane and Record.Seq leave their lane and become a dead letter
	Handled []uint64     // sequences of inbox events that need no more work
}

// Status is a lane seen from outside.
type Status struct {
	Lane    ids.RoomKey   `json:"lane"`
	Records int           `json:"records"`
	Bytes   int64         `json:"bytes"`
	Classes map[Class]int `json:"classes"`
	Oldest  time.Time     `json:"oldest"`
	Last    uint64        `json:"-"` // highest sequence
}
