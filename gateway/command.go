package gateway

import (
	"fmt"
	"time"

	"github.com/gatepost/gatepost/internal/ids"
)

// State is how far a command has come.
type State string

// The states. Expired, Refused, Withdrawn, Confirmed, Failed and Unknown are ends; Published is one when the device is not
// asked for a confirmation.
const (
	Received  State = "received"  // being published: after a crash nobody knows whether it was
	Waiting   State = "waiting"   // for a second look by a person
	Queued    State = "queued"    // certainly not published yet: the broker can't be reached
	Published State = "published" // handed to the broker
	Confirmed State = "confirmed" // the device's own answer came
	Failed    State = "failed"
	Expired   State = "expired"
	Refused   State = "refused"
	Withdrawn State = "withdrawn"
	Unknown   State = "unknown"
)

// Command is a command somebody asked for. It is kept in the store's space "commands" as JSON, and it is the truth: the
// reaction in the room is its picture.
type Command struct {
	ID       string        `json:"id"`
	Event    ids.EventID   `json:"event,omitempty"` // the person's message, or reaction on Card; "" when asked for by other means
	Card     ids.EventID   `json:"card,omitempty"`  // the card that the person reacted to
	Room     ids.RoomKey   `json:"room"`
	Sender   ids.UserID    `json:"sender"`
	Via      string        `json:"via,omitempty"` // by which other means than a message a person asked for it
	Device   ids.DeviceID  `json:"device"`
	Name     string        `json:"name"`
	Args     string        `json:"args,omitempty"`   // as may be shown
	Secret   bool          `json:"secret,omitempty"` // payload and answer hold a code: they are never stored
	Topic    string        `json:"topic"`
	Payload  string        `json:"payload"`
	Bytes    []byte        `json:"bytes,omitempty"` // the payload when it is no text
	QoS      byte          `json:"qos,omitempty"`
	Retain   bool          `json:"retain,omitempty"`
	Repeat   bool          `json:"repeat,omitempty"`
	Grade    Grade         `json:"grade"`
	Confirm  *Answer       `json:"confirm,omitempty"` // nil: the device is not asked
	Patience time.Duration `json:"patience"`          // `expires` of the rule
	State    State         `json:"state"`
	Reason   string        `json:"reason,omitempty"`
	Held     bool          `json:"held,omitempty"`  // Queued: for the device to be reachable, not for the broker
	Deadline time.Time     `json:"deadline"`        // of the state it is in
	Changes  []Change      `json:"changes"`         // the way here
	Shown    ids.EventID   `json:"shown,omitempty"` // the reaction that people see now

	read time.Time // when its event was read; zero after a restart
}

// Change is one step of a command's way.
type Change struct {
	State State     `json:"state"`
	At    time.Time `json:"at"`
}

// Time for the second look at a dangerous command.
const lookTime = 60 * time.Second

// What happens to a command.
type (
	// The sender may ask for it. reply: a second look must be one, a reaction is not enough; held: the device can't be reached now.
	allowed   struct{ reply, held bool }
	late      struct{ why string } // asked for too long ago
	looked    struct{ held bool }  // somebody who may confirmed a dangerous one
	reachable struct{}             // the device can be reached again
	sent      struct{}             // the broker has it
	notSent   struct{ why string } // certainly not
	unsure    struct{ why string } // nobody can tell
	answered  struct{}             // the device did
	denied    struct{ why string } // the device answered that it did not
	ticked    struct{}             // time went by
	restarted struct{}             // gatepost was started again
	withdrawn struct{}             // its message was redacted
	refused   struct{ why string } // the sender may not, or not any more
	forgotten struct{}             // the device has no such command any more, or on another topic
	overdue   struct{}             // it was to be published again, but its time is over
)

// What must happen then.
type (
	publish struct{ later time.Duration } // to the device; then sent, notSent or unsure comes back
	show    struct{ state State }         // as a reaction on the person's message
	reply   struct{ text string }         // to it
)

