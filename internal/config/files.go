package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxSecret bounds a file with a secret, in bytes.
const maxSecret = 64 << 10

type fileMode = fs.FileMode

// readFile gives the content of a regular file of at most limit bytes, and its mode.
type readFile func(path string, limit int64) ([]byte, fileMode, error)

func readBounded(path string, limit int64) ([]byte, fileMode, error) {
	info, err := os.Stat(path) // before opening: to open a pipe may block
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, errors.New("is not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, 0, err
	}
	if int64(len(data)) > limit {
		return nil, 0, fmt.Errorf("is larger than %s", Size(limit))
	}
	return data, info.Mode(), nil
}

// reason is what went wrong with a file, without its name, which the caller shows.
func reason(err error) string {
	if pathErr := (*fs.PathError)(nil); errors.As(err, &pathErr) {
		return pathErr.Err.Error()
	}
	return err.Error()
}

// secret reads a secret that stands in the file itself or comes from the environment.
func (d *decoder) secret(path string, n *yaml.Node, v *Secret) {
	text, _, ok := d.text(path, n, "text")
	switch {
	case !ok:
	case text == "":
		d.fail(path, "is empty")
	default:
		*v = NewSecret(text)
		if text == n.Value {
			d.inline = append(d.inline, path)
		}
	}
}

// secretFile reads a secret from the file that the value names; ${NAME} in it stays as it is.
func (d *decoder) secretFile(path string, n *yaml.Node, v *Secret) {
	name, _, ok := d.text(path, n, "a file name")
	if !ok {
		return
	}
	if name == "" {
		d.fail(path, "is empty; expected a file name")
		return
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(d.dir, name)
	}
	data, mode, err := d.read(name, maxSecret)
	if err != nil {
		d.fail(path, "%s: %s", name, reason(err))
		return
	}
	text := strings.TrimRight(string(data), "\r\n")
	switch {
	case text == "":
		d.fail(path, "%s: is empty", name)
	case strings.ContainsAny(text, "\x00\r\n"):
		d.fail(path, "%s: has more than one line, or is not text", name)
	default:
		*v = NewSecret(text)
		v.file = name
	}
	if othersRead(mode) {
		d.warn(path, "%s can be read by every user of this machine (mode %04o); use chmod 600", name, mode.Perm())
	}
}

// exposed warns of secrets in a configuration file that everybody can read.
func (d *decoder) exposed(mode fileMode) {
	if len(d.inline) > 0 && othersRead(mode) {
		d.warn(d.inline[0], "a secret stands in a file that every user of this machine can read (mode %04o); "+
			"use chmod 600, or the _file form", mode.Perm())
	}
}

func othersRead(mode fileMode) bool { return mode.Perm()&0o004 != 0 }
