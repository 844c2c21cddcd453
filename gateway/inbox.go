package gateway

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gatepost/gatepost/gateway/action"
	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/internal/logkey"
	"github.com/gatepost/gatepost/mqtt/convention"
)

// WakeInbox says that events were put into the store's inbox. It does not block.
func (g *Gateway) WakeInbox() {
	select {
	case g.inboxBell <- struct{}{}:
	default:
	}
}

// So long after the start what is in the inbox waits for a first answer of the homeserver.
const firstAnswer = time.Minute

// awaitAnswer waits until the homeserver has answered anything. Before, its clock is not known and its power levels can't
// be asked for, so that a command which waited in the inbox since before a crash would be refused for nothing.
func (g *Gateway) awaitAnswer(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, firstAnswer)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, known := g.cfg.Clock.Offset(); known {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// readInbox handles what is in the inbox, in order, one event at a time, until ctx is done.
func (g *Gateway) readInbox(ctx context.Context) error {
	g.awaitAnswer(ctx)
	var after uint64
	for ctx.Err() == nil {
		events, err := g.store.Events(after, 100)
		if err != nil {
			return fmt.Errorf("inbox: %w", err)
		}
		for _, e := range events {
			if err := g.handle(ctx, e); err != nil {
				if ctx.Err() != nil || errors.Is(err, ErrStopped) {
					return nil
				}
				return fmt.Errorf("inbox: %w", err)
			}
			after = e.Seq
		}
		if len(events) > 0 {
			continue
		}
		if g.callsTold {
			g.callsTold = g.cfg.Calls.BatchDone(ctx) != nil
		}
		again := time.NewTimer(g.unreadIn())
		select {
		case <-g.inboxBell:
		case <-g.keysBell:
			err = g.retryUnread(ctx)
		case <-again.C:
			err = g.retryUnread(ctx)
		case <-ctx.Done():
		}
		again.Stop()
		if err != nil && ctx.Err() == nil && !errors.Is(err, ErrStopped) {
			return fmt.Errorf("inbox: %w", err)
		}
	}
	return nil
}

// handle does what an event asks for, and takes it out of the inbox in the same commit.
func (g *Gateway) handle(ctx context.Context, e room.Event) error {
	who := g.who.Load()
	if e.ContentID != "" {
		g.shown.add(e.ContentID, e.ID)
	}
	if e.Type == "m.room.encrypted" && e.StateKey == nil && !who.ours(e.Sender) {
		clear, now, err := g.open(ctx, e)
		if err != nil || !now {
			return err
		}
		e = clear
	}
	f := func(*batch) {}
	switch {
	case e.StateKey != nil:
		g.powers.forget(e.Room)
		if err := g.callRoomChanged(ctx, e); err != nil {
			return ctx.Err() // it stays
		}
		if e.Type == "m.room.tombstone" {
			f = g.tombstoned(e, who)
		}
		if e.Type == "m.room.member" {
			f = g.moved(ctx, e, who)
		}
	case isCall(e.Type):
		f = g.called(ctx, e)
	case who.ours(e.Sender):
		if e.ContentID != "" {
			f = func(b *batch) { g.cardMade(b, e.ContentID, e.ID) }
		}
	case e.Type == unreadType:
		f = g.neverRead(e)
	case e.Type == "m.room.message":
		f = g.message(ctx, e)
	case e.Type == "m.reaction":
		f = g.reacted(ctx, e)
	case e.Type == "m.room.redaction":
		f = func(b *batch) {
			if c := g.commands.of(e.Redacts); c != nil && (c.Sender == e.Sender || who.owner(e.Sender)) {
				g.commands.step(b, c, g.now(), withdrawn{})
			}
			g.cardGone(b, e.Redacts)
		}
	}
	if f == nil { // ctx ended on the way: the event stays
		return ctx.Err()
	}
	return g.inside(context.WithoutCancel(ctx), func(b *batch) {
		b.change.Handled = append(b.change.Handled, e.Seq)
		f(b)
	})
}

// moved follows who comes and goes.
func (g *Gateway) moved(ctx context.Context, e room.Event, who *identity) func(*batch) {
	if f := g.leftChat(ctx, e); f != nil {
		return f
	}
	if f := g.leftPrivate(e); f != nil {
		return f
	}
	return g.invited(ctx, e, who)
}

// invited lets one of ours join a room of ours again that it was thrown out of, or a chat. Invitations to
// other rooms are not for us.
func (g *Gateway) invited(ctx context.Context, e room.Event, who *identity) func(*batch) {
	nothing := func(*batch) {}
	var c struct {
		Membership string `json:"membership"`
		Direct     bool   `json:"is_direct"`
	}
	user := ids.UserID(*e.StateKey)
	if !who.ours(user) || who.ours(e.Sender) || json.Unmarshal(e.Content, &c) != nil || c.Membership != "invite" {
		return nothing
	}
	jctx, cancel := context.WithTimeout(ctx, powerRead)
	defer cancel()
	key, ok := g.directory.key(e.Room)
	if !ok {
		g.ringUpgrades() // perhaps one that we wait for
		if _, phone := g.phoneOfUser(user); phone || user != who.bot {
			g.invitedToCall(jctx, e, user)
		} else if c.Direct {
			g.invitedToChat(jctx, e)
		}
		if ctx.Err() != nil {
			return nil
		}
		return nothing
	}
	if err := g.matrix.Join(jctx, e.Room, user); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		g.log.Warn("an invitation into a room of ours could not be followed", logkey.Room, key, logkey.User, user, logkey.Error, err)
	}
	return nothing
}

