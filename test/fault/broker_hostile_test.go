//go:build fault

package fault

import (
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
)

// One client stops reading. What the others get done in a second is compared, round by round, with a second without it; where
// it has a session that is kept, with a second in which it reads, since a session that gets everything costs commits.
func TestBrokerWithAClientThatStopsReading(t *testing.T) {
	const rounds = 7
	for _, clean := range []bool{true, false} {
		kind := map[bool]string{true: "clean session", false: "kept session"}[clean]
		t.Run(kind, func(t *testing.T) {
			s := newSite(t, 5*time.Minute, "")
			s.reads("reader", true) // the work that everybody has
			var with, without []float64
			for i := range 2 * rounds {
				s.ok(s.dial(device.Login{ClientID: "stuck", Clean: true}).Leave()) // its session ends
				if i%4 == 1 || i%4 == 2 {                                          // A B B A
					s.stuck(clean)
					s.rate(8, "s/x", 300*time.Millisecond) // until its buffers are full
					with = append(with, s.rate(8, "s/x", time.Second))
					continue
				}
				if !clean {
					s.reads("stuck", false)
				}
				s.rate(8, "s/x", 300*time.Millisecond)
				without = append(without, s.rate(8, "s/x", time.Second))
			}
			name := "a client that stops reading, " + kind + ": "
			var ratios []float64 // of neighbouring rounds: what disturbs one disturbs the other
			for i := range with {
				ratios = append(ratios, with[i]/without[i])
			}
			harness.Note(t, name+"others' rate with it", int(median(with)), "messages/s")
			harness.Note(t, name+"others' rate without it", int(median(without)), "messages/s")
			r := median(ratios)
			harness.Figure(t, name+"others' rate with it against without", fmt.Sprintf("%.2f", r), "x", ">= 0.9", r >= 0.9 || race())

			s.ok(s.dial(device.Login{ClientID: "stuck", Clean: true}).Leave())
			s.stuck(clean)
			s.rate(8, "s/x", time.Second)
			began := time.Now()
			s.dial(device.Login{ClientID: "stuck", Clean: clean})
			took := time.Since(began).Milliseconds()
			harness.Figure(t, name+"taken over in", took, "ms", "< 2000", took < 2000)
		})
	}
}

// stuck connects a client that will never read anything beyond its SUBACK.
func (s *site) stuck(clean bool) {
	s.t.Helper()
	c := s.dial(device.Login{ClientID: "stuck", Clean: clean, ReceiveBuffer: 4096})
	_, err := c.Subscribe(1, 1, "s/#")
	s.ok(err)
}

// reads connects a client that acknowledges everything until its connection ends.
func (s *site) reads(id string, clean bool) {
	s.t.Helper()
	c := s.dial(device.Login{ClientID: id, Clean: clean})
	_, err := c.Subscribe(1, 1, "s/#")
	s.ok(err)
	go func() {
		for {
			p, err := c.Next(time.Hour)
			if err != nil {
				return
			}
			if _, id, err := p.Message(); err == nil && p.Kind == device.Publish && id != 0 {
				_ = c.Ack(device.Puback, id) // a broken connection shows in Next
			}
		}
	}()
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

// rate is how many messages of 1 000 bytes a second so many publishers get acknowledged, each sending one at a time.
func (s *site) rate(publishers int, topic string, d time.Duration) float64 {
	s.t.Helper()
	var done atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	end := began.Add(d)
	for i := range publishers {
		c := s.dial(device.Login{ClientID: fmt.Sprintf("rate%d", i), Clean: true})
		wg.Go(func() {
			for id := uint16(1); time.Now().Before(end); id = id%60000 + 1 {
				if err := c.Send(device.Message{Topic: topic, QoS: 1, Payload: make([]byte, 1000)}, id); err != nil {
					s.t.Errorf("publish: %v", err)
					return
				}
				if p, err := c.Next(20 * time.Second); err != nil || p.Kind != device.Puback {
					s.t.Errorf("a publisher gets no PUBACK but kind %d, %v", p.Kind, err)
					return
				}
				done.Add(1)
			}
			_ = c.Leave() // all is acknowledged
		})
	}
	wg.Wait()
	return float64(done.Load()) / time.Since(began).Seconds()
}

// Streams of packets, as a client might send them, with bytes changed, inserted and left out.
func TestBrokerWithMutatedStreams(t *testing.T) {
	n := scaled(t, 100_000)
	s := newSite(t, 20*time.Minute, "")
	seed := uint64(time.Now().UnixNano())
	harness.Note(t, t.Name()+" seed", seed, "-")
	s.mutate(max(1, n/50), seed+1) // what is made at first and kept
	before := s.settled(3 * time.Second)
	goroutines := s.metric("go_goroutines")
	began := time.Now()
	s.mutate(n, seed)
	name := "mutated streams: "
	harness.Note(t, name+"sent", n, "streams")
	harness.Note(t, name+"rate", int(float64(n)/time.Since(began).Seconds()), "streams/s")
	s.poll("a client to be served", func() bool { return !s.Running() || s.probe(device.Login{ClientID: "after", Clean: true}) == nil })
	harness.Figure(t, name+"process alive", s.Running(), "-", "true", s.Running())
	harness.Note(t, name+"of them refused before they could say anything", s.metric("gatepost_broker_refused_total{reason=\"address\"}"), "streams")
	harness.Note(t, name+"of them made the decoder panic", s.metric("gatepost_broker_decoder_panics_total"), "streams")
	harness.Note(t, name+"sessions left", s.metric("gatepost_broker_sessions"), "sessions")
	s.poll("the connections to be gone", func() bool { return s.metric("gatepost_broker_clients") == 0 })
	grown := s.settled(20*time.Second) - before
	harness.Figure(t, name+"memory beyond that before", grown/1024, "MB", "<= 8", grown <= 8<<10 || race())
	if goroutines > 0 {
		left := s.metric("go_goroutines") - goroutines
		harness.Figure(t, name+"goroutines beyond those before", left, "goroutines", "<= 10", left <= 10)
	}
}

// mutate sends n streams, each on a connection of its own, 16 at a time.
func (s *site) mutate(n int, seed uint64) {
	s.t.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	for worker := range 16 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(worker)))
			for next.Add(1) <= int64(n) && s.ctx.Err() == nil {
				s.stream(mutation(rng, stream(rng)))
			}
		})
	}
	wg.Wait()
}