// step moves c and says what must now happen. It does nothing itself.
func (c *Command) step(now time.Time, ev any) []any {
	switch ev := ev.(type) {
	case allowed:
		if c.Grade == Dangerous && c.Event != "" { // else whoever asked was asked twice
			c.to(Waiting, now, lookTime)
			how := "react to your message with ✅"
			if ev.reply {
				how = "answer your message with ✅ as a reply"
			}
			return []any{reply{fmt.Sprintf("“%s” is a dangerous command: %s within %d s if it shall be done.", c.Name, how, int(lookTime.Seconds()))}}
		}
		return c.start(now, ev.held)
	case late:
		return c.end(now, Expired, ev.why)
	case looked:
		if c.State == Waiting {
			return c.start(now, ev.held)
		}
	case reachable:
		if c.State == Queued && c.Held && now.Before(c.Deadline) {
			deadline := c.Deadline
			c.to(Received, now, 0)
			c.Deadline = deadline
			return []any{publish{}}
		}
	case sent:
		if c.State != Received {
			return nil // answered already
		}
		c.to(Published, now, c.Patience)
		return []any{show{Published}}
	case notSent:
		if c.State != Received {
			return nil
		}
		deadline := c.Deadline
		first := !c.was(Queued)
		c.to(Queued, now, 0)
		c.Reason, c.Deadline = ev.why, deadline
		if first {
			return []any{show{Queued}, publish{later: publishAgain}}
		}
		return []any{publish{later: publishAgain}}
	case unsure:
		if c.State != Received {
			return nil
		}
		if c.Repeat && now.Before(c.Deadline) {
			return []any{publish{later: publishAgain}}
		}
		return c.end(now, Unknown, "nobody can tell whether the device got it ("+ev.why+")")
	case answered:
		if c.Confirm != nil && (c.State == Received || c.State == Published) {
			return c.end(now, Confirmed, "")
		}
	case denied:
		if c.Confirm != nil && (c.State == Received || c.State == Published) {
			return c.end(now, Failed, ev.why)
		}
	case withdrawn:
		if c.State == Waiting || c.State == Queued {
			return c.end(now, Withdrawn, "")
		}
	case refused:
		if c.State == "" || c.State == Waiting {
			c.to(Refused, now, 0)
			c.Reason = ev.why
			return []any{reply{ev.why}}
		}
	case forgotten:
		if c.State == Waiting || c.State == Queued {
			return c.end(now, Failed, "there is no such command any more")
		}
	case restarted:
		intime := now.Before(c.Deadline) && !now.Before(c.lastChange()) // else time is over, or the clock was set back
		switch {
		case c.Secret && (c.State == Queued || c.State == Waiting):
			return c.end(now, Failed, "gatepost was started again and does not keep codes; ask again")
		case c.Secret && c.State == Published && c.Confirm != nil && !c.Confirm.Any && c.Confirm.Transaction == "":
			return c.end(now, Unknown, "gatepost was started again and does not keep codes, so it can't tell the answer")
		case c.Held && intime:
			return nil
		case (c.State == Queued || c.State == Received && c.Repeat && !c.Secret) && intime:
			return []any{publish{}}
		case c.State == Queued:
			return c.end(now, Expired, "gatepost was not running while there was time")
		case c.State == Received:
			return c.end(now, Unknown, "gatepost was interrupted while it sent the command; look at the device before you ask again")
		}
	case overdue:
		switch c.State {
		case Queued:
			return c.end(now, Expired, "the broker could not be reached in time")
		case Received:
			return c.end(now, Unknown, "nobody can tell whether the device got it")
		}
	case ticked:
		if c.Ended() || now.Before(c.Deadline) {
			return nil
		}
		switch c.State {
		case Waiting:
			return c.end(now, Expired, "nobody confirmed it in time")
		case Queued:
			if c.Held {
				return c.end(now, Expired, "the device could not be reached in time")
			}
			return c.end(now, Expired, "the broker could not be reached in time")
		case Published:
			why := fmt.Sprintf("no answer from the device within %v", c.Patience)
			if c.QoS > 0 {
				why += "; it may still be delivered"
			}
			return c.end(now, Failed, why)
		}
	}
	return nil
}

// retry is what the publisher does with a queued command: it is being published again.
func (c *Command) retry(now time.Time) bool {
	if c.State != Queued && c.State != Received || !now.Before(c.Deadline) {
		return false
	}
	if c.State == Queued {
		deadline := c.Deadline
		c.to(Received, now, 0)
		c.Deadline = deadline
	}
	return true
}

// start has the command published, or, held, kept until the device can be reached.
func (c *Command) start(now time.Time, held bool) []any {
	if held {
		c.to(Queued, now, c.Patience)
		c.Held, c.Reason = true, "the device can't be reached"
		return []any{show{Queued}}
	}
	c.to(Received, now, c.Patience)
	return []any{publish{}}
}

func (c *Command) end(now time.Time, s State, why string) []any {
	c.to(s, now, 0)
	c.Reason = why
	effects := []any{show{s}}
	if why != "" {
		effects = append(effects, reply{fmt.Sprintf("“%s”: %s.", c.Name, why)})
	}
	return effects
}

func (c *Command) to(s State, now time.Time, patience time.Duration) {
	c.State, c.Reason, c.Held, c.Deadline = s, "", false, now.Add(patience)
	if len(c.Changes) == maxChanges {
		c.Changes = c.Changes[:maxChanges-1]
	}
	c.Changes = append(c.Changes, Change{s, now})
}

// Of more changes only the latest is kept beside the first: a command that waits for the broker tries again and again.
const maxChanges = 32

// lastChange is when c came to its state, or to one shortly before.
func (c *Command) lastChange() time.Time {
	if len(c.Changes) == 0 {
		return time.Time{}
	}
	return c.Changes[len(c.Changes)-1].At
}

func (c *Command) was(s State) bool {
	for _, ch := range c.Changes {
		if ch.State == s {
			return true
		}
	}
	return false
}

// Ended says whether nothing more can happen to the command.
func (c *Command) Ended() bool {
	switch c.State {
	case Received, Waiting, Queued:
		return false
	case Published:
		return c.Confirm == nil
	default:
		return true
	}
}

// picture is the state in a word, with its sign.
func (c *Command) picture(s State) string {
	if s == Queued && c.Held {
		return "⏳ waiting for the device"
	}
	return picture[s]
}

// picture is the reaction that shows a state.
var picture = map[State]string{
	Queued: "⏳ waiting for the broker", Published: "📤 sent", Confirmed: "✅ confirmed", Failed: "❌ failed",
	Expired: "⌛ expired", Unknown: "❓ unknown", Withdrawn: "↩️ withdrawn", Refused: "🚫 refused",
}
