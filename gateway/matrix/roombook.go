package matrix

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"

	"maunium.net/go/mautrix"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
)

// bookedRoom is what is known of a room: whether it is encrypted and how, and who is in it.
type bookedRoom struct {
	Encrypted  bool         `json:"encrypted"` // never goes back: whoever takes m.room.encryption away gets nothing readable
	Algorithm  string       `json:"algorithm,omitempty"`
	Messages   int          `json:"messages,omitempty"`   // rotation after so many; 0 the default
	Millis     int64        `json:"millis,omitempty"`     // and after so long
	Visibility string       `json:"visibility,omitempty"` // of the history
	Shared     []ids.UserID `json:"shared,omitempty"`     // who was given the session that is in use

	members map[ids.UserID]bool // joined or invited; nil: to be read before it matters
	moves   int                 // counts what makes an answer about members that is under way too old
	busy    sync.Mutex          // held by who encrypts for the room
}

// roomBook is the bot's memory of rooms. What it knows of encrypted ones is durable where there is a file for it; that a room
// is not encrypted is asked for again by every process, and holds until an event says otherwise. Safe for concurrent use.
type roomBook struct {
	c    *Client
	keep func(ids.RoomID, *bookedRoom) error // makes an encrypted room durable; nil: nothing is kept

	mu    sync.Mutex
	rooms map[ids.RoomID]*bookedRoom
}

func newRoomBook(c *Client) *roomBook { return &roomBook{c: c, rooms: map[ids.RoomID]*bookedRoom{}} }

// get is the room as it is known; nil when it is not.
func (b *roomBook) get(id ids.RoomID) *bookedRoom {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rooms[id]
}

// encrypted says whether a room is encrypted. When nothing is known yet it asks the homeserver as the bot, and where that is not in
// the room as user.
func (b *roomBook) encrypted(ctx context.Context, id ids.RoomID, user ids.UserID) (bool, error) {
	b.mu.Lock()
	r := b.rooms[id]
	known, is := r != nil, r != nil && r.Encrypted
	b.mu.Unlock()
	if known {
		return is, nil
	}
	var content object
	var err error
	for _, who := range []ids.UserID{b.c.bot, user} { // a device's ghost may never have been needed: the bot speaks
		err = b.c.do(ctx, request{
			endpoint: epState, method: http.MethodGet, path: mautrix.ClientURLPath{"v3", "rooms", id, "state", kindEncryption, ""}, as: who, into: &content,
		})
		if lane.OutcomeOf(err).Code != "M_FORBIDDEN" {
			break
		}
	}
	switch o := lane.OutcomeOf(err); {
	case err == nil:
		return true, b.turnedOn(id, content)
	case o.Code == "M_NOT_FOUND" || o.Code == "M_UNRECOGNIZED":
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.rooms[id] == nil { // else an event said so meanwhile
			b.rooms[id] = &bookedRoom{}
		}
		return b.rooms[id].Encrypted, nil
	default:
		return false, fmt.Errorf("ask whether the room is encrypted: %w", err)
	}
}

const kindEncryption = "m.room.encryption"

// How long a session is used where the room does not say (Client-Server API, "m.room.encryption").
const (
	rotateMessages = 100
	rotateMillis   = 7 * 24 * 60 * 60 * 1000
)

// turnedOn notes that a room is encrypted, durably before it returns. What comes later can make the rules stricter only: state is not
// encrypted, so it may be the homeserver's own.
func (b *roomBook) turnedOn(id ids.RoomID, content object) error {
	b.mu.Lock()
	r := b.rooms[id]
	if r == nil {
		r = &bookedRoom{}
		b.rooms[id] = r
	}
	was := r.Algorithm != ""
	r.Encrypted = true
	if algorithm := content.text("algorithm"); algorithm != "" {
		messages, _ := content.integer("rotation_period_msgs")
		millis, _ := content.integer("rotation_period_ms")
		messages, millis = min(max(messages, 0), 1<<30), max(millis, 0)
		if was {
			if r.Algorithm == megolm {
				algorithm = megolm
			}
			messages = stricter(int64(r.Messages), messages, rotateMessages)
			millis = stricter(r.Millis, millis, rotateMillis)
		}
		if was && r.Algorithm == algorithm && int64(r.Messages) == messages && r.Millis == millis {
			b.mu.Unlock()
			return nil
		}
		r.Shared = nil // the next message begins a session by the new rules
		r.Algorithm, r.Messages, r.Millis = clean(algorithm, 100), int(messages), millis
	}
	b.mu.Unlock()
	return b.save(id, r)
}

// megolm is the algorithm that we have.
const megolm = "m.megolm.v1.aes-sha2"

// stricter is the lower of two bounds, of which 0 means normal.
func stricter(had, now, normal int64) int64 {
	if cmp.Or(now, normal) < cmp.Or(had, normal) {
		return now
	}
	return had
}

func (b *roomBook) save(id ids.RoomID, r *bookedRoom) error {
	if b.keep == nil || !r.Encrypted {
		return nil
	}
	return b.keep(id, r)
}

