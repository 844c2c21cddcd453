package e2ee

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/gatepost/gatepost/test/harness"
)

// Device is one log-in of a person, which follows its rooms and accepts invitations. Safe for concurrent use.
type Device struct {
	UserID string
	ID     string // of the device
	Keys   Keys   // the person's own, for tests to pass on

	node *Node
	name string

	mu      sync.Mutex
	order   []string         // event ids as they came first
	events  map[string]Event // as they were told last
	changed chan struct{}    // closed and replaced at each event
}

// Event is an event of a room's timeline as the client shows it.
type Event struct {
	harness.Event
	Encrypted bool   // it went over the wire as m.room.encrypted
	Error     string // why it cannot be read (yet); then Type is m.room.encrypted
	Session   string // Megolm session id
	Index     int    // place in that session's ratchet
	Cipher    string // ciphertext as it was sent
	Device    string // id of the sender's device, as far as the keys tell
	Warning   string // what a client shows beside the text; "" when all is well
}

// told is an event as the program reports it.
type told struct {
	Room      string        `json:"room"`
	Event     harness.Event `json:"event"`
	Encrypted bool          `json:"encrypted"`
	Session   string        `json:"session"`
	Cipher    string        `json:"cipher"`
	Device    string        `json:"sender_device"`
	Warning   string        `json:"warning"`
	Error     string        `json:"error"`
}

// Login is a log-in of the person with a password. name tells the program's devices apart.
func (n *Node) Login(ctx context.Context, name string, hs harness.Homeserver, user, password string) (*Device, error) {
	return n.login(ctx, name, hs, user, password, false)
}

// LoginStrict is Login at a client that gives keys to, and takes texts from, devices that their owners have signed, and no others.
func (n *Node) LoginStrict(ctx context.Context, name string, hs harness.Homeserver, user, password string) (*Device, error) {
	return n.login(ctx, name, hs, user, password, true)
}

func (n *Node) login(ctx context.Context, name string, hs harness.Homeserver, user, password string, strict bool) (*Device, error) {
	d := &Device{node: n, name: name, events: map[string]Event{}, changed: make(chan struct{})}
	n.mu.Lock()
	if n.devices[name] != nil {
		n.mu.Unlock()
		return nil, fmt.Errorf("there is a device %s already", name)
	}
	n.devices[name] = d
	n.mu.Unlock()
	var who struct {
		User   string `json:"user"`
		Device string `json:"device"`
	}
	with := map[string]any{"homeserver": hs.URL(), "user": user, "password": password, "strict": strict}
	if err := n.do(ctx, name, "login", with, &who); err != nil {
		return nil, err
	}
	d.UserID, d.ID = who.User, who.Device
	return d, nil
}

// take keeps what the program told.
func (d *Device) take(t told) {
	e := Event{
		Event: t.Event, Encrypted: t.Encrypted, Error: t.Error, Session: t.Session, Cipher: t.Cipher,
		Device: t.Device, Warning: t.Warning,
	}
	e.Room = t.Room
	_ = json.Unmarshal(e.Raw, &e.Content) // a wrong type somewhere leaves the rest decoded
	if e.Cipher != "" {
		e.Index = ratchetIndex(e.Cipher)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, known := d.events[e.ID]; !known {
		d.order = append(d.order, e.ID)
	}
	d.events[e.ID] = e
	close(d.changed)
	d.changed = make(chan struct{})
}

// ratchetIndex reads the message index out of a Megolm message: a version byte, then a field with the tag 0x08, a varint
// (https://gitlab.matrix.org/matrix-org/olm/-/blob/master/docs/megolm.md). -1 is a message of another shape.
func ratchetIndex(cipher string) int {
	b, err := base64.RawStdEncoding.DecodeString(cipher[:min(len(cipher), 16)])
	if err != nil || len(b) < 3 || b[0] != 3 || b[1] != 0x08 {
		return -1
	}
	index, n := binary.Uvarint(b[2:])
	if n <= 0 {
		return -1
	}
	return int(index)
}

// Events are those of a room so far, as they came.
func (d *Device) Events(room string) []Event {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []Event
	for _, id := range d.order {
		if e := d.events[id]; e.Room == room {
			out = append(out, e)
		}
	}
	return out
}

// Await returns the first event that fits, in any room, waiting for it until ctx is done. what says in an error what it was.
func (d *Device) Await(ctx context.Context, what string, fits func(Event) bool) (Event, error) {
	for {
		d.mu.Lock()
		changed := d.changed
		d.mu.Unlock()
		for _, e := range d.all() {
			if fits(e) {
				return e, nil
			}
		}
		select {
		case <-changed:
		case <-d.node.done:
			return Event{}, fmt.Errorf("%s waited in vain for %s: the program ended", d.name, what)
		case <-ctx.Done():
			return Event{}, fmt.Errorf("%s waited in vain for %s: %w; the last events: %s", d.name, what, ctx.Err(), d.tail(8))
		}
	}
}

// tail says what came last.
func (d *Device) tail(n int) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var text string
	for _, id := range d.order[max(0, len(d.order)-n):] {
		e := d.events[id]
		text += fmt.Sprintf("\n  %s in %s by %s encrypted=%v %.200s %s", e.Type, e.Room, e.Sender, e.Encrypted, e.Raw, e.Error)
	}
	return text
}

