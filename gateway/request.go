package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
)

// ErrRefused is returned by Ask when the person may not have what they ask for, now or at all. The text says why.
var ErrRefused = errors.New("gateway: refused")

// AskRequest is a command that a person asks for by other means than a message, such as a key in a call.
type AskRequest struct {
	Device ids.DeviceID
	Sender ids.UserID
	Name   string // of the command
	Args   string // as a person would type them behind the name; "" none
	Via    string // by which means, in a word or two for people: "a call". Not ""
	// Confirmed says that Sender was asked twice, so that a dangerous command needs no reaction. Without it, one is refused:
	// there is no message that somebody could react to.
	Confirmed bool
	// Done is called once with the command as it is when it has ended, after that was stored. It is not called when Ask gave
	// an error, nor when the gateway stops before, and must not block. nil: nobody waits.
	Done func(Command)
}

// Ask runs a command in the name of a person, who must have the power for it in the room where the device lives, and gives
// its id when it is stored to be published. How it ends is shown in that room and told to req.Done. The error is a sentence
// for people: ErrNoDevice, ErrNoCommand, ErrTooLong, or ErrRefused. Safe for concurrent use.
func (g *Gateway) Ask(ctx context.Context, req AskRequest) (string, error) {
	if len(req.Args) > maxText {
		return "", refusal{ErrTooLong, fmt.Sprintf("the arguments have %d bytes; %d is the most", len(req.Args), maxText)}
	}
	at, ok := g.directory.place(req.Device)
	if !ok {
		return "", noDevice(req.Device)
	}
	id := g.rooms.have(at.room).Room
	if id == "" {
		return "", refusal{ErrRefused, "The device has no room yet, so nothing runs."}
	}
	rctx, cancel := context.WithTimeout(ctx, powerRead)
	state, err := g.matrix.State(rctx, id, "")
	cancel()
	if err != nil {
		return "", refusal{ErrRefused, "The homeserver does not tell who may do what, so nothing runs."}
	}
	type result struct {
		id  string
		err error
	}
	out := make(chan result, 1)
	err = g.inside(ctx, func(b *batch) {
		id, err := g.askFor(b, req, at.room, state)
		out <- result{id, err}
	})
	if err != nil {
		return "", err
	}
	r := <-out
	return r.id, r.err
}

// askFor checks and starts a command. It runs in the router goroutine.
func (g *Gateway) askFor(b *batch, req AskRequest, key ids.RoomKey, state room.State) (string, error) {
	c, is, err := g.prepare(ask{device: req.Device, name: req.Name, args: req.Args, bang: true})
	if err != nil {
		return "", err
	}
	c.Room, c.Sender, c.Via = key, req.Sender, req.Via
	now := g.now()
	refuse := func(why string) (string, error) {
		if ok, _ := g.answers.allow(req.Sender, now); ok { // else the room is full of it
			g.commands.step(b, c, now, refused{why})
		}
		return "", refusal{ErrRefused, why}
	}
	if g.who.Load().ours(req.Sender) {
		return refuse("Only people ask for commands.")
	}
	at, ok := g.believed()
	if !ok {
		return refuse(noClock)
	}
	if why := g.who.Load().distrusts(room.Untrusted); why != "" {
		return refuse(why)
	}
	if why := g.who.Load().forbids(state, req.Sender, is, at); why != "" {
		return refuse(why)
	}
	if c.Grade == Dangerous && !req.Confirmed {
		return refuse(fmt.Sprintf("“%s” is a dangerous command, and nobody confirmed it.", c.Name))
	}
	why, held := g.away(c)
	if why != "" {
		return refuse(why)
	}
	if req.Done != nil {
		g.commands.done[c.ID] = req.Done
	}
	g.commands.step(b, c, now, allowed{held: held})
	return c.ID, nil
}

// outcome tells the room how a command ended that nobody asked for by a message.
func outcome(c *Command) string {
	text := fmt.Sprintf("“%s”, asked for by %s in %s: %s", c.Name, c.Sender, c.Via, picture[c.State])
	if c.Reason != "" {
		text += ": " + strings.TrimSuffix(c.Reason, ".")
	}
	return text + "."
}

// told adds to b what follows when c has ended and was asked for by other means than a message.
func (t *commands) told(b *batch, c *Command) {
	if !c.Ended() {
		return
	}
	if c.Via != "" {
		at := c.lastChange()
		b.change.Append = append(b.change.Append, lane.Record{
			Lane: c.Room, ID: ids.NewULID(at), Device: c.Device, Class: lane.Event, At: at, Urgent: true,
			Post: lane.Post{Kind: lane.Notice, Text: outcome(c)},
		})
	}
	if done := t.done[c.ID]; done != nil {
		delete(t.done, c.ID)
		copied := c.covered()
		b.after = append(b.after, func() { done(copied) })
	}
}
