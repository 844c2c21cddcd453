package template

import (
	"math"
	"slices"
	"strings"
	"unicode"
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
	"abs":                 none(filterAbs),
	"add":                 with(1, arithmeticFilter("+"), "amount", "default"),
	"as_datetime":         with(0, asDatetime, "default"),
	"as_timestamp":        with(0, asTimestamp, "default"),
	"average":             with(0, average, "default"),
	"base64_decode":       none(base64Decode),
	"base64_encode":       none(base64Encode),
	"bitwise_and":         with(1, bitwise(func(a, b int64) int64 { return a & b }), "other"),
	"bitwise_or":          with(1, bitwise(func(a, b int64) int64 { return a | b }), "other"),
	"bitwise_xor":         with(1, bitwise(func(a, b int64) int64 { return a ^ b }), "other"),
	"bool":                with(0, filterBool, "default"),
	"capitalize":          none(textFilter(capitalize)),
	"contains":            with(1, func(r *run, in any, args []any) (any, error) { return r.contains(in, args[0]) }, "value"),
	"cos":                 with(0, functionOf(func(x float64, _ num) float64 { return math.Cos(x) }), "default"),
	"count":               none(filterLength),
	"d":                   with(0, filterDefault, "default_value", "boolean"),
	"default":             with(0, filterDefault, "default_value", "boolean"),
	"dictsort":            none(dictSort),
	"first":               none(edge(0)),
	"float":               with(0, filterFloat, "default"),
	"format":              {variadic: true, f: filterFormat},
	"from_json":           with(0, fromJSON, "default"),
	"iif":                 with(0, iif, "if_true", "if_false", "if_none"),
	"int":                 with(0, filterInt, "default", "base"),
	"is_defined":          none(filterIsDefined),
	"is_number":           check(isNumber),
	"items":               none(methodItems),
	"join":                with(0, filterJoin, "d", "attribute"),
	"last":                none(edge(-1)),
	"length":              none(filterLength),
	"list":                none(filterList),
	"log":                 with(0, functionOf(logarithm), "base", "default"),
	"lower":               none(textFilter(lower)),
	"map":                 {params: []string{"filter", "attribute", "default"}, variadic: true, f: mapFilter},
	"max":                 none(extreme(1)),
	"median":              with(0, median, "default"),
	"min":                 none(extreme(-1)),
	"multiply":            with(1, arithmeticFilter("*"), "amount", "default"),
	"ord":                 none(ordinalOf),
	"regex_findall":       with(0, regexFindAll, "find", "ignorecase"),
	"regex_findall_index": with(0, regexFindAllIndex, "find", "index", "ignorecase"),
	"regex_match":         with(1, regexTest(false), "find", "ignorecase"),
	"regex_replace":       with(0, regexReplace, "find", "replace", "ignorecase"),
	"regex_search":        with(1, regexTest(true), "find", "ignorecase"),
	"reject":              picked(false, false),
	"rejectattr":          picked(false, true),
	"replace":             with(2, filterReplace, "old", "new", "count"),
	"reverse":             none(filterReverse),
	"round":               with(0, filterRound, "precision", "method", "default"),
	"select":              picked(true, false),
	"selectattr":          picked(true, true),
	"sin":                 with(0, functionOf(func(x float64, _ num) float64 { return math.Sin(x) }), "default"),
	"sort":                with(0, filterSort, "reverse"),
	"sqrt":                with(0, functionOf(func(x float64, _ num) float64 { return math.Sqrt(x) }), "default"),
	"string":              none(func(r *run, in any) (any, error) { return r.string(in) }),
	"sum":                 none(filterSum),
	"timestamp_custom":    with(1, timestampCustom, "format", "local", "default"),
	"timestamp_utc":       with(0, timestampUTC, "default"),
	"title":               none(textFilter(title)),
	"to_json":             none(jsonFilter(compact)),
	"tojson":              none(jsonFilter(spacious)),
	"trim":                with(0, filterTrim, "chars"),
	"truncate":            with(0, filterTruncate, "length", "killwords", "end", "leeway"),
	"unique":              none(unique),
	"upper":               none(textFilter(upper)),
}

