package discovery

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/mqtt/convention"
)

// Stage says how far a device has come.
type Stage string

// The stages. A fresh one is still announcing itself.
const (
	fresh    Stage = ""
	Waiting  Stage = "waiting"  // for a person
	Admitted Stage = "admitted" // a device like any other
	Ignored  Stage = "ignored"  // nobody is asked about it again
	Blocked  Stage = "blocked"  // what it announces is not read
)

// group is what is one device, or might become one: parts that belong together.
type group struct {
	id       ids.DeviceID // "" while it is fresh
	original string       // the name before it became an id
	stage    Stage
	parts    []*part         // sorted
	owns     []string        // identifiers
	into     *group          // this is what an admitted device wants to have in addition
	growth   *group          // the other way
	known    map[string]bool // conventions that people agreed to
	allowed  map[string]bool // topics of commands that people agreed to
	told     string          // the version that people were told of
	dev      Device
	stale    bool // dev.Is is not what the parts say

	began, changed time.Time // fresh: the first and the last announcement
	tell           time.Time // waiting: when people are asked (again); zero: they were
	gone           time.Time // admitted: when it withdrew everything; zero: it did not
	next           time.Time // for dueHeap
	place          int       // in dueHeap; -1 not there

	reads    []reader    // of dev.Is.Readings
	triggers []reader    // of dev.Is.Triggers
	avail    []judge     // of dev.Is.Availability
	due      []time.Time // of readings: when they lapse
	keys     []partKey   // blocked
	blocks   []string    // blocked: identifiers
	filters  []string    // that the index has for it
	topics   []string    // of commands
}

// part is an announcement.
type part struct {
	key    partKey
	is     convention.Part
	size   int
	sum    uint64 // of what it says; nobody makes another with the same
	group  *group
	online vote
	why    []string          // held: what people must know
	values map[string]string // what came before the device was admitted, by reading
}

func compareParts(a, b *part) int {
	return cmp.Or(strings.Compare(a.key.convention, b.key.convention), strings.Compare(a.key.key, b.key.key))
}

// newPart measures an announcement.
func newPart(is convention.Part) (*part, []byte) {
	data, err := json.Marshal(is)
	if err != nil { // no number in it is infinite (convention), but who knows
		return nil, nil
	}
	sum := sha256.Sum256(data)
	return &part{key: partKey{is.Convention, is.Key}, is: is, size: len(data) + 500, sum: binary.BigEndian.Uint64(sum[:])}, data
}

func (h *Host) newGroup(now time.Time) *group {
	g := &group{began: now, changed: now, place: -1, known: map[string]bool{}, allowed: map[string]bool{}, dev: Device{Alarms: map[string]Raised{}, Values: map[string]Value{}, Since: now}}
	h.waiting++
	return g
}

// announce takes a Part.
func (h *Host) announce(is convention.Part, now time.Time) {
	p, data := newPart(is)
	if p == nil || len(is.IDs) == 0 {
		return
	}
	delete(h.refused, p.key)
	old := h.parts[p.key]
	if h.isBlocked(p) || old != nil && old.sum == p.sum {
		if old != nil {
			h.release(p.key) // it says again what it was admitted with
		}
		return
	}
	if held := h.held[p.key]; held != nil && held.sum == p.sum {
		return
	}
	g := h.belongs(p, old, now)
	if g == nil {
		h.left++
		return
	}
	if g.stage == Admitted {
		if why := h.objections(g, old, p); len(why) > 0 {
			h.hold(g, p, data, why, now)
			return
		}
	}
	h.release(p.key)
	h.enter(g, p, data, now)
}

// room says whether another announcement fits.
func (h *Host) room(p, old *part, g *group) bool {
	size := p.size
	if old != nil {
		size -= old.size
	} else if len(h.parts)+len(h.held) >= maxParts || len(g.parts) >= maxDeviceParts {
		return false
	}
	return h.bytes+size <= maxBytes && (!g.open() || h.pending+size <= maxWaitingBytes)
}

// belongs finds the group of a part, or makes one; nil if there is no room.
func (h *Host) belongs(p, old *part, now time.Time) *group {
	if old != nil {
		if !h.room(p, old, old.group) {
			return nil
		}
		return old.group
	}
	var decided, open []*group
	for _, id := range p.is.IDs {
		g := h.owner[id]
		switch {
		case g == nil:
		case g.stage == Admitted || g.stage == Ignored:
			if !slices.Contains(decided, g) {
				decided = append(decided, g)
			}
		case g.into == nil && !slices.Contains(open, g):
			open = append(open, g)
		}
	}
	switch {
	case len(decided) == 1:
		if !h.room(p, nil, decided[0]) {
			return nil
		}
		return decided[0]
	case len(decided) == 0 && len(open) > 0:
		slices.SortFunc(open, func(a, b *group) int { return a.began.Compare(b.began) })
		n := 0
		for _, g := range open {
			n += len(g.parts)
		}
		if n >= maxDeviceParts || !h.room(p, nil, open[0]) {
			return nil
		}
		for _, g := range open[1:] {
			h.swallow(open[0], g, now)
		}
		return open[0]
	}
	// Nobody's, or claimed from several devices, which it then does not belong to.
	if h.waiting >= maxWaiting || h.waiting+len(h.byID) >= maxDevices || !h.room(p, nil, &group{}) {
		return nil
	}
	return h.newGroup(now)
}

