package broker

import (
	"bytes"
	"encoding/binary"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// fill appends packets that c may have now to out, about writeChunk bytes. more tells whether there may be others.
func (b *Broker) fill(c *conn, out []byte) (_ []byte, more bool) {
	s, now := c.session, time.Now()
	for len(out) < writeChunk {
		it, what := s.next(c, now)
		switch what {
		case foundNothing:
			return out, false
		case foundLater:
			if err := b.load(s, c); err != nil {
				b.fail(err)
				return out, false
			}
		case foundExpired:
			b.finish(c, &it)
		case foundItem:
			if it.released {
				out = appendAck(out, packets.Pubrel, packetID(it.pos), 0)
				continue
			}
			before := len(out)
			out = c.appendPublish(out, &it, now)
			if size := len(out) - before; c.maxPacket > 0 && size > int(c.maxPacket) { // MQTT 5 section 3.1.2.11.4
				out = out[:before]
				b.finish(c, &it)
				continue
			}
			b.stats.sent(len(out)-before, true)
		}
	}
	return out, true
}

// finish ends a message that is not sent. After a takeover the new connection has it, and decides about it.
func (b *Broker) finish(c *conn, it *item) {
	if it.pos == 0 {
		return
	}
	s := c.session
	s.mu.Lock()
	if s.conn.Load() != c {
		s.mu.Unlock()
		return
	}
	delete(s.flight, packetID(it.pos))
	s.done(it.size)
	lasting := s.durable() && !s.gone
	if lasting {
		s.acked[it.pos] = ackedBy{}
	}
	s.mu.Unlock()
	if lasting {
		b.lazy.ack(ack{s: s, pos: it.pos, body: it.m.body})
	}
}

// appendPublish encodes a PUBLISH.
func (c *conn) appendPublish(out []byte, it *item, now time.Time) []byte {
	m := it.m
	pk := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: it.qos, Retain: it.retain, Dup: it.dup && it.qos > 0},
		TopicName:   m.topic, Payload: m.payload, ProtocolVersion: c.version,
	}
	if it.pos != 0 {
		pk.PacketID = packetID(it.pos)
	}
	if c.version == 5 {
		pk.Mods.AllowResponseInfo = true
		m.apply(&pk.Properties, now)
		pk.Properties.SubscriptionIdentifier = it.ids
	}
	buf := bytes.NewBuffer(out)
	if err := pk.PublishEncode(buf); err != nil {
		return out // it has a packet id, so there is nothing to go wrong
	}
	return buf.Bytes()
}

// appendAck encodes PUBACK, PUBREC, PUBREL or PUBCOMP. A code other than 0 is for MQTT 5 only.
func appendAck(out []byte, kind byte, id uint16, code byte) []byte {
	head := kind << 4
	if kind == packets.Pubrel {
		head |= 2
	}
	if code == 0 {
		return binary.BigEndian.AppendUint16(append(out, head, 2), id)
	}
	return append(binary.BigEndian.AppendUint16(append(out, head, 3), id), code)
}

// load reads what comes next in the queue of a durable session from the Store.
func (b *Broker) load(s *session, c *conn) error {
	s.mu.Lock()
	from, settled := s.loaded+1, s.settled
	s.mu.Unlock()
	read, size, whole := make([]item, 0, tailItems/2), 0, true
	err := b.cfg.Store.View(func(rows Rows) error {
		rows.Each(inQueue, queueKey(s.number, from), func(k, v []byte) bool {
			number, rest, ok := splitKey(k)
			if !ok || number != s.number || len(rest) != 8 {
				return false
			}
			if len(read) == cap(read) || size > tailBytes/2 {
				whole = false
				return false
			}
			it := readItem(rows, v)
			it.pos = binary.BigEndian.Uint64(rest)
			read = append(read, it)
			size += it.size
			return true
		})
		return nil
	})
	if err != nil {
		return err
	}
	var lost []item
	s.mu.Lock()
	defer func() {
		s.mu.Unlock()
		for i := range lost {
			b.lazy.ack(ack{s: s, pos: lost[i].pos})
		}
	}()
	if s.conn.Load() != c {
		return nil
	}
	for _, it := range read {
		s.loaded = max(s.loaded, it.pos)
		if _, acked := s.acked[it.pos]; acked || it.pos <= s.evicted && !it.released {
			continue
		}
		if it.m == nil && !it.released {
			s.done(it.size)
			lost = append(lost, it)
			continue
		}
		s.append(it)
	}
	if whole && s.settled == settled { // else there may be one that was not there yet when we looked
		s.behind = false
	}
	return nil
}

// readItem is what a row of a queue stands for. One that cannot be read has no message.
func readItem(rows Rows, row []byte) item {
	q, err := decodeQueued(row, true)
	if err != nil {
		return item{size: len(row)}
	}
	it := item{m: q.m, qos: q.qos, retain: q.retain, released: q.released, ids: q.ids, size: len(row)}
	switch {
	case q.released:
		it.size = 0
	case q.body != 0:
		it.size = q.size
		if m, err := decodeMessage(rows.Get(inMessages, numberKey(q.body))); err == nil {
			m.body = q.body
			it.m = m
		}
	}
	return it
}
