package template

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

func needDefined(v any) error {
	if u, ok := v.(undefined); ok {
		return valuef("%s is undefined", u.what)
	}
	return nil
}

// A number filter, of text too: "21.5" counts as 21.5.
func loose(v any) (num, bool) {
	if s, ok := v.(string); ok {
		return parseNumber(s)
	}
	return number(v)
}

func filterAbs(_ *run, in any) (any, error) {
	n, ok := number(in)
	if !ok {
		return nil, valuef("%s has no absolute value; | float makes a number of text", words(in))
	}
	if n.isFloat {
		return math.Abs(n.f), nil
	}
	if n.i < 0 {
		return arithmetic("-", num{}, n)
	}
	return n.i, nil
}

// arithmeticFilter is multiply and add of Home Assistant.
func arithmeticFilter(op string) func(*run, any, []any) (any, error) {
	return func(_ *run, in any, args []any) (any, error) {
		x, ok := loose(in)
		y, okY := loose(args[0])
		if ok && okY {
			return arithmetic(op, num{f: x.float(), isFloat: true}, y)
		}
		if given(args[1]) {
			return args[1], nil
		}
		return nil, valuef("%s is not a number, and no default is given", words(in))
	}
}

func filterBool(_ *run, in any, args []any) (any, error) {
	if s, ok := asText(in); ok {
		switch strings.ToLower(strings.TrimSpace(s)) {
		case "true", "yes", "on", "enable", "1":
			return true, nil
		case "false", "no", "off", "disable", "0":
			return false, nil
		}
	}
	if n, ok := number(in); ok {
		return n.float() != 0, nil
	}
	if given(args[0]) {
		return args[0], nil
	}
	return nil, valuef("%s is neither true nor false", words(in))
}

func filterDefault(_ *run, in any, args []any) (any, error) {
	if defined(in) && (!given(args[1]) || !truth(args[1]) || truth(in)) {
		return in, nil
	}
	if given(args[0]) {
		return args[0], nil
	}
	return "", nil
}

func filterFloat(_ *run, in any, args []any) (any, error) {
	if err := needDefined(in); err != nil && !given(args[0]) {
		return nil, err
	}
	if n, ok := loose(in); ok {
		return n.float(), nil
	}
	if given(args[0]) {
		return args[0], nil
	}
	return nil, valuef("%s is not a number, and no default is given", words(in))
}

func filterInt(_ *run, in any, args []any) (any, error) {
	if err := needDefined(in); err != nil && !given(args[0]) {
		return nil, err
	}
	base, err := integer(args[1], "the base", 10)
	if err != nil {
		return nil, err
	}
	if s, ok := in.(string); ok && base != 10 && (base == 0 || base >= 2 && base <= 36) {
		s = strings.ToLower(strings.TrimSpace(s))
		if p, ok := map[int64]string{16: "0x", 8: "0o", 2: "0b"}[base]; ok {
			s = strings.TrimPrefix(s, p)
		}
		if i, err := strconv.ParseInt(s, int(base), 64); err == nil {
			return i, nil
		}
	} else if n, ok := loose(in); ok {
		switch {
		case !n.isFloat:
			return n.i, nil
		case math.Abs(n.f) < 1<<63:
			return int64(n.f), nil
		}
	}
	if given(args[0]) {
		return args[0], nil
	}
	return nil, valuef("%s is not a whole number, and no default is given", words(in))
}

