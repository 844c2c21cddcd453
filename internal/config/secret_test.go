package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSecretDoesNotShow(t *testing.T) {
	s := NewSecret("hunter2")
	if s.Reveal() != "hunter2" || s.IsZero() {
		t.Fatal("lost")
	}
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	logger.Info("a", "b", s, "c", &s, "d", Account{Password: s}, "e", []Secret{s})
	data, err := json.Marshal(Account{Password: s})
	if err != nil {
		t.Fatal(err)
	}
	type inner struct{ s Secret } // fmt cannot call methods of an unexported field
	shown := []string{log.String(), string(data), s.String(), s.GoString(), fmt.Sprintln(s, &s, []any{s}, map[string]Secret{"a": s})}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%p", "%o", "%T%v"} {
		for _, v := range []any{s, &s, Account{Password: s}, &MQTT{Password: s}, []Secret{s}, inner{s}, &inner{s}} {
			shown = append(shown, fmt.Sprintf(verb, v))
		}
	}
	for _, text := range shown {
		if strings.Contains(text, "hunter2") || strings.Contains(text, "68756e74657232") || strings.Contains(text, "104 117 110") {
			t.Errorf("shown: %s", text)
		}
	}
	if (Secret{}).String() != "" || s.String() != "***" {
		t.Error("the mask does not tell none from some")
	}
}

func TestSecretFile(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string, mode os.FileMode) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	file("unix", "a b\n", 0o600)
	file("dos", "a b\r\n", 0o640)
	file("bare", "a b", 0o600)
	file("open", "a b\n", 0o644)
	file("env", "${A}\n", 0o600)
	file("full", strings.Repeat("x", maxSecret), 0o600)
	file("large", strings.Repeat("x", maxSecret+1), 0o600)
	for _, row := range []struct{ name, want, warning, mistake string }{
		{name: "unix", want: "a b"},
		{name: "dos", want: "a b"},
		{name: "bare", want: "a b"},
		{name: "env", want: "${A}"},
		{name: "full", want: strings.Repeat("x", maxSecret)},
		{name: "open", want: "a b", warning: "x.yaml:1:95: matrix.token_file: " + dir + "/open can be read by every user of this machine (mode 0644); use chmod 600"},
		{name: "large", mistake: "x.yaml:1:95: matrix.token_file: " + dir + "/large: is larger than 64KiB"},
	} {
		t.Run(row.name, func(t *testing.T) {
			text := `matrix: {homeserver: "http://a", server_name: a, mode: account, owners: ["@a:b"], token_file: ` + row.name + "}\nmqtt: {}\n"
			cfg, err := parseConfig("x.yaml", dir, []byte(text), 0o644, []string{"A=1"}, readBounded)
			if row.mistake != "" {
				if err == nil || err.Error() != row.mistake {
					t.Fatalf("got %v, want %s", err, row.mistake)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := cfg.Matrix.Token.Reveal(); got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
			if got := strings.Join(cfg.Warnings, "\n"); got != row.warning {
				t.Errorf("warnings %q, want %q", got, row.warning)
			}
		})
	}
}

// TestExposed holds that a secret in a configuration file that everybody can read is spoken of, and only then.
func TestExposed(t *testing.T) {
	const head = `matrix: {homeserver: "http://a", server_name: a, mode: account, owners: ["@a:b"], token: "`
	for _, row := range []struct {
		token string
		mode  os.FileMode
		want  int
	}{{"abc", 0o644, 1}, {"abc", 0o640, 0}, {"abc", 0o600, 0}, {"${A}", 0o644, 0}} {
		cfg, err := parseConfig("x.yaml", ".", []byte(head+row.token+"\"}\nmqtt: {}\n"), row.mode, []string{"A=1"}, readBounded)
		if err != nil {
			t.Fatal(err)
		}
		if len(cfg.Warnings) != row.want {
			t.Errorf("%s with mode %o: %q", row.token, row.mode, cfg.Warnings)
		}
	}
}
