package template

import (
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"
)

// What a template from a stranger might try. Each is refused, soon and without using memory.
func TestHostile(t *testing.T) {
	loops := func(n int) string {
		return strings.Repeat("{% for i in range(9999) %}", n) + "x" + strings.Repeat("{% endfor %}", n)
	}
	for _, tc := range []struct {
		name, src string
		want      error
	}{
		{"long text", "{{ 'a' * 10**9 }}", ErrLimit},
		{"long text from the left", "{{ 1000000000 * 'a' }}", ErrLimit},
		{"long list", "{{ [0] * 10**9 }}", ErrLimit},
		{"long range", "{{ range(10**9) }}", ErrLimit},
		{"long range down", "{{ range(10**9, -10**9, -1) | length }}", ErrLimit},
		{"range of all there is", "{{ range(-9223372036854775807, 9223372036854775807) }}", ErrLimit},
		{"power", "{{ 10 ** 10 ** 10 }}", ErrLimit},
		{"power of power", "{{ 9 ** 9 ** 9 ** 9 }}", ErrLimit},
		{"large product", "{{ 9223372036854775807 * 2 }}", ErrLimit},
		{"large sum", "{{ 9223372036854775807 + 1 }}", ErrLimit},
		{"replace", "{{ ('a' * 1000) | replace('a', 'b' * 1000) }}", ErrLimit},
		{"replace nothing", "{{ ('a' * 60000) | replace('', 'b' * 60000) }}", ErrLimit},
		{"method replace", "{{ ('a' * 1000).replace('a', 'b' * 1000) }}", ErrLimit},
		{"join", "{{ range(9999) | join('x' * 60000) }}", ErrLimit},
		{"join method", "{{ ('x' * 60000).join(range(9999)) }}", ErrLimit},
		{"split", "{{ ('a,' * 30000).split(',') }}", ErrLimit},
		{"format width", "{{ '%999999999d' | format(1) }}", ErrLimit},
		{"format precision", "{{ '%.999999999f' % 1.0 }}", ErrLimit},
		{"format many", "{{ ('%900d' * 200) | format(1) }}", ErrValue},
		{"doubling", "{% set a = 'aaaaaaaa' %}" + strings.Repeat("{% set a = a ~ a %}", 40) + "{{ a }}", ErrLimit},
		{"doubling a list", "{% set a = [1] %}" + strings.Repeat("{% set a = a + a %}", 40), ErrLimit},
		{"list of lists printed", "{% set a = [1] %}" + strings.Repeat("{% set a = [a, a] %}", 60) + "{{ a }}", ErrLimit},
		{"list of lists compared", "{% set a = [1] %}{% set b = [1] %}" + strings.Repeat("{% set a = [a, a] %}{% set b = [b, b] %}", 40) + "{{ a == b }}", ErrLimit},
		{"list of lists ordered", "{% set a = [1] %}{% set b = [1] %}" + strings.Repeat("{% set a = [a, a] %}{% set b = [b, b] %}", 40) + "{{ a < b }}", ErrLimit},
		{"list of lists as JSON", "{% set a = [1] %}" + strings.Repeat("{% set a = [a, a] %}", 60) + "{{ a | tojson }}", ErrLimit},
		{"object of objects in", "{% set a = {} %}" + strings.Repeat("{% set a = {'a': a, 'b': a} %}", 60) + "{{ a | string }}", ErrLimit},
		{"loop in loop", loops(2), ErrLimit},
		{"loops in loops", loops(20), ErrLimit},
		{"loop over a product", "{% for i in [1] * 9999 %}{% for j in [1] * 9999 %}{% endfor %}{% endfor %}", ErrLimit},
		{"long expression", "{{ 'a' | regex_match('a' * 513) }}", ErrLimit},
		{"swelling expression", "{{ 'a' | regex_search('(a{200}){200}') }}", ErrValue},
		{"many groups", "{{ 'a' | regex_findall('(a)' * 100) }}", ErrLimit},
		{"many matches", "{{ ('a' * 5000) | regex_findall('a') }}", ErrLimit},
		{"many replacements", "{{ ('a' * 5000) | regex_replace('a', 'b') }}", ErrLimit},
		{"growing replacement", "{{ ('a' * 900) | regex_replace('a', 'b' * 900) }}", ErrLimit},
		{"long work of an expression", "{{ ('a' * 60000) | regex_search('(a+)+(a+)+(a+)+(a+)+(a+)+(a+)+(a+)+(a+)+(a+)+(a+)+$') }}", ErrLimit},
		{"many expressions", "{% for i in range(9999) %}{% set x = 'a' | regex_match('[a-z]{9}') %}{% endfor %}", ErrLimit},
		{"many maps", "{% set x = range(9999) %}{% for i in range(9999) %}{% set y = x | map('string') | list %}{% endfor %}", ErrLimit},
		{"many tests", "{% set x = range(9999) %}{% for i in range(9999) %}{% set y = x | select('odd') | list %}{% endfor %}", ErrLimit},
		{"many different", "{{ range(9999) | unique | list | length }}", ErrLimit},
		{"long zip", "{% set x = range(9999) %}{{ zip(x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x) | length }}", ErrLimit},
		{"much JSON", "{% set x = '[' ~ ('1,' * 30000) ~ '1]' %}{% for i in range(999) %}{% set y = x | from_json %}{% endfor %}", ErrLimit},
		{"many numbers", "{% set x = range(9999) %}{% for i in range(9999) %}{% set y = x | median %}{% endfor %}", ErrLimit},
		{"wide number", "{{ '1'.zfill(1000000) }}", ErrValue},
		{"unknown test for select", "{{ [1] | select('sleeps') | list }}", ErrSyntax},
		{"unknown filter for map", "{{ [1] | map('sleep') | list }}", ErrSyntax},
		{"local time", "{{ 1 | timestamp_custom('%H') }}", ErrSyntax},
		{"long format of a time", "{{ as_datetime(1).strftime('%A' * 1000) }}", ErrValue},
		{"a time far away", "{{ as_datetime(10**18) }}", ErrValue},
		{"look around", "{{ 'a' | regex_search('(?=a)') }}", ErrValue},
		{"reference back", "{{ 'a' | regex_search('(a)\\\\1') }}", ErrValue},
		{"large result", "{% for i in range(9999) %}0123456789{% endfor %}", ErrLimit},
		{"much garbage", "{% for i in range(9999) %}{% set x = 'a' * 60000 %}{% endfor %}", ErrLimit},
		{"much searching", "{% set x = 'a' * 60000 %}{% for i in range(9999) %}{% set y = 'b' in x %}{% endfor %}", ErrLimit},
		{"much searching in a list", "{% set x = range(9999) %}{% for i in range(9999) %}{% set y = 'b' in x %}{% endfor %}", ErrLimit},
		{"much length", "{% set x = 'é' * 30000 %}{% for i in range(9999) %}{% set y = x | length %}{% endfor %}", ErrLimit},
		{"much slicing", "{% set x = 'é' * 30000 %}{% for i in range(9999) %}{% set y = x[1] %}{% endfor %}", ErrLimit},
		{"much sorting", "{% set x = range(9999) %}{% for i in range(999) %}{% set y = x | sort(reverse=true) %}{% endfor %}", ErrLimit},
		{"much adding", "{% set x = range(9999) %}{% for i in range(9999) %}{% set y = x | sum %}{% endfor %}", ErrLimit},
		{"a long body", "{% for i in range(9999) %}" + strings.Repeat("{% if a or a or a or a %}{% endif %}", 200) + "{% endfor %}", ErrLimit},
		{"many variables", func() string {
			var b strings.Builder
			for i := range 100 {
				b.WriteString("{% set v" + strings.Repeat("x", i) + " = 1 %}")
			}
			return b.String()
		}(), ErrLimit},
		{"long source", strings.Repeat("a", maxSource+1), ErrLimit},
		{"deep brackets", "{{ " + strings.Repeat("(", 1000) + "1" + strings.Repeat(")", 1000) + " }}", ErrLimit},
		{"deep lists", "{{ " + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + " }}", ErrLimit},
		{"many signs", "{{ " + strings.Repeat("-", 1000) + "1 }}", ErrLimit},
		{"deep path", "{{ a" + strings.Repeat(".a", 100) + " }}", ErrLimit},
		{"deep blocks", strings.Repeat("{% if 1 %}", 100), ErrLimit},

		{"include", "{% include '/etc/hostname' %}", ErrSyntax},
		{"import", "{% import 'x' as y %}", ErrSyntax},
		{"from", "{% from 'x' import y %}", ErrSyntax},
		{"extends", "{% extends 'x' %}", ErrSyntax},
		{"macro", "{% macro m() %}{% endmacro %}", ErrSyntax},
		{"call", "{% call m() %}{% endcall %}", ErrSyntax},
		{"block", "{% block b %}{% endblock %}", ErrSyntax},
		{"filter block", "{% filter upper %}{% endfilter %}", ErrSyntax},
		{"raw", "{% raw %}{% endraw %}", ErrSyntax},
		{"do", "{% do x.append(1) %}", ErrSyntax},
		{"python", "{{ ''.__class__.__mro__[1].__subclasses__() }}", ErrSyntax},
		{"attr filter", "{{ x | attr('y') }}", ErrSyntax},
		{"call of a value", "{{ x[0]() }}", ErrSyntax},
		{"call of a variable", "{{ x() }}", ErrSyntax},
		{"lipsum", "{{ lipsum(10**9) }}", ErrSyntax},
		{"center", "{{ 'a' | center(10**9) }}", ErrSyntax},
		{"indent", "{{ 'a' | indent(10**9) }}", ErrSyntax},
		{"comment that ends in itself", "{#-#", ErrSyntax},
		{"odd bytes", "{{ \x00\xff }}", ErrSyntax},
		{"set of loop", "{% set loop = 1 %}", ErrSyntax},

		{"division", "{{ 1 // 0 }}", ErrValue},
		{"division of the smallest", "{{ (-9223372036854775807 - 1) // -1 }}", ErrLimit},
		{"loop printed", "{% for i in [1] %}{{ loop }}{% endfor %}", ErrValue},
		{"loop in a list", "{% for i in [1] %}{{ [loop] }}{% endfor %}", ErrValue},
		{"a Go value", "{{ gostruct }}", ErrValue},
		{"its field", "{{ gostruct.Secret }}", ErrValue},
		{"its method", "{{ gostruct['Error'] }}", ErrValue},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			begin := time.Now()
			tpl, err := Compile(tc.src)
			if err == nil {
				_, err = tpl.Render(map[string]any{"gostruct": errors.New("x")})
			}
			took := time.Since(begin)
			runtime.ReadMemStats(&after)
			var e *Error
			if !errors.Is(err, tc.want) || !errors.As(err, &e) || e.Line < 1 || e.Col < 1 || e.Msg == "" {
				t.Errorf("got %v, want %v", err, tc.want)
			}
			if took > time.Second { // some 10 ms; the race detector and a busy machine take more
				t.Errorf("took %v", took)
			}
			if made := after.TotalAlloc - before.TotalAlloc; made > 64<<20 {
				t.Errorf("made %d bytes", made)
			}
		})
	}
}

