package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func text(name, content string) source {
	return source{name, func(w io.Writer) error {
		_, err := io.WriteString(w, content)
		return err
	}}
}

func archive(t testing.TB, sources ...source) []byte {
	t.Helper()
	var out bytes.Buffer
	m := manifest{Version: "v1", Made: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)}
	if err := writeArchive(context.Background(), &out, t.TempDir(), m, sources); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestArchiveComesBack(t *testing.T) {
	spool := t.TempDir()
	var out bytes.Buffer
	made := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	large := strings.Repeat("gatepost", 100_000)
	err := writeArchive(t.Context(), &out, spool, manifest{Version: "v1", Made: made, ServerName: "example.org"},
		[]source{text("data/gatepost.db", large), text("config/gatepost.yaml", ""), text("config/sub/x.pem", "x")})
	if err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(spool); err != nil || len(left) > 0 {
		t.Errorf("left in the spool: %v, %v", left, err)
	}
	dir := t.TempDir()
	m, err := readArchive(t.Context(), &out, dir)
	if err != nil {
		t.Fatal(err)
	}
	if m.Version != "v1" || m.ServerName != "example.org" || !m.Made.Equal(made) || len(m.Entries) != 3 {
		t.Errorf("manifest %+v", m)
	}
	for name, want := range map[string]string{"data/gatepost.db": large, "config/gatepost.yaml": "", "config/sub/x.pem": "x"} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || string(got) != want {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

func TestArchiveSourceThatFails(t *testing.T) {
	bad := source{"data/gatepost.db", func(w io.Writer) error {
		_, _ = w.Write([]byte("half"))
		return errors.New("input/output error")
	}}
	spool := t.TempDir()
	var out bytes.Buffer
	if err := writeArchive(t.Context(), &out, spool, manifest{}, []source{bad}); err == nil || out.Len() > 0 {
		t.Errorf("%v, %d bytes", err, out.Len())
	}
	if left, err := os.ReadDir(spool); err != nil || len(left) > 0 {
		t.Errorf("left in the spool: %v, %v", left, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := writeArchive(ctx, &out, spool, manifest{}, []source{text("data/gatepost.db", "x")}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// forged makes a tar file with a manifest and entries that need not fit.
func forged(t testing.TB, m manifest, headers []tar.Header, content string) []byte {
	t.Helper()
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	put := func(h tar.Header, b []byte) {
		h.Size = int64(len(b))
		if h.Typeflag != 0 && h.Typeflag != tar.TypeReg {
			h.Size, b = 0, nil
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	put(tar.Header{Name: manifestName, Mode: 0o600}, b)
	for _, h := range headers {
		put(h, []byte(content))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestArchivesRefused(t *testing.T) {
	const sum = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881" // of "x"
	one := func(name string) manifest {
		return manifest{Format: 1, Entries: []entry{{storeEntry, 1, sum}, {name, 1, sum}}}
	}
	both := func(h tar.Header) []tar.Header { return []tar.Header{{Name: storeEntry, Mode: 0o600}, h} }
	whole := archive(t, text(storeEntry, "database"), text("config/gatepost.yaml", "matrix: {}"))
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"empty":             {nil, "does not begin with"},
		"not tar":           {[]byte(strings.Repeat("hello", 1000)), "does not begin with"},
		"tar of other":      {forged(t, manifest{}, nil, "")[1024:], "does not begin with"},
		"no format":         {forged(t, manifest{}, nil, ""), "format 0"},
		"newer":             {forged(t, manifest{Format: 2, Version: "v9"}, nil, ""), "newer gatepost (v9)"},
		"no store":          {forged(t, manifest{Format: 1}, nil, ""), "there is no store"},
		"climbs out":        {forged(t, one("config/../../x"), both(tar.Header{Name: "config/../../x"}), "x"), "entry"},
		"climbs inside":     {forged(t, one("config/a/../x"), both(tar.Header{Name: "config/a/../x"}), "x"), "entry"},
		"absolute":          {forged(t, one("/etc/x"), both(tar.Header{Name: "/etc/x"}), "x"), "entry"},
		"deep data":         {forged(t, one("data/a/b"), both(tar.Header{Name: "data/a/b"}), "x"), "entry"},
		"twice":             {forged(t, one(storeEntry), both(tar.Header{Name: storeEntry}), "x"), "entry"},
		"symbolic link":     {forged(t, one("config/x"), both(tar.Header{Name: "config/x", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}), "x"), "stands where"},
		"other name":        {forged(t, one("config/x"), both(tar.Header{Name: "config/y"}), "x"), "stands where"},
		"other size":        {forged(t, one("config/x"), both(tar.Header{Name: "config/x"}), "xy"), "stands where"},
		"other content":     {forged(t, one("config/x"), both(tar.Header{Name: "config/x"}), "y"), "checksum"},
		"one missing":       {forged(t, one("config/x"), both(tar.Header{})[:1], "x"), "config/x is missing"},
		"one too many":      {forged(t, manifest{Format: 1, Entries: []entry{{storeEntry, 1, sum}}}, both(tar.Header{Name: "config/x"}), "x"), "more in it"},
		"cut":               {whole[:len(whole)/2], "is not a whole backup"},
		"cut in the header": {whole[:600], "is not a whole backup"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "in")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			_, err := readArchive(t.Context(), bytes.NewReader(c.file), dir)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if around, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(around) != 1 {
				t.Errorf("written outside: %v, %v", around, err)
			}
		})
	}
}

const storeEntry = dataPrefix + storeFile

func FuzzReadArchive(f *testing.F) {
	whole := archive(f, text(storeEntry, "database"), text("config/gatepost.yaml", "matrix: {}"))
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add(forged(f, manifest{Format: 1, Entries: []entry{{Name: "data/../x"}}}, nil, ""))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := filepath.Join(t.TempDir(), "in")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		m, err := readArchive(context.Background(), bytes.NewReader(b), dir)
		if around, e := os.ReadDir(filepath.Dir(dir)); e != nil || len(around) != 1 {
			t.Fatalf("written outside: %v, %v", around, e)
		}
		if err != nil {
			return
		}
		for _, e := range m.Entries { // what passes is whole
			info, err := os.Lstat(filepath.Join(dir, filepath.FromSlash(e.Name)))
			if err != nil || !info.Mode().IsRegular() || info.Size() != e.Size {
				t.Fatalf("%s: %v, %v", e.Name, info, err)
			}
		}
	})
}

func TestArchiveNames(t *testing.T) {
	for _, c := range []struct{ folder, file, want string }{
		{"/etc/gatepost", "/etc/gatepost/registration.yaml", "config/registration.yaml"},
		{"/etc/gatepost", "/etc/gatepost/tls/key.pem", "config/tls/key.pem"},
		{"/etc/gatepost", "/etc/ssl/ca.pem", "elsewhere/etc/ssl/ca.pem"},
		{"/etc/gatepost", "/etc/gatepost2/x", "elsewhere/etc/gatepost2/x"},
	} {
		if got, err := archiveName(c.folder, c.file); err != nil || got != c.want {
			t.Errorf("%s: got %s, %v, want %s", c.file, got, err, c.want)
		}
	}
}

func TestSweepTakesOldLeftoversOnly(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	for name, age := range map[string]time.Duration{".backup-old": 25 * time.Hour, ".backup-new": time.Hour, "gatepost.db": 100 * time.Hour} {
		path := filepath.Join(dir, name)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, now, now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	if err := sweep(dir, now); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 2 || left[0].Name() != ".backup-new" || left[1].Name() != "gatepost.db" {
		t.Errorf("left: %v, %v", left, err)
	}
}
