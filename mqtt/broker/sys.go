package broker

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/gatepost/gatepost/internal/logkey"
)

const (
	sysPrefix = "$SYS/"
	sysEvery  = time.Minute
	sysNever  = 1 << 31 // seconds; the library's own topics have other names, and some other values
)

// publishSys tells about the broker every minute until it stops: what has changed, retained, to those who may subscribe to
// it. It is called once.
func (b *Broker) publishSys() {
	for name := range b.server.Topics.Retained.GetAll() {
		if isSys(name) { // the library's own
			b.sysRetained.Add(1)
			b.retainSys(name, nil)
		}
	}
	began, was := time.Now(), map[string]string{}
	tick := time.NewTicker(sysEvery)
	defer tick.Stop()
	for {
		now := b.sysTopics(time.Since(began))
		for _, name := range slices.Sorted(maps.Keys(now)) {
			if was[name] != now[name] {
				b.tellSys(name, []byte(now[name]))
			}
		}
		was = now
		select {
		case <-b.stopping:
			return
		case <-tick.C:
		}
	}
}

func (b *Broker) tellSys(name string, payload []byte) {
	b.retainSys(name, payload)
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish}, TopicName: name, Payload: payload}
	if err := b.inject(pk); err != nil && b.news.due("sys") {
		b.log.Warn("topic of the broker could not be published", logkey.Topic, name, logkey.Error, err)
	}
}

// retainSys keeps a message in memory only, apart from what clients retain; nil deletes it.
func (b *Broker) retainSys(name string, payload []byte) {
	b.gate.RLock()
	defer b.gate.RUnlock()
	_, was := b.server.Topics.Retained.Get(name)
	b.server.Topics.RetainMessage(packets.Packet{
		ProtocolVersion: 5,
		FixedHeader:     packets.FixedHeader{Type: packets.Publish, Retain: true},
		TopicName:       name,
		Payload:         payload,
	})
	switch now := len(payload) > 0; {
	case now && !was:
		b.sysRetained.Add(1)
	case was && !now:
		b.sysRetained.Add(-1)
	}
}

// sysTopics are what the broker tells about itself, under mosquitto's names. (There packets are messages, and messages are
// publish/messages.)
func (b *Broker) sysTopics(up time.Duration) map[string]string {
	info, n := b.server.Info, strconv.Itoa
	count := func(v *int64) string { return strconv.FormatInt(atomic.LoadInt64(v), 10) }
	connected, sessions, retained := b.connected(), b.server.Clients.GetAll(), b.retainedCount()
	subscriptions, shared, waiting := 0, 0, 0
	for _, cl := range sessions {
		waiting += cl.State.Inflight.Len()
		for filter := range cl.State.Subscriptions.GetAll() {
			subscriptions++
			if mqtt.IsSharedFilter(filter) {
				shared++
			}
		}
	}
	return map[string]string{
		"$SYS/broker/version":                    b.cfg.Version,
		"$SYS/broker/uptime":                     n(int(up.Seconds())) + " seconds",
		"$SYS/broker/clients/connected":          n(connected),
		"$SYS/broker/clients/disconnected":       n(max(0, len(sessions)-connected)),
		"$SYS/broker/clients/total":              n(len(sessions)),
		"$SYS/broker/clients/maximum":            count(&info.ClientsMaximum),
		"$SYS/broker/messages/received":          count(&info.PacketsReceived),
		"$SYS/broker/messages/sent":              count(&info.PacketsSent),
		"$SYS/broker/messages/stored":            n(retained + waiting),
		"$SYS/broker/publish/messages/received":  count(&info.MessagesReceived),
		"$SYS/broker/publish/messages/sent":      count(&info.MessagesSent),
		"$SYS/broker/publish/messages/dropped":   count(&info.MessagesDropped),
		"$SYS/broker/bytes/received":             count(&info.BytesReceived),
		"$SYS/broker/bytes/sent":                 count(&info.BytesSent),
		"$SYS/broker/retained messages/count":    n(retained),
		"$SYS/broker/subscriptions/count":        n(subscriptions),
		"$SYS/broker/shared_subscriptions/count": n(shared),
	}
}

func isSys(name string) bool { return strings.HasPrefix(name, sysPrefix) }
