package broker

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/gatepost/gatepost/internal/logkey"
)

// sessions are all sessions by id. Safe for concurrent use; its lock comes before that of a session.
type sessions struct {
	mu     sync.Mutex
	byID   map[string]*session
	number uint64 // the last one given
}

// sessionID is what a session is kept by: ids of different accounts are different sessions.
func sessionID(a *account, client string) string { return a.name() + "\x00" + client }

// splitID undoes sessionID. Neither part can hold NUL.
func splitID(id string) (user, client string) {
	user, client, _ = strings.Cut(id, "\x00")
	return user, client
}

func newSession(id string, number uint64) *session {
	s := &session{
		id: id, number: number, subs: map[string]*subscription{}, received: map[uint16]bool{}, flight: map[uint16]flight{},
		acked: map[uint64]ackedBy{},
	}
	s.account, s.client = splitID(id)
	return s
}

func (x *sessions) get(id string) *session {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.byID[id]
}

func (x *sessions) all() []*session {
	x.mu.Lock()
	defer x.mu.Unlock()
	all := make([]*session, 0, len(x.byID))
	for _, s := range x.byID {
		all = append(all, s)
	}
	return all
}

func (x *sessions) len() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.byID)
}

// errSessions is why a session was not made.
var errSessions = errors.New("there are too many sessions")

// enter gives c its session: the one that its client has, if it may be resumed, else a new one. old is the one that was
// there, the same or one that has to end; the connection that it had, if any.
func (x *sessions) enter(c *conn, clean bool, expiry time.Duration, most int) (s, old *session, taken *conn, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if s = x.byID[c.id]; s == nil && len(x.byID) >= most {
		return nil, nil, nil, errSessions
	}
	if s != nil {
		s.mu.Lock()
		taken = s.conn.Load()
		if !clean && s.durable() && s.expiry > 0 && !s.over(time.Now()) {
			s.take(c)
			s.expiry = expiry
			s.mu.Unlock()
			return s, s, taken, nil
		}
		s.gone = true
		s.conn.Store(nil)
		s.mu.Unlock()
		old = s
	}
	number := uint64(0)
	if expiry > 0 {
		x.number++
		number = x.number
	}
	s = newSession(c.id, number)
	s.mu.Lock()
	s.take(c)
	s.expiry = expiry
	s.mu.Unlock()
	x.byID[c.id] = s
	return s, old, taken, nil
}

// drop forgets s, unless another one has its id by now.
func (x *sessions) drop(s *session) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.byID[s.id] == s {
		delete(x.byID, s.id)
	}
	s.mu.Lock()
	s.gone = true
	s.conn.Store(nil)
	s.mu.Unlock()
}

// attach makes c the connection of its client's session. present tells whether that was there. What must be durable is so
// before CONNACK; without room in the Store a session begins in memory and is stored when there is room.
func (b *Broker) attach(c *conn, pk *packets.Packet) (present bool, code packets.Code) {
	expiry := b.expiryOf(pk)
	s, old, taken, err := b.sessions.enter(c, pk.Connect.Clean, expiry, b.cfg.Limits.Sessions)
	if err != nil {
		return false, packets.ErrQuotaExceeded
	}
	c.session, c.expiry = s, expiry
	resumed := old == s
	if old != nil && !resumed {
		b.unsubscribeAll(old)
	}
	if taken != nil {
		b.disconnect(taken, packets.ErrSessionTakenOver)
	}
	hadWill := b.replaceWill(c, resumed || old == nil)
	if err := b.storeAttached(c, old, hadWill); err != nil {
		b.sessions.drop(s)
		b.unsubscribeAll(s)
		return false, packets.ErrServerUnavailable
	}
	return resumed, packets.CodeSuccess
}

// storeAttached stores what CONNECT has changed.
func (b *Broker) storeAttached(c *conn, old *session, hadWill bool) error {
	s := c.session
	replaced := old != nil && old != s && old.durable()
	if !s.durable() && !replaced && c.will == nil && !hadWill {
		return nil
	}
	if s.durable() && s != old {
		s.mu.Lock()
		s.dirty = true
		s.mu.Unlock()
	}
	var ch *change
	err := b.commit(Commit{
		Relief: true,
		Bytes:  len(c.id) + 64,
		Work: func(rows Rows) (err error) {
			if ch, err = b.begin(rows); err != nil {
				return err
			}
			if replaced && !s.durable() {
				err = rows.Delete(inSessions, []byte(s.id))
			} else {
				err = ch.save(rows, s)
			}
			if err != nil {
				return err
			}
			return storeWill(rows, c)
		},
		Settled: func(ok bool) { ch.settle(ok) },
	})
	if replaced {
		b.lazy.end(old.number)
	}
	if err != nil && isNoSpace(err) {
		b.lazy.touch(s)
		if replaced {
			b.lazy.ack(ack{s: old, ended: old.id})
		}
		if b.news.due("attach") {
			b.log.Warn("session could not be stored, it is in memory until there is room", logkey.Client, s.client, logkey.Error, err)
		}
		return nil
	}
	return err
}

// expiryOf is how long the session of a CONNECT lives after its connection; 0: it ends with it.
func (b *Broker) expiryOf(pk *packets.Packet) time.Duration {
	most := b.cfg.Limits.SessionExpiry
	if pk.ProtocolVersion == 5 {
		return min(time.Duration(pk.Properties.SessionExpiryInterval)*time.Second, most)
	}
	if pk.Connect.Clean {
		return 0
	}
	return most
}

// detach notes that a connection has ended.
func (b *Broker) detach(c *conn) {
	s := c.session
	s.mu.Lock()
	if s.conn.Load() != c {
		s.mu.Unlock()
		return
	}
	s.leave()
	ends := !s.durable() || s.expiry == 0
	s.mu.Unlock()
	if ends {
		b.tryEnd(s)
		return
	}
	b.lazy.touch(s)
}

// endSession ends a session, whose connection is ignored from now on. An error means that this is not durable yet.
func (b *Broker) endSession(s *session) error {
	b.sessions.drop(s)
	b.unsubscribeAll(s)
	if !s.durable() {
		return nil
	}
	err := b.commit(Commit{Relief: true, Work: func(rows Rows) error { return deleteRecord(rows, s) }})
	b.lazy.end(s.number)
	if err != nil {
		b.lazy.ack(ack{s: s, ended: s.id})
		return fmt.Errorf("end of the session of %q: %w", s.client, err)
	}
	return nil
}

// deleteRecord deletes what the Store has of a session itself, unless another one has its id. Of a Work.
func deleteRecord(rows Rows, s *session) error {
	if r, err := decodeSessionRecord(rows.Get(inSessions, []byte(s.id))); err != nil || r.number != s.number {
		return nil
	}
	return rows.Delete(inSessions, []byte(s.id))
}

// tryEnd is endSession where nobody can be told.
func (b *Broker) tryEnd(s *session) {
	if err := b.endSession(s); err != nil && b.news.due("end") {
		b.log.Warn("end of a session could not be stored", logkey.Client, s.client, logkey.Error, err)
	}
}

func (b *Broker) unsubscribeAll(s *session) {
	s.mu.Lock()
	subs := s.subs
	s.subs = map[string]*subscription{}
	s.mu.Unlock()
	for _, sub := range subs {
		b.subs.remove(sub)
	}
}