func filterRound(_ *run, in any, args []any) (any, error) {
	n, ok := loose(in)
	if !ok {
		if given(args[2]) {
			return args[2], nil
		}
		return nil, valuef("%s cannot be rounded", words(in))
	}
	places, err := integer(args[0], "the precision", 0)
	if err != nil {
		return nil, err
	}
	if !n.isFloat && places == 0 {
		return n.i, nil
	}
	precision := int(max(min(places, 300), -300))
	f := n.float()
	method, _ := args[1].(string)
	switch method {
	case "ceil", "floor":
		scale := math.Pow(10, float64(precision))
		if method == "ceil" {
			f = math.Ceil(f*scale) / scale
		} else {
			f = math.Floor(f*scale) / scale
		}
	case "half": // to the nearest half
		f = math.RoundToEven(f*2) / 2
	case "", "common":
		if precision >= 0 { // exact to the decimal digit, half to even, as Python does
			f, err = strconv.ParseFloat(strconv.FormatFloat(f, 'f', precision, 64), 64)
		} else {
			scale := math.Pow(10, float64(-precision))
			f = math.RoundToEven(f/scale) * scale
		}
	default:
		return nil, valuef("round knows the methods common, ceil, floor and half")
	}
	if err != nil {
		return nil, valuef("this cannot be rounded")
	}
	if precision == 0 && math.Abs(f) < 1<<63 {
		return int64(f), nil
	}
	return finite(f)
}

func filterLength(r *run, in any) (any, error) {
	if in == nil {
		return nil, valuef("none has no length")
	}
	if s, ok := asText(in); ok {
		return int64(utf8.RuneCountInString(s)), r.step(1 + len(s)/64)
	}
	items, err := r.items(in)
	return int64(len(items)), err
}

func filterList(r *run, in any) (any, error) {
	items, err := r.items(in)
	if err != nil {
		return nil, err
	}
	return list(items), r.list(len(items))
}

// edge is first and last.
func edge(i int64) func(*run, any) (any, error) {
	return func(r *run, in any) (any, error) {
		items, err := r.items(in)
		if err != nil {
			return nil, err
		}
		if len(items) == 0 {
			return undefined{"an item of nothing"}, nil
		}
		k, _ := index(i, len(items))
		return items[k], nil
	}
}

// extreme is min (-1) and max (1).
func extreme(sign int) func(*run, any) (any, error) {
	return func(r *run, in any) (any, error) {
		items, err := r.items(in)
		if err != nil {
			return nil, err
		}
		var best any = undefined{"an item of nothing"}
		for i, v := range items {
			if i > 0 {
				c, err := r.order(v, best)
				if err != nil {
					return nil, err
				}
				if c*sign <= 0 {
					continue
				}
			}
			best = v
		}
		return best, nil
	}
}

func filterSum(r *run, in any) (any, error) {
	items, err := r.items(in)
	if err != nil {
		return nil, err
	}
	var sum any = int64(0)
	for _, v := range items {
		if err := r.step(1); err != nil {
			return nil, err
		}
		x, _ := number(sum)
		y, ok := number(v)
		if !ok {
			return nil, valuef("%s is not a number", words(v))
		}
		if sum, err = arithmetic("+", x, y); err != nil {
			return nil, err
		}
	}
	return sum, nil
}

func filterReverse(r *run, in any) (any, error) {
	items, err := r.items(in)
	if err != nil {
		return nil, err
	}
	if err := r.list(len(items)); err != nil {
		return nil, err
	}
	if _, ok := asText(in); ok {
		var b strings.Builder
		for _, c := range slices.Backward(items) {
			b.WriteString(c.(string)) // items of a text are texts
		}
		return b.String(), nil
	}
	out := slices.Clone(items)
	slices.Reverse(out)
	return list(out), nil
}

func filterSort(r *run, in any, args []any) (any, error) {
	items, err := r.items(in)
	if err != nil {
		return nil, err
	}
	if err := r.list(len(items)); err != nil {
		return nil, err
	}
	out := slices.Clone(items)
	var failed error
	slices.SortStableFunc(out, func(a, b any) int {
		if failed != nil {
			return 0
		}
		if s, ok := a.(string); ok { // as Jinja: upper and lower case count as the same
			if t, ok := b.(string); ok {
				a, b = strings.ToLower(s), strings.ToLower(t)
			}
		}
		c, err := r.order(a, b)
		if err != nil {
			failed = err
		}
		if given(args[0]) && truth(args[0]) {
			return -c
		}
		return c
	})
	return list(out), failed
}

func filterIsDefined(_ *run, in any) (any, error) { return in, needDefined(in) }

