package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/gatepost/gatepost/test/harness"
)

const (
	deliveryRooms   = 50
	deliveryWorkers = 4   // as many as gatepost has
	deliveryNumber  = 200 // messages in a round
)

// commandRule has what the figures of delivery and of commands need.
const commandRule = eventRule + `    commands:
      - {name: "on", topic: "command/{device}/set", payload: "ON"}
`

// smallSite is the one of delivery and commands.
func (b *bench) smallSite(ctx context.Context) (*site, error) {
	if b.site == nil {
		s, err := b.newSite(ctx, commandRule, deliveryRooms, true)
		if err != nil {
			return nil, err
		}
		b.site = s
	}
	return b.site, nil
}

// delivery measures messages from their PUBLISH to being in the rooms, over 50 rooms, against a program that only sends:
// the same content, by the same users, into the same rooms of the same homeserver, in turn.
func delivery(ctx context.Context, b *bench) error {
	s, err := b.smallSite(ctx)
	if err != nil {
		return err
	}
	sample, err := s.sample()
	if err != nil {
		return err
	}
	base, err := s.messages(ctx)
	if err != nil {
		return err
	}
	sent := 0
	ours := func() (float64, error) { sent += deliveryNumber; return s.deliver(ctx) }
	theirs := func() (float64, error) { sent += deliveryNumber; return s.sendBare(ctx, sample) }
	ratio, err := b.compare("delivery to Dendrite over 50 rooms", "messages/s", b.rounds, ours, theirs)
	if err != nil {
		return err
	}
	now, err := s.messages(ctx)
	if err != nil {
		return err
	}
	if now-base != sent {
		return fmt.Errorf("%d messages came into the rooms, %d were sent", now-base, sent)
	}
	b.report.atLeast("delivery against a bare sender with 4 workers", ratio, "x", 0.95)
	return nil
}

// sample is the content of a post of gatepost's own.
func (s *site) sample() (map[string]any, error) {
	var raw []byte
	s.owner.View(func(rooms map[string]*harness.Room) {
		raw = rooms[s.devices[0].RoomID].Messages()[0].Raw
	})
	content := map[string]any{}
	return content, json.Unmarshal(raw, &content)
}

// messages counts the device messages in all rooms, as the homeserver has them.
func (s *site) messages(ctx context.Context) (int, error) {
	n := 0
	for _, d := range s.devices {
		history, err := s.owner.History(ctx, d.RoomID)
		if err != nil {
			return 0, err
		}
		for _, e := range history {
			if e.Type == "m.room.message" && e.Sender == d.User {
				n++
			}
		}
	}
	return n, nil
}

// deliver publishes a round of messages and waits until they are delivered.
func (s *site) deliver(ctx context.Context) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	c, err := dial(s.gateway.mqtt, "delivery")
	if err != nil {
		return 0, err
	}
	defer c.Close()
	start := time.Now()
	for i := range deliveryNumber {
		topic, payload := event(i, deliveryRooms)
		if err := c.publish(topic, uint16(i+1), payload); err != nil {
			return 0, err
		}
	}
	if err := s.gateway.delivered(ctx); err != nil {
		return 0, err
	}
	return deliveryNumber / time.Since(start).Seconds(), nil
}

// sendBare sends a round of messages with nothing in between.
func (s *site) sendBare(ctx context.Context, sample map[string]any) (float64, error) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: deliveryWorkers}}
	defer client.CloseIdleConnections()
	jobs := make(chan device)
	failures := make([]error, deliveryWorkers)
	var wg sync.WaitGroup
	start := time.Now()
	for w := range deliveryWorkers {
		wg.Go(func() {
			for d := range jobs {
				if err := s.put(ctx, client, d, sample); err != nil {
					failures[w] = err
				}
			}
		})
	}
	for i := range deliveryNumber {
		jobs <- s.devices[i%deliveryRooms]
	}
	close(jobs)
	wg.Wait()
	return deliveryNumber / time.Since(start).Seconds(), errors.Join(failures...)
}

func (s *site) put(ctx context.Context, client *http.Client, d device, sample map[string]any) error {
	content := map[string]any{}
	for k, v := range sample {
		content[k] = v
	}
	content["bench"] = harness.Secret() // no two are the same
	body, err := json.Marshal(content)
	if err != nil {
		return err
	}
	u := fmt.Sprintf("%s/_matrix/client/v3/rooms/%s/send/m.room.message/%s?user_id=%s",
		s.hs.URL(), url.PathEscape(d.RoomID), harness.Secret(), url.QueryEscape(d.User))
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, u, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+s.gateway.reg.ASToken)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("send: %s: %s", resp.Status, answer)
	}
	return err
}
