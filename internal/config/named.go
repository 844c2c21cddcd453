package config

import (
	"reflect"
	"slices"
)

// File is the name of the configuration file as it was given to Load.
func (c *Config) File() string { return c.places.file }

// Files lists the files that the configuration names and was read from besides itself: the registration, secrets,
// certificates and keys, each once, in the order of the file. The store's folder and the socket are not among them. What
// is listed need not exist.
func (c *Config) Files() []string {
	var out []string
	add := func(name string) {
		if name != "" && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	var section func(path string, v reflect.Value)
	section = func(path string, v reflect.Value) {
		switch {
		case v.Kind() == reflect.Pointer && v.Type().Elem().Kind() == reflect.Struct && !isLeaf(v.Type()):
			if !v.IsNil() {
				section(path, v.Elem())
			}
		case v.Kind() == reflect.Slice:
			for i := range v.Len() {
				section(item(path, i), v.Index(i))
			}
		case v.Kind() == reflect.Struct && !isLeaf(v.Type()):
			for _, f := range fields(v.Type()) {
				at, value := join(path, f.name), v.Field(f.index)
				secret, ok := value.Interface().(Secret)
				switch {
				case ok:
					add(secret.file)
				case f.path && at != "store.path" && at != "admin.socket":
					add(value.String())
				default:
					section(at, value)
				}
			}
		}
	}
	section("", reflect.ValueOf(c).Elem())
	return out
}
