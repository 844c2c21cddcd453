package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"reflect"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxFile bounds a configuration or registration file, in bytes.
const maxFile = 1 << 20

// Load reads the configuration file at path. env is the environment as os.Environ gives it; ${NAME} is taken from there
// only. The error is an Errors with every mistake; a file that cannot be read is one too.
func Load(path string, env []string) (*Config, error) {
	data, mode, err := readBounded(path, maxFile)
	if err != nil {
		return nil, Errors{{File: path, Reason: "cannot be read: " + reason(err), Err: err}}
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, Errors{{File: path, Reason: "has no absolute folder: " + err.Error(), Err: err}}
	}
	return parseConfig(path, dir, data, mode, env, readBounded)
}

// Parse reads a configuration from data as Load does. name is the file's name in errors; its folder is where relative file
// names in the configuration belong. Files that `_file` keys name are read.
func Parse(name string, data []byte, env []string) (*Config, error) {
	return parseConfig(name, filepath.Dir(name), data, 0, env, readBounded)
}

func parseConfig(name, dir string, data []byte, mode fileMode, env []string, read readFile) (*Config, error) {
	d := &decoder{report: newReport(name), dir: dir, env: environment(env), read: read, left: maxValues}
	cfg := new(Config)
	if !d.document(data, "write one with `gatepost init`, or begin with deploy/gatepost.example.yaml", cfg) {
		return nil, d.errs.sorted()
	}
	d.exposed(mode)
	cfg.places = d.places
	cfg.derive(dir)
	validate(cfg, &d.report)
	unsupported(cfg, &d.report)
	if err := d.errs.sorted(); err != nil {
		return nil, err
	}
	cfg.Warnings = d.warnings
	return cfg, nil
}

// document parses data and reads it into the struct that v points to. False when there is no document to speak of.
func (d *decoder) document(data []byte, whenEmpty string, v any) bool {
	if len(data) > maxFile {
		d.failAt(0, 0, "", fmt.Sprintf("is larger than %s", Size(maxFile)))
		return false
	}
	if line, col, ok := validText(data); !ok {
		d.failAt(line, col, "", "is not UTF-8 text from here on")
		return false
	}
	in := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	switch err := in.Decode(&doc); {
	case errors.Is(err, io.EOF):
		d.failAt(0, 0, "", "the file is empty; "+whenEmpty)
		return false
	case err != nil:
		d.errs = append(d.errs, syntaxError(d.places.file, data, err))
		return false
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		d.failAt(0, 0, "", "the file is empty; "+whenEmpty)
		return false
	}
	switch err := in.Decode(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		d.errs = append(d.errs, syntaxError(d.places.file, data, err))
		return false
	default:
		d.failAt(second.Line, second.Column, "", "a second document begins here (---); there must be one only")
	}
	if root.Kind != yaml.MappingNode {
		d.failAt(root.Line, root.Column, "", describe(root)+`; expected keys and values such as "matrix:"`)
		return false
	}
	d.value("", root, reflect.ValueOf(v).Elem(), field{}, 0)
	if d.left < 0 {
		d.errs = d.flood
		return false
	}
	return true
}

// validText finds the first place in data that is not UTF-8.
func validText(data []byte) (line, col int, ok bool) {
	if utf8.Valid(data) {
		return 0, 0, true
	}
	line = 1
	for rest := data; ; {
		r, n := utf8.DecodeRune(rest)
		if r == utf8.RuneError && n <= 1 {
			return line, col + 1, false
		}
		col++
		if r == '\n' {
			line, col = line+1, 0
		}
		rest = rest[n:]
	}
}

// syntaxError gives what the YAML parser says a place: the parser names the line of the surrounding block, or none, so the
// line is found as the first one without which the parser does not complain in the same way.
func syntaxError(file string, data []byte, err error) *Error {
	text := syntaxText(err)
	lines := bytes.SplitAfter(data, []byte("\n"))
	low, high := 1, len(lines)
	for low < high {
		mid := (low + high) / 2
		if syntaxText(parseOnly(bytes.Join(lines[:mid], nil))) == text {
			high = mid
		} else {
			low = mid + 1
		}
	}
	line := lines[low-1]
	col := len(line) - len(bytes.TrimLeft(line, " \t")) + 1
	e := &Error{File: file, Line: low, Col: col, Reason: text, Err: err}
	for _, h := range hints {
		if strings.Contains(text, h.says) && (h.begins == "" || strings.ContainsAny(string(line), h.begins)) {
			e.Reason += " (" + h.hint + ")"
			break
		}
	}
	return e
}

// hints say in plain words what the parser's texts usually mean.
var hints = []struct{ says, begins, hint string }{
	{"cannot start any token", "\t", "indent with spaces, not tabs"},
	{"cannot start any token", "@`%", "a text that begins with @, ` or % needs quotes"},
	{"mapping values are not allowed", "", "the indentation is off, or a text with \": \" in it needs quotes"},
	{"did not find expected key", "{", "a text that begins with { needs quotes, or a bracket is missing before"},
	{"did not find expected key", "", "the indentation is off here, or a quote or bracket is missing before"},
	{"did not find expected '-' indicator", "", "the indentation is off: the items of a list begin in one column"},
	{"could not find expected ':'", "", "a key without a colon, or a text that needs quotes"},
	{"unknown escape character", "", "a backslash needs single quotes around the text, or to be doubled"},
	{"unknown anchor", "", "a text that begins with * needs quotes"},
	{"alphabetic or numeric character", "", "a text that begins with * or & needs quotes"},
	{"unexpected end of stream", "", "a quote is not closed"},
}

func parseOnly(data []byte) error {
	var doc yaml.Node
	err := yaml.NewDecoder(bytes.NewReader(data)).Decode(&doc)
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// syntaxText is the parser's text without its idea of the line.
func syntaxText(err error) string {
	if err == nil {
		return ""
	}
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if after, ok := strings.CutPrefix(text, "line "); ok {
		if _, said, ok := strings.Cut(after, ": "); ok {
			text = said
		}
	}
	return text
}
