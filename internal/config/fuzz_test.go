package config

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// FuzzParse holds that any bytes are either a configuration, which Effective can write so that it is one again, or Errors.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/good/*.yaml", "testdata/bad/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatal(files, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	nobody := func(string, int64) ([]byte, fileMode, error) { return []byte("secret\n"), 0o600, nil }
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 64<<10 {
			return
		}
		cfg, err := parseConfig("x.yaml", "/x", data, 0o644, []string{"A=b"}, nobody)
		if err != nil {
			var mistakes Errors
			if !errors.As(err, &mistakes) || len(mistakes) == 0 || err.Error() == "" {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		text := cfg.Effective()
		again, err := parseConfig("x.yaml", "/x", text, 0o644, nil, nobody)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if twice := again.Effective(); string(twice) != string(text) {
			t.Fatalf("%s\nthen\n%s", text, twice)
		}
	})
}

// FuzzRegistration holds that any bytes are either a registration, which YAML writes so that it is the same again, or
// Errors.
func FuzzRegistration(f *testing.F) {
	f.Add([]byte(goodRegistration))
	f.Add(NewRegistration(&Matrix{ServerName: "[::1]:8448", User: "a", ControlRoom: "b"}, "http://[::1]:1", "abc", "def").YAML())
	f.Fuzz(func(t *testing.T, data []byte) {
		reg, err := parseRegistration("x.yaml", data, 0o600)
		if err != nil {
			var mistakes Errors
			if !errors.As(err, &mistakes) || len(mistakes) == 0 || err.Error() == "" {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		again, err := parseRegistration("x.yaml", reg.YAML(), 0o600)
		if err != nil {
			t.Fatalf("%v\n%s", err, reg.YAML())
		}
		if string(again.YAML()) != string(reg.YAML()) {
			t.Fatalf("%s\nthen\n%s", reg.YAML(), again.YAML())
		}
	})
}
