package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/gatepost/gatepost/test/harness"
)

const commandNumber = 300

// commands measures from just before the first byte of an appservice transaction with a command is written until its
// PUBLISH was read by a subscriber at the embedded broker: a little more than from the request read to PUBLISH written.
// Rooms, members and power levels are those of a real homeserver; the transactions are ours, each sent when the reactions
// to the one before are in their room.
func commands(ctx context.Context, b *bench) error {
	s, err := b.smallSite(ctx)
	if err != nil {
		return err
	}
	sub, err := dial(s.gateway.mqtt, "subscriber")
	if err != nil {
		return err
	}
	defer sub.Close()
	if err := sub.subscribe("command/#", 0); err != nil {
		return err
	}
	published := make(chan time.Time, 1)
	go func() {
		for {
			if _, err := sub.await(publish); err != nil {
				close(published)
				return
			}
			published <- time.Now()
		}
	}()
	client := &http.Client{}
	defer client.CloseIdleConnections()
	commit, err := s.gateway.commitTime(ctx)
	if err != nil {
		return err
	}
	var took []float64
	for i := range commandNumber + len(s.devices) {
		d := s.devices[i%len(s.devices)]
		start := time.Now()
		if err := s.command(ctx, client, d); err != nil {
			return err
		}
		select {
		case at, ok := <-published:
			if !ok {
				return fmt.Errorf("the subscriber was disconnected")
			}
			if i >= len(s.devices) { // before, the state of each room is read for the first time
				took = append(took, float64(at.Sub(start).Microseconds())/1000)
			}
		case <-time.After(10 * time.Second):
			return fmt.Errorf("command %d in the room of %s was not published: %s", i, d.ID, s.gateway.Log().Tail(5))
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := s.gateway.delivered(ctx); err != nil {
			return err
		}
	}
	mean, err := commit(ctx)
	if err != nil {
		return err
	}
	b.report.note("commands: a commit, of which each has two before its PUBLISH, took %s ms on the average", number(mean))
	b.report.note("commands: p50 %s, p90 %s, p99 %s, most %s ms of %d", number(quantile(took, 0.5)), number(quantile(took, 0.9)), number(quantile(took, 0.99)), number(quantile(took, 1)), len(took))
	b.report.below("command, transaction to PUBLISH, p50", quantile(took, 0.5), "ms", 5)
	b.report.below("command, transaction to PUBLISH, p99", quantile(took, 0.99), "ms", 25)
	return nil
}

// commitTime begins to watch how long commits take; the function that it returns gives the mean since then in ms.
func (g *gateway) commitTime(ctx context.Context) (mean func(context.Context) (float64, error), err error) {
	read := func(ctx context.Context) (sum, count float64, err error) {
		if sum, err = g.metric(ctx, "gatepost_store_commit_seconds_sum", ""); err != nil {
			return 0, 0, err
		}
		count, err = g.metric(ctx, "gatepost_store_commit_seconds_count", "")
		return sum, count, err
	}
	sum, count, err := read(ctx)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (float64, error) {
		s, n, err := read(ctx)
		return (s - sum) / max(n-count, 1) * 1000, err
	}, nil
}

// command brings gatepost a transaction in which the owner asks for something.
func (s *site) command(ctx context.Context, client *http.Client, d device) error {
	event := map[string]any{
		"type": "m.room.message", "event_id": "$" + harness.Secret(), "room_id": d.RoomID, "sender": s.owner.UserID,
		"origin_server_ts": time.Now().UnixMilli(), "content": map[string]any{"msgtype": "m.text", "body": "!on"},
	}
	body, err := json.Marshal(map[string]any{"events": []any{event}})
	if err != nil {
		return err
	}
	u := s.gateway.reg.URL + "/_matrix/app/v1/transactions/" + harness.Secret()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, u, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+s.gateway.reg.HSToken)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("transaction: %s: %s", resp.Status, answer)
	}
	return err
}
