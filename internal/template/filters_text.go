package template

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// textFilter makes a filter of f, which takes and gives text. Letters may grow when their case changes, but not threefold.
func textFilter(f func(string) string) func(*run, any) (any, error) {
	return func(r *run, in any) (any, error) {
		s, err := r.string(in)
		if err != nil {
			return nil, err
		}
		out := f(s)
		return out, r.text(len(out))
	}
}

func lower(s string) string { return strings.ToLower(s) }
func upper(s string) string { return strings.ToUpper(s) }

func isCase(s string, f func(string) string) bool {
	return s == f(s) && strings.IndexFunc(s, unicode.IsLetter) >= 0
}

func capitalize(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return ""
	}
	return strings.ToUpper(string(r)) + strings.ToLower(s[n:])
}

// title capitalises the words between white space, - ( { [ <, as Jinja does.
func title(s string) string {
	start := true
	return strings.Map(func(r rune) rune {
		first := start
		start = unicode.IsSpace(r) || strings.ContainsRune("-({[<", r)
		if first {
			return unicode.ToUpper(r)
		}
		return unicode.ToLower(r)
	}, s)
}

func filterTrim(r *run, in any, args []any) (any, error) {
	s, err := r.string(in)
	if err != nil {
		return nil, err
	}
	if given(args[0]) && args[0] != nil {
		cut, err := r.string(args[0])
		if err != nil {
			return nil, err
		}
		if len(cut) > 64 {
			return nil, limitf("more than 64 bytes of characters to trim")
		}
		return strings.Trim(s, cut), r.step(1 + len(s)/16)
	}
	return strings.TrimSpace(s), r.step(1 + len(s)/64)
}

func filterReplace(r *run, in any, args []any) (any, error) {
	s, err := r.string(in)
	if err != nil {
		return nil, err
	}
	from, err := r.string(args[0])
	if err != nil {
		return nil, err
	}
	to, err := r.string(args[1])
	if err != nil {
		return nil, err
	}
	times, err := integer(args[2], "count", -1)
	if err != nil {
		return nil, err
	}
	n := int64(utf8.RuneCountInString(s) + 1)
	if from != "" {
		n = int64(strings.Count(s, from))
	}
	if times >= 0 {
		n = min(n, times)
	}
	grown := int64(len(s)) + n*max(int64(len(to)-len(from)), 0) // 64 bits everywhere
	if err := r.text(int(min(grown, maxResult+1))); err != nil {
		return nil, err
	}
	return strings.Replace(s, from, to, int(n)), nil
}

func filterJoin(r *run, in any, args []any) (any, error) {
	items, err := r.items(in)
	if err != nil {
		return nil, err
	}
	separator := ""
	if given(args[0]) {
		if separator, err = r.string(args[0]); err != nil {
			return nil, err
		}
	}
	var b []byte
	for i, item := range items {
		if given(args[1]) {
			if item, err = r.item(item, args[1]); err != nil {
				return nil, err
			}
		}
		if i > 0 {
			b = append(b, separator...)
		}
		if b, err = r.print(b, item); err != nil {
			return nil, err
		}
		if len(b) > maxResult {
			return nil, limitf("text longer than %d bytes", maxResult)
		}
		if err := r.step(1 + len(separator)/64); err != nil {
			return nil, err
		}
	}
	return string(b), r.text(len(b))
}

func filterTruncate(r *run, in any, args []any) (any, error) {
	s, err := r.string(in)
	if err != nil {
		return nil, err
	}
	length, err := integer(args[0], "length", 255)
	if err != nil {
		return nil, err
	}
	leeway, err := integer(args[3], "leeway", 5)
	if err != nil {
		return nil, err
	}
	end := "..."
	if given(args[2]) {
		if end, err = r.string(args[2]); err != nil {
			return nil, err
		}
	}
	if err := r.text(2 * (len(s) + len(end)) / 3); err != nil {
		return nil, err
	}
	c, e := []rune(s), int64(utf8.RuneCountInString(end))
	if length < e {
		return nil, valuef("the length of truncate must be at least that of its end")
	}
	if all := int64(len(c)); leeway < 0 || all <= length || all-length <= leeway {
		return s, nil
	}
	cut := string(c[:length-e])
	if !given(args[1]) || !truth(args[1]) {
		if i := strings.LastIndexByte(cut, ' '); i >= 0 {
			cut = cut[:i]
		}
	}
	return cut + end, nil
}

func filterFormat(r *run, in any, args []any) (any, error) {
	s, err := r.string(in)
	if err != nil {
		return nil, err
	}
	return r.format(s, args)
}

// format is Python's printf: %s %d %i %f %e %g %x %X %o %c and %%, with flags, width and precision.
func (r *run) format(s string, args []any) (any, error) {
	if len(args) == 1 {
		if l, ok := args[0].(list); ok {
			args = l
		}
	}
	var b []byte
	for {
		i := strings.IndexByte(s, '%')
		if i < 0 {
			break
		}
		b = append(b, s[:i]...)
		verb, rest, err := cutVerb(s[i+1:])
		if err != nil {
			return nil, err
		}
		s = rest
		if verb == "%" {
			b = append(b, '%')
			continue
		}
		if len(args) == 0 {
			return nil, valuef("the format wants more values than are given")
		}
		if b, err = r.formatOne(b, verb, args[0]); err != nil {
			return nil, err
		}
		args = args[1:]
		if len(b) > maxResult {
			return nil, limitf("text longer than %d bytes", maxResult)
		}
	}
	if len(args) > 0 {
		return nil, valuef("the format wants fewer values than are given")
	}
	b = append(b, s...)
	return string(b), r.text(len(b))
}

