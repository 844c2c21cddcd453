package template

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The values of a render: nil, bool, int64, float64, string, json.Number (a number that prints as it was written), list,
// *Map, loop, moment and undefined. Nothing else gets in (adopt), and none of them is ever changed.

type (
	list []any
	// undefined is what is not there; it says what it would have been.
	undefined struct{ what string }
	// absent stands for an argument that was left out.
	absent struct{}
)

// Map is a JSON object or a dictionary of a template. Its keys keep their order.
type Map struct {
	keys   []any // string, int64, float64 or nil
	values []any
	index  map[any]int // nil while there are few keys
}

const fewKeys = 12

// get finds a value. 1, 1.0 and true are the same key; a json.Number is looked for as text, then as a number.
func (m *Map) get(key any) (any, bool) {
	switch k := key.(type) {
	case json.Number:
		if v, ok := m.get(string(k)); ok {
			return v, true
		}
		if n, ok := number(k); ok {
			return m.get(n.value())
		}
		return nil, false
	case string:
		if m.index == nil {
			for i, have := range m.keys {
				if s, ok := have.(string); ok && s == k {
					return m.values[i], true
				}
			}
			return nil, false
		}
	}
	key, ok := plainKey(key)
	if !ok {
		return nil, false
	}
	if m.index != nil {
		i, ok := m.index[key]
		if !ok {
			return nil, false
		}
		return m.values[i], true
	}
	if i := slices.Index(m.keys, key); i >= 0 {
		return m.values[i], true
	}
	return nil, false
}

// put adds or replaces; the key must have come through plainKey. Only what makes a Map uses it.
func (m *Map) put(key, value any) {
	if m.index == nil && len(m.keys) >= fewKeys {
		m.index = make(map[any]int, 2*fewKeys)
		for i, k := range m.keys {
			m.index[k] = i
		}
	}
	i := -1
	if m.index == nil {
		i = slices.Index(m.keys, key)
	} else if k, ok := m.index[key]; ok {
		i = k
	}
	if i >= 0 {
		m.values[i] = value
		return
	}
	if m.index != nil {
		m.index[key] = len(m.keys)
	}
	m.keys, m.values = append(m.keys, key), append(m.values, value)
}

// plainKey makes equal keys the same; ok is false for what cannot be a key.
func plainKey(v any) (any, bool) {
	switch v := v.(type) {
	case nil, string, int64:
		return v, true
	case json.Number:
		return string(v), true
	case bool, float64:
		n, _ := number(v)
		if n.isFloat && n.f == float64(int64(n.f)) {
			return int64(n.f), true
		}
		return n.value(), true
	}
	return nil, false
}

// adopt makes a value of the caller one of ours.
func (r *run) adopt(v any, depth int) (any, error) {
	if depth > maxDepth {
		return nil, limitf("nested more than %d deep", maxDepth)
	}
	switch v := v.(type) {
	case nil, bool, int64, float64, string, json.Number, list, *Map, undefined, loop, moment:
		return v, nil
	case *lazy:
		return v.get(), nil
	case int:
		return int64(v), nil
	case int8:
		return int64(v), nil
	case int16:
		return int64(v), nil
	case int32:
		return int64(v), nil
	case uint8:
		return int64(v), nil
	case uint16:
		return int64(v), nil
	case uint32:
		return int64(v), nil
	case uint:
		return wide(uint64(v)), nil
	case uint64:
		return wide(v), nil
	case float32:
		return float64(v), nil
	case []string:
		return adoptList(r, v, depth)
	case []any:
		return adoptList(r, v, depth)
	case map[string]string:
		return adoptMap(r, v, depth)
	case map[string]any:
		return adoptMap(r, v, depth)
	}
	return nil, valuef("a template cannot use a %T", v)
}

// wide gives v as an int64 if it fits, else as a number that is exact in print.
func wide(v uint64) any {
	if v <= math.MaxInt64 {
		return int64(v)
	}
	return json.Number(strconv.FormatUint(v, 10))
}