// message works out what a person's message asks for: a command, or nothing. Edits never act.
func (g *Gateway) message(ctx context.Context, e room.Event) func(*batch) {
	nothing := func(*batch) {}
	var c messageContent
	if json.Unmarshal(e.Content, &c) != nil || c.MsgType != "m.text" || c.RelatesTo.RelType == "m.replace" || c.NewContent != nil {
		return nothing
	}
	if e.Loose && g.who.Load().verified {
		c.RelatesTo.InReplyTo.EventID = "" // obeyed is what a person said, and not what the homeserver says that it is about
	}
	key, ok := g.directory.key(e.Room)
	if !ok {
		return nothing
	}
	devices, _ := g.directory.in(key)
	to := c.RelatesTo.InReplyTo.EventID
	text := spoken(c.Body, to != "")
	if key == ids.ControlRoom {
		if to == "" {
			return nothing
		}
		return g.decided(ctx, e, to, text)
	}
	if person, ok := g.chats.with(e.Room); ok {
		return g.chatted(ctx, e, person, text)
	}
	if names, ok := asksPrivate(text); ok {
		return g.privately(ctx, e, key, names)
	}
	about, said, mentioned := g.mentioned(c.Mentions.Users, text, devices)
	if mentioned {
		text = said
	}
	if to == "" && !mentioned && !strings.HasPrefix(text, "!") {
		return nothing
	}
	if to != "" && confirms(text) {
		return g.looked(ctx, e, key, to)
	}
	if to != "" && !mentioned {
		tctx, cancel := context.WithTimeout(ctx, powerRead)
		target, found, err := g.matrix.Event(tctx, e.Room, to)
		cancel()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			g.log.Warn("what a message replies to can't be read", logkey.Room, key, logkey.Error, err)
		}
		if found && g.who.Load().ours(target.Sender) {
			about = deviceOf(target)
		}
	}
	a, is := parseAsk(text, devices, about)
	if !is {
		return nothing
	}
	refuse := func(why string) func(*batch) {
		return func(b *batch) { g.refuse(b, e, key, a, why) }
	}
	if len(text) > maxText {
		if !a.bang {
			return nothing
		}
		return refuse(fmt.Sprintf("That is too long for a command: at most %d bytes.", maxText))
	}
	if a.device == "" {
		return refuse(fmt.Sprintf("There are several devices in this room: say “!%s %s”, or reply to a message of the device. Devices: %s.", devices[0], brief(a.name), list(devices)))
	}
	state, err := g.powers.get(ctx, e.Room, g.matrix, "")
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		g.log.Warn("the power levels of a room can't be read", logkey.Room, key, logkey.Error, err)
		return refuse("The homeserver does not tell who may do what here, so nothing runs. Ask again in a moment.")
	}
	if why := doubtful(e, state); why != "" {
		return refuse(why)
	}
	if _, can := g.phones.get(a.device); can && g.cfg.Calls != nil && a.bang && a.name == "call" {
		return g.callMe(ctx, e, key, a)
	}
	return func(b *batch) { g.ask(b, e, key, a, state) }
}

// ask checks who asks for what, and starts the command. It runs in the router goroutine.
func (g *Gateway) ask(b *batch, e room.Event, key ids.RoomKey, a ask, state room.State) {
	who := g.who.Load()
	now, ok := g.believed()
	say := func(text string) {
		if g.mayAnswer(b, e, key, a) {
			b.change.Append = append(b.change.Append, answer(key, a.device, e.ID, ids.NewULID(g.now()), g.now(), text))
		}
	}
	if why := g.notTheirs(key, e.Sender, a.device); why != "" {
		if a.bang {
			g.refuse(b, e, key, a, why)
		}
		return
	}
	if a.name == "help" {
		if a.bang {
			say(g.help(a.device, a.args, func(is *action.Action) bool { return who.forbids(state, e.Sender, is, now) == "" }))
		}
		return
	}
	c, is, err := g.prepare(a)
	if a.bang && errors.Is(err, ErrNoCommand) && who.forbids(state, e.Sender, &action.Action{Grade: convention.Read}, now) == "" {
		switch a.name { // unless the device has a command of this name
		case "commands":
			say(g.history(a.device))
			return
		case "status":
			if g.mayAnswer(b, e, key, a) {
				r := answer(key, a.device, e.ID, ids.NewULID(g.now()), g.now(), "")
				r.Post.Text, r.Post.HTML = g.status(a.device)
				b.change.Append = append(b.change.Append, r)
			}
			return
		}
	}
	if err != nil {
		if a.bang || !errors.Is(err, ErrNoCommand) { // else a reply that was not meant for us
			g.refuse(b, e, key, a, err.Error())
		}
		return
	}
	if !ok {
		g.refuse(b, e, key, a, noClock)
		return
	}
	why := who.distrusts(e.Trust)
	if why == "" {
		why = who.forbids(state, e.Sender, is, now)
	}
	if why != "" {
		g.refuse(b, e, key, a, why)
		return
	}
	if who.level(state, e.Sender) < Operate.Power() && !g.mayAnswer(b, e, key, a) {
		return
	}
	c.Event, c.Card, c.Room, c.Sender, c.read = e.ID, a.card, key, e.Sender, e.Received
	if why, ok := timely(now, e.Sent, c.Patience); !ok {
		g.commands.step(b, c, g.now(), late{why})
		return
	}
	why, held := g.away(c)
	if why != "" {
		g.refuse(b, e, key, a, why)
		return
	}
	g.commands.step(b, c, g.now(), allowed{reply: who.verified || state.Encrypted, held: held})
}

