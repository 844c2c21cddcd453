package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Bounds on what a file may hold, aliases counted as often as they are used.
const (
	maxDepth  = 32
	maxValues = 50_000
)

// decoder walks the parsed YAML and the Go types side by side, so that every mistake is seen and has its place. (The
// yaml package's own decoding stops being strict below the first custom type and knows no columns.)
type decoder struct {
	report
	dir     string // relative file names in the file belong here
	env     map[string]string
	read    readFile
	lax     bool     // unknown keys are fine, and null is as good as nothing
	literal bool     // ${NAME} stays as it is
	left    int      // keys and values that may still be read
	flood   Errors   // what is reported when there were more
	inline  []string // paths of secrets that stand in the file itself
}

// report collects what is wrong with a file.
type report struct {
	places   places
	errs     Errors
	warnings []string
	failed   map[string]bool // paths with a mistake: they are not judged any further
}

func newReport(file string) report {
	return report{places: places{file: file, at: map[string]place{}}, failed: map[string]bool{}}
}

// fail notes a mistake in the value at path.
func (r *report) fail(path, format string, args ...any) {
	r.failed[path] = true
	line, col := r.places.value(path)
	r.failAt(line, col, path, fmt.Sprintf(format, args...))
}

func (r *report) failAt(line, col int, path, reason string) {
	r.errs = append(r.errs, &Error{File: r.places.file, Line: line, Col: col, Key: path, Reason: reason})
}

func (r *report) warn(path, format string, args ...any) {
	line, col := r.places.value(path)
	e := Error{File: r.places.file, Line: line, Col: col, Key: path, Reason: fmt.Sprintf(format, args...)}
	r.warnings = append(r.warnings, e.Error())
}

// field is a key of a section.
type field struct {
	name     string
	index    int
	path     bool
	required bool
	oneof    string
	want     string
}

// fields lists the keys of a struct type in their order.
func fields(t reflect.Type) []field {
	var out []field
	for i := range t.NumField() {
		tag, ok := t.Field(i).Tag.Lookup("key")
		if !ok {
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		out = append(out, field{
			name: name, index: i,
			path: options == "path", required: options == "required",
			oneof: t.Field(i).Tag.Get("oneof"), want: t.Field(i).Tag.Get("want"),
		})
	}
	return out
}

// value reads n into v. What cannot be read leaves v as it was.
func (d *decoder) value(path string, n *yaml.Node, v reflect.Value, f field, depth int) {
	if !d.spend(path) {
		return
	}
	if depth > maxDepth {
		d.fail(path, "is nested more than %d levels deep", maxDepth)
		return
	}
	if n.Kind == yaml.AliasNode {
		d.value(path, n.Alias, v, f, depth+1)
		return
	}
	if n.Style&yaml.TaggedStyle != 0 {
		d.fail(path, "has the tag %s; tags are not used here", n.Tag)
		return
	}
	if d.leaf(path, n, v, f) {
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		section := reflect.New(v.Type().Elem())
		if d.section(path, n, section.Elem(), f, depth) {
			v.Set(section)
		}
	case reflect.Struct:
		d.section(path, n, v, f, depth)
	case reflect.Slice:
		d.list(path, n, v, f, depth)
	case reflect.Map:
		d.table(path, n, v, depth)
	default:
		panic("config: no rule for " + v.Type().String()) // a mistake in types.go, seen by every test
	}
}

// spend counts one more key or value and says whether it may be read. The first one too many is the only mistake that is
// reported then.
func (d *decoder) spend(path string) bool {
	if d.left--; d.left == -1 {
		d.errs = nil
		d.fail(path, "the file has more than %d keys and values, aliases counted each time", maxValues)
		d.flood = d.errs
	}
	return d.left >= 0
}

// section reads a mapping into a struct; false when n is something else.
func (d *decoder) section(path string, n *yaml.Node, v reflect.Value, f field, depth int) bool {
	if !d.kind(path, n, yaml.MappingNode, f, "a section of keys and values") {
		return false
	}
	setDefaults(v)
	keys := fields(v.Type())
	nested := map[int]bool{} // fields read
	d.pairs(path, n, func(name, at string, key, value *yaml.Node) {
		if d.lax && value.Tag == "!!null" {
			return
		}
		for _, f := range keys {
			target := v.Field(f.index)
			secret, isSecret := target.Addr().Interface().(*Secret)
			switch {
			case name == f.name:
				nested[f.index] = true
				d.value(at, value, target, f, depth+1)
			case isSecret && name == f.name+"_file":
				nested[f.index] = true
				d.secretFile(at, value, secret)
			default:
				continue
			}
			if isSecret && d.places.has(join(path, f.name)) && d.places.has(join(path, f.name+"_file")) {
				d.fail(at, "both %s and %s_file are given; keep one", f.name, f.name)
			}
			return
		}
		if !d.lax {
			d.failed[at] = true
			d.failAt(key.Line, key.Column, at, unknownKey(name, keys, v))
		}
	})
	for _, f := range keys {
		if f.required && !nested[f.index] {
			at := join(path, f.name)
			d.failed[at] = true
			line, col := d.places.value(at)
			d.failAt(line, col, at, "is required: "+f.want)
		}
	}
	return true
}

// unknownKey says that name is no key, and which was meant.
func unknownKey(name string, keys []field, v reflect.Value) string {
	var names []string
	for _, f := range keys {
		names = append(names, f.name)
		if _, ok := v.Field(f.index).Interface().(Secret); ok {
			names = append(names, f.name+"_file")
		}
	}
	if near := nearest(name, names); near != "" {
		return fmt.Sprintf("unknown key %s; did you mean %q?", quote(name), near)
	}
	return fmt.Sprintf("unknown key %s; possible here: %s", quote(name), strings.Join(names, ", "))
}

// pairs calls f for each key of a mapping that is a plain word and not there twice.
func (d *decoder) pairs(path string, n *yaml.Node, f func(name, at string, key, value *yaml.Node)) {
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind == yaml.ScalarNode && key.Tag == "!!merge" {
			d.failAt(key.Line, key.Column, path, "merge keys (<<) are not supported; write the keys out")
			continue
		}
		if key.Kind != yaml.ScalarNode || key.Value == "" {
			d.failAt(key.Line, key.Column, path, "a key must be a word; put quotes around a value that begins with { or [")
			continue
		}
		if !d.spend(path) {
			return
		}
		at := join(path, key.Value)
		if line, twice := seen[key.Value]; twice {
			d.failAt(key.Line, key.Column, at, fmt.Sprintf("is given twice; first on line %d", line))
			continue
		}
		seen[key.Value] = key.Line
		d.places.put(at, key, value)
		f(key.Value, at, key, value)
	}
}

