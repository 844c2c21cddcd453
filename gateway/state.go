package gateway

import (
	"sync"
	"time"

	"github.com/gatepost/gatepost/gateway/media"
	"github.com/gatepost/gatepost/mqtt/topic"
)

// state is how the gateway fares. Safe for concurrent use.
type state struct {
	mu       sync.Mutex
	stuck    string // why nothing can be sent
	diskFull bool
	told     map[string]time.Time // alerts by key
}

// sending notes how the homeserver took the latest send: nil when it let us speak, why when it does not know us.
func (s *state) sending(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stuck = ""
	if why != nil {
		s.stuck = "the homeserver takes nothing from us: " + why.Error()
	}
}

// full notes whether the store takes anything, and says whether that is news.
func (s *state) full(is bool) (changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed = s.diskFull != is
	s.diskFull = is
	return changed
}

// why lists what keeps the gateway from doing its work; empty when nothing does.
func (s *state) why() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	if s.diskFull {
		out = append(out, "the store is full: messages wait unacknowledged")
	}
	if s.stuck != "" {
		out = append(out, s.stuck)
	}
	return out
}

// Time in which an alert with one key is told once.
const alertTime = 10 * time.Minute

// mayTell says whether an alert is due.
func (s *state) mayTell(key string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.told[key]) < alertTime {
		return false
	}
	if len(s.told) > 1000 {
		clear(s.told)
	}
	s.told[key] = now
	return true
}

// So many topics that no rule wants are remembered, and so many characters of a topic are shown.
const (
	maxUnmatched  = 200
	maxTopicShown = 200
)

// Unmatched is a topic that no rule wants.
type Unmatched struct {
	Topic string    `json:"topic"`
	Count int       `json:"count"`
	Last  time.Time `json:"last"`
	Bytes int       `json:"bytes"` // of the latest payload
}

// unmatched keeps the topics that came by lately and that no rule wants. Safe for concurrent use.
type unmatched struct {
	mu    sync.Mutex
	by    map[string]*Unmatched
	order []string
}

func (u *unmatched) add(m topic.Message) {
	u.mu.Lock()
	defer u.mu.Unlock()
	name, _ := media.Text([]byte(m.Topic), maxTopicShown)
	x := u.by[name]
	if x == nil {
		x = &Unmatched{Topic: name}
		u.by[name] = x
		u.order = append(u.order, name)
		if len(u.order) > maxUnmatched {
			delete(u.by, u.order[0])
			u.order = u.order[1:]
		}
	}
	x.Count++
	x.Last, x.Bytes = m.Time, len(m.Payload)
}

func (u *unmatched) list() []Unmatched {
	u.mu.Lock()
	defer u.mu.Unlock()
	out := make([]Unmatched, 0, len(u.order))
	for _, t := range u.order {
		out = append(out, *u.by[t])
	}
	return out
}
