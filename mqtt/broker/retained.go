package broker

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatepost/gatepost/mqtt/topic"
)

// retained are the retained messages. Safe for concurrent use, but for pending, which only Works use.
type retained struct {
	bounds bounds

	mu      sync.RWMutex
	byTopic map[string]*message
	bytes   int64
	own     int // of them about the broker itself, which are in memory only

	pending map[string]*message // of the transaction that is being made; nil message: deleted
}

// byName is the message of a topic, or nil.
func (r *retained) byName(name string) *message {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.byTopic[name]
}

func alive(m *message, now time.Time) *message {
	if m != nil && m.expired(now) {
		return nil
	}
	return m
}

// match gives the messages that a filter means, by topic. inWork is for a Work: it sees what earlier ones of the same
// transaction have done.
func (r *retained) match(f topic.Filter, now time.Time, inWork bool) (found []*message) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	see := func(name string, m *message) {
		if inWork {
			if p, ok := r.pending[name]; ok {
				m = p
			}
		}
		if m = alive(m, now); m != nil {
			found = append(found, m)
		}
	}
	if s := f.String(); !strings.ContainsAny(s, "+#") {
		see(s, r.byTopic[s])
		return found
	}
	for name, m := range r.byTopic {
		if f.Match(name) {
			see(name, m)
		}
	}
	if inWork {
		for name, m := range r.pending {
			if _, seen := r.byTopic[name]; !seen && m != nil && f.Match(name) {
				see(name, m)
			}
		}
	}
	slices.SortFunc(found, func(a, b *message) int { return cmp.Compare(a.topic, b.topic) })
	return found
}

// fits tells whether m may be retained. In a Work.
func (r *retained) fits(m *message) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	count, bytes := len(r.byTopic)-r.own, r.bytes
	for name, p := range r.pending {
		old := r.byTopic[name]
		switch {
		case p == nil && old != nil:
			count--
		case p != nil && old == nil:
			count++
		}
		bytes += weight(p) - weight(old)
	}
	old, pends := r.pending[m.topic]
	if !pends {
		old = r.byTopic[m.topic]
	}
	if old == nil {
		count++
	}
	bytes += weight(m) - weight(old)
	return count <= r.bounds.messages && bytes <= r.bounds.bytes || weight(m) <= weight(old)
}

func weight(m *message) int64 {
	if m == nil {
		return 0
	}
	return int64(m.size())
}

// prepare notes what a Work does to the Store: m takes the place of what is there, or, without a payload, deletes it.
func (r *retained) prepare(m *message) {
	if r.pending == nil {
		r.pending = map[string]*message{}
	}
	if len(m.payload) == 0 {
		r.pending[m.topic] = nil
		return
	}
	r.pending[m.topic] = m
}

// settle ends what prepare began.
func (r *retained) settle(m *message, ok bool) {
	delete(r.pending, m.topic)
	if ok {
		r.set(m, false)
	}
}

// set puts m in place, or, without a payload, deletes what is there. own is for what the broker tells about itself.
func (r *retained) set(m *message, own bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.byTopic[m.topic]
	if own {
		if old == nil && len(m.payload) > 0 {
			r.own++
		} else if old != nil && len(m.payload) == 0 {
			r.own--
		}
	} else {
		r.bytes -= weight(old)
	}
	if len(m.payload) == 0 {
		delete(r.byTopic, m.topic)
		return
	}
	if !own {
		r.bytes += weight(m)
	}
	r.byTopic[m.topic] = m
}

// expired lists topics whose message has expired.
func (r *retained) expired(now time.Time) (names []string) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for name, m := range r.byTopic {
		if m.expired(now) {
			names = append(names, name)
		}
	}
	return names
}

// len is how many there are that clients have retained.
func (r *retained) len() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.byTopic) - r.own
}
