//go:build fault

package fault

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
)

// Wills of clients whose broker is killed: a delayed one that waits is sent in its time, one of a client that was there
// and does not come back is sent, one of a client that comes back is not, and no will is sent twice.
func TestBrokerKilledWithWills(t *testing.T) {
	s := newSite(t, 5*time.Minute, "")
	s.session("watch", 1, "will/#")
	will := func(name string) *device.Message {
		return &device.Message{Topic: "will/" + name, Payload: []byte(name + "-1"), QoS: 1}
	}
	hour := []byte{0x11, 0, 0, 14, 16} // session expiry interval
	delayed := device.Login{ClientID: "delayed", Level: 5, Will: will("delayed"), Properties: hour, WillProperties: []byte{0x18, 0, 0, 0, 4}}
	s.ok(s.dial(delayed).Close())
	s.ok(s.dial(device.Login{ClientID: "polite", Will: will("polite")}).Leave())
	s.dial(device.Login{ClientID: "gone", Will: will("gone"), KeepAlive: 5})
	s.dial(device.Login{ClientID: "back", Will: will("back"), KeepAlive: 5})
	s.restart()
	s.dial(device.Login{ClientID: "back", Will: will("back"), KeepAlive: 600})

	got := newReceipts()
	watch := s.dial(device.Login{ClientID: "watch"})
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end) && got.distinct() < 2; {
		got.take(t, watch, time.Second)
	}
	for got.take(t, watch, quiet) { // more than there should be
	}
	s.restart()
	watch = s.dial(device.Login{ClientID: "watch"})
	for got.take(t, watch, 2*quiet) {
	}
	name := "broker killed with wills: "
	harness.Equal(t, name+"delayed one that waited, sent", got.times["delayed-1"], 1, "times")
	harness.Equal(t, name+"client that did not come back, sent", got.times["gone-1"], 1, "times")
	harness.Equal(t, name+"client that had left before, sent", got.times["polite-1"], 0, "times")
	harness.Note(t, name+"client that came back and lost its broker again, sent", got.times["back-1"], "times")
}

// Two members of a shared subscription with sessions of their own: every message goes to one of them, also while one is
// away and the broker is killed. Two groups get everything twice.
func TestBrokerSharedSubscriptions(t *testing.T) {
	n := scaled(t, 2000) / 4 * 4
	for _, level := range []byte{4, 5} {
		name := fmt.Sprintf("shared subscription, MQTT level %d: ", level)
		s := newSite(t, 5*time.Minute, "")
		join := func(member string) *device.Raw {
			l := device.Login{ClientID: member, Level: level}
			if level == 5 {
				l.Properties = []byte{0x11, 0, 0, 14, 16}
			}
			return s.dial(l)
		}
		members := map[string]*device.Raw{}
		for _, m := range []string{"a1", "a2", "b1"} {
			members[m] = join(m)
			codes, err := members[m].Subscribe(1, 1, fmt.Sprintf("$share/%c/sh/#", m[0]))
			s.ok(err)
			if len(codes) != 1 || codes[0] != 1 {
				t.Fatalf("%sSUBACK %v", name, codes)
			}
		}
		got := map[string]*receipts{"a": newReceipts(), "b": newReceipts()}
		drain := func() {
			var wg sync.WaitGroup
			for m, r := range members {
				wg.Go(func() {
					for got[m[:1]].take(t, r, quiet) {
					}
				})
			}
			wg.Wait()
		}
		s.pour("p1", "sh/x", n/4) // everybody there
		drain()
		harness.Equal(t, name+"both there, received by one of them", got["a"].distinct(), n/4, "messages")
		s.ok(members["a2"].Leave())
		s.pour("p2", "sh/x", n/4) // one away
		drain()
		harness.Note(t, name+"one away, received by the other", got["a"].distinct()-n/4, "messages")
		s.ok(members["a1"].Leave())
		s.ok(members["b1"].Leave())
		s.pour("p3", "sh/x", n/4) // all away
		s.restart()
		for m := range members {
			members[m] = join(m)
		}
		s.pour("p4", "sh/x", n/4)
		drain()
		for g, r := range got {
			harness.Equal(t, name+"group "+g+", received", r.distinct(), n, "messages")
			harness.Zero(t, name+"group "+g+", twice", r.again(), "messages")
		}
		s.end()
	}
}

