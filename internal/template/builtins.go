package template

import (
	"math"
	"slices"
)

// builtin is a filter, a test, a method or a function. To add one, add its line to a table below.
type builtin struct {
	params   []string // behind the input
	need     int      // how many of them must be given
	variadic bool     // more may follow
	// f gets the input (nil for a function) and one argument for each parameter, absent{} for one left out. What it makes
	// it counts first (run.text, run.list).
	f func(r *run, in any, args []any) (any, error)
}

func none(f func(r *run, in any) (any, error)) builtin {
	return builtin{f: func(r *run, in any, _ []any) (any, error) { return f(r, in) }}
}

func with(need int, f func(*run, any, []any) (any, error), params ...string) builtin {
	return builtin{params: params, need: need, f: f}
}

// check is a test that answers from the value alone.
func check(f func(v any) bool) builtin {
	return none(func(_ *run, in any) (any, error) { return f(in), nil })
}

// comparing is a test that compares with its argument.
func comparing(op string) builtin {
	return with(1, func(r *run, in any, args []any) (any, error) { return r.compare(op, in, args[0]) }, "other")
}

// The filters: those of Jinja, and those of Home Assistant that need neither a clock nor a house.
var filters = map[string]builtin{
	"abs":        none(filterAbs),
	"add":        with(1, arithmeticFilter("+"), "amount", "default"),
	"bool":       with(0, filterBool, "default"),
	"capitalize": none(textFilter(capitalize)),
	"count":      none(filterLength),
	"d":          with(0, filterDefault, "default_value", "boolean"),
	"default":    with(0, filterDefault, "default_value", "boolean"),
	"first":      none(edge(0)),
	"float":      with(0, filterFloat, "default"),
	"format":     {variadic: true, f: filterFormat},
	"iif":        with(0, iif, "if_true", "if_false", "if_none"),
	"int":        with(0, filterInt, "default", "base"),
	"is_defined": none(filterIsDefined),
	"items":      none(methodItems),
	"join":       with(0, filterJoin, "d", "attribute"),
	"last":       none(edge(-1)),
	"length":     none(filterLength),
	"list":       none(filterList),
	"lower":      none(textFilter(lower)),
	"max":        none(extreme(1)),
	"min":        none(extreme(-1)),
	"multiply":   with(1, arithmeticFilter("*"), "amount", "default"),
	"replace":    with(2, filterReplace, "old", "new", "count"),
	"reverse":    none(filterReverse),
	"round":      with(0, filterRound, "precision", "method"),
	"sort":       with(0, filterSort, "reverse"),
	"string":     none(func(r *run, in any) (any, error) { return r.string(in) }),
	"sum":        none(filterSum),
	"title":      none(textFilter(title)),
	"to_json":    none(filterJSON),
	"tojson":     none(filterJSON),
	"trim":       with(0, filterTrim, "chars"),
	"truncate":   with(0, filterTruncate, "length", "killwords", "end", "leeway"),
	"upper":      none(textFilter(upper)),
}

// The functions.
var functions = map[string]builtin{
	"bool":       with(1, of(filterBool), "value", "default"),
	"float":      with(1, of(filterFloat), "value", "default"),
	"iif":        with(1, of(iif), "value", "if_true", "if_false", "if_none"),
	"int":        with(1, of(filterInt), "value", "default", "base"),
	"is_defined": with(1, func(_ *run, _ any, args []any) (any, error) { return defined(args[0]), nil }, "value"),
	"max":        {variadic: true, f: anyOf(extreme(1))},
	"min":        {variadic: true, f: anyOf(extreme(-1))},
	"range":      with(1, rangeOf, "start", "stop", "step"),
}

// The methods of texts and objects.
var methods = map[string]builtin{
	"capitalize": none(textFilter(capitalize)),
	"endswith":   with(1, methodEndsWith, "suffix"),
	"get":        with(1, methodGet, "key", "default"),
	"items":      none(methodItems),
	"join":       with(1, methodJoin, "items"),
	"keys":       none(func(r *run, in any) (any, error) { return objectPart(r, in, func(m *Map) list { return m.keys }) }),
	"lower":      none(textFilter(lower)),
	"replace":    with(2, filterReplace, "old", "new", "count"),
	"split":      with(0, methodSplit, "sep", "maxsplit"),
	"startswith": with(1, methodStartsWith, "prefix"),
	"strip":      with(0, filterTrim, "chars"),
	"title":      none(textFilter(title)),
	"upper":      none(textFilter(upper)),
	"values":     none(func(r *run, in any) (any, error) { return objectPart(r, in, func(m *Map) list { return m.values }) }),
}

// The tests, as in "is defined".
var tests = map[string]builtin{
	"==":          comparing("=="),
	"boolean":     check(func(v any) bool { _, ok := v.(bool); return ok }),
	"defined":     check(defined),
	"divisibleby": with(1, testDivisible, "num"),
	"eq":          comparing("=="),
	"equalto":     comparing("=="),
	"even":        check(func(v any) bool { n, ok := number(v); return ok && math.Mod(n.float(), 2) == 0 }),
	"false":       check(func(v any) bool { return v == false }),
	"float":       check(func(v any) bool { n, ok := number(v); return ok && n.isFloat }),
	"ge":          comparing(">="),
	"gt":          comparing(">"),
	"in":          comparing("in"),
	"integer":     check(func(v any) bool { n, ok := number(v); _, isBool := v.(bool); return ok && !n.isFloat && !isBool }),
	"iterable":    check(func(v any) bool { _, err := new(run).items(v); return err == nil }),
	"le":          comparing("<="),
	"lower":       check(func(v any) bool { s, ok := asText(v); return ok && isCase(s, lower) }),
	"lt":          comparing("<"),
	"mapping":     check(func(v any) bool { _, ok := v.(*Map); return ok }),
	"ne":          comparing("!="),
	"none":        check(func(v any) bool { return v == nil }),
	"number":      check(func(v any) bool { _, ok := number(v); return ok }),
	"odd":         check(func(v any) bool { n, ok := number(v); return ok && math.Abs(math.Mod(n.float(), 2)) == 1 }),
	"sequence":    check(func(v any) bool { _, err := new(run).items(v); return err == nil }),
	"string":      check(func(v any) bool { _, ok := asText(v); return ok }),
	"true":        check(func(v any) bool { return v == true }),
	"undefined":   check(func(v any) bool { return !defined(v) }),
	"upper":       check(func(v any) bool { s, ok := asText(v); return ok && isCase(s, upper) }),
}

func defined(v any) bool {
	_, missing := v.(undefined)
	return !missing
}

func given(v any) bool {
	_, missing := v.(absent)
	return !missing
}

// of makes a function of a filter: its first argument is the input.
func of(f func(*run, any, []any) (any, error)) func(*run, any, []any) (any, error) {
	return func(r *run, _ any, args []any) (any, error) { return f(r, args[0], args[1:]) }
}

// anyOf makes max(a, b, c) and max([a, b, c]) of a filter.
func anyOf(f func(*run, any) (any, error)) func(*run, any, []any) (any, error) {
	return func(r *run, _ any, args []any) (any, error) {
		if len(args) == 1 {
			return f(r, args[0])
		}
		return f(r, list(slices.Clone(args)))
	}
}

// integer is an argument that must be a whole number.
func integer(v any, what string, def int64) (int64, error) {
	if !given(v) || v == nil {
		return def, nil
	}
	n, ok := number(v)
	if !ok || n.isFloat {
		return 0, valuef("%s must be a whole number, not %s", what, words(v))
	}
	return n.i, nil
}
