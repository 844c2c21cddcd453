package config

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/gatepost/gatepost/internal/ids"
)

// Size is a number of bytes.
type Size int64

// units of sizes, the large ones first.
var units = []struct {
	name  string
	bytes int64
}{
	{"GiB", 1 << 30},
	{"GB", 1e9},
	{"MiB", 1 << 20},
	{"MB", 1e6},
	{"KiB", 1 << 10},
	{"kB", 1e3},
	{"KB", 1e3},
	{"B", 1},
	{"", 1},
}

// String is the shortest way to write s exactly.
func (s Size) String() string {
	for _, u := range units {
		if u.bytes > 1 && s != 0 && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

var sizeForm = regexp.MustCompile(`^([0-9]{1,18}) ?([A-Za-z]*)$`)

func parseSize(text string) (Size, error) {
	m := sizeForm.FindStringSubmatch(text)
	if m == nil {
		return 0, errShape
	}
	n, _ := strconv.ParseInt(m[1], 10, 64) // at most 18 digits
	for _, u := range units {
		if u.name != m[2] {
			continue
		}
		if n > math.MaxInt64/u.bytes {
			return 0, errors.New("is too large")
		}
		return Size(n * u.bytes), nil
	}
	return 0, errShape
}

// maxDuration is more than anybody waits for, and far from overflow.
const maxDuration = 10 * 365 * 24 * time.Hour

var daysForm = regexp.MustCompile(`^([0-9]{1,5})d(.*)$`)

// parseDuration reads Go's durations and days in front of them: "30d", "1d12h".
func parseDuration(text string) (time.Duration, error) {
	var days time.Duration
	rest := text
	if m := daysForm.FindStringSubmatch(text); m != nil {
		n, _ := strconv.Atoi(m[1]) // at most 5 digits
		days, rest = time.Duration(n)*24*time.Hour, m[2]
		if rest == "" {
			rest = "0s"
		}
	}
	d, err := time.ParseDuration(rest)
	switch {
	case err != nil && isNumber(text):
		return 0, fmt.Errorf("has no unit; write %ss, %sm or %sh", text, text, text)
	case err != nil:
		return 0, errShape
	case d < 0:
		return 0, errors.New("is negative")
	case d > maxDuration-days:
		return 0, errors.New("is longer than ten years")
	}
	return days + d, nil
}

func isNumber(s string) bool {
	_, err := strconv.ParseUint(s, 10, 32)
	return err == nil
}

// formatDuration writes d as parseDuration reads it, without zero parts: "10m", "30d".
func formatDuration(d time.Duration) string {
	if d >= 24*time.Hour && d%(24*time.Hour) == 0 {
		return strconv.Itoa(int(d/(24*time.Hour))) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Hours is a part of the day, from From until To, both since midnight. To before From goes past midnight. The zero value
// is the whole day.
type Hours struct{ From, To time.Duration }

// Contains says whether the time of day of t, in the zone that t has, is in h.
func (h Hours) Contains(t time.Time) bool {
	if h == (Hours{}) {
		return true
	}
	at := time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute + time.Duration(t.Second())*time.Second
	if h.From < h.To {
		return h.From <= at && at < h.To
	}
	return at >= h.From || at < h.To
}

// String is "07:00-22:00"; "" for the whole day.
func (h Hours) String() string {
	if h == (Hours{}) {
		return ""
	}
	clock := func(d time.Duration) string { return fmt.Sprintf("%02d:%02d", d/time.Hour, d%time.Hour/time.Minute) }
	return clock(h.From) + "-" + clock(h.To)
}

var hoursForm = regexp.MustCompile(`^([01][0-9]|2[0-4]):([0-5][0-9])-([01][0-9]|2[0-4]):([0-5][0-9])$`)

func parseHours(text string) (Hours, error) {
	m := hoursForm.FindStringSubmatch(text)
	if m == nil {
		return Hours{}, errShape
	}
	clock := func(hour, minute string) time.Duration {
		h, _ := strconv.Atoi(hour)
		m, _ := strconv.Atoi(minute)
		return time.Duration(h)*time.Hour + time.Duration(m)*time.Minute
	}
	h := Hours{From: clock(m[1], m[2]), To: clock(m[3], m[4])}
	switch {
	case h.From >= 24*time.Hour || h.To > 24*time.Hour:
		return Hours{}, errShape
	case h.From == h.To:
		return Hours{}, errors.New("is no time at all")
	}
	return h, nil
}

// Range is the numbers from Min to Max, both included; nil is no bound. The zero value is all numbers.
type Range struct{ Min, Max *float64 }

// String is "Min..Max"; "" for all numbers.
func (r Range) String() string {
	if r.Min == nil && r.Max == nil {
		return ""
	}
	end := func(f *float64) string {
		if f == nil {
			return ""
		}
		return strconv.FormatFloat(*f, 'f', -1, 64)
	}
	return end(r.Min) + ".." + end(r.Max)
}

func parseRange(text string) (Range, error) {
	low, high, ok := strings.Cut(text, "..")
	if !ok || low+high == "" {
		return Range{}, errShape
	}
	end := func(s string) (*float64, bool) {
		if s == "" {
			return nil, true
		}
		f, err := strconv.ParseFloat(s, 64)
		return &f, err == nil && f-f == 0
	}
	var r Range
	var good, fine bool
	r.Min, good = end(strings.TrimSpace(low))
	r.Max, fine = end(strings.TrimSpace(high))
	switch {
	case !good || !fine:
		return Range{}, errShape
	case r.Min != nil && r.Max != nil && *r.Min > *r.Max:
		return Range{}, errors.New("has nothing in it")
	}
	return r, nil
}

// PortRange is First to Last, both included.
type PortRange struct{ First, Last uint16 }

// String is "First-Last".
func (r PortRange) String() string { return fmt.Sprintf("%d-%d", r.First, r.Last) }

func parsePortRange(text string) (PortRange, error) {
	a, b, ok := strings.Cut(text, "-")
	first, err1 := strconv.ParseUint(a, 10, 16)
	last, err2 := strconv.ParseUint(b, 10, 16)
	if !ok || err1 != nil || err2 != nil || first == 0 {
		return PortRange{}, errShape
	}
	if first > last {
		return PortRange{}, errors.New("ends before it begins")
	}
	return PortRange{First: uint16(first), Last: uint16(last)}, nil
}

func parsePrefix(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
			return netip.Prefix{}, fmt.Errorf("is not a CIDR; the single address is %s", netip.PrefixFrom(a, a.BitLen()))
		}
		return netip.Prefix{}, errors.New("is not a CIDR")
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("has bits set outside its mask; the network is %s", p.Masked())
	}
	return p, nil
}

func parseAddr(text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, errShape
	}
	return a, nil
}

func parseZone(text string) (*time.Location, error) {
	if text == "" {
		return nil, errShape
	}
	zone, err := time.LoadLocation(text)
	if err != nil {
		return nil, errors.New("is not a time zone that this system knows; expected a name such as Europe/Berlin, UTC or Local")
	}
	return zone, nil
}

func parseLevel(text string) (slog.Level, error) {
	switch text {
	case "debug":
		return slog.LevelDebug, nil
	case "info":
		return slog.LevelInfo, nil
	case "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	}
	return 0, errShape
}

// parseUserID checks the form of the specification (Matrix v1.19, appendices, user identifiers), with the wider range of
// characters that old accounts have.
func parseUserID(text string) (ids.UserID, error) {
	local, server, ok := strings.Cut(text, ":")
	if !ok || len(local) < 2 || local[0] != '@' || strings.ContainsFunc(local[1:], func(r rune) bool { return r < 0x21 || r > 0x7e || r == ':' }) {
		return "", errShape
	}
	switch {
	case !isServerName(server):
		return "", fmt.Errorf("ends with %s, which is not a server name", quote(server))
	case len(text) > 255:
		return "", errors.New("is longer than 255 characters")
	}
	return ids.UserID(text), nil
}

var serverForm = regexp.MustCompile(`^([A-Za-z0-9.-]{1,230}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?$`)

func isServerName(s string) bool { return serverForm.MatchString(s) }
