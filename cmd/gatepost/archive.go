package main

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A backup is a tar file. Its first entry, manifest.json, lists every other entry with size and SHA-256, in their order:
//
//	data/NAME        a database of the store's folder, as it was at one moment, or the seeds of the bot's signatures
//	config/NAME      the configuration (always gatepost.yaml) and files it names below its own folder
//	elsewhere/PATH   files it names anywhere else; a restore leaves those to a person
//
// It holds secrets and belongs in a file of mode 0600.
const (
	manifestName    = "manifest.json"
	manifestFormat  = 1
	maxManifest     = 1 << 20 // bytes
	maxEntries      = 10_000
	dataPrefix      = "data/"
	configPrefix    = "config/"
	elsewherePrefix = "elsewhere/"
	configName      = configPrefix + "gatepost.yaml"
)

// storeFile is the store's database in its folder.
const storeFile = "gatepost.db"

// manifest says what a backup is.
type manifest struct {
	Format     int       `json:"format"`
	Version    string    `json:"version"` // of gatepost
	Made       time.Time `json:"made"`
	ServerName string    `json:"server_name,omitempty"`
	Entries    []entry   `json:"entries"`
}

// entry is one file of a backup.
type entry struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// errNotBackup is what reading returns for a file that is no backup, or not a whole one.
var errNotBackup = errors.New("is not a whole backup of gatepost")

// source is a file for a backup. write gives its content, the same number of times it is asked.
type source struct {
	name  string // in the archive
	write func(w io.Writer) error
}

// spooled is a source copied to a file, whose size and sum are known.
type spooled struct {
	entry
	path string
}

// writeArchive writes a backup of sources to w. Everything is first copied into a folder below spool, so that a slow w
// holds up nobody and the manifest can come first.
func writeArchive(ctx context.Context, w io.Writer, spool string, m manifest, sources []source) (err error) {
	dir, err := os.MkdirTemp(spool, ".backup-")
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	m.Format, m.Entries = manifestFormat, nil
	var copies []spooled
	for i, s := range sources {
		c, err := spoolSource(ctx, filepath.Join(dir, fmt.Sprint(i)), s)
		if err != nil {
			return fmt.Errorf("backup %s: %w", s.name, err)
		}
		copies = append(copies, c)
		m.Entries = append(m.Entries, c.entry)
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	out := tar.NewWriter(w)
	header := func(name string, size int64) error {
		return out.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: size, ModTime: m.Made, Format: tar.FormatPAX})
	}
	if err := header(manifestName, int64(len(text))); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if _, err := out.Write(text); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	for _, c := range copies {
		if err := header(c.Name, c.Size); err != nil {
			return fmt.Errorf("backup %s: %w", c.Name, err)
		}
		if err := copyFile(ctx, out, c.path); err != nil {
			return fmt.Errorf("backup %s: %w", c.Name, err)
		}
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return nil
}

func spoolSource(ctx context.Context, path string, s source) (c spooled, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := sha256.New()
	n := &counter{ctx: ctx, w: io.MultiWriter(f, sum)}
	if err := s.write(n); err != nil {
		return c, err
	}
	return spooled{entry{s.name, n.bytes, hex.EncodeToString(sum.Sum(nil))}, path}, nil
}

// counter counts what goes through it and stops with its context.
type counter struct {
	ctx   context.Context
	w     io.Writer
	bytes int64
}

func (c *counter) Write(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.w.Write(p)
	c.bytes += int64(n)
	return n, err
}

func copyFile(ctx context.Context, w io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	_, err = io.Copy(&counter{ctx: ctx, w: w}, f)
	return err
}

// fileSource is a file as it is on the disk.
func fileSource(name, path string) source {
	return source{name, func(w io.Writer) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		_, err = io.Copy(w, f)
		return err
	}}
}

