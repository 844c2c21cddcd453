package config

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// keys lists every key that the types know, sections included, with "[]" for lists.
func keys(t reflect.Type, path string) []string {
	var out []string
	for _, f := range fields(t) {
		at, ft := join(path, f.name), t.Field(f.index).Type
		out = append(out, at)
		if ft.Kind() == reflect.Slice {
			at, ft = at+"[]", ft.Elem()
		}
		if ft.Kind() == reflect.Pointer && !isLeaf(ft) {
			ft = ft.Elem()
		}
		if ft.Kind() == reflect.Struct && !isLeaf(ft) {
			out = append(out, keys(ft, at)...)
		}
	}
	return out
}

// TestChangesCoverEveryKey walks the types: each key is in the table once, itself or by one section around it, and the
// table names nothing else.
func TestChangesCoverEveryKey(t *testing.T) {
	all := keys(reflect.TypeFor[Config](), "")
	if len(all) < 100 {
		t.Fatalf("only %d keys", len(all))
	}
	entry := map[string]bool{}
	for _, c := range changes() {
		if entry[c.path] {
			t.Errorf("%s is there twice", c.path)
		}
		if !slices.Contains(all, c.path) {
			t.Errorf("%s is no key", c.path)
		}
		entry[c.path] = true
	}
	for _, key := range all {
		covered, divided := 0, false
		for path := range entry {
			if key == path || strings.HasPrefix(key, path+".") || strings.HasPrefix(key, path+"[]") {
				covered++
			}
			divided = divided || strings.HasPrefix(path, key+".")
		}
		if covered > 1 || covered == 0 && !divided || covered > 0 && divided {
			t.Errorf("%s is covered %d times by the table in reload.go", key, covered)
		}
	}
}

const reloadBase = `matrix:
  homeserver: http://127.0.0.1:8008
  server_name: example.org
  owners: ["@alice:example.org"]
mqtt:
  accounts: [{user: a, password: b}]
devices:
  - topic: a/{device}
timezone: UTC
`

func parseText(t *testing.T, text string) *Config {
	t.Helper()
	cfg, err := Parse("x.yaml", []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestDiff(t *testing.T) {
	for _, row := range []struct {
		name, old, next string // "": reloadBase
		live, restart   []string
	}{
		{name: "nothing", next: "# a comment moves every line\n" + reloadBase},
		{name: "rules", next: strings.Replace(reloadBase, "a/{device}", "b/{device}", 1), live: []string{"devices"}},
		{name: "password", next: strings.Replace(reloadBase, "password: b", "password: c", 1), live: []string{"mqtt.accounts"}},
		{name: "zone", next: strings.Replace(reloadBase, "UTC", "Local", 1), live: []string{"timezone"}},
		{
			name: "both kinds", next: strings.Replace(reloadBase, "8008", "8009", 1) + "log: {level: debug, format: json}\n",
			live: []string{"log.level"}, restart: []string{"matrix.homeserver", "log.format"},
		},
		{name: "a new section", next: reloadBase + "turn: {realm: a, secret: b}\n", restart: []string{"turn"}},
		{
			name: "the relay's secret and limits", old: "turn: {realm: a, secret: b}\n",
			next: "turn: {realm: a, secret: c, old_secret: b, drain: 1s, limits: {allocations: 5}}\n",
			live: []string{"turn.secret", "turn.old_secret", "turn.limits.allocations"}, restart: []string{"turn.drain"},
		},
		{
			name: "a section goes", next: "mqtt: {}\n",
			live: []string{"mqtt.accounts", "devices", "timezone"}, restart: []string{"matrix"},
		},
		{
			name: "a section with live keys comes", old: "mqtt: {}\n", next: reloadBase,
			live: []string{"mqtt.accounts", "devices", "timezone"}, restart: []string{"matrix"},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			if row.old == "" {
				row.old = reloadBase
			}
			live, restart := Diff(parseText(t, row.old), parseText(t, row.next))
			if !slices.Equal(live, row.live) || !slices.Equal(restart, row.restart) {
				t.Errorf("live %q, restart %q; want %q, %q", live, restart, row.live, row.restart)
			}
		})
	}
}

func TestReload(t *testing.T) {
	file := reloadBase
	r := NewReloader(parseText(t, file), func() (*Config, error) { return Parse("x.yaml", []byte(file), nil) })
	start := r.Current()
	no := error(nil)
	var asked []*Config
	r.Verify(func(next *Config) error {
		asked = append(asked, next)
		return no
	})

	file = "matrix: {}"
	if _, _, err := r.Reload(); !errors.Is(err, ErrInvalid) || r.Current() != start || len(asked) > 0 {
		t.Fatalf("a bad file: %v, asked %d times", err, len(asked))
	}

	file = strings.Replace(reloadBase, "a/{device}", "b/{device}", 1)
	no = errors.New("no")
	if _, _, err := r.Reload(); !errors.Is(err, no) || r.Current() != start || len(asked) != 1 {
		t.Fatalf("a file that is refused: %v, asked %d times", err, len(asked))
	}

	no = nil
	file = strings.Replace(strings.Replace(file, "8008", "8009", 1), "UTC", "Local", 1) + "turn: {realm: a, secret: b}\n"
	live, restart, err := r.Reload()
	if err != nil || !slices.Equal(live, []string{"devices", "timezone"}) || !slices.Equal(restart, []string{"matrix.homeserver", "turn"}) {
		t.Fatalf("live %q, restart %q, %v", live, restart, err)
	}
	next := r.Current()
	if next != asked[1] || next.Devices[0].Topic != "b/{device}" || next.Timezone != time.Local {
		t.Errorf("live keys are not in force: %+v", next)
	}
	if next.Matrix.Homeserver != "http://127.0.0.1:8008" || next.Turn != nil {
		t.Errorf("keys that need a restart are in force: %+v", next)
	}
	if start.Devices[0].Topic != "a/{device}" || start.Matrix.Homeserver != "http://127.0.0.1:8008" || start.Timezone != time.UTC {
		t.Error("the old configuration was changed")
	}
	if want := "x.yaml:8:12: devices[0].topic: x"; next.At("devices[0].topic", errors.New("x")).Error() != want {
		t.Errorf("the places are not those of the new file")
	}
	// What needed a restart still needs it.
	if live, restart, err := r.Reload(); err != nil || len(live) > 0 || len(restart) != 2 {
		t.Errorf("the same file again: live %q, restart %q, %v", live, restart, err)
	}
}
