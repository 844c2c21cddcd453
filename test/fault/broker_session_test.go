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
