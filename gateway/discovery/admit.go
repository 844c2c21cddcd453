package discovery

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/mqtt/convention"
)

// Decision is what a person says of a device that waits.
type Decision string

// The decisions.
const (
	Admit  Decision = "admit"
	Ignore Decision = "ignore"
	Block  Decision = "block"
)

// Proposal is a device that is not admitted, or what an admitted one wants to have in addition.
type Proposal struct {
	ID          ids.DeviceID
	Stage       Stage
	Into        ids.DeviceID // the admitted device that wants more; "" it is a new one
	Name        string
	Is          convention.Device // of Into: what is new alone. Not to be changed
	Conventions []string
	Warnings    []string // what people must know before they agree, each a sentence without its full stop
	Since       time.Time
	Version     string // of the announcement: Decide wants it back
}

// moreSuffix is behind the id of what an admitted device wants to have in addition.
const moreSuffix = ".more"

// ripen gives a fresh group its id and asks for a decision. It returns when there is something to do for it next.
func (h *Host) ripen(g *group, now time.Time) time.Time {
	h.refresh(g)
	d := &g.dev.Is
	g.original = strings.TrimSpace(d.Name + " " + d.ID)
	if h.cfg.Opaque {
		g.original = "device-" + ids.Hash(g.original)
	}
	free := func() bool {
		id := ids.Device(g.original)
		return h.byID[id] == nil && (h.cfg.Taken == nil || !h.cfg.Taken(id, g.original))
	}
	if !free() { // somebody else's name and identifier: it may have them, but not the id
		g.original += " " + g.parts[0].key.convention + " " + g.parts[0].key.key
	}
	if !free() {
		h.left++
		h.forget(g)
		return time.Time{}
	}
	g.id, g.stage = ids.Device(g.original), Waiting
	h.byID[g.id] = g
	h.saveGroup(g)
	if h.cfg.Auto && len(h.warnings(g)) == 0 && h.mayAuto(now) {
		h.admit(g, now)
		return g.nextDue()
	}
	h.untold[g] = true
	h.news.Asked = true
	return time.Time{}
}

// mayAuto says whether another device may be admitted without asking.
func (h *Host) mayAuto(now time.Time) bool {
	if since := now.Sub(h.autoFrom); since >= autoTime || since < 0 {
		h.auto, h.autoFrom = 0, now
	}
	h.auto++
	return h.auto <= autoMost
}

// nextDue is when the first of the readings lapses; zero: none does.
func (g *group) nextDue() (next time.Time) {
	for _, at := range g.due {
		next = earliest(next, at)
	}
	return next
}

// warnings lists what a new device lays claim to that is somebody else's.
func (h *Host) warnings(g *group) []string {
	var out []string
	for _, p := range g.parts {
		out = append(out, h.claims(g, p)...)
	}
	return shortened(out)
}

// claims lists what p, a part of g or one that wants to be, has that is somebody else's.
func (h *Host) claims(g *group, p *part) []string {
	var out []string
	for _, id := range p.is.IDs {
		if o := h.owner[id]; o != nil && o != g && o.stage == Admitted {
			out = append(out, fmt.Sprintf("It calls itself %s, which is “%s”", brief(id), brief(o.name())))
		}
	}
	for _, c := range p.is.Commands {
		if who := h.whose(g, c.Topic); who != "" {
			out = append(out, fmt.Sprintf("Its command “%s” would be sent to a topic of “%s”", brief(c.Label), brief(who)))
		}
	}
	return out
}

// whose says which device a topic belongs to that g wants to send to; "" to nobody, or to g.
func (h *Host) whose(g *group, name string) string {
	for _, o := range h.commands[name] {
		if o != g {
			return o.name()
		}
	}
	for _, s := range h.index.exact[name] {
		if s.use != useAnswer && s.group != g {
			return s.group.name()
		}
	}
	if h.cfg.Owned != nil {
		return h.cfg.Owned(name)
	}
	return ""
}

func (g *group) name() string { return cmp.Or(g.dev.Is.Name, string(g.id), g.dev.Is.ID) }

// brief is a name in a sentence, cut so that it hides nothing of it.
func brief(name string) string {
	const most = 60
	if r := []rune(name); len(r) > most {
		return string(r[:most]) + "…"
	}
	return name
}

// shortened is a list for people.
func shortened(list []string) []string {
	const most = 5
	list = slices.Compact(list)
	if len(list) > most {
		list = append(list[:most:most], fmt.Sprintf("There are %d more such claims", len(list)-most))
	}
	return list
}

