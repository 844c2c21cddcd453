package matrix

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/gatepost/gatepost/gateway/sas"
	"github.com/gatepost/gatepost/internal/ids"
)

// Seeds keeps the bot's cross-signing seeds, sealed, in a file of their own.
type Seeds interface {
	Load() ([]byte, error) // nil: there are none
	Save([]byte) error     // durable when it returns; nil deletes
}

// Identity says how the bot's device stands.
type Identity struct {
	User          ids.UserID
	Device        string
	Key           string // ed25519 fingerprint of the device, unpadded base64
	Signed        bool   // with the bot's own keys
	Problem       string // why it is not signed
	Verifications []Verification
}

// Verification is one that a person asked for.
type Verification struct {
	ID       string
	User     ids.UserID
	Device   string
	State    string      // asked, comparing, shown, confirmed, done or cancelled
	Emoji    []sas.Emoji // to be compared while shown
	Decimals [3]int      // the same in numbers
	Code     string      // why it was cancelled
	Expires  time.Time
}

var (
	// ErrNoVerification is returned for an id that is not known, or not any more.
	ErrNoVerification = errors.New("matrix: no such verification")
	// ErrNotShown is returned for a verification whose emoji cannot be compared yet.
	ErrNotShown = errors.New("matrix: there is nothing to compare yet")
)

// ErrNoIdentity is returned for a user who has no cross-signing keys, or is not known to the homeserver.
var ErrNoIdentity = errors.New("matrix: the user has no cross-signing keys")

// ErrNoEncryption is returned for what only a client with encryption can do.
var ErrNoEncryption = errors.New("matrix: there is no encryption here")

// maxFlows is how many verifications are remembered; those that are over go first.
const maxFlows = 16

// verificationPrefix begins the types of all events of a verification.
const verificationPrefix = "m.key.verification."

// verifyEvent is an event that concerns verification: to-device, or out of a room and decrypted.
type verifyEvent struct {
	Type    string
	Sender  ids.UserID
	Room    ids.RoomID  // "": to-device
	ID      ids.EventID // of an event in a room
	Content json.RawMessage
}

// verifyWorld is what verifications need of the machine. It is called from the goroutine of the caller of verifications' methods.
type verifyWorld interface {
	// us are our own keys.
	us(ctx context.Context) (sas.Side, error)
	// them are the keys of a device as the homeserver gives them now; a zero Key means there is no such device.
	them(ctx context.Context, user ids.UserID, device string) (sas.Side, error)
	// say sends a message of a flow. It is sent in the room, encrypted if the room is, or to the device.
	say(ctx context.Context, room ids.RoomID, to sas.Side, typ string, content map[string]any) error
	// trust marks the device, and with master the user's master key, as verified.
	trust(ctx context.Context, them sas.Side, master bool) error
}

// verifications are the flows that people have asked for. Not safe for concurrent use: its owner is the machine's.
type verifications struct {
	world  verifyWorld
	owner  func(ids.UserID) bool // who may ask
	random io.Reader
	now    func() time.Time
	// changed is called with a flow that was asked for, has something to compare, or has ended.
	changed func(Verification)

	flows []*verification // oldest first
}

type verification struct {
	*sas.Flow
	room ids.RoomID
	told string   // the state that changed was last called with
	seen []string // what was handled; a step that comes twice is not one out of order
}

// The steps of a flow that are remembered: there are four, and a cancellation.
const maxSteps = 8

// concerns says whether an event is one for take. content may be of anything.
func concerns(typ string, content json.RawMessage) bool {
	if typ == "m.room.message" {
		var c struct {
			MsgType string `json:"msgtype"`
		}
		return json.Unmarshal(content, &c) == nil && c.MsgType == verificationPrefix+"request"
	}
	return strings.HasPrefix(typ, verificationPrefix)
}

// take handles one event. What it cannot use is passed over; an error is one of the world's, and what is lost by it is lost: the
// other side asks again.
func (v *verifications) take(ctx context.Context, e verifyEvent) error {
	var c struct {
		Transaction string   `json:"transaction_id"`
		FromDevice  string   `json:"from_device"`
		Methods     []string `json:"methods"`
		Timestamp   int64    `json:"timestamp"`
		To          string   `json:"to"`
		Relates     struct {
			Type  string `json:"rel_type"`
			Event string `json:"event_id"`
		} `json:"m.relates_to"`
	}
	if json.Unmarshal(e.Content, &c) != nil {
		return nil
	}
	if e.Type == verificationPrefix+"request" || e.Type == "m.room.message" {
		id, at := c.Transaction, time.UnixMilli(c.Timestamp)
		if e.Room != "" { // an event in a room has been looked at for its age
			id, at = string(e.ID), v.now()
		}
		return v.asked(ctx, e, sas.Request{ID: id, FromUser: string(e.Sender), FromDevice: c.FromDevice, Methods: c.Methods, At: at}, c.To)
	}
	id := c.Transaction
	if e.Room != "" {
		id = c.Relates.Event
	}
	f := v.find(id)
	if f == nil || f.Over() || f.Them.User != string(e.Sender) || f.room != e.Room {
		return nil
	}
	step := e.Type + string(e.ID)
	if e.Room == "" {
		step = e.Type + string(e.Content)
	}
	if slices.Contains(f.seen, step) {
		return nil
	}
	if len(f.seen) < maxSteps {
		f.seen = append(f.seen, step)
	}
	out := f.Take(v.now(), e.Type, e.Content)
	return v.follow(ctx, f, out)
}

