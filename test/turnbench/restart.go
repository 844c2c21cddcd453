//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gatepost/gatepost/test/turn/load"
	"github.com/gatepost/gatepost/test/turn/relay"
)

// restart stops gatepost with all allocations live and starts it again: nothing may be left behind.
func restart(ctx context.Context, b *bench) error {
	who := b.find(ours)
	if who < 0 {
		return nil
	}
	s, err := b.side[who].start(ctx)
	if err != nil {
		return err
	}
	_, _, err = b.fill(ctx, s, false)
	if err != nil {
		_, e := s.Stop(grace)
		return errors.Join(err, e)
	}
	held, err := udpSockets(s.Addr.Addr())
	if err != nil {
		return err
	}
	if held < b.idle {
		_, e := s.Stop(grace)
		return errors.Join(fmt.Errorf("only %d UDP sockets at %v with %d allocations: they are counted wrongly", held, s.Addr.Addr(), b.idle), e)
	}
	began := time.Now()
	code, err := s.Stop(grace)
	if err != nil {
		return err
	}
	const what = "turn stop with 10000 allocations, "
	b.report.recorded(what+"time", time.Since(began).Seconds(), "s")
	b.report.figure(what+"exit code", float64(code), "", "0", code == 0)
	left, err := udpSockets(s.Addr.Addr())
	if err != nil {
		return err
	}
	b.report.figure(what+"sockets left", float64(left), "sockets", "0", left == 0)

	began = time.Now()
	if s, err = b.side[who].start(ctx); err != nil {
		return fmt.Errorf("start again: %w", err)
	}
	b.report.recorded("turn start again, until ready", time.Since(began).Seconds(), "s")
	_, before, err := b.fill(ctx, s, true) // what a server opens once is open after this
	after := 0
	if err == nil {
		_, after, err = b.fill(ctx, s, true)
	}
	if err == nil {
		b.report.figure("turn 10000 allocations came and went, descriptors left", float64(after-before), "descriptors", "0", after <= before)
	}
	_, e := s.Stop(grace)
	return errors.Join(err, e)
}

// fill makes all allocations; with release it ends them, and counts the server's descriptors before and after.
func (b *bench) fill(ctx context.Context, s *relay.Server, release bool) (before, after int, err error) {
	if before, err = descriptors(s.PID()); err != nil {
		return 0, 0, err
	}
	f, err := b.fleet(s, load.Config{Clients: b.idle})
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	if _, err := f.Allocate(ctx, window); err != nil {
		return 0, 0, err
	}
	if err := f.Bind(ctx, window); err != nil {
		return 0, 0, err
	}
	if !release {
		return before, 0, nil
	}
	if err := f.Release(ctx, window); err != nil {
		return 0, 0, err
	}
	for last := -1; ; last = after { // closing may come after the answer
		time.Sleep(200 * time.Millisecond)
		if after, err = descriptors(s.PID()); err != nil || after == last {
			return before, after, err
		}
	}
}

// udpSockets counts the UDP sockets bound to an IPv4 address, or to any, on this machine.
func udpSockets(at netip.Addr) (int, error) {
	b, err := os.ReadFile("/proc/net/udp")
	if err != nil {
		return 0, err
	}
	ip := at.As4()
	n := 0
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		host, port, _ := strings.Cut(fields[1], ":")
		p, err := strconv.ParseUint(port, 16, 16)
		if err != nil {
			continue // the heading
		}
		// The address is the memory of a word in the machine's order: little-endian on all that this runs on.
		if (host == fmt.Sprintf("%02X%02X%02X%02X", ip[3], ip[2], ip[1], ip[0]) || host == "00000000") && (p >= 49152 || p == 13478) {
			n++
		}
	}
	return n, nil
}
