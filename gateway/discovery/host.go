package discovery

import (
	"bytes"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/mqtt/convention"
	"github.com/gatepost/gatepost/mqtt/topic"
)

// Config says what a Host works with.
type Config struct {
	// Conventions are those that are understood. Of two with one name the first counts.
	Conventions []convention.Convention
	// Auto admits new devices without asking, save those that lay claim to what belongs to others.
	Auto bool
	// Opaque makes ids that do not hold what devices call themselves: they can be read where little else can.
	Opaque bool
	// Taken says whether an id, made of original, belongs to a device of somebody else. nil: none does.
	Taken func(id ids.DeviceID, original string) bool
	// Owned says whose topic it is that a device wants to have commands published to; "" nobody's. The Host knows its own
	// devices. nil: nobody's.
	Owned func(topic string) string
}

// Host keeps what devices say of themselves. Made by New, filled by Load, begun by Start. One goroutine owns it; only Wants
// and what else says so may be called by others.
type Host struct {
	cfg         Config
	conventions map[string]convention.Convention
	states      map[partKey]convention.State
	useful      map[partKey]bool // states from which a part came lately
	parts       map[partKey]*part
	held        map[partKey]*part // announced, but a person must first agree
	owner       map[string]*group // of an identifier
	byID        map[ids.DeviceID]*group
	commands    map[string][]*group // whose command topic it is, of admitted devices
	blocked     map[partKey]bool
	blockedIDs  map[string]bool // identifiers
	refused     map[partKey]convention.Refused
	untold      map[*group]bool // that people are to be told of
	index       *index
	due         dueHeap
	templates   map[string]compiled
	bytes       int       // of states and parts
	waiting     int       // groups that no person has decided about
	pending     int       // bytes of their parts
	auto        int       // admitted without asking since autoFrom
	autoFrom    time.Time // when counting began
	left        int       // announcements that there was no room for

	news   News
	items  []lane.Item
	found  found
	vars   map[string]any
	loaded map[ids.DeviceID]map[string]Value // between Load and Start
	record map[ids.DeviceID]record           // likewise
}

// partKey names a part, or a State, of a convention.
type partKey struct{ convention, key string }

// New makes an empty Host.
func New(cfg Config) *Host {
	h := &Host{
		cfg: cfg, conventions: map[string]convention.Convention{}, states: map[partKey]convention.State{}, useful: map[partKey]bool{},
		parts: map[partKey]*part{}, held: map[partKey]*part{}, owner: map[string]*group{}, byID: map[ids.DeviceID]*group{},
		commands: map[string][]*group{}, blocked: map[partKey]bool{}, blockedIDs: map[string]bool{}, refused: map[partKey]convention.Refused{},
		untold: map[*group]bool{}, index: newIndex(), templates: map[string]compiled{}, vars: map[string]any{},
		loaded: map[ids.DeviceID]map[string]Value{}, record: map[ids.DeviceID]record{},
	}
	for _, c := range cfg.Conventions {
		if h.conventions[c.Name()] != nil {
			continue
		}
		h.conventions[c.Name()] = c
		for _, f := range c.Filters() {
			h.index.announcements(f, c)
		}
	}
	return h
}

// Wants says whether a message with this topic is for the Host. Safe for concurrent use.
func (h *Host) Wants(name string) bool { return h.index.wants(name) }

// Announcements lists the filters by which devices announce themselves. They may overlap. Safe for concurrent use.
func (h *Host) Announcements() []topic.Filter {
	var out []topic.Filter
	for _, c := range h.conventions {
		out = append(out, c.Filters()...)
	}
	return out
}

// Sources lists the filters that admitted devices named. They may overlap. Safe for concurrent use.
func (h *Host) Sources() []topic.Filter { return h.index.filters() }

// Device gives an admitted device, nil if there is none with that id. It changes with the next call of Message, Tick or
// Decide.
func (h *Host) Device(id ids.DeviceID) *Device {
	if g := h.byID[id]; g != nil && g.stage == Admitted {
		return &g.dev
	}
	return nil
}

