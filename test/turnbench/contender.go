//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gatepost/gatepost/test/turn/load"
	"github.com/gatepost/gatepost/test/turn/relay"
)

// contender is a server that can be measured. Each has an address of its own, so that all can run at once.
type contender struct {
	name  string
	start func(context.Context) (*relay.Server, error)
}

// ours is the name of the one that the others are compared with.
const ours = "gatepost"

const (
	realm  = "bench"
	secret = "a secret for the bench"
	grace  = 20 * time.Second // for a server to stop
	window = 32               // requests under way in a set-up
)

// limits of gatepost that would be in the way: one machine plays a thousand users here.
const limits = "  limits: {allocations: 20000, bytes_per_second_per_user: 100MB}\n"

func (b *bench) contenders() ([]contender, error) {
	var all []contender
	for name := range strings.SplitSeq(b.against, ",") {
		o := relay.Options{
			Dir: filepath.Join(b.dir, name), Realm: realm, Secret: secret, Peers: []string{"127.0.0.0/8"},
			Threads: b.threads, Cores: b.cores, Extra: limits,
		}
		at := func(addr string) {
			o.Listen, o.Relay = []string{"udp://" + addr + ":13478"}, []netip.Addr{netip.MustParseAddr(addr)}
		}
		c := contender{name: name}
		switch name {
		case ours:
			at("127.0.0.1")
			c.start = func(ctx context.Context) (*relay.Server, error) {
				return relay.Gatepost(ctx, filepath.Join(b.bin, "gatepost"), o)
			}
		case "coturn":
			if relay.Find("turnserver") == "" {
				b.report.note("coturn is not here (the package coturn): its figures will be missing")
				continue
			}
			at("127.0.0.2")
			c.start = func(ctx context.Context) (*relay.Server, error) { return relay.Coturn(ctx, o) }
		case "pion":
			at("127.0.0.3")
			c.start = func(ctx context.Context) (*relay.Server, error) {
				return relay.Pion(ctx, filepath.Join(b.bin, "pionserver"), o)
			}
		default:
			return nil, fmt.Errorf("no server is called %q", name)
		}
		if err := os.MkdirAll(o.Dir, 0o700); err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// startAll runs all contenders, in their order.
func (b *bench) startAll(ctx context.Context) ([]*relay.Server, func() error, error) {
	var all []*relay.Server
	stop := func() error {
		var err error
		for _, s := range all {
			_, e := s.Stop(grace)
			err = errors.Join(err, e)
		}
		return err
	}
	for _, c := range b.side {
		s, err := c.start(ctx)
		if err != nil {
			return nil, nil, errors.Join(err, stop())
		}
		all = append(all, s)
	}
	return all, stop, nil
}

// eachRound measures all contenders in turn, round by round; who begins changes. what is one round of one of them. The
// results are by contender, then by round.
func eachRound[T any](b *bench, rounds int, what func(round, who int) (T, error)) ([][]T, error) {
	all := make([][]T, len(b.side))
	for i := range rounds {
		for j := range b.side {
			who := (i + j) % len(b.side)
			v, err := what(i, who)
			if err != nil {
				return nil, fmt.Errorf("round %d, %s: %w", i+1, b.side[who].name, err)
			}
			all[who] = append(all[who], v)
		}
	}
	return all, nil
}

// fleet opens clients of a server.
func (b *bench) fleet(s *relay.Server, cfg load.Config) (*load.Fleet, error) {
	cfg.Server, cfg.Secret = s.Addr, secret
	return load.Open(cfg)
}

// memoryOf is a process's memory that no file backs (RssAnon), in MB.
func memoryOf(pid int) (float64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if v, ok := strings.CutPrefix(lines.Text(), "RssAnon:"); ok {
			kb, err := strconv.ParseFloat(strings.Fields(v)[0], 64)
			return kb / 1000, err
		}
	}
	return 0, fmt.Errorf("no RssAnon of process %d", pid)
}

// descriptors is how many files and sockets a process has open.
func descriptors(pid int) (int, error) {
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(list), err
}
