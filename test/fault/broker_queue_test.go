//go:build fault

package fault

import (
	"fmt"
	"testing"
	"time"

	"github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
)

// quiet is how long nothing must come before a subscriber has all that comes.
const quiet = 3 * time.Second

// Messages wait for a session that is away, and the broker is killed right after the last PUBACK. Published by
// mosquitto_pub, received by paho-mqtt.
func TestBrokerKilledWithAQueue(t *testing.T) {
	const publishers = 50
	n := scaled(t, 12_000/publishers) * publishers
	s := newSite(t, 5*time.Minute, "")
	s.session("away", 1, "q/#")
	s.pourAll(publishers, "q/x", n)
	began := time.Now()
	s.restart()
	harness.Note(t, "broker killed with a queue: from SIGKILL to ready again", time.Since(began).Milliseconds(), "ms")

	sub := s.paho("subscribe.py", "away", "q/#")
	got := s.collect(sub, n)
	sub.leave()
	name := "broker killed with a queue: "
	harness.Note(t, name+"queued", n, "messages")
	harness.Zero(t, name+"lost", n-got.distinct(), "messages")
	harness.Zero(t, name+"out of order of their publisher", got.disorder, "messages")
	harness.Zero(t, name+"twice", got.again(), "messages")
	harness.Zero(t, name+"session not present", count(sub.said("connected"), "0"), "times")

	s.pause(2 * time.Second) // what is acknowledged may be deleted a moment later
	s.restart()
	again := newReceipts()
	again.read(t, s.dial(device.Login{ClientID: "away"}), n)
	harness.Zero(t, name+"come again after they were acknowledged and another kill", again.total, "messages")
}

// collect waits until a subscriber has so many different messages, or gets no more.
func (s *site) collect(sub *program, n int) *receipts {
	s.t.Helper()
	last, since := -1, time.Now()
	s.poll("the messages of a session", func() bool {
		have := len(sub.said("message"))
		if have != last {
			last, since = have, time.Now()
		}
		return have >= n || time.Since(since) > 2*quiet
	})
	s.pause(quiet / 3) // what comes beyond n
	got := newReceipts()
	got.addLines(sub.said("message"))
	return got
}

func count(list []string, what string) int {
	n := 0
	for _, v := range list {
		if v == what {
			n++
		}
	}
	return n
}

// A client has messages in flight that it has not acknowledged. They come again after each kill, in order, with DUP and
// their packet ids, also after it took over its own connection.
func TestBrokerKilledWithMessagesInFlight(t *testing.T) {
	const n = 10
	s := newSite(t, 2*time.Minute, "")
	c := s.dial(device.Login{ClientID: "dev"})
	_, err := c.Subscribe(1, 1, "cmd/#")
	s.ok(err)
	s.pour("pub", "cmd/x", n)
	flight := func(r *device.Raw) (list []string, marked int) {
		for {
			p, err := r.Next(quiet / 3)
			if err != nil {
				return list, marked
			}
			if p.Kind == device.Publish {
				m, id, err := p.Message()
				s.ok(err)
				list = append(list, fmt.Sprintf("%d %s", id, m.Payload))
				if m.Duplicate {
					marked++
				}
			}
		}
	}
	first, _ := flight(c)
	harness.Equal(t, "broker killed with messages in flight: delivered before", len(first), n, "messages")
	for _, step := range []struct {
		name string
		next func() *device.Raw
	}{
		{"after a kill", func() *device.Raw { s.restart(); return s.dial(device.Login{ClientID: "dev"}) }},
		{"after another", func() *device.Raw { s.restart(); return s.dial(device.Login{ClientID: "dev"}) }},
		{"after a takeover", func() *device.Raw { return s.dial(device.Login{ClientID: "dev"}) }},
		{"after a takeover and a kill", func() *device.Raw {
			s.dial(device.Login{ClientID: "dev"})
			s.restart()
			return s.dial(device.Login{ClientID: "dev"})
		}},
	} {
		list, marked := flight(step.next())
		name := "broker killed with messages in flight: " + step.name + ", "
		harness.Figure(t, name+"the same ids and order", fmt.Sprint(list) == fmt.Sprint(first), "-", "true", fmt.Sprint(list) == fmt.Sprint(first))
		harness.Equal(t, name+"with DUP", marked, n, "messages")
		if t.Failed() {
			t.Logf("%s: %v, not %v", step.name, list, first)
		}
	}
}

