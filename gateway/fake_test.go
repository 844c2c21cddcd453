package gateway

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
)

// memStore is a Store in memory: no bounds, no merging.
type memStore struct {
	mu      sync.Mutex
	values  map[string][]byte // space NUL key
	records []lane.Record
	flying  map[uint64]bool
	dead    []lane.DeadLetter
	events  []room.Event
	seq     uint64
	wake    func(ids.RoomKey)
	fail    error // what Commit returns
	relief  bool  // but not for what only takes away
	commits int
}

func newMemStore() *memStore {
	return &memStore{values: map[string][]byte{}, flying: map[uint64]bool{}, wake: func(ids.RoomKey) {}}
}

func (s *memStore) Commit(c lane.Change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil && (!s.relief || len(c.Put)+len(c.Append) != 0) {
		return s.fail
	}
	s.commits++
	for _, p := range c.Put {
		if p.Value == nil {
			delete(s.values, p.Space+"\x00"+p.Key)
		} else {
			s.values[p.Space+"\x00"+p.Key] = slices.Clone(p.Value)
		}
	}
	for _, f := range c.Finish {
		s.remove(f.Seq)
	}
	for _, d := range c.Bury {
		s.remove(d.Record.Seq)
		s.dead = append(s.dead, d)
	}
	s.events = slices.DeleteFunc(s.events, func(e room.Event) bool { return slices.Contains(c.Handled, e.Seq) })
	for _, r := range c.Append {
		s.seq++
		r.Seq = s.seq
		s.records = append(s.records, r)
		s.wake(r.Lane)
	}
	return nil
}

// set makes every Commit from now on return err.
func (s *memStore) set(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}

func (s *memStore) remove(seq uint64) {
	s.records = slices.DeleteFunc(s.records, func(r lane.Record) bool { return r.Seq == seq })
	delete(s.flying, seq)
}

func (s *memStore) Get(space, key string) ([]byte, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.values[space+"\x00"+key]
	return slices.Clone(v), ok, nil
}

func (s *memStore) Each(space, prefix string, f func(string, []byte) error) error {
	s.mu.Lock()
	values := maps.Clone(s.values)
	s.mu.Unlock()
	for _, k := range slices.Sorted(maps.Keys(values)) {
		if key, ok := strings.CutPrefix(k, space+"\x00"); ok && strings.HasPrefix(key, prefix) {
			if err := f(key, values[k]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *memStore) Take(key ids.RoomKey, now time.Time) (lane.Record, bool, time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var next time.Time
	var found *lane.Record
	for i := range s.records {
		r := &s.records[i]
		if r.Lane != key {
			continue
		}
		if s.flying[r.Seq] {
			return lane.Record{}, false, time.Time{}, nil
		}
		if r.NotBefore.After(now) {
			if next.IsZero() || r.NotBefore.Before(next) {
				next = r.NotBefore
			}
			continue
		}
		if found == nil || r.Urgent && !found.Urgent {
			found = r
		}
	}
	if found == nil {
		return lane.Record{}, false, next, nil
	}
	s.flying[found.Seq] = true
	return *found, true, time.Time{}, nil
}

func (s *memStore) Release(ref lane.Ref) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.flying, ref.Seq)
}

func (s *memStore) Lanes() []lane.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	by := map[ids.RoomKey]*lane.Status{}
	for _, r := range s.records {
		if by[r.Lane] == nil {
			by[r.Lane] = &lane.Status{Lane: r.Lane}
		}
		by[r.Lane].Records++
		by[r.Lane].Last = r.Seq
	}
	var out []lane.Status
	for _, l := range by {
		out = append(out, *l)
	}
	slices.SortFunc(out, func(a, b lane.Status) int { return cmp.Compare(a.Lane, b.Lane) })
	return out
}

func (s *memStore) OnAppend(wake func(ids.RoomKey)) { s.wake = wake }

