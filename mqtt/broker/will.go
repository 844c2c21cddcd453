package broker

import (
	"bytes"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/gatepost/gatepost/internal/logkey"
)

const (
	willTries = 60 // to deliver one
	willPause = time.Second
)

// will is what a client wants said when it is gone without a goodbye. The library's own wills are not used: they bypass
// the publish hook, and a delayed one is sent without a hook that could stop it. A nil will is none.
type will struct {
	packet packets.Packet
	delay  time.Duration // before it is sent; a client that is back by then cancels it

	once sync.Once
	gone chan struct{} // closed by who takes it
}

// newWill gives the will of a CONNECT, or nil. expiry is that of the session: with it ends the delay too.
func newWill(pk packets.Packet) *will {
	c := pk.Connect
	if !c.WillFlag {
		return nil
	}
	p := c.WillProperties
	delay := p.WillDelayInterval
	if expiry := pk.Properties.SessionExpiryInterval; expiry != math.MaxUint32 {
		delay = min(delay, expiry)
	}
	return &will{
		packet: packets.Packet{
			FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: c.WillQos, Retain: c.WillRetain},
			TopicName:   strings.Clone(c.WillTopic), // the rest of the CONNECT need not live as long
			Payload:     bytes.Clone(c.WillPayload),
			Properties: packets.Properties{
				PayloadFormat:         p.PayloadFormat,
				PayloadFormatFlag:     p.PayloadFormatFlag,
				MessageExpiryInterval: p.MessageExpiryInterval,
				ContentType:           p.ContentType,
				ResponseTopic:         p.ResponseTopic,
				CorrelationData:       p.CorrelationData,
				User:                  p.User,
			},
		},
		delay: time.Duration(delay) * time.Second,
		gone:  make(chan struct{}),
	}
}

// take is true for one caller only: who then sends or drops it.
func (w *will) take() (mine bool) {
	if w != nil {
		w.once.Do(func() { close(w.gone); mine = true })
	}
	return mine
}

// sendWill sends the will of a connection that has ended, when it is time. While Deliver fails it tries again, for a
// minute. When the broker stops, wills are dropped: the devices have not gone, we have.
func (b *Broker) sendWill(c *conn) {
	if c.will == nil || !c.established.Load() {
		return
	}
	select {
	case <-b.stopping:
		return
	case <-c.will.gone:
		return
	case <-time.After(c.will.delay):
	}
	if b.isStopping() || !c.will.take() {
		return
	}
	for try := 1; ; try++ {
		err := b.publishWill(c)
		if err == nil {
			return
		}
		if try == willTries {
			b.log.Error("will was given up", logkey.Client, c.clientID, logkey.Topic, c.will.packet.TopicName, logkey.Error, err)
			return
		}
		select {
		case <-b.stopping:
			return
		case <-time.After(willPause):
		}
	}
}

// publishWill delivers and routes a will that was taken. It blocks like Deliver; the gate must not be held. An account
// that has lost the right since CONNECT sends nothing.
func (b *Broker) publishWill(c *conn) error {
	cl, pk := c.client, c.will.packet
	if !b.mayPublish(cl, pk.TopicName) {
		return nil
	}
	if err := b.deliver(cl, pk); err != nil {
		return err
	}
	return b.inject(pk)
}
