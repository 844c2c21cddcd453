package broker

import (
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/gatepost/gatepost/mqtt/topic"
)

// subscribing is a SUBSCRIBE that is worked on.
type subscribing struct {
	b     *Broker
	c     *conn
	id    uint16
	codes []byte
	subs  []*subscription // those that are permitted, at the place of their codes; else nil
	bytes int             // of the filters that the session has and gets
	*change
	before []*subscription // what each took the place of
	sends  []sending       // retained messages that are in the queue
}

type sending struct {
	m    *message
	item item
}

// subscribe handles a SUBSCRIBE. The subscriptions are durable before the SUBACK, together with the retained messages of
// QoS 1 and 2 that they bring.
func (b *Broker) subscribe(c *conn, pk *packets.Packet) error {
	if code := pk.SubscribeValidate(); code != packets.CodeSuccess {
		return code
	}
	p := &subscribing{b: b, c: c, id: pk.PacketID, bytes: c.session.filterBytes()}
	for i := range pk.Filters {
		code, sub := p.check(&pk.Filters[i])
		if code >= packets.ErrUnspecifiedError.Code && c.version < 5 {
			code = packets.ErrUnspecifiedError.Code // MQTT 3.1.1 section 3.9.3
		}
		p.codes, p.subs = append(p.codes, code), append(p.subs, sub)
	}
	var err error
	if c.session.durable() {
		err = p.durably()
	} else {
		p.add()
		p.answer()
		err = b.commit(Commit{}) // whoever has not found the new subscription is done: what he retains can be seen
	}
	if err == nil {
		err = p.sendRetained()
	}
	return err
}

// check decides about one filter.
func (p *subscribing) check(f *packets.Subscription) (code byte, sub *subscription) {
	s := p.c.session
	group, plain, ok := parseSubscription(f.Filter)
	switch {
	case !ok || f.RetainHandling > 2:
		return packets.ErrTopicFilterInvalid.Code, nil
	case f.NoLocal && group != "":
		return packets.ErrProtocolViolationInvalidSharedNoLocal.Code, nil // MQTT 5 section 3.8.3.1
	case !p.b.maySubscribe(s, f.Filter):
		return packets.ErrNotAuthorized.Code, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, there := s.subs[f.Filter]; !there {
		if len(s.subs)+len(p.subs) >= p.b.cfg.Limits.Subscriptions || p.bytes+len(f.Filter) > maxFilterBytes {
			return packets.ErrQuotaExceeded.Code, nil
		}
		p.bytes += len(f.Filter)
	}
	return f.Qos, &subscription{
		session: s, filter: f.Filter, group: group, plain: plain, qos: f.Qos,
		noLocal: f.NoLocal, asPublished: f.RetainAsPublished, handling: f.RetainHandling, id: f.Identifier,
	}
}

// add puts the subscriptions in place.
func (p *subscribing) add() {
	s := p.c.session
	p.before = make([]*subscription, len(p.subs))
	for i, sub := range p.subs {
		if sub == nil {
			continue
		}
		s.mu.Lock()
		gone := s.gone
		if !gone {
			s.subs[sub.filter] = sub
		}
		s.mu.Unlock()
		if gone {
			continue
		}
		p.before[i] = p.b.subs.add(sub)
		s.mu.Lock()
		gone = s.gone
		s.mu.Unlock()
		if gone { // it has ended meanwhile, and may have been without sub when it took its subscriptions out
			p.b.subs.remove(sub)
		}
	}
}

// takeBack undoes add.
func (p *subscribing) takeBack() {
	s := p.c.session
	for i := len(p.subs) - 1; i >= 0; i-- {
		sub, before := p.subs[i], p.before[i]
		if sub == nil {
			continue
		}
		s.mu.Lock()
		if before != nil {
			s.subs[sub.filter] = before
		} else {
			delete(s.subs, sub.filter)
		}
		s.mu.Unlock()
		if before != nil {
			p.b.subs.add(before)
		} else {
			p.b.subs.remove(sub)
		}
	}
}

// durably makes the subscriptions of a durable session. Those that could not be stored are refused, unless the session
// itself is in memory only.
func (p *subscribing) durably() error {
	bytes := 0
	for _, sub := range p.subs {
		if sub != nil {
			bytes += len(sub.filter) + 64
		}
	}
	err := p.b.commit(Commit{Work: p.work, Settled: p.settled, Bytes: bytes, Relief: true})
	switch {
	case err == nil:
		return nil
	case !isNoSpace(err):
		return packets.ErrServerUnavailable
	}
	s := p.c.session
	s.mu.Lock()
	memory := s.dirty
	s.mu.Unlock()
	if memory {
		p.add()
		p.answer()
		return p.b.commit(Commit{})
	}
	for i, sub := range p.subs {
		if sub == nil {
			continue
		}
		p.subs[i], p.codes[i] = nil, packets.ErrQuotaExceeded.Code
		if p.c.version < 5 {
			p.codes[i] = packets.ErrUnspecifiedError.Code
		}
	}
	p.answer()
	return nil
}

func (p *subscribing) work(rows Rows) (err error) {
	if p.change, err = p.b.begin(rows); err != nil {
		return err
	}
	s := p.c.session
	p.sends = nil
	full := false // then no retained message pushes another out, or many filters could keep all Works waiting
	p.add()
	for i, sub := range p.subs {
		if sub == nil {
			continue
		}
		if err := rows.Put(inSubscriptions, subscriptionKey(s.number, sub.filter), sub.options()); err != nil {
			return err
		}
		if full || sub.qos == 0 || !sub.wantsRetained(p.before[i]) {
			continue
		}
		for _, m := range p.b.retained.match(sub.topicFilter(), time.Now(), true) {
			if m.qos == 0 || !p.b.maySubscribe(s, m.topic) {
				continue
			}
			if full = !s.hasRoom(m.size(), p.b.queue); full {
				p.b.tellDropped(s)
				break
			}
			it := sub.retainedItem(m)
			q := queued{qos: it.qos, retain: true, ids: it.ids, m: m}
			if it.pos, err = p.place(rows, s, &q); err != nil {
				return err
			}
			if it.size = q.size; it.pos != 0 {
				p.sends = append(p.sends, sending{m, it})
			}
		}
	}
	return nil
}

func (p *subscribing) settled(ok bool) {
	p.settle(ok)
	if !ok {
		p.takeBack()
		return
	}
	p.answer()
	for _, send := range p.sends {
		p.c.session.push(send.item)
	}
}

// answer sends the SUBACK.
func (p *subscribing) answer() {
	p.c.send(&packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Suback}, PacketID: p.id, ReasonCodes: p.codes})
}