func (s *memStore) Events(after uint64, n int) ([]room.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []room.Event
	for _, e := range s.events {
		if e.Seq > after && len(out) < n {
			out = append(out, e)
		}
	}
	return out, nil
}

// waiting counts the records.
func (s *memStore) waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.records)
}

// deliver puts an event into the inbox, as a homeserver does.
func (s *memStore) deliver(e room.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq++
	e.Seq = s.seq
	s.events = append(s.events, e)
}

// memRooms is a homeserver in memory that keeps no secrets and no rules but those that the tests are about.
type memRooms struct {
	encrypted map[ids.RoomID]bool
	asked     []ids.UserID // who was asked whether a room is encrypted
	decrypt   func(room.Event) (room.Event, error)
	mu        sync.Mutex
	made      int                    // rooms
	created   []room.Create          // the same, as asked for
	n         int                    // events
	calls     []string               // what changed something, in order
	users     map[ids.UserID]string  // display names
	aliases   map[string]room.Found  // by alias
	sent      map[string]ids.EventID // by content id
	posts     []memPost
	state     room.State
	states    map[ids.RoomID]room.State // of rooms that have one of their own
	// answer is asked before a Send; a zero Outcome lets it be done. seen is what a look-up may find.
	answer func(r lane.Record) (o lane.Outcome, arrives bool)
	fail   func(call string) error
}

type memPost struct {
	room ids.RoomID
	user ids.UserID
	lane.Record
}

func newMemRooms() *memRooms {
	return &memRooms{
		encrypted: map[ids.RoomID]bool{}, users: map[ids.UserID]string{}, aliases: map[string]room.Found{}, sent: map[string]ids.EventID{},
		state: room.State{JoinRule: "invite", Users: map[ids.UserID]int{"@alice:x": 100, "@bob:x": 25}, Members: map[ids.UserID]string{"@alice:x": "join", "@bob:x": "join", "@carol:x": "join"}},
	}
}

func (m *memRooms) call(format string, args ...any) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := fmt.Sprintf(format, args...)
	if m.fail != nil {
		if err := m.fail(s); err != nil {
			return err
		}
	}
	m.calls = append(m.calls, s)
	return nil
}

func (m *memRooms) EnsureUser(_ context.Context, u ids.UserID, name string) error {
	return m.call("user %s %q", u, name)
}

func (m *memRooms) Encrypted(_ context.Context, id ids.RoomID, user ids.UserID) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked = append(m.asked, user)
	return m.encrypted[id], nil
}

func (m *memRooms) Decrypt(_ context.Context, e room.Event) (room.Event, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.decrypt == nil {
		return e, room.ErrUnreadable
	}
	return m.decrypt(e)
}

func (m *memRooms) Decline(_ context.Context, id ids.RoomID, u ids.UserID) {
	_ = m.call("decline %s %s", id, u)
}

