package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/media"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/internal/logkey"
)

// worker sends for the lanes it is given, one at a time.
type worker struct {
	g *Gateway
}

// sendNext sends the next record of a lane and says when the lane goes on.
func (w *worker) sendNext(ctx context.Context, key ids.RoomKey) rest {
	g, now := w.g, w.g.now()
	r, next, ok := w.take(key, now)
	if !ok {
		return rest{until: next}
	}
	user := g.rooms.voice(key, r.Device)
	t := g.tries.of(r)
	if until, yes := g.tries.paused(user, now); yes {
		w.giveBack(r, t)
		return rest{until, true}
	}
	if r.Post.Kind == lane.Call && now.After(r.Expires) { // nobody waits for it any more
		return w.done(r, "")
	}
	id, err := g.rooms.ensure(ctx, key, r.Device)
	if err != nil {
		return w.noRoom(ctx, r, t, user, err)
	}
	if r.Post.Kind == lane.Room && r.Gap == nil {
		return w.done(r, "")
	}
	if r.Post.Kind == lane.Pin {
		return w.pin(ctx, id, r, t, user)
	}
	if at, ok := g.callRooms.get(id); ok {
		user = at.Self
	}
	sealed, err := w.seal(ctx, id, user, r)
	if err != nil {
		return w.noRoom(ctx, r, t, user, err)
	}
	if sealed {
		user = g.cfg.Bot
		if r.Post.Kind == lane.Reaction && r.Post.Command == "" { // there are none in encrypted rooms
			return w.done(r, "")
		}
	}
	if t.held != nil || !t.settled && g.uncertain.may(r) {
		if t.held == nil {
			t.looks = max(t.looks, g.uncertain.looks(now))
		}
		e, found, err := w.look(ctx, id, user, r)
		switch {
		case ctx.Err() != nil:
			w.giveBack(r, t)
			return rest{}
		case err != nil:
			t.held = &r
			t.fails++
			g.log.Info("an unanswered send could not be looked for", logkey.Lane, key, logkey.Error, err)
			return rest{now.Add(retryAfter(t.fails)), true}
		case found:
			g.metrics.lookups.Inc("found")
			return w.done(r, e)
		case t.looks+1 < len(lookAt):
			t.looks++
			t.held = &r
			return rest{now.Add(lookAt[t.looks] - lookAt[t.looks-1]), true}
		}
		g.metrics.lookups.Inc("missing")
		t.settled = true
	}
	final := w.final(r)
	if sealed {
		final = w.sealedForm(ctx, final)
	}
	began := time.Now()
	out := g.matrix.Send(ctx, id, user, final)
	g.cards.pace.took(time.Since(began))
	if out.Verdict == lane.Done {
		g.tries.accepted(speaker{r.Lane, user})
		g.state.sending(nil)
		return w.done(r, out.Event)
	}
	return w.failed(ctx, r, t, user, out)
}

// pin pins what a record names. Whether it was done already does not matter.
func (w *worker) pin(ctx context.Context, id ids.RoomID, r lane.Record, t *try, user ids.UserID) rest {
	err := w.g.matrix.Pin(ctx, id, r.Post.RelatesTo, r.Post.Replaces)
	if err == nil {
		return w.done(r, "")
	}
	o := lane.OutcomeOf(err)
	switch o.Verdict {
	case lane.Unknown:
		o.Verdict = lane.Retry
	case lane.Dead: // the card is there, a little less at hand
		w.g.log.Warn("a card could not be pinned", logkey.Lane, r.Lane, logkey.Error, err)
		return w.done(r, "")
	}
	return w.failed(ctx, r, t, user, o)
}

// final is r as people will see it: with what is known only now. r itself stays as it is, since it may be sent again.
func (w *worker) final(r lane.Record) lane.Record {
	who := w.g.who.Load()
	if r.Gap != nil {
		r.Post = gapPost(r.Gap, who.zone)
	}
	r.Post = sumUp(r.Post, r.Digest)
	spoken := r.Post.Kind == lane.Text || r.Post.Kind == lane.Notice || r.Post.Kind == lane.Media
	if at, ok := w.g.directory.place(r.Device); ok && !who.ghosts && spoken && r.Key != cardKey && w.g.directory.shared(r.Lane) && !w.g.sealed.has(r.Lane) {
		name := title(at.name) // the bot speaks for all of them
		r.Post.Text = name + ": " + r.Post.Text
		if r.Post.HTML != "" {
			r.Post.HTML = "<strong>" + media.EscapeHTML(name) + "</strong>: " + r.Post.HTML
		}
	}
	return r
}

