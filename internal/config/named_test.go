package config

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestFilesListsWhatTheConfigurationNames(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("porch.secret", "one")
	write("admin.token", "two")
	write("gatepost.yaml", `
matrix: {homeserver: "http://127.0.0.1:8008", server_name: example.org, owners: ["@alice:example.org"]}
mqtt:
  listen: ["mqtts://127.0.0.1:8883"]
  cert_file: broker.pem
  key_file: broker.key
  accounts:
    - {user: porch, password_file: porch.secret, publish: ["porch/#"]}
    - {user: roof, password_file: porch.secret, publish: ["roof/#"]}
admin: {token_file: admin.token}
`)
	cfg, err := Load(filepath.Join(dir, "gatepost.yaml"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := cfg.File(), filepath.Join(dir, "gatepost.yaml"); got != want {
		t.Errorf("file %q, want %q", got, want)
	}
	var want []string
	for _, name := range []string{"registration.yaml", "broker.pem", "broker.key", "porch.secret", "admin.token"} {
		want = append(want, filepath.Join(dir, name))
	}
	if got := cfg.Files(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
