// Command bench measures gatepost from outside, by the binary and the wire, and prints one line a figure on standard
// output, tab-separated: figure, name, value, unit, what it must be, ok or miss. What led to it (every round, the spread,
// the machine's load) goes to standard error.
//
// Where a figure is a ratio, both sides are measured in this run and in turn, round by round, and the figure is the median
// of the rounds' ratios: what disturbs the machine disturbs both. A miss is no failure of the program: it ends with 0
// unless something could not be measured at all.
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
)

// options say what is measured, and how often.
type options struct {
	bin     string // folder of gatepost, dendrite, generate-keys and baseline
	dist    string // folder of the release binaries
	work    string // folder for what the programs write, on the disk that is to be measured
	rounds  int
	number  int // messages of each round of the intake
	devices int // of the large gateway
	sealed  int // messages by which the file of keys grows
}

// bench is one run.
type bench struct {
	options
	report *report
	site   *site // of delivery and commands; made by the first of them
}

// part measures one or more figures.
type part struct {
	name string
	run  func(context.Context, *bench) error
}

func parts() []part {
	return []part{
		{"release", release},
		{"topics", topics},
		{"intake", intake},
		{"broker", embedded},
		{"sessions", sessions},
		{"delivery", delivery},
		{"commands", commands},
		{"crypto", sealed},
		{"idle", idle},
		{"large", large},
		{"cards", cards},
		{"confirm", confirm},
		{"full", full},
	}
}

func main() { os.Exit(run()) }

func run() int {
	var o options
	only := flag.String("only", "", "comma-separated parts; all without")
	flag.StringVar(&o.bin, "bin", "bin", "folder of the programs")
	flag.StringVar(&o.dist, "dist", "dist", "folder of the release binaries")
	flag.StringVar(&o.work, "work", "", "folder to work in, kept afterwards; a temporary one in -bin without")
	flag.IntVar(&o.rounds, "rounds", 7, "rounds of each comparison")
	flag.IntVar(&o.number, "number", 50000, "messages in a round of the intake")
	flag.IntVar(&o.devices, "devices", 1000, "devices, each with a room, of the large gateway")
	flag.IntVar(&o.sealed, "sealed", 100000, "messages into an encrypted room, by which the file of keys grows")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if o.bin, err = filepath.Abs(o.bin); err != nil { // programs run in folders of their own
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if o.work == "" {
		dir, err := os.MkdirTemp(o.bin, "bench-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		o.work = dir
	}
	if o.work, err = filepath.Abs(o.work); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	b := &bench{options: o, report: &report{figures: os.Stdout, notes: os.Stderr}}
	defer b.close()
	b.report.machine()
	wanted := strings.Split(*only, ",")
	var failed error
	for _, p := range parts() {
		if *only != "" && !slices.Contains(wanted, p.name) {
			continue
		}
		b.report.note("%s (%s)", p.name, load())
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

func (b *bench) close() {
	if b.site != nil {
		b.site.close()
	}
}

// dir makes a new folder for one program.
func (b *bench) dir(name string) (string, error) {
	if err := os.MkdirAll(b.work, 0o700); err != nil {
		return "", err
	}
	return os.MkdirTemp(b.work, name+"-")
}

func (b *bench) program(name string) string { return filepath.Join(b.bin, name) }
