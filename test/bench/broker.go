package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatepost/gatepost/test/harness"
)

const (
	holders = 16 // sessions that are away, among which the messages are divided
	// brokerRounds is how often each broker has its turn at least.
	brokerRounds = 5
)

// rival is a broker that is measured against the others.
type rival struct {
	name string
	addr string // host:port
	next int    // number of its next round
}

// burden is what a round puts on a broker.
type burden struct {
	publishers int
	through    bool // one subscriber is there and gets everything; without, everything is for sessions that are away
}

func (l burden) String() string {
	if l.through {
		return fmt.Sprintf("%d publishers to one subscriber", l.publishers)
	}
	if l.publishers == 1 {
		return "1 publisher"
	}
	return fmt.Sprintf("%d publishers", l.publishers)
}

// turn is the outcome of a round.
type turn struct {
	rate float64 // messages a second that were acknowledged
	p99  float64 // of the time from PUBLISH to PUBACK, in ms
}

// sessions measures the embedded broker as other programs see it: no rules, MQTT from client to client. Each message is for
// a session, so that it must be on disk before its PUBACK. The prototype in test/bench/baseline promises the same; mosquitto,
// whose autosave is off, promises nothing of the kind and is there for comparison only.
func sessions(ctx context.Context, b *bench) error {
	rivals, end, err := b.rivals(ctx)
	defer end()
	if err != nil {
		return err
	}
	for _, l := range []burden{{1, false}, {16, false}, {200, false}, {200, true}} {
		if err := b.contest(ctx, l, rivals); err != nil {
			return err
		}
	}
	return nil
}

// contest has each broker take the load in turn, another one first in each round.
func (b *bench) contest(ctx context.Context, l burden, rivals []*rival) error {
	rates, tails := make([][]float64, len(rivals)), make([][]float64, len(rivals))
	for i := range max(brokerRounds, b.rounds) {
		for j := range rivals {
			k := (i + j) % len(rivals)
			got, err := rivals[k].round(ctx, l)
			if err != nil {
				return fmt.Errorf("%s, %v, round %d: %w", rivals[k].name, l, i+1, err)
			}
			rates[k], tails[k] = append(rates[k], got.rate), append(tails[k], got.p99)
			b.report.note("broker, %v, round %d: %s %s messages/s, p99 %s ms (%s)", l, i+1, rivals[k].name, number(got.rate), number(got.p99), load())
		}
	}
	for k, r := range rivals {
		b.report.note("broker, %v: %s messages/s %s", l, r.name, spread(rates[k]))
		b.report.note("broker, %v: %s p99 in ms %s", l, r.name, spread(tails[k]))
		b.report.recorded(fmt.Sprintf("broker, %v, %s", l, r.name), median(rates[k]), "messages/s")
		b.report.recorded(fmt.Sprintf("broker, %v, %s, p99 of a PUBACK", l, r.name), median(tails[k]), "ms")
	}
	ratio := ratios(rates[0], rates[1])
	b.report.note("broker, %v: ratio %s", l, spread(ratio))
	b.report.atLeast(fmt.Sprintf("broker, %v, against the prototype", l), median(ratio), "x", 0.9)
	if l.publishers == 16 {
		tail := ratios(tails[0], tails[1])
		b.report.note("broker, %v: ratio of p99 %s", l, spread(tail))
		b.report.atMost(fmt.Sprintf("broker, %v, p99 of a PUBACK against the prototype", l), median(tail), "x", 1.3)
	}
	return nil
}

func ratios(a, b []float64) []float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = a[i] / b[i]
	}
	return out
}

