package broker

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatepost/gatepost/internal/logkey"
)

const (
	sysPrefix = "$SYS/"
	sysEvery  = time.Minute
)

// publishSys tells about the broker every minute until it stops: what has changed, retained, to those who may subscribe to
// it. It is called once.
func (b *Broker) publishSys() {
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

// tellSys retains a message in memory only, apart from what clients retain.
func (b *Broker) tellSys(name string, payload []byte) {
	m := &message{topic: name, payload: payload, retain: true}
	b.retained.set(m, true)
	live := *m
	live.retain = false
	if err := b.route(&live, nil, 0); err != nil && b.news.due("sys") {
		b.log.Warn("topic of the broker could not be published", logkey.Topic, name, logkey.Error, err)
	}
}

// sysTopics are what the broker tells about itself, under mosquitto's names. (There packets are messages, and messages are
// publish/messages.)
func (b *Broker) sysTopics(up time.Duration) map[string]string {
	n := strconv.Itoa
	count := func(v *atomic.Int64) string { return strconv.FormatInt(v.Load(), 10) }
	connected, retained, waiting := b.connected(), b.retained.len(), 0
	sessions := b.sessions.all()
	for _, s := range sessions {
		s.mu.Lock()
		waiting += s.count
		s.mu.Unlock()
	}
	subscriptions, shared := b.subs.counts()
	return map[string]string{
		"$SYS/broker/version":                    b.cfg.Version,
		"$SYS/broker/uptime":                     n(int(up.Seconds())) + " seconds",
		"$SYS/broker/clients/connected":          n(connected),
		"$SYS/broker/clients/disconnected":       n(max(0, len(sessions)-connected)),
		"$SYS/broker/clients/total":              n(len(sessions)),
		"$SYS/broker/clients/maximum":            count(&b.stats.mostConnected),
		"$SYS/broker/messages/received":          count(&b.stats.packetsIn),
		"$SYS/broker/messages/sent":              count(&b.stats.packetsOut),
		"$SYS/broker/messages/stored":            n(retained + waiting),
		"$SYS/broker/publish/messages/received":  count(&b.stats.messagesIn),
		"$SYS/broker/publish/messages/sent":      count(&b.stats.messagesOut),
		"$SYS/broker/publish/messages/dropped":   count(&b.stats.dropped),
		"$SYS/broker/bytes/received":             count(&b.stats.bytesIn),
		"$SYS/broker/bytes/sent":                 count(&b.stats.bytesOut),
		"$SYS/broker/retained messages/count":    n(retained),
		"$SYS/broker/subscriptions/count":        n(subscriptions),
		"$SYS/broker/shared_subscriptions/count": n(shared),
	}
}

func isSys(name string) bool { return strings.HasPrefix(name, sysPrefix) }