// swallow makes the parts of b those of a; nobody has decided about either.
func (h *Host) swallow(a, b *group, now time.Time) {
	for _, p := range b.parts {
		p.group = a
		a.parts = append(a.parts, p)
	}
	slices.SortFunc(a.parts, compareParts)
	for _, id := range b.owns {
		h.owner[id] = a
	}
	a.owns = append(a.owns, b.owns...)
	b.parts, b.owns = nil, nil
	h.forget(b)
	h.unsettle(a, now)
}

// unsettle notes that what waits for people has changed.
func (h *Host) unsettle(g *group, now time.Time) {
	g.stale = true
	switch g.stage {
	case fresh:
		g.changed = now
		h.arm(g, now.Add(settleTime))
	case Waiting:
		g.tell = now.Add(settleTime)
		h.arm(g, g.tell)
	case Admitted:
		h.arm(g, now)
	}
}

// enter puts a part into a group, in place of an older version of it.
func (h *Host) enter(g *group, p *part, data []byte, now time.Time) {
	if old := h.parts[p.key]; old != nil {
		p.online, p.values = old.online, old.values
		h.account(g, -old.size)
		g.parts = slices.DeleteFunc(g.parts, func(o *part) bool { return o == old })
	}
	p.group = g
	h.parts[p.key] = p
	h.account(g, p.size)
	at, _ := slices.BinarySearchFunc(g.parts, p, compareParts)
	g.parts = slices.Insert(g.parts, at, p)
	h.own(g)
	h.put("part/"+p.key.hash(), data)
	if g.stage == Admitted {
		g.gone = time.Time{}
		g.known[p.key.convention] = true
	}
	if g.id != "" {
		h.saveGroup(g)
	}
	h.unsettle(g, now)
}

// account counts the bytes of a part of g.
func (h *Host) account(g *group, size int) {
	h.bytes += size
	if g.open() {
		h.pending += size
	}
}

// open says whether no person has decided about g.
func (g *group) open() bool { return g.stage == fresh || g.stage == Waiting }

// own brings the identifiers of a group in line with its parts. What is somebody else's stays theirs.
func (h *Host) own(g *group) {
	var now []string
	for _, p := range g.parts {
		for _, id := range p.is.IDs {
			if o := h.owner[id]; (o == nil || o == g) && !slices.Contains(now, id) {
				now = append(now, id)
			}
		}
	}
	for _, id := range g.owns {
		if h.owner[id] == g {
			delete(h.owner, id)
		}
	}
	for _, id := range now {
		h.owner[id] = g
	}
	g.owns = now
}

// gone takes a part away.
func (h *Host) gone(key partKey, moving bool, now time.Time) {
	delete(h.refused, key)
	h.release(key)
	p := h.parts[key]
	if p == nil {
		return
	}
	g := p.group
	h.erase(p)
	g.parts = slices.DeleteFunc(g.parts, func(o *part) bool { return o == p })
	if len(g.parts) == 0 && g.stage != Admitted && g.stage != Blocked {
		h.forget(g)
		return
	}
	if len(g.parts) == 0 && g.stage == Admitted { // its identifiers stay its own until it is given up
		g.gone = now
		h.arm(g, now.Add(goneTime))
	} else {
		h.own(g)
	}
	if g.id != "" {
		h.saveGroup(g)
	}
	if !moving {
		h.unsettle(g, now)
	}
}

// bare leaves of what a device is only what people call it by.
func (g *group) bare(name string, kind convention.Kind, area string) {
	g.dev.Is = convention.Device{IDs: g.owns, Name: name, Kind: kind, Area: area}
	if len(g.owns) > 0 {
		g.dev.Is.ID = g.owns[0]
	}
}

// erase forgets an announcement, also in the store.
func (h *Host) erase(p *part) {
	delete(h.parts, p.key)
	h.account(p.group, -p.size)
	h.drop("part/" + p.key.hash())
}

// forget lets go of a group and of what it is made of.
func (h *Host) forget(g *group) {
	for _, p := range g.parts {
		if h.parts[p.key] == p {
			h.erase(p)
		}
		if h.held[p.key] == p {
			delete(h.held, p.key)
			h.account(g, -p.size)
			h.drop("held/" + p.key.hash())
		}
	}
	g.parts = nil
	for _, id := range g.owns {
		if h.owner[id] == g {
			delete(h.owner, id)
		}
	}
	g.owns = nil
	h.later(g, time.Time{})
	delete(h.untold, g)
	h.unindex(g)
	if g.growth != nil {
		h.forget(g.growth)
	}
	if g.into != nil {
		g.into.growth = nil
	}
	if g.open() {
		h.waiting--
	}
	if g.id == "" || h.byID[g.id] != g {
		return
	}
	delete(h.byID, g.id)
	for name := range g.dev.Values {
		h.drop(valueKey(g.id, name))
	}
	h.drop(deviceKey(g.id))
}

// isBlocked says whether people want to hear nothing of a part, or of its device, by whatever convention.
func (h *Host) isBlocked(p *part) bool {
	if h.blocked[p.key] {
		return true
	}
	return len(h.blockedIDs) > 0 && slices.ContainsFunc(p.is.IDs, func(id string) bool { return h.blockedIDs[id] })
}
