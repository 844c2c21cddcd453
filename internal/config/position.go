package config

import (
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// place is where a key and its value stand; lines and columns count from 1. List items have no key of their own.
type place struct {
	keyLine, keyCol     int
	valueLine, valueCol int
}

// places knows where every key of a file stands, by its path such as "devices[2].topic".
type places struct {
	file string
	at   map[string]place
}

func (p places) has(path string) bool {
	_, ok := p.at[path]
	return ok
}

// value is the place of a value, or of the nearest section around it that the file has.
func (p places) value(path string) (line, col int) {
	for at := path; at != ""; at = parent(at) {
		if found, ok := p.at[at]; ok {
			if at == path || found.keyLine == 0 {
				return found.valueLine, found.valueCol
			}
			return found.keyLine, found.keyCol
		}
	}
	return 1, 1
}

// line is the line of a value; 0 when the file does not have it.
func (p places) line(path string) int { return p.at[path].valueLine }

func (p places) put(path string, key, value *yaml.Node) {
	at := place{valueLine: value.Line, valueCol: value.Column}
	if key != nil {
		at.keyLine, at.keyCol = key.Line, key.Column
		if value.Kind != yaml.ScalarNode && value.Style&yaml.FlowStyle == 0 {
			at.valueLine, at.valueCol = key.Line, key.Column // an indented block begins where its key stands
		}
	}
	p.at[path] = at
}

// parent of "a.b[2].c" is "a.b[2]", of "a.b[2]" it is "a.b", of "a" it is "".
func parent(path string) string {
	return path[:max(strings.LastIndexAny(path, ".["), 0)]
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func item(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// At puts the place of a key in front of what another package says of its value: err comes back as Errors that wrap it,
// one for each error that was joined in err. path is such as "devices[2].topic"; when the file does not have it, the
// nearest section around it is the place. A nil err stays nil.
func (c *Config) At(path string, err error) error {
	if err == nil {
		return nil
	}
	var errs Errors
	line, col := c.places.value(path)
	for _, e := range split(err) {
		errs = append(errs, &Error{File: c.places.file, Line: line, Col: col, Key: path, Reason: e.Error(), Err: e})
	}
	return errs
}

// split takes errors.Join apart; what has a text of its own stays whole.
func split(err error) []error {
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) || err.Error() != errors.Join(joined.Unwrap()...).Error() {
		return []error{err}
	}
	return joined.Unwrap()
}