// A hundred thousand messages are published for a session that is away: all are delivered when it may hold as many; when it
// may not, the oldest give way and are counted.
func TestBrokerQueueOfAHundredThousand(t *testing.T) {
	const publishers = 10
	n := scaled(t, 100_000/publishers) * publishers
	for kind, keys := range map[string]string{"all of it may wait": "", "a fifth of it may wait": fmt.Sprintf("queue: {messages: %d}", n/5)} {
		s := newSite(t, 10*time.Minute, keys)
		s.session("away", 1, "q/#")
		before := s.memory()
		began := time.Now()
		s.pourAll(publishers, "q/x", n)
		name := "queue of a hundred thousand, " + kind + ": "
		harness.Note(t, name+"published and acknowledged", n, "messages")
		harness.Note(t, name+"rate", int(float64(n)/time.Since(began).Seconds()), "messages/s")
		grown := s.memory() - before
		harness.Figure(t, name+"memory beyond that before", grown/1024, "MB", "< 100", grown < 100<<10 || race())
		dropped := s.metric("gatepost_broker_dropped_total")
		got := newReceipts()
		got.read(t, s.dial(device.Login{ClientID: "away"}), n)
		harness.Note(t, name+"delivered", got.distinct(), "messages")
		harness.Note(t, name+"dropped, as the metric counts them", dropped, "messages")
		harness.Equal(t, name+"delivered + counted", got.distinct()+dropped, n, "messages")
		harness.Zero(t, name+"out of order of their publisher", got.disorder, "messages")
		harness.Zero(t, name+"twice", got.again(), "messages")
		grown = s.memory() - before
		harness.Figure(t, name+"memory beyond that before, after the delivery", grown/1024, "MB", "< 100", grown < 100<<10 || race())
		s.end()
	}
}

// The same with a queue that refuses: who publishes is told so, and what was accepted is delivered.
func TestBrokerQueueThatRefuses(t *testing.T) {
	const n, limit = 3000, 1000
	s := newSite(t, 5*time.Minute, fmt.Sprintf("queue: {messages: %d, full: refuse}", limit))
	s.session("away", 1, "q/#")
	pub := s.dial(device.Login{ClientID: "pub", Level: 5, Clean: true})
	var accepted []string
	refused := 0
	for i := range n {
		payload := fmt.Sprintf("pub-%06d", i)
		s.ok(pub.Send(device.Message{Topic: "q/x", QoS: 1, Payload: []byte(payload)}, uint16(i%60000+1)))
		p, err := pub.Next(10 * time.Second)
		s.ok(err)
		switch {
		case p.Kind != device.Puback:
			t.Fatalf("kind %d instead of a PUBACK", p.Kind)
		case len(p.Body) > 2 && p.Body[2] == 0x97: // quota exceeded
			refused++
		case len(p.Body) > 2 && p.Body[2] >= 0x80:
			t.Fatalf("PUBACK with reason %#x", p.Body[2])
		default:
			accepted = append(accepted, payload)
		}
	}
	name := "a queue that refuses: "
	harness.Equal(t, name+"accepted", len(accepted), limit, "messages")
	harness.Equal(t, name+"refused with reason 0x97", refused, n-limit, "messages")
	harness.Equal(t, name+"refused, as the metric counts them", s.metric("gatepost_broker_no_room_total"), n-limit, "messages")
	s.restart()
	got := newReceipts()
	got.read(t, s.dial(device.Login{ClientID: "away"}), n)
	harness.Equal(t, name+"delivered", got.distinct(), limit, "messages")
	got.report(t, name, accepted)
}

// What is retained outlives a kill, and what was deleted stays away. Published and read by mosquitto_pub and mosquitto_sub.
func TestBrokerKilledWithRetainedMessages(t *testing.T) {
	n := max(2, scaled(t, 100))
	s := newSite(t, 2*time.Minute, "")
	for i := range n {
		s.mosquitto("pub", "-q", "1", "-r", "-t", fmt.Sprintf("r/%03d", i), "-m", fmt.Sprintf("r-%03d", i))
	}
	s.mosquitto("pub", "-q", "1", "-r", "-t", "r/000", "-m", "changed-000")
	s.mosquitto("pub", "-q", "1", "-r", "-n", "-t", "r/001")
	s.mosquitto("pub", "-V", "5", "-q", "1", "-r", "-t", "r/brief", "-m", "brief-0", "-D", "publish", "message-expiry-interval", "2")
	s.mosquitto("pub", "-V", "5", "-q", "1", "-r", "-t", "r/long", "-m", "long-0", "-D", "publish", "message-expiry-interval", "300")
	expires := time.Now().Add(2 * time.Second)
	s.restart()
	s.pause(time.Until(expires.Add(1500 * time.Millisecond)))

	got := map[string]string{}
	sub := s.dial(device.Login{ClientID: "reader", Clean: true})
	_, err := sub.Subscribe(1, 1, "r/#")
	s.ok(err)
	for {
		p, err := sub.Next(quiet / 3)
		if err != nil {
			break
		}
		m, _, err := p.Message()
		s.ok(err)
		if !m.Retain {
			t.Errorf("%s comes without the retain flag", m.Topic)
		}
		got[m.Topic] = string(m.Payload)
	}
	name := "broker killed with retained messages: "
	wrong := 0
	for i := range n {
		topic, want := fmt.Sprintf("r/%03d", i), fmt.Sprintf("r-%03d", i)
		switch i {
		case 0:
			want = "changed-000"
		case 1:
			want = ""
		}
		if got[topic] != want {
			if wrong++; wrong <= 5 {
				t.Logf("%s is %q, not %q", topic, got[topic], want)
			}
		}
	}
	harness.Note(t, name+"retained, one of them changed, one deleted", n, "messages")
	harness.Zero(t, name+"missing, old or back again", wrong, "messages")
	harness.Figure(t, name+"expired one gone, the other there", got["r/brief"] == "" && got["r/long"] == "long-0", "-", "true", got["r/brief"] == "" && got["r/long"] == "long-0")
}