// asked begins a flow, if the one who asks may.
func (v *verifications) asked(ctx context.Context, e verifyEvent, r sas.Request, to string) error {
	us, err := v.world.us(ctx)
	if err != nil {
		return err
	}
	if e.Room != "" && to != us.User || !v.owner(e.Sender) || v.find(r.ID) != nil {
		return nil
	}
	flow, err := sas.New(r, us, v.now(), v.random)
	if err != nil {
		return nil //nolint:nilerr // a request that is none is not answered
	}
	v.add(&verification{Flow: flow, room: e.Room})
	f := v.flows[len(v.flows)-1]
	side, err := v.world.them(ctx, e.Sender, r.FromDevice)
	if err != nil {
		return errors.Join(err, v.follow(ctx, f, f.Refuse()))
	}
	return v.follow(ctx, f, f.Meet(side.Key, side.Master))
}

// add keeps a flow. Another one of the same person's, and the oldest when there are too many, gives way.
func (v *verifications) add(f *verification) {
	v.flows = slices.DeleteFunc(v.flows, func(old *verification) bool { return old.Over() && old.Them.User == f.Them.User })
	if len(v.flows) >= maxFlows {
		v.flows = slices.Delete(v.flows, 0, 1)
	}
	v.flows = append(v.flows, f)
}

func (v *verifications) find(id string) *verification {
	for _, f := range v.flows {
		if f.ID == id {
			return f
		}
	}
	return nil
}

// follow sends what a flow has to say, acts on its end, and tells of the change.
func (v *verifications) follow(ctx context.Context, f *verification, out []sas.Message) error {
	var errs []error
	if f.State() == sas.Done {
		if err := v.world.trust(ctx, f.Them, f.CoversMaster()); err != nil { // nobody must read "verified" of what is not
			errs, out = append(errs, err), f.Fail()
		}
	}
	for _, m := range out {
		content := m.Content
		if f.room != "" {
			content["m.relates_to"] = map[string]any{"rel_type": "m.reference", "event_id": f.ID}
		} else {
			content["transaction_id"] = f.ID
		}
		errs = append(errs, v.world.say(ctx, f.room, f.Them, m.Type, content))
	}
	if state := f.about().State; state != f.told {
		f.told = state
		v.changed(f.about())
	}
	return errors.Join(errs...)
}

// tick ends flows whose time is over; it is to be called every few seconds.
func (v *verifications) tick(ctx context.Context) error {
	var errs []error
	for _, f := range v.flows {
		if out := f.Tick(v.now()); out != nil {
			errs = append(errs, v.follow(ctx, f, out))
		}
	}
	return errors.Join(errs...)
}

// list are the flows, the oldest first.
func (v *verifications) list() []Verification {
	out := make([]Verification, 0, len(v.flows))
	for _, f := range v.flows {
		out = append(out, f.about())
	}
	return out
}

// answer says for a person of ours whether the emoji agree.
func (v *verifications) answer(ctx context.Context, id string, agree bool) error {
	f := v.find(id)
	if f == nil || f.Over() {
		return ErrNoVerification
	}
	if !agree {
		return v.follow(ctx, f, f.Refuse())
	}
	out, err := f.Confirm()
	if err != nil {
		return ErrNotShown
	}
	return v.follow(ctx, f, out)
}

func (f *verification) about() Verification {
	a := Verification{
		ID: f.ID, User: ids.UserID(f.Them.User), Device: f.Them.Device, Expires: f.Expires,
		Emoji: f.Emoji(), Decimals: f.Decimals(), Code: string(f.Code()),
	}
	switch f.State() {
	case sas.Started:
		a.State = "comparing"
	case sas.Shown:
		a.State = "shown"
		if f.Confirmed() {
			a.State = "confirmed"
		}
	case sas.Done:
		a.State = "done"
	case sas.Cancelled:
		a.State = "cancelled"
	default:
		a.State = "asked"
	}
	return a
}
