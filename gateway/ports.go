package gateway

import (
	"context"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
)

// Store keeps everything that must survive. Safe for concurrent use. store.Store is the one in the binary.
type Store interface {
	// Commit makes c durable, all of it or nothing, together with what others commit meanwhile. A nil error means fsynced.
	// store.ErrNoSpace (as an error that says so by NoSpace() bool) means nothing was written and a later try may succeed;
	// after any other error the process must end and read again. Slices in c are not kept.
	Commit(c lane.Change) error
	// Get returns a copy of a value; ok is false when there is none.
	Get(space, key string) (value []byte, ok bool, err error)
	// Each calls f for the keys that begin with prefix, in order, with values that live until f returns. f must not call
	// the Store. An error of f ends it and comes back.
	Each(space, prefix string, f func(key string, value []byte) error) error

	// Take gives the record of a lane that is to be sent now and marks it as in flight (in memory): it is neither merged
	// into nor evicted nor given again until Release, Finish or Bury. Without one, next says when there may be one; zero:
	// not before the next append.
	Take(key ids.RoomKey, now time.Time) (r lane.Record, ok bool, next time.Time, err error)
	Release(ref lane.Ref)
	// Lanes lists the lanes that hold records.
	Lanes() []lane.Status
	// OnAppend sets what is called with the key of a lane after a commit that appended to it. Called once, before the
	// first Commit; wake must not block.
	OnAppend(wake func(ids.RoomKey))

	// Events lists what waits in the inbox after a sequence, at most n, in order.
	Events(after uint64, n int) ([]room.Event, error)
}

// Rooms is what the gateway asks of a homeserver. Every error carries a lane.Outcome (lane.OutcomeOf). Safe for concurrent
// use; all calls end with ctx. The user as whom a call is made is a ghost, the bot, or "" for the bot; in account mode
// there are no ghosts and every call is the bot's.
type Rooms interface {
	// EnsureUser registers a ghost (or finds it registered) and sets its display name. Idempotent.
	EnsureUser(ctx context.Context, user ids.UserID, displayName string) error
	CreateRoom(ctx context.Context, c room.Create) (ids.RoomID, error)
	// Resolve finds the room of an alias ("#local:server"); ok is false when nobody has it.
	Resolve(ctx context.Context, alias string) (f room.Found, ok bool, err error)
	// SetState puts a state event as the bot. Idempotent.
	SetState(ctx context.Context, id ids.RoomID, typ, key string, content any) error
	// Upload puts a small picture on the homeserver, as the bot, and gives its mxc:// address.
	Upload(ctx context.Context, data []byte, mime, name string) (string, error)
	// SetPower brings the levels of people from before to now, and leaves all others in m.room.power_levels as they are.
	SetPower(ctx context.Context, id ids.RoomID, before, now map[ids.UserID]int) error
	// Pin makes event one of the room's pinned ones, as the bot, in the place of old ("" none); "" takes old away.
	// Idempotent.
	Pin(ctx context.Context, id ids.RoomID, event, old ids.EventID) error
	// Invite is done too when the user is in the room, or invited, already.
	Invite(ctx context.Context, id ids.RoomID, user ids.UserID) error
	// Join lets user join a room it is invited to. Idempotent.
	Join(ctx context.Context, id ids.RoomID, user ids.UserID) error
	// Leave is done too when the user is not in the room.
	Leave(ctx context.Context, id ids.RoomID, user ids.UserID) error
	// State reads what decides about commands and calls, as a user who is in the room.
	State(ctx context.Context, id ids.RoomID, user ids.UserID) (room.State, error)
	// Encrypted says whether a room is encrypted, as far as a user who is in it sees. Once it is, it stays so.
	Encrypted(ctx context.Context, id ids.RoomID, user ids.UserID) (bool, error)
	// Decrypt reads an event of type m.room.encrypted, and gives what was said: with its type ("" one that does not matter),
	// content and trust. Errors: room.ErrNoKeys, room.ErrWithheld, room.ErrUnreadable; anything else passes.
	Decrypt(ctx context.Context, e room.Event) (room.Event, error)
	// Decline says, as user, the one fixed sentence that may be readable in an encrypted room: that the bot is the one to talk
	// to. Whether it arrived nobody is told.
	Decline(ctx context.Context, id ids.RoomID, user ids.UserID)
	// Event reads one event; ok is false when there is none that we may see.
	Event(ctx context.Context, id ids.RoomID, event ids.EventID) (e room.Event, ok bool, err error)
	// Send performs r in the room as user, with r.ID as transaction id and content id. Media is uploaded first.
	Send(ctx context.Context, id ids.RoomID, user ids.UserID, r lane.Record) lane.Outcome
	// Find looks for the event that Send made of r, reading back to r.At or a bounded number of events; ok is false when it
	// is not there (reads may lag behind writes).
	Find(ctx context.Context, id ids.RoomID, user ids.UserID, r lane.Record) (e ids.EventID, ok bool, err error)
}

// Calls takes what happens between people and devices that can be called. Its methods return when what they were told is
// durable; an error means that it was not taken and will be told again. Said and Ring do not block and may drop.
type Calls interface {
	// Event takes an event of a call (m.call.*) in a call room. age is how old it is; ring is false when an invitation must
	// not ring.
	Event(ctx context.Context, at CallRoom, e room.Event, age time.Duration, ring bool) error
	// BatchDone says that no more events are waiting: what was called may ring.
	BatchDone(ctx context.Context) error
	// Left says that one of the two is no longer in the room.
	Left(ctx context.Context, at CallRoom) error
	// Dial places a call to the person.
	Dial(ctx context.Context, at CallRoom) error
	// Said takes what a device published on PREFIX/call/out.
	Said(device ids.DeviceID, payload []byte)
	// Ring takes a message on the device's ring topic.
	Ring(device ids.DeviceID)
}

// Devices carries a message to the devices: the embedded broker, or the client of an outside one.
type Devices interface {
	// Publish returns when the message was handed to the broker: nil means it was written (QoS 0) or acknowledged by the
	// broker (QoS 1). An error that has NotSent() bool and answers true means certainly nothing went out; after any other
	// error nobody can tell.
	Publish(ctx context.Context, topic string, payload []byte, qos byte, retain bool) error
}
