package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/media"
	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/internal/logkey"
)

// Encryption says what a room is to be.
type Encryption uint8

// The kinds of Encryption, from the least to the most.
const (
	EncryptionUnset   Encryption = iota // as Config.Encryption
	EncryptionOff                       // nothing is said where a person turned it on
	EncryptionAllow                     // the bot takes part where a person turned it on
	EncryptionDefault                   // rooms are made encrypted
	EncryptionRequire                   // and nothing is said where they are not
)

// makes says whether rooms of that kind are made encrypted.
func (e Encryption) makes() bool { return e >= EncryptionDefault }

// encryption is what the room of key is to be: what any of its devices asks for at most. Spaces, in which nothing is said,
// are never encrypted.
func (g *Gateway) encryption(key ids.RoomKey) Encryption {
	if strings.HasPrefix(string(key), "space/") || strings.HasPrefix(string(key), callLane) || strings.HasPrefix(string(key), chatLane) {
		return EncryptionOff
	}
	if strings.HasPrefix(string(key), privateLane) {
		return EncryptionRequire
	}
	most := g.directory.encryption(key)
	if most == EncryptionUnset {
		most = g.cfg.Encryption
	}
	return most
}

// encryption is the most that devices in a room ask for by themselves.
func (d *directory) encryption(key ids.RoomKey) (most Encryption) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, id := range d.rooms[key] {
		for _, at := range d.devices[id] {
			if at.room == key {
				most = max(most, at.encryption)
			}
		}
	}
	return most
}

// encryptionOf is the most that the rules of a device ask for.
func encryptionOf(rules []*Rule) (most Encryption) {
	for _, r := range rules {
		most = max(most, r.spec.Encryption)
	}
	return most
}

// sealedLanes knows the lanes whose room was encrypted when something was last sent. Safe for concurrent use.
type sealedLanes struct {
	mu  sync.Mutex
	set map[ids.RoomKey]bool
}

func (s *sealedLanes) note(key ids.RoomKey, sealed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sealed {
		if s.set == nil {
			s.set = map[ids.RoomKey]bool{}
		}
		s.set[key] = true
	} else {
		delete(s.set, key)
	}
}

func (s *sealedLanes) has(key ids.RoomKey) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.set[key]
}

// errReadable says that a room which must be encrypted is not.
var errReadable = errors.New("it is not encrypted, and must be")

// seal finds out whether the room of r is encrypted. There the bot speaks, since no ghost can encrypt. That it was is kept with
// the room, so that nobody can take it back, not even when the bot's own memory is lost.
func (w *worker) seal(ctx context.Context, id ids.RoomID, user ids.UserID, r lane.Record) (sealed bool, err error) {
	was := w.g.rooms.have(r.Lane).Sealed
	if was {
		user = w.g.cfg.Bot // the ghost was never there
	}
	sealed, err = w.g.matrix.Encrypted(ctx, id, user)
	if err != nil {
		return false, err
	}
	if sealed && !was {
		if err := w.g.rooms.sealed(r.Lane); err != nil {
			return false, err
		}
	}
	if !sealed && (was || w.g.encryption(r.Lane) == EncryptionRequire) {
		return false, fmt.Errorf("%w: %w", errNoRoom, lane.Outcome{Verdict: lane.Dead, Code: "encryption", Reason: errReadable.Error()})
	}
	w.g.sealed.note(r.Lane, sealed)
	return sealed, nil
}

// sealedForm is what r says in an encrypted room: with the device's name, as the bot speaks for all; and the picture of a
// command's state, elsewhere a reaction, is a reply to the person, edited from state to state.
func (w *worker) sealedForm(ctx context.Context, r lane.Record) lane.Record {
	p := &r.Post
	if p.Kind == lane.Reaction && p.Command != "" {
		p.Kind = lane.Notice
		var shown ids.EventID
		rctx, cancel := context.WithTimeout(ctx, showTime)
		defer cancel()
		_ = w.g.inside(rctx, func(*batch) { // else a new reply
			if c := w.g.commands.all[p.Command]; c != nil {
				shown = c.Shown
			}
		})
		if shown != "" {
			p.Replaces, p.RelatesTo = shown, ""
		}
	}
	at, ok := w.g.directory.place(r.Device)
	if ok && r.Key != cardKey && (p.Kind == lane.Text || p.Kind == lane.Notice || p.Kind == lane.Media) {
		name := title(at.name)
		p.Text = name + ": " + p.Text
		if p.HTML != "" {
			p.HTML = "<strong>" + media.EscapeHTML(name) + "</strong>: " + p.HTML
		}
	}
	return r
}

