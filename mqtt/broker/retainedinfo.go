package broker

import (
	"bytes"
	"cmp"
	"context"
	"slices"

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
	for name, pk := range b.server.Topics.Retained.GetAll() {
		if filter.Match(name) {
			list = append(list, Retained{Topic: name, QoS: pk.FixedHeader.Qos, Bytes: len(pk.Payload), Payload: pk.Payload})
		}
	}
	slices.SortFunc(list, func(a, b Retained) int { return cmp.Compare(a.Topic, b.Topic) })
	total = len(list)
	list = list[:min(total, most)]
	for i, r := range list {
		list[i].Payload = bytes.Clone(r.Payload[:min(len(r.Payload), preview)])
	}
	return list, total
}

// DropRetained deletes the retained messages that a filter matches, as a client does by publishing an empty one, which
// those who have subscribed get. It gives how many; what the broker itself retains under $SYS stays.
func (b *Broker) DropRetained(ctx context.Context, filter topic.Filter) (n int, err error) {
	for name := range b.server.Topics.Retained.GetAll() {
		if !filter.Match(name) || isSys(name) {
			continue
		}
		if err := b.Publish(ctx, name, nil, 0, true); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// retainedCount leaves out what the broker itself retains.
func (b *Broker) retainedCount() int {
	return max(0, b.server.Topics.Retained.Len()-int(b.sysRetained.Load()))
}
