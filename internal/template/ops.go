package template

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

const maxFloat = math.MaxFloat64

// num is a number in a calculation: an integer until something makes it a float.
type num struct {
	i       int64
	f       float64
	isFloat bool
}

func (n num) float() float64 {
	if n.isFloat {
		return n.f
	}
	return float64(n.i)
}

func (n num) value() any {
	if n.isFloat {
		return n.f
	}
	return n.i
}

// number is v as a number, if it is one; true and false are 1 and 0.
func number(v any) (num, bool) {
	switch v := v.(type) {
	case int64:
		return num{i: v}, true
	case float64:
		return num{f: v, isFloat: true}, true
	case bool:
		if v {
			return num{i: 1}, true
		}
		return num{}, true
	case json.Number:
		return parseNumber(string(v))
	}
	return num{}, false
}

// parseNumber reads a number as people and JSON write it; not hexadecimal, not "inf".
func parseNumber(s string) (num, bool) {
	s = strings.TrimSpace(s)
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return num{i: i}, true
	}
	if strings.IndexFunc(s, func(c rune) bool { return !strings.ContainsRune("0123456789+-.eE", c) }) >= 0 {
		return num{}, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return num{f: f, isFloat: true}, err == nil
}

// binary calculates one operator.
func (r *run) binary(op string, a, b any) (any, error) {
	if op == "~" {
		return r.join(a, b)
	}
	for _, v := range []any{a, b} {
		if u, ok := v.(undefined); ok {
			return nil, valuef("%s is undefined", u.what)
		}
	}
	x, okX := number(a)
	y, okY := number(b)
	if okX && okY {
		return arithmetic(op, x, y)
	}
	switch op {
	case "+":
		la, okA := a.(list)
		lb, okB := b.(list)
		if okA && okB {
			if err := r.list(len(la) + len(lb)); err != nil {
				return nil, err
			}
			return append(la[:len(la):len(la)], lb...), nil
		}
		_, okA = asText(a)
		_, okB = asText(b)
		if okA && okB {
			return r.join(a, b)
		}
	case "*":
		if okX {
			a, b, y = b, a, x
		}
		if v, ok, err := r.repeat(a, y); ok && okX != okY {
			return v, err
		}
	case "%":
		if s, ok := a.(string); ok {
			return r.format(s, []any{b})
		}
	}
	hint := ""
	if _, ok := a.(string); ok || okX {
		if _, ok := b.(string); ok || okY {
			hint = "; ~ joins text, | float makes a number of text"
		}
	}
	return nil, valuef("%s does not work between %s and %s%s", op, words(a), words(b), hint)
}

func (r *run) join(a, b any) (any, error) {
	s, err := r.string(a)
	if err != nil {
		return nil, err
	}
	t, err := r.string(b)
	if err != nil {
		return nil, err
	}
	if err := r.text(len(s) + len(t)); err != nil {
		return nil, err
	}
	return s + t, nil
}

// repeat is 'ab' * 3 and [1] * 3; ok is false for anything else.
func (r *run) repeat(v any, n num) (out any, ok bool, err error) {
	if n.isFloat {
		return nil, false, nil
	}
	times := int(min(max(n.i, 0), maxCount))
	switch v := v.(type) {
	case string:
		if len(v) == 0 || times == 0 {
			return "", true, nil
		}
		if times > maxResult/len(v) {
			return nil, true, limitf("text longer than %d bytes", maxResult)
		}
		return strings.Repeat(v, times), true, r.text(times * len(v))
	case list:
		if len(v) == 0 || times == 0 {
			return list(nil), true, nil
		}
		if times > maxItems/len(v) {
			return nil, true, limitf("a list of more than %d items", maxItems)
		}
		l := make(list, 0, times*len(v))
		for range times {
			l = append(l, v...)
		}
		return l, true, r.list(len(l))
	}
	return nil, false, nil
}

// arithmetic is Python's: / is always exact, // and % round towards minus infinity.
func arithmetic(op string, x, y num) (any, error) {
	if (op == "/" || op == "//" || op == "%") && y.float() == 0 {
		return nil, valuef("division by zero")
	}
	if op == "/" {
		return finite(x.float() / y.float())
	}
	if x.isFloat || y.isFloat {
		a, b := x.float(), y.float()
		switch op {
		case "+":
			return finite(a + b)
		case "-":
			return finite(a - b)
		case "*":
			return finite(a * b)
		case "//":
			return finite(math.Floor(a / b))
		case "%":
			m := math.Mod(a, b)
			if m != 0 && (m < 0) != (b < 0) {
				m += b
			}
			return m, nil
		}
		return power(x, y)
	}
	a, b := x.i, y.i
	switch op {
	case "+":
		if c := a + b; (c > a) == (b > 0) {
			return c, nil
		}
	case "-":
		if c := a - b; (c < a) == (b > 0) {
			return c, nil
		}
	case "*":
		if c := a * b; a == 0 || c/a == b && (a != -1 || b != math.MinInt64) {
			return c, nil
		}
	case "//":
		if b == -1 {
			return arithmetic("-", num{}, x)
		}
		q := a / b
		if a%b != 0 && (a < 0) != (b < 0) {
			q--
		}
		return q, nil
	case "%":
		if b == -1 {
			return int64(0), nil
		}
		m := a % b
		if m != 0 && (m < 0) != (b < 0) {
			m += b
		}
		return m, nil
	default:
		return power(x, y)
	}
	return nil, limitf("the result of %s is too large a number", op)
}