// Room says how a new room is to be.
type Room struct {
	Name      string // "": none
	Invite    []string
	Encrypted bool
	Direct    bool
	Rotate    int // messages after which a session is replaced; 0: as clients do
}

// CreateRoom makes a private room and returns its id.
func (d *Device) CreateRoom(ctx context.Context, r Room) (string, error) {
	with := map[string]any{"name": r.Name, "invite": append([]string{}, r.Invite...), "encrypted": r.Encrypted, "direct": r.Direct, "rotate": r.Rotate}
	var out struct {
		Room string `json:"room"`
	}
	err := d.node.do(ctx, d.name, "createRoom", with, &out)
	return out.Room, err
}

// Send puts an event into a room, encrypted if the room is, and returns its id. In an encrypted room every device that may read
// it has its key by then.
func (d *Device) Send(ctx context.Context, room, typ string, content any) (string, error) {
	var out struct {
		Event string `json:"event"`
	}
	err := d.node.do(ctx, d.name, "send", map[string]any{"room": room, "type": typ, "content": content}, &out)
	return out.Event, err
}

// Say sends a text.
func (d *Device) Say(ctx context.Context, room, text string) (string, error) {
	return d.Send(ctx, room, "m.room.message", map[string]any{"msgtype": "m.text", "body": text})
}

// Edit replaces the text of an own message.
func (d *Device) Edit(ctx context.Context, room, event, text string) (string, error) {
	return d.Send(ctx, room, "m.room.message", map[string]any{
		"msgtype": "m.text", "body": "* " + text,
		"m.new_content": map[string]string{"msgtype": "m.text", "body": text},
		"m.relates_to":  map[string]string{"rel_type": "m.replace", "event_id": event},
	})
}

// React puts a reaction on an event; those are readable in encrypted rooms, too.
func (d *Device) React(ctx context.Context, room, event, key string) (string, error) {
	return d.Send(ctx, room, "m.reaction", map[string]any{
		"m.relates_to": map[string]string{"rel_type": "m.annotation", "event_id": event, "key": key},
	})
}

// SendFile uploads an encrypted file and says so in the room.
func (d *Device) SendFile(ctx context.Context, room, name, mime string, data []byte) (string, error) {
	with := map[string]any{"room": room, "name": name, "mime": mime, "data": base64.StdEncoding.EncodeToString(data)}
	var out struct {
		Event string `json:"event"`
	}
	err := d.node.do(ctx, d.name, "sendFile", with, &out)
	return out.Event, err
}

// OpenFile downloads and decrypts the file of a message.
func (d *Device) OpenFile(ctx context.Context, e Event) ([]byte, error) {
	var content struct {
		File json.RawMessage `json:"file"`
	}
	if err := json.Unmarshal(e.Raw, &content); err != nil {
		return nil, err
	}
	if content.File == nil {
		return nil, errors.New("the message has no encrypted file")
	}
	var out struct {
		Data []byte `json:"data"`
	}
	err := d.node.do(ctx, d.name, "openFile", map[string]any{"file": content.File}, &out)
	return out.Data, err
}

