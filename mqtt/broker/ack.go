package broker

import (
	"github.com/mochi-mqtt/server/v2/packets"
)

// acknowledged handles PUBACK and PUBCOMP, and a PUBREC that refuses: the message is done with.
func (b *Broker) acknowledged(c *conn, id uint16, ends func(flight) bool) {
	s := c.session
	s.mu.Lock()
	f, ok := s.flight[id]
	if ok = ok && s.conn.Load() == c && ends(f); !ok {
		s.mu.Unlock()
		return
	}
	delete(s.flight, id)
	s.done(f.size)
	lasting := s.durable() && !s.gone
	if lasting {
		s.acked[f.pos] = ackedBy{}
	}
	s.mu.Unlock()
	if lasting {
		b.lazy.ack(ack{s: s, pos: f.pos, body: f.body})
	}
	c.wakeUp()
}

func (b *Broker) puback(c *conn, pk *packets.Packet) {
	b.acknowledged(c, pk.PacketID, func(f flight) bool { return f.qos == 1 })
}

func (b *Broker) pubcomp(c *conn, pk *packets.Packet) {
	b.acknowledged(c, pk.PacketID, func(f flight) bool { return f.qos == 2 })
}

// pubrec handles the first half of QoS 2. That the client has the message must be durable before PUBREL: after that it would
// take the same message for a new one.
func (b *Broker) pubrec(c *conn, pk *packets.Packet) error {
	s, id := c.session, pk.PacketID
	if pk.ReasonCode >= packets.ErrUnspecifiedError.Code {
		b.acknowledged(c, id, func(f flight) bool { return f.qos == 2 && !f.released })
		return nil
	}
	s.mu.Lock()
	f, ok := s.flight[id]
	ok = ok && s.conn.Load() == c && f.qos == 2
	s.mu.Unlock()
	if !ok {
		code := byte(0)
		if c.version == 5 {
			code = packets.ErrPacketIdentifierNotFound.Code
		}
		c.ack(packets.Pubrel, id, code)
		return nil
	}
	if !f.released {
		if err := b.releaseFlight(s, f); err != nil {
			if isNoSpace(err) {
				return packets.ErrServerBusy // it comes back and says it again
			}
			return packets.ErrServerUnavailable
		}
		s.mu.Lock()
		if now, ok := s.flight[id]; ok && now.pos == f.pos {
			s.bytes -= int64(now.size)
			now.released, now.body, now.size = true, 0, 0
			s.flight[id] = now
		}
		s.mu.Unlock()
	}
	c.ack(packets.Pubrel, id, 0)
	return nil
}

// releaseFlight notes in the Store that the client has a message.
func (b *Broker) releaseFlight(s *session, f flight) error {
	if !s.durable() {
		return nil
	}
	var ch *change
	return b.commit(Commit{
		Relief: true,
		Work: func(rows Rows) (err error) {
			if ch, err = b.begin(rows); err != nil {
				return err
			}
			key := queueKey(s.number, f.pos)
			if rows.Get(inQueue, key) == nil {
				return nil // its session has ended
			}
			if f.body != 0 {
				if err := b.release(rows, f.body); err != nil {
					return err
				}
			}
			return rows.Put(inQueue, key, appendQueued(nil, &queued{qos: 2, released: true}))
		},
		Settled: func(ok bool) { ch.settle(ok) },
	})
}

// pubrel ends a QoS 2 message of the client. That must be durable before PUBCOMP: then the client uses the packet id again,
// and a message that is sent twice because of a crash would be taken for the one before.
func (b *Broker) pubrel(c *conn, pk *packets.Packet) error {
	s, id := c.session, pk.PacketID
	s.mu.Lock()
	known := s.received[id]
	s.mu.Unlock()
	if known && s.durable() {
		err := b.commit(Commit{Relief: true, Work: func(rows Rows) error {
			return rows.Delete(inReceived, receivedKey(s.number, id))
		}})
		if err != nil {
			return packets.ErrServerBusy // it comes back and says it again
		}
	}
	s.mu.Lock()
	delete(s.received, id)
	s.mu.Unlock()
	code := byte(0)
	if !known && c.version == 5 {
		code = packets.ErrPacketIdentifierNotFound.Code
	}
	c.ack(packets.Pubcomp, id, code)
	return nil
}
