//go:build fault

package fault

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
)

// publishers send numbered messages with QoS 1, each in order, and send again what was not acknowledged.
type publishers struct {
	size  int // bytes of a payload at least
	acked atomic.Int64
	room  atomic.Int64 // acked may get as far as this
	wg    sync.WaitGroup

	mu    sync.Mutex
	known []string // acknowledged payloads
}

// publish has n publishers send up to each messages of size bytes, or a few more, to topic, as long as no more than room
// are acknowledged.
func (s *site) publish(n, each, size int, topic string, room int) *publishers {
	s.t.Helper()
	p := &publishers{size: size}
	p.room.Store(int64(room))
	for i := range n {
		client, _ := s.connect(device.Config{ClientID: fmt.Sprintf("load%02d", i), Window: 4, Retry: 20 * time.Millisecond})
		p.wg.Go(func() { p.run(s, client, fmt.Sprintf("load%02d", i), each, topic) })
	}
	return p
}

func (p *publishers) run(s *site, client *device.Client, name string, each int, topic string) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := range each {
		for p.acked.Load() >= p.room.Load() {
			s.pause(time.Millisecond)
			if s.ctx.Err() != nil {
				return
			}
		}
		payload := fmt.Sprintf("%s-%06d", name, i)
		payload += strings.Repeat(".", max(0, p.size-len(payload)))
		acked, err := client.Send(s.ctx, device.Message{Topic: topic, Payload: []byte(payload)})
		if err != nil {
			return
		}
		wg.Go(func() {
			select {
			case <-acked:
				p.acked.Add(1)
				p.mu.Lock()
				p.known = append(p.known, payload)
				p.mu.Unlock()
			case <-s.ctx.Done():
			}
		})
	}
}

// list are the payloads that are acknowledged.
func (p *publishers) list() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.known...)
}

// The broker is killed in the middle of taking messages, again and again, while one subscriber is away and one, paho-mqtt,
// is there.
func TestBrokerKilledUnderPublishers(t *testing.T) {
	const crowd, kills = 30, 8
	each := scaled(t, 300)
	s := newSite(t, 10*time.Minute, "")
	s.session("away", 1, "c/#")
	online := s.paho("subscribe.py", "online", "c/#")
	s.poll("its subscription", func() bool { return s.subscribed("c/x", online) })
	p := s.publish(crowd, each, 0, "c/x", crowd*each)
	for k := range kills {
		target := int64(crowd*each*(k+1)/(kills+1) + rand.IntN(crowd))
		s.poll("acknowledgements", func() bool { return p.acked.Load() >= target })
		s.restart()
	}
	p.wg.Wait()
	name := "broker killed under publishers: "
	harness.Note(t, name+"kills", kills, "times")
	harness.Equal(t, name+"acknowledged", len(p.list()), crowd*each, "messages")
	got := s.collect(online, crowd*each)
	got.report(t, name+"subscriber that is there, ", p.list())
	harness.Zero(t, name+"subscriber that is there, session not present after the first time", count(online.said("connected")[1:], "0"), "times")
	away := newReceipts()
	away.read(t, s.dial(device.Login{ClientID: "away"}), crowd*each)
	away.report(t, name+"subscriber that was away, ", p.list())
}

// report prints what became of the acknowledged messages. Those that come twice are no fault: QoS 1 is at least once.
func (c *receipts) report(t *testing.T, name string, acked []string) {
	t.Helper()
	harness.Zero(t, name+"acknowledged and lost", c.missing(acked), "messages")
	harness.Zero(t, name+"out of order of their publisher", c.disorder, "messages")
	harness.Note(t, name+"twice", c.again(), "messages")
}

// A subscriber with a session leaves, breaks off or takes over its own connection, and is back at once, all the time.
func TestBrokerReconnectsUnderLoad(t *testing.T) {
	const crowd, ahead = 8, 4000
	reconnects := scaled(t, 300)
	s := newSite(t, 10*time.Minute, "")
	sub := s.dial(device.Login{ClientID: "restless"})
	_, err := sub.Subscribe(1, 1, "c/#")
	s.ok(err)
	p := s.publish(crowd, 200_000, 0, "c/x", ahead)
	got := newReceipts()
	absent := 0
	for k := range reconnects {
		for until := time.Now().Add(20 * time.Millisecond); time.Now().Before(until); {
			if !got.take(t, sub, 20*time.Millisecond) {
				break
			}
		}
		p.room.Store(int64(got.distinct() + ahead)) // less than the session may hold
		switch k % 3 {
		case 0:
			s.ok(sub.Leave())
		case 1:
			s.ok(sub.Close())
		}
		sub = s.dial(device.Login{ClientID: "restless"})
		if !sub.Present {
			absent++
		}
	}
	p.room.Store(0)
	s.calm(p)
	got.read(t, sub, len(p.list()))
	name := "reconnects under load: "
	harness.Note(t, name+"reconnects", reconnects, "times")
	harness.Note(t, name+"acknowledged", len(p.list()), "messages")
	harness.Zero(t, name+"session not present", absent, "times")
	got.report(t, name, p.list())
	s.restart()
	again := newReceipts()
	again.read(t, s.dial(device.Login{ClientID: "restless"}), 1)
	harness.Note(t, name+"come again after a kill at once", again.total, "messages")
}

// calm waits until nothing more is acknowledged.
func (s *site) calm(p *publishers) {
	s.t.Helper()
	last, since := p.acked.Load(), time.Now()
	s.poll("what is under way", func() bool {
		if n := p.acked.Load(); n != last {
			last, since = n, time.Now()
		}
		return time.Since(since) > time.Second
	})
}

// QoS 2 from paho-mqtt to paho-mqtt, while the broker is killed: once means once.
func TestBrokerKilledWithQoS2(t *testing.T) {
	n, kills := scaled(t, 2000), 5
	for _, level := range []string{"4", "5"} {
		t.Run("MQTT "+map[string]string{"4": "3.1.1", "5": "5"}[level], func(t *testing.T) {
			s := newSite(t, 10*time.Minute, "")
			sub := s.paho("subscribe.py", "sub2", "z/#", "2", level)
			s.poll("its subscription", func() bool { return s.subscribed("z/x", sub) })
			pub := s.paho("publish.py", "pub2", "2", level)
			for i := range n {
				fmt.Fprintf(pub.stdin, "z/x p-%06d\n", i)
				if (i+1)%(n/(kills+1)+1) == 0 {
					s.poll("acknowledgements", func() bool { return len(pub.said("acked")) >= i-30 })
					s.restart()
				}
			}
			s.ok(pub.stdin.Close())
			select {
			case <-pub.ended:
			case <-s.ctx.Done():
			}
			name := "broker killed with QoS 2, " + t.Name()[len("TestBrokerKilledWithQoS2/"):] + ": "
			harness.Note(t, name+"kills", kills, "times")
			harness.Equal(t, name+"acknowledged for good", len(pub.said("acked")), n, "messages")
			got := s.collect(sub, n)
			harness.Equal(t, name+"received", got.distinct(), n, "messages")
			harness.Zero(t, name+"twice", got.again(), "messages")
			harness.Zero(t, name+"out of order", got.disorder, "messages")
		})
	}
}

// subscribed says that a message to topic reaches the subscriber.
func (s *site) subscribed(topic string, sub *program) bool {
	s.mosquitto("pub", "-q", "0", "-t", topic, "-m", hello)
	return len(sub.said("message")) > 0
}
