package action

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gatepost/gatepost/mqtt/convention"
)

// check makes the value of an argument. The error completes a sentence that begins with what the argument is called. It never
// repeats what was typed for a secret one.
func check(g *convention.Arg, text string) (any, error) {
	if !utf8.ValidString(text) {
		return nil, errors.New("is no text")
	}
	switch g.Kind {
	case convention.Number:
		return number(g, text)
	case convention.OnOff:
		return onOff(g, text)
	case convention.Option:
		return option(g, text)
	case convention.Time:
		if _, err := time.Parse(time.RFC3339, text); err == nil {
			return text, nil
		}
		if n, err := strconv.ParseUint(text, 10, 40); err == nil {
			return strconv.FormatUint(n, 10), nil
		}
		return nil, errors.New("is a time such as 2030-12-31T18:00:00Z")
	default:
		return words(g, text)
	}
}

// number reads a number as people write it: 21.5, 21,5, 21.5 °C; and 40% of a range that has no unit.
func number(g *convention.Arg, text string) (any, error) {
	digits, unit := split(text)
	share := unit == "%" && g.Unit == "" && g.Min != nil && g.Max != nil && *g.Max > *g.Min
	if unit != "" && !share && !sameUnit(unit, g.Unit) {
		if g.Unit == "" {
			return nil, fmt.Errorf("is a number without a unit, not %s", quoted(g, text))
		}
		return nil, fmt.Errorf("is in %s, not in %s", g.Unit, quoted(g, unit))
	}
	digits = strings.ReplaceAll(digits, "−", "-") // the minus sign of typography
	if whole, part, comma := strings.Cut(digits, ","); comma {
		if len(part) == 3 || strings.ContainsAny(part, ".,") {
			return nil, fmt.Errorf("is written with a point: %s could be two numbers", quoted(g, text))
		}
		digits = whole + "." + part
	}
	if !decimal(digits) {
		return nil, fmt.Errorf("is a number, %s; %s is none", Range(g), quoted(g, text))
	}
	f, err := strconv.ParseFloat(digits, 64)
	if err != nil || math.IsInf(f, 0) {
		return nil, fmt.Errorf("is a number, %s", Range(g))
	}
	if share {
		if f < 0 || f > 100 {
			return nil, fmt.Errorf("is 0 to 100 %%, not %s", quoted(g, text))
		}
		f = *g.Min + f/100*(*g.Max-*g.Min)
		if step := g.Step; step > 0 {
			f = *g.Min + math.Round((f-*g.Min)/step)*step
		} else if *g.Min == math.Trunc(*g.Min) && *g.Max-*g.Min > 1 {
			f = math.Round(f)
		}
		f = min(f, *g.Max)
	}
	switch {
	case g.Min != nil && f < *g.Min:
		return nil, fmt.Errorf("is %s; %s is too little", Range(g), quoted(g, text))
	case g.Max != nil && f > *g.Max:
		return nil, fmt.Errorf("is %s; %s is too much", Range(g), quoted(g, text))
	case g.Step > 0 && !share && offStep(f, g):
		return nil, fmt.Errorf("goes in steps of %s, not %s", show(g.Step), quoted(g, text))
	}
	if f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		return int64(f), nil
	}
	return f, nil
}

// offStep says whether f is between two steps.
func offStep(f float64, g *convention.Arg) bool {
	if g.Min != nil {
		f -= *g.Min
	}
	n := f / g.Step
	return math.Abs(n-math.Round(n)) > 1e-6*max(1, math.Abs(n))
}

// decimal says whether s is a plain number, so that "0x10", "1e9" and "Infinity" are none.
func decimal(s string) bool {
	s = strings.TrimLeft(s[:min(len(s), 1)], "+-") + s[min(len(s), 1):]
	digits, points := 0, 0
	for _, c := range s {
		switch {
		case '0' <= c && c <= '9':
			digits++
		case c == '.':
			points++
		default:
			return false
		}
	}
	return digits > 0 && points <= 1 && len(s) <= 32
}

// split takes the unit off a number.
func split(text string) (digits, unit string) {
	i := strings.LastIndexAny(text, "0123456789") + 1
	if i == 0 {
		return text, ""
	}
	return text[:i], strings.TrimSpace(strings.TrimPrefix(text[i:], "."))
}

// sameUnit compares units: case does not count, nor does the sign of degrees.
func sameUnit(a, b string) bool {
	bare := func(s string) string { return strings.TrimPrefix(strings.TrimSpace(s), "°") }
	return a == b || b != "" && bare(a) != "" && plain(bare(a)) == plain(bare(b))
}

func onOff(g *convention.Arg, text string) (any, error) {
	switch text {
	case g.On:
		return g.On, nil
	case g.Off:
		return g.Off, nil
	}
	switch plain(text) {
	case "on", "true", "yes", "1", plain(g.On):
		return g.On, nil
	case "off", "false", "no", "0", plain(g.Off):
		return g.Off, nil
	}
	return nil, fmt.Errorf("is on or off, not %s", quoted(g, text))
}

func option(g *convention.Arg, text string) (any, error) {
	if len(g.Options) == 0 {
		return words(g, text)
	}
	var near []string
	for _, o := range g.Options {
		if o == text {
			return o, nil
		}
		if spaced(o) == spaced(text) {
			near = append(near, o)
		}
	}
	if len(near) == 1 {
		return near[0], nil
	}
	for _, o := range g.Options {
		if len(text) <= 64 && distance([]rune(spaced(text)), []rune(spaced(o))) <= 1 && len(o) > 3 {
			return nil, fmt.Errorf("is %s, not %s; did you mean “%s”?", Range(g), quoted(g, text), clean(o))
		}
	}
	return nil, fmt.Errorf("is %s, not %s", Range(g), quoted(g, text))
}

func spaced(s string) string { return strings.ReplaceAll(plain(s), "_", " ") }

func words(g *convention.Arg, text string) (any, error) {
	for _, r := range text {
		if r != '\n' && r != '\t' && unicode.IsControl(r) || g.Plain && (unicode.IsControl(r) || strings.ContainsRune("\"'`\\{}", r)) {
			if g.Plain {
				return nil, errors.New("may hold no quotes, backslashes, braces and line breaks: this device does not take them")
			}
			return nil, errors.New("may hold no control characters")
		}
	}
	n := float64(utf8.RuneCountInString(text))
	if g.Min != nil && n < *g.Min || g.Max != nil && n > *g.Max {
		return nil, fmt.Errorf("is %s; that has %.0f", Range(g), n)
	}
	return text, nil
}

// quoted is what somebody typed, for a sentence.
func quoted(g *convention.Arg, text string) string {
	if g.Secret {
		return "what you typed"
	}
	return "“" + clean(text) + "”"
}

// clean is a word that is repeated to people: short, on one line.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r) {
			return ' '
		}
		return r
	}, s)
	if r := []rune(s); len(r) > 40 {
		s = string(r[:40]) + "…"
	}
	return s
}

func show(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