// Devices lists the ids of all admitted devices, sorted.
func (h *Host) Devices() []ids.DeviceID {
	var out []ids.DeviceID
	for id, g := range h.byID {
		if g.stage == Admitted {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// Left is how many announcements there was no room for.
func (h *Host) Left() int { return h.left }

// Message takes a message, and says what it brought.
func (h *Host) Message(m topic.Message) *News {
	h.news.reset()
	if strings.HasPrefix(m.Topic, "$") {
		return &h.news
	}
	h.index.find(m.Topic, &h.found)
	for _, c := range h.found.conventions {
		h.step(c, m)
	}
	if len(h.found.sinks) > 0 {
		h.news.Wanted, h.news.Taken = true, true
		h.deliver(h.found.sinks, m)
	}
	return &h.news
}

// step lets a convention read a message.
func (h *Host) step(c convention.Convention, m topic.Message) {
	key := c.Key(m.Topic)
	if key == "" || !utf8.ValidString(m.Topic) { // no broker should let that through (MQTT 3.1.1 section 1.5.3)
		return
	}
	h.news.Wanted = true
	at := partKey{c.Name(), key}
	old := h.states[at]
	next, facts := c.Step(old, m)
	if !bytes.Equal(old, next) {
		h.remember(at, old, next)
	}
	for _, f := range facts {
		h.fact(c.Name(), f, m)
		if p, ok := f.(convention.Part); ok && h.states[at] != nil && h.announced(partKey{c.Name(), p.Key}) {
			h.useful[at] = true
		}
	}
}

// announced says whether a part is kept.
func (h *Host) announced(at partKey) bool { return h.parts[at] != nil || h.held[at] != nil }

// full says whether there is no room for another state of so many bytes.
func (h *Host) full(size int) bool { return len(h.states) >= maxStates || h.bytes+size > maxBytes }

// remember keeps the state of a convention. One that there is no room for is not begun.
func (h *Host) remember(at partKey, old, next convention.State) {
	if old == nil && h.full(len(next)) {
		h.sweep()
	}
	if old == nil && h.full(len(next)) {
		h.left++
		return
	}
	h.bytes += len(next) - len(old)
	if next == nil {
		h.forgetState(at)
		return
	}
	h.states[at] = bytes.Clone(next)
	h.put("state/"+at.hash(), stateItem(at, next))
}

// sweep makes room: it forgets some states of what began to announce itself, and came to nothing so far.
func (h *Host) sweep() {
	n := 0
	for at, s := range h.states {
		if n == sweepStates {
			return
		}
		if !h.useful[at] && !h.announced(at) {
			n++
			h.bytes -= len(s)
			h.left++
			h.forgetState(at)
		}
	}
}

func (h *Host) forgetState(at partKey) {
	delete(h.states, at)
	delete(h.useful, at)
	h.drop("state/" + at.hash())
}

// fact takes what a convention says.
func (h *Host) fact(name string, f convention.Fact, m topic.Message) {
	switch f := f.(type) {
	case convention.Part:
		h.announce(f, m.Time)
	case convention.Gone:
		h.gone(partKey{name, f.Key}, f.Moving, m.Time)
	case convention.Refused:
		if at := (partKey{name, f.Key}); len(h.refused) < maxRefused || h.refused[at] != (convention.Refused{}) {
			h.refused[at] = f
		}
	case convention.Values:
		h.values(name, f, m)
	case convention.Online:
		if p := h.parts[partKey{name, f.Key}]; p != nil {
			p.online = verdict(f.Online)
			h.reach(p.group, m.Time)
		}
	case convention.Answer:
		h.news.Answers = append(h.news.Answers, f)
	case convention.Publish:
		h.news.Publish = append(h.news.Publish, f)
	case convention.Event:
		if g := h.admitted(name, f.Key); g != nil && !m.Retained {
			h.news.Events = append(h.news.Events, EventNews{g.id, f})
		}
	case convention.Alarm:
		if g := h.admitted(name, f.Key); g != nil {
			h.raise(g, f, m)
		}
	case convention.Position:
		if g := h.admitted(name, f.Key); g != nil && !m.Retained {
			h.news.Positions = append(h.news.Positions, PositionNews{g.id, f})
			h.touch(g, false)
		}
	case convention.Media:
		if g := h.admitted(name, f.Key); g != nil && !m.Retained {
			h.news.Media = append(h.news.Media, MediaNews{g.id, f, ""})
		}
	}
}

// admitted is the device of a part, if it is one.
func (h *Host) admitted(name, key string) *group {
	if p := h.parts[partKey{name, key}]; p != nil && p.group.stage == Admitted {
		return p.group
	}
	return nil
}

// raise takes what a device says of an alarm. That of a retained message is how things are, and no news.
func (h *Host) raise(g *group, f convention.Alarm, m topic.Message) {
	old, is := g.dev.Alarms[f.Name]
	if is == f.Raised {
		return
	}
	if f.Raised {
		if len(g.dev.Alarms) >= convention.MaxReadings {
			return
		}
		g.dev.Alarms[f.Name] = Raised{Text: f.Text, Since: m.Time}
	} else {
		delete(g.dev.Alarms, f.Name)
		if f.Text == "" {
			f.Text = old.Text
		}
	}
	h.saveGroup(g)
	h.touch(g, true)
	if !m.Retained {
		h.news.Alarms = append(h.news.Alarms, AlarmNews{g.id, f})
	}
}

// touch notes that something shown of an admitted device has changed.
func (h *Host) touch(g *group, urgent bool) {
	if g.stage != Admitted {
		return
	}
	for i := range h.news.Touched {
		if t := &h.news.Touched[i]; t.ID == g.id {
			t.Urgent = t.Urgent || urgent
			return
		}
	}
	h.news.Touched = append(h.news.Touched, Touch{g.id, urgent})
}

// Refused lists announcements that could not be read at all, sorted by name.
func (h *Host) Refused() []convention.Refused {
	var out []convention.Refused
	for _, f := range h.refused {
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b convention.Refused) int {
		return strings.Compare(a.Name+"\x00"+a.Key, b.Name+"\x00"+b.Key)
	})
	return out
}

// Tick does what is due at now.
func (h *Host) Tick(now time.Time) *News {
	h.news.reset()
	for len(h.due) > 0 && !h.due[0].next.After(now) {
		g := h.due[0]
		h.later(g, h.work(g, now))
	}
	return &h.news
}

// Next is when Tick has something to do; zero: nothing.
func (h *Host) Next() time.Time {
	if len(h.due) == 0 {
		return time.Time{}
	}
	return h.due[0].next
}
