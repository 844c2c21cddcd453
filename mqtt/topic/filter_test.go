package topic

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// must parses a filter that the test knows to be good.
func must(t testing.TB, s string) Filter {
	t.Helper()
	f, err := ParseFilter(s)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestValidTopic(t *testing.T) {
	for _, tt := range []struct {
		name, in, want string // want: part of the error, "" for a good one
	}{
		{"plain", "sport/tennis", ""},
		{"one slash is two empty levels", "/", ""},
		{"leading slash", "/finance", ""},
		{"trailing slash", "finance/", ""},
		{"empty level", "a//b", ""},
		{"spaces", "zigbee2mqtt/Living room lamp", ""},
		{"dots", "a.b/c.d", ""},
		{"UTF-8", "küche/温度/🌡", ""},
		{"dollar", "$SYS/broker", ""},
		{"longest", strings.Repeat("a", MaxLength), ""},
		{"empty", "", "it is empty"},
		{"too long", strings.Repeat("a", MaxLength+1), "65536 bytes"},
		{"plus", "a/+/b", "no wildcards"},
		{"plus inside", "a+b", "no wildcards"},
		{"hash", "a/#", "no wildcards"},
		{"NUL", "a\x00b", "NUL"},
		{"not UTF-8", "a/\xff", "not UTF-8"},
		{"surrogate", "a/\xed\xa0\x80", "not UTF-8"},
	} {
		t.Run(tt.name, func(t *testing.T) { check(t, ValidTopic(tt.in), tt.want) })
	}
}

func TestParseFilter(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"all", "#", ""},
		{"one level", "+", ""},
		{"tail", "sport/tennis/#", ""},
		{"middle", "sport/+/player1", ""},
		{"both", "+/tennis/#", ""},
		{"slash plus", "/+", ""},
		{"empty levels", "a//+/", ""},
		{"dollar", "$SYS/#", ""},
		{"UTF-8 and spaces", "Küche/my lamp/+", ""},
		{"hash not last", "sport/#/ranking", "last level"},
		{"hash within", "sport/tennis#", "whole levels"},
		{"plus within", "sport+", "whole levels"},
		{"plus hash", "+#", "whole levels"},
		{"two hashes", "##", "whole levels"},
		{"empty", "", "it is empty"},
		{"NUL", "a/\x00", "NUL"},
		{"not UTF-8", "\xc3", "not UTF-8"},
		{"too long", strings.Repeat("a/", MaxLength), "at most 65535"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := ParseFilter(tt.in)
			check(t, err, tt.want)
			if err == nil && f.String() != tt.in {
				t.Errorf("String is %q", f)
			}
		})
	}
}

// check compares an error with a part of its text; "" stands for none.
func check(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("unexpected error: %v", err)
	case want != "" && err == nil:
		t.Errorf("no error, want %q", want)
	case want != "" && !strings.Contains(err.Error(), want):
		t.Errorf("error %q does not say %q", err, want)
	case want != "" && !errors.Is(err, ErrInvalid):
		t.Errorf("error %q is not ErrInvalid", err)
	}
}

