//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options say what is measured, and how.
type options struct {
	bin      string // folder of gatepost and pionserver
	rounds   int
	length   time.Duration // of a measured slice
	clients  int           // with traffic
	idle     int           // allocations of memory and restart
	threads  int           // coturn's relay threads
	cores    string        // of the servers; "" for all
	against  string        // comma-separated names
	settling time.Duration // before memory is read
}

// bench is one run.
type bench struct {
	options
	report *report
	dir    string // for what the servers write
	side   []contender
}

// part measures one or more figures.
type part struct {
	name string
	run  func(context.Context, *bench) error
}

func parts() []part {
	return []part{
		{"relay", relayed},
		{"rate", highest},
		{"delay", delay},
		{"setup", setup},
		{"memory", memory},
		{"restart", restart},
	}
}

func main() { os.Exit(run()) }

func run() int {
	var o options
	only := flag.String("only", "", "comma-separated parts (relay, rate, delay, setup, memory, restart); all without")
	flag.StringVar(&o.bin, "bin", "bin", "folder of the programs")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds of each comparison")
	flag.DurationVar(&o.length, "length", 5*time.Second, "length of a measured slice")
	flag.IntVar(&o.clients, "clients", 100, "clients that send, each with an allocation and a channel")
	flag.IntVar(&o.idle, "idle", 10000, "allocations of the parts memory and restart")
	flag.IntVar(&o.threads, "threads", 1, "relay threads of coturn; 0: its default, one for each core")
	flag.StringVar(&o.cores, "cores", "", "cores for the servers, as taskset writes them; all without")
	flag.StringVar(&o.against, "against", "gatepost,coturn,pion", "servers to measure")
	flag.DurationVar(&o.settling, "settle", 10*time.Second, "wait before memory is read")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The generator makes next to no garbage while it sends, and a collection would be a gap in what it sends.
	debug.SetGCPercent(400)
	b := &bench{options: o, report: &report{figures: os.Stdout, notes: os.Stderr}}
	if err := b.prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "turnbench:", err)
		return 1
	}
	defer os.RemoveAll(b.dir)
	b.report.machine()
	wanted := strings.Split(*only, ",")
	var failed error
	for _, p := range parts() {
		if *only != "" && !slices.Contains(wanted, p.name) {
			continue
		}
		b.report.note("%s (%s)", p.name, machineLoad())
		if err := p.run(ctx, b); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", p.name, err))
			b.report.note("%s: %v", p.name, err)
		}
		if ctx.Err() != nil {
			return 130
		}
	}
	b.report.table()
	if failed != nil {
		return 1
	}
	return 0
}

func (b *bench) prepare() error {
	var err error
	if b.bin, err = filepath.Abs(b.bin); err != nil { // servers run in folders of their own
		return err
	}
	if b.dir, err = os.MkdirTemp(b.bin, "turnbench-"); err != nil {
		return err
	}
	b.side, err = b.contenders()
	return err
}
