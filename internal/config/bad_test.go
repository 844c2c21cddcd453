package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the expected texts of testdata/bad anew; read them before you commit them")

// TestBad loads one file per mistake and compares the whole text with the one beside it.
func TestBad(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d files (%v), want 40 or more", len(files), err)
	}
	here, err := filepath.Abs("testdata/bad")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			cfg, err := Load(file, []string{"GATEPOST_TEST=x"})
			if err == nil {
				t.Fatalf("is good:\n%s", cfg.Effective())
			}
			var mistakes Errors
			if !errors.As(err, &mistakes) || !errors.Is(err, ErrInvalid) {
				t.Fatalf("%T is not Errors", err)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("shows a password: %s", err)
			}
			got := strings.ReplaceAll(err.Error(), here+"/", "")
			got = strings.ReplaceAll(got, "testdata/bad/", "") + "\n"
			expected := strings.TrimSuffix(file, ".yaml") + ".txt"
			if *update {
				if err := os.WriteFile(expected, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(expected)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got:\n%swant:\n%s", got, want)
			}
		})
	}
}
