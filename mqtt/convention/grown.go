package convention

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// grown are the readings of a device that announces none: they are learned from its messages. A name is a reading's; the
// kind is that of its first value, and Text once another kind came.
type grown map[string]ReadingKind

const maxGrown = 128 // readings of a device, and values of a message

// learn adds the members of o to the readings known, and gives their values. Members of members, and items of short lists,
// are named after both. What grew tells that the device has changed.
func (g grown) learn(o map[string]any) (next grown, values []Value, grew bool) {
	next = maps.Clone(g)
	if next == nil {
		next = grown{}
	}
	var walk func(name string, v any, depth int)
	walk = func(name string, v any, depth int) {
		kind, text := Text, ""
		switch v := v.(type) {
		case map[string]any:
			for _, k := range slices.Sorted(maps.Keys(v)) {
				if depth < 4 {
					walk(strings.TrimPrefix(name+"_"+k, "_"), v[k], depth+1)
				}
			}
			return
		case []any:
			for i, item := range v[:min(len(v), 8)] {
				if depth < 4 {
					walk(name+"_"+strconv.Itoa(i+1), item, depth+1)
				}
			}
			return
		case json.Number:
			if _, ok := number(v); !ok {
				return
			}
			kind, text = Number, str(v)
		case bool:
			kind, text = OnOff, str(v)
		case string:
			text = clean(v, MaxName)
		default:
			return
		}
		name = word(name)
		old, known := next[name]
		switch {
		case name == "" || len(values) == maxGrown || !known && len(next) == maxGrown:
			return
		case slices.ContainsFunc(values, func(v Value) bool { return v.Reading == name }):
			return
		case !known:
			next[name], grew = kind, true
		case old != kind && old != Text:
			next[name], grew = Text, true
		}
		values = append(values, Value{name, text})
	}
	walk("", o, 0)
	return next, values, grew
}

// readings describes what is known, in the order of names.
func (g grown) readings() []Reading {
	var out []Reading
	for _, name := range slices.Sorted(maps.Keys(g)) {
		r := Reading{Name: name, Label: spoken(name), Kind: g[name], Precision: -1}
		switch r.Kind {
		case OnOff:
			r.On, r.Off, r.Quantity = "true", "false", zigbeeBinary[name]
		case Number:
			r.Quantity = quantityOf(name, "")
		}
		out = append(out, r)
	}
	return out
}

// alarms are those readings that sound like one.
func (g grown) alarms() []AlarmRule {
	var out []AlarmRule
	for _, name := range slices.Sorted(maps.Keys(g)) {
		if text := alarmOf(name); text != "" && g[name] == OnOff {
			out = append(out, AlarmRule{Name: name, Label: text, Reading: name, Is: []string{"true"}})
		}
	}
	return out
}
