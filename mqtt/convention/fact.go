package convention

import "time"

// Fact is one thing that a message says: a Part, Gone, Values, Online, Event, Alarm, Position, Media, Answer, Publish or
// Refused. The field Key of each is that of the Part it is about. All text in facts is valid UTF-8 without control
// characters and bounded; Media.Data and Publish.Payload are bytes.
type Fact interface{ fact() }

// Gone withdraws a Part.
type Gone struct {
	Key string
	// Moving says that the same thing is about to be announced under another Key, so that nothing is archived meanwhile.
	Moving bool
}

// Values are readings that Step decoded itself, because no template could. Only what came is in it: a reading that is not
// mentioned keeps its value.
type Values struct {
	Key    string
	Values []Value
	Time   time.Time // when the device measured; zero: when the message came
}

// Value is one reading's value, as text in the form that ReadingKind says.
type Value struct {
	Reading string // Reading.Name
	Text    string
}

// Online says whether a device can be reached.
type Online struct {
	Key    string
	Online bool
	Reason string // for people; may be ""
}

// Event is something that happened: a button was pressed, a tag was read. Never made of a retained message.
type Event struct {
	Key  string
	Name string // [a-z0-9_]+, such as "button"
	Text string // for people: "double press"
	ID   string // the same happening, announced again or going on, has the same ID; "" has none
	Time time.Time
}

// Alarm was raised or cleared by the device itself. Alarms that a reading's value raises are in Part.Alarms.
type Alarm struct {
	Key    string
	Name   string // [a-z0-9_]+; the same alarm has the same name
	Text   string // for people
	Raised bool   // false: cleared
	Time   time.Time
}

// Position is where a device was.
type Position struct {
	Key                 string
	Latitude, Longitude float64 // degrees, WGS 84
	Accuracy            float64 // metres; 0 unknown
	Altitude            float64 // metres above sea level; only if HasAltitude
	HasAltitude         bool
	Time                time.Time
}

// Media is a picture, a sound or another file that came as a message.
type Media struct {
	Key  string
	Name string // for people: "person at the porch"
	Data []byte // shares memory with the message; its type is found by looking at it
	ID   string // the Event it belongs to; "" none
}

// Answer is what a device says to a command that carried a transaction (see Command.Payload).
type Answer struct {
	Transaction string
	OK          bool
	Reason      string // why not, for people
}

// Publish is what the convention itself asks to be sent, such as a request for a birth certificate. It is never a command of
// a person and never changes what a device does.
type Publish struct {
	Topic   string
	Payload []byte
	QoS     byte
	Retain  bool
}

// Refused says what of an announcement is not supported, so that people see it instead of something wrong. It stands until
// the next Part, Gone or Refused with its Key.
type Refused struct {
	Key    string
	Name   string // what it would have been, as people would call it
	Reason string // in plain words
}

func (Part) fact()     {}
func (Gone) fact()     {}
func (Values) fact()   {}
func (Online) fact()   {}
func (Event) fact()    {}
func (Alarm) fact()    {}
func (Position) fact() {}
func (Media) fact()    {}
func (Answer) fact()   {}
func (Publish) fact()  {}
func (Refused) fact()  {}