// The functions.
var functions = map[string]builtin{
	"as_datetime":  with(1, of(asDatetime), "value", "default"),
	"as_timestamp": with(1, of(asTimestamp), "value", "default"),
	"average":      with(1, of(average), "values", "default"),
	"bool":         with(1, of(filterBool), "value", "default"),
	"float":        with(1, of(filterFloat), "value", "default"),
	"iif":          with(1, of(iif), "value", "if_true", "if_false", "if_none"),
	"int":          with(1, of(filterInt), "value", "default", "base"),
	"is_defined":   with(1, func(_ *run, _ any, args []any) (any, error) { return defined(args[0]), nil }, "value"),
	"is_number":    with(1, func(_ *run, _ any, args []any) (any, error) { return isNumber(args[0]), nil }, "value"),
	"log":          with(1, of(functionOf(logarithm)), "value", "base", "default"),
	"max":          {variadic: true, f: anyOf(extreme(1))},
	"median":       with(1, of(median), "values", "default"),
	"min":          {variadic: true, f: anyOf(extreme(-1))},
	"range":        with(1, rangeOf, "start", "stop", "step"),
	"round":        with(1, of(filterRound), "value", "precision", "method", "default"),
	"sqrt":         with(1, of(functionOf(func(x float64, _ num) float64 { return math.Sqrt(x) })), "value", "default"),
	"zip":          {variadic: true, f: zip},
}

// The methods of texts and objects.
var methods = map[string]builtin{
	"capitalize":   none(textFilter(capitalize)),
	"count":        with(1, methodCount, "value"),
	"endswith":     with(1, methodEndsWith, "suffix"),
	"find":         with(1, methodFind, "value"),
	"get":          with(1, methodGet, "key", "default"),
	"isalpha":      none(textTest(unicode.IsLetter)),
	"isdigit":      none(textTest(unicode.IsDigit)),
	"isnumeric":    none(textTest(unicode.IsNumber)),
	"isoformat":    none(methodISO),
	"items":        none(methodItems),
	"join":         with(1, methodJoin, "items"),
	"keys":         none(func(r *run, in any) (any, error) { return objectPart(r, in, func(m *Map) list { return m.keys }) }),
	"lower":        none(textFilter(lower)),
	"lstrip":       with(0, trimSide(true), "chars"),
	"removeprefix": with(1, without(strings.TrimPrefix), "prefix"),
	"removesuffix": with(1, without(strings.TrimSuffix), "suffix"),
	"replace":      with(2, filterReplace, "old", "new", "count"),
	"rstrip":       with(0, trimSide(false), "chars"),
	"split":        with(0, methodSplit, "sep", "maxsplit"),
	"startswith":   with(1, methodStartsWith, "prefix"),
	"strftime":     with(1, methodStrftime, "format"),
	"strip":        with(0, filterTrim, "chars"),
	"timestamp":    none(methodTimestamp),
	"title":        none(textFilter(title)),
	"upper":        none(textFilter(upper)),
	"values":       none(func(r *run, in any) (any, error) { return objectPart(r, in, func(m *Map) list { return m.values }) }),
	"zfill":        with(1, methodZeroFill, "width"),
}

// The tests, as in "is defined".
var tests = map[string]builtin{
	"!=":          comparing("!="),
	"<":           comparing("<"),
	"<=":          comparing("<="),
	"==":          comparing("=="),
	">":           comparing(">"),
	">=":          comparing(">="),
	"boolean":     check(func(v any) bool { _, ok := v.(bool); return ok }),
	"contains":    with(1, func(r *run, in any, args []any) (any, error) { return r.contains(in, args[0]) }, "value"),
	"datetime":    check(func(v any) bool { _, ok := v.(moment); return ok }),
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
	"is_number":   check(isNumber),
	"iterable":    check(func(v any) bool { _, err := new(run).items(v); return err == nil }),
	"le":          comparing("<="),
	"list":        check(func(v any) bool { _, ok := v.(list); return ok }),
	"lower":       check(func(v any) bool { s, ok := asText(v); return ok && isCase(s, lower) }),
	"lt":          comparing("<"),
	"mapping":     check(func(v any) bool { _, ok := v.(*Map); return ok }),
	"match":       with(1, regexTest(false), "find", "ignorecase"),
	"ne":          comparing("!="),
	"none":        check(func(v any) bool { return v == nil }),
	"number":      check(func(v any) bool { _, ok := number(v); return ok }),
	"odd":         check(func(v any) bool { n, ok := number(v); return ok && math.Abs(math.Mod(n.float(), 2)) == 1 }),
	"search":      with(1, regexTest(true), "find", "ignorecase"),
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
