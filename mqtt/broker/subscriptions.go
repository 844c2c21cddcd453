package broker

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gatepost/gatepost/mqtt/topic"
)

const (
	maxLevels   = 200 // of a filter
	sharePrefix = "$share/"
)

// subscription is one filter of one session. It is not changed; subscribing again replaces it.
type subscription struct {
	session     *session
	filter      string // as it was asked for
	group       string // of a shared one ("$share/group/..."); else ""
	plain       string // filter without the group
	qos         byte
	noLocal     bool
	asPublished bool // keep the retain flag
	handling    byte // of retained messages (MQTT 5 section 3.8.3.1)
	id          int  // subscription identifier; 0: none
}

// parseSubscription gives the parts of a filter; ok is false for one that is malformed, too long or too deep.
func parseSubscription(s string) (group, plain string, ok bool) {
	if len(s) > longestName {
		return "", "", false
	}
	plain = s
	if rest, shared := strings.CutPrefix(s, sharePrefix); shared {
		group, plain, _ = strings.Cut(rest, "/")
		if group == "" || strings.ContainsAny(group, "+#") {
			return "", "", false
		}
	} else if s == "$share" {
		return "", "", false
	}
	if _, err := topic.ParseFilter(plain); err != nil || strings.Count(plain, "/") >= maxLevels {
		return "", "", false
	}
	return group, plain, true
}

const (
	optionNoLocal = 1 << (iota + 2)
	optionAsPublished
)

// options are what the Store has of a subscription beside its filter.
func (sub *subscription) options() []byte {
	flags := sub.qos | sub.handling<<4
	if sub.noLocal {
		flags |= optionNoLocal
	}
	if sub.asPublished {
		flags |= optionAsPublished
	}
	return []byte{flags, byte(sub.id >> 24), byte(sub.id >> 16), byte(sub.id >> 8), byte(sub.id)}
}

// newSubscription is the opposite of options.
func newSubscription(s *session, filter string, options []byte) (*subscription, error) {
	group, plain, ok := parseSubscription(filter)
	if !ok || len(options) != 5 {
		return nil, errDamaged
	}
	o := options[0]
	return &subscription{
		session: s, filter: filter, group: group, plain: plain, qos: min(o&flagQoS, 2),
		noLocal: o&optionNoLocal != 0, asPublished: o&optionAsPublished != 0, handling: o >> 4 & 3,
		id: int(options[1])<<24 | int(options[2])<<16 | int(options[3])<<8 | int(options[4]),
	}, nil
}

// subscriptions finds who has subscribed to a topic. It is a tree of levels. Safe for concurrent use.
type subscriptions struct {
	changes atomic.Uint64 // counts what add and remove did

	mu     sync.RWMutex
	root   level
	count  int
	shared int
}

type level struct {
	below  map[string]*level
	own    map[*session]*subscription
	shared map[string]*shareGroup
}

type shareGroup struct {
	members []*subscription
	turn    atomic.Uint32
}

func (l *level) empty() bool { return len(l.below)+len(l.own)+len(l.shared) == 0 }

// add makes sub one of its session's. It replaces, and returns, one with the same filter.
func (x *subscriptions) add(sub *subscription) (before *subscription) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.changes.Add(1)
	at := &x.root
	for rest, more := sub.plain, true; more; {
		var name string
		name, rest, more = strings.Cut(rest, "/")
		next := at.below[name]
		if next == nil {
			if at.below == nil {
				at.below = map[string]*level{}
			}
			next = &level{}
			at.below[name] = next
		}
		at = next
	}
	if sub.group == "" {
		before = at.own[sub.session]
		if at.own == nil {
			at.own = map[*session]*subscription{}
		}
		at.own[sub.session] = sub
	} else {
		g := at.shared[sub.group]
		if g == nil {
			if at.shared == nil {
				at.shared = map[string]*shareGroup{}
			}
			g = &shareGroup{}
			at.shared[sub.group] = g
		}
		if i := g.of(sub.session); i >= 0 {
			before, g.members[i] = g.members[i], sub
		} else {
			g.members = append(g.members, sub)
		}
	}
	if before == nil {
		x.count++
		if sub.group != "" {
			x.shared++
		}
	}
	return before
}

func (g *shareGroup) of(s *session) int {
	return slices.IndexFunc(g.members, func(m *subscription) bool { return m.session == s })
}

