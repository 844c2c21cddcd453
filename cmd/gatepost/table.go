package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// maxCell is how many characters of a value a table shows.
const maxCell = 60

// list prints items: as JSON with --json, else as a table with a row each, or as the text that says there are none.
func list[T any](a *app, items []T, none string, head []string, row func(T) []string) error {
	if a.json {
		if items == nil {
			items = []T{}
		}
		return printJSON(a.out, items)
	}
	if len(items) == 0 {
		_, err := fmt.Fprintln(a.out, none)
		return err
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	if err := writeRow(w, head); err != nil {
		return err
	}
	for _, item := range items {
		if err := writeRow(w, row(item)); err != nil {
			return err
		}
	}
	return w.Flush()
}

func writeRow(w io.Writer, cells []string) error {
	shown := make([]string, len(cells))
	for i, c := range cells {
		if shown[i] = clean(c, maxCell); shown[i] == "" {
			shown[i] = "-"
		}
	}
	_, err := fmt.Fprintln(w, strings.TrimRight(strings.Join(shown, "\t"), " "))
	return err
}

// printJSON writes one JSON document for programs, indented for people.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// clean makes s fit for a terminal: one line of at most most characters (0: any), without what could steer the terminal
// or turn text around. Names, topics and payloads come from devices.
func clean(s string, most int) string {
	var b strings.Builder
	n := 0
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		if most > 0 && n == most {
			b.WriteRune('…')
			break
		}
		switch {
		case r == '\n', r == '\t':
			r = ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), r == '\u2028', r == '\u2029':
			r = unicode.ReplacementChar
		}
		b.WriteRune(r)
		n++
	}
	return b.String()
}

// age says how long ago t was, in the largest unit that fits; "" for the zero time.
func age(now, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	d := now.Sub(t)
	switch {
	case d < 0:
		return "0s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	default:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
}

// size says n bytes in the largest unit that fits.
func size(n int64) string {
	const k = 1024
	switch {
	case n < k:
		return fmt.Sprintf("%d B", n)
	case n < k*k:
		return fmt.Sprintf("%.1f KiB", float64(n)/k)
	default:
		return fmt.Sprintf("%.1f MiB", float64(n)/(k*k))
	}
}
