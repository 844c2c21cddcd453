package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// report prints figures and what led to them.
type report struct {
	figures io.Writer
	notes   io.Writer
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
	fmt.Fprintf(r.figures, "figure\t%s\t%s\t%s\t%s\t%s\n", name, number(value), unit, must, verdict)
}

// atLeast, atMost and below print figures with the usual kinds of bounds.
func (r *report) atLeast(name string, value float64, unit string, bound float64) {
	r.figure(name, value, unit, ">= "+number(bound), value >= bound)
}

func (r *report) atMost(name string, value float64, unit string, bound float64) {
	r.figure(name, value, unit, "<= "+number(bound), value <= bound)
}

func (r *report) below(name string, value float64, unit string, bound float64) {
	r.figure(name, value, unit, "< "+number(bound), value < bound)
}

// recorded prints a figure that has no bound.
func (r *report) recorded(name string, value float64, unit string) {
	r.figure(name, value, unit, "recorded", true)
}

// number has three significant digits, or all of a whole number.
func number(v float64) string {
	if v == float64(int64(v)) {
		return strconv.FormatInt(int64(v), 10)
	}
	if v >= 1000 {
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

// load is the machine's load average; in it are the programs that are measured, too.
func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "load unknown"
	}
	return "load " + strings.Join(strings.Fields(string(b))[:3], " ")
}

// median of v, which is not empty.
func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// quantile q (0 to 1) of v, which is not empty.
func quantile(v []float64, q float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[min(len(s)-1, int(q*float64(len(s))))]
}

// spread shows a series: its median, its ends and all of it.
func spread(v []float64) string {
	var all []string
	for _, x := range v {
		all = append(all, number(x))
	}
	return fmt.Sprintf("median %s (%s to %s): %s", number(median(v)), number(slices.Min(v)), number(slices.Max(v)), strings.Join(all, " "))
}

// compare runs ours and theirs in turn, who begins changing with each round, and gives the median of the ratios.
func (b *bench) compare(what, unit string, rounds int, ours, theirs func() (float64, error)) (float64, error) {
	var a, c, ratios []float64
	for i := range rounds {
		sides := []func() (float64, error){ours, theirs}
		var got [2]float64
		for j := range sides {
			side := (i + j) % 2
			v, err := sides[side]()
			if err != nil {
				return 0, fmt.Errorf("%s, round %d, side %d: %w", what, i+1, side, err)
			}
			got[side] = v
		}
		a, c, ratios = append(a, got[0]), append(c, got[1]), append(ratios, got[0]/got[1])
		b.report.note("%s, round %d: gatepost %s, baseline %s %s, ratio %s (%s)", what, i+1, number(got[0]), number(got[1]), unit, number(got[0]/got[1]), load())
	}
	b.report.note("%s: gatepost %s %s", what, spread(a), unit)
	b.report.note("%s: baseline %s %s", what, spread(c), unit)
	b.report.note("%s: ratio %s", what, spread(ratios))
	b.report.recorded(what+", gatepost", median(a), unit)
	b.report.recorded(what+", baseline", median(c), unit)
	return median(ratios), nil
}