// objections lists why people must agree before p becomes part of g, which is admitted, in place of old.
func (h *Host) objections(g *group, old, p *part) []string {
	out := h.claims(g, p)
	if h.cfg.Auto {
		return shortened(out)
	}
	if !g.known[p.key.convention] {
		out = append(out, "It is announced through "+p.key.convention+" now too")
	}
	var more []string
	for _, c := range p.is.Commands {
		if g.allowed[c.Topic] || old != nil && slices.ContainsFunc(old.is.Commands, func(o convention.Command) bool { return o.Name == c.Name }) {
			continue
		}
		more = append(more, "“"+brief(c.Label)+"”")
	}
	if len(more) > 0 {
		out = append(out, "It would get more commands: "+strings.Join(more[:min(len(more), 10)], ", "))
	}
	return shortened(out)
}

// hold keeps p back until a person has agreed that it becomes part of g.
func (h *Host) hold(g *group, p *part, data []byte, why []string, now time.Time) {
	m, old := g.growth, h.held[p.key]
	if old != nil && old.group != m {
		h.release(p.key)
		old = nil
	}
	if !h.mayHold(m, old, p) { // nor is anybody to agree to what it said before
		h.release(p.key)
		h.left++
		return
	}
	if m == nil {
		m = h.newGroup(now)
		m.id, m.stage, m.into = g.id+moreSuffix, Waiting, g
		g.growth = m
		h.byID[m.id] = m
	}
	if old != nil {
		h.account(m, -old.size)
		m.parts = slices.DeleteFunc(m.parts, func(o *part) bool { return o == old })
	}
	p.group, p.why = m, why
	h.held[p.key] = p
	h.account(m, p.size)
	at, _ := slices.BinarySearchFunc(m.parts, p, compareParts)
	m.parts = slices.Insert(m.parts, at, p)
	h.put("held/"+p.key.hash(), data)
	h.saveGroup(m)
	h.unsettle(m, now)
}

// mayHold says whether there is room to hold p back in m, or in a new group (nil), in place of old (nil: none).
func (h *Host) mayHold(m *group, old, p *part) bool {
	size, more := p.size, 1
	if old != nil {
		size, more = size-old.size, 0
	}
	if m == nil && h.waiting >= maxWaiting || m != nil && len(m.parts)+more > maxDeviceParts {
		return false
	}
	return h.bytes+size <= maxBytes && (m != nil && !m.open() || h.pending+size <= maxWaitingBytes) && len(h.parts)+len(h.held)+more <= maxParts
}

// release lets go of what was held back for a part.
func (h *Host) release(key partKey) {
	p := h.held[key]
	if p == nil {
		return
	}
	m := p.group
	delete(h.held, key)
	h.account(m, -p.size)
	h.drop("held/" + key.hash())
	m.parts = slices.DeleteFunc(m.parts, func(o *part) bool { return o == p })
	if len(m.parts) == 0 {
		h.forget(m)
		return
	}
	m.stale = true
	h.saveGroup(m)
}

// admit makes a waiting group a device.
func (h *Host) admit(g *group, now time.Time) {
	if g.open() {
		h.waiting--
		for _, p := range g.parts {
			h.pending -= p.size
		}
	}
	delete(h.untold, g)
	g.stage, g.tell, g.stale = Admitted, time.Time{}, true
	for _, p := range g.parts {
		g.known[p.key.convention] = true
	}
	h.own(g)
	h.refresh(g)
	h.news.Changed = slices.DeleteFunc(h.news.Changed, func(id ids.DeviceID) bool { return id == g.id }) // it is new
	h.news.Admitted = append(h.news.Admitted, g.id)
	for _, p := range g.parts {
		for _, name := range slices.Sorted(maps.Keys(p.values)) {
			if i := readingOf(p, name); i >= 0 {
				h.set(g, i, p.values[name], now, true)
			}
		}
		p.values = nil
	}
	h.reach(g, now)
	h.saveGroup(g)
}