// readArchive unpacks a backup into dir, which must be empty, and checks every size and sum. Anything that is not as the
// manifest says is errNotBackup; dir then holds rubbish. Nothing is fsynced yet.
func readArchive(ctx context.Context, r io.Reader, dir string) (manifest, error) {
	var m manifest
	in := tar.NewReader(r)
	h, err := in.Next()
	if err != nil || h.Name != manifestName || h.Size > maxManifest {
		return m, fmt.Errorf("%w: it does not begin with %s", errNotBackup, manifestName)
	}
	text, err := io.ReadAll(io.LimitReader(in, maxManifest))
	if err != nil {
		return m, fmt.Errorf("%w: %w", errNotBackup, err)
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("%w: %s: %w", errNotBackup, manifestName, err)
	}
	if err := m.check(); err != nil {
		return m, err
	}
	for _, e := range m.Entries {
		h, err := in.Next()
		if err != nil {
			return m, fmt.Errorf("%w: %s is missing: %w", errNotBackup, e.Name, err)
		}
		if h.Name != e.Name || h.Typeflag != tar.TypeReg || h.Size != e.Size {
			return m, fmt.Errorf("%w: %q stands where the manifest has %q", errNotBackup, h.Name, e.Name)
		}
		if err := unpack(ctx, filepath.Join(dir, filepath.FromSlash(e.Name)), in, e); err != nil {
			return m, fmt.Errorf("%s: %w", e.Name, err)
		}
	}
	if _, err := in.Next(); !errors.Is(err, io.EOF) {
		return m, fmt.Errorf("%w: there is more in it than its manifest lists", errNotBackup)
	}
	return m, nil
}

// check makes sure that the names of a manifest stay inside a folder and are all different.
func (m manifest) check() error {
	switch {
	case m.Format > manifestFormat:
		return fmt.Errorf("the backup was made by a newer gatepost (%s): install that one", clean(m.Version, maxCell))
	case m.Format != manifestFormat:
		return fmt.Errorf("%w: format %d", errNotBackup, m.Format)
	case len(m.Entries) > maxEntries:
		return fmt.Errorf("%w: %d entries", errNotBackup, len(m.Entries))
	}
	seen := map[string]bool{}
	for _, e := range m.Entries {
		if !e.allowed() || seen[e.Name] {
			return fmt.Errorf("%w: entry %q", errNotBackup, e.Name)
		}
		seen[e.Name] = true
	}
	if !seen[dataPrefix+storeFile] {
		return fmt.Errorf("%w: there is no store in it", errNotBackup)
	}
	return nil
}

// allowed says whether an entry has its place in a backup, and stays there when it is unpacked.
func (e entry) allowed() bool {
	if e.Size < 0 || path.Clean(e.Name) != e.Name || !filepath.IsLocal(filepath.FromSlash(e.Name)) {
		return false
	}
	if name, ok := strings.CutPrefix(e.Name, dataPrefix); ok {
		return !strings.Contains(name, "/")
	}
	return strings.HasPrefix(e.Name, configPrefix) || strings.HasPrefix(e.Name, elsewherePrefix)
}

// databases lists the names of the databases, the store's own last.
func (m manifest) databases() []string {
	return slices.DeleteFunc(m.data(), func(name string) bool { return filepath.Ext(name) != ".db" })
}

// data lists the names of what belongs into the store's folder, the store's own database last.
func (m manifest) data() []string {
	var out []string
	for _, e := range m.Entries {
		if name, ok := strings.CutPrefix(e.Name, dataPrefix); ok && name != storeFile {
			out = append(out, name)
		}
	}
	return append(out, storeFile)
}

func unpack(ctx context.Context, target string, r io.Reader, e entry) (err error) {
	if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := sha256.New()
	n := &counter{ctx: ctx, w: io.MultiWriter(f, sum)}
	if _, err := io.Copy(n, r); err != nil {
		if ctx.Err() == nil && errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("%w: %w", errNotBackup, err)
		}
		return err
	}
	if n.bytes != e.Size || hex.EncodeToString(sum.Sum(nil)) != e.SHA256 {
		return fmt.Errorf("%w: its content does not fit its checksum", errNotBackup)
	}
	return nil
}

// archiveName is where a file that the configuration names goes in a backup. folder is that of the configuration.
func archiveName(folder, file string) (string, error) {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return "", err
	}
	if file, err = filepath.Abs(file); err != nil {
		return "", err
	}
	rel, err := filepath.Rel(folder, file)
	if err == nil && filepath.IsLocal(rel) {
		return configPrefix + filepath.ToSlash(rel), nil
	}
	return elsewherePrefix + strings.TrimPrefix(filepath.ToSlash(strings.TrimPrefix(file, filepath.VolumeName(file))), "/"), nil
}

// exists says whether there is anything at path.
func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