// cutVerb cuts flags, width, precision and the letter of a verb off the front of s. Both numbers are limited.
func cutVerb(s string) (verb, rest string, err error) {
	i := 0
	for i < len(s) && strings.IndexByte("-+ 0#", s[i]) >= 0 {
		i++
	}
	for part := range 2 {
		if part == 1 {
			if i >= len(s) || s[i] != '.' {
				break
			}
			i++
		}
		from := i
		for i < len(s) && digit(s[i]) {
			i++
		}
		if n, err := strconv.Atoi(s[from:i]); i > from && (err != nil || n > maxFormat) {
			return "", "", limitf("a width or precision of more than %d", maxFormat)
		}
	}
	if i >= len(s) || i > 24 || strings.IndexByte("sdifFeEgGxXoc%", s[i]) < 0 {
		return "", "", valuef("this is no format: %s", short("%"+s[:min(len(s), i+1)]))
	}
	return s[:i+1], s[i+1:], nil
}

func (r *run) formatOne(b []byte, verb string, v any) ([]byte, error) {
	letter := verb[len(verb)-1]
	n, isNumber := number(v)
	if letter == 's' {
		s, err := r.string(v)
		if err != nil {
			return nil, err
		}
		return fmt.Appendf(b, "%"+verb, s), r.text(len(s))
	}
	if s, ok := v.(string); ok && letter == 'c' {
		return fmt.Appendf(b, "%"+verb[:len(verb)-1]+"s", s), r.text(len(s))
	}
	if !isNumber {
		return nil, valuef("the format %%%s needs a number, not %s; | float makes one of text", verb, words(v))
	}
	if strings.IndexByte("fFeEgG", letter) >= 0 {
		return fmt.Appendf(b, "%"+verb, n.float()), nil
	}
	if n.isFloat {
		if math.IsNaN(n.f) || math.Abs(n.f) >= 1<<63 {
			return nil, limitf("too large a number for %%%s", verb)
		}
		n.i = int64(n.f)
	}
	if letter == 'i' {
		verb = verb[:len(verb)-1] + "d"
	}
	return fmt.Appendf(b, "%"+verb, n.i), nil
}

func methodGet(_ *run, in any, args []any) (any, error) {
	m, ok := in.(*Map)
	if !ok {
		return nil, valuef("get works on an object, not on %s", words(in))
	}
	if v, ok := m.get(args[0]); ok {
		return v, nil
	}
	if given(args[1]) {
		return args[1], nil
	}
	return nil, nil
}

func objectPart(r *run, in any, part func(*Map) list) (any, error) {
	m, ok := in.(*Map)
	if !ok {
		return nil, valuef("this works on an object, not on %s", words(in))
	}
	return part(m), r.step(1)
}

func methodItems(r *run, in any) (any, error) {
	if !defined(in) {
		return list(nil), nil
	}
	m, ok := in.(*Map)
	if !ok {
		return nil, valuef("items works on an object, not on %s", words(in))
	}
	if err := r.list(3 * len(m.keys)); err != nil {
		return nil, err
	}
	out := make(list, len(m.keys))
	for i := range m.keys {
		out[i] = list{m.keys[i], m.values[i]}
	}
	return out, nil
}

// twoTexts are the input and the first argument of a method of texts.
func twoTexts(in any, args []any) (s, t string, err error) {
	s, ok := asText(in)
	t, okT := asText(args[0])
	if !ok || !okT {
		return "", "", valuef("this works on text, not on %s", words(in))
	}
	return s, t, nil
}

func methodStartsWith(_ *run, in any, args []any) (any, error) {
	s, t, err := twoTexts(in, args)
	return strings.HasPrefix(s, t), err
}

func methodEndsWith(_ *run, in any, args []any) (any, error) {
	s, t, err := twoTexts(in, args)
	return strings.HasSuffix(s, t), err
}

func methodJoin(r *run, in any, args []any) (any, error) {
	return filterJoin(r, args[0], []any{in, absent{}})
}

func methodSplit(r *run, in any, args []any) (any, error) {
	s, ok := asText(in)
	if !ok {
		return nil, valuef("split works on text, not on %s", words(in))
	}
	most, err := integer(args[1], "maxsplit", -1)
	if err != nil {
		return nil, err
	}
	var parts []string
	if given(args[0]) && args[0] != nil {
		sep, ok := asText(args[0])
		if !ok || sep == "" {
			return nil, valuef("split needs text to split at")
		}
		n := strings.Count(s, sep)
		if most >= 0 {
			n = int(min(int64(n), most))
		}
		if err := r.list(n + 1); err != nil {
			return nil, err
		}
		parts = strings.SplitN(s, sep, n+1)
	} else {
		if err := r.text(len(s)); err != nil {
			return nil, err
		}
		parts = fields(s, int(min(most, maxCount)))
	}
	if err := r.list(len(parts)); err != nil {
		return nil, err
	}
	out := make(list, len(parts))
	for i, p := range parts {
		out[i] = p
	}
	return out, nil
}

// fields splits at white space, at most n times if n is not negative; the last part keeps its inner white space.
func fields(s string, n int) []string {
	if n < 0 {
		return strings.Fields(s)
	}
	var out []string
	for s = strings.TrimLeftFunc(s, unicode.IsSpace); s != ""; s = strings.TrimLeftFunc(s, unicode.IsSpace) {
		i := strings.IndexFunc(s, unicode.IsSpace)
		if len(out) == n || i < 0 {
			return append(out, s)
		}
		out = append(out, s[:i])
		s = s[i:]
	}
	return out
}
