package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	sealedRound  = 2000 // messages of each side of a round
	sealedWindow = 200  // of them that wait at once: a lane holds more
	sealedPeople = 5
	sealedRooms  = 200
	crowdPeople  = 100
	crowdRooms   = 5
)

// sealedRules has devices whose rooms are encrypted beside others.
const sealedRules = `  - topic: sealed/{device}/{reading}
    class: event
    encryption: default
  - topic: plain/{device}/{reading}
    class: event
`

// sealed measures what encryption costs, beside a homeserver in memory whose people have devices.
func sealed(ctx context.Context, b *bench) error {
	s, err := b.newSealedSite(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	return errors.Join(s.cost(ctx), s.crowds(ctx), b.sealedMemory(ctx), s.growth(ctx))
}

// sealedSite is a gateway at a crowd. Five people are its owner and members.
type sealedSite struct {
	b       *bench
	crowd   *crowd
	gateway *gateway
	conn    *mqttConn
	said    int
}

func (b *bench) newSealedSite(ctx context.Context) (s *sealedSite, err error) {
	s = &sealedSite{b: b}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.crowd, err = newCrowd(); err != nil {
		return s, err
	}
	extra := "crypto: {trust: all}\n"
	var members []string
	for i := range sealedPeople {
		user := fmt.Sprintf("@person%d:localhost", i)
		if err := s.crowd.person(user, 2); err != nil {
			return s, err
		}
		members = append(members, fmt.Sprintf("{user: %q}", user))
	}
	if s.gateway, err = b.newGateway(setup{url: "", home: s.crowd.url, rules: sealedRules, matrix: "  members: [" + strings.Join(members, ", ") + "]\n  encryption: allow\n", more: extra}); err != nil {
		return s, err
	}
	if err := s.gateway.Start(ctx); err != nil {
		return s, err
	}
	s.conn, err = dial(s.gateway.mqtt, "sealed")
	return s, err
}

func (s *sealedSite) close() {
	if s.conn != nil {
		_ = s.conn.Close()
	}
	if s.gateway != nil {
		s.gateway.Kill()
	}
	if s.crowd != nil {
		s.crowd.close()
	}
}

// say publishes n messages of a device, window by window, and waits until they are delivered. Meanwhile it looks at what came to
// the homeserver: asking gatepost would cost it time.
func (s *sealedSite) say(ctx context.Context, topic string, n int) error {
	came := s.crowd.all()
	for n > 0 {
		came += min(n, sealedWindow)
		for range min(n, sealedWindow) {
			s.said++
			if err := s.conn.publish(topic, uint16(s.said%65535+1), fmt.Appendf(nil, "the door was opened for the %d. time", s.said)); err != nil {
				return err
			}
			n--
		}
		for end := time.Now().Add(time.Minute); s.crowd.all() < came && time.Now().Before(end); { // else delivered says more
			if err := sleep(ctx, time.Millisecond); err != nil {
				return err
			}
		}
	}
	return s.gateway.delivered(ctx)
}

// cost compares the processor time of messages into an encrypted room with that of messages into another.
func (s *sealedSite) cost(ctx context.Context) error {
	side := func(kind, event string) func() (float64, error) {
		return func() (float64, error) {
			topic := kind + "/" + kind + "-door/event"   // two devices with two rooms
			if err := s.say(ctx, topic, 1); err != nil { // the room is there
				return 0, err
			}
			before := s.crowd.count("", event)
			had, err := s.gateway.cpu()
			if err != nil {
				return 0, err
			}
			if err := s.say(ctx, topic, sealedRound); err != nil {
				return 0, err
			}
			now, err := s.gateway.cpu()
			if n := s.crowd.count("", event) - before; err == nil && n != sealedRound {
				err = fmt.Errorf("%d events came to the homeserver, not %d", n, sealedRound)
			}
			return (now - had) / sealedRound * 1e6, err
		}
	}
	ratio, err := s.b.compare("processor time of a message (gatepost: encrypted, baseline: not)", "us", s.b.rounds, side("sealed", "m.room.encrypted"), side("plain", "m.room.message"))
	if err != nil {
		return err
	}
	s.b.report.atMost("processor time of an encrypted message against a plain one", ratio, "x", 2)
	return nil
}

// crowds measures the first message into rooms of a hundred people whose devices gatepost never saw.
func (s *sealedSite) crowds(ctx context.Context) error {
	var took []float64
	for i := range crowdRooms {
		topic := fmt.Sprintf("sealed/crowd%d/event", i)
		var users []string
		for j := range crowdPeople {
			user := fmt.Sprintf("@crowd%d_%d:localhost", i, j)
			users = append(users, user)
			if err := s.crowd.person(user, 2); err != nil {
				return err
			}
		}
		s.crowd.expect(users)
		start := time.Now()
		if err := s.say(ctx, topic, 1); err != nil {
			return err
		}
		took = append(took, time.Since(start).Seconds())
		if n := s.crowd.mailed(); n < 2*crowdPeople {
			return fmt.Errorf("keys went to %d devices, not to %d", n, 2*crowdPeople)
		}
	}
	s.crowd.expect(nil)
	s.b.report.note("first message into a room of %d people with 2 devices each, from PUBLISH until it is delivered: %s s", crowdPeople, spread(took))
	s.b.report.below("first message into an encrypted room of 100 people with 2 devices each", median(took), "s", 2)
	return nil
}

// growth measures how much the file of keys grows.
func (s *sealedSite) growth(ctx context.Context) error {
	path := filepath.Join(s.gateway.Dir, "data", "gatepost-crypto.db")
	before, err := os.Stat(path)
	if err != nil {
		return err
	}
	if err := s.say(ctx, "sealed/sealed-door/event", s.b.sealed); err != nil {
		return err
	}
	after, err := os.Stat(path)
	if err != nil {
		return err
	}
	mb := float64(after.Size()-before.Size()) / 1e6
	s.b.report.note("the file of keys grew from %d to %d bytes by %d messages", before.Size(), after.Size(), s.b.sealed)
	s.b.report.below(fmt.Sprintf("growth of the file of keys by %d messages", s.b.sealed), mb, "MB", 20)
	return nil
}

// sealedMemory compares two gateways with 200 rooms of five people: encrypted, and not.
func (b *bench) sealedMemory(ctx context.Context) error {
	var sites [2]*sealedSite
	for i, kind := range [...]string{"sealed", "plain"} {
		s, err := b.newSealedSite(ctx)
		if err != nil {
			return err
		}
		defer s.close()
		sites[i] = s
		for n := range sealedRooms {
			if err := s.say(ctx, fmt.Sprintf("%s/device-%d/event", kind, n), 3); err != nil {
				return err
			}
		}
	}
	if err := sleep(ctx, settle); err != nil {
		return err
	}
	var mb [2]float64
	for i, s := range sites {
		var err error
		if mb[i], err = s.gateway.rss(); err != nil {
			return err
		}
	}
	b.report.note("memory with %d rooms of %d people: encrypted %s, not encrypted %s MB RssAnon", sealedRooms, sealedPeople, number(mb[0]), number(mb[1]))
	b.report.below("memory of 200 encrypted rooms of 5 people over that of plain ones", mb[0]-mb[1], "MB RssAnon", 40)
	return nil
}

// cpu is the processor time that the process has used, in seconds.
func (g *gateway) cpu() (float64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", g.PID()))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(raw), ") ") // behind the name
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat: %q", g.PID(), raw)
	}
	user, err := strconv.ParseFloat(f[11], 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseFloat(f[12], 64)
	return (user + system) / 100, err // USER_HZ
}