// KeysCame says that messages which could not be read may be readable now. It does not block.
func (g *Gateway) KeysCame() {
	select {
	case g.keysBell <- struct{}{}:
	default:
	}
}

// An encrypted message whose key is not there waits so long for it, beside at most so many others. It stays in the inbox.
const (
	keyTime    = 10 * time.Minute
	maxUnread  = 200
	unreadText = "I could not read your message, because your app has not given me its key. Send it again; if that does not help, verify me or your own session first."
)

// unread is what waits for its key, and who was told that theirs did not come. The inbox's goroutine owns it.
type unread struct {
	waiting []room.Event
	told    map[ids.UserID]time.Time
}

const unreadEvery = time.Hour

// wait lets an event wait. When too many do, the oldest of the sender with the most gives way: nobody can take another's place.
func (u *unread) wait(e room.Event) (out room.Event, gone bool) {
	u.waiting = append(u.waiting, e)
	if len(u.waiting) <= maxUnread {
		return out, false
	}
	of, most := map[ids.UserID]int{}, e.Sender
	for _, w := range u.waiting {
		if of[w.Sender]++; of[w.Sender] > of[most] {
			most = w.Sender
		}
	}
	i := slices.IndexFunc(u.waiting, func(w room.Event) bool { return w.Sender == most })
	out = u.waiting[i]
	u.waiting = slices.Delete(u.waiting, i, i+1)
	return out, true
}

// open decrypts an event and says whether it is to be handled now. One whose key is missing waits, and is not.
func (g *Gateway) open(ctx context.Context, e room.Event) (clear room.Event, now bool, err error) {
	dctx, cancel := context.WithTimeout(ctx, 2*powerRead)
	defer cancel()
	clear, err = g.matrix.Decrypt(dctx, e)
	switch {
	case err == nil:
		return clear, true, nil
	case ctx.Err() != nil:
		return e, false, ctx.Err()
	case errors.Is(err, room.ErrUnreadable):
		g.log.Warn("an encrypted message is none", logkey.Room, string(e.Room), logkey.User, e.Sender, logkey.Error, err)
		e.Type = ""
		return e, true, nil
	case errors.Is(err, room.ErrWithheld), g.now().Sub(e.Received) >= keyTime:
		e.Type = unreadType
		return e, true, nil
	}
	if !errors.Is(err, room.ErrNoKeys) {
		g.log.Info("a message could not be decrypted yet", logkey.Room, string(e.Room), logkey.Error, err)
	}
	if old, gone := g.unread.wait(e); gone {
		old.Type = unreadType
		return e, false, g.handle(ctx, old)
	}
	return e, false, nil
}

// unreadType stands in place of the type of an encrypted message that will not become readable.
const unreadType = "unreadable"

// neverRead tells a person, now and then, that what they say can't be read.
func (g *Gateway) neverRead(e room.Event) func(*batch) {
	now := g.now()
	g.log.Warn("a message could not be decrypted: its key has not come", logkey.Room, string(e.Room), logkey.User, e.Sender)
	key, ok := g.directory.key(e.Room)
	if last, told := g.unread.told[e.Sender]; !ok || told && now.Sub(last) < unreadEvery {
		return func(*batch) {}
	}
	if g.unread.told == nil || len(g.unread.told) >= maxAsking {
		g.unread.told = map[ids.UserID]time.Time{}
	}
	g.unread.told[e.Sender] = now
	return func(b *batch) {
		b.change.Append = append(b.change.Append, answer(key, "", e.ID, ids.NewULID(now), now, unreadText))
	}
}

// retryUnread handles what waited for keys again.
func (g *Gateway) retryUnread(ctx context.Context) error {
	waiting := g.unread.waiting
	g.unread.waiting = nil
	for i, e := range waiting {
		if err := g.handle(ctx, e); err != nil {
			g.unread.waiting = append(g.unread.waiting, waiting[i:]...)
			return err
		}
	}
	return nil
}

// unreadAgain is how often what waits is tried although nobody said that keys came: something else may have been missing.
const unreadAgain = 20 * time.Second

// unreadIn is how long until what waits is tried again.
func (g *Gateway) unreadIn() time.Duration {
	if len(g.unread.waiting) == 0 {
		return time.Hour
	}
	return unreadAgain
}

// doubtful says why nothing runs that was asked for by an event in a room with that state; "" when there is no doubt.
func doubtful(e room.Event, state room.State) string {
	switch {
	case state.Encrypted && !e.Encrypted:
		return "This room is encrypted, but your message was not, so anybody could have written it and nothing runs."
	case e.Encrypted && e.Trust == room.Untrusted:
		return "I can't tell whether your message is from a device of yours, so nothing runs."
	}
	return ""
}
