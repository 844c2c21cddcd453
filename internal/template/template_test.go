package template

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
)

func render(t *testing.T, src string, vars map[string]any) string {
	t.Helper()
	tpl, err := Compile(src)
	if err != nil {
		t.Fatalf("%s: %v", src, err)
	}
	out, err := tpl.Render(vars)
	if err != nil {
		t.Fatalf("%s: %v", src, err)
	}
	return out
}

// What a rule's templates see of a payload.
func TestPayloads(t *testing.T) {
	for _, tc := range []struct{ payload, src, want string }{
		{"21.50", "{{ value }} °C", "21.50 °C"},
		{"21.50\n", "{{ value * 2 }}", "43.0"},
		{"21", "{{ value + 1 }}", "22"},
		{"21", "{{ value ~ 1 }}", "211"},
		{"21", "{{ value > 20 and value < 22 }}", "True"},
		{"9.5", "{{ value > 10 }}", "False"}, // as text it would be greater
		{"1", "{{ value == '1' and value == 1 }}", "True"},
		{"1", "{{ {1: 'open'}[value] }}{{ {'1': 'auf'}[value] }}", "openauf"},
		{"ON", "{{ 'open' if value == 'ON' else 'shut' }}", "open"},
		{"12345678901234567890", "{{ value }} {{ value_json }} {{ [value] }}", "12345678901234567890 12345678901234567890 [12345678901234567890]"},
		{"007", "{{ value }}{{ value | int }}", "0077"},
		{"{\"a\":1,\"b\":1.0,\"c\":12345678901234567890}", "{{ value_json.a }} {{ value_json.b }} {{ value_json.c }}", "1 1.0 12345678901234567890"},
		{"{\"z\":1,\"a\":{\"items\":2}}", "{{ value_json }} {{ value_json.a.items }}", "{'z': 1, 'a': {'items': 2}} 2"},
		{"a\xffb", "{{ value }}", "a\uFFFDb"},
		{"", "[{{ value }}]", "[]"},
		{"{", "{{ value }}{{ value_json }}{{ value_json is defined }}", "{False"},
		{strings.Repeat("x", maxResult+1), "{{ value is defined }}", "False"},
		{"[1,2]", "{% for i in value_json %}{{ i }}{% endfor %}", "12"},
	} {
		vars := map[string]any{"value": LazyText([]byte(tc.payload)), "value_json": LazyJSON([]byte(tc.payload))}
		if got := render(t, tc.src, vars); got != tc.want {
			t.Errorf("%.40s with %.40s: got %q, want %q", tc.src, tc.payload, got, tc.want)
		}
	}
}

func TestValuesOfTheCaller(t *testing.T) {
	for _, tc := range []struct {
		v    any
		want string
	}{
		{nil, "None"},
		{true, "True"},
		{int8(-1), "-1"},
		{uint64(1<<64 - 1), "18446744073709551615"},
		{int64(-1 << 63), "-9223372036854775808"},
		{float32(0.5), "0.5"},
		{json.Number("1.50"), "1.50"},
		{[]string{"a", "b"}, "['a', 'b']"},
		{[]any{1, []any{nil}}, "[1, [None]]"},
		{map[string]string{"b": "2", "a": "1"}, "{'a': '1', 'b': '2'}"},
		{map[string]any{"a": map[string]any{"b": 1}}, "{'a': {'b': 1}}"},
	} {
		if got := render(t, "{{ x }}", map[string]any{"x": tc.v}); got != tc.want {
			t.Errorf("%v: got %q, want %q", tc.v, got, tc.want)
		}
	}
}

func TestErrors(t *testing.T) {
	vars := map[string]any{"value": "unavailable", "o": map[string]any{}, "value_json": LazyJSON([]byte("x"))}
	for _, tc := range []struct{ src, want string }{
		{"{{ a", "1:1: this has no end: }} is missing"},
		{"line\n  {{ é | nope }}", "2:10: there is no filter nope"},
		{"{{ value > 60 }}", "1:10: text and a number have no order; | float makes a number of text"},
		{"{{ value + 1 }}", "1:10: + does not work between text and a number; ~ joins text, | float makes a number of text"},
		{"{{ nope.x }}", "1:9: nope is undefined, so it has no x"},
		{"{{ o.x.y }}", "1:8: x is undefined, so it has no y"},
		{"{{ value_json.t }}", "1:15: value_json (the payload is not JSON: 1:1: no value begins like this) is undefined, so it has no t"},
		{"{% if 1 %}x", "1:12: {% endif %} is missing"},
		{"{% while 1 %}", "1:4: the block while does not exist here: there are if, for and set"},
		{"{{ x | round(1, 2, 3, 4) }}", "1:23: the filter round takes at most 3 arguments"},
		{"{{ x | replace('a') }}", "1:8: the filter replace needs its argument new"},
		{"{{ x | round(digits=1) }}", "1:14: the filter round has no argument digits"},
		{"{{ x | round(1, precision=2) }}", "1:17: the filter round has its argument precision twice"},
		{"{{ now() }}", "1:4: there is no function now"},
		{"{{ (1 }}", "1:7: } stands where ) must come first"},
		{"{{ 1) }}", "1:5: ) closes nothing"},
		{"{{ 'a }}", "1:4: this text has no end: a closing ' is missing"},
		{"{{ 1 / 0 }}", "1:6: division by zero"},
		{"{{ value | abs }}", "1:12: text has no absolute value; | float makes a number of text"},
		{"{{ 'a' * 100000 }}", "1:8: text longer than 65536 bytes"},
	} {
		tpl, err := Compile(tc.src)
		if err == nil {
			_, err = tpl.Render(vars)
		}
		if err == nil || err.Error() != tc.want {
			t.Errorf("%s:\n got %v\nwant %s", tc.src, err, tc.want)
		}
	}
}