// A QoS 2 message is cut off by kills at each step of both of its ways: it still comes exactly once, and from PUBREC on only
// PUBREL comes again.
func TestBrokerKilledAtEachStepOfQoS2(t *testing.T) {
	s := newSite(t, 3*time.Minute, "")
	s.session("sub", 2, "z/#")
	name := "broker killed at each step of QoS 2: "
	expect := func(r *device.Raw, what string, kind byte, id uint16) device.Packet {
		t.Helper()
		p, err := r.Next(10 * time.Second)
		if err != nil || p.Kind != kind || id != 0 && p.ID() != id {
			t.Fatalf("%s: kind %d, id %d, %v; not kind %d, id %d", what, p.Kind, p.ID(), err, kind, id)
		}
		return p
	}
	silent := func(r *device.Raw, what string) {
		t.Helper()
		if p, err := r.Next(quiet / 3); err == nil {
			t.Errorf("%s: unexpected packet of kind %d", what, p.Kind)
		}
	}
	m := device.Message{Topic: "z/1", QoS: 2, Payload: []byte("once-1")}
	again := m
	again.Duplicate = true

	pub := s.dial(device.Login{ClientID: "pub"})
	s.ok(pub.Send(m, 7))
	expect(pub, "PUBLISH", device.Pubrec, 7)
	s.restart()
	pub = s.dial(device.Login{ClientID: "pub"})
	harness.Figure(t, name+"the publisher's session is there", pub.Present, "-", "true", pub.Present)
	s.ok(pub.Send(again, 7))
	expect(pub, "PUBLISH with DUP after a kill", device.Pubrec, 7)
	s.ok(pub.Ack(device.Pubrel, 7))
	expect(pub, "PUBREL", device.Pubcomp, 7)
	s.restart()
	pub = s.dial(device.Login{ClientID: "pub"})
	s.ok(pub.Ack(device.Pubrel, 7))
	expect(pub, "PUBREL once more, after a kill", device.Pubcomp, 7)

	sub := s.dial(device.Login{ClientID: "sub"})
	got, id, err := expect(sub, "the message", device.Publish, 0).Message()
	s.ok(err)
	s.restart()
	sub = s.dial(device.Login{ClientID: "sub"})
	p := expect(sub, "the message once more after a kill", device.Publish, 0)
	repeated, sameID, err := p.Message()
	s.ok(err)
	right := sameID == id && repeated.Duplicate && string(repeated.Payload) == string(got.Payload)
	harness.Figure(t, name+"before PUBREC it comes again with DUP and its id", right, "-", "true", right)
	s.ok(sub.Ack(device.Pubrec, id))
	expect(sub, "after PUBREC", device.Pubrel, id)
	s.restart()
	sub = s.dial(device.Login{ClientID: "sub"})
	expect(sub, "after PUBREC and a kill", device.Pubrel, id)
	s.ok(sub.Ack(device.Pubcomp, id))
	silent(sub, "after PUBCOMP")
	s.pause(2 * time.Second) // what is acknowledged may be deleted a moment later
	s.restart()
	silent(s.dial(device.Login{ClientID: "sub"}), "after PUBCOMP and a kill: the message came twice")
	harness.Figure(t, name+"exactly once, each packet as it must be", !t.Failed(), "-", "true", !t.Failed())
}

// A client uses for its own packets the ids that messages to it have: neither disturbs the other.
func TestBrokerWithTheSamePacketIDsBothWays(t *testing.T) {
	for _, qos := range []byte{1, 2} {
		name := fmt.Sprintf("the same packet ids both ways, QoS %d: ", qos)
		s := newSite(t, 3*time.Minute, "")
		c := s.dial(device.Login{ClientID: "dev"})
		_, err := c.Subscribe(100, qos, "cmd/#")
		s.ok(err)
		other := s.dial(device.Login{ClientID: "other", Clean: true})
		ids := map[uint16]string{}
		for i := range 3 {
			m := device.Message{Topic: "cmd/x", QoS: qos, Payload: fmt.Appendf(nil, "cmd-%d", i)}
			s.ok(other.Send(m, uint16(i+1)))
			p, err := c.Next(10 * time.Second)
			s.ok(err)
			m, id, err := p.Message()
			s.ok(err)
			ids[id] = string(m.Payload)
			if qos == 2 { // or the next would have to wait for the end of this one
				s.ok(other.Ack(device.Pubrel, uint16(i+1)))
			}
		}
		wrong := 0
		for id := range ids {
			for _, mine := range []byte{1, 2} {
				s.ok(c.Send(device.Message{Topic: "tele/x", QoS: mine, Payload: []byte("t-1")}, id))
				want := map[byte]byte{1: device.Puback, 2: device.Pubrec}[mine]
				if p, err := c.Next(10 * time.Second); err != nil || p.Kind != want || p.ID() != id {
					wrong++
				}
				if mine == 2 {
					s.ok(c.Ack(device.Pubrel, id))
					if p, err := c.Next(10 * time.Second); err != nil || p.Kind != device.Pubcomp || p.ID() != id {
						wrong++
					}
				}
			}
			if codes, err := c.Subscribe(id, 1, "other/#"); err != nil || len(codes) != 1 || codes[0] > 2 {
				wrong++
			}
		}
		harness.Zero(t, name+"answers to the client's own packets that were wrong or missing", wrong, "packets")
		s.ok(c.Close())
		s.restart()
		c = s.dial(device.Login{ClientID: "dev"})
		lost := 0
		for range ids {
			p, err := c.Next(quiet)
			if err != nil {
				lost++
				continue
			}
			if m, id, err := p.Message(); err != nil || p.Kind != device.Publish || ids[id] != string(m.Payload) {
				lost++
			}
		}
		harness.Zero(t, name+"messages to it that did not come again under their ids", lost, "messages")
		s.end()
	}
}
