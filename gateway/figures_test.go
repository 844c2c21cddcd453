//go:build interop || bench

package gateway

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/gatepost/gatepost/gateway/discovery"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/internal/template"
	"github.com/gatepost/gatepost/mqtt/convention"
	"github.com/gatepost/gatepost/mqtt/topic"
)

// found1000 is a gateway that is not started, with a thousand admitted sensors of three readings each.
func found1000(t testing.TB) *Gateway {
	ha, err := convention.New("homeassistant", "")
	if err != nil {
		t.Fatal(err)
	}
	g, err := New(Config{
		Store: newMemStore(), Matrix: newMemRooms(), Clock: trueClock{}, Devices: &memDevices{}, Rules: &Rules{}, ServerName: "x", Bot: "@gatepost:x", Ghosts: true,
		People: People{Owners: []ids.UserID{"@alice:x"}}, Discovery: &Discovery{Conventions: []convention.Convention{ha}},
	})
	if err != nil {
		t.Fatal(err)
	}
	b := &batch{}
	for i := range 1000 {
		for _, what := range []string{"temperature", "humidity", "battery"} {
			g.routeOne(b, topic.Message{Topic: fmt.Sprintf("homeassistant/sensor/s%d/%s/config", i, what), Time: noon, Payload: fmt.Appendf(nil,
				`{"name":%q,"uniq_id":"s%d_%s","dev_cla":%q,"stat_t":"z/s%d","val_tpl":"{{ value_json.%s }}","dev":{"ids":["s%d"],"name":"Sensor %d"}}`, what, i, what, what, i, what, i, i)})
		}
	}
	g.discoverTick(b, noon.Add(time.Minute))
	for _, p := range g.finder.host.Proposals() {
		g.decide(b, p.ID, discovery.Admit, "")
	}
	g.seal(b)
	if n := len(g.devices.byID); n != 1000 {
		t.Fatalf("%d devices", n)
	}
	return g
}

// TestFigures prints what routing the messages of discovered devices costs, a figure a line.
func TestFigures(t *testing.T) {
	figure := func(name string, value float64, unit, must string, ok bool) {
		verdict := "ok"
		if !ok {
			verdict = "miss"
			t.Errorf("%s: %v %s, must be %s", name, value, unit, must)
		}
		fmt.Printf("figure\t%s\t%.3g\t%s\t%s\t%s\n", name, value, unit, must, verdict) //nolint:forbidigo // the figure is what this is for
	}
	g := found1000(t)
	payloads := [][]byte{[]byte(`{"temperature":21.5,"humidity":40,"battery":97}`), []byte(`{"temperature":21.6,"humidity":41,"battery":96}`)}
	whole := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		x := &batch{}
		for i := range b.N {
			g.routeOne(x, topic.Message{Topic: "z/s500", Payload: payloads[i%2], Time: noon})
			if i%batchRecords == 0 {
				g.seal(x)
				x.reset()
			}
		}
	})
	var all []*template.Template
	for _, what := range []string{"temperature", "humidity", "battery"} {
		c, err := template.Compile("{{ value_json." + what + " }}")
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	bare := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		vars := map[string]any{}
		for i := range b.N {
			vars["value"], vars["value_json"] = template.LazyText(payloads[i%2]), template.LazyJSON(payloads[i%2])
			for _, c := range all {
				if _, err := c.Render(vars); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	beyond := float64(whole.NsPerOp()-bare.NsPerOp()) / 1000
	figure("routing of one discovered sensor's message beyond decoding and rendering", beyond, "us", "<= 5", beyond <= 5)
	allocs := float64(whole.AllocsPerOp() - bare.AllocsPerOp())
	figure("allocations of that", allocs, "allocations", "<= 25", allocs <= 25)
	delay := floodDelay(t)
	figure("longest wait of a device's message during 10 000 announcements in 10 s", float64(delay.Microseconds())/1000, "ms", "<= 50", delay <= 50*time.Millisecond)
}

// floodDelay is how long a known device's message waits at most until it is stored while a stranger announces devices.
func floodDelay(t *testing.T) (longest time.Duration) {
	g := found1000(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	for deadline := time.Now().Add(time.Minute); g.store.(*memStore).waiting() > 0; <-time.After(100 * time.Millisecond) { // a thousand rooms are made
		if time.Now().After(deadline) {
			t.Fatal("the rooms are not made")
		}
	}
	const devices, takes = 10_000, 10 * time.Second
	flooded := make(chan struct{})
	go func() {
		defer close(flooded)
		began := time.Now()
		for i := range devices {
			name, payload := haLamp(fmt.Sprint("flood", i), fmt.Sprint("Flood ", i), fmt.Sprint("flood/", i))
			g.Submit(message(name, payload), func(error) {})
			if ahead := time.Until(began.Add(takes * time.Duration(i) / devices)); ahead > 0 {
				<-time.After(ahead)
			}
		}
	}()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-flooded:
			return longest
		case <-tick.C:
			began := time.Now()
			if err := g.Deliver(ctx, message("z/s1", fmt.Sprintf(`{"temperature":%d}`, i))); err != nil {
				t.Fatal(err)
			}
			longest = max(longest, time.Since(began))
		}
	}
}