// take gives the record that is held in flight because its answer was not seen, or else the lane's next.
func (w *worker) take(key ids.RoomKey, now time.Time) (r lane.Record, next time.Time, ok bool) {
	if h := w.g.tries.held(key); h != nil {
		return *h, time.Time{}, true
	}
	r, ok, next, err := w.g.store.Take(key, now)
	if err != nil {
		if !noSpace(err) {
			w.g.fail(err)
		}
		w.g.log.Error("a lane can't be read", logkey.Lane, key, logkey.Error, err)
		return r, now.Add(time.Minute), false
	}
	return r, next, ok
}

func (w *worker) look(ctx context.Context, id ids.RoomID, user ids.UserID, r lane.Record) (ids.EventID, bool, error) {
	if e, ok := w.g.shown.get(r.ID); ok {
		return e, true, nil
	}
	return w.g.matrix.Find(ctx, id, user, r)
}

// giveBack lets others have r again, unless it may have arrived.
func (w *worker) giveBack(r lane.Record, t *try) {
	if t.held == nil {
		w.g.store.Release(lane.Ref{Lane: r.Lane, Seq: r.Seq})
	}
}

// done takes a record out of its lane because event e shows it.
func (w *worker) done(r lane.Record, e ids.EventID) rest {
	return w.leave(r, lane.Change{Finish: []lane.Ref{{Lane: r.Lane, Seq: r.Seq}}}, e)
}

// leave commits that a record is no longer in its lane. One that shows a command goes through the router, which owns the
// command.
func (w *worker) leave(r lane.Record, c lane.Change, e ids.EventID) rest {
	g := w.g
	g.tries.drop(r.Lane)
	g.uncertain.settled(r)
	if tell := w.news(r, e); tell != nil {
		// The router may wait for room in the store that only we can make: then it learns of it by our own echo, or never.
		ctx, cancel := context.WithTimeout(context.Background(), showTime)
		defer cancel()
		if err := g.inside(ctx, func(b *batch) {
			b.change.Finish = append(b.change.Finish, c.Finish...)
			b.change.Bury = append(b.change.Bury, c.Bury...)
			tell(b)
		}); err == nil {
			return rest{until: g.now()}
		}
	}
	for {
		err := g.commit(c)
		if err == nil {
			return rest{until: g.now()}
		}
		select { // it stays in flight; after a restart it is looked for
		case <-g.ending:
			return rest{}
		case <-time.After(time.Second):
		}
	}
}

// news is what the router must hear of record r, which is event e now ("": it was given up); nil: nothing.
func (w *worker) news(r lane.Record, e ids.EventID) func(*batch) {
	g, reaction := w.g, r.Post.Kind == lane.Reaction
	switch {
	case reaction && r.Post.Command != "" && e != "":
		return func(b *batch) { g.commands.shown(b, r, e) }
	case reaction && strings.HasPrefix(r.Key, quickKey) && e != "":
		return func(b *batch) { g.quickMade(b, r, e) }
	case r.Class == lane.State && r.Key == cardKey && r.Post.Replaces == "":
		return func(b *batch) { g.cardMade(b, r.ID, e) }
	}
	return nil
}

// So long a record waits for the router.
const showTime = 2 * time.Second

// noRoom decides what becomes of a record whose room, or ghost, is not there.
func (w *worker) noRoom(ctx context.Context, r lane.Record, t *try, user ids.UserID, err error) rest {
	g, now, o := w.g, w.g.now(), lane.OutcomeOf(err)
	if ctx.Err() != nil {
		w.giveBack(r, t)
		return rest{}
	}
	switch {
	case o.Verdict == lane.Stop:
		return w.stopped(r, t, o)
	case o.Verdict == lane.Dead && !errors.Is(err, errNoRoom) && g.tries.surely(speaker{r.Lane, user}, now): // this device may not speak, others may
		return w.bury(r, err)
	}
	t.fails++
	after := max(o.After, retryAfter(t.fails))
	if o.Verdict == lane.Dead && errors.Is(err, errNoRoom) { // what waits is kept until a person has seen to it
		after = time.Minute
		g.Alert(fmt.Sprintf("The room %s can't be made, so what is to be said there waits: %v", r.Lane, err), "room "+string(r.Lane))
	}
	g.log.Warn("a room is not as it should be; trying again", logkey.Lane, r.Lane, logkey.Wait, after, logkey.Error, err)
	w.giveBack(r, t)
	return rest{now.Add(after), true}
}

