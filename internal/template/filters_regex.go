package template

import (
	"regexp"
	"strconv"
	"strings"
)

// What one regular expression may be, and find.
const (
	maxPattern = 512  // bytes
	maxGroups  = 16   // in brackets
	maxMatches = 1000 // in one text
)

// pattern compiles a regular expression of Python for a text of n bytes. What Go's engine, which never takes long, has not
// (looking around, references back) is an error; so is what would mean something else. The work is counted before it is
// done: the size of the compiled expression, times the text.
func (r *run) pattern(v, ignoreCase any, n int) (*regexp.Regexp, error) {
	s, ok := asText(v)
	if !ok {
		return nil, valuef("a regular expression is text, not %s", words(v))
	}
	if len(s) > maxPattern {
		return nil, limitf("a regular expression of more than %d bytes", maxPattern)
	}
	size := len(s) * (1 + repeats(s))
	if err := r.step(100 + 20*size); err != nil {
		return nil, err
	}
	if err := r.step(n * size / 4); err != nil {
		return nil, err
	}
	for _, other := range []string{`\z`, `\Q`, `\p`, `\P`, `\C`, "[[:"} {
		if strings.Contains(s, other) {
			return nil, valuef("this regular expression means something else in Python: %s", short(s))
		}
	}
	s = strings.ReplaceAll(s, `\Z`, `\z`)
	if given(ignoreCase) && truth(ignoreCase) {
		s = "(?i)" + s
	}
	re, err := regexp.Compile(s)
	if err != nil {
		return nil, valuef("this regular expression cannot be used: %s", short(s))
	}
	if re.NumSubexp() > maxGroups {
		return nil, limitf("a regular expression with more than %d groups", maxGroups)
	}
	return re, nil
}

// repeats is the sum of the numbers in the braces of a regular expression: how much larger it may become.
func repeats(s string) int {
	sum := 0
	for rest := s; ; {
		_, after, found := strings.Cut(rest, "{")
		if !found {
			return sum
		}
		end := strings.IndexByte(after, '}')
		if end < 0 {
			return sum
		}
		for part := range strings.SplitSeq(after[:end], ",") {
			if n, err := strconv.Atoi(part); err == nil {
				sum += min(n, maxPattern)
			}
		}
		rest = after
	}
}

// subject is the text a regular expression is looked for in.
func (r *run) subject(v any) (string, error) {
	if err := needDefined(v); err != nil {
		return "", err
	}
	return r.string(v)
}

// regexTest is regex_match (at the beginning) and regex_search (anywhere).
func regexTest(anywhere bool) func(*run, any, []any) (any, error) {
	return func(r *run, in any, args []any) (any, error) {
		s, err := r.subject(in)
		if err != nil {
			return nil, err
		}
		re, err := r.pattern(args[0], args[1], len(s))
		if err != nil {
			return nil, err
		}
		at := re.FindStringIndex(s)
		if anywhere {
			return at != nil, nil
		}
		if at != nil && at[0] != 0 { // a match further on is not the first that would begin at 0
			if re, err = r.pattern("^(?:"+re.String()+")", absent{}, len(s)); err != nil {
				return nil, err
			}
			at = re.FindStringIndex(s)
		}
		return at != nil, nil
	}
}

// found are all matches: the whole of each, or its group, or a list of its groups.
func (r *run) found(in, pattern, ignoreCase any) (list, error) {
	s, err := r.subject(in)
	if err != nil {
		return nil, err
	}
	re, err := r.pattern(pattern, ignoreCase, len(s))
	if err != nil {
		return nil, err
	}
	all := re.FindAllStringSubmatch(s, maxMatches+1)
	groups := re.NumSubexp()
	if len(all) > maxMatches {
		return nil, limitf("a regular expression is found more than %d times", maxMatches)
	}
	if err := r.list(len(all) * (1 + groups)); err != nil {
		return nil, err
	}
	var out list
	for _, m := range all {
		switch groups {
		case 0, 1:
			out = append(out, m[groups])
		default:
			var l list
			for _, g := range m[1:] {
				l = append(l, g)
			}
			out = append(out, l)
		}
	}
	return out, nil
}

func regexFindAll(r *run, in any, args []any) (any, error) {
	return r.found(in, args[0], args[1])
}

func regexFindAllIndex(r *run, in any, args []any) (any, error) {
	all, err := r.found(in, args[0], args[2])
	if err != nil {
		return nil, err
	}
	n, err := integer(args[1], "the index", 0)
	if err != nil {
		return nil, err
	}
	i, ok := index(n, len(all))
	if !ok {
		return nil, valuef("the regular expression is found %d times", len(all))
	}
	return all[i], nil
}

// regexReplace puts text in place of all matches; \1 and \g<1> are groups.
func regexReplace(r *run, in any, args []any) (any, error) {
	s, err := r.subject(in)
	if err != nil {
		return nil, err
	}
	if !given(args[0]) {
		args[0] = ""
	}
	re, err := r.pattern(args[0], args[2], len(s))
	if err != nil {
		return nil, err
	}
	with := ""
	if given(args[1]) {
		if with, err = r.string(args[1]); err != nil {
			return nil, err
		}
	}
	all := re.FindAllStringSubmatchIndex(s, maxMatches+1)
	if len(all) > maxMatches {
		return nil, limitf("a regular expression is found more than %d times", maxMatches)
	}
	if err := r.list(len(all)); err != nil {
		return nil, err
	}
	var b []byte
	last := 0
	for _, m := range all {
		b = append(b, s[last:m[0]]...)
		if b, err = expandGroups(b, s, m, with); err != nil {
			return nil, err
		}
		if last = m[1]; len(b) > maxResult {
			return nil, limitf("text longer than %d bytes", maxResult)
		}
	}
	b = append(b, s[last:]...)
	return string(b), r.text(len(b))
}

// expandGroups appends a replacement as Python reads it.
func expandGroups(b []byte, s string, m []int, with string) ([]byte, error) {
	for i := 0; i < len(with); i++ {
		if with[i] != '\\' || i+1 == len(with) {
			b = append(b, with[i])
			continue
		}
		i++
		group := ""
		switch c := with[i]; {
		case digit(c) && c != '0':
			group = string(c)
		case c == 'g' && strings.HasPrefix(with[i+1:], "<"):
			end := strings.IndexByte(with[i:], '>')
			if end < 0 {
				return nil, valuef(`\g< without > in a replacement`)
			}
			group = with[i+2 : i+end]
			i += end
		case c == '\\':
			b = append(b, '\\')
			continue
		case c == 'n':
			b = append(b, '\n')
			continue
		case c == 't':
			b = append(b, '\t')
			continue
		default:
			return nil, valuef(`the escape \%c in a replacement is not known`, c)
		}
		n, err := strconv.Atoi(group)
		if err != nil || n < 0 || 2*n+1 >= len(m) {
			return nil, valuef("a replacement names the group %s, which is not there", short(group))
		}
		if m[2*n] >= 0 {
			b = append(b, s[m[2*n]:m[2*n+1]]...)
		}
	}
	return b, nil
}
