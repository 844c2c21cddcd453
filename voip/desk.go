package voip

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/gatepost/gatepost/internal/ids"
)

// Key names a call: call ids are only unique in their room, since anybody may make them.
type Key struct {
	Room ids.RoomID
	Call ids.CallID
}

// Desk takes the calls of one device: it decides which of them ring, and keeps what belongs to a call that is not there yet.
// Make it with NewDesk.
type Desk struct {
	cfg  DeskConfig
	live map[Key]*Call
	// Since the homeserver gives events in batches, a call may be over before it has begun.
	waiting []waiting                // invitations of this batch
	marks   map[Key]mark             // calls that are over, or that began with something else than an invitation
	yielded map[ids.RoomID]time.Time // rooms where our call made way for one of theirs that is yet to come
}

// DeskConfig is what a Desk is held to. Zero values mean the defaults.
type DeskConfig struct {
	Call Config
	Most int // calls at the same time; 1
	Ring int // people who may be called at the same time, of whom one will be talked to; 1
}

type waiting struct {
	key  Key
	self Party
	ev   Invited
}

// mark is what is known of a call that is not live.
type mark struct {
	at    time.Time
	over  bool
	early []Candidates
}

// Bounds on what strangers can make a Desk remember.
const (
	markTime   = 5 * time.Minute
	maxMarks   = 256
	maxEarly   = 8 // events of candidates before the invitation
	yieldTime  = 10 * time.Second
	maxWaiting = 32
)

// Input is something that a Desk is told.
type Input interface{ isInput() }

type (
	// Dial places a call. The id begins with "zz", so that clients which compare ids let theirs win; we always yield.
	Dial struct {
		Key    Key
		Self   Party
		Person ids.UserID
	}
	// Remote is an event of the person's side. Self is as whom it would be answered. Forbidden: whoever sent it may not call
	// here (a stranger, a public room); then nothing rings and nothing is answered.
	Remote struct {
		Key       Key
		Self      Party
		Event     Event
		Forbidden bool
	}
	// BatchDone says that all events have been told that came together. Only then invitations ring.
	BatchDone struct{}
	// Local is an event of a leg, a timer or the gateway.
	Local struct {
		Key   Key
		Event Event
	}
	// EndAll ends every call.
	EndAll struct{ Reason Reason }
	// PersonLeft says that somebody left a room.
	PersonLeft struct {
		Room ids.RoomID
		User ids.UserID
	}
)

func (Dial) isInput()       {}
func (Remote) isInput()     {}
func (BatchDone) isInput()  {}
func (Local) isInput()      {}
func (EndAll) isInput()     {}
func (PersonLeft) isInput() {}

// Output is an effect and the call it belongs to, as it is after the step.
type Output struct {
	Key    Key
	Call   Record
	Effect Effect
}

// NewDesk makes a Desk without calls.
func NewDesk(cfg DeskConfig) *Desk {
	if cfg.Most <= 0 {
		cfg.Most = 1
	}
	return &Desk{cfg: cfg, live: map[Key]*Call{}, marks: map[Key]mark{}, yielded: map[ids.RoomID]time.Time{}}
}

// Calls are those that are live, in the order in which they began. They are the Desk's own: to be read, and not kept.
func (d *Desk) Calls() []*Call {
	return slices.SortedFunc(maps.Values(d.live), func(a, b *Call) int {
		return cmp.Or(a.Began.Compare(b.Began), cmp.Compare(a.Room, b.Room), cmp.Compare(a.ID, b.ID))
	})
}

// Clone is a copy that shares nothing that Step changes.
func (d *Desk) Clone() *Desk {
	n := *d
	n.live, n.marks, n.yielded, n.waiting = map[Key]*Call{}, maps.Clone(d.marks), maps.Clone(d.yielded), slices.Clone(d.waiting)
	for k, c := range d.live {
		n.live[k] = c.Clone()
	}
	return &n
}

// Step moves d and says what must now happen, in order.
func (d *Desk) Step(now time.Time, in Input) []Output {
	d.forget(now)
	switch in := in.(type) {
	case Dial:
		return d.dial(now, in)
	case Remote:
		return d.remote(now, in)
	case BatchDone:
		return d.ring(now)
	case Local:
		return d.tell(now, in.Key, in.Event)
	case EndAll:
		var out []Output
		for _, c := range d.Calls() {
			out = append(out, d.tell(now, Key{c.Room, c.ID}, Ended(in))...)
		}
		return out
	case PersonLeft:
		var out []Output
		for _, c := range d.Calls() {
			if c.Room == in.Room {
				out = append(out, d.tell(now, Key{c.Room, c.ID}, PeerLeft{in.User})...)
			}
		}
		return out
	}
	return nil
}

func (d *Desk) dial(now time.Time, in Dial) []Output {
	if d.live[in.Key] != nil {
		return nil
	}
	c := NewCall(in.Key.Call, in.Key.Room, in.Self, in.Person, d.cfg.Call)
	if d.talking() >= d.cfg.Most || len(d.live) >= max(d.cfg.Most, d.cfg.Ring) {
		return outputs(c, c.refuse(now, Caller, UserBusy))
	}
	d.live[in.Key] = c
	return d.tell(now, in.Key, Dialed{})
}

