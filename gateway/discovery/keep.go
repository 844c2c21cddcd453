package discovery

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/mqtt/convention"
)

// Space is the space of the store in which a Host keeps what must survive:
//
//	state/<hash>        convention, NUL, key, NUL, State
//	part/<hash>         convention.Part as JSON; held/<hash> is one that a person must first agree to
//	device/<id>         record as JSON
//	value/<id>/<name>   milliseconds since 1970, a space, "+" or "-" (known or not), the text
//
// The hash is that of convention and key, since keys of the store are short.
const Space = "discovery"

func (k partKey) hash() string {
	sum := sha256.Sum256([]byte(k.convention + "\x00" + k.key))
	return hex.EncodeToString(sum[:16])
}

func stateItem(at partKey, s convention.State) []byte {
	out := make([]byte, 0, len(at.convention)+len(at.key)+len(s)+2)
	out = append(append(out, at.convention...), 0)
	out = append(append(out, at.key...), 0)
	return append(out, s...)
}

func valueKey(id ids.DeviceID, name string) string { return "value/" + string(id) + "/" + name }

func valueItem(v Value) []byte {
	out := make([]byte, 0, 16+len(v.Text))
	out = strconv.AppendInt(out, v.At.UnixMilli(), 10)
	if v.Known {
		out = append(out, " +"...)
	} else {
		out = append(out, " -"...)
	}
	return append(out, v.Text...)
}

func parseValue(b []byte) (v Value, ok bool) {
	ms, text, ok := strings.Cut(string(b), " ")
	at, err := strconv.ParseInt(ms, 10, 64)
	if !ok || err != nil || text == "" || len(text) > maxText+1 || text[0] != '+' && text[0] != '-' {
		return v, false
	}
	return Value{Text: text[1:], Known: text[0] == '+', At: time.UnixMilli(at)}, true
}

// record is what is kept of a group.
type record struct {
	ID       ids.DeviceID      `json:"id"`
	Original string            `json:"original"`
	Stage    Stage             `json:"stage"`
	Name     string            `json:"name,omitempty"`
	Kind     convention.Kind   `json:"kind,omitempty"`
	Area     string            `json:"area,omitempty"`
	Owns     []string          `json:"owns,omitempty"`  // identifiers
	Parts    [][2]string       `json:"parts,omitempty"` // convention and key
	Why      [][]string        `json:"why,omitempty"`   // of Parts that are held
	Into     ids.DeviceID      `json:"into,omitempty"`
	Told     string            `json:"told,omitempty"`
	Allowed  []string          `json:"allowed,omitempty"`
	Known    []string          `json:"known,omitempty"`  // conventions
	Blocks   []string          `json:"blocks,omitempty"` // blocked: identifiers
	Raised   map[string]Raised `json:"raised,omitempty"`
	Online   Online            `json:"online,omitempty"`
	Since    time.Time         `json:"since,omitzero"`
	Began    time.Time         `json:"began,omitzero"`
	Gone     time.Time         `json:"gone,omitzero"`
}

// saveGroup stores a group that has an id.
func (h *Host) saveGroup(g *group) {
	r := record{
		ID: g.id, Original: g.original, Stage: g.stage, Known: slices.Sorted(maps.Keys(g.known)), Raised: g.dev.Alarms,
		Name: g.dev.Is.Name, Kind: g.dev.Is.Kind, Area: g.dev.Is.Area, Owns: g.owns, Allowed: slices.Sorted(maps.Keys(g.allowed)), Told: g.told, Online: g.dev.Online, Since: g.dev.Since, Began: g.began, Gone: g.gone,
	}
	for _, p := range g.parts {
		r.Parts = append(r.Parts, [2]string{p.key.convention, p.key.key})
		if g.into != nil {
			r.Why = append(r.Why, p.why)
		}
	}
	if g.into != nil {
		r.Into = g.into.id
	}
	if g.stage == Blocked {
		for _, k := range g.keys {
			r.Parts = append(r.Parts, [2]string{k.convention, k.key})
		}
		r.Blocks = g.blocks
	}
	g.dev.ID, g.dev.Original = g.id, g.original
	b, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings and times only
	}
	h.put(deviceKey(g.id), b)
}

// Forget is the item by which a device that was admitted is none any more, where there is no Host: one that is started later
// finds its announcements as if they came then.
func Forget(id ids.DeviceID) lane.Item { return lane.Item{Space: Space, Key: deviceKey(id)} }

func deviceKey(id ids.DeviceID) string { return "device/" + string(id) }

func (h *Host) put(key string, value []byte) {
	h.items = append(h.items, lane.Item{Space: Space, Key: key, Value: value})
}

func (h *Host) drop(key string) { h.items = append(h.items, lane.Item{Space: Space, Key: key}) }

// Flush appends what has to be stored since the last Flush to dst, in order: of two with one key the later counts.
func (h *Host) Flush(dst []lane.Item) []lane.Item {
	dst = append(dst, h.items...)
	if cap(h.items) > 10_000 {
		h.items = nil
	} else {
		clear(h.items)
		h.items = h.items[:0]
	}
	return dst
}

