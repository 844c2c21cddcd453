package broker

import (
	"bytes"
	"context"
	"time"

	"github.com/gatepost/gatepost/mqtt/topic"
)

// Retained is a retained message.
type Retained struct {
	Topic   string
	QoS     byte
	Bytes   int    // of the whole payload
	Payload []byte // its first bytes; see Broker.Retained
}

// Retained lists the retained messages that a filter matches, by topic: at most so many, with at most so many bytes of each
// payload. total is how many there are. Topics that begin with "$" need a filter that does.
func (b *Broker) Retained(filter topic.Filter, most, preview int) (list []Retained, total int) {
	found := b.retained.match(filter, time.Now(), false)
	for _, m := range found[:min(len(found), most)] {
		list = append(list, Retained{m.topic, m.qos, len(m.payload), bytes.Clone(m.payload[:min(len(m.payload), preview)])})
	}
	return list, len(found)
}

// DropRetained deletes the retained messages that a filter matches, as a client does by publishing an empty one, which
// those who have subscribed get. It gives how many; what the broker itself retains under $SYS stays.
func (b *Broker) DropRetained(ctx context.Context, filter topic.Filter) (n int, err error) {
	for _, m := range b.retained.match(filter, time.Now(), false) {
		if isSys(m.topic) {
			continue
		}
		if err := b.Publish(ctx, m.topic, nil, 0, true); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
