package convention

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
)

// object decodes a payload that must be one JSON object of at most most bytes, nested at most MaxDepth deep. Numbers are
// json.Number. The depth is looked at before anything is decoded. The error is in words for people.
func object(payload []byte, most int) (map[string]any, error) {
	v, err := decode(payload, most)
	if err != nil {
		return nil, err
	}
	o, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("it is not a JSON object")
	}
	return o, nil
}

// decode is object for any JSON.
func decode(payload []byte, most int) (any, error) {
	if len(payload) > most {
		return nil, fmt.Errorf("it is longer than %d bytes", most)
	}
	depth, text := 0, false
	for i := 0; i < len(payload); i++ {
		switch c := payload[i]; {
		case text && c == '\\':
			i++
		case c == '"':
			text = !text
		case text:
		case c == '{' || c == '[':
			if depth++; depth > MaxDepth {
				return nil, fmt.Errorf("it is nested more than %d deep", MaxDepth)
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	d := json.NewDecoder(bytes.NewReader(payload))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("it is not JSON")
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("there is more behind the JSON")
	}
	return v, nil
}

// str is v if it is text, a number as it was written, or a bool; "" for anything else.
func str(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return string(v)
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

// truth is v if it is a bool, else def.
func truth(v any, def bool) bool {
	if b, ok := v.(bool); ok {
		return b
	}
	return def
}

// number is v if it is a finite number, or text that is one.
func number(v any) (float64, bool) {
	f, err := strconv.ParseFloat(str(v), 64)
	return f, err == nil && !math.IsNaN(f) && !math.IsInf(f, 0)
}

// bound is v as a bound of an argument; nil if it is no number.
func bound(v any) *float64 {
	if f, ok := number(v); ok {
		return &f
	}
	return nil
}

// whole is v as a whole number between low and high, else def.
func whole(v any, low, high, def int) int {
	f, ok := number(v)
	if !ok || f != math.Trunc(f) || f < float64(low) || f > float64(high) {
		return def
	}
	return int(f)
}

// list is v if it is a list, a list of v if it is a text, else nil.
func list(v any) []any {
	switch v := v.(type) {
	case []any:
		return v
	case string:
		return []any{v}
	}
	return nil
}

// texts are the texts and numbers of a list, clean, each once, at most most.
func texts(v any, most int) []string {
	var out []string
	for _, item := range list(v) {
		s := clean(str(item), MaxName)
		if s == "" || slices.Contains(out, s) {
			continue
		}
		if len(out) == most {
			break
		}
		out = append(out, s)
	}
	return out
}

// recall decodes a State that remember made; one that cannot be read is the zero T.
func recall[T any](s State) T {
	var v, zero T
	if len(s) == 0 || json.Unmarshal(s, &v) != nil {
		return zero
	}
	return v
}

// remember encodes v; nil if that is more than a State may hold.
func remember(v any) State {
	b, err := json.Marshal(v)
	if err != nil || len(b) > MaxState {
		return nil
	}
	return b
}
