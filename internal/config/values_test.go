package config

import (
	"testing"
	"time"
)

func TestDuration(t *testing.T) {
	for _, row := range []struct {
		text string
		want time.Duration
		back string // "": as it was
	}{
		{"0", 0, "0s"},
		{"0s", 0, ""},
		{"30s", 30 * time.Second, ""},
		{"10m", 10 * time.Minute, ""},
		{"1h", time.Hour, ""},
		{"1h30m", 90 * time.Minute, ""},
		{"100ms", 100 * time.Millisecond, ""},
		{"1d12h", 36 * time.Hour, "36h"},
		{"30d", 30 * 24 * time.Hour, ""},
		{"24h", 24 * time.Hour, "1d"},
		{"3650d", maxDuration, ""},
	} {
		got, err := parseDuration(row.text)
		if err != nil || got != row.want {
			t.Errorf("%q: got %v, %v; want %v", row.text, got, err, row.want)
		}
		back := row.back
		if back == "" {
			back = row.text
		}
		if got := formatDuration(row.want); got != back {
			t.Errorf("%v is written %q, want %q", row.want, got, back)
		}
	}
	for _, text := range []string{"", "d", "-1s", "-1d", "1d-1h", "3651d", "3650d1s", "99999999d", "10", "1w", "1.5d", "1 h", "9223372036854775807ns1d", "1h1d", "inf"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("%q is good: %v", text, got)
		}
	}
}

func TestSize(t *testing.T) {
	for _, row := range []struct {
		text string
		want Size
		back string
	}{
		{"0", 0, "0"},
		{"17", 17, "17"},
		{"17B", 17, "17"},
		{"4kB", 4000, "4kB"},
		{"4KB", 4000, "4kB"},
		{"4KiB", 4096, "4KiB"},
		{"4 MB", 4_000_000, "4MB"},
		{"256MiB", 256 << 20, "256MiB"},
		{"1024MiB", 1 << 30, "1GiB"},
		{"2GB", 2e9, "2GB"},
	} {
		got, err := parseSize(row.text)
		if err != nil || got != row.want || got.String() != row.back {
			t.Errorf("%q: got %v (%d), %v; want %v", row.text, got, got, err, row.back)
		}
	}
	for _, text := range []string{"", "-1", "MB", "1.5MB", "4Mb", "4mib", "9999999999999999999", "999999999999999999GiB", "1 MB "} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("%q is good: %v", text, got)
		}
	}
}

func TestHours(t *testing.T) {
	at := func(clock string) time.Time {
		c, err := time.Parse("15:04:05", clock)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, row := range []struct {
		hours   string
		in, out []string
	}{
		{"07:00-22:00", []string{"07:00:00", "12:00:00", "21:59:59"}, []string{"06:59:59", "22:00:00", "00:00:00"}},
		{"22:00-06:30", []string{"22:00:00", "00:00:00", "06:29:59"}, []string{"06:30:00", "12:00:00", "21:59:59"}},
		{"00:00-24:00", []string{"00:00:00", "23:59:59"}, nil},
	} {
		h, err := parseHours(row.hours)
		if err != nil || h.String() != row.hours {
			t.Fatalf("%q: %v, %v", row.hours, h, err)
		}
		for _, clock := range row.in {
			if !h.Contains(at(clock)) {
				t.Errorf("%s is not in %s", clock, row.hours)
			}
		}
		for _, clock := range row.out {
			if h.Contains(at(clock)) {
				t.Errorf("%s is in %s", clock, row.hours)
			}
		}
	}
	if !(Hours{}).Contains(at("03:00:00")) {
		t.Error("the zero value is not always")
	}
}

func TestNearest(t *testing.T) {
	keys := []string{"topic", "device", "name", "room", "post", "password", "password_file", "ca_file"}
	for word, want := range map[string]string{
		"toppic": "topic", "tpoic": "topic", "topics": "topic", "Topic": "topic", "rooom": "room", "psot": "post",
		"password-file": "password_file", "passwordfile": "password_file", "cafile": "ca_file",
		"site": "", "x": "", "": "", "map": "",
	} {
		if got := nearest(word, keys); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
}

func TestExpand(t *testing.T) {
	env := environment([]string{"A=1", "B=${A}", "EMPTY=", "broken", "C=x=y"})
	for text, want := range map[string]string{
		"":             "",
		"plain $ text": "plain $ text",
		"$A":           "$A",
		"${A}":         "1",
		"-${A}${A}-":   "-11-",
		"${B}":         "${A}",
		"$${A}":        "${A}",
		"$${A}${A}":    "${A}1",
		"$$${A}":       "$${A}",
		"${EMPTY}":     "",
		"${C}":         "x=y",
		"{{ a }}$":     "{{ a }}$",
	} {
		got, err := expand(text, env)
		if err != nil || got != want {
			t.Errorf("%q: got %q, %v; want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"${NOBODY}", "${", "${}", "${A", "${a b}", "${1}", "${broken}", "${A:-x}"} {
		if got, err := expand(text, env); err == nil {
			t.Errorf("%q is good: %q", text, got)
		}
	}
}
