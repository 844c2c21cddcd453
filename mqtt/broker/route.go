package broker

import (
	"errors"
	"time"
)

// publication is a message on its way to all who have subscribed to its topic.
type publication struct {
	b    *Broker
	m    *message
	from *session // nil: the broker itself
	id   uint16   // QoS 2: the packet id under which from sent it; 0: none

	targets []target
	changes uint64 // of subscriptions, when targets were found
	*change        // of the last run of work

	// What work decided.
	again    bool // id is one that was received before: the message has been routed
	refused  bool // a queue is full, or too much is retained
	retained bool
}

// errQuota is why a message was not taken: a queue that must not drop anything is full, or too much is retained.
var errQuota = errors.New("a queue is full, or there are too many retained messages")

// route gives m to all who have subscribed, and retains it if it says so. When it returns nil, all that must survive is
// durable: the queues of durable sessions, what is retained, and, with an id, that it was received. errQuota, and an error
// that says NoSpace, mean that nobody got it. Per caller, messages arrive in order.
func (b *Broker) route(m *message, from *session, id uint16) error {
	p := &publication{b: b, m: m, from: from, id: id}
	p.match()
	if !p.stored() {
		if p.full() {
			return errQuota
		}
		if id != 0 && !from.receive(id) {
			return nil
		}
		p.hand()
		return nil
	}
	bytes := m.size() + 64
	for i := range p.targets {
		if p.lasting(i) {
			bytes += 64
		}
	}
	if m.retain {
		bytes += m.size()
	}
	err := b.commit(Commit{Work: p.work, Settled: p.settled, Bytes: bytes})
	if err == nil && p.refused {
		err = errQuota
	}
	return err
}

func (p *publication) match() {
	may := func(s *session) bool { return p.b.maySubscribe(s, p.m.topic) }
	p.targets, p.changes = p.b.subs.match(p.m.topic, p.m.qos, p.from, may)
}

// lasting tells whether a target's message goes into the Store.
func (p *publication) lasting(i int) bool {
	return p.targets[i].qos > 0 && p.targets[i].session.durable()
}

// stored tells whether anything of p has to be in the Store.
func (p *publication) stored() bool {
	if p.m.retain || p.id != 0 && p.from.durable() {
		return true
	}
	for i := range p.targets {
		if p.lasting(i) {
			return true
		}
	}
	return false
}

// full tells whether p is refused because a queue is full.
func (p *publication) full() bool {
	if !p.b.cfg.Queue.Refuse || p.m.qos == 0 {
		return false
	}
	for i := range p.targets {
		t := &p.targets[i]
		if t.qos > 0 && !t.session.hasRoom(p.m.size(), p.b.boundsOf(t.session)) {
			return true
		}
	}
	return false
}

// work is the Work of p.
func (p *publication) work(rows Rows) error {
	b, m := p.b, p.m
	ch, err := b.begin(rows)
	if err != nil {
		return err
	}
	p.change, p.again, p.refused, p.retained = ch, false, false, false
	if p.changes != b.subs.changes.Load() {
		p.match()
	}
	if m.retain {
		p.retained = len(m.payload) == 0 || b.retained.fits(m)
		p.refused = !p.retained && p.from != nil && p.from.speaks5()
	}
	if p.refused = p.refused || p.full(); p.refused {
		return nil
	}
	if p.id != 0 {
		if p.again = !p.from.receive(p.id); p.again {
			return nil
		}
		if p.from.durable() {
			if err := rows.Put(inReceived, receivedKey(p.from.number, p.id), nil); err != nil {
				return err
			}
		}
	}
	if p.retained {
		if err := b.storeRetained(rows, m); err != nil {
			return err
		}
	}
	return p.place(rows)
}

// place puts m into the queues in the Store.
func (p *publication) place(rows Rows) error {
	lasting := 0
	for i := range p.targets {
		p.targets[i].pos = 0
		if p.lasting(i) {
			lasting++
		}
	}
	m := p.m
	if lasting > 1 || m.body != 0 { // of a former run of work
		own := *m
		own.body = 0
		if lasting > 1 {
			p.b.nextBody++
			own.body = p.b.nextBody
		}
		m, p.m = &own, &own
	}
	queues := 0
	for i := range p.targets {
		if !p.lasting(i) {
			continue
		}
		t := &p.targets[i]
		q := queued{qos: t.qos, retain: t.retain && m.retain, ids: t.ids, body: m.body, size: m.size(), expires: m.expires, m: m}
		pos, err := p.change.place(rows, t.session, &q)
		if err != nil {
			return err
		}
		if t.pos = pos; pos != 0 {
			queues++
		}
	}
	if m.body != 0 && queues > 0 {
		return share(rows, m, queues)
	}
	return nil
}

// settled is the Settled of p.
func (p *publication) settled(ok bool) {
	p.settle(ok)
	if p.retained && !p.refused && !p.again {
		p.b.retained.settle(p.m, ok)
	}
	switch {
	case p.refused || p.again:
	case ok:
		if p.m.retain && !p.retained {
			p.b.tellNotRetained(p.m)
		}
		p.hand()
	case p.id != 0:
		p.from.unreceive(p.id)
	}
}

// hand gives m to those who are connected.
func (p *publication) hand() {
	b := p.b
	for i := range p.targets {
		t := &p.targets[i]
		it := item{m: p.m, pos: t.pos, size: p.m.size(), qos: t.qos, retain: t.retain && p.m.retain, ids: t.ids}
		switch s := t.session; {
		case t.pos != 0:
			s.push(it)
		case t.qos == 0:
			if !s.pushFast(it, b.cfg.Limits.WriteBuffer) {
				b.tellSlow(s)
			}
		case !s.durable():
			for range s.keep(it, b.boundsOf(s)) {
				b.tellDropped(s)
			}
		}
	}
}

// boundsOf is what may wait for a session: of one that is not durable it waits in memory.
func (b *Broker) boundsOf(s *session) bounds {
	if s.durable() {
		return b.queue
	}
	return bounds{b.queue.messages, min(b.queue.bytes, int64(b.cfg.Limits.MemoryQueue))}
}

// storeRetained writes a retained message, or deletes one. Of a Work.
func (b *Broker) storeRetained(rows Rows, m *message) error {
	b.retained.prepare(m)
	if len(m.payload) == 0 {
		return rows.Delete(inRetained, []byte(m.topic))
	}
	return rows.Put(inRetained, []byte(m.topic), appendMessage(nil, m))
}

// receive notes a packet id of QoS 2; false: it is there already.
func (s *session) receive(id uint16) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.received[id] {
		return false
	}
	s.received[id] = true
	return true
}

func (s *session) unreceive(id uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.received, id)
}

func (s *session) speaks5() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.version == 5
}

// commit is Store.Commit. An error that nobody can mend ends Run.
func (b *Broker) commit(c Commit) error {
	began := time.Now()
	err := b.cfg.Store.Commit(c)
	b.m.committed.Observe(time.Since(began).Seconds())
	if err != nil && !isNoSpace(err) {
		b.fail(err)
	}
	return err
}

// isNoSpace tells whether a later try may succeed.
func isNoSpace(err error) bool {
	var e interface{ NoSpace() bool }
	return errors.As(err, &e) && e.NoSpace()
}
