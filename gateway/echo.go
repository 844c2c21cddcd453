package gateway

import (
	"sync"
	"time"

	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/mqtt/topic"
)

// echo is the loop guard towards MQTT: what we publish on a topic that a rule reads comes back from an outside broker
// once, and is not an event then. Safe for concurrent use.
type echo struct {
	mu   sync.Mutex
	sent map[uint64][]time.Time // when, by hash of topic and payload
}

// What we published is waited for so long, and at most so many are.
const (
	echoTime = 10 * time.Second
	maxEcho  = 1024
)

func newEcho() *echo { return &echo{sent: map[uint64][]time.Time{}} }

// expect says that m was published by us and will come back.
func (e *echo) expect(m topic.Message) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.sent) >= maxEcho {
		for k, list := range e.sent {
			if m.Time.Sub(list[len(list)-1]) > echoTime {
				delete(e.sent, k)
			}
		}
	}
	h := hash(m)
	if list, ok := e.sent[h]; ok || len(e.sent) < maxEcho {
		e.sent[h] = append(list[max(len(list)-maxEcho, 0):], m.Time)
	}
}

// ours says whether m is something we published, once for each time.
func (e *echo) ours(m topic.Message) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.sent) == 0 {
		return false
	}
	h := hash(m)
	list := e.sent[h]
	for len(list) > 0 && m.Time.Sub(list[0]) > echoTime {
		list = list[1:]
	}
	found := len(list) > 0
	if found {
		list = list[1:]
	}
	if len(list) == 0 {
		delete(e.sent, h)
	} else {
		e.sent[h] = list
	}
	return found
}

// shownIDs knows which of our content ids came back from the homeserver lately: the loop guard towards Matrix, and proof
// that a send whose answer was lost arrived. Safe for concurrent use.
type shownIDs struct {
	mu    sync.Mutex
	event map[string]ids.EventID
	order []string
}

const maxShown = 4096

func newShownIDs() *shownIDs { return &shownIDs{event: map[string]ids.EventID{}} }

func (s *shownIDs) add(id string, e ids.EventID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.event[id]; !ok {
		s.order = append(s.order, id)
	}
	s.event[id] = e
	if len(s.order) > maxShown {
		delete(s.event, s.order[0])
		s.order = s.order[1:]
	}
}

func (s *shownIDs) get(id string) (ids.EventID, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.event[id]
	return e, ok
}
