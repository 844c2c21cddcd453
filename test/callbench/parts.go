//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pion/rtp"

	"github.com/gatepost/gatepost/test/turn/load"
)

const tone = `announce: "tone:1000"`

// setup is how soon a call is answered, on a gateway that has taken some.
func setup(ctx context.Context, b *bench) error {
	s, err := b.newSite(ctx, 1, func(ports) string { return tone })
	if err != nil {
		return err
	}
	defer s.close()
	const first, measured = 5, 100
	var waited []time.Duration
	for i := range first + measured {
		c, err := s.call(ctx, 0, false, nil)
		if err != nil {
			return err
		}
		if i >= first {
			waited = append(waited, c.waited)
		}
		if err := s.hangup(ctx, c); err != nil {
			return err
		}
	}
	slices.Sort(waited)
	b.report.note("setup: from %v to %v, the slowest %v", waited[0], waited[len(waited)-1], waited[len(waited)*9/10:])
	const name = "call answered by the gateway, from the invitation sent to the answer read, homeserver included, "
	b.report.below(name+"p50", ms(percentile(waited, 0.5)), "ms", 150)
	b.report.below(name+"p99", ms(percentile(waited, 0.99)), "ms", 400)
	return nil
}

// delays are those of packets. Safe for concurrent use.
type delays struct {
	mu  sync.Mutex
	all []time.Duration
}

func (d *delays) add(one time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, one)
}

func (d *delays) report(r *report, way string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r.note("delay %s: %d packets", way, len(d.all))
	r.below("call delay one way through the gateway, "+way+", p50", ms(percentile(d.all, 0.5)), "ms", 1)
	r.below("call delay one way through the gateway, "+way+", p99", ms(percentile(d.all, 0.99)), "ms", 5)
}

// delay is how long a packet takes from the device's socket to the person's track, and back.
func delay(ctx context.Context, b *bench) error {
	s, err := b.newSite(ctx, 1, rtpCall(true))
	if err != nil {
		return err
	}
	defer s.close()
	var down, up delays
	cam, err := newCamera(s.ports[0], up.add)
	if err != nil {
		return err
	}
	defer cam.conn.Close()
	c, err := s.call(ctx, 0, true, down.add)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	var said error
	wg.Go(func() { _, said = c.speak(ctx, b.length) })
	err = cam.send(ctx, b.length, h264Rate)
	wg.Wait()
	if err = errors.Join(err, said); err != nil {
		return err
	}
	down.report(b.report, "to the person")
	up.report(b.report, "to the device")
	return s.hangup(ctx, c)
}

// h264Rate is what a device sends of picture, in bytes a second.
const h264Rate = 500_000 / 8

func audio(ctx context.Context, b *bench) error { return many(ctx, b, 0) }
func video(ctx context.Context, b *bench) error { return many(ctx, b, h264Rate) }

// many is calls at the same time, with sound both ways and pictures of so many bytes a second from the device.
func many(ctx context.Context, b *bench, picture int) error {
	s, err := b.newSite(ctx, b.calls, rtpCall(picture > 0))
	if err != nil {
		return err
	}
	defer s.close()
	time.Sleep(3 * time.Second) // the rooms are made
	before, err := memoryOf(s.gate.PID())
	if err != nil {
		return err
	}
	cams, clients := make([]*camera, b.calls), make([]*client, b.calls)
	errs := make([]error, 3*b.calls)
	waiting, begin := context.WithCancel(ctx)
	defer begin()
	var wg sync.WaitGroup
	for i := range b.calls {
		if cams[i], err = newCamera(s.ports[i], nil); err != nil {
			return err
		}
		defer cams[i].conn.Close()
		if clients[i], err = s.call(ctx, i, picture > 0, nil); err != nil {
			return err
		}
		defer clients[i].pc.Close()
		wg.Go(func() { errs[3*i] = cams[i].idle(waiting) })
	}
	begin()
	wg.Wait()
	used, err := load.CPU(s.gate.PID())
	if err != nil {
		return err
	}
	spoken := make([]int64, b.calls)
	for i := range b.calls {
		wg.Go(func() { errs[3*i+1] = cams[i].send(ctx, b.length, picture) })
		wg.Go(func() { spoken[i], errs[3*i+2] = clients[i].speak(ctx, b.length) })
	}
	time.Sleep(b.length * 9 / 10)
	after, err := memoryOf(s.gate.PID())
	wg.Wait()
	if err = errors.Join(append(errs, err)...); err != nil {
		return err
	}
	time.Sleep(time.Second) // what is under way arrives
	now, err := load.CPU(s.gate.PID())
	if err != nil {
		return err
	}
	var sent, got int64
	for i, c := range clients {
		sent += cams[i].sent + cams[i].pictures + spoken[i]
		got += c.audio.Load() + c.video.Load() + cams[i].heard.Load()
	}
	name := fmt.Sprintf("%d calls with Opus both ways", b.calls)
	lost := 100 * float64(sent-got) / float64(sent)
	b.report.note("%s: %d of %d packets arrived", name, got, sent)
	if picture == 0 {
		b.report.below(name+", "+b.length.String()+", packets lost", lost, "%", 0.1)
	} else {
		name += " and 500 kbit/s of H.264"
		b.report.recorded(name+", "+b.length.String()+", packets lost", lost, "%")
	}
	b.report.below(name+", memory of each", (after-before)/float64(b.calls), "MB RssAnon", 3)
	b.report.recorded(name+", processor", 100*float64(now-used)/float64(b.length), "% of a core")
	return nil
}