// sendRetained sends the retained messages that are not in a queue in the Store. It takes as long as the client does.
func (p *subscribing) sendRetained() error {
	b, s := p.b, p.c.session
	limit := b.cfg.Limits.WriteBuffer
	for i, sub := range p.subs {
		if sub == nil || !sub.wantsRetained(p.before[i]) {
			continue
		}
		for _, m := range b.retained.match(sub.topicFilter(), time.Now(), false) {
			it := sub.retainedItem(m)
			if !b.maySubscribe(s, m.topic) || it.qos > 0 && s.durable() {
				continue
			}
			if it.qos > 0 {
				for range s.keep(it, b.boundsOf(s)) {
					b.tellDropped(s)
				}
				continue
			}
			s.fastRoom(p.c, limit)
			if !s.pushFast(it, limit) {
				b.tellSlow(s)
			}
		}
	}
	return nil
}

// wantsRetained tells whether a subscription brings retained messages. before is what it took the place of, if anything.
func (sub *subscription) wantsRetained(before *subscription) bool {
	return sub.group == "" && (sub.handling == 0 || sub.handling == 1 && before == nil)
}

func (sub *subscription) topicFilter() topic.Filter {
	f, err := topic.ParseFilter(sub.plain)
	if err != nil {
		return topic.Filter{} // not of a subscription that was made; it matches nothing
	}
	return f
}

func (sub *subscription) retainedItem(m *message) item {
	it := item{m: m, qos: min(m.qos, sub.qos), retain: true, size: m.size()}
	if sub.id != 0 {
		it.ids = []int{sub.id}
	}
	return it
}

// unsubscribe handles an UNSUBSCRIBE. It is durable before the UNSUBACK, or the connection ends.
func (b *Broker) unsubscribe(c *conn, pk *packets.Packet) error {
	if code := pk.UnsubscribeValidate(); code != packets.CodeSuccess {
		return code
	}
	s := c.session
	codes := make([]byte, len(pk.Filters))
	var gone []*subscription
	for i := range pk.Filters {
		filter := pk.Filters[i].Filter
		s.mu.Lock()
		sub := s.subs[filter]
		delete(s.subs, filter)
		s.mu.Unlock()
		if sub == nil {
			codes[i] = packets.CodeNoSubscriptionExisted.Code
			continue
		}
		b.subs.remove(sub)
		gone = append(gone, sub)
	}
	if s.durable() && len(gone) > 0 {
		err := b.commit(Commit{Relief: true, Work: func(rows Rows) error {
			for _, sub := range gone {
				if err := rows.Delete(inSubscriptions, subscriptionKey(s.number, sub.filter)); err != nil {
					return err
				}
			}
			return nil
		}})
		if err != nil {
			for _, sub := range gone {
				s.mu.Lock()
				s.subs[sub.filter] = sub
				s.mu.Unlock()
				b.subs.add(sub)
			}
			return packets.ErrServerBusy // the connection ends; the client asks again
		}
	}
	c.send(&packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsuback}, PacketID: pk.PacketID, ReasonCodes: codes})
	return nil
}
