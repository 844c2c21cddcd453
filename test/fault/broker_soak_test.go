//go:build fault

package fault

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
)

// soak is what a thousand clients that come and go have in common.
type soak struct {
	*site
	clients  []*soakClient
	connects atomic.Int64
	refused  atomic.Int64
	absent   atomic.Int64 // sessions that should have been there
}

// soakClient has a session of its own, or a clean one each time.
type soakClient struct {
	id    string
	clean bool
	level byte
	met   atomic.Bool // it has subscribed once
	got   *receipts
}

// A thousand clients come and go for a while (SOAK, half a minute without), half of them with sessions, at which messages
// keep arriving. Nothing that was acknowledged is missing in the end, and memory does not grow.
func TestBrokerSoak(t *testing.T) {
	const crowd, writers = 1000, 8
	duration := 30 * time.Second
	if text := os.Getenv("SOAK"); text != "" {
		var err error
		if duration, err = time.ParseDuration(text); err != nil {
			t.Fatalf("SOAK: %v", err)
		}
	}
	s := &soak{site: newSite(t, duration+10*time.Minute, "")}
	for i := range crowd {
		s.clients = append(s.clients, &soakClient{id: fmt.Sprintf("client%04d", i), clean: i%2 == 0, level: byte(4 + i/2%2), got: newReceipts()})
	}
	ctx, cancel := context.WithTimeout(s.ctx, duration)
	defer cancel()
	var comers, talkers sync.WaitGroup
	for i, c := range s.clients {
		comers.Go(func() { s.comeAndGo(ctx, c, rand.New(rand.NewPCG(uint64(i), 1))) })
	}
	sent := make([]map[string][]string, writers) // by client
	for w := range sent {
		sent[w] = map[string][]string{}
		talkers.Go(func() { s.talk(ctx, fmt.Sprintf("writer%d", w), rand.New(rand.NewPCG(uint64(w), 2)), sent[w]) })
	}
	var memory []int
	for ctx.Err() == nil {
		select {
		case <-time.After(time.Second):
			memory = append(memory, s.memory())
		case <-ctx.Done():
		}
	}
	comers.Wait()
	talkers.Wait()

	acked, lost, disorder, again := 0, 0, 0, 0
	for _, c := range s.clients {
		if c.clean {
			continue
		}
		var list []string
		for _, by := range sent {
			list = append(list, by[c.id]...)
		}
		if r := s.login(c); r != nil {
			c.got.read(t, r, len(list))
			s.ok(r.Leave())
		}
		acked += len(list)
		lost += c.got.missing(list)
		disorder += c.got.disorder
		again += c.got.again()
	}
	name := "soak: "
	harness.Note(t, name+"lasted", int(duration.Seconds()), "s")
	harness.Note(t, name+"connections", s.connects.Load(), "connections")
	harness.Zero(t, name+"connections refused or broken", int(s.refused.Load()), "connections")
	harness.Zero(t, name+"sessions not present", int(s.absent.Load()), "times")
	harness.Note(t, name+"acknowledged for sessions", acked, "messages")
	harness.Zero(t, name+"acknowledged and lost", lost, "messages")
	harness.Zero(t, name+"out of order of their publisher", disorder, "messages")
	harness.Note(t, name+"twice", again, "messages")
	third := len(memory) / 3
	middle, last := slices.Max(memory[third:2*third]), slices.Max(memory[2*third:])
	harness.Note(t, name+"memory at most, second third", middle/1024, "MB")
	harness.Figure(t, name+"memory at most, last third against that", fmt.Sprintf("%.2f", float64(last)/float64(middle)), "x", "<= 1.25", float64(last) <= 1.25*float64(middle))
	harness.Note(t, name+"files at the end", s.files()/1024, "kB")
}

// login connects c and subscribes; nil when that failed.
func (s *soak) login(c *soakClient) *device.Raw {
	l := device.Login{Addr: s.addr, ClientID: c.id, Level: c.level, Clean: c.clean, KeepAlive: 60}
	l.Will = &device.Message{Topic: "soak/wills", Payload: []byte(c.id)}
	if c.level == 5 && !c.clean {
		l.Properties = []byte{0x11, 0, 0, 14, 16} // session expiry interval: an hour
	}
	r, err := device.Dial(l)
	s.connects.Add(1)
	if err != nil {
		s.refused.Add(1)
		s.t.Logf("%s: %v", c.id, err)
		return nil
	}
	if c.met.Load() && !c.clean && !r.Present {
		s.absent.Add(1)
	}
	if _, err := r.Subscribe(1, 1, "soak/"+c.id, "soak/all/+"); err != nil {
		s.refused.Add(1)
		s.t.Logf("%s: subscribe: %v", c.id, err)
		_ = r.Close()
		return nil
	}
	c.met.Store(true)
	return r
}

// comeAndGo is the life of one client: there for a while, away for a while.
func (s *soak) comeAndGo(ctx context.Context, c *soakClient, rng *rand.Rand) {
	nap := func(most time.Duration) {
		select {
		case <-time.After(time.Duration(rng.Int64N(int64(most)))):
		case <-ctx.Done():
		}
	}
	for nap(10 * time.Second); ctx.Err() == nil; nap(10 * time.Second) {
		r := s.login(c)
		if r == nil {
			continue
		}
		status := device.Message{Topic: "soak/status/" + c.id, Payload: []byte("there"), Retain: true, QoS: byte(rng.IntN(2))}
		_ = r.Send(status, 2) // what is wrong shows when we read
		for until := time.Now().Add(time.Duration(rng.Int64N(int64(10 * time.Second)))); time.Now().Before(until) && ctx.Err() == nil; {
			c.got.take(s.t, r, time.Until(until)+time.Millisecond)
		}
		if rng.IntN(2) == 0 {
			_ = r.Leave() // it may be gone
		} else {
			_ = r.Close() // without a word
		}
	}
}

// talk publishes to clients that have sessions, fifty messages a second, and now and then to all.
func (s *soak) talk(ctx context.Context, name string, rng *rand.Rand, sent map[string][]string) {
	client, _ := s.connect(device.Config{ClientID: name})
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	type pending struct {
		to, payload string
		acked       <-chan struct{}
	}
	var waiting []pending
	for i := 0; ctx.Err() == nil; i++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			continue
		}
		if i%500 == 499 {
			_, _ = client.Send(s.ctx, device.Message{Topic: "soak/all/" + name, Payload: []byte(hello)}) // nobody counts it
		}
		to := s.clients[2*rng.IntN(len(s.clients)/2)+1]
		if !to.met.Load() {
			continue
		}
		payload := fmt.Sprintf("%s-%09d", name, i)
		acked, err := client.Send(s.ctx, device.Message{Topic: "soak/" + to.id, Payload: []byte(payload)})
		if err != nil {
			return
		}
		waiting = append(waiting, pending{to.id, payload, acked})
	}
	for _, p := range waiting {
		select {
		case <-p.acked:
			sent[p.to] = append(sent[p.to], p.payload)
		case <-s.ctx.Done():
			return
		}
	}
}

// files is how large all files of the store are, in bytes.
func (s *soak) files() int64 {
	var sum int64
	err := filepath.WalkDir(filepath.Join(s.Dir, "data"), func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	s.ok(err)
	return sum
}
