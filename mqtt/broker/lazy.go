package broker

import "sync"

// lazy is what the Store is to be told, but nobody waits for: it goes along with the next change, or goes by itself after a
// short time. Safe for concurrent use.
type lazy struct {
	due chan struct{} // holds one when there is something

	mu       sync.Mutex
	acks     []ack
	sessions map[*session]bool // whose record has changed
	ended    []uint64          // numbers of sessions whose rows are to be deleted
}

func newLazy() *lazy { return &lazy{due: make(chan struct{}, 1), sessions: map[*session]bool{}} }

func (l *lazy) notify() {
	select {
	case l.due <- struct{}{}:
	default:
	}
}

func (l *lazy) ack(a ack) {
	l.mu.Lock()
	l.acks = append(l.acks, a)
	l.mu.Unlock()
	l.notify()
}

func (l *lazy) takeAcks() []ack {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.acks
	l.acks = nil
	return all
}

// putBack undoes takeAcks.
func (l *lazy) putBack(all []ack) {
	if len(all) == 0 {
		return
	}
	l.mu.Lock()
	l.acks = append(all, l.acks...)
	l.mu.Unlock()
	l.notify()
}

func (l *lazy) touch(s *session) {
	l.mu.Lock()
	l.sessions[s] = true
	l.mu.Unlock()
	l.notify()
}

func (l *lazy) takeSessions() map[*session]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.sessions
	l.sessions = map[*session]bool{}
	return all
}

func (l *lazy) end(number uint64) {
	l.mu.Lock()
	l.ended = append(l.ended, number)
	l.mu.Unlock()
	l.notify()
}

func (l *lazy) takeEnded() []uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.ended
	l.ended = nil
	return all
}