// Proposals lists what is not admitted: what waits first, the oldest first.
func (h *Host) Proposals() []Proposal {
	var out []Proposal
	for _, g := range h.byID {
		if g.stage != Admitted {
			out = append(out, h.proposal(g))
		}
	}
	order := map[Stage]int{Waiting: 0, Ignored: 1, Blocked: 2}
	slices.SortFunc(out, func(a, b Proposal) int {
		return cmp.Or(order[a.Stage]-order[b.Stage], a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// Proposal gives what is not admitted with this id.
func (h *Host) Proposal(id ids.DeviceID) (p Proposal, ok bool) {
	if g := h.byID[id]; g != nil && g.stage != Admitted {
		return h.proposal(g), true
	}
	return p, false
}

func (h *Host) proposal(g *group) Proposal {
	h.refresh(g)
	p := Proposal{ID: g.id, Stage: g.stage, Name: g.name(), Is: g.dev.Is, Since: g.began, Version: g.version()}
	if g.into != nil {
		p.Into, p.Name = g.into.id, g.into.name()
		for _, o := range g.parts {
			p.Warnings = append(p.Warnings, o.why...)
		}
		p.Warnings = shortened(p.Warnings)
	} else if g.stage == Waiting {
		p.Warnings = h.warnings(g) // others may have come since
	}
	for _, o := range g.dev.Is.Parts {
		if !slices.Contains(p.Conventions, o.Convention) {
			p.Conventions = append(p.Conventions, o.Convention)
		}
	}
	return p
}

// version changes with what the parts say.
func (g *group) version() string {
	sum := sha256.New()
	for _, p := range g.parts {
		var b [8]byte
		binary.BigEndian.PutUint64(b[:], p.sum)
		sum.Write(b[:])
	}
	return "v" + hex.EncodeToString(sum.Sum(nil)[:8]) // never a number
}

// Untold is of how many proposals people are to be told.
func (h *Host) Untold() int { return len(h.untold) }

// Tell gives the proposals that people are to be told of, the oldest first. They need not be told again, save when one says
// something else.
func (h *Host) Tell() []Proposal {
	var out []Proposal
	for g := range h.untold {
		p := h.proposal(g)
		out = append(out, p)
		g.told = p.Version
		h.saveGroup(g)
	}
	clear(h.untold)
	slices.SortFunc(out, func(a, b Proposal) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID)) })
	return out
}

// Decide does what a person said of a proposal. version is that of the Proposal that was shown; "" agrees with whatever it
// is now. The error is ErrNone or ErrChanged.
func (h *Host) Decide(id ids.DeviceID, what Decision, version string, now time.Time) (*News, error) {
	h.news.reset()
	g := h.byID[id]
	if g == nil || g.stage == Admitted {
		return &h.news, ErrNone
	}
	if version != "" && version != g.version() {
		return &h.news, ErrChanged
	}
	switch {
	case what == Admit && g.stage == Blocked:
		h.unblock(g)
		h.forget(g)
	case what == Admit && g.into != nil:
		h.grow(g, now)
	case what == Admit:
		h.admit(g, now)
		h.later(g, g.nextDue())
	case g.stage == Blocked:
	case what == Block:
		h.block(g)
	default:
		h.settleAs(g, Ignored)
		h.saveGroup(g)
	}
	return &h.news, nil
}

// grow gives an admitted device what it waited for.
func (h *Host) grow(m *group, now time.Time) {
	g := m.into
	for _, p := range slices.Clone(m.parts) {
		delete(h.held, p.key)
		h.account(m, -p.size)
		h.drop("held/" + p.key.hash())
		data, err := json.Marshal(p.is)
		if err != nil || h.parts[p.key] == nil && len(g.parts) >= maxDeviceParts {
			h.left++
			continue
		}
		p.why = nil
		h.enter(g, p, data, now)
	}
	m.parts = nil
	h.forget(m)
	h.refresh(g)
	h.saveGroup(g)
}

// settleAs gives a waiting group its stage.
func (h *Host) settleAs(g *group, stage Stage) {
	if g.open() {
		h.waiting--
		for _, p := range g.parts {
			h.pending -= p.size
		}
	}
	delete(h.untold, g)
	g.stage, g.tell = stage, time.Time{}
	h.later(g, time.Time{})
}

// block forgets what a device announced, and reads no more of it.
func (h *Host) block(g *group) {
	h.refresh(g)
	h.settleAs(g, Blocked)
	for _, p := range g.parts {
		h.blocked[p.key] = true
		g.keys = append(g.keys, p.key)
		if g.into != nil {
			continue // its identifiers are the admitted device's
		}
		for _, id := range p.is.IDs {
			if h.owner[id] == g && !h.blockedIDs[id] {
				h.blockedIDs[id] = true
				g.blocks = append(g.blocks, id)
			}
		}
	}
	name := g.name()
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
	h.own(g)
	g.dev = Device{ID: g.id, Is: convention.Device{Name: name}, Values: map[string]Value{}}
	if g.into != nil {
		g.into.growth = nil
		delete(h.byID, g.id)
		h.drop(deviceKey(g.id))
		g.into, g.id = nil, ids.Device(string(g.id)+" "+g.version()+" "+g.keys[0].convention+" "+g.keys[0].key)
		h.byID[g.id] = g
	}
	h.saveGroup(g)
}

// unblock reads again what a device announces.
func (h *Host) unblock(g *group) {
	for _, k := range g.keys {
		delete(h.blocked, k)
	}
	for _, id := range g.blocks {
		delete(h.blockedIDs, id)
	}
}

// Remove forgets a device, admitted or not. When it announces itself again it is a new one. The error is ErrNone.
func (h *Host) Remove(id ids.DeviceID) error {
	h.news.reset()
	g := h.byID[id]
	if g == nil {
		return ErrNone
	}
	h.unblock(g)
	h.forget(g)
	return nil
}
