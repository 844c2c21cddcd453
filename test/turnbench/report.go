//go:build linux

package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// report prints figures as they come, what led to them, and a table at the end.
type report struct {
	figures io.Writer
	notes   io.Writer
	rows    [][]string
}

func (r *report) note(format string, args ...any) {
	fmt.Fprintf(r.notes, "%s %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
}

// figure prints one. must is what it is held against in words.
func (r *report) figure(name string, value float64, unit, must string, ok bool) {
	verdict := "ok"
	if !ok {
		verdict = "miss"
	}
	row := []string{name, number(value), unit, must, verdict}
	fmt.Fprintf(r.figures, "figure\t%s\n", strings.Join(row, "\t"))
	r.rows = append(r.rows, row)
}

func (r *report) atMost(name string, value float64, unit string, bound float64, caveat string) {
	r.figure(name, value, unit, "<= "+number(bound)+caveat, value <= bound)
}

func (r *report) atLeast(name string, value float64, unit string, bound float64, caveat string) {
	r.figure(name, value, unit, ">= "+number(bound)+caveat, value >= bound)
}

// recorded prints a figure that has no bound.
func (r *report) recorded(name string, value float64, unit string) {
	r.figure(name, value, unit, "recorded", true)
}

// table shows all figures side by side.
func (r *report) table() {
	w := tabwriter.NewWriter(r.notes, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w)
	for _, row := range r.rows {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	_ = w.Flush() // as good as any other write of a note
}

// number has three significant digits, or all of a whole number.
func number(v float64) string {
	if v == float64(int64(v)) {
		return strconv.FormatInt(int64(v), 10)
	}
	if v >= 1000 || v <= -1000 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// machine notes what the figures were measured on.
func (r *report) machine() {
	model := "unknown processor"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, ok := strings.CutPrefix(line, "model name"); ok {
				model = strings.TrimSpace(strings.TrimLeft(name, "\t :"))
				break
			}
		}
	}
	kernel := "unknown kernel"
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		kernel = strings.TrimSpace(string(b))
	}
	r.note("machine: %s, %d cores, %s %s, kernel %s, %s", model, runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, kernel, runtime.Version())
}

// machineLoad is the machine's load average; in it are the programs that are measured, too.
func machineLoad() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "load unknown"
	}
	return "load " + strings.Join(strings.Fields(string(b))[:3], " ")
}

// median of v; 0 of nothing.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// quantile q (0 to 1) of sorted durations, which are not none, in microseconds.
func quantile(sorted []time.Duration, q float64) float64 {
	return float64(sorted[min(len(sorted)-1, int(q*float64(len(sorted))))].Nanoseconds()) / 1e3
}

// spread shows a series: its median, its ends and all of it.
func spread(v []float64) string {
	var all []string
	for _, x := range v {
		all = append(all, number(x))
	}
	return fmt.Sprintf("median %s (%s to %s): %s", number(median(v)), number(slices.Min(v)), number(slices.Max(v)), strings.Join(all, " "))
}
