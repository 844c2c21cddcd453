package config

import (
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"regexp"
	"strings"
	"time"
)

// walk visits the keys of the section v in order, each before what is inside it. Sections that are nil are left out.
// visit says whether to go on into the value.
func walk(v reflect.Value, path string, visit func(path string, v reflect.Value) bool) {
	for _, f := range fields(v.Type()) {
		walkValue(v.Field(f.index), join(path, f.name), visit)
	}
}

func walkValue(v reflect.Value, path string, visit func(string, reflect.Value) bool) {
	if v.Kind() == reflect.Pointer && v.IsNil() || !visit(path, v) || isLeaf(v.Type()) {
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		walk(v.Elem(), path, visit)
	case reflect.Struct:
		walk(v, path, visit)
	case reflect.Slice:
		for i := range v.Len() {
			walkValue(v.Index(i), item(path, i), visit)
		}
	}
}

// isLeaf says that a value of type t is one scalar of the file.
func isLeaf(t reflect.Type) bool {
	switch t {
	case reflect.TypeFor[Secret](), reflect.TypeFor[Hours](), reflect.TypeFor[PortRange](), reflect.TypeFor[Range](),
		reflect.TypeFor[netip.Prefix](), reflect.TypeFor[netip.Addr](), reflect.TypeFor[*time.Location]():
		return true
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Struct, reflect.Slice, reflect.Map:
		return false
	}
	return true
}

// scalar writes a leaf as the file would have it, secrets masked.
func scalar(v reflect.Value) string {
	switch v := v.Interface().(type) {
	case time.Duration:
		return formatDuration(v)
	case slog.Level:
		return strings.ToLower(v.String())
	case fmt.Stringer:
		return v.String()
	}
	return fmt.Sprint(v.Interface())
}

var index = regexp.MustCompile(`\[\d+\]`)

// pattern is path with "[]" for every index.
func pattern(path string) string { return index.ReplaceAllString(path, "[]") }