// stream writes b, reads answers for a moment and breaks off.
func (s *site) stream(b []byte) {
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Errorf("connect: %v", err)
		return
	}
	defer c.Close()
	_ = c.(*net.TCPConn).SetLinger(0) // no connection waits for its end afterwards
	_, _ = c.Write(b)                 // a broker that has seen enough may close
	_ = c.SetReadDeadline(time.Now().Add(3 * time.Millisecond))
	for answer := make([]byte, 512); ; {
		if _, err := c.Read(answer); err != nil {
			return
		}
	}
}

// stream is CONNECT and up to eight more packets of MQTT 3.1.1 or 5, all of them correct. Each has topics of its own, so
// that the few sessions that are kept, because a bit said so, do not fill up with what the others publish.
func stream(rng *rand.Rand) []byte {
	level := byte(4 + rng.IntN(2))
	l := device.Login{
		Level: level, ClientID: "m" + strconv.Itoa(rng.IntN(50)), Clean: true, KeepAlive: 9, User: "u", Password: "p",
		Will: &device.Message{Topic: "w/t", Payload: []byte("w"), QoS: byte(rng.IntN(3))},
	}
	if level == 5 {
		l.Properties, l.WillProperties = []byte{0x11, 0, 0, 0, 9}, []byte{0x18, 0, 0, 0, 1}
	}
	out := device.ConnectPacket(l)
	own := strconv.Itoa(rng.IntN(1_000_000))
	message := func(qos byte) device.Message {
		m := device.Message{Topic: own + "/b", Payload: []byte("x"), QoS: qos, Duplicate: rng.IntN(8) == 0}
		if rng.IntN(8) == 0 {
			m.Topic, m.Retain = "retained/b", true
		}
		return m
	}
	for range 1 + rng.IntN(8) {
		id := uint16(1 + rng.IntN(3))
		switch rng.IntN(12) {
		case 0:
			out = append(out, device.SubscribePacket(level, id, byte(rng.IntN(3)), own+"/+/#", "$share/g/"+own+"/#")...)
		case 1:
			out = append(out, device.SubscribePacket(level, id, 1, own+"/#", "retained/+")...)
		case 2:
			out = append(out, device.UnsubscribePacket(level, id, own+"/#")...)
		case 3:
			out = append(out, 0xC0, 0) // PINGREQ
		case 4:
			out = append(out, device.AckPacket([]byte{device.Puback, device.Pubrec, device.Pubcomp}[rng.IntN(3)], id)...)
		case 5:
			out = append(out, device.AckPacket(device.Pubrel, id)...)
		case 6:
			out = append(out, 0xF0, 2, 0, 0) // AUTH
		case 7:
			out = append(out, 0xE0, 0) // DISCONNECT
		case 8: // user property, seldom a topic alias: it ends the connection where none is allowed
			properties := []byte{0x26, 0, 1, 'k', 0, 1, 'v'}
			if rng.IntN(8) == 0 {
				properties = append(properties, 0x23, 0, 3)
			}
			out = append(out, device.PublishPacket(level, message(1), id, properties...)...)
		case 9: // message expiry, response topic, correlation data
			out = append(out, device.PublishPacket(level, message(2), id, 0x02, 0, 0, 0, 9, 0x08, 0, 1, 'r', 0x09, 0, 1, 'c')...)
		default:
			out = append(out, device.PublishPacket(level, message(byte(rng.IntN(3))), id)...)
		}
	}
	return out
}

// mutation changes up to four places of b.
func mutation(rng *rand.Rand, b []byte) []byte {
	for range rng.IntN(5) {
		if len(b) == 0 {
			return b
		}
		switch i := rng.IntN(len(b)); rng.IntN(4) {
		case 0:
			b[i] = byte(rng.Uint32())
		case 1:
			b[i] ^= 1 << rng.IntN(8)
		case 2:
			b = slices.Delete(b, i, min(len(b), i+1+rng.IntN(4)))
		case 3:
			b = slices.Insert(b, i, byte(rng.Uint32()))
		}
	}
	return b
}

// A thousand clients that are connected and say nothing.
func TestBrokerWithIdleClients(t *testing.T) {
	const n = 1000 // the bound is about this many
	for _, clean := range []bool{true, false} {
		name := "a thousand idle clients, " + map[bool]string{true: "clean sessions: ", false: "kept sessions: "}[clean]
		s := newSite(t, 3*time.Minute, "")
		before := s.settled(3 * time.Second)
		for i := range n {
			c := s.dial(device.Login{ClientID: fmt.Sprint("idle", i), Clean: clean, KeepAlive: 600})
			_, err := c.Subscribe(1, 1, fmt.Sprintf("idle/%d", i))
			s.ok(err)
		}
		grown := s.settled(10*time.Second) - before
		harness.Note(t, name+"memory without them", before/1024, "MB")
		harness.Figure(t, name+"memory beyond that", grown/1024, "MB", "< 50", grown < 50<<10 || race())
		s.end()
	}
}
