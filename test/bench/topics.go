package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/gatepost/gatepost/test/harness"
)

// oddTopics are names that devices use and that some brokers do not like.
func oddTopics() []string {
	return []string{
		"bench/plain/state",
		"bench/Living room lamp/state", "bench/ /state", "bench/ padded /state", "bench/two  spaces/a b",
		"bench/a.b.c/state", "bench/./state", "bench/../state", "a.b/c.d/e.f", ".",
		"bench//state", "/bench/x/state", "bench/trailing/", "//", "/", "bench///",
		"bench/küche/state", "bench/温度/state", "bench/🚪/state", "bench/e\u0301/state", "bench/\u00e9/state", "bench/مطبخ/حالة", "bench/\u00a0/state",
		"bench/UPPER/State", "bench/under_score-dash/state", "bench/#hash/state", "bench/plus+/state",
		"bench/percent%2F/state", "bench/{brace}/state", "bench/$dollar/state", "$bench/x/state",
		"bench/very/deep/topic/with/many/levels", "bench/quote\"s'/state", "bench/back\\slash/state",
	}
}

// topicRules take names of any number of levels, two of them by name.
const topicRules = `  - topic: bench/{device}/state
    class: event
  - topic: bench/{device}/{reading}
    class: event
  - topic: "{site}/{device}/{reading}"
    class: event
`

// seen is what became of one topic at one broker.
type seen struct {
	Published  string // acknowledged, or refused
	Subscriber string // the topic that another client got
	Device     string // what gatepost made of it
}

// topics publishes odd names through the embedded broker and through mosquitto and compares what becomes of each.
func topics(ctx context.Context, b *bench) error {
	mosquitto, addr, err := b.mosquitto()
	if err != nil {
		return err
	}
	defer func() { _ = mosquitto.Process.Kill() }()
	ours, err := b.tryTopics(ctx, setup{rules: topicRules}, "")
	if err != nil {
		return fmt.Errorf("embedded broker: %w", err)
	}
	theirs, err := b.tryTopics(ctx, setup{rules: topicRules, url: "mqtt://" + addr}, addr)
	if err != nil {
		return fmt.Errorf("mosquitto: %w", err)
	}
	same, taken := 0, 0
	for _, t := range slices.Sorted(maps.Keys(ours)) {
		if ours[t] == theirs[t] {
			same++
		} else {
			b.report.note("topic %q: embedded %+v, mosquitto %+v", t, ours[t], theirs[t])
		}
		if ours[t].Subscriber == t {
			taken++
		}
	}
	b.report.note("topics: %d of %d arrive through the embedded broker as they were sent", taken, len(ours))
	all := len(oddTopics())
	b.report.figure("odd topics that fare the same at the embedded broker and mosquitto", float64(same), "of "+fmt.Sprint(all), fmt.Sprint(all), same == all)
	return nil
}

// mosquitto starts one that everybody on this machine may use.
func (b *bench) mosquitto() (*exec.Cmd, string, error) {
	path, err := mosquittoPath()
	if err != nil {
		return nil, "", err
	}
	ports, err := harness.FreePorts(1)
	if err != nil {
		return nil, "", err
	}
	dir, err := b.dir("mosquitto")
	if err != nil {
		return nil, "", err
	}
	file := filepath.Join(dir, "mosquitto.conf")
	text := fmt.Sprintf("listener %d 127.0.0.1\nallow_anonymous true\nlog_type error\n", ports[0])
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, "", err
	}
	cmd := exec.Command(path, "-c", file)
	cmd.Stderr = os.Stderr
	return cmd, fmt.Sprintf("127.0.0.1:%d", ports[0]), cmd.Start()
}

// tryTopics publishes each name through the broker at addr ("": the gateway's own) and sees what a subscriber and gatepost
// make of it. The homeserver is away, so that everything stays in the lanes.
func (b *bench) tryTopics(ctx context.Context, cfg setup, addr string) (map[string]seen, error) {
	g, err := b.newGateway(cfg)
	if err != nil {
		return nil, err
	}
	if err := g.Launch(); err != nil {
		return nil, err
	}
	defer g.Kill()
	outside := addr != ""
	if !outside {
		addr = g.mqtt
	}
	sub, err := dial(addr, "subscriber")
	if err != nil {
		return nil, err
	}
	defer sub.Close()
	for _, filter := range []string{"#", "$bench/#"} {
		if err := sub.subscribe(filter, 0); err != nil {
			return nil, err
		}
	}
	got := make(chan string, 100)
	go func() {
		defer close(got)
		for {
			first, body, err := sub.read()
			if err != nil {
				return
			}
			if first&0xF0 == publish {
				if topic, _, _, err := parsePublish(first, body); err == nil {
					got <- topic
				}
			}
		}
	}()
	if outside {
		if err := g.connected(ctx); err != nil {
			return nil, err
		}
	}
	out := map[string]seen{}
	for _, topic := range oddTopics() {
		if out[topic], err = g.tryTopic(ctx, addr, topic, got); err != nil {
			return nil, fmt.Errorf("topic %q: %w", topic, err)
		}
	}
	return out, nil
}

// connected waits until gatepost is subscribed at its outside broker.
func (g *gateway) connected(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		if v, err := g.metric(ctx, "gatepost_mqtt_connected", ""); err == nil && v == 1 {
			return nil
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("gatepost does not connect: %w: %s", err, g.Log().Tail(5))
		}
	}
}

func (g *gateway) tryTopic(ctx context.Context, addr, topic string, got <-chan string) (seen, error) {
	before, err := g.lanes(ctx)
	if err != nil {
		return seen{}, err
	}
	c, err := dial(addr, "publisher")
	if err != nil {
		return seen{}, err
	}
	defer c.Close()
	s := seen{Published: "acknowledged"}
	_ = c.SetReadDeadline(time.Now().Add(2 * time.Second)) // of an open connection: cannot fail
	var timeout net.Error
	switch err := c.publish(topic, 1, []byte("odd")); {
	case errors.As(err, &timeout) && timeout.Timeout():
		s.Published = "no answer"
	case err != nil:
		s.Published = "disconnected"
	}
	select {
	case s.Subscriber = <-got:
	case <-time.After(300 * time.Millisecond):
	case <-ctx.Done():
		return s, ctx.Err()
	}
	// An outside broker acknowledges before gatepost has the message.
	for end := time.Now().Add(300 * time.Millisecond); s.Device == "" && time.Now().Before(end); {
		after, err := g.lanes(ctx)
		if err != nil {
			return s, err
		}
		for lane, n := range after {
			if n > before[lane] {
				s.Device = lane
			}
		}
	}
	return s, nil
}

// lanes gives the number of events that wait, by lane.
func (g *gateway) lanes(ctx context.Context) (map[string]int, error) {
	result, err := g.Do(ctx, "outbox", "--json")
	if err != nil {
		return nil, err
	}
	if result.Code != 0 {
		return nil, fmt.Errorf("outbox: %s", result.Stderr)
	}
	var list []struct {
		Lane    string         `json:"lane"`
		Classes map[string]int `json:"classes"`
	}
	if err := json.Unmarshal([]byte(result.Stdout), &list); err != nil {
		return nil, err
	}
	out := map[string]int{}
	for _, l := range list {
		out[l.Lane] = l.Classes["event"]
	}
	return out, nil
}
