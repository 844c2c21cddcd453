package matrix

import (
	"encoding/json"
	"strconv"
)

// object is a JSON object whose keys are compared exactly. Structs are not used for events: encoding/json would also take
// "Sender" for "sender", and a foreign homeserver may put both into an event.
type object map[string]json.RawMessage

func (o object) text(key string) string {
	var s string
	if json.Unmarshal(o[key], &s) != nil {
		return ""
	}
	return s
}

func (o object) object(key string) object {
	var in object
	if json.Unmarshal(o[key], &in) != nil {
		return nil
	}
	return in
}

// integer reads an integer that fits; floats, huge ones and texts are not integers.
func (o object) integer(key string) (int64, bool) {
	n, err := strconv.ParseInt(string(o[key]), 10, 64)
	return n, err == nil
}

// level reads a power level: an integer, or (in old room versions) a text that holds one.
func level(raw json.RawMessage) (int, bool) {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		s = string(raw)
	}
	n, err := strconv.ParseInt(s, 10, 54)
	return int(n), err == nil
}

// nesting walks over JSON and calls f for each byte with how deep it is: a bracket counts as inside of what it opens or
// closes. It needs no stack, whatever it is given.
func nesting(raw []byte, f func(b byte, deep int, opens bool)) {
	now, text := 0, false
	for i := 0; i < len(raw); i++ {
		b := raw[i]
		opens := !text && (b == '{' || b == '[')
		if opens {
			now++
		}
		f(b, now, opens)
		switch {
		case text && b == '\\' && i+1 < len(raw):
			i++
			f(raw[i], now, false)
		case b == '"':
			text = !text
		case !text && (b == '}' || b == ']'):
			now--
		}
	}
}

// depth is how deep arrays and objects nest in raw.
func depth(raw []byte) int {
	deepest := 0
	nesting(raw, func(_ byte, deep int, _ bool) { deepest = max(deepest, deep) })
	return deepest
}

// prune puts null in place of all that is nested deeper than limit. encoding/json refuses a text as a whole when any part
// of it is deeper than 10 000, so that one event could block all that come after it.
func prune(raw []byte, limit int) []byte {
	if depth(raw) <= limit {
		return raw
	}
	out := make([]byte, 0, len(raw))
	nesting(raw, func(b byte, deep int, opens bool) {
		switch {
		case deep <= limit:
			out = append(out, b)
		case opens && deep == limit+1:
			out = append(out, "null"...)
		}
	})
	return out
}