// talking counts the calls that were answered, and those that the person placed.
func (d *Desk) talking() int {
	n := 0
	for _, c := range d.live {
		if c.Role == Callee || !c.Answered.IsZero() {
			n++
		}
	}
	return n
}

// remote sorts what comes from the person's side: to its call, or aside.
func (d *Desk) remote(now time.Time, in Remote) []Output {
	if in.Forbidden {
		return nil
	}
	if d.live[in.Key] != nil {
		out := d.tell(now, in.Key, in.Event)
		if h, ok := in.Event.(HungUp); ok && h.Reason == Replaced && len(out) > 0 {
			d.yielded[in.Key.Room] = now // their invitation may come after this
		}
		return out
	}
	m := d.marks[in.Key]
	if m.over {
		return nil
	}
	switch ev := in.Event.(type) {
	case Invited:
		again := slices.ContainsFunc(d.waiting, func(w waiting) bool { return w.key == in.Key })
		if !again && len(d.waiting) < maxWaiting && ev.Left > 0 {
			d.waiting = append(d.waiting, waiting{in.Key, in.Self, ev})
		}
	case Candidates:
		if len(m.early) < maxEarly {
			m.early = append(slices.Clip(m.early), ev)
		}
		d.mark(in.Key, mark{at: now, early: m.early})
	case HungUp:
		d.over(now, in.Key, ev.From)
	case Rejected:
		d.over(now, in.Key, ev.From)
	case Answered:
		d.over(now, in.Key, ev.From)
	}
	return nil
}

// over marks a call as over before it rang: the caller hung up, or another device of ours took it.
func (d *Desk) over(now time.Time, key Key, by Party) {
	i := slices.IndexFunc(d.waiting, func(w waiting) bool { return w.key == key })
	if i >= 0 {
		w := d.waiting[i]
		if by != w.ev.From && (by.User != w.self.User || by.ID == w.self.ID) {
			return // it is none of its business
		}
		d.waiting = slices.Delete(slices.Clone(d.waiting), i, i+1)
	}
	d.mark(key, mark{at: now, over: true})
}

// ring begins the calls that were invited in this batch and are still wanted.
func (d *Desk) ring(now time.Time) []Output {
	var out []Output
	list := d.waiting
	d.waiting = nil
	for _, w := range list {
		if d.live[w.key] != nil {
			continue // an id of ours, which they had no right to
		}
		out = append(out, d.yield(now, &w)...)
		c := NewCall(w.key.Call, w.key.Room, w.self, w.ev.From.User, d.cfg.Call)
		if len(d.live) >= d.cfg.Most {
			c.Peer, c.Version = w.ev.From.ID, w.ev.Version
			d.mark(w.key, mark{at: now, over: true})
			out = append(out, outputs(c, c.refuse(now, Callee, UserBusy))...)
			continue
		}
		d.live[w.key] = c
		out = append(out, d.tell(now, w.key, w.ev)...)
		early := d.marks[w.key].early
		delete(d.marks, w.key)
		for _, ev := range early {
			out = append(out, d.tell(now, w.key, ev)...)
		}
	}
	return out
}

// yield makes way where both sides call each other (glare): ours ends, and theirs is answered without ringing.
func (d *Desk) yield(now time.Time, w *waiting) []Output {
	var out []Output
	for _, c := range d.Calls() {
		if c.Room == w.key.Room && c.Person == w.ev.From.User && (c.State == Preparing || c.State == Inviting) {
			out = append(out, d.tell(now, Key{c.Room, c.ID}, Ended{Replaced})...)
			w.ev.Auto = true
		}
	}
	if at, ok := d.yielded[w.key.Room]; ok && now.Sub(at) <= yieldTime {
		w.ev.Auto = true
	}
	delete(d.yielded, w.key.Room)
	return out
}

// tell hands an event to its call, and forgets the call when it is over.
func (d *Desk) tell(now time.Time, key Key, ev Event) []Output {
	c := d.live[key]
	if c == nil {
		return nil
	}
	effects := c.Step(now, ev)
	if !c.Live() {
		delete(d.live, key)
		d.mark(key, mark{at: now, over: true})
	}
	return outputs(c, effects)
}

func outputs(c *Call, effects []Effect) []Output {
	key, rec := Key{c.Room, c.ID}, c.Record()
	out := make([]Output, 0, len(effects))
	for _, e := range effects {
		out = append(out, Output{key, rec, e})
	}
	return out
}

// mark remembers, within bounds: of too many the oldest goes.
func (d *Desk) mark(key Key, m mark) {
	if _, known := d.marks[key]; !known && len(d.marks) >= maxMarks {
		oldest := key
		for k, o := range d.marks {
			if old, ok := d.marks[oldest]; !ok || o.at.Before(old.at) || o.at.Equal(old.at) && less(k, oldest) {
				oldest = k
			}
		}
		delete(d.marks, oldest)
	}
	d.marks[key] = m
}

func less(a, b Key) bool { return cmp.Or(cmp.Compare(a.Room, b.Room), cmp.Compare(a.Call, b.Call)) < 0 }

func (d *Desk) forget(now time.Time) {
	maps.DeleteFunc(d.marks, func(_ Key, m mark) bool { return now.Sub(m.at) > markTime })
	maps.DeleteFunc(d.yielded, func(_ ids.RoomID, at time.Time) bool { return now.Sub(at) > yieldTime })
}