// speak sends what the person says, and gives how many packets that were.
func (c *client) speak(ctx context.Context, length time.Duration) (int64, error) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	start, n := time.Now(), 0
	p := rtp.Packet{Header: rtp.Header{Version: 2}, Payload: make([]byte, opusBytes)}
	for {
		select {
		case now := <-tick.C:
			if now.Sub(start) >= length {
				return int64(n), nil
			}
			for ; n < int(now.Sub(start)/(20*time.Millisecond)); n++ {
				stamp(p.Payload)
				p.SequenceNumber, p.Timestamp = uint16(n), uint32(n*960) //nolint:gosec // they wrap
				if err := c.mic.WriteRTP(&p); err != nil {
					return int64(n), err
				}
			}
		case <-ctx.Done():
			return int64(n), ctx.Err()
		}
	}
}

// turns is what calls leave behind.
func turns(ctx context.Context, b *bench) error {
	s, err := b.newSite(ctx, 1, rtpCall(true))
	if err != nil {
		return err
	}
	defer s.close()
	one := func() error {
		c, err := s.call(ctx, 0, true, nil)
		if err != nil {
			return err
		}
		return s.hangup(ctx, c)
	}
	for range 10 { // what is made once is there
		if err := one(); err != nil {
			return err
		}
	}
	before, err := s.settled(ctx, nil)
	if err != nil {
		return err
	}
	for range b.turns {
		if err := one(); err != nil {
			return err
		}
	}
	after, err := s.settled(ctx, &before)
	if err != nil {
		return err
	}
	b.report.note("%d calls in turn: before %+v, after %+v", b.turns, before, after)
	name := strconv.Itoa(b.turns) + " calls in turn, left of them: "
	none := func(what string, n int) { b.report.figure(name+what, float64(n), "", "0", n <= 0) }
	none("goroutines", max(0, after.goroutines-before.goroutines))
	none("open files, sockets and ports", max(0, after.files-before.files))
	none("allocations of the relay", after.allocations)
	b.report.recorded(name+"memory", after.memory-before.memory, "MB RssAnon")
	return nil
}

// held is what a process has.
type held struct {
	goroutines, files int
	allocations       int     // of its relay
	memory            float64 // MB
}

// settleTime is how long connections that nobody uses may stay open.
const settleTime = 100 * time.Second

// settled waits until the process has no more than before, or else, until nothing has changed for three seconds.
func (s *site) settled(ctx context.Context, before *held) (h held, err error) {
	last, since := held{}, time.Now()
	for began := time.Now(); ; time.Sleep(500 * time.Millisecond) {
		if h, err = s.holds(ctx); err != nil {
			return h, err
		}
		if h.goroutines != last.goroutines || h.files != last.files || h.allocations != last.allocations {
			last, since = h, time.Now()
		}
		quiet := time.Since(since) > 3*time.Second
		switch {
		case before == nil && quiet, before != nil && h.goroutines <= before.goroutines && h.files <= before.files && h.allocations == 0:
			return h, nil
		case time.Since(began) > settleTime, ctx.Err() != nil:
			return h, ctx.Err()
		}
	}
}

func (s *site) holds(ctx context.Context) (h held, err error) {
	page, err := s.gate.Metrics(ctx)
	if err != nil {
		return h, err
	}
	for line := range strings.Lines(page) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		for want, to := range map[string]*int{"go_goroutines": &h.goroutines, "gatepost_turn_allocations": &h.allocations} {
			if name == want {
				if *to, err = strconv.Atoi(value); err != nil {
					return h, err
				}
			}
		}
	}
	if h.files, err = filesOf(s.gate.PID()); err != nil {
		return h, err
	}
	h.memory, err = memoryOf(s.gate.PID())
	return h, err
}
