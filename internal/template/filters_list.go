package template

import "slices"

// picked is select, reject, selectattr and rejectattr: the items for which a test is true (keep) or false.
func picked(keep, attr bool) builtin {
	b := builtin{params: []string{"test"}, variadic: true}
	skip := 0
	if attr {
		b.params, b.need, skip = []string{"attr", "test"}, 1, 1
	}
	b.f = func(r *run, in any, args []any) (any, error) {
		items, err := r.items(in)
		if err != nil {
			return nil, err
		}
		if err := r.list(len(items)); err != nil {
			return nil, err
		}
		var out list
		for _, item := range items {
			v := item
			if attr {
				if v, err = r.path(item, args[0]); err != nil {
					return nil, err
				}
			}
			ok := truth(v)
			if given(args[skip]) {
				name, _ := asText(args[skip])
				result, err := r.applyTest(name, v, args[skip+1:])
				if err != nil {
					return nil, err
				}
				ok = truth(result)
			}
			if err := r.step(1); err != nil {
				return nil, err
			}
			if ok == keep {
				out = append(out, item)
			}
		}
		return out, nil
	}
	return b
}

// applyTest is "v is name(args)".
func (r *run) applyTest(name string, v any, args []any) (any, error) {
	b, ok := r.tests[name]
	if !ok || len(args) < b.need || len(args) > len(b.params) {
		return nil, valuef("there is no test %s with %d arguments", short(name), len(args))
	}
	args = slices.Clone(args)
	for len(args) < len(b.params) {
		args = append(args, absent{})
	}
	return b.f(r, v, args)
}

// path is an attribute as filters name it: "a", 0, or "a.b".
func (r *run) path(item, attr any) (any, error) {
	s, ok := attr.(string)
	if !ok {
		return r.item(item, attr)
	}
	for hops := 0; ; hops++ {
		name, rest, more := cutDot(s)
		if hops == maxDepth {
			return nil, limitf("more than %d steps into one value", maxDepth)
		}
		var key any = name
		if n, isNumber := parseNumber(name); isNumber && !n.isFloat {
			key = n.i
		}
		v, err := r.item(item, key)
		if err != nil || !more {
			return v, err
		}
		item, s = v, rest
	}
}

func cutDot(s string) (first, rest string, more bool) {
	for i := range len(s) {
		if s[i] == '.' {
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// mapFilter takes an attribute of each item, or puts each through a filter.
func mapFilter(r *run, in any, args []any) (any, error) {
	items, err := r.items(in)
	if err != nil {
		return nil, err
	}
	if err := r.list(len(items)); err != nil {
		return nil, err
	}
	out := make(list, 0, len(items))
	for _, item := range items {
		var v any
		switch {
		case given(args[1]):
			v, err = r.path(item, args[1])
			if !defined(v) && given(args[2]) {
				v = args[2]
			}
		case given(args[0]):
			name, _ := asText(args[0])
			b, ok := r.filters[name]
			if !ok || b.need > len(args)-3 || b.variadic || len(args)-3 > len(b.params) {
				return nil, valuef("map knows no filter %s with %d arguments", short(name), len(args)-3)
			}
			rest := slices.Clone(args[3:])
			for len(rest) < len(b.params) {
				rest = append(rest, absent{})
			}
			v, err = b.f(r, item, rest)
		default:
			err = valuef("map needs a filter or an attribute")
		}
		if err != nil {
			return nil, err
		}
		if err := r.step(1); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

func unique(r *run, in any) (any, error) {
	items, err := r.items(in)
	if err != nil {
		return nil, err
	}
	var out list
	for _, v := range items {
		there := false
		for _, have := range out {
			if there, err = r.equal(have, v); there || err != nil {
				break
			}
		}
		if err != nil {
			return nil, err
		}
		if !there {
			out = append(out, v)
		}
	}
	return out, r.list(len(out))
}

// zip makes lists of the first, the second … items of lists, as many as the shortest has.
func zip(r *run, _ any, args []any) (any, error) {
	var rows [][]any
	n := maxItems
	for _, a := range args {
		items, err := r.items(a)
		if err != nil {
			return nil, err
		}
		rows = append(rows, items)
		n = min(n, len(items))
	}
	if len(rows) == 0 {
		return list(nil), nil
	}
	if err := r.list(n * (1 + len(rows))); err != nil {
		return nil, err
	}
	out := make(list, n)
	for i := range n {
		row := make(list, len(rows))
		for k := range rows {
			row[k] = rows[k][i]
		}
		out[i] = row
	}
	return out, nil
}

// dictSort gives the pairs of an object in the order of its keys.
func dictSort(r *run, in any) (any, error) {
	pairs, err := methodItems(r, in)
	if err != nil {
		return nil, err
	}
	return filterSort(r, pairs, []any{absent{}})
}
