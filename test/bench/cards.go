package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/gatepost/gatepost/test/harness"
)

const (
	cardsTime   = time.Minute
	cardsConns  = 20              // connections that the devices share
	alarmEvery  = 5 * time.Second // meanwhile
	sendWorkers = 4               // gatepost's workers: so many sends at once
	cardsOfRate = 0.25            // the share of what can be sent that cards may take
)

const alarmRule = `  - topic: alarm/{device}
    class: alarm
`

// cards measures many devices that announced themselves and send a reading a second, whose cards are kept meanwhile on a real
// homeserver.
func cards(ctx context.Context, b *bench) error {
	s, err := b.openSite(ctx, setup{rules: alarmRule, more: "discovery: auto\n"}, true)
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.announce(ctx, b); err != nil {
		return err
	}
	alarmed, err := s.alarmRoom(ctx)
	if err != nil {
		return err
	}
	before, err := s.sends(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	var floods [cardsConns][]float64
	var failures [cardsConns + 2]error
	for i := range cardsConns {
		wg.Go(func() { floods[i], failures[i] = s.readings(ctx, i, b.devices) })
	}
	most := 0.0
	wg.Go(func() { most, failures[cardsConns] = s.watchMemory(ctx, cardsTime) })
	var alarms []float64
	wg.Go(func() { alarms, failures[cardsConns+1] = s.alarms(ctx, alarmed, cardsTime) })
	wg.Wait()
	after, err := s.sends(ctx)
	if err := errors.Join(append(failures[:], err)...); err != nil {
		return err
	}
	var acks []float64
	for _, f := range floods {
		acks = append(acks, f...)
	}
	edits, share := after.number-before.number-float64(len(alarms)), 0.0
	if took := (after.seconds - before.seconds) / max(after.number-before.number, 1); took > 0 {
		share = edits / cardsTime.Seconds() / (sendWorkers / took)
	}
	b.report.note("cards: %d messages, PUBACK p50 %s, p99 %s, most %s ms; %v edits; alarms %s s", len(acks),
		number(quantile(acks, 0.5)), number(quantile(acks, 0.99)), number(quantile(acks, 1)), edits, spread(alarms))
	b.report.atMost(fmt.Sprintf("edits of a card in a minute, %d devices with a message a second each", b.devices), edits/float64(b.devices), "edits/card", 2)
	b.report.atMost("share of the measured send rate that cards take", share, "", cardsOfRate)
	b.report.below("memory meanwhile", most, "MB RssAnon", 130)
	b.report.atLeast("messages of them acknowledged in 60 s", float64(len(acks)), "", 0.99*float64(b.devices)*cardsTime.Seconds())
	b.report.recorded("their PUBACK, p99", quantile(acks, 0.99), "ms")
	b.report.below("an alarm meanwhile, PUBLISH to its room, most", quantile(alarms, 1), "s", 2)
	return nil
}

// announce has the devices announce themselves and waits until each has its room and its card.
func (s *site) announce(ctx context.Context, b *bench) error {
	c, err := dial(s.gateway.mqtt, "announce")
	if err != nil {
		return err
	}
	defer c.Close()
	for i := range b.devices {
		config := fmt.Sprintf(`{"name":"Temperature","uniq_id":"t%d","stat_t":"t/%d","unit_of_meas":"°C","dev_cla":"temperature","dev":{"ids":["t%d"],"name":"Sensor %d"}}`, i, i, i, i)
		if err := c.publish(fmt.Sprintf("homeassistant/sensor/t%d/config", i), uint16(i+1), []byte(config)); err != nil {
			return err
		}
		if err := c.publish(fmt.Sprintf("t/%d", i), uint16(i+1), []byte("20")); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute+2*time.Duration(b.devices)*time.Second)
	defer cancel()
	start, told := time.Now(), 0
	for {
		if err := s.admitAll(ctx); err != nil {
			return err
		}
		if s.devices, err = s.gateway.devices(ctx); err != nil {
			return err
		}
		n := 0
		for _, d := range s.devices {
			if d.RoomID != "" {
				n++
			}
		}
		sent, err := s.sends(ctx)
		if err != nil {
			return err
		}
		if n == b.devices && sent.number >= float64(b.devices) { // the cards
			break
		}
		if n/250 > told {
			told = n / 250
			b.report.note("cards: %d of %d rooms", n, b.devices)
		}
		if err := sleep(ctx, time.Second); err != nil {
			return fmt.Errorf("%d of %d rooms after %s: %w; %s", n, b.devices, time.Since(start).Round(time.Second), err, s.gateway.Log().Tail(5))
		}
	}
	b.report.note("%d rooms with a card took %s", b.devices, time.Since(start).Round(time.Second))
	return s.gateway.delivered(ctx)
}

// admitAll admits what waits for a decision: not everything of a flood is admitted by itself.
func (s *site) admitAll(ctx context.Context) error {
	result, err := s.gateway.Do(ctx, "devices", "list", "--waiting", "--json")
	if err != nil {
		return err
	}
	var list []device
	if err := json.Unmarshal([]byte(result.Stdout), &list); err != nil {
		return fmt.Errorf("devices --waiting: %w: %s", err, strings.TrimSpace(result.Stderr))
	}
	for _, d := range list {
		if _, err := s.gateway.Do(ctx, "devices", "admit", d.ID); err != nil {
			return err
		}
	}
	return nil
}

// alarmRoom makes the room of a device that raises alarms.
func (s *site) alarmRoom(ctx context.Context) (room string, err error) {
	c, err := dial(s.gateway.mqtt, "alarm-0")
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.publish("alarm/siren", 1, []byte("the first")); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return room, s.owner.Await(ctx, "the room of alarms", func(rooms map[string]*harness.Room) bool {
		for id, r := range rooms {
			if r.Name == "siren" && r.Joined && len(r.Messages()) > 0 {
				room = id
				return true
			}
		}
		return false
	})
}

// alarms raises an alarm every so often and gives how long each took to be seen in its room.
func (s *site) alarms(ctx context.Context, room string, lasts time.Duration) (took []float64, err error) {
	c, err := dial(s.gateway.mqtt, "alarm")
	if err != nil {
		return nil, err
	}
	defer c.Close()
	for end := time.Now().Add(lasts - alarmEvery/2); time.Now().Before(end); {
		if err := sleep(ctx, alarmEvery); err != nil {
			return took, err
		}
		text, start := "alarm "+harness.Secret(), time.Now()
		if err := c.publish("alarm/siren", uint16(len(took)+1), []byte(text)); err != nil {
			return took, err
		}
		wait, cancel := context.WithTimeout(ctx, time.Minute)
		err := s.owner.Await(wait, "an alarm", func(rooms map[string]*harness.Room) bool {
			for _, m := range rooms[room].Messages() {
				if strings.Contains(m.Content.Body, text) {
					return true
				}
			}
			return false
		})
		cancel()
		if err != nil {
			return took, err
		}
		took = append(took, time.Since(start).Seconds())
	}
	return took, nil
}

// readings publishes a new reading a second of each device that the connection speaks for, and gives how long the PUBACKs
// took in ms.
func (s *site) readings(ctx context.Context, conn, devices int) (acks []float64, err error) {
	c, err := dial(s.gateway.mqtt, fmt.Sprintf("readings-%d", conn))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	begin := time.Now()
	for second := range int(cardsTime / time.Second) {
		for i := conn; i < devices; i += cardsConns {
			due := begin.Add(time.Duration(second)*time.Second + time.Second*time.Duration(i)/time.Duration(devices))
			if d := time.Until(due); d > 0 {
				if err := sleep(ctx, d); err != nil {
					return acks, err
				}
			}
			start := time.Now()
			if err := c.publish(fmt.Sprintf("t/%d", i), uint16(second*devices/cardsConns+i/cardsConns)%65535+1, fmt.Appendf(nil, "%.1f", 20+float64(second)/10)); err != nil {
				return acks, err
			}
			acks = append(acks, float64(time.Since(start).Microseconds())/1000)
		}
		if time.Since(begin) > cardsTime+time.Second {
			break // held up
		}
	}
	return acks, nil
}

// watchMemory gives the most that gatepost had in so long.
func (s *site) watchMemory(ctx context.Context, lasts time.Duration) (most float64, err error) {
	for end := time.Now().Add(lasts); time.Now().Before(end); {
		mb, err := s.gateway.rss()
		if err != nil {
			return most, err
		}
		most = max(most, mb)
		if err := sleep(ctx, time.Second); err != nil {
			return most, err
		}
	}
	return most, nil
}

// sent is how many messages were sent, and how long that took, one after the other.
type sent struct{ number, seconds float64 }

func (s *site) sends(ctx context.Context) (v sent, err error) {
	switch v.number, err = s.gateway.metric(ctx, "gatepost_matrix_send_seconds_count", ""); {
	case errors.Is(err, errNoMetric): // nothing was sent yet
		return v, nil
	case err != nil:
		return v, err
	}
	v.seconds, err = s.gateway.metric(ctx, "gatepost_matrix_send_seconds_sum", "")
	return v, err
}
