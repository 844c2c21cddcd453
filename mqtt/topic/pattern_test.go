package topic

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestParsePattern(t *testing.T) {
	for _, tt := range []struct{ name, in, filter, captures, err string }{
		{"whole levels", "sensors/{site}/{device}/{reading}", "sensors/+/+/+", "site device reading", ""},
		{"part of a level", "zigbee-{id}/state", "+/state", "id", ""},
		{"text on both sides", "a/x{id}y/b", "a/+/b", "id", ""},
		{"wildcards", "{a}/+/#", "+/+/#", "a", ""},
		{"nothing captured", "a/b", "a/b", "", ""},
		{"empty levels", "/{a}//", "/+//", "a", ""},
		{"spaces, dots and UTF-8", "my home/a.b/{räume}", "", "", "name of a capture"},
		{"braces of its own", "a/{{b}}/{c}", "a/{b}/+", "c", ""},
		{"brace beside a capture", "a/{c}}}", "a/+", "c", ""},
		{"dollar", "$SYS/{a}", "$SYS/+", "a", ""},
		{"underscore and digits", "{_a1}", "+", "_a1", ""},
		{"twice", "{a}/b/{a}", "", "", "{a} occurs twice"},
		{"two in a level", "{a}-{b}", "", "", "{a} and {b} are in one level"},
		{"capital", "{Site}", "", "", "{Site}"},
		{"digit first", "{1}", "", "", "{1}"},
		{"no name", "a/{}", "", "", "{}"},
		{"not closed", "a/{b", "", "", `"{" without "}"`},
		{"across levels", "a/{b/c}", "", "", `"{" without "}"`},
		{"not opened", "a/b}", "", "", `"}" without "{"`},
		{"plus beside a capture", "{a}+", "", "", "whole levels"},
		{"plus beside text", "a+", "", "", "whole levels"},
		{"hash not last", "#/{a}", "", "", "last level"},
		{"dollar and a capture", "${a}/b", "", "", "no wildcard matches"},
		{"shared", "$share/g/{a}", "", "", "shared"},
		{"empty", "", "", "", "it is empty"},
		{"NUL", "a\x00", "", "", "NUL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := ParsePattern(tt.in)
			check(t, err, tt.err)
			if err != nil {
				return
			}
			if p.Filter().String() != tt.filter || strings.Join(p.Captures(), " ") != tt.captures || p.String() != tt.in {
				t.Errorf("%q has filter %q and captures %q", p, p.Filter(), p.Captures())
			}
		})
	}
}

func TestPatternMatch(t *testing.T) {
	for _, tt := range []struct {
		pattern, topic string
		want           string // "no", or name=value ...
	}{
		{"sensors/{site}/{device}/{reading}", "sensors/roof/t1/temp", "device=t1 reading=temp site=roof"},
		{"sensors/{site}/{device}/{reading}", "sensors/roof/t1", "no"},
		{"sensors/{site}/{device}/{reading}", "sensors/roof/t1/temp/x", "no"},
		{"sensors/{site}/x", "Sensors/roof/x", "no"},
		{"zigbee-{id}/state", "zigbee-7/state", "id=7"},
		{"zigbee-{id}/state", "zigbee-/state", "no"},
		{"zigbee-{id}/state", "zigbe-7/state", "no"},
		{"x{id}x", "xx", "no"},
		{"x{id}x", "xxx", "id=x"},
		{"x{id}yz", "xyz", "no"},
		{"aba{id}aba", "ababa", "no"},
		{"a/{d}/#", "a/b", "d=b"},
		{"a/{d}/#", "a/b/c/d", "d=b"},
		{"a/{d}/#", "a/b/", "d=b"},
		{"a/{d}/#", "a", "no"},
		{"#", "a/b", ""},
		{"#", "$SYS/x", "no"},
		{"+/{a}", "/x", "a=x"},
		{"+/{a}", "$SYS/x", "no"},
		{"{a}/x", "$SYS/x", "no"},
		{"$SYS/{a}", "$SYS/x", "a=x"},
		{"a/{b}/c", "a//c", "no"}, // a device has a name
		{"a//{b}", "a//c", "b=c"},
		{"zigbee2mqtt/{name}", "zigbee2mqtt/Living room lamp", "name=Living room lamp"},
		{"küche/{w}", "küche/温度", "w=温度"},
		{"a/{{b}}", "a/{b}", ""},
		{"a", "", "no"},
		{"{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}/{j}", "1/2/3/4/5/6/7/8/9/0", "a=1 b=2 c=3 d=4 e=5 f=6 g=7 h=8 i=9 j=0"},
	} {
		p, err := ParsePattern(tt.pattern)
		if err != nil {
			t.Fatal(err)
		}
		got := "no"
		m, ok := p.Match(tt.topic)
		if ok {
			var out []string
			for _, k := range slices.Sorted(maps.Keys(m)) {
				out = append(out, k+"="+m[k])
			}
			got = strings.Join(out, " ")
		}
		if got != tt.want {
			t.Errorf("%q on %q gives %q, want %q", tt.pattern, tt.topic, got, tt.want)
		}
		if p.Matches(tt.topic) != ok {
			t.Errorf("%q on %q: Matches says %v, Match %v", tt.pattern, tt.topic, !ok, ok)
		}
	}
	if _, ok := (Pattern{}).Match("a"); ok {
		t.Error("the zero pattern matches")
	}
}

func TestPatternMatchAllocates(t *testing.T) {
	p, err := ParsePattern("sensors/{site}/{device}/{reading}")
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { p.Match("sensors/roof/t1/temp/not") }); n != 0 {
		t.Errorf("%v allocations for what does not match", n)
	}
	if n := testing.AllocsPerRun(100, func() { p.Match("sensors/roof/t1/temp") }); n > 2 {
		t.Errorf("%v allocations for a match, want those of the map", n)
	}
	if n := testing.AllocsPerRun(100, func() { p.Matches("sensors/roof/t1/temp") }); n != 0 {
		t.Errorf("%v allocations to know that it matches", n)
	}
}

func BenchmarkPatternMatch(b *testing.B) {
	p, err := ParsePattern("sensors/{site}/{device}/{reading}")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		p.Match("sensors/roof/t1/temp")
	}
}
