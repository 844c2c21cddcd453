// Package room is the vocabulary of Matrix rooms as the gateway sees them, all of it pure: what a room should be, what is
// known to have been done for it, which step comes next, and the events that come out of it. gateway/matrix performs the
// steps and delivers the events, the store keeps both.
package room

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/gatepost/gatepost/internal/ids"
)

// Create is a room to be made (Client-Server API, createRoom). Always private_chat, invite only,
// history_visibility invited, with Token in the creation content as "dev.gatepost.room".
type Create struct {
	As       ids.UserID // who makes it: "" the bot, else a ghost
	Direct   bool       // a chat with one person, and shown so to those invited (is_direct)
	Name     string
	Topic    string
	Alias    string // localpart of the alias that createRoom sets in the same step (room_alias_name); "" none. Taken: lane.Dead, M_ROOM_IN_USE
	Token    string // random, committed before the room is asked for
	Space    bool   // creation type m.space
	Encrypt  bool   // from the start
	Federate bool
	Power    map[ids.UserID]int // levels above 0; the creator's own is added where the room version wants it
	Invite   []ids.UserID
}

// Found is a room that an alias leads to.
type Found struct {
	Room    ids.RoomID
	Creator ids.UserID // "" when we may not look (then it is not ours)
	Token   string     // of the creation content; "" none
}

// State is what decides whether a command may run in a room. Read from the homeserver and kept up to date by events.
type State struct {
	JoinRule      string
	Version       string
	Encrypted     bool
	WorldReadable bool         // anybody reads what is said, without being in it
	Creators      []ids.UserID // room version 12: their level is above all others
	Users         map[ids.UserID]int
	UsersDefault  int
	Members       map[ids.UserID]string // membership by user: join, invite, leave, ban, knock
	Creator       ids.UserID            // who made the room
	Predecessor   ids.RoomID            // the room that this one says it replaces; "" none
}

// Level is the power level of user (Client-Server API, m.room.power_levels).
func (s State) Level(user ids.UserID) int {
	for _, c := range s.Creators {
		if c == user {
			return 1 << 30
		}
	}
	if l, ok := s.Users[user]; ok {
		return l
	}
	return s.UsersDefault
}

// Event is one event that the homeserver gave us, kept until it has been handled.
type Event struct {
	Seq       uint64          `json:"-"` // place in the inbox, given by the store; 0 before
	ID        ids.EventID     `json:"event_id"`
	Room      ids.RoomID      `json:"room_id"`
	Type      string          `json:"type"`
	Sender    ids.UserID      `json:"sender"`
	StateKey  *string         `json:"state_key,omitempty"` // nil: not a state event
	Sent      time.Time       `json:"sent"`                // origin_server_ts: the sender's homeserver says so
	Received  time.Time       `json:"received"`            // ours
	Redacts   ids.EventID     `json:"redacts,omitempty"`
	Content   json.RawMessage `json:"content"`
	ContentID string          `json:"content_id,omitempty"` // "dev.gatepost".id of the content when one of our own users sent it
	Encrypted bool            `json:"-"`                    // it was, and has been decrypted; Type is "" when it is nothing that matters
	Trust     Trust           `json:"-"`                    // with Encrypted
	Loose     bool            `json:"-"`                    // with Encrypted: what Content relates to stood outside, so the homeserver may have put it there
}

var (
	// ErrNoKeys says that the key of an encrypted event has not come. It was asked for; try again when keys came.
	ErrNoKeys = errors.New("the key of the message is not here")
	// ErrWithheld says that the sender's client does not give us the key. It will not come.
	ErrWithheld = errors.New("the sender's client withholds the key of the message")
	// ErrUnreadable says that no key makes an event readable: it is damaged, repeated, or meant for another room.
	ErrUnreadable = errors.New("the message cannot be decrypted")
)

// Trust says how sure it is whose device encrypted an event.
type Trust uint8

// The kinds of Trust, from the least to the most.
const (
	Untrusted   Trust = iota // anybody could have
	Known                    // a device of the sender's
	CrossSigned              // that the sender has signed
	Verified                 // and the sender was verified
)
