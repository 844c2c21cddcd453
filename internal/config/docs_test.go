package config

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// row is what docs/config.md says of a key.
type row struct{ kind, byDefault, reload string }

func documented(t *testing.T) map[string]row {
	t.Helper()
	data, err := os.ReadFile("../../docs/config.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]row{}
	for line := range strings.Lines(string(data)) {
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		cells := strings.Split(line, "|")
		key := strings.Trim(cells[1], " `")
		if len(cells) != 7 {
			t.Fatalf("%s: a row of %d cells", key, len(cells)-2)
		}
		if _, twice := rows[key]; twice {
			t.Errorf("%s is there twice", key)
		}
		rows[key] = row{kind: strings.TrimSpace(cells[2]), byDefault: strings.TrimSpace(cells[3]), reload: strings.TrimSpace(cells[4])}
	}
	return rows
}

// TestDocumented holds docs/config.md and the types together: every key, its default, whether it is required, and what a
// reload does.
func TestDocumented(t *testing.T) {
	rows := documented(t)
	all := keys(reflect.TypeFor[Config](), "")
	for path := range rows {
		if !slices.Contains(all, path) {
			t.Errorf("%s is in the document and is no key", path)
		}
	}
	known := map[string]field{}
	byDefault := map[string]string{ // those that depend on other keys
		"matrix.registration": "registration.yaml", "matrix.listen": "127.0.0.1:29333", "mqtt.listen": "mqtt://127.0.0.1:1883",
		"turn.listen": "udp://0.0.0.0:3478`, `tcp://0.0.0.0:3478", "devices[].class": "event", "devices[].every": "10m",
		"devices[].max_call": "10m", "admin.socket": "data/gatepost.sock",
	}
	describeKeys(withDefaults(reflect.TypeFor[Config]()), "", known, byDefault)
	for _, path := range all {
		doc, ok := rows[path]
		if !ok {
			if f := known[path]; f.name == "" { // a section needs no row of its own
				continue
			}
			t.Errorf("%s is not in the document", path)
			continue
		}
		if required := strings.Contains(doc.kind, "required"); required != known[path].required {
			t.Errorf("%s: the document says required: %v", path, required)
		}
		want := ""
		if d := byDefault[path]; d != "" {
			want = "`" + d + "`"
		}
		if doc.byDefault != want && known[path].name != "" {
			t.Errorf("%s: the document says default %s, it is %s", path, doc.byDefault, want)
		}
		for _, word := range strings.Fields(known[path].oneof) {
			if !strings.Contains(doc.kind, "`"+word+"`") && !strings.HasPrefix(doc.kind, "as ") {
				t.Errorf("%s: the document does not name %s", path, word)
			}
		}
		for _, c := range changes() {
			if path == c.path || strings.HasPrefix(path, c.path+".") || strings.HasPrefix(path, c.path+"[]") {
				if live := doc.reload == "live"; live != c.live || !live && doc.reload != "restart" {
					t.Errorf("%s: the document says %s", path, doc.reload)
				}
			}
		}
	}
}

func withDefaults(t reflect.Type) reflect.Value {
	section := reflect.New(t).Elem()
	setDefaults(section)
	return section
}

// describeKeys collects the keys with a value of their own, lists included, and their defaults.
func describeKeys(section reflect.Value, path string, known map[string]field, byDefault map[string]string) {
	for _, f := range fields(section.Type()) {
		at, v := join(path, f.name), section.Field(f.index)
		switch {
		case isLeaf(v.Type()):
			known[at] = f
			// A zero duration or size is "none"; other zero values are values.
			if text := scalar(v); byDefault[at] == "" && (!v.IsZero() || v.Kind() != reflect.Int64) {
				byDefault[at] = text
			}
		case v.Kind() == reflect.Map:
			known[at] = f
		case v.Kind() == reflect.Slice:
			known[at] = f
			if item := v.Type().Elem(); item.Kind() == reflect.Struct && !isLeaf(item) {
				describeKeys(withDefaults(item), at+"[]", known, byDefault)
			}
		case v.Kind() == reflect.Pointer:
			describeKeys(withDefaults(v.Type().Elem()), at, known, byDefault)
		default:
			describeKeys(v, at, known, byDefault)
		}
	}
}

var namedSecret = regexp.MustCompile(`(?m)^[ #-]*(?:password|token|secret)_file: ([a-z.]+)`)

// inPlace puts a shipped file where its secrets are.
func inPlace(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "gatepost.yaml")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, m := range namedSecret.FindAllSubmatch(data, -1) {
		if err := os.WriteFile(filepath.Join(filepath.Dir(path), string(m[1])), []byte("secret\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func TestShippedExample(t *testing.T) {
	cfg, err := Load(inPlace(t, "../../deploy/gatepost.example.yaml"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.Warnings) > 0 {
		t.Errorf("warns: %q", cfg.Warnings)
	}
	if len(cfg.Devices) < 5 || len(cfg.MQTT.Accounts) < 3 || cfg.Store.Path != "/var/lib/gatepost" {
		t.Errorf("is not what was written: %+v", cfg)
	}
}

// TestShippedRegistration holds that the template fits the example, and that nobody runs with its tokens.
func TestShippedRegistration(t *testing.T) {
	data, err := os.ReadFile("../../deploy/registration/gatepost.registration.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := LoadRegistration(writeRegistration(t, string(data))); err == nil {
		t.Error("the template is good as it is, with tokens that everybody knows")
	}
	text := strings.NewReplacer(`"<openssl rand -hex 32>"`, "abc", `"<another one>"`, "def").Replace(string(data))
	reg, err := LoadRegistration(writeRegistration(t, text))
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := Load(inPlace(t, "../../deploy/gatepost.example.yaml"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := reg.Covers(cfg.Matrix); err != nil {
		t.Error(err)
	}
	made := NewRegistration(cfg.Matrix, reg.URL, "abc", "def")
	if !reflect.DeepEqual(made.Namespaces.Users, reg.Namespaces.Users) || !reflect.DeepEqual(made.Namespaces.Aliases, reg.Namespaces.Aliases) ||
		made.ID != reg.ID || made.SenderLocalpart != reg.SenderLocalpart || made.RateLimited != reg.RateLimited {
		t.Errorf("the template is %+v, NewRegistration makes %+v", reg, made)
	}
	if len(reg.Warnings) > 0 {
		t.Errorf("warns: %q", reg.Warnings)
	}
}