func TestFilterMatch(t *testing.T) {
	for _, tt := range []struct {
		filter, topic string
		want          bool
	}{
		// the examples of section 4.7.1
		{"sport/tennis/player1/#", "sport/tennis/player1", true},
		{"sport/tennis/player1/#", "sport/tennis/player1/ranking", true},
		{"sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true},
		{"sport/#", "sport", true},
		{"sport/tennis/+", "sport/tennis/player1", true},
		{"sport/tennis/+", "sport/tennis/player1/ranking", false},
		{"sport/+", "sport", false},
		{"sport/+", "sport/", true},
		{"+/+", "/finance", true},
		{"/+", "/finance", true},
		{"+", "/finance", false},
		// section 4.7.2
		{"#", "$SYS/broker", false},
		{"+/monitor/Clients", "$SYS/monitor/Clients", false},
		{"$SYS/#", "$SYS/broker", true},
		{"$SYS/monitor/+", "$SYS/monitor/Clients", true},
		{"a/+", "a/$b", true},
		// section 4.7.3: levels may be empty, case counts
		{"a//b", "a//b", true},
		{"a/+/b", "a//b", true},
		{"a/b", "a//b", false},
		{"a/#", "a//b", true},
		{"/", "/", true},
		{"+/+", "/", true},
		{"#", "/", true},
		{"ACCOUNTS", "Accounts", false},
		{"zigbee2mqtt/+", "zigbee2mqtt/Living room lamp", true},
		{"a.b/+", "a.b/c.d", true},
		{"küche/+", "küche/温度", true},
		{"a/b", "a/b/", false},
		{"a/b/", "a/b", false},
		{"a", "", false},
	} {
		if got := must(t, tt.filter).Match(tt.topic); got != tt.want {
			t.Errorf("%q matches %q: %v", tt.filter, tt.topic, got)
		}
	}
	if (Filter{}).Match("a") {
		t.Error("the zero filter matches")
	}
	f := must(t, "a/+/c/#")
	if n := testing.AllocsPerRun(100, func() { f.Match("a/b/c/d/e") }); n != 0 {
		t.Errorf("Match allocates %v times", n)
	}
}

func TestFilterCovers(t *testing.T) {
	for _, tt := range []struct {
		f, other string
		want     bool
	}{
		{"a/b", "a/b", true},
		{"#", "a/b/c", true},
		{"#", "+/#", true},
		{"+/#", "#", true},
		{"a/+/#", "a/#", false},
		{"a/#", "a/+", true},
		{"a/#", "a", true},
		{"a/#", "a/#", true},
		{"a/+", "a/#", false},
		{"a/+", "a/+", true},
		{"a/+", "a/b", true},
		{"a/b", "a/+", false},
		{"+/+", "a/+", true},
		{"+", "+/+", false},
		{"a", "a/#", false},
		{"#", "$SYS/#", false},
		{"+/b", "$SYS/b", false},
		{"$SYS/#", "$SYS/+", true},
		{"a/+/b", "a//b", true},
	} {
		if got := must(t, tt.f).Covers(must(t, tt.other)); got != tt.want {
			t.Errorf("%q covers %q: %v", tt.f, tt.other, got)
		}
	}
}

func TestFilterOverlaps(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"a/#", "a/+", true},
		{"a/+/c", "a/b/+", true},
		{"a/+/c", "a/b/d", false},
		{"a/#", "a", true},
		{"a/b/#", "a/+", true},
		{"+", "a/#", true},
		{"+/b", "a/#", true},
		{"a", "a/+", false},
		{"a", "b", false},
		{"#", "$SYS/#", false},
		{"+/x", "$SYS/x", false},
		{"$SYS/#", "$SYS/x", true},
		{"a//+", "a/+/", true},
	} {
		for _, p := range [][2]string{{tt.a, tt.b}, {tt.b, tt.a}} {
			if got := must(t, p[0]).Overlaps(must(t, p[1])); got != tt.want {
				t.Errorf("%q overlaps %q: %v", p[0], p[1], got)
			}
		}
	}
}

func TestPermits(t *testing.T) {
	for _, tt := range []struct {
		permission, asked string
		want              bool
	}{
		{"porch/#", "porch/bell", true},
		{"porch/#", "porch/+", true},
		{"porch/#", "porch/#", true},
		{"porch/#", "#", false},
		{"porch/+", "porch/#", false},
		{"porch/#", "$share/g/porch/bell", true},
		{"porch/#", "$share/g/#", false},
		{"#", "$share/g/$SYS/#", false},
		{"porch/#", "$share/+/porch/bell", false},
		{"porch/#", "$share/porch", false},
		{"porch/#", "$share//porch/bell", false},
		{"#", "$SYS/#", false},
		{"#", "a/#/b", false},
		{"#", "", false},
	} {
		if got := Permits(must(t, tt.permission), tt.asked); got != tt.want {
			t.Errorf("%q permits %q: %v", tt.permission, tt.asked, got)
		}
	}
}

func TestCover(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"nothing", "", ""},
		{"apart", "b a c/+", "a b c/+"},
		{"twice the same", "a a", "a"},
		{"contained", "a/# a/b a/+/c a", "a/#"},
		{"overlapping", "a/+/c a/b/+", "a/+/+"},
		{"a join that reaches a third", "a/+/c a/b/+ a/x/y", "a/+/+"},
		{"a chain", "a/b/+ a/+/c +/b/d", "+/+/+"},
		{"system topics stay apart", "# $SYS/broker/# +/x", "# $SYS/broker/#"},
		{"the two names of everything", "+/# #", "#"},
		{"one level and a tail", "+ a/#", "+/#"},
		{"empty levels", "a//b a/+/b", "a/+/b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var in []Filter
			for _, s := range strings.Fields(tt.in) {
				in = append(in, must(t, s))
			}
			for range 2 {
				if got := text(Cover(in)); got != tt.want {
					t.Errorf("cover of %s is %s, want %s", text(in), got, tt.want)
				}
				slices.Reverse(in)
			}
		})
	}
}

func text(fs []Filter) string {
	var out []string
	for _, f := range fs {
		out = append(out, f.String())
	}
	return strings.Join(out, " ")
}

func TestDelta(t *testing.T) {
	f := func(s string) (out []Filter) {
		for _, x := range strings.Fields(s) {
			out = append(out, must(t, x))
		}
		return out
	}
	sub, unsub := Delta(f("a b c"), f("d b a d"))
	if text(sub) != "d" || text(unsub) != "c" {
		t.Errorf("subscribe %s, unsubscribe %s", text(sub), text(unsub))
	}
	if sub, unsub = Delta(f("a"), f("a")); sub != nil || unsub != nil {
		t.Errorf("no change, but subscribe %s, unsubscribe %s", text(sub), text(unsub))
	}
}