func adoptList[T any](r *run, in []T, depth int) (any, error) {
	if err := r.list(len(in)); err != nil {
		return nil, err
	}
	out := make(list, len(in))
	for i, v := range in {
		var err error
		if out[i], err = r.adopt(v, depth+1); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func adoptMap[T any](r *run, in map[string]T, depth int) (any, error) {
	if err := r.list(2 * len(in)); err != nil {
		return nil, err
	}
	keys := make([]string, 0, len(in))
	for k := range in {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	m := &Map{}
	for _, k := range keys {
		v, err := r.adopt(in[k], depth+1)
		if err != nil {
			return nil, err
		}
		m.put(k, v)
	}
	return m, nil
}

// asText is the text of v if v is text; a number that came as text is.
func asText(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return string(v), true
	}
	return "", false
}

// truth is what Jinja takes v for in a condition.
func truth(v any) bool {
	switch v := v.(type) {
	case nil, undefined:
		return false
	case string:
		return v != ""
	case list:
		return len(v) > 0
	case *Map:
		return len(v.keys) > 0
	}
	if n, ok := number(v); ok {
		return n.float() != 0
	}
	return true
}

// words names the type of v for a message.
func words(v any) string {
	switch v := v.(type) {
	case nil:
		return "none"
	case undefined:
		return v.what + ", which is undefined,"
	case bool:
		return "a boolean"
	case int64, float64, json.Number:
		return "a number"
	case string:
		return "text"
	case list:
		return "a list"
	case *Map:
		return "an object"
	case moment:
		return "a time"
	}
	return "this"
}

// items gives what a loop over v sees: the items of a list, the keys of an object, the characters of a text.
func (r *run) items(v any) ([]any, error) {
	switch v := v.(type) {
	case undefined:
		return nil, nil
	case list:
		return v, r.step(1)
	case *Map:
		return v.keys, r.step(1)
	}
	if s, ok := asText(v); ok {
		n := utf8.RuneCountInString(s)
		if err := r.list(n); err != nil {
			return nil, err
		}
		out := make([]any, 0, n)
		for _, c := range s {
			out = append(out, string(c))
		}
		return out, nil
	}
	return nil, valuef("%s has no items", words(v))
}

// string is v as it prints, counted.
func (r *run) string(v any) (string, error) {
	if s, ok := asText(v); ok {
		return s, nil
	}
	b, err := r.print(nil, v)
	if err != nil {
		return "", err
	}
	return string(b), r.text(len(b))
}

// print appends v as Python prints it, and stops soon after maxResult bytes.
func (r *run) print(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case undefined:
		return b, nil
	case string:
		return append(b, v...), nil
	case loop:
		return b, valuef("loop cannot be printed")
	case moment:
		return append(b, v.String()...), nil
	}
	return r.repr(b, v)
}

// repr appends v as Python prints it inside a list.
func (r *run) repr(b []byte, v any) ([]byte, error) {
	if err := r.step(1); err != nil {
		return b, err
	}
	if len(b) > maxResult {
		return b, limitf("the result is longer than %d bytes", maxResult)
	}
	switch v := v.(type) {
	case nil:
		return append(b, "None"...), nil
	case bool:
		if v {
			return append(b, "True"...), nil
		}
		return append(b, "False"...), nil
	case int64:
		return strconv.AppendInt(b, v, 10), nil
	case float64:
		return appendFloat(b, v), nil
	case json.Number:
		return append(b, v...), nil
	case string:
		return appendQuoted(b, v), nil
	case list:
		b = append(b, '[')
		for i, item := range v {
			if i > 0 {
				b = append(b, ", "...)
			}
			var err error
			if b, err = r.repr(b, item); err != nil {
				return b, err
			}
		}
		return append(b, ']'), nil
	case *Map:
		b = append(b, '{')
		for i, key := range v.keys {
			if i > 0 {
				b = append(b, ", "...)
			}
			var err error
			if b, err = r.repr(b, key); err != nil {
				return b, err
			}
			b = append(b, ": "...)
			if b, err = r.repr(b, v.values[i]); err != nil {
				return b, err
			}
		}
		return append(b, '}'), nil
	case undefined:
		return append(b, "Undefined"...), nil
	case moment:
		return b, valuef("a time inside a list cannot be printed")
	}
	return b, valuef("loop cannot be printed")
}

// appendFloat prints as Python does: the shortest text that reads back as f, with a point or an exponent.
func appendFloat(b []byte, f float64) []byte {
	const plain = 1e16
	if f != 0 && (f < 1e-4 && f > -1e-4) || f >= plain || f <= -plain || f != f {
		switch {
		case f != f:
			return append(b, "nan"...)
		case f > maxFloat:
			return append(b, "inf"...)
		case f < -maxFloat:
			return append(b, "-inf"...)
		}
		return strconv.AppendFloat(b, f, 'e', -1, 64)
	}
	start := len(b)
	b = strconv.AppendFloat(b, f, 'f', -1, 64)
	if !slices.Contains(b[start:], '.') {
		b = append(b, ".0"...)
	}
	return b
}

// appendQuoted prints text as Python does inside a list.
func appendQuoted(b []byte, s string) []byte {
	quote := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	b = append(b, quote)
	for _, c := range s {
		switch {
		case c == rune(quote) || c == '\\':
			b = append(b, '\\', byte(c))
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\r':
			b = append(b, `\r`...)
		case c == '\t':
			b = append(b, `\t`...)
		case c < ' ' || c == 0x7f:
			b = fmt.Appendf(b, `\x%02x`, c)
		default:
			b = utf8.AppendRune(b, c)
		}
	}
	return append(b, quote)
}
