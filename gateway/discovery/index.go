package discovery

import (
	"slices"
	"strings"
	"sync"

	"github.com/gatepost/gatepost/mqtt/convention"
	"github.com/gatepost/gatepost/mqtt/topic"
)

// sink is somebody who wants the messages of a topic: a reading, a trigger, a source of availability, or the answer to a
// command, which the index needs to know and nothing more.
type sink struct {
	group *group
	use   use
	i, j  int // index of the reading or trigger; of the availability and its source
}

type use uint8

const (
	useReading use = iota
	useTrigger
	useAvailability
	useAnswer
)

// index finds who wants a topic: exact topics in a map, filters in a tree of levels. The owner of the Host changes it;
// wants may be asked by anybody.
type index struct {
	mu    sync.RWMutex
	exact map[string][]sink // lists are replaced, never changed
	wild  map[topic.Filter]int
	tree  node
}

// node is a level of the tree.
type node struct {
	next        map[string]*node // "+" among them
	sinks       []sink           // of filters that end here
	rest        []sink           // of filters that have "#" here
	conventions []convention.Convention
	all         []convention.Convention // by "#"
}

func newIndex() *index { return &index{exact: map[string][]sink{}, wild: map[topic.Filter]int{}} }

// put adds a sink to a filter, which is valid.
func (x *index) put(filter string, s sink) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !strings.ContainsAny(filter, "+#") {
		x.exact[filter] = append(slices.Clip(x.exact[filter]), s)
		return
	}
	f, err := topic.ParseFilter(filter)
	if err != nil {
		return
	}
	x.wild[f]++
	n, rest := x.walk(filter)
	if rest {
		n.rest = append(slices.Clip(n.rest), s)
	} else {
		n.sinks = append(slices.Clip(n.sinks), s)
	}
}

// remove takes what a group wants from a filter.
func (x *index) remove(filter string, g *group) {
	x.mu.Lock()
	defer x.mu.Unlock()
	without := func(list []sink) []sink {
		return slices.DeleteFunc(slices.Clone(list), func(s sink) bool { return s.group == g })
	}
	if !strings.ContainsAny(filter, "+#") {
		if list := without(x.exact[filter]); len(list) > 0 {
			x.exact[filter] = list
		} else {
			delete(x.exact, filter)
		}
		return
	}
	n, rest := x.walk(filter)
	before := len(n.rest) + len(n.sinks)
	if rest {
		n.rest = without(n.rest)
	} else {
		n.sinks = without(n.sinks)
	}
	if f, err := topic.ParseFilter(filter); err == nil {
		if x.wild[f] -= before - len(n.rest) - len(n.sinks); x.wild[f] <= 0 {
			delete(x.wild, f)
			x.tree.prune(strings.Split(filter, "/"))
		}
	}
}

// announcements adds the filter of a convention.
func (x *index) announcements(f topic.Filter, c convention.Convention) {
	x.mu.Lock()
	defer x.mu.Unlock()
	n, rest := x.walk(f.String())
	if rest {
		n.all = append(n.all, c)
	} else {
		n.conventions = append(n.conventions, c)
	}
}

// walk finds or makes the node of a filter; rest says that the filter goes on with "#".
func (x *index) walk(filter string) (n *node, rest bool) {
	n = &x.tree
	for level := range strings.SplitSeq(filter, "/") {
		if level == "#" {
			return n, true
		}
		next := n.next[level]
		if next == nil {
			if n.next == nil {
				n.next = map[string]*node{}
			}
			next = &node{}
			n.next[level] = next
		}
		n = next
	}
	return n, false
}

// prune forgets the nodes of a filter that hold nothing any more.
func (n *node) prune(levels []string) (empty bool) {
	if len(levels) > 0 && levels[0] != "#" {
		if next := n.next[levels[0]]; next != nil && next.prune(levels[1:]) {
			delete(n.next, levels[0])
		}
	}
	return len(n.next)+len(n.sinks)+len(n.rest)+len(n.conventions)+len(n.all) == 0
}

// found is what find gives; its lists are used again.
type found struct {
	sinks       []sink
	conventions []convention.Convention
}

// find gives who wants a topic.
func (x *index) find(name string, f *found) {
	f.sinks, f.conventions = append(f.sinks[:0], x.exact[name]...), f.conventions[:0]
	x.tree.find(name, true, f)
}

func (n *node) find(name string, more bool, f *found) {
	f.sinks = append(f.sinks, n.rest...)
	for _, c := range n.all {
		f.add(c)
	}
	if !more {
		f.sinks = append(f.sinks, n.sinks...)
		for _, c := range n.conventions {
			f.add(c)
		}
		return
	}
	if n.next == nil {
		return
	}
	level, rest, more := strings.Cut(name, "/")
	if next := n.next[level]; next != nil {
		next.find(rest, more, f)
	}
	if next := n.next["+"]; next != nil {
		next.find(rest, more, f)
	}
}

func (f *found) add(c convention.Convention) {
	if !slices.Contains(f.conventions, c) {
		f.conventions = append(f.conventions, c)
	}
}

// wants says whether anybody wants a topic. Safe for concurrent use.
func (x *index) wants(name string) bool {
	if strings.HasPrefix(name, "$") { // no wildcard reaches it, and nobody may name it (convention)
		return false
	}
	var f found
	x.mu.RLock()
	defer x.mu.RUnlock()
	x.find(name, &f)
	if len(f.sinks) > 0 {
		return true
	}
	return slices.ContainsFunc(f.conventions, func(c convention.Convention) bool { return c.Key(name) != "" })
}

// filters lists what the sinks want, exact topics among them.
func (x *index) filters() []topic.Filter {
	x.mu.RLock()
	defer x.mu.RUnlock()
	out := make([]topic.Filter, 0, len(x.exact)+len(x.wild))
	for name := range x.exact {
		if f, err := topic.ParseFilter(name); err == nil {
			out = append(out, f)
		}
	}
	for f := range x.wild {
		out = append(out, f)
	}
	return out
}