// iif is the inline if of Home Assistant.
func iif(_ *run, in any, args []any) (any, error) {
	choose := func(v, def any) (any, error) {
		if given(v) {
			return v, nil
		}
		return def, nil
	}
	if in == nil && given(args[2]) {
		return args[2], nil
	}
	if truth(in) {
		return choose(args[0], true)
	}
	return choose(args[1], false)
}

// jsonStyle is how JSON looks: as Python writes it, with spaces, and as Jinja does for HTML, with < > & ' escaped; or compact.
type jsonStyle struct{ comma, colon string }

var (
	spacious = jsonStyle{", ", ": "} // tojson
	compact  = jsonStyle{",", ":"}   // to_json
)

func jsonFilter(style jsonStyle) func(*run, any) (any, error) {
	return func(r *run, in any) (any, error) {
		b, err := r.json(nil, in, style)
		if err != nil {
			return nil, err
		}
		return string(b), r.text(len(b))
	}
}

// jsonText appends s in quotes.
func jsonText(b []byte, s string, style jsonStyle) ([]byte, error) {
	if style == spacious {
		q, err := json.Marshal(s) // escapes < > &
		return append(b, bytes.ReplaceAll(q, []byte("'"), []byte(`\u0027`))...), err
	}
	var plain bytes.Buffer
	e := json.NewEncoder(&plain)
	e.SetEscapeHTML(false)
	err := e.Encode(s)
	return append(b, bytes.TrimSuffix(plain.Bytes(), []byte("\n"))...), err
}

// json appends v as JSON.
func (r *run) json(b []byte, v any, style jsonStyle) ([]byte, error) {
	if err := r.step(1); err != nil {
		return b, err
	}
	if len(b) > maxResult {
		return b, limitf("text longer than %d bytes", maxResult)
	}
	var err error
	switch v := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case int64:
		return strconv.AppendInt(b, v, 10), nil
	case float64:
		return appendFloat(b, v), nil
	case json.Number:
		return append(b, v...), nil
	case string:
		return jsonText(b, v, style)
	case list:
		b = append(b, '[')
		for i, item := range v {
			if i > 0 {
				b = append(b, style.comma...)
			}
			if b, err = r.json(b, item, style); err != nil {
				return b, err
			}
		}
		return append(b, ']'), nil
	case *Map:
		b = append(b, '{')
		for i, key := range v.keys {
			if i > 0 {
				b = append(b, style.comma...)
			}
			k, err := r.string(key)
			if err != nil {
				return b, err
			}
			if b, err = r.json(b, k, style); err != nil {
				return b, err
			}
			b = append(b, style.colon...)
			if b, err = r.json(b, v.values[i], style); err != nil {
				return b, err
			}
		}
		return append(b, '}'), nil
	}
	return b, valuef("%s has no form in JSON", words(v))
}

func rangeOf(r *run, _ any, args []any) (any, error) {
	start, err := integer(args[0], "start", 0)
	if err != nil {
		return nil, err
	}
	stop, err := integer(args[1], "stop", 0)
	if err != nil {
		return nil, err
	}
	step, err := integer(args[2], "step", 1)
	if err != nil {
		return nil, err
	}
	if !given(args[1]) {
		start, stop = 0, start
	}
	if step == 0 {
		return nil, valuef("the step of range cannot be 0")
	}
	n := math.Ceil((float64(stop) - float64(start)) / float64(step))
	if n > maxItems {
		return nil, limitf("range of more than %d numbers", maxItems)
	}
	if err := r.list(int(max(n, 0))); err != nil {
		return nil, err
	}
	out := list{}
	for k := range int(max(n, 0)) {
		out = append(out, start+int64(k)*step)
	}
	return out, nil
}

func testDivisible(_ *run, in any, args []any) (any, error) {
	x, ok := number(in)
	y, okY := number(args[0])
	if !ok || !okY {
		return nil, valuef("divisibleby needs two numbers")
	}
	v, err := arithmetic("%", x, y)
	if err != nil {
		return nil, err
	}
	return !truth(v), nil
}