// refuse answers, once, why nothing happens, and keeps the refusal for `gatepost commands`.
func (g *Gateway) refuse(b *batch, e room.Event, key ids.RoomKey, a ask, why string) {
	if !g.mayAnswer(b, e, key, a) {
		return
	}
	now := g.now()
	c := &Command{ID: g.commands.newID(now), Event: e.ID, Card: a.card, Room: key, Sender: e.Sender, Device: a.device, Name: brief(a.name)}
	g.commands.step(b, c, now, refused{why})
}

// mayAnswer says whether somebody gets an answer now. Who asks too often is told so once, and then nothing.
func (g *Gateway) mayAnswer(b *batch, e room.Event, key ids.RoomKey, a ask) bool {
	now := g.now()
	ok, last := g.answers.allow(e.Sender, now)
	if last {
		b.change.Append = append(b.change.Append, answer(key, a.device, cmp.Or(a.card, e.ID), ids.NewULID(now), now, "You ask more than I answer. I am silent for a while."))
	}
	return ok
}

// reacted starts a dangerous command when somebody with the power looked again, and what a quick action on a card stands for.
func (g *Gateway) reacted(ctx context.Context, e room.Event) func(*batch) {
	nothing := func(*batch) {}
	var c struct {
		RelatesTo struct {
			RelType string      `json:"rel_type"`
			EventID ids.EventID `json:"event_id"`
			Key     string      `json:"key"`
		} `json:"m.relates_to"`
	}
	if json.Unmarshal(e.Content, &c) != nil || c.RelatesTo.RelType != "m.annotation" {
		return nothing
	}
	key, ok := g.directory.key(e.Room)
	if ok && key == ids.ControlRoom {
		return g.decided(ctx, e, c.RelatesTo.EventID, c.RelatesTo.Key)
	}
	if !ok || len(c.RelatesTo.Key) > maxText {
		return nothing
	}
	if !strings.HasPrefix(c.RelatesTo.Key, "✅") {
		return g.pressed(ctx, e, key, c.RelatesTo.EventID, c.RelatesTo.Key)
	}
	return g.looked(ctx, e, key, c.RelatesTo.EventID)
}

// looked starts a dangerous command, asked for by an event, when whoever sent e has the power to confirm it.
func (g *Gateway) looked(ctx context.Context, e room.Event, key ids.RoomKey, command ids.EventID) func(*batch) {
	nothing := func(*batch) {}
	if g.who.Load().distrusts(e.Trust) != "" {
		return nothing
	}
	state, err := g.powers.get(ctx, e.Room, g.matrix, "")
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		g.log.Warn("the power levels of a room can't be read", logkey.Room, key, logkey.Error, err)
		return nothing
	}
	if doubtful(e, state) != "" { // such as a reaction in an encrypted room: it is readable, so anybody could have made it
		return nothing
	}
	return func(b *batch) {
		cmd := g.commands.of(command)
		if cmd == nil || cmd.Room != key || cmd.State != Waiting {
			return
		}
		now, ok := g.believed()
		if _, fresh := timely(now, e.Sent, lookTime); !ok || !fresh {
			return
		}
		is := g.actionOf(cmd)
		if is == nil || g.isGone(cmd) {
			g.commands.step(b, cmd, g.now(), forgotten{})
			return
		}
		who := g.who.Load()
		if who.forbidsLook(state, e.Sender, is, now) != "" {
			return
		}
		why := cmp.Or(g.notTheirs(key, cmd.Sender, cmd.Device), who.forbids(state, cmd.Sender, is, now)) // who asked may no longer
		held := false
		if why == "" {
			why, held = g.away(cmd)
		}
		if why != "" {
			g.commands.step(b, cmd, g.now(), refused{why})
			return
		}
		g.commands.step(b, cmd, g.now(), looked{held})
	}
}
