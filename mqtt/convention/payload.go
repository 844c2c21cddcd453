package convention

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"
)

// What several conventions make templates of. All of it is Jinja source.

// field is a member of a JSON object in a payload template: its name and the source of its value, which is JSON.
type field struct {
	name, source string
	optional     string // the argument without which the field is left out; "" it is always there
}

// jsonObject is source that renders to a JSON object. The first field is never optional.
func jsonObject(fields ...field) string {
	var b strings.Builder
	b.WriteByte('{')
	for i, f := range fields {
		if f.optional != "" && i > 0 {
			b.WriteString("{% if " + f.optional + " is defined %}")
		}
		if i > 0 {
			b.WriteByte(',')
		}
		name := jsonLiteral(f.name)
		if strings.HasPrefix(name, "{") {
			name = " " + name // else three braces would stand together
		}
		b.WriteString(name + ":" + f.source)
		if f.optional != "" && i > 0 {
			b.WriteString("{% endif %}")
		}
	}
	b.WriteByte('}')
	return b.String()
}

// jsonLiteral is source that renders to v as JSON, whatever is in it.
func jsonLiteral(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return "null" // no text, number or bool gets here
	}
	if strings.Contains(string(b), "{") {
		if s, ok := v.(string); ok {
			return "{{ " + quote(s) + " | tojson }}"
		}
	}
	return string(b)
}

// jsonValue is source for the value of an argument as JSON: numbers, and texts that are all JSON words already (true,
// false, numbers), as they are.
func jsonValue(a Arg) string {
	if a.Kind == Number || a.Kind == OnOff && bare(a.On) && bare(a.Off) || a.Kind == Option && allBare(a.Options) {
		return "{{ " + a.Name + " }}"
	}
	return "{{ " + a.Name + " | tojson }}"
}

// bare tells whether s is true, false or a number in JSON.
func bare(s string) bool {
	if s == "true" || s == "false" {
		return true
	}
	return s != "" && strings.Trim(s, "0123456789.-") == "" && json.Valid([]byte(s))
}

func allBare(all []string) bool {
	for _, s := range all {
		if !bare(s) {
			return false
		}
	}
	return len(all) > 0
}

// rendered is how a template prints a JSON value: Jinja writes booleans as True and False.
func rendered(v any) string {
	switch v {
	case true:
		return "True"
	case false:
		return "False"
	}
	return str(v)
}

// inner is source for a member of an object inside value_json that may be missing.
func inner(keys ...string) string {
	if len(keys) < 2 {
		return path(keys...)
	}
	return "{% if " + access(keys[:len(keys)-1]...) + " %}" + path(keys...) + "{% endif %}"
}

// unique gives names that are each taken once: a second "state" becomes "state_2".
type unique map[string]bool

// name makes a [a-z0-9_]+ of s that was not given before; fallback stands for one without any letter.
func (u unique) name(s, fallback string) string {
	base := word(s)
	if base == "" {
		base = fallback
	}
	name := base
	for i := 2; u[name]; i++ {
		name = strings.TrimRight(cut(base, MaxWord-6), "_") + "_" + strconv.Itoa(i)
	}
	u[name] = true
	return name
}

// spoken makes a label of a technical name: "power_on_behavior" is "Power on behavior".
func spoken(name string) string {
	s := label(strings.NewReplacer("_", " ", "-", " ").Replace(name))
	if s == "" {
		return s
	}
	_, n := utf8.DecodeRuneInString(s)
	return strings.ToUpper(s[:n]) + s[n:]
}

// lowered is a label inside a sentence: "Mode" is "mode", "PIN code" stays.
func lowered(s string) string {
	if len(s) > 1 && s[0] >= 'A' && s[0] <= 'Z' && (s[1] < 'A' || s[1] > 'Z') {
		return strings.ToLower(s[:1]) + s[1:]
	}
	return s
}

// ordered drops bounds of which the lower one is above the upper one.
func (a *Arg) ordered() {
	if a.Min != nil && a.Max != nil && *a.Min > *a.Max {
		a.Min, a.Max = nil, nil
	}
}
