package broker

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/gatepost/gatepost/mqtt/topic"
)

// Publish sends a message to the clients that subscribe to it, and returns when it was handed to each one's queue. It does
// not tell whether anybody got it, and never comes back to Deliver. The payload is copied. After every error nothing went
// out; they have NotSent() bool, which is true.
func (b *Broker) Publish(ctx context.Context, name string, payload []byte, qos byte, retain bool) error {
	if err := b.checkPublish(ctx, name, payload, qos); err != nil {
		return notSent{fmt.Errorf("publish: %w", err)}
	}
	err := b.inject(packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: qos, Retain: retain},
		TopicName:   strings.Clone(name),
		Payload:     bytes.Clone(payload),
	})
	if err != nil {
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
	case len(payload) > b.cfg.MaxPayload:
		return fmt.Errorf("%q: %d bytes are more than the %d allowed", name, len(payload), b.cfg.MaxPayload)
	case !b.running.Load():
		return ErrNotRunning
	}
	return nil
}

// inject routes a message of ours or a will, which was committed before. The gate must not be held.
func (b *Broker) inject(pk packets.Packet) error {
	pk.PacketID = uint16(pk.FixedHeader.Qos) // the library wants one with QoS 1 and 2, and does not use it
	b.gate.RLock()
	defer b.gate.RUnlock()
	return b.server.InjectPacket(b.self, pk)
}

// deliver gives a message of a client to Config.Deliver, if it is wanted.
func (b *Broker) deliver(cl *mqtt.Client, pk packets.Packet) error {
	if !b.cfg.Wants(pk.TopicName) {
		return nil
	}
	err := b.cfg.Deliver(b.delivering, topic.Message{
		Topic:    pk.TopicName,
		Payload:  pk.Payload,
		QoS:      pk.FixedHeader.Qos,
		Dup:      pk.FixedHeader.Dup,
		PacketID: pk.PacketID,
		Client:   cl.ID,
		Time:     time.Now(),
	})
	if err != nil {
		b.m.failed.Inc()
	}
	return err
}
