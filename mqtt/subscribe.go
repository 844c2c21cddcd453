package mqtt

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/gatepost/gatepost/internal/logkey"
	"github.com/gatepost/gatepost/mqtt/topic"
)

const (
	// maxBatch is the number of filters in one SUBSCRIBE or UNSUBSCRIBE.
	maxBatch = 64
	// answerTime is how long a broker may take to answer one, not counting the time in which we do not read.
	answerTime = 10 * time.Second
	// qosWanted is asked for each filter.
	qosWanted = 1
	// subackFailure is the code of a refused filter (MQTT 3.1.1 section 3.9.3).
	subackFailure = 0x80
)

// unsure marks a saved filter that the broker may hold or not, because we may have died while changing it. No filter
// begins like that.
const unsure = "##"

// subscribe brings the broker's subscriptions to what is wanted. note says what the broker refuses; err is fatal for the
// connection. New filters come before old ones go: for a moment too much is better than a gap. What is about to change is
// saved as unsure before, so that a crash never leaves us believing in a subscription that is not there.
func (c *Client) subscribe(ctx context.Context, cn *conn) (note, err error) {
	c.mu.Lock()
	want := c.wanted
	c.mu.Unlock()
	var have, maybe []topic.Filter
	if cn.resumed {
		have, maybe = c.known()
	}
	add, _ := topic.Delta(have, want)
	_, drop := topic.Delta(slices.Concat(have, maybe), want)
	if cn.resumed && len(add)+len(drop) == 0 {
		return nil, nil
	}
	have, _ = topic.Delta(drop, have)
	if err := c.save(have, slices.Concat(add, drop)); err != nil {
		return nil, err
	}
	cn.resumed = true // for the next change on this connection
	granted, refused, err := c.subscribeAll(ctx, cn, add)
	if err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	for batch := range slices.Chunk(drop, maxBatch) {
		if err := cn.answered(ctx, cn.paho.Unsubscribe(texts(batch)...)); err != nil {
			return nil, fmt.Errorf("unsubscribe: %w", err)
		}
	}
	if err := c.save(append(have, granted...), nil); err != nil {
		return nil, err
	}
	if len(refused) > 0 {
		return fmt.Errorf("%w: %s", ErrRefused, strings.Join(texts(refused), ", ")), nil
	}
	return nil, nil
}

// subscribeAll asks for filters and tells which the broker granted.
func (c *Client) subscribeAll(ctx context.Context, cn *conn, filters []topic.Filter) (granted, refused []topic.Filter, err error) {
	for batch := range slices.Chunk(filters, maxBatch) {
		ask := make(map[string]byte, len(batch))
		for _, f := range batch {
			ask[f.String()] = qosWanted
		}
		cn.wire.asked.Store(int32(len(ask)))
		token := cn.paho.SubscribeMultiple(ask, nil).(*paho.SubscribeToken)
		if err := cn.answered(ctx, token); err != nil {
			return nil, nil, err
		}
		codes := token.Result()
		for _, f := range batch {
			code, ok := codes[f.String()]
			if !ok || code >= subackFailure {
				refused = append(refused, f)
				continue
			}
			if code < qosWanted {
				c.log.Warn("the broker grants QoS 0 only, messages can be lost", logkey.Topic, f.String())
			}
			granted = append(granted, f)
		}
	}
	return granted, refused, nil
}

// known gives what was saved: what the broker holds, and what it may hold.
func (c *Client) known() (have, maybe []topic.Filter) {
	saved, err := c.cfg.Session.Load()
	if err != nil { // subscribing again does no harm
		c.log.Warn("subscriptions not known, subscribing again", logkey.Error, err)
		return nil, nil
	}
	for _, s := range saved {
		text, isUnsure := strings.CutPrefix(s, unsure)
		f, err := topic.ParseFilter(text)
		switch {
		case err != nil:
			c.log.Warn("saved subscription ignored", logkey.Error, err)
		case isUnsure:
			maybe = append(maybe, f)
		default:
			have = append(have, f)
		}
	}
	return have, maybe
}

func (c *Client) save(have, maybe []topic.Filter) error {
	lines := texts(have)
	for _, f := range maybe {
		lines = append(lines, unsure+f.String())
	}
	if err := c.cfg.Session.Save(lines); err != nil {
		return fmt.Errorf("remember subscriptions: %w", err)
	}
	return nil
}

func texts(filters []topic.Filter) []string {
	out := make([]string, len(filters))
	for i, f := range filters {
		out[i] = f.String()
	}
	return out
}

// answered waits for the broker's answer to a SUBSCRIBE or UNSUBSCRIBE.
func (cn *conn) answered(ctx context.Context, token paho.Token) error {
	tick := time.NewTicker(answerTime)
	defer tick.Stop()
	for {
		select {
		case <-token.Done():
			return token.Error()
		case <-cn.wire.closed:
			if cn.wire.cause != nil {
				return cn.wire.cause
			}
			return errWireClosed
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			if !cn.wire.held.Load() {
				return fmt.Errorf("no answer from the broker: %w", context.DeadlineExceeded)
			}
		}
	}
}
