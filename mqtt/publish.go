package mqtt

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/gatepost/gatepost/mqtt/topic"
)

// Publish sends one message now. nil means that it was written to the connection (QoS 0) or that the broker has
// acknowledged it (QoS 1). An error with NotSent() bool that answers true means that nothing went out and nothing ever
// will; after any other (ErrUnanswered, or that of ctx) nobody can tell. It never waits for a connection. QoS 2 is not
// possible. payload is not kept.
func (c *Client) Publish(ctx context.Context, name string, payload []byte, qos byte, retain bool) error {
	if err := c.checkPublish(ctx, name, payload, qos); err != nil {
		return notSent{fmt.Errorf("publish: %w", err)}
	}
	cn := c.conn()
	if cn == nil {
		return notSent{fmt.Errorf("publish to %q: %w", name, ErrNotConnected)}
	}
	if err := cn.publish(ctx, name, bytes.Clone(payload), qos, retain); err != nil {
		err = fmt.Errorf("publish to %q: %w", name, err)
		if errors.Is(err, errWireClosed) || errors.Is(err, paho.ErrNotConnected) || errors.As(err, new(notSent)) {
			return notSent{err}
		}
		return err
	}
	return nil
}

// checkPublish refuses what must not reach paho, which cuts strings that are too long.
func (c *Client) checkPublish(ctx context.Context, name string, payload []byte, qos byte) error {
	if err := topic.ValidTopic(name); err != nil {
		return err
	}
	if qos > 1 {
		return fmt.Errorf("%w, not %d", ErrQoS, qos)
	}
	if len(payload) > c.cfg.MaxPayload {
		return fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, len(payload), c.cfg.MaxPayload)
	}
	return ctx.Err()
}

// publish hands a message to paho, one at a time, and waits for what becomes of it. errWireClosed, paho.ErrNotConnected and
// a notSent mean that nothing was written.
func (cn *conn) publish(ctx context.Context, name string, payload []byte, qos byte, retain bool) error {
	select {
	case cn.turn <- struct{}{}:
	case <-cn.wire.closed:
		return notSent{ErrNotConnected}
	case <-ctx.Done():
		return notSent{ctx.Err()}
	}
	if !cn.begin() {
		<-cn.turn
		return notSent{ErrNotConnected}
	}
	handed := make(chan paho.Token, 1)
	go func() {
		defer cn.calls.Done()
		handed <- cn.paho.Publish(name, qos, retain, payload) // blocks at most for handOver
		<-cn.turn
	}()
	var token paho.Token
	select {
	case token = <-handed:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-token.Done():
		return token.Error()
	case <-ctx.Done():
		return ctx.Err()
	case <-cn.wire.closed:
	}
	select {
	case <-token.Done(): // both happened
		return token.Error()
	default:
		return ErrUnanswered
	}
}