// SetState puts a state event.
func (d *Device) SetState(ctx context.Context, room, typ, key string, content any) error {
	return d.node.do(ctx, d.name, "setState", map[string]any{"room": room, "type": typ, "key": key, "content": content}, nil)
}

// Invite asks somebody into a room.
func (d *Device) Invite(ctx context.Context, room, user string) error {
	return d.node.do(ctx, d.name, "invite", map[string]any{"room": room, "user": user}, nil)
}

// Leave leaves a room.
func (d *Device) Leave(ctx context.Context, room string) error {
	return d.node.do(ctx, d.name, "leave", map[string]any{"room": room}, nil)
}

// Rotate makes the device's next message in the room start a session of its own.
func (d *Device) Rotate(ctx context.Context, room string) error {
	return d.node.do(ctx, d.name, "rotate", map[string]any{"room": room}, nil)
}

// HoldKeys makes the device keep the key of what it says next in the room to itself until ReleaseKeys.
func (d *Device) HoldKeys(ctx context.Context, room string) error {
	return d.node.do(ctx, d.name, "holdKeys", map[string]any{"room": room, "silent": true}, nil)
}

// HoldKeysUntilAsked is HoldKeys of a device that answers who asks for the key, as clients do.
func (d *Device) HoldKeysUntilAsked(ctx context.Context, room string) error {
	return d.node.do(ctx, d.name, "holdKeys", map[string]any{"room": room, "silent": false}, nil)
}

// ReleaseKeys gives away the keys that HoldKeys kept.
func (d *Device) ReleaseKeys(ctx context.Context) error {
	return d.node.do(ctx, d.name, "releaseKeys", nil, nil)
}

// Withhold tells the devices of a user that they will not get the key of a session.
func (d *Device) Withhold(ctx context.Context, room, session, user string) error {
	return d.node.do(ctx, d.name, "withhold", map[string]any{"room": room, "session": session, "user": user}, nil)
}

// AskKey asks the devices of a user for the key of a session.
func (d *Device) AskKey(ctx context.Context, room, session, user string) error {
	return d.node.do(ctx, d.name, "askKey", map[string]any{"room": room, "session": session, "user": user}, nil)
}

// Pause stops following the rooms, Resume goes on where it was: a client that is away for a while.
func (d *Device) Pause(ctx context.Context) error {
	return d.node.do(ctx, d.name, "pauseSync", nil, nil)
}

// Resume ends a Pause.
func (d *Device) Resume(ctx context.Context) error {
	return d.node.do(ctx, d.name, "resumeSync", nil, nil)
}

// Logout ends the log-in; the device is of no more use.
func (d *Device) Logout(ctx context.Context) error { return d.node.do(ctx, d.name, "logout", nil, nil) }

// In says whether a user is in a room, as the device sees it, and whether the room is encrypted.
func (d *Device) In(ctx context.Context, room, user string) (joined, encrypted bool, err error) {
	var out struct {
		Members   map[string]string `json:"members"`
		Encrypted bool              `json:"encrypted"`
	}
	err = d.node.do(ctx, d.name, "members", map[string]any{"room": room}, &out)
	return out.Members[user] == "join", out.Encrypted, err
}

// Reused lists the places in ratchets that two different ciphertexts of the events share; there must be none.
func Reused(events []Event) []string {
	first := map[string]Event{}
	var out []string
	for _, e := range events {
		if e.Cipher == "" {
			continue
		}
		place := fmt.Sprintf("%s %s %d", e.Room, e.Session, e.Index)
		if f, seen := first[place]; !seen {
			first[place] = e
		} else if f.Cipher != e.Cipher && !slices.Contains(out, place) {
			out = append(out, place)
		}
	}
	return out
}

// all are the events of all rooms, as they came.
func (d *Device) all() []Event {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]Event, 0, len(d.order))
	for _, id := range d.order {
		out = append(out, d.events[id])
	}
	return out
}