// The longest things that are allowed do work.
func TestUpToTheLimits(t *testing.T) {
	for src, want := range map[string]int{
		"{{ 'a' * 65536 }}":                                  65536,
		"{{ range(10000) | length }}":                        5,
		"{% for i in range(10000) %}x{% endfor %}":           10000,
		"{{ 'a' * 1000 | int }}":                             1000,
		"{{ ('ab' * 100) | replace('a', 'b' * 600) }}":       60100,
		"{{ 2 ** 62 }}":                                      19,
		"{{ -2 ** 63 }}":                                     20,
		"{#-#}x":                                             1,
		"{{ " + strings.Repeat("not ", 1000) + "1 }}":        4,
		"{{ " + strings.Repeat("1 if 0 else ", 500) + "2 }}": 1,
		"{{ 1" + strings.Repeat(" + 1", 2000) + " }}":        4,
	} {
		tpl, err := Compile(src)
		if err != nil {
			t.Errorf("%.40s: %v", src, err)
			continue
		}
		if got, err := tpl.Render(nil); err != nil || len(got) != want {
			t.Errorf("%.40s: %d bytes, %v; want %d", src, len(got), err, want)
		}
	}
}

func FuzzRender(f *testing.F) {
	var g golden
	if err := json.Unmarshal(readGolden(f), &g); err != nil {
		f.Fatal(err)
	}
	for _, c := range g.Cases {
		f.Add(c.Src)
	}
	f.Add("{#-#}")
	for _, c := range readRecorded(f).Cases {
		f.Add(c.Src)
	}
	v, err := JSON(g.Vars)
	if err != nil {
		f.Fatal(err)
	}
	vars := map[string]any{"value_json": v, "n": 21, "name": "Küche", "value": json.Number("21.50"), "list": []any{1, "a", nil}}
	f.Fuzz(func(t *testing.T, src string) {
		begin := time.Now()
		tpl, err := Compile(src)
		if err == nil {
			var out string
			out, err = tpl.Render(vars)
			if len(out) > maxResult {
				t.Errorf("%d bytes came out", len(out))
			}
			if _, testErr := tpl.Test(vars); testErr == nil && err != nil {
				t.Errorf("Test is fine, Render says %v", err)
			}
		}
		var e *Error
		if err != nil && (!errors.As(err, &e) || e.Line < 1 || e.Col < 1) {
			t.Errorf("an error without a place: %v", err)
		}
		if took := time.Since(begin); took > 2*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5,-0,1e3,"x\u00e9\n",true,null]}`, `[]`, `"\ud800"`, `12345678901234567890`, ` {"a":{"a":1},"a":2} `, "\"\xff\"", `1e999`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := JSON(b)
		if errors.Is(err, ErrLimit) {
			return
		}
		if (err == nil) != json.Valid(b) {
			t.Fatalf("ours: %v, encoding/json: %v", err, json.Valid(b))
		}
		if err != nil {
			return
		}
		var want any
		if err := json.Unmarshal(b, &want); err != nil {
			return // a number beyond float64
		}
		if !same(v, want) {
			t.Fatalf("got %v, want %v", v, want)
		}
	})
}

// same compares with what encoding/json decodes.
func same(got, want any) bool {
	switch w := want.(type) {
	case map[string]any:
		m, ok := got.(*Map)
		if !ok || len(m.keys) != len(w) {
			return false
		}
		for k, v := range w {
			if have, ok := m.get(k); !ok || !same(have, v) {
				return false
			}
		}
		return true
	case []any:
		l, ok := got.(list)
		if !ok || len(l) != len(w) {
			return false
		}
		for i := range w {
			if !same(l[i], w[i]) {
				return false
			}
		}
		return true
	case float64:
		n, ok := number(got)
		return ok && n.float() == w
	}
	return got == want
}