// failed decides what becomes of a record that was not sent, or may have been.
func (w *worker) failed(ctx context.Context, r lane.Record, t *try, user ids.UserID, o lane.Outcome) rest {
	g, now := w.g, w.g.now()
	if ctx.Err() != nil {
		return rest{} // it stays in flight, as we are ending
	}
	t.fails++
	log := g.log.With(logkey.Lane, r.Lane, logkey.ID, r.ID, logkey.Attempt, t.fails)
	switch o.Verdict {
	case lane.Unknown:
		log.Warn("no answer from the homeserver; looking whether it did it", logkey.Error, o)
		t.settled, t.looks, t.held = false, 0, &r
		return rest{now.Add(retryAfter(t.fails)), true}
	case lane.Stop:
		t.held = nil
		return w.stopped(r, t, o)
	case lane.Dead:
		if o.Code == "M_FORBIDDEN" && !t.rejoined && g.rooms.rejoin(r.Lane, user) {
			t.rejoined, t.held = true, nil
			w.giveBack(r, t) // the ghost may have lost its place in the room
			return rest{until: now}
		}
		g.state.sending(nil)
		if aboutUs(o.Code) && !g.tries.surely(speaker{r.Lane, user}, now) {
			t.held = nil
			after := retryAfter(t.fails)
			log.Warn("refused; asking again before it is given up", logkey.Wait, after, logkey.Error, o)
			w.giveBack(r, t)
			return rest{now.Add(after), true}
		}
		return w.bury(r, o)
	default:
		t.held = nil // it was looked for, and certainly not sent now
		after := max(o.After, retryAfter(t.fails))
		if o.Limited {
			g.tries.pauseUser(user, now.Add(after))
		} else {
			log.Info("not sent; trying again", logkey.Wait, after, logkey.Error, o)
		}
		w.giveBack(r, t)
		return rest{now.Add(after), true}
	}
}

// aboutUs says whether a refusal is about who asks where, and not about what is said.
func aboutUs(code string) bool {
	switch code {
	case "M_FORBIDDEN", "M_NOT_FOUND":
		return true
	}
	return false
}

// stopped gives r back because the homeserver does not know us any more.
func (w *worker) stopped(r lane.Record, t *try, o lane.Outcome) rest {
	until := w.g.now().Add(time.Minute)
	w.g.log.Error("the homeserver does not know us any more: nothing is sent until that is mended", logkey.Error, o)
	w.g.state.sending(o)
	w.g.tries.stopAll(until)
	w.giveBack(r, t)
	return rest{until, true}
}

// bury makes r a dead letter.
func (w *worker) bury(r lane.Record, why error) rest {
	g := w.g
	g.log.Error("refused for good; see gatepost deadletters", logkey.Lane, r.Lane, logkey.ID, r.ID, logkey.Error, why)
	if r.Post.Kind == lane.Call { // a call that is over is no dead letter
		return w.done(r, "")
	}
	if r.Key == cardKey { // the next one shows all that it would have
		g.Alert(fmt.Sprintf("The status card in %s could not be posted: %v.", r.Lane, why), "dead "+string(r.Lane))
		return w.done(r, "")
	}
	if r.Lane != ids.ControlRoom {
		g.Alert(fmt.Sprintf("Something for %s could not be posted: %v. “gatepost deadletters” shows it.", r.Lane, why), "dead "+string(r.Lane))
	}
	if r.Post.Kind == lane.Room && r.Gap == nil {
		return w.done(r, "") // nothing was to be said
	}
	return w.leave(r, lane.Change{Bury: []lane.DeadLetter{{Record: r, Lane: r.Lane, Reason: why.Error(), At: g.now()}}}, "")
}
