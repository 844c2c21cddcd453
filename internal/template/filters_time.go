package template

import (
	"math"
	"strings"
	"time"
)

// moment is a point in time that a template works with. It has a time zone of its own, or none (naive).
type moment struct {
	at    time.Time
	naive bool
}

// isoLayouts are the forms of a time that as_datetime reads, with and without a zone.
var isoLayouts = []string{"2006-01-02T15:04:05.999999999Z07:00", "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05.999999999Z0700", "2006-01-02T15:04:05.999999999", "2006-01-02T15:04", "2006-01-02"}

// toMoment reads a time: a moment, seconds since 1970, or text.
func toMoment(v any) (moment, bool) {
	if m, ok := v.(moment); ok {
		return m, true
	}
	if n, ok := loose(v); ok {
		f := n.float()
		const far = 253402300799 // the last second of the year 9999
		if math.Abs(f) > far {
			return moment{}, false
		}
		whole := math.Floor(f)
		micros := math.RoundToEven((f - whole) * 1e6)
		return moment{at: time.Unix(int64(whole), int64(micros)*1000).UTC()}, true
	}
	s, ok := asText(v)
	if !ok || len(s) > 64 {
		return moment{}, false
	}
	s = strings.TrimSpace(s)
	if len(s) > 10 && s[10] == ' ' {
		s = s[:10] + "T" + strings.TrimSpace(s[11:])
	}
	for _, layout := range isoLayouts {
		if at, err := time.Parse(layout, s); err == nil {
			return moment{at: at.Truncate(time.Microsecond), naive: !strings.Contains(layout, "Z07")}, true
		}
	}
	return moment{}, false
}

func asDatetime(_ *run, in any, args []any) (any, error) {
	if m, ok := toMoment(in); ok {
		return m, nil
	}
	if given(args[0]) {
		return args[0], nil
	}
	return nil, valuef("%s is not a time", words(in))
}

// asTimestamp is seconds since 1970. Of a time without a zone nobody can tell.
func asTimestamp(_ *run, in any, args []any) (any, error) {
	m, ok := toMoment(in)
	if ok && !m.naive {
		return seconds(m), nil
	}
	if given(args[0]) {
		return args[0], nil
	}
	if ok {
		return nil, valuef("this time has no time zone")
	}
	return nil, valuef("%s is not a time", words(in))
}

func seconds(m moment) float64 {
	return float64(m.at.Unix()) + float64(m.at.Nanosecond()/1000)/1e6
}

// timestampUTC prints seconds since 1970 as a time.
func timestampUTC(_ *run, in any, args []any) (any, error) {
	n, ok := loose(in)
	if ok {
		if m, ok := toMoment(n.value()); ok {
			return m.iso(), nil
		}
	}
	if given(args[0]) {
		return args[0], nil
	}
	return nil, valuef("%s is not a time", words(in))
}

// timestampCustom prints seconds since 1970 in a format, in UTC: checkArgs has seen that nothing else is asked for.
func timestampCustom(r *run, in any, args []any) (any, error) {
	if n, ok := loose(in); ok {
		if m, ok := toMoment(n.value()); ok {
			return r.strftime(m, args[0])
		}
	}
	if given(args[2]) {
		return args[2], nil
	}
	return nil, valuef("%s is not a time", words(in))
}

// iso is isoformat of Python.
func (m moment) iso() string {
	layout := "2006-01-02T15:04:05"
	if m.at.Nanosecond() >= 1000 {
		layout += ".000000"
	}
	if !m.naive {
		layout += "-07:00"
	}
	return m.at.Format(layout)
}

// String is how Python prints a time.
func (m moment) String() string { return strings.Replace(m.iso(), "T", " ", 1) }

// attr is a part of a time.
func (m moment) attr(name string) (any, bool) {
	switch name {
	case "year":
		return int64(m.at.Year()), true
	case "month":
		return int64(m.at.Month()), true
	case "day":
		return int64(m.at.Day()), true
	case "hour":
		return int64(m.at.Hour()), true
	case "minute":
		return int64(m.at.Minute()), true
	case "second":
		return int64(m.at.Second()), true
	case "microsecond":
		return int64(m.at.Nanosecond() / 1000), true
	}
	return undefined{name}, false
}

func methodISO(_ *run, in any) (any, error) {
	m, ok := in.(moment)
	if !ok {
		return nil, valuef("isoformat works on a time, not on %s", words(in))
	}
	return m.iso(), nil
}

func methodTimestamp(_ *run, in any) (any, error) {
	m, ok := in.(moment)
	if !ok || m.naive {
		return nil, valuef("timestamp works on a time with a time zone, not on %s", words(in))
	}
	return seconds(m), nil
}

func methodStrftime(r *run, in any, args []any) (any, error) {
	m, ok := in.(moment)
	if !ok {
		return nil, valuef("strftime works on a time, not on %s", words(in))
	}
	return r.strftime(m, args[0])
}

// strftimeLayouts are the letters of strftime that mean the same in every language.
var strftimeLayouts = map[byte]string{
	'Y': "2006", 'y': "06", 'm': "01", 'd': "02", 'H': "15", 'I': "03", 'M': "04", 'S': "05", 'f': "000000", 'p': "PM", 'z': "-0700", 'j': "002",
	'a': "Mon", 'A': "Monday", 'b': "Jan", 'B': "January", 'F': "2006-01-02", 'T': "15:04:05", 'R': "15:04",
}

func (r *run) strftime(m moment, format any) (any, error) {
	s, ok := asText(format)
	if !ok || len(s) > 128 {
		return nil, valuef("the format of a time is text of at most 128 bytes")
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i++; i == len(s) {
			return nil, valuef("the format of a time ends in %%")
		}
		layout, known := strftimeLayouts[s[i]]
		switch {
		case s[i] == '%':
			b.WriteByte('%')
		case s[i] == 'f':
			b.WriteString(m.at.Format(".000000")[1:])
		case s[i] == 'z' && m.naive:
		case known:
			b.WriteString(m.at.Format(layout))
		default:
			return nil, valuef("the format of a time knows no %%%c", s[i])
		}
	}
	return b.String(), r.text(b.Len())
}
