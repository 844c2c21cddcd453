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
	"time"
)

// report prints figures and what led to them.
type report struct{ figures, notes io.Writer }

func (r *report) note(format string, args ...any) {
	fmt.Fprintf(r.notes, "%s %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
}

// figure prints one. must is what it is held against in words.
func (r *report) figure(name string, value float64, unit, must string, ok bool) {
	verdict := "ok"
	if !ok {
		verdict = "miss"
	}
	fmt.Fprintf(r.figures, "figure\t%s\t%s\t%s\t%s\t%s\n", name, strconv.FormatFloat(value, 'g', 4, 64), unit, must, verdict)
}

func (r *report) below(name string, value float64, unit string, bound float64) {
	r.figure(name, value, unit, "< "+strconv.FormatFloat(bound, 'g', 4, 64), value < bound)
}

func (r *report) recorded(name string, value float64, unit string) {
	r.figure(name, value, unit, "recorded", true)
}

// machine notes what the figures were measured on.
func (r *report) machine() {
	model, kernel := "unknown processor", "unknown kernel"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, ok := strings.CutPrefix(line, "model name"); ok {
				model = strings.TrimSpace(strings.TrimLeft(name, "\t :"))
				break
			}
		}
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		kernel = strings.TrimSpace(string(b))
	}
	load, _ := os.ReadFile("/proc/loadavg")
	r.note("machine: %s, %d cores, kernel %s, %s, load %s", model, runtime.NumCPU(), kernel, runtime.Version(), strings.TrimSpace(string(load)))
}

// percentile of a list, which it sorts; p from 0 to 1.
func percentile(list []time.Duration, p float64) time.Duration {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[min(int(p*float64(len(list))), len(list)-1)]
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// memoryOf is a process's memory that no file backs (RssAnon), in MB.
func memoryOf(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kb, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(v), "kB")), 64)
			return kb / 1024, err
		}
	}
	return 0, fmt.Errorf("no RssAnon of process %d", pid)
}

// filesOf counts what a process holds open, sockets included.
func filesOf(pid int) (int, error) {
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(list), err
}