// power keeps whole numbers whole as long as they fit.
func power(x, y num) (any, error) {
	if x.isFloat || y.isFloat || y.i < 0 {
		if x.float() == 0 && y.float() < 0 {
			return nil, valuef("division by zero")
		}
		return finite(math.Pow(x.float(), y.float()))
	}
	var out any = int64(1)
	var err error
	base := any(x.i)
	for n := y.i; n > 0; n >>= 1 { // at most 63 turns
		b, _ := number(base)
		if n&1 == 1 {
			o, _ := number(out)
			if out, err = arithmetic("*", o, b); err != nil {
				return nil, err
			}
		}
		if n > 1 {
			if base, err = arithmetic("*", b, b); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

func finite(f float64) (any, error) {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return nil, limitf("the result is too large a number")
	}
	return f, nil
}

// equal compares by value: numbers with numbers, text with text; a number that came as text equals both.
func (r *run) equal(a, b any) (bool, error) {
	if err := r.step(1); err != nil {
		return false, err
	}
	s, okS := asText(a)
	t, okT := asText(b)
	if okS && okT && s == t {
		return true, nil
	}
	if x, ok := number(a); ok {
		if y, ok := number(b); ok {
			if x.isFloat || y.isFloat {
				return x.float() == y.float(), nil
			}
			return x.i == y.i, nil
		}
	}
	switch a := a.(type) {
	case nil:
		return b == nil, nil
	case undefined:
		_, ok := b.(undefined)
		return ok, nil
	case list:
		b, ok := b.(list)
		if !ok || len(a) != len(b) {
			return false, nil
		}
		for i := range a {
			if ok, err := r.equal(a[i], b[i]); !ok || err != nil {
				return false, err
			}
		}
		return true, nil
	case *Map:
		b, ok := b.(*Map)
		if !ok || len(a.keys) != len(b.keys) {
			return false, nil
		}
		for i, k := range a.keys {
			v, found := b.get(k)
			if !found {
				return false, nil
			}
			if ok, err := r.equal(a.values[i], v); !ok || err != nil {
				return false, err
			}
		}
		return true, nil
	}
	return false, nil
}

// order is negative, 0 or positive as a is less than, equal to or greater than b.
func (r *run) order(a, b any) (int, error) {
	if err := r.step(1); err != nil {
		return 0, err
	}
	for _, v := range []any{a, b} {
		if u, ok := v.(undefined); ok {
			return 0, valuef("%s is undefined", u.what)
		}
	}
	if x, ok := number(a); ok {
		if y, ok := number(b); ok {
			switch d := x.float() - y.float(); {
			case !x.isFloat && !y.isFloat && x.i != y.i:
				if x.i < y.i {
					return -1, nil
				}
				return 1, nil
			case d < 0:
				return -1, nil
			case d > 0:
				return 1, nil
			case d == 0:
				return 0, nil
			}
			return 0, valuef("what is not a number has no order")
		}
	}
	if s, ok := asText(a); ok {
		if t, ok := asText(b); ok {
			return strings.Compare(s, t), nil
		}
	}
	if x, ok := a.(list); ok {
		if y, ok := b.(list); ok {
			for i := range min(len(x), len(y)) {
				if c, err := r.order(x[i], y[i]); c != 0 || err != nil {
					return c, err
				}
			}
			return len(x) - len(y), nil
		}
	}
	hint := ""
	if words(a) == "text" || words(b) == "text" {
		hint = "; | float makes a number of text"
	}
	return 0, valuef("%s and %s have no order%s", words(a), words(b), hint)
}

// contains is "needle in hay".
func (r *run) contains(hay, needle any) (bool, error) {
	if s, ok := asText(hay); ok {
		n, ok := asText(needle)
		if !ok {
			return false, valuef("only text can be in text, not %s", words(needle))
		}
		return strings.Contains(s, n), r.step(1 + len(s)/64)
	}
	switch hay := hay.(type) {
	case undefined:
		return false, nil
	case *Map:
		_, ok := hay.get(needle)
		return ok, r.step(1)
	case list:
		for _, v := range hay {
			if ok, err := r.equal(v, needle); ok || err != nil {
				return ok, err
			}
		}
		return false, nil
	}
	return false, valuef("nothing can be in %s", words(hay))
}
