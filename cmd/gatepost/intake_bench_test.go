package main

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gatepost/gatepost/gateway"
	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/mqtt/topic"
	"github.com/gatepost/gatepost/store"
)

// away is a homeserver that is not there.
type away struct{ gateway.Rooms }

var errAway = lane.Outcome{Verdict: lane.Retry, Reason: "away", After: time.Hour}

func (away) EnsureUser(context.Context, ids.UserID, string) error { return errAway }
func (away) Resolve(context.Context, string) (room.Found, bool, error) {
	return room.Found{}, false, errAway
}
func (away) Offset() (time.Duration, bool)                             { return 0, false }
func (away) Publish(context.Context, string, []byte, byte, bool) error { return errAway }

// BenchmarkIntake is one message from its delivery to its commit, as it comes from an outside broker: 50 devices, events.
func BenchmarkIntake(b *testing.B) {
	s, err := store.Open(store.Options{Path: filepath.Join(b.TempDir(), "s"), MaxSize: 4 << 30, LaneRecords: 1 << 20, LaneBytes: 1 << 30})
	if err != nil {
		b.Fatal(err)
	}
	rule, err := gateway.Compile(gateway.RuleSpec{Topic: "sensors/{device}/{reading}", Class: lane.Event, Post: "{{ reading }} {{ value }} °C"})
	if err != nil {
		b.Fatal(err)
	}
	rules, err := gateway.NewRules(rule)
	if err != nil {
		b.Fatal(err)
	}
	g, err := gateway.New(gateway.Config{Store: s, Matrix: away{}, Clock: away{}, Devices: away{}, Rules: rules, ServerName: "x", Bot: "@gatepost:x", Ghosts: true})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	window := make(chan struct{}, 1000)
	for i := range b.N {
		window <- struct{}{}
		wg.Add(1)
		g.Submit(topic.Message{Topic: fmt.Sprintf("sensors/d%d/temperature", i%50), Payload: []byte("21.5"), QoS: 1, PacketID: uint16(i + 1), Time: time.Now()}, func(err error) {
			if err != nil {
				b.Error(err)
			}
			<-window
			wg.Done()
		})
	}
	wg.Wait()
	b.StopTimer()
	cancel()
	if err := <-ended; err != nil {
		b.Error(err)
	}
	if err := s.Close(); err != nil {
		b.Error(err)
	}
}
