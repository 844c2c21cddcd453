package template

import (
	"encoding/json"
	"os"
	"testing"
)

// golden is testdata/golden.json: what Jinja makes of templates (golden.py writes it).
type golden struct {
	Vars  json.RawMessage
	Cases []struct {
		Src   string
		Out   string
		Error bool
	}
}

func readGolden(t testing.TB) []byte {
	raw, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// Where we differ from Jinja, and why.
var differs = map[string]string{
	"{{ t|round }}":     "22", // as in Home Assistant: people want 22, not 22.0
	"{{ 2.5|round }}":   "2",
	"{{ '1_000'|int }}": "error", // a payload like that is no number, and what is none is an error, as in Home Assistant
	"{{ n|round(1) }}":  "21.0",  // as in Home Assistant: whole without a precision, else not
	"{{ n|round(-1) }}": "20.0",
	"{{ bad|int }}":     "error",
	"{{ bad|float }}":   "error",
	"{{ nothing|int }}": "error",
	"{{ list|int }}":    "error",
	"{{ 1, 2 }}":        "[1, 2]", // a tuple is a list here
	"{{ 10 ** 30 }}":    "error",  // whole numbers have 64 bits
}

func TestAgainstJinja(t *testing.T) {
	var g golden
	if err := json.Unmarshal(readGolden(t), &g); err != nil {
		t.Fatal(err)
	}
	v, err := JSON(g.Vars)
	if err != nil {
		t.Fatal(err)
	}
	vars := map[string]any{"value_json": v}
	for i, k := range v.(*Map).keys {
		vars[k.(string)] = v.(*Map).values[i]
	}
	used := 0
	for _, c := range g.Cases {
		want, failed := c.Out, c.Error
		if ours, ok := differs[c.Src]; ok {
			used++
			want, failed = ours, ours == "error"
		}
		var got string
		tpl, err := Compile(c.Src)
		if err == nil {
			got, err = tpl.Render(vars)
		}
		switch {
		case failed && err == nil:
			t.Errorf("%s: got %q, want an error", c.Src, got)
		case !failed && err != nil:
			t.Errorf("%s: %v, want %q", c.Src, err, want)
		case !failed && got != want:
			t.Errorf("%s: got %q, want %q", c.Src, got, want)
		}
	}
	if used != len(differs) {
		t.Errorf("%d of %d differences are in the golden file", used, len(differs))
	}
}
