package config

import (
	"fmt"
	"reflect"
)

// missing is a key that is read and checked but that this version cannot do anything with.
type missing struct {
	path string // "[]" stands for every item
	// when says that the value given asks for what is missing; nil: any value does.
	when func(value string) bool
	// refuse makes it a mistake: to go on without would be less safe than the file asks for.
	refuse bool
	text   string
}

// notYet lists what this version lacks, in one place. An entry goes away with the change that makes the key work.
func notYet() []missing {
	return []missing{}
}

// unsupported warns of keys in the file that have no effect, and refuses those that must not be without.
func unsupported(cfg *Config, r *report) {
	list := map[string]missing{}
	for _, m := range notYet() {
		list[m.path] = m
	}
	walk(reflect.ValueOf(cfg).Elem(), "", func(path string, v reflect.Value) bool {
		m, ok := list[pattern(path)]
		if !ok || !r.places.has(path) || r.failed[path] {
			return true
		}
		text := m.text
		if m.when != nil {
			value := scalar(v)
			if !m.when(value) {
				return true
			}
			text = fmt.Sprintf(text, value)
		}
		if m.refuse {
			r.fail(path, "%s", text)
		} else {
			r.warn(path, "%s", text)
		}
		return true
	})
}