func (m *memRooms) CreateRoom(_ context.Context, c room.Create) (ids.RoomID, error) {
	if err := m.call("create #%s %q", c.Alias, c.Name); err != nil {
		return "", err
	}
	if slices.Contains(c.Invite, "@nobody:x") {
		return "", lane.Outcome{Verdict: lane.Dead, Code: "M_UNKNOWN", Reason: "there is no @nobody"}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.made++
	m.created = append(m.created, c)
	id := ids.RoomID(fmt.Sprintf("!%d", m.made))
	if c.Encrypt {
		m.encrypted[id] = true
	}
	m.aliases["#"+c.Alias+":x"] = room.Found{Room: id, Creator: "@gatepost:x", Token: c.Token}
	if len(c.Invite) > 0 {
		m.calls = append(m.calls, fmt.Sprintf("with %v", c.Invite))
	}
	return id, nil
}

func (m *memRooms) Resolve(_ context.Context, alias string) (room.Found, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, ok := m.aliases[alias]
	return f, ok, nil
}

func (m *memRooms) SetState(_ context.Context, id ids.RoomID, typ, key string, content any) error {
	return m.call("state %s %s %q %v", id, typ, key, content)
}

func (m *memRooms) Upload(_ context.Context, data []byte, mime, name string) (string, error) {
	return "mxc://x/" + name, m.call("upload %s %s, %v", name, mime, len(data) > 100)
}

func (m *memRooms) SetPower(_ context.Context, id ids.RoomID, _, now map[ids.UserID]int) error {
	return m.call("power %s %v", id, now)
}

func (m *memRooms) Invite(_ context.Context, id ids.RoomID, u ids.UserID) error {
	return m.call("invite %s %s", id, u)
}

func (m *memRooms) Join(_ context.Context, id ids.RoomID, u ids.UserID) error {
	return m.call("join %s %s", id, u)
}

func (m *memRooms) State(_ context.Context, id ids.RoomID, _ ids.UserID) (room.State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s, ok := m.states[id]; ok {
		return s, nil
	}
	return m.state, nil
}

func (m *memRooms) Pin(_ context.Context, id ids.RoomID, event, old ids.EventID) error {
	return m.call("pin %s %s instead of %s", id, event, old)
}

func (m *memRooms) Leave(_ context.Context, id ids.RoomID, u ids.UserID) error {
	return m.call("leave %s %s", id, u)
}

func (m *memRooms) Event(_ context.Context, _ ids.RoomID, e ids.EventID) (room.Event, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.posts {
		if m.sent[p.ID] == e {
			about, _ := json.Marshal(map[string]any{"device": p.Device, "values": p.Post.Values})
			return room.Event{ID: e, Sender: p.user, Content: fmt.Appendf(nil, `{"dev.gatepost":%s}`, about)}, true, nil
		}
	}
	return room.Event{}, false, nil
}

func (m *memRooms) Send(_ context.Context, id ids.RoomID, u ids.UserID, r lane.Record) lane.Outcome {
	m.mu.Lock()
	defer m.mu.Unlock()
	var o lane.Outcome
	arrives := true
	if m.answer != nil {
		o, arrives = m.answer(r)
	}
	if arrives {
		m.n++
		m.sent[r.ID] = ids.EventID(fmt.Sprintf("$%d", m.n))
		m.posts = append(m.posts, memPost{id, u, r})
	}
	if o.Verdict == 0 {
		return lane.Outcome{Verdict: lane.Done, Event: m.sent[r.ID]}
	}
	return o
}

func (m *memRooms) Find(_ context.Context, _ ids.RoomID, _ ids.UserID, r lane.Record) (ids.EventID, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.sent[r.ID]
	return e, ok, nil
}

// said is what is in the rooms, a line a post: the room's number, who speaks, kind and text.
func (m *memRooms) said() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for _, p := range m.posts {
		out = append(out, fmt.Sprintf("%s %s %s %s", p.room, p.user, p.Post.Kind, p.Post.Text))
	}
	return out
}

func (m *memRooms) eventOf(text string) ids.EventID {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.posts {
		if p.Post.Text == text {
			return m.sent[p.ID]
		}
	}
	return ""
}

// memDevices are devices that hear everything and keep it.
type memDevices struct {
	mu    sync.Mutex
	heard []string
	err   error
	on    func(topic, payload string) // called after a publish
}

type notSentError struct{ error }

func (notSentError) NotSent() bool { return true }

var errAway = notSentError{errors.New("the broker is away")}

func (d *memDevices) Publish(_ context.Context, topic string, payload []byte, qos byte, retain bool) error {
	d.mu.Lock()
	err, on := d.err, d.on
	if err == nil {
		d.heard = append(d.heard, fmt.Sprintf("%s %s %d %v", topic, payload, qos, retain))
	}
	d.mu.Unlock()
	if err == nil && on != nil {
		on(topic, string(payload))
	}
	return err
}

func (d *memDevices) list() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.heard)
}

func (d *memDevices) set(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = err
}

// trueClock agrees with ours.
type trueClock struct{}

func (trueClock) Offset() (time.Duration, bool) { return 0, true }