// rivals starts gatepost, the prototype and, where there is one, mosquitto. end stops them.
func (b *bench) rivals(ctx context.Context) (list []*rival, end func(), err error) {
	var stops []func()
	end = func() {
		for _, stop := range stops {
			stop()
		}
	}
	ports, err := harness.FreePorts(3)
	if err != nil {
		return nil, end, err
	}
	addr := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", ports[i]) }

	dir, err := b.dir("gatepost")
	if err != nil {
		return nil, end, err
	}
	g, err := harness.NewGatepost(b.program("gatepost"), dir, harness.Settings{Admin: addr(1)})
	if err != nil {
		return nil, end, err
	}
	if err := g.Configure(fmt.Sprintf("mqtt: {listen: [\"mqtt://%s\"]}\nstore: {path: data, max_size: 4GiB}\nadmin: {listen: %q, socket: data/gatepost.sock}\n", addr(0), addr(1))); err != nil {
		return nil, end, err
	}
	if err := g.Start(ctx); err != nil {
		return nil, end, err
	}
	stops = append(stops, g.Kill)
	list = append(list, &rival{name: "gatepost", addr: addr(0)})

	if dir, err = b.dir("baseline"); err != nil {
		return nil, end, err
	}
	p, err := start(dir, b.program("baseline"), "broker", dir)
	if err != nil {
		return nil, end, err
	}
	stops = append(stops, func() { _, _ = p.stop() }) // it has said all that matters
	list = append(list, &rival{name: "prototype", addr: p.line})

	path, err := mosquittoPath()
	if err != nil {
		b.report.note("broker: %v: without it", err)
		return list, end, nil
	}
	if dir, err = b.dir("mosquitto"); err != nil {
		return nil, end, err
	}
	// Started by root it would become a user who may not write there.
	conf := fmt.Sprintf("user root\nlistener %d 127.0.0.1\nallow_anonymous true\nlog_type error\npersistence true\npersistence_location %s/\nautosave_interval 0\nmax_queued_messages 0\n", ports[2], dir)
	file := filepath.Join(dir, "mosquitto.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		return nil, end, err
	}
	cmd := exec.Command(path, "-c", file)
	if err := cmd.Start(); err != nil {
		return nil, end, err
	}
	stops = append(stops, func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return append(list, &rival{name: "mosquitto, nothing on disk", addr: addr(2)}), end, nil
}

// mosquittoPath is where mosquitto is.
func mosquittoPath() (string, error) {
	if path, err := exec.LookPath("mosquitto"); err == nil {
		return path, nil
	}
	const path = "/usr/sbin/mosquitto" // where Debian puts it, which is not in everybody's path
	_, err := os.Stat(path)
	return path, err
}

// round puts the load on the broker for a second, after a moment to get going.
func (r *rival) round(ctx context.Context, l burden) (turn, error) {
	r.next++
	topic := func(publisher int) string { return fmt.Sprintf("bench/%d/%d", r.next, publisher%holders) }
	var received atomic.Int64
	if l.through {
		sub, err := resume(r.addr, fmt.Sprintf("through-%d", r.next))
		if err != nil {
			return turn{}, err
		}
		defer forget(r.addr, fmt.Sprintf("through-%d", r.next), sub)
		if err := sub.subscribe(fmt.Sprintf("bench/%d/#", r.next), 1); err != nil {
			return turn{}, err
		}
		go sub.take(&received)
	} else {
		for i := range holders {
			id := fmt.Sprintf("holder-%d", i)
			sub, err := resume(r.addr, id)
			if err != nil {
				return turn{}, err
			}
			defer forget(r.addr, id, nil)
			if err := sub.subscribe(topic(i), 1); err != nil {
				return turn{}, err
			}
			if err := sub.leave(); err != nil {
				return turn{}, err
			}
		}
	}
	conns := make([]*mqttConn, l.publishers)
	for i := range conns {
		var err error
		if conns[i], err = dial(r.addr, fmt.Sprintf("publisher-%d", i)); err != nil {
			return turn{}, err
		}
		defer conns[i].Close()
	}

	measure, cancel := context.WithTimeout(ctx, floodWarm+floodTime)
	defer cancel()
	began := time.Now().Add(floodWarm)
	var mu sync.Mutex
	var took []float64 // of those that were acknowledged in the second that counts, in ms
	var acked int64
	var failed error
	var wg sync.WaitGroup
	for i, c := range conns {
		wg.Go(func() {
			mine, all, err := c.flood(measure, topic(i), began)
			mu.Lock()
			defer mu.Unlock()
			took, acked = append(took, mine...), acked+all
			if err != nil {
				failed = err
			}
		})
	}
	wg.Wait()
	if failed != nil {
		return turn{}, failed
	}
	if len(took) == 0 {
		return turn{}, fmt.Errorf("no message was acknowledged")
	}
	if l.through {
		for end := time.Now().Add(20 * time.Second); received.Load() < acked; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				return turn{}, fmt.Errorf("%d messages were acknowledged, %d came through", acked, received.Load())
			}
		}
	}
	return turn{rate: float64(len(took)) / floodTime.Seconds(), p99: quantile(took, 0.99)}, nil
}

// flood publishes one message at a time until ctx is done. It gives the times of those sent after began, and the number of
// all.
func (c *mqttConn) flood(ctx context.Context, topic string, began time.Time) (took []float64, all int64, err error) {
	payload := make([]byte, 100)
	for id := uint16(1); ctx.Err() == nil; id = id%60000 + 1 {
		sent := time.Now()
		if err := c.publish(topic, id, payload); err != nil {
			return nil, 0, err
		}
		all++
		if done := time.Now(); sent.After(began) && ctx.Err() == nil {
			took = append(took, float64(done.Sub(sent).Microseconds())/1000)
		}
	}
	return took, all, nil
}

// take counts messages and acknowledges them until the connection ends.
func (c *mqttConn) take(received *atomic.Int64) {
	for {
		first, body, err := c.read()
		if err != nil {
			return
		}
		if first&0xF0 != publish {
			continue
		}
		_, _, id, err := parsePublish(first, body)
		if err != nil {
			return
		}
		received.Add(1)
		if _, err := c.Write([]byte{puback, 2, byte(id >> 8), byte(id)}); err != nil {
			return
		}
	}
}

// forget ends a session and what waits for it.
func forget(addr, id string, c *mqttConn) {
	if c != nil {
		_ = c.Close() // the newcomer takes over anyway
	}
	if c, err := dial(addr, id); err == nil {
		_ = c.leave() // the clean session has done it
	}
}