// remove takes sub out, if it was not replaced.
func (x *subscriptions) remove(sub *subscription) {
	x.mu.Lock()
	defer x.mu.Unlock()
	path := []*level{&x.root}
	var names []string
	for rest, more := sub.plain, true; more; {
		var name string
		name, rest, more = strings.Cut(rest, "/")
		next := path[len(path)-1].below[name]
		if next == nil {
			return
		}
		path, names = append(path, next), append(names, name)
	}
	at := path[len(path)-1]
	if g := at.shared[sub.group]; sub.group != "" {
		if g == nil {
			return
		}
		i := g.of(sub.session)
		if i < 0 || g.members[i] != sub {
			return
		}
		g.members = slices.Delete(g.members, i, i+1)
		if len(g.members) == 0 {
			delete(at.shared, sub.group)
		}
		x.shared--
	} else {
		if at.own[sub.session] != sub {
			return
		}
		delete(at.own, sub.session)
	}
	x.count--
	x.changes.Add(1)
	for i := len(names) - 1; i >= 0 && path[i+1].empty(); i-- {
		delete(path[i].below, names[i])
	}
}

// counts gives how many there are, and how many of them are shared.
func (x *subscriptions) counts() (all, shared int) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.count, x.shared
}

// target is one session that gets a message.
type target struct {
	session *session
	qos     byte
	retain  bool // whether the retain flag of the message is kept
	ids     []int
	pos     uint64 // in its queue, once it has one
}

// match gives who gets a message on a topic, each session once (MQTT 5 section 3.3.4), with the highest QoS of its filters.
// Of each shared subscription one member is chosen: in turn, of those that are connected if there are any. may tells whether
// a session is permitted to have the topic. changes is to be compared with x.changes later.
func (x *subscriptions) match(name string, qos byte, from *session, may func(*session) bool) (found []target, changes uint64) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	changes = x.changes.Load()
	lists := 0
	visit := func(l *level) {
		if len(l.own)+len(l.shared) > 0 {
			lists++
		}
		for s, sub := range l.own {
			if sub.noLocal && s == from || !may(s) {
				continue
			}
			found = append(found, newTarget(sub, qos))
		}
		for _, g := range l.shared {
			lists++
			if sub := g.choose(may); sub != nil {
				found = append(found, newTarget(sub, qos))
			}
		}
	}
	x.root.walk(name, true, !strings.HasPrefix(name, "$"), visit)
	if lists > 1 && len(found) > 1 {
		found = merge(found)
	}
	return found, changes
}

func newTarget(sub *subscription, qos byte) target {
	t := target{session: sub.session, qos: min(qos, sub.qos), retain: sub.asPublished}
	if sub.id != 0 {
		t.ids = []int{sub.id}
	}
	return t
}

// walk visits the ends of all filters that mean a topic. wild is false for the first level of a topic that begins with "$",
// which wildcards do not mean (MQTT 3.1.1 section 4.7.2).
func (l *level) walk(rest string, more, wild bool, visit func(*level)) {
	if !more {
		visit(l)
		if h := l.below["#"]; h != nil { // "sport/#" means "sport" too
			visit(h)
		}
		return
	}
	name, rest, more := strings.Cut(rest, "/")
	if wild {
		if h := l.below["#"]; h != nil {
			visit(h)
		}
		if p := l.below["+"]; p != nil {
			p.walk(rest, more, true, visit)
		}
	}
	if next := l.below[name]; next != nil && name != "#" && name != "+" {
		next.walk(rest, more, true, visit)
	}
}

// choose takes the member whose turn it is.
func (g *shareGroup) choose(may func(*session) bool) *subscription {
	n := len(g.members)
	first := int(g.turn.Add(1) % uint32(n))
	var away *subscription
	for i := range n {
		sub := g.members[(first+i)%n]
		switch {
		case !may(sub.session):
		case sub.session.connected():
			return sub
		case away == nil && sub.session.durable():
			away = sub
		}
	}
	return away
}

// merge makes one of the targets with the same session.
func merge(found []target) []target {
	at := make(map[*session]int, len(found))
	out := found[:0]
	for _, t := range found {
		i, ok := at[t.session]
		if !ok {
			at[t.session] = len(out)
			out = append(out, t)
			continue
		}
		have := &out[i]
		have.qos, have.retain = max(have.qos, t.qos), have.retain || t.retain
		have.ids = append(have.ids, t.ids...)
		slices.Sort(have.ids)
		have.ids = slices.Compact(have.ids)
	}
	return out
}
