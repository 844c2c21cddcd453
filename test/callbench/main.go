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
	"slices"
	"strings"
	"syscall"
	"time"
)

// options say what is measured, and how.
type options struct {
	bin    string // folder of the programs
	length time.Duration
	calls  int // at the same time
	turns  int // one after the other
	rounds int // of the comparison with go2rtc
}

// bench is one run.
type bench struct {
	options
	report *report
	tmp    string
}

// part measures one or more figures.
type part struct {
	name string
	run  func(context.Context, *bench) error
}

func parts() []part {
	return []part{
		{"setup", setup},
		{"delay", delay},
		{"audio", audio},
		{"video", video},
		{"turns", turns},
		{"cpu", processor},
	}
}

func main() { os.Exit(run()) }

func run() int {
	var o options
	only := flag.String("only", "", "comma-separated parts (setup, delay, audio, video, turns, cpu); all without")
	flag.StringVar(&o.bin, "bin", "bin", "folder of gatepost, dendrite and go2rtc")
	flag.DurationVar(&o.length, "length", time.Minute, "how long media flows in a part")
	flag.IntVar(&o.calls, "calls", 50, "calls at the same time")
	flag.IntVar(&o.turns, "turns", 200, "calls in turn")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds of the comparison with go2rtc")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b := &bench{options: o, report: &report{figures: os.Stdout, notes: os.Stderr}}
	if err := b.prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "callbench:", err)
		return 1
	}
	defer os.RemoveAll(b.tmp)
	b.report.machine()
	wanted := strings.Split(*only, ",")
	var failed error
	for _, p := range parts() {
		if *only != "" && !slices.Contains(wanted, p.name) {
			continue
		}
		b.report.note("%s", p.name)
		if err := p.run(ctx, b); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", p.name, err))
			b.report.note("%s: %v", p.name, err)
		}
		if ctx.Err() != nil {
			return 130
		}
	}
	if failed != nil {
		return 1
	}
	return 0
}

func (b *bench) prepare() error {
	var err error
	if b.bin, err = filepath.Abs(b.bin); err != nil { // programs run in folders of their own
		return err
	}
	b.tmp, err = os.MkdirTemp(b.bin, "callbench-")
	return err
}

// dir is a new folder for what a program writes.
func (b *bench) dir(name string) (string, error) { return os.MkdirTemp(b.tmp, name+"-") }
