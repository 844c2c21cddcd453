package discovery

import (
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/mqtt/convention"
)

// News is what a call of Message, Tick or Decide brought. It is valid until the next one; what it points to belongs to the
// Host. Only admitted devices have news.
type News struct {
	Wanted bool // somebody wants the topic
	Taken  bool // somebody admitted does

	Touched   []Touch
	Readings  []ReadingNews
	Events    []EventNews
	Alarms    []AlarmNews
	Positions []PositionNews
	Media     []MediaNews
	Answers   []convention.Answer
	Publish   []convention.Publish // what conventions ask to be sent

	Admitted []ids.DeviceID // from now on
	Changed  []ids.DeviceID // its announcements say something else
	Gone     []ids.DeviceID // withdrew everything, and time has passed
	Asked    bool           // something new waits for a decision
	Topics   bool           // Sources gives something else
}

// Touch is a device of which something shown has changed.
type Touch struct {
	ID     ids.DeviceID
	Urgent bool // an alarm, a lock, a contact
}

// ReadingNews is a reading that came, not retained.
type ReadingNews struct {
	ID      ids.DeviceID
	Reading *convention.DeviceReading
	Text    string // "" not known
}

// EventNews is something that happened to a device.
type EventNews struct {
	ID ids.DeviceID
	convention.Event
}

// AlarmNews is an alarm that was raised or cleared.
type AlarmNews struct {
	ID ids.DeviceID
	convention.Alarm
}

// PositionNews is where a device is.
type PositionNews struct {
	ID ids.DeviceID
	convention.Position
}

// MediaNews is a picture or another file of a device.
type MediaNews struct {
	ID ids.DeviceID
	convention.Media
	Reading string // the reading whose value it is, which may come often; "" a file of its own
}

// reset makes n empty and keeps its room.
func (n *News) reset() {
	clear(n.Media)
	*n = News{
		Touched: n.Touched[:0], Readings: n.Readings[:0], Events: n.Events[:0], Alarms: n.Alarms[:0], Positions: n.Positions[:0],
		Media: n.Media[:0], Answers: n.Answers[:0], Publish: n.Publish[:0],
		Admitted: n.Admitted[:0], Changed: n.Changed[:0], Gone: n.Gone[:0],
	}
}
