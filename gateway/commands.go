package gateway

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
)

// So many commands that ended are kept for people to look at, and apart from them so many that were refused: whoever asks
// for what they may not does not make us forget what was done.
const (
	maxCommands = 1000
	maxRefused  = 200
)

// commands is the table of commands. The router goroutine owns it, so what the store sees of a command is in order.
type commands struct {
	all     map[string]*Command
	open    map[string]*Command
	ended   []string                  // ids, oldest first
	refused []string                  // likewise
	byEvent map[ids.EventID]string    // of open ones; those of the command line have no event
	latest  int64                     // milliseconds in the latest id
	newest  map[ids.DeviceID]*Command // of those that were let through

	done    map[string]func(Command)     // who waits for a command to end
	publish func(Command, time.Duration) // hands it to the publisher after the commit
	arm     func(time.Time)              // a deadline to look at
	count   func(State)
	changed func(ids.DeviceID)     // one of its commands has another state
	sealed  func(ids.RoomKey) bool // the room is encrypted: states are shown by one reply that is edited
}

func loadCommands(s Store) (*commands, error) {
	t := &commands{all: map[string]*Command{}, open: map[string]*Command{}, byEvent: map[ids.EventID]string{}, done: map[string]func(Command){}, newest: map[ids.DeviceID]*Command{}}
	err := s.Each(spaceCommands, "", func(key string, value []byte) error {
		c := &Command{}
		if err := json.Unmarshal(value, c); err != nil {
			return fmt.Errorf("command %q in the store: %w", key, err)
		}
		if c.Confirm != nil {
			c.Confirm.whole()
		}
		t.all[c.ID] = c
		t.note(c)
		if c.Ended() {
			list, _ := t.past(c)
			*list = append(*list, c.ID)
		} else {
			t.reopen(c)
		}
		return nil
	})
	return t, err
}

// note keeps which command of a device is the latest.
func (t *commands) note(c *Command) {
	if was := t.newest[c.Device]; c.State != Refused && (was == nil || was.ID <= c.ID) {
		t.newest[c.Device] = c
	}
}

// past is the list that an ended command is in, and how long it may be.
func (t *commands) past(c *Command) (list *[]string, most int) {
	if c.State == Refused {
		return &t.refused, maxRefused
	}
	return &t.ended, maxCommands
}

func (t *commands) reopen(c *Command) {
	t.open[c.ID] = c
	if c.Event != "" {
		t.byEvent[c.Event] = c.ID
	}
}

// of is the open command that an event asked for; nil when there is none.
func (t *commands) of(e ids.EventID) *Command {
	if id, ok := t.byEvent[e]; ok {
		return t.open[id]
	}
	return nil
}

// newID makes an id that is above all others of this process, so that ids are in the order of the requests.
func (t *commands) newID(now time.Time) string {
	t.latest = max(t.latest+1, now.UnixMilli())
	return ids.NewULID(time.UnixMilli(t.latest))
}

// inOrder lists the open commands in the order in which they were asked for.
func (t *commands) inOrder() []*Command {
	return slices.SortedFunc(maps.Values(t.open), func(a, b *Command) int { return cmp.Compare(a.ID, b.ID) })
}

// step moves a command, and adds to b what that does to the store and what follows after the commit.
func (t *commands) step(b *batch, c *Command, now time.Time, ev any) {
	before := c.State
	effects := c.step(now, ev)
	if before == c.State && len(effects) == 0 {
		return
	}
	if before != c.State {
		t.count(c.State)
		t.changed(c.Device)
	}
	for _, e := range effects {
		switch e := e.(type) {
		case publish:
			copied := *c
			b.after = append(b.after, func() { t.publish(copied, e.later) })
		case show:
			if c.Event != "" && c.Card == "" { // the card says it itself
				b.change.Append = append(b.change.Append, lane.Record{
					Lane: c.Room, ID: ids.NewULID(now), Device: c.Device, Class: lane.Event, At: now, Urgent: true,
					Post: lane.Post{Kind: lane.Reaction, Text: c.picture(e.state), RelatesTo: c.Event, Command: c.ID, State: string(e.state)},
				})
			}
		case reply:
			text := e.text
			if c.Card != "" { // a reaction can't be answered, so say who is meant
				text = string(c.Sender) + ", " + c.Name + ": " + text
			}
			if c.Event != "" {
				b.change.Append = append(b.change.Append, answer(c.Room, c.Device, cmp.Or(c.Card, c.Event), ids.NewULID(now), now, text))
			}
		}
	}
	t.save(b, c)
	if before != c.State {
		t.told(b, c)
	}
}

// shown records that the reaction r is event e now, and takes the one before it away.
func (t *commands) shown(b *batch, r lane.Record, e ids.EventID) {
	c := t.all[r.Post.Command]
	if c == nil || c.Shown == e {
		return
	}
	if c.Shown != "" && t.sealed(c.Room) {
		return // it was edited
	}
	if c.Shown != "" {
		b.change.Append = append(b.change.Append, lane.Record{
			Lane: c.Room, ID: ids.NewULID(r.At), Device: r.Device, Class: lane.Event, At: r.At, Urgent: true,
			Post: lane.Post{Kind: lane.Redaction, RelatesTo: c.Shown},
		})
	}
	c.Shown = e
	t.save(b, c)
}

// answer is a reply to a person's message.
func answer(room ids.RoomKey, device ids.DeviceID, to ids.EventID, id string, now time.Time, text string) lane.Record {
	return lane.Record{Lane: room, ID: id, Device: device, Class: lane.Event, At: now, Urgent: true, Post: lane.Post{Kind: lane.Notice, Text: text, RelatesTo: to}}
}

// save puts the command as it is into the commit, and keeps the books of open and ended ones.
func (t *commands) save(b *batch, c *Command) {
	v, err := json.Marshal(c.covered())
	if err != nil {
		panic(err) // strings and times only
	}
	b.change.Put = append(b.change.Put, lane.Item{Space: spaceCommands, Key: c.ID, Value: v})
	_, known := t.all[c.ID]
	_, open := t.open[c.ID]
	t.all[c.ID] = c
	t.note(c)
	switch {
	case !c.Ended():
		t.reopen(c)
		if c.State != Received {
			t.arm(c.Deadline)
		}
	case open || !known:
		delete(t.open, c.ID)
		delete(t.byEvent, c.Event)
		list, most := t.past(c)
		*list = append(*list, c.ID)
		if len(*list) > most {
			b.change.Put = append(b.change.Put, lane.Item{Space: spaceCommands, Key: (*list)[0]})
			if old := t.all[(*list)[0]]; t.newest[old.Device] == old {
				delete(t.newest, old.Device)
			}
			delete(t.all, (*list)[0])
			*list = (*list)[1:]
		}
	}
}

// tick ends what waited too long and arms the next deadline.
func (t *commands) tick(b *batch, now time.Time) {
	for _, c := range t.inOrder() {
		t.step(b, c, now, ticked{})
		if t.open[c.ID] != nil && c.State != Received {
			t.arm(c.Deadline)
		}
	}
}