// Load takes one item of Space back, in any order, before Start. An error means that it cannot be read: it is to be set aside,
// and the device may have to announce itself again. value is not kept.
func (h *Host) Load(key string, value []byte) error {
	kind, rest, _ := strings.Cut(key, "/")
	switch kind {
	case "state":
		list := bytes.SplitN(value, []byte{0}, 3)
		if len(list) != 3 || len(list[2]) == 0 || len(list[2]) > 2*convention.MaxState {
			return fmt.Errorf("%s: not a state", key)
		}
		at := partKey{string(list[0]), string(list[1])}
		if h.conventions[at.convention] != nil {
			h.states[at] = bytes.Clone(list[2])
			h.bytes += len(list[2])
		}
	case "part", "held":
		var is convention.Part
		if err := json.Unmarshal(value, &is); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		p, _ := newPart(is)
		if p == nil || len(is.IDs) == 0 || p.key.hash() != rest {
			return fmt.Errorf("%s: not a part", key)
		}
		switch {
		case h.conventions[is.Convention] == nil:
		case kind == "held":
			h.held[p.key] = p
		default:
			h.parts[p.key] = p
		}
	case "device":
		var r record
		if err := json.Unmarshal(value, &r); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		if string(r.ID) != rest || r.ID == "" {
			return fmt.Errorf("%s: not a device", key)
		}
		h.record[r.ID] = r
	case "value":
		id, name, _ := strings.Cut(rest, "/")
		v, ok := parseValue(value)
		if !ok || name == "" {
			return fmt.Errorf("%s: not a value", key)
		}
		if h.loaded[ids.DeviceID(id)] == nil {
			h.loaded[ids.DeviceID(id)] = map[string]Value{}
		}
		h.loaded[ids.DeviceID(id)][name] = v
	default:
		return fmt.Errorf("%s: not known", key)
	}
	return nil
}

// Start puts together what was loaded.
func (h *Host) Start(now time.Time) {
	loose := maps.Clone(h.parts)
	for _, id := range slices.Sorted(maps.Keys(h.record)) {
		if r := h.record[id]; r.Into == "" {
			h.restore(r, loose, now)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(h.record)) {
		if r := h.record[id]; r.Into != "" {
			h.restoreGrowth(r, now)
		}
	}
	for key := range loose {
		delete(h.parts, key)
	}
	for _, key := range slices.SortedFunc(maps.Keys(loose), func(a, b partKey) int { return strings.Compare(a.hash(), b.hash()) }) {
		h.announce(loose[key].is, now)
	}
	for key, p := range h.held {
		if p.group == nil {
			delete(h.held, key)
			h.drop("held/" + key.hash())
		}
	}
	for id, values := range h.loaded { // of devices whose record is lost
		if g := h.byID[id]; g == nil || g.stage != Admitted {
			for name := range values {
				h.drop(valueKey(id, name))
			}
		}
	}
	h.loaded, h.record = nil, nil
}

// restore makes the group of a record again.
func (h *Host) restore(r record, loose map[partKey]*part, now time.Time) {
	g := &group{
		id: r.ID, original: r.Original, told: r.Told, stage: r.Stage, place: -1, began: r.Began, changed: r.Began, gone: r.Gone, known: map[string]bool{}, allowed: map[string]bool{},
		dev: Device{ID: r.ID, Original: r.Original, Online: r.Online, Since: r.Since, Alarms: map[string]Raised{}, Values: map[string]Value{}}, stale: true,
	}
	maps.Copy(g.dev.Alarms, r.Raised)
	for _, name := range r.Known {
		g.known[name] = true
	}
	for _, name := range r.Allowed {
		g.allowed[name] = true
	}
	h.byID[g.id] = g
	if g.stage == Blocked {
		g.dev.Is.Name = r.Name
		for _, k := range r.Parts {
			key := partKey{k[0], k[1]}
			g.keys = append(g.keys, key)
			h.blocked[key] = true
		}
		for _, id := range r.Blocks {
			h.blockedIDs[id] = true
		}
		g.blocks = r.Blocks
		return
	}
	for _, k := range r.Parts {
		p := loose[partKey{k[0], k[1]}]
		if p == nil {
			continue // of a convention that is off, or damaged
		}
		delete(loose, p.key)
		p.group = g
		g.parts = append(g.parts, p)
		h.account(g, p.size)
	}
	slices.SortFunc(g.parts, compareParts)
	if g.open() {
		h.waiting++
	}
	for _, id := range r.Owns {
		if h.owner[id] == nil {
			h.owner[id] = g
			g.owns = append(g.owns, id)
		}
	}
	switch {
	case g.stage == Admitted:
		maps.Copy(g.dev.Values, h.loaded[g.id])
		if len(g.parts) == 0 {
			g.bare(r.Name, r.Kind, r.Area)
		}
		h.refresh(g)
		if !g.gone.IsZero() {
			h.arm(g, g.gone.Add(goneTime))
		}
	case len(g.parts) == 0: // nothing to decide about is left
		h.forget(g)
	case g.stage == Waiting && g.told != g.version():
		g.tell = now.Add(settleTime)
		h.arm(g, g.tell)
	}
}

// restoreGrowth makes the group of a record again that wants to be part of an admitted device.
func (h *Host) restoreGrowth(r record, now time.Time) {
	g := h.byID[r.Into]
	if g == nil || g.stage != Admitted || g.growth != nil {
		h.drop(deviceKey(r.ID))
		return
	}
	m := &group{id: r.ID, told: r.Told, stage: r.Stage, into: g, place: -1, began: r.Began, changed: r.Began, known: map[string]bool{}, allowed: map[string]bool{}, dev: Device{ID: r.ID, Values: map[string]Value{}}, stale: true}
	for i, k := range r.Parts {
		p := h.held[partKey{k[0], k[1]}]
		if p == nil || p.group != nil {
			continue
		}
		p.group = m
		if i < len(r.Why) {
			p.why = r.Why[i]
		}
		m.parts = append(m.parts, p)
		h.account(m, p.size)
	}
	slices.SortFunc(m.parts, compareParts)
	if len(m.parts) == 0 {
		h.drop(deviceKey(r.ID))
		return
	}
	g.growth = m
	h.byID[m.id] = m
	if m.open() {
		h.waiting++
		if m.told != m.version() {
			m.tell = now.Add(settleTime)
			h.arm(m, m.tell)
		}
	}
}
