package template

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// recorded is testdata/discovery/recorded.json: what Home Assistant itself makes of the templates of discovery messages
// (record.py writes it).
type recorded struct {
	HomeAssistant string
	This          json.RawMessage
	Cases         []discoveryCase
}

type discoveryCase struct {
	Payload string // "=" and variables as JSON, for the template of a command
	Src     string
	Out     string
	Error   string // what Python calls it; "" none
}

func readRecorded(t testing.TB) recorded {
	t.Helper()
	raw, err := os.ReadFile("testdata/discovery/recorded.json")
	if err != nil {
		t.Fatal(err)
	}
	var rec recorded
	if err := json.Unmarshal(raw, &rec); err != nil {
		t.Fatal(err)
	}
	return rec
}

// tally is what a comparison comes to.
type tally struct{ cases, templates, refused, wrong int }

// TestDiscoveryTemplates: each template gives what Home Assistant gives, or is refused when it is compiled, by the name of
// what it uses; never something else.
func TestDiscoveryTemplates(t *testing.T) {
	s := compareDiscovery(t)
	if s.templates < 200 {
		t.Errorf("%d different templates, want 200", s.templates)
	}
	if 20*s.refused > s.templates {
		t.Errorf("%d of %d templates are refused, more than 5 %%", s.refused, s.templates)
	}
}

// compareDiscovery renders all recorded cases and reports each that differs.
func compareDiscovery(t *testing.T) tally {
	t.Helper()
	rec := readRecorded(t)
	this, err := JSON(rec.This)
	if err != nil {
		t.Fatal(err)
	}
	s := tally{cases: len(rec.Cases)}
	seen := map[string]bool{}
	for _, c := range rec.Cases {
		first := !seen[c.Src]
		if seen[c.Src] = true; first {
			s.templates++
		}
		tpl, err := Compile(c.Src)
		if err != nil {
			if first {
				s.refused++
			}
			t.Logf("refused: %s: %v", c.Src, err)
			continue
		}
		out, err := tpl.Render(c.vars(t, this))
		out = strings.TrimSpace(out)
		switch failed := c.Error != ""; {
		case failed && err == nil:
			t.Errorf("%s of %s: got %q, want an error (%s)", c.Src, c.Payload, out, c.Error)
		case !failed && err != nil:
			t.Errorf("%s of %s: %v, want %q", c.Src, c.Payload, err, c.Out)
		case !failed && out != c.Out:
			t.Errorf("%s of %s: got %q, want %q", c.Src, c.Payload, out, c.Out)
		default:
			continue
		}
		s.wrong++
	}
	return s
}

// vars are the variables that record.py gave.
func (c discoveryCase) vars(t *testing.T, this any) map[string]any {
	vars := map[string]any{"this": this, "entity_id": "sensor.test", "name": "Test"}
	args, ok := strings.CutPrefix(c.Payload, "=")
	if !ok {
		vars["value"], vars["value_json"] = LazyText([]byte(c.Payload)), LazyJSON([]byte(c.Payload))
		return vars
	}
	v, err := JSON([]byte(args))
	if err != nil {
		t.Fatal(err)
	}
	for i, k := range v.(*Map).keys {
		vars[k.(string)] = v.(*Map).values[i]
	}
	return vars
}