func (d *decoder) list(path string, n *yaml.Node, v reflect.Value, f field, depth int) {
	if !d.kind(path, n, yaml.SequenceNode, f, `a list, each item after a "-"`) {
		return
	}
	out := reflect.MakeSlice(v.Type(), 0, min(len(n.Content), d.left+1))
	for i, value := range n.Content {
		if d.left <= 0 {
			d.spend(path)
			break
		}
		at := item(path, i)
		d.places.put(at, nil, value)
		// An item that cannot be read keeps its place, so that later paths count as the file does.
		target := reflect.New(v.Type().Elem()).Elem()
		d.value(at, value, target, field{oneof: f.oneof}, depth+1)
		out = reflect.Append(out, target)
	}
	v.Set(out)
}

// table reads a mapping whose keys are free into a map of strings.
func (d *decoder) table(path string, n *yaml.Node, v reflect.Value, depth int) {
	if !d.kind(path, n, yaml.MappingNode, field{}, "a section of keys and values") {
		return
	}
	out := reflect.MakeMap(v.Type())
	d.pairs(path, n, func(name, at string, _, value *yaml.Node) {
		target := reflect.New(v.Type().Elem()).Elem()
		d.value(at, value, target, field{}, depth+1)
		out.SetMapIndex(reflect.ValueOf(name), target)
	})
	v.Set(out)
}

// kind notes a mistake when n is not of the kind wanted.
func (d *decoder) kind(path string, n *yaml.Node, kind yaml.Kind, f field, want string) bool {
	if n.Kind == kind {
		return true
	}
	if f.want != "" {
		want = f.want
	}
	d.fail(path, "%s; expected %s", describe(n), want)
	return false
}

// text gives the text of a scalar after ${NAME}. bare says that it stood without quotes or came from the environment, so
// that it may be read as a number or a boolean.
func (d *decoder) text(path string, n *yaml.Node, want string) (text string, bare, ok bool) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		hint := ""
		switch {
		case n.Kind == yaml.MappingNode:
			hint = " (a text that begins with { needs quotes)"
		case n.Tag == "!!null":
			hint = " (a text that begins with # or ~ needs quotes)"
		}
		d.fail(path, "%s; expected %s%s", describe(n), want, hint)
		return "", false, false
	}
	text = n.Value
	if !d.literal {
		var err error
		if text, err = expand(text, d.env); err != nil {
			d.fail(path, "%s", err)
			return "", false, false
		}
	}
	if strings.ContainsRune(text, 0) {
		d.fail(path, "contains a NUL character")
		return "", false, false
	}
	return text, n.Style == 0 || text != n.Value, true
}

// describe says what a value is, for people, without showing it.
func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "is a section of keys and values"
	case n.Kind == yaml.SequenceNode:
		return "is a list"
	case n.Tag == "!!null":
		return "has no value"
	case n.Style == 0 && (n.Tag == "!!int" || n.Tag == "!!float"):
		return "is a number"
	case n.Style == 0 && n.Tag == "!!bool":
		return "is true or false"
	default:
		return "is text"
	}
}

// quote shows a value from the file, cut short.
func quote(s string) string {
	const most = 80
	if len(s) > most {
		return strconv.Quote(strings.ToValidUTF8(s[:most], "")) + "..."
	}
	return strconv.Quote(s)
}
