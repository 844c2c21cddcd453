package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/gatepost/gatepost/internal/logkey"
	"github.com/gatepost/gatepost/mqtt/topic"
)

// Publish sends a message to the clients that subscribe to it, and returns when it is in the queue of each one. It does not
// tell whether anybody got it, and never comes back to Deliver. The payload is copied. After every error nothing went out;
// they have NotSent() bool, which is true.
func (b *Broker) Publish(ctx context.Context, name string, payload []byte, qos byte, retain bool) error {
	if err := b.checkPublish(ctx, name, payload, qos); err != nil {
		return notSent{fmt.Errorf("publish: %w", err)}
	}
	m := &message{topic: strings.Clone(name), payload: bytes.Clone(payload), qos: qos, retain: retain}
	if err := b.route(m, nil, 0); err != nil {
		return notSent{fmt.Errorf("publish to %q: %w", name, err)}
	}
	return nil
}

func (b *Broker) checkPublish(ctx context.Context, name string, payload []byte, qos byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := topic.ValidTopic(name); err != nil {
		return err
	}
	switch {
	case qos > 2:
		return fmt.Errorf("QoS %d is not 0, 1 or 2", qos)
	case len(name) > longestName:
		return fmt.Errorf("the topic has %d bytes, at most %d are possible", len(name), longestName)
	case len(payload) > b.cfg.MaxPayload:
		return fmt.Errorf("%q: %d bytes are more than the %d allowed", name, len(payload), b.cfg.MaxPayload)
	case !b.running.Load():
		return ErrNotRunning
	}
	return nil
}

// deliver gives a message of a client, by the id of its session, to Config.Deliver, if it is wanted.
func (b *Broker) deliver(client string, m *message, dup bool, id uint16) error {
	if !b.cfg.Wants(m.topic) {
		return nil
	}
	err := b.cfg.Deliver(b.delivering, topic.Message{
		Topic: m.topic, Payload: m.payload, QoS: m.qos, Dup: dup, PacketID: id, Client: client, Time: time.Now(),
	})
	if err != nil {
		b.m.failed.Inc()
	}
	return err
}

// published handles a PUBLISH of a client. What is acknowledged has been delivered and routed.
func (b *Broker) published(c *conn, pk *packets.Packet) error {
	s, id, qos := c.session, pk.PacketID, pk.FixedHeader.Qos
	if strings.ContainsAny(pk.TopicName, "+#") {
		return c.refusePublish(qos, id)
	}
	if code := pk.PublishValidate(0); code != packets.CodeSuccess {
		return code
	}
	if topic.ValidTopic(pk.TopicName) != nil || len(pk.TopicName) > longestName {
		return packets.ErrTopicNameInvalid
	}
	if len(pk.Payload) > b.cfg.MaxPayload {
		return packets.ErrPacketTooLarge
	}
	if c.stalled && qos > 0 {
		return nil // it comes again, after those before it
	}
	if qos == 2 {
		if known, full := s.knows(id, c.version == 5); known {
			c.ack(packets.Pubrec, id, 0)
			return nil
		} else if full {
			return packets.ErrReceiveMaximum
		}
	}
	if hasSysPrefix(pk.TopicName) || !b.mayPublish(s, pk.TopicName) {
		return c.refusePublish(qos, id)
	}
	m := newMessage(pk, time.Now())
	if err := b.deliver(s.id, m, pk.FixedHeader.Dup, id); err != nil {
		if b.news.due("deliver") {
			b.log.Warn("message could not be taken, its client is disconnected", logkey.Client, s.client, logkey.Error, err)
		}
		return packets.ErrServerBusy
	}
	received := uint16(0)
	if qos == 2 {
		received = id
	}
	switch err := b.route(m, s, received); {
	case errors.Is(err, errQuota) && c.version == 5 && qos > 0:
		b.m.quota.Inc()
		c.ack(ackType(qos), id, packets.ErrQuotaExceeded.Code)
	case err != nil && (errors.Is(err, errQuota) || isNoSpace(err)):
		b.m.quota.Inc()
		if qos > 0 {
			b.stall(c, err)
		}
	case err != nil:
		return packets.ErrServerUnavailable
	case qos > 0:
		c.ack(ackType(qos), id, 0)
	}
	return nil
}

func ackType(qos byte) byte {
	if qos == 2 {
		return packets.Pubrec
	}
	return packets.Puback
}

// hasSysPrefix tells whether a topic is one of the broker's own, in whatever case.
func hasSysPrefix(name string) bool {
	return len(name) >= 4 && strings.EqualFold(name[:4], "$SYS")
}

// refusePublish says no to a message that is not permitted. Before MQTT 5 there is no way to say so but to disconnect.
func (c *conn) refusePublish(qos byte, id uint16) error {
	switch {
	case qos == 0:
		return nil
	case c.version < 5:
		return packets.ErrNotAuthorized
	}
	c.ack(ackType(qos), id, packets.ErrNotAuthorized.Code)
	return nil
}

// knows tells whether the message of a QoS 2 packet id was taken already, and else whether the client has too many of them.
func (s *session) knows(id uint16, v5 bool) (known, full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.received[id], v5 && len(s.received) >= receiveMaximum
}

// stall leaves a message without acknowledgement for want of room, and all of QoS 1 and 2 that follow. For a while the client
// stays connected: it gets its messages, acknowledges them and can do all else. Then it is disconnected, and sends again, in
// order, what was not acknowledged.
func (b *Broker) stall(c *conn, why error) {
	if b.news.due("stall") {
		b.log.Warn("message could not be stored, its client must send again", logkey.Client, c.clientID, logkey.Error, why)
	}
	c.stalled = true
	c.stall = time.AfterFunc(b.cfg.Limits.StallTime, func() { b.disconnect(c, packets.ErrQuotaExceeded) })
}

// tellNotRetained counts a message that was not retained for want of room.
func (b *Broker) tellNotRetained(m *message) {
	b.m.quota.Inc()
	if b.news.due("retained") {
		b.log.Warn("message is not retained, there are too many", logkey.Topic, m.topic)
	}
}
