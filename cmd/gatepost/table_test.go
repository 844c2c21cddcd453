package main

import (
	"strings"
	"testing"
	"time"
)

func TestCleanIsFitForATerminal(t *testing.T) {
	for _, c := range []struct {
		in   string
		most int
		want string
	}{
		{"plain", 0, "plain"},
		{"two\nlines\tand a tab", 0, "two lines and a tab"},
		{"\x1b]0;title\x07\x1b[2J", 0, "\uFFFD]0;title\uFFFD\uFFFD[2J"},
		{"\u202egnp.exe", 0, "\uFFFDgnp.exe"},
		{"\x9b31m", 0, "\uFFFD31m"},
		{"\u009b31m", 0, "\uFFFD31m"},
		{"wärme", 3, "wär…"},
		{"wär", 3, "wär"},
		{"", 3, ""},
	} {
		if got := clean(c.in, c.most); got != c.want {
			t.Errorf("%q: got %q, want %q", c.in, got, c.want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("x\x1b[0m")
	f.Fuzz(func(t *testing.T, s string) {
		got := clean(s, 10)
		if strings.ContainsFunc(got, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }) || len([]rune(got)) > 11 {
			t.Errorf("%q: %q", s, got)
		}
	})
}

func TestAge(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		-time.Hour: "0s", 0: "0s", 59 * time.Second: "59s", 90 * time.Second: "1m", 47 * time.Hour: "47h", 49 * time.Hour: "2d",
	} {
		if got := age(now, now.Add(-d)); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
	if got := age(now, time.Time{}); got != "" {
		t.Errorf("zero: %q", got)
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 5 << 20: "5.0 MiB"} {
		if got := size(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
}
