package template

import (
	"math"
	"slices"
)

// functionOf is a filter that calculates f of one number, with a default for what is none.
func functionOf(f func(x float64, arg num) float64) func(*run, any, []any) (any, error) {
	return func(_ *run, in any, args []any) (any, error) {
		n, ok := loose(in)
		arg := num{f: math.E, isFloat: true}
		okArg := true
		if len(args) > 1 && given(args[0]) {
			arg, okArg = loose(args[0])
		}
		if ok && okArg {
			if v := f(n.float(), arg); !math.IsNaN(v) && !math.IsInf(v, 0) {
				return v, nil
			}
		}
		if def := args[len(args)-1]; given(def) {
			return def, nil
		}
		return nil, valuef("this cannot be calculated of %s", words(in))
	}
}

func logarithm(x float64, base num) float64 {
	switch base.float() {
	case 2:
		return math.Log2(x)
	case 10:
		return math.Log10(x)
	}
	return math.Log(x) / math.Log(base.float())
}

// numbersOf are the items of a list, which must all be numbers.
func (r *run) numbersOf(in any) ([]float64, error) {
	items, err := r.items(in)
	if err != nil {
		return nil, err
	}
	if err := r.list(len(items)); err != nil {
		return nil, err
	}
	out := make([]float64, 0, len(items))
	for _, v := range items {
		n, ok := number(v)
		if !ok {
			return nil, valuef("%s is not a number", words(v))
		}
		out = append(out, n.float())
	}
	return out, nil
}

// average and median are of a list of numbers; the default is for an empty one.
func average(r *run, in any, args []any) (any, error) {
	all, err := r.numbersOf(in)
	if err != nil || len(all) == 0 {
		return noNumbers(args[0], err)
	}
	sum := 0.0
	for _, f := range all {
		sum += f
	}
	return meanValue(in, sum/float64(len(all)))
}

func median(r *run, in any, args []any) (any, error) {
	all, err := r.numbersOf(in)
	if err != nil || len(all) == 0 {
		return noNumbers(args[0], err)
	}
	slices.Sort(all)
	if k := len(all) / 2; len(all)%2 == 1 {
		return meanValue(in, all[k])
	}
	return finite((all[len(all)/2-1] + all[len(all)/2]) / 2)
}

// meanValue is a whole number where Python's statistics says so: of whole numbers with a whole mean.
func meanValue(in any, f float64) (any, error) {
	l, _ := in.(list)
	whole := f == math.Trunc(f) && math.Abs(f) < 1<<53
	for _, v := range l {
		n, _ := number(v)
		whole = whole && !n.isFloat
	}
	if whole && len(l) > 0 {
		return int64(f), nil
	}
	return finite(f)
}

func noNumbers(def any, err error) (any, error) {
	if given(def) {
		return def, nil
	}
	if err == nil {
		err = valuef("there are no numbers to calculate with")
	}
	return nil, err
}

// bitwise is bitwise_and, bitwise_or and bitwise_xor.
func bitwise(f func(a, b int64) int64) func(*run, any, []any) (any, error) {
	return func(_ *run, in any, args []any) (any, error) {
		a, okA := loose(in)
		b, okB := loose(args[0])
		if !okA || !okB || a.isFloat || b.isFloat {
			return nil, valuef("bits are those of whole numbers, not of %s and %s", words(in), words(args[0]))
		}
		return f(a.i, b.i), nil
	}
}

// isNumber is what Home Assistant calls so: a number, or text that is one.
func isNumber(v any) bool {
	if _, isBool := v.(bool); isBool {
		return true
	}
	n, ok := loose(v)
	return ok && !math.IsInf(n.float(), 0) && !math.IsNaN(n.float())
}
