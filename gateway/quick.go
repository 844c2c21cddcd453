package gateway

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/gatepost/gatepost/gateway/action"
	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/internal/logkey"
	"github.com/gatepost/gatepost/mqtt/convention"
)

// Quick actions: reactions that the bot puts on the card of a device with few commands. Who adds to one asks for the command.

// maxQuick is how many commands are few.
const maxQuick = 5

// maxQuickName is the longest name, in bytes, that a reaction is made of.
const maxQuickName = 30

// quickKey begins lane.Record.Key of such a reaction.
const quickKey = ownKey + "quick/"

// quickAction is a reaction that is on a card, or on its way there.
type quickAction struct {
	Word   string      `json:"word"`            // the reaction, and the command as people say it
	Record string      `json:"record"`          // id of the record that becomes it
	Event  ids.EventID `json:"event,omitempty"` // "": not known yet, or there are none in this room
}

// quickWords are the commands that a device's card offers: those that need nothing behind their name and are not dangerous.
// A device with more of them than a row of buttons can hold has none.
func quickWords(actions []*action.Action) []string {
	var out []string
	for _, a := range actions {
		if !a.Bare() || a.Grade == convention.Dangerous || len(a.Words()) > maxQuickName {
			continue
		}
		if out = append(out, a.Words()); len(out) > maxQuick {
			return nil
		}
	}
	return out
}

// offerQuick brings the reactions on a card in line with the device's commands.
func (g *Gateway) offerQuick(b *batch, e *cardEntry, now time.Time) {
	words := quickWords(g.actions(e.id))
	had := e.Quick
	e.Quick = slices.DeleteFunc(slices.Clone(e.Quick), func(q quickAction) bool {
		if slices.Contains(words, q.Word) {
			return false
		}
		if q.Event != "" {
			b.change.Append = append(b.change.Append, lane.Record{
				Lane: e.Lane, ID: ids.NewULID(now), Device: e.id, Class: lane.State, Key: quickKey + string(e.id) + "/" + q.Word, At: now,
				Post: lane.Post{Kind: lane.Redaction, RelatesTo: q.Event},
			})
		}
		return true
	})
	for _, w := range words {
		if slices.ContainsFunc(e.Quick, func(q quickAction) bool { return q.Word == w }) {
			continue
		}
		r := lane.Record{
			Lane: e.Lane, ID: ids.NewULID(now), Device: e.id, Class: lane.State, Key: quickKey + string(e.id) + "/" + w, At: now,
			Post: lane.Post{Kind: lane.Reaction, Text: w, RelatesTo: e.Event},
		}
		b.change.Append = append(b.change.Append, r)
		e.Quick = append(e.Quick, quickAction{Word: w, Record: r.ID})
	}
	if !slices.Equal(had, e.Quick) {
		g.cards.save(b, e)
	}
}

// quickMade is told that the reaction of record r is event e now.
func (g *Gateway) quickMade(b *batch, r lane.Record, event ids.EventID) {
	e := g.cards.byID[r.Device]
	if e == nil || event == "" {
		return
	}
	for i := range e.Quick {
		if e.Quick[i].Record == r.ID {
			e.Quick[i].Event = event
			g.cards.save(b, e)
		}
	}
}

// pressed asks for the command of a quick action, for who reacted with key to the card of a device.
func (g *Gateway) pressed(ctx context.Context, e room.Event, at ids.RoomKey, card ids.EventID, key string) func(*batch) {
	nothing := func(*batch) {}
	device, is := g.cards.deviceOf(card)
	if !is {
		return nothing
	}
	state, err := g.powers.get(ctx, e.Room, g.matrix, "")
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		g.log.Warn("the power levels of a room can't be read", logkey.Room, at, logkey.Error, err)
		return nothing
	}
	a := ask{device: device, bang: true, card: card}
	a.name, a.args = word(strings.TrimSuffix(key, "\ufe0f"))
	return func(b *batch) {
		c := g.cards.byID[device]
		offered := func(q quickAction) bool { return q.Word == strings.TrimSuffix(key, "\ufe0f") }
		if c == nil || c.Event != card || c.Lane != at || !slices.ContainsFunc(c.Quick, offered) {
			return // any other reaction is between people
		}
		if why := doubtful(e, state); why != "" {
			g.refuse(b, e, at, a, why)
			return
		}
		g.ask(b, e, at, a, state)
	}
}
