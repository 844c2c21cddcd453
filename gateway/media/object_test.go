package media

import (
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestObject(t *testing.T) {
	for _, tc := range []struct {
		name, in, text, html string
		values               map[string]string
	}{
		{
			"flat, in its own order", ` {"temperature":21.50,"battery": 97 ,"ok":true,"last":null,"name":"Küche"} `,
			"temperature: 21.50\nbattery: 97\nok: true\nlast: null\nname: Küche",
			"<ul><li><b>temperature</b>: 21.50</li><li><b>battery</b>: 97</li><li><b>ok</b>: true</li><li><b>last</b>: null</li><li><b>name</b>: Küche</li></ul>",
			map[string]string{"temperature": "21.50", "battery": "97", "ok": "true", "last": "null", "name": "Küche"},
		},
		{
			"nested", `{"a":{"b":{"c":1e400}},"l":[1, "x", 2.0],"o":[{"id":1},{"id":[]}],"e":{},"m":[[1],2]}`,
			"a.b.c: 1e400\nl: 1, x, 2.0\no.0.id: 1\no.1.id: []\ne: {}\nm.0: 1\nm.1: 2",
			"",
			map[string]string{"a.b.c": "1e400", "l": "1, x, 2.0", "o.0.id": "1", "o.1.id": "[]", "e": "{}", "m.0": "1", "m.1": "2"},
		},
		{
			"numbers as they are", `{"id":12345678901234567890,"f":1.0,"n":-0.10}`,
			"id: 12345678901234567890\nf: 1.0\nn: -0.10", "",
			map[string]string{"id": "12345678901234567890", "f": "1.0", "n": "-0.10"},
		},
		{"empty", "{}", "{}", "<ul><li>{}</li></ul>", map[string]string{}},
		{
			"hostile", `{"<b>":"</b>\u0000@room\n<script>","a\"}":"\"{\\"}`,
			"<b>: </b>@" + joiner + "room <script>\na\"}: \"{\\",
			"<ul><li><b>&lt;b&gt;</b>: &lt;/b&gt;@" + joiner + "room &lt;script&gt;</li><li><b>a&#34;}</b>: &#34;{\\</li></ul>",
			map[string]string{"<b>": "</b>@" + joiner + "room <script>", `a"}`: `"{\`},
		},
		{"twice", `{"a":1,"a":2}`, "a: 1\na: 2", "", map[string]string{"a": "2"}},
		{"no name", `{"":1,"x":{"":2}}`, "1\nx.: 2", "", map[string]string{"x.": "2"}},
		{"too deep", strings.Repeat(`{"a":`, 20) + "1" + strings.Repeat("}", 20), "a.a.a.a.a.a.a.a: {…}", "", map[string]string{"a.a.a.a.a.a.a.a": "{…}"}},
	} {
		got, err := Object([]byte(tc.in))
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if got.Text != tc.text || tc.html != "" && got.HTML != tc.html || !maps.Equal(got.Values, tc.values) || got.More != 0 {
			t.Errorf("%s:\n got %+v\nwant %q\n%s\n%v", tc.name, got, tc.text, tc.html, tc.values)
		}
	}
}

func TestObjectBounds(t *testing.T) {
	long := `{"` + strings.Repeat("n", 500) + `":"` + strings.Repeat("ü", 5000) + `"`
	for i := range 999 {
		long += `,"k` + string(rune('a'+i%26)) + `":[{"a":` + strings.Repeat("9", i%9+1) + `}]`
	}
	got, err := Object([]byte(long + "}"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(got.Text, "\n") + 1; n != maxLines+1 || got.More != 1000-maxLines {
		t.Errorf("%d lines, %d more", n, got.More)
	}
	if !strings.HasSuffix(got.Text, "… and 960 more") || !strings.HasSuffix(got.HTML, "<li>… and 960 more</li></ul>") {
		t.Errorf("no word of what is left out: %s", got.Text[len(got.Text)-40:])
	}
	first, _, _ := strings.Cut(got.Text, "\n")
	if n := utf8.RuneCountInString(first); n > maxName+maxValue+4 {
		t.Errorf("the first line has %d characters", n)
	}
	for _, tc := range []struct {
		in   string
		want error
	}{
		{"", ErrMalformed},
		{"{", ErrMalformed},
		{"[1]", ErrMalformed},
		{`{"a":1}x`, ErrMalformed},
		{`{"a":1,}`, ErrMalformed},
		{strings.Repeat(`{"a":`, 20000) + "1" + strings.Repeat("}", 20000), ErrMalformed}, // deeper than encoding/json goes
		{`{"a":"` + strings.Repeat("x", maxBytes) + `"}`, ErrTooLarge},
	} {
		if _, err := Object([]byte(tc.in)); !errors.Is(err, tc.want) {
			t.Errorf("%.20s: got %v, want %v", tc.in, err, tc.want)
		}
	}
	if _, err := Object([]byte(`{"a":[` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `]}`)); err != nil {
		t.Errorf("deep arrays: %v", err)
	}
}

func FuzzObject(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":[1,{"b":"\u00e9\""}],"c":{"d":[]}}`, `{"a":[[],{}]}`, ` {"":{ "" : [ ] } } `} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := Object(b)
		var want map[string]json.RawMessage
		valid := json.Unmarshal(b, &want) == nil && want != nil
		if (err == nil) != valid {
			t.Fatalf("got %v for valid=%v", err, valid)
		}
		if err != nil {
			return
		}
		if got.Text == "" && len(want) == 0 || !utf8.ValidString(got.Text) || !utf8.ValidString(got.HTML) {
			t.Errorf("%q", got.Text)
		}
		if len(got.Values) > maxLines || len(got.Text) > (maxLines+1)*4*(maxName+maxValue+10) {
			t.Errorf("%d values, %d bytes", len(got.Values), len(got.Text))
		}
		body := strings.NewReplacer("<ul>", "", "</ul>", "", "<li>", "", "</li>", "", "<b>", "", "</b>", "").Replace(got.HTML)
		if strings.ContainsAny(body, "<>") {
			t.Errorf("markup from outside: %q", got.HTML)
		}
	})
}

func BenchmarkObject(b *testing.B) {
	payload := []byte(`{"battery":97,"contact":true,"linkquality":120,"temperature":21.5,"humidity":48.2,"device":{"model":"X1"},"voltage":3015,"state":"ON"}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Object(payload); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkKindOf(b *testing.B) {
	payload := []byte("21.5")
	b.ReportAllocs()
	for b.Loop() {
		_ = KindOf(payload)
	}
}
