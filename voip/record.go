package voip

import (
	"time"

	"github.com/gatepost/gatepost/internal/ids"
)

// Record is what must survive of a live call: enough to hang it up after a crash, and to say what became of it.
type Record struct {
	ID       ids.CallID  `json:"id"`
	Room     ids.RoomID  `json:"room"`
	Self     Party       `json:"self"`
	Person   ids.UserID  `json:"person"`
	Role     Role        `json:"role"`
	State    State       `json:"state"`
	Version  Version     `json:"version"`
	Peer     ids.PartyID `json:"peer,omitempty"`
	Began    time.Time   `json:"began"`
	Answered time.Time   `json:"answered,omitzero"`
	Flowed   time.Time   `json:"flowed,omitzero"`
}

// Record is c as it is now.
func (c *Call) Record() Record {
	return Record{
		ID: c.ID, Room: c.Room, Self: c.Self, Person: c.Person, Role: c.Role, State: c.State, Version: c.Version, Peer: c.Peer,
		Began: c.Began, Answered: c.Answered, Flowed: c.Flowed,
	}
}

// Revive is the call of a record, without its leg, its timers and its candidates: good for Ended, and nothing else.
func Revive(r Record) *Call {
	c := NewCall(r.ID, r.Room, r.Self, r.Person, Config{})
	c.Role, c.State, c.Version, c.Peer = r.Role, r.State, r.Version, r.Peer
	c.Began, c.Answered, c.Flowed = r.Began, r.Answered, r.Flowed
	return c
}
