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

// depth is how deep arrays and objects nest in valid JSON.
func depth(raw []byte) int {
	deepest, now := 0, 0
	text := false
	for i := 0; i < len(raw); i++ {
		switch b := raw[i]; {
		case text && b == '\\':
			i++
		case b == '"':
			text = !text
		case text:
		case b == '{' || b == '[':
			now++
			deepest = max(deepest, now)
		case b == '}' || b == ']':
			now--
		}
	}
	return deepest
}