// apply takes in what events say. Called before they are handed to the Inbox: an error means that they must come again.
func (b *roomBook) apply(events []room.Event) error {
	for _, e := range events {
		if e.StateKey == nil {
			continue
		}
		var content object
		if json.Unmarshal(e.Content, &content) != nil {
			continue
		}
		switch {
		case e.Type == kindEncryption && *e.StateKey == "":
			if err := b.turnedOn(e.Room, content); err != nil {
				return err
			}
		case e.Type == "m.room.member":
			b.mu.Lock()
			if r := b.rooms[e.Room]; r != nil {
				r.moves++
				// It may be old: /sync and transactions run beside each other, and Synapse says state again (MSC4222).
				if there(content.text("membership")) != r.members[ids.UserID(*e.StateKey)] {
					r.members = nil
				}
			}
			b.mu.Unlock()
		}
	}
	return nil
}

// doubt makes the next message ask for what may have changed unseen: who is in a room, and whether one that was not encrypted is.
func (b *roomBook) doubt(id ids.RoomID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch r := b.rooms[id]; {
	case r == nil:
	case r.Encrypted:
		r.members = nil
		r.moves++
	default:
		delete(b.rooms, id)
	}
}

func there(membership string) bool { return membership == "join" || membership == "invite" }

// members are those who may read what is said now, in order. They are read once, and again when an event tells that somebody came
// or went. When one does so while they are read, they are read once more: the answer may be older than that.
func (b *roomBook) members(ctx context.Context, id ids.RoomID) ([]ids.UserID, error) {
	for range 3 {
		b.mu.Lock()
		moves := 0
		if r := b.rooms[id]; r != nil {
			if r.members != nil {
				defer b.mu.Unlock()
				return slices.Sorted(maps.Keys(r.members)), nil
			}
			moves = r.moves
		}
		b.mu.Unlock()
		if list, current, err := b.readMembers(ctx, id, moves); current || err != nil {
			return list, err
		}
	}
	return nil, lane.Outcome{Verdict: lane.Retry, Code: codeEncrypted, Reason: "people come and go too fast"}
}

// readMembers asks the homeserver who is in a room. current is false when that changed since moves was looked at.
func (b *roomBook) readMembers(ctx context.Context, id ids.RoomID, moves int) (list []ids.UserID, current bool, err error) {
	events, err := b.c.stateEvents(ctx, id, b.c.bot)
	if err != nil {
		return nil, false, err
	}
	members := map[ids.UserID]bool{}
	visibility, encryption := "shared", object(nil)
	for _, e := range events {
		key, content := e.text("state_key"), e.object("content")
		switch e.text("type") {
		case "m.room.member":
			if there(content.text("membership")) && validUserID(key) {
				members[ids.UserID(key)] = true
			}
		case kindEncryption:
			encryption = content
		case "m.room.history_visibility":
			visibility = content.text("history_visibility")
		}
	}
	if encryption != nil {
		if err := b.turnedOn(id, encryption); err != nil {
			return nil, false, err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.rooms[id]
	if r == nil {
		r = &bookedRoom{}
		b.rooms[id] = r
	}
	if r.moves != moves {
		return nil, false, nil
	}
	r.members, r.Visibility = members, clean(visibility, 50)
	return slices.Sorted(maps.Keys(members)), true, nil
}

// sharedWith lists the encrypted rooms whose session a user was given.
func (b *roomBook) sharedWith(user ids.UserID) (list []ids.RoomID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, r := range b.rooms {
		if r.Encrypted && slices.Contains(r.Shared, user) {
			list = append(list, id)
		}
	}
	return list
}

// share notes who is given the session that is made now.
func (b *roomBook) share(id ids.RoomID, with []ids.UserID) error {
	b.mu.Lock()
	r := b.rooms[id]
	r.Shared = with
	b.mu.Unlock()
	return b.save(id, r)
}

// Encrypted says whether a room is encrypted, in the eyes of the bot or of a ghost who is in it.
func (c *Client) Encrypted(ctx context.Context, id ids.RoomID, user ids.UserID) (bool, error) {
	return c.book.encrypted(ctx, id, c.speaker(user))
}

func (b *roomBook) encryption(id ids.RoomID) (algorithm string, messages int, millis int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r := b.rooms[id]; r != nil {
		return r.Algorithm, r.Messages, r.Millis
	}
	return "", 0, 0
}

func (b *roomBook) algorithm(id ids.RoomID) string {
	algorithm, _, _ := b.encryption(id)
	return algorithm
}

func (b *roomBook) visibility(id ids.RoomID) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r := b.rooms[id]; r != nil {
		return r.Visibility
	}
	return ""
}

func (b *roomBook) shared(id ids.RoomID) []ids.UserID {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r := b.rooms[id]; r != nil {
		return r.Shared
	}
	return nil
}

// forgetShared makes every room's next message begin a new session: the one in use went with the bot's device.
func (b *roomBook) forgetShared() error {
	b.mu.Lock()
	list := map[ids.RoomID]*bookedRoom{}
	for id, r := range b.rooms {
		if len(r.Shared) > 0 {
			r.Shared = nil
			list[id] = r
		}
	}
	b.mu.Unlock()
	for id, r := range list {
		if err := b.save(id, r); err != nil {
			return err
		}
	}
	return nil
}
