package config

import (
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Effective is the configuration as it is in use, as YAML: defaults filled in, secrets masked, sections that were not
// given left out.
func (c *Config) Effective() []byte {
	out, err := yaml.Marshal(effective(reflect.ValueOf(c).Elem()))
	if err != nil {
		panic(err) // the tree below is made of plain scalars, lists and mappings
	}
	return out
}

// effective makes YAML of v; nil when there is nothing to show.
func effective(v reflect.Value) *yaml.Node {
	if v.Kind() == reflect.Pointer && v.IsNil() {
		return nil
	}
	if isLeaf(v.Type()) {
		if v.Type() == reflect.TypeFor[time.Duration]() && v.IsZero() {
			return nil
		}
		text := strings.ReplaceAll(scalar(v), "${", "$${")
		if text == "" {
			return nil
		}
		n := &yaml.Node{Kind: yaml.ScalarNode, Value: text}
		switch v.Interface().(type) {
		case bool:
			n.Tag = "!!bool"
		case int, byte:
			n.Tag = "!!int"
		case float64:
			if n.Tag = "!!float"; !strings.Contains(text, ".") {
				n.Tag = "!!int"
			}
		default:
			n.Tag = "!!str" // quoted where it would be read as something else
		}
		return n
	}
	switch v.Kind() {
	case reflect.Pointer:
		return effective(v.Elem())
	case reflect.Slice:
		return effectiveList(v)
	case reflect.Map:
		n := &yaml.Node{Kind: yaml.MappingNode}
		m := v.Interface().(map[string]string)
		for _, key := range sortedKeys(m) {
			n.Content = append(n.Content, text(key), text(strings.ReplaceAll(m[key], "${", "$${")))
		}
		return orNil(n)
	}
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, f := range fields(v.Type()) {
		key, value := f.name, v.Field(f.index)
		if secret, ok := value.Interface().(Secret); ok && secret.file != "" {
			key, value = key+"_file", reflect.ValueOf(secret.file)
		}
		if part := effective(value); part != nil {
			n.Content = append(n.Content, text(key), part)
		}
	}
	return n
}

// effectiveList writes lists of scalars on one line. A list that was given empty is shown.
func effectiveList(v reflect.Value) *yaml.Node {
	if v.IsNil() {
		return nil
	}
	n := &yaml.Node{Kind: yaml.SequenceNode}
	if isLeaf(v.Type().Elem()) {
		n.Style = yaml.FlowStyle
	}
	for i := range v.Len() {
		part := effective(v.Index(i))
		if part == nil {
			part = text("")
		}
		n.Content = append(n.Content, part)
	}
	return n
}

func orNil(n *yaml.Node) *yaml.Node {
	if len(n.Content) == 0 {
		return nil
	}
	return n
}

func text(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s} }