func TestTest(t *testing.T) {
	vars := map[string]any{
		"value": LazyText([]byte("61.0")), "state": "ON", "off": " Off\n", "odd": "unavailable",
		"list": []any{0}, "none": nil, "zero": LazyText([]byte("0.0")),
	}
	for src, want := range map[string]string{
		"{{ value > 60 }}": "true", "{{ value < 55 }}": "false", "{{ value }}": "true", "{{ zero }}": "false",
		"{{ state }}": "true", "{{ off }}": "false", "{{ nope }}": "false", "{{ none }}": "false", "{{ list }}": "true",
		"{{ [] }}": "false", "{{ odd }}": "error", "{{ nope.x }}": "error", "{{ nope > 1 }}": "error", "": "false", "true": "true",
		"{% if value > 60 %}on{% endif %}": "true", "{% if value < 60 %}on{% endif %}": "false", "{{ value }}0": "true",
		"x": "error", " {{ state == 'ON' }} ": "true", "{% for i in nope.x %}{% endfor %}": "error", "None": "false",
	} {
		tpl, err := Compile(src)
		if err != nil {
			t.Fatal(err)
		}
		ok, err := tpl.Test(vars)
		got := map[bool]string{true: "true", false: "false"}[ok]
		if err != nil {
			got = "error"
			if !errors.Is(err, ErrValue) {
				t.Errorf("%s: %v", src, err)
			}
		}
		if got != want {
			t.Errorf("%s: got %s (%v), want %s", src, got, err, want)
		}
	}
}

// Filters of Home Assistant, which Jinja does not have.
func TestHomeAssistant(t *testing.T) {
	vars := map[string]any{"v": "2.5", "on": true}
	for src, want := range map[string]string{
		"{{ v | multiply(2) }}": "5.0", "{{ 3 | multiply(2) }}": "6.0", "{{ 'x' | multiply(2, 0) }}": "0", "{{ 1 | add(2) }}": "3.0",
		"{{ on | iif('a', 'b') }}": "a", "{{ iif(not on, 'a', 'b') }}": "b", "{{ none | iif('a', 'b', 'c') }}": "c", "{{ on | iif }}": "True",
		"{{ v | is_defined }}": "2.5", "{{ is_defined(nope) }}": "False", "{{ float('x', 1) }}": "1", "{{ int('7') + 1 }}": "8",
		"{{ 'yes' | bool }}": "True", "{{ bool('off') }}": "False", "{{ max(1, 3, 2) }}": "3", "{{ min([4, 2]) }}": "2",
		"{{ v | to_json }}": `"2.5"`,
	} {
		if got := render(t, src, vars); got != want {
			t.Errorf("%s: got %q, want %q", src, got, want)
		}
	}
	tpl, _ := Compile("{{ nope | is_defined }}")
	if _, err := tpl.Render(nil); !errors.Is(err, ErrValue) {
		t.Errorf("is_defined of what is not: %v", err)
	}
}

func TestConcurrentUse(t *testing.T) {
	tpl, err := Compile("{% for k, v in value_json.items() %}{{ k }}={{ v }}{{ value }};{% endfor %}")
	if err != nil {
		t.Fatal(err)
	}
	vars := map[string]any{"value": LazyText([]byte("7")), "value_json": LazyJSON([]byte(`{"a":1,"b":2}`))}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if got, err := tpl.Render(vars); err != nil || got != "a=17;b=27;" {
					t.Errorf("got %q, %v", got, err)
				}
			}
		})
	}
	wg.Wait()
}

// A large object is looked up by an index, and nothing about it is different.
func TestLargeObject(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"k":0`)
	for i := range 5000 {
		b.WriteString(`,"k` + strings.Repeat("x", i%7) + string(rune('a'+i%26)) + `":` + string(rune('0'+i%10)))
	}
	b.WriteString(`,"last":"found","k":"again"}`)
	v, err := JSON([]byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	if got := render(t, "{{ v.last }} {{ v.k }} {{ v.nope }}", map[string]any{"v": v}); got != "found again " {
		t.Errorf("got %q", got)
	}
}

func TestJSONLimits(t *testing.T) {
	for name, s := range map[string]string{
		"deep":  strings.Repeat("[", 100) + strings.Repeat("]", 100),
		"many":  "[" + strings.Repeat("1,", maxValues) + "1]",
		"large": `"` + strings.Repeat("a", maxJSON) + `"`,
	} {
		if _, err := JSON([]byte(s)); !errors.Is(err, ErrLimit) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Intake speed depends on it: a plain path is one allocation, the result.
func TestAllocations(t *testing.T) {
	js, err := JSON([]byte(`{"temperature":21.5,"device":{"model":"X1"}}`))
	if err != nil {
		t.Fatal(err)
	}
	vars := map[string]any{"value_json": js, "reading": "temperature", "value": LazyText([]byte("21.5"))}
	for _, src := range []string{"{{ reading }}: {{ value }} °C", "{{ value_json.device.model }} {{ value_json.temperature }}"} {
		tpl, err := Compile(src)
		if err != nil {
			t.Fatal(err)
		}
		got := testing.AllocsPerRun(1000, func() { _, _ = tpl.Render(vars) })
		if got >= 2 && !raceDetector { // which makes sync.Pool forget
			t.Errorf("%s: %v allocations", src, got)
		}
	}
}
