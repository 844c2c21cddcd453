package topic

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// naiveMatch reads section 4.7 level by level.
func naiveMatch(filter, topic string) bool {
	f, t := strings.Split(filter, "/"), strings.Split(topic, "/")
	if strings.HasPrefix(topic, "$") && (f[0] == "+" || f[0] == "#") {
		return false
	}
	for i, level := range f {
		if level == "#" {
			return true // also when t ends just before
		}
		if i == len(t) || (level != "+" && level != t[i]) {
			return false
		}
		if i == len(t)-1 && len(f) == i+2 && f[i+1] == "#" {
			return true
		}
	}
	return len(f) == len(t)
}

// naiveFilter is section 4.7.1 to 4.7.3 as a sentence.
func naiveFilter(s string) bool {
	if s == "" || len(s) > 65535 || !utf8.ValidString(s) || strings.Contains(s, "\x00") {
		return false
	}
	levels := strings.Split(s, "/")
	for i, l := range levels {
		if strings.Contains(l, "#") && (l != "#" || i != len(levels)-1) || strings.Contains(l, "+") && l != "+" {
			return false
		}
	}
	return true
}

func FuzzFilter(f *testing.F) {
	for _, s := range [][2]string{
		{"a/+/#", "a/b/c"}, {"#", "$SYS/x"}, {"+/+", "/"}, {"a//b", "a//b"}, {"sport/#", "sport"}, {"a#", "a"}, {"\xff", "a"}, {"+", ""},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, filter, topic string) {
		parsed, err := ParseFilter(filter)
		if (err == nil) != naiveFilter(filter) {
			t.Fatalf("ParseFilter(%q): %v", filter, err)
		}
		if err != nil || ValidTopic(topic) != nil {
			return
		}
		if got := parsed.Match(topic); got != naiveMatch(filter, topic) {
			t.Fatalf("%q matches %q: %v", filter, topic, got)
		}
		exact, err := ParseFilter(topic)
		if err != nil {
			t.Fatalf("a topic is no filter: %v", err)
		}
		if parsed.Covers(exact) != parsed.Match(topic) || parsed.Overlaps(exact) != parsed.Match(topic) {
			t.Fatalf("%q and %q: covers %v, overlaps %v", filter, topic, parsed.Covers(exact), parsed.Overlaps(exact))
		}
	})
}

func FuzzPattern(f *testing.F) {
	for _, s := range [][2]string{
		{"sensors/{site}/{device}", "sensors/a/b"}, {"x{a}y/#", "x-y"}, {"{{a}}/{b}", "{a}/c"}, {"{a", "a"}, {"{a}{b}", "ab"}, {"${a}", "$x"},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, pattern, topic string) {
		p, err := ParsePattern(pattern)
		if err != nil {
			return
		}
		if _, err := ParseFilter(p.Filter().String()); err != nil {
			t.Fatalf("the filter of %q: %v", pattern, err)
		}
		if ValidTopic(topic) != nil {
			return
		}
		vars, ok := p.Match(topic)
		if !ok {
			return
		}
		if !p.Filter().Match(topic) {
			t.Fatalf("%q matches %q, its filter %q does not", pattern, topic, p.Filter())
		}
		if len(vars) != len(p.Captures()) {
			t.Fatalf("%d values for %q", len(vars), p.Captures())
		}
		for name, v := range vars {
			if v == "" || strings.ContainsAny(v, "/+#\x00") {
				t.Fatalf("{%s} took %q from %q", name, v, topic)
			}
		}
		if strings.ContainsAny(p.Filter().String(), "#") || slices.Contains(strings.Split(pattern, "/"), "+") {
			return
		}
		// what was taken, put back, gives the topic
		tmpl, err := ParseTemplate(pattern, p.Captures())
		if err != nil {
			t.Fatal(err)
		}
		if back, err := tmpl.Expand(vars); err != nil || back != topic {
			t.Fatalf("%q took %v from %q, which gives %q, %v", pattern, vars, topic, back, err)
		}
	})
}

func FuzzTemplate(f *testing.F) {
	f.Add("{a}-{b}/set", "x", "y")
	f.Add("{{{a}}}", "$", "")
	f.Fuzz(func(t *testing.T, s, a, b string) {
		tmpl, err := ParseTopicTemplate(s, []string{"a", "b"})
		if err != nil {
			return
		}
		got, err := tmpl.ExpandTopic(map[string]string{"a": a, "b": b})
		if err != nil {
			return
		}
		if err := ValidTopic(got); err != nil {
			t.Fatal(err)
		}
		one, err := tmpl.Expand(map[string]string{"a": "x", "b": "x"})
		if err != nil || strings.Count(got, "/") != strings.Count(one, "/") || got[0] == '$' && one[0] != '$' {
			t.Fatalf("%q with %q and %q is %q", s, a, b, got)
		}
	})
}

// small draws filters and topics from so few words that they meet.
var (
	smallFilter = rapid.Custom(func(t *rapid.T) Filter {
		levels := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "", "+", "$x"}), 1, 4).Draw(t, "levels")
		if rapid.Bool().Draw(t, "tail") {
			levels = append(levels, "#")
		}
		f, err := ParseFilter(strings.Join(levels, "/"))
		if err != nil {
			return Filter{"a"}
		}
		return f
	})
	smallTopic = rapid.Custom(func(t *rapid.T) string {
		s := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "", "c", "$x"}), 1, 5).Draw(t, "levels"), "/")
		if s == "" {
			return "a"
		}
		return s
	})
)

func TestCoverHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		wanted := rapid.SliceOfN(smallFilter, 0, 6).Draw(t, "wanted")
		cover := Cover(wanted)
		if again := Cover(rapid.Permutation(wanted).Draw(t, "order")); !slices.Equal(cover, again) {
			t.Fatalf("another order gives %v, not %v", again, cover)
		}
		if again := Cover(cover); !slices.Equal(cover, again) {
			t.Fatalf("the cover of %v is %v", cover, again)
		}
		for _, w := range wanted {
			if !slices.ContainsFunc(cover, func(c Filter) bool { return c.Covers(w) }) {
				t.Fatalf("%v does not cover %v", cover, w)
			}
		}
		for i, a := range cover {
			for _, b := range cover[i+1:] {
				if a.Overlaps(b) {
					t.Fatalf("%v and %v overlap", a, b)
				}
			}
		}
	})
}

func TestCoversAndOverlapsMean(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := smallFilter.Draw(t, "a"), smallFilter.Draw(t, "b")
		topic := smallTopic.Draw(t, "topic")
		inA, inB := a.Match(topic), b.Match(topic)
		if a.Covers(b) && inB && !inA {
			t.Fatalf("%v covers %v, but %q is in the second only", a, b, topic)
		}
		if inA && inB && !a.Overlaps(b) {
			t.Fatalf("%q is in %v and %v, which do not overlap", topic, a, b)
		}
		if a.Overlaps(b) != b.Overlaps(a) {
			t.Fatalf("%v and %v overlap one way", a, b)
		}
		if a.Covers(b) && !a.Overlaps(b) {
			t.Fatalf("%v covers %v without overlap", a, b)
		}
		if a.Overlaps(b) {
			if j := join(a, b); !j.Covers(a) || !j.Covers(b) {
				t.Fatalf("%v and %v are joined into %v", a, b, j)
			}
		}
	})
}
