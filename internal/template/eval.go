package template

import (
	"encoding/json"
	"unicode/utf8"
)

// expr is an expression: it gives a value and changes nothing.
type expr interface {
	eval(r *run) (any, error)
}

type (
	constExpr struct{ value any }
	nameExpr  struct {
		name string
		pos  int
	}
	attrExpr struct {
		of   expr
		name string
		pos  int
	}
	itemExpr struct {
		of, key expr
		pos     int
	}
	sliceExpr struct {
		of   expr
		part [3]expr // from, to, step; nil: left out
		pos  int
	}
	listExpr struct{ items []expr } // a tuple too
	dictExpr struct {
		keys, values []expr
		pos          int
	}
	orExpr  struct{ left, right expr }
	andExpr struct{ left, right expr }
	notExpr struct {
		value  expr
		negate bool // false: only made true or false ("not not")
	}
	condExpr   struct{ test, then, other expr }
	binaryExpr struct {
		op          string
		left, right expr
		pos         int
	}
	signExpr struct {
		minus bool
		value expr
		pos   int
	}
	compareExpr struct {
		first expr
		rest  []operand
	}
	operand struct {
		op    string
		value expr
		pos   int
	}
	// callExpr is a filter, a test, a method (in is what stands before it) or a function (in is nil).
	callExpr struct {
		what builtin
		in   expr
		args []expr // one for each parameter, nil where left out, and more if it is variadic
		pos  int
	}
)

func (e constExpr) eval(*run) (any, error) { return e.value, nil }

func (e nameExpr) eval(r *run) (any, error) {
	v, ok, err := r.lookup(e.name)
	if !ok {
		v = undefined{e.name}
	}
	return v, at(err, e.pos)
}

func (e attrExpr) eval(r *run) (any, error) {
	of, err := e.of.eval(r)
	if err != nil {
		return nil, err
	}
	switch of := of.(type) {
	case *Map:
		if v, ok := of.get(e.name); ok {
			return v, nil
		}
	case loop:
		v, _ := of.attr(e.name)
		return v, nil
	case moment:
		v, _ := of.attr(e.name)
		return v, nil
	case undefined:
		return nil, at(valuef("%s is undefined, so it has no %s", of.what, e.name), e.pos)
	}
	return undefined{e.name}, nil
}

func (e itemExpr) eval(r *run) (any, error) {
	of, err := e.of.eval(r)
	if err != nil {
		return nil, err
	}
	key, err := e.key.eval(r)
	if err != nil {
		return nil, err
	}
	v, err := r.item(of, key)
	return v, at(err, e.pos)
}

// item is of[key].
func (r *run) item(of, key any) (any, error) {
	name := "an item"
	if s, err := r.string(key); err == nil {
		name = short(s)
	}
	switch of := of.(type) {
	case undefined:
		return nil, valuef("%s is undefined, so it has no %s", of.what, name)
	case *Map:
		if v, ok := of.get(key); ok {
			return v, nil
		}
	case list:
		if n, ok := number(key); ok && !n.isFloat {
			if i, ok := index(n.i, len(of)); ok {
				return of[i], nil
			}
		}
	case loop:
		if s, ok := key.(string); ok {
			v, _ := of.attr(s)
			return v, nil
		}
	case string, json.Number:
		s, _ := asText(of)
		if n, ok := number(key); ok && !n.isFloat {
			c := []rune(s)
			if i, ok := index(n.i, len(c)); ok {
				return string(c[i]), r.text(len(s))
			}
		}
	}
	return undefined{name}, nil
}

// index counts a negative i from the end.
func index(i int64, n int) (int, bool) {
	if i < 0 {
		i += int64(n)
	}
	return int(i), i >= 0 && i < int64(n)
}

func (e sliceExpr) eval(r *run) (any, error) {
	of, err := e.of.eval(r)
	if err != nil {
		return nil, err
	}
	var part [3]*int
	for i, p := range e.part {
		if p == nil {
			continue
		}
		v, err := p.eval(r)
		if err != nil {
			return nil, err
		}
		if v == nil {
			continue
		}
		n, ok := number(v)
		if !ok || n.isFloat {
			return nil, at(valuef("a slice needs whole numbers, not %s", words(v)), e.pos)
		}
		bound := int(max(min(n.i, maxCount), -maxCount))
		part[i] = &bound
	}
	v, err := r.slice(of, part)
	return v, at(err, e.pos)
}

func (r *run) slice(of any, part [3]*int) (any, error) {
	s, isText := asText(of)
	l, isList := of.(list)
	n := len(l)
	switch {
	case isText:
		n = utf8.RuneCountInString(s)
	case !isList:
		return nil, valuef("%s has no parts", words(of))
	}
	from, to, step := sliceBounds(part, n)
	if step == 0 {
		return nil, valuef("the step of a slice cannot be 0")
	}
	var at []int
	for i := from; step > 0 && i < to || step < 0 && i > to; i += step {
		at = append(at, i)
	}
	if isText {
		c := []rune(s)
		out := make([]rune, len(at))
		for k, i := range at {
			out[k] = c[i]
		}
		return string(out), r.text(len(s))
	}
	out := make(list, len(at))
	for k, i := range at {
		out[k] = l[i]
	}
	return out, r.list(len(out))
}

// sliceBounds are the rules of Python's slice.indices.
func sliceBounds(part [3]*int, n int) (from, to, step int) {
	step = 1
	if part[2] != nil {
		step = *part[2]
	}
	low, high := 0, n
	if step < 0 {
		low, high = -1, n-1
	}
	bound := func(p *int, def int) int {
		if p == nil {
			return def
		}
		i := *p
		if i < 0 {
			i += n
		}
		return max(low, min(high, i))
	}
	if step < 0 {
		return bound(part[0], high), bound(part[1], low), step
	}
	return bound(part[0], low), bound(part[1], high), step
}

func (e listExpr) eval(r *run) (any, error) {
	if err := r.list(len(e.items)); err != nil {
		return nil, at(err, 0)
	}
	out := make(list, len(e.items))
	for i, item := range e.items {
		var err error
		if out[i], err = item.eval(r); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (e dictExpr) eval(r *run) (any, error) {
	if err := r.list(2 * len(e.keys)); err != nil {
		return nil, at(err, e.pos)
	}
	m := &Map{}
	for i := range e.keys {
		k, err := e.keys[i].eval(r)
		if err != nil {
			return nil, err
		}
		v, err := e.values[i].eval(r)
		if err != nil {
			return nil, err
		}
		key, ok := plainKey(k)
		if !ok {
			return nil, at(valuef("%s cannot be a key", words(k)), e.pos)
		}
		m.put(key, v)
	}
	return m, nil
}

func (e orExpr) eval(r *run) (any, error) {
	v, err := e.left.eval(r)
	if err != nil || truth(v) {
		return v, err
	}
	return e.right.eval(r)
}

func (e andExpr) eval(r *run) (any, error) {
	v, err := e.left.eval(r)
	if err != nil || !truth(v) {
		return v, err
	}
	return e.right.eval(r)
}

func (e notExpr) eval(r *run) (any, error) {
	v, err := e.value.eval(r)
	if err != nil {
		return nil, err
	}
	return truth(v) != e.negate, nil
}

func (e *condExpr) eval(r *run) (any, error) {
	v, err := e.test.eval(r)
	if err != nil {
		return nil, err
	}
	if truth(v) {
		return e.then.eval(r)
	}
	return e.other.eval(r)
}

func (e binaryExpr) eval(r *run) (any, error) {
	a, err := e.left.eval(r)
	if err != nil {
		return nil, err
	}
	b, err := e.right.eval(r)
	if err != nil {
		return nil, err
	}
	v, err := r.binary(e.op, a, b)
	return v, at(err, e.pos)
}

func (e signExpr) eval(r *run) (any, error) {
	v, err := e.value.eval(r)
	if err != nil {
		return nil, err
	}
	n, ok := number(v)
	if !ok {
		return nil, at(valuef("%s is not a number; | float makes one of text", words(v)), e.pos)
	}
	if !e.minus {
		return n.value(), nil
	}
	if n.isFloat {
		return -n.f, nil
	}
	v, err = arithmetic("-", num{}, n)
	return v, at(err, e.pos)
}

func (e compareExpr) eval(r *run) (any, error) {
	left, err := e.first.eval(r)
	if err != nil {
		return nil, err
	}
	for _, o := range e.rest {
		right, err := o.value.eval(r)
		if err != nil {
			return nil, err
		}
		ok, err := r.compare(o.op, left, right)
		if !ok || err != nil {
			return false, at(err, o.pos)
		}
		left = right
	}
	return true, nil
}

func (r *run) compare(op string, a, b any) (bool, error) {
	switch op {
	case "==":
		return r.equal(a, b)
	case "!=":
		ok, err := r.equal(a, b)
		return !ok, err
	case "in":
		return r.contains(b, a)
	case "not in":
		ok, err := r.contains(b, a)
		return !ok, err
	}
	c, err := r.order(a, b)
	switch op {
	case "<":
		return c < 0, err
	case "<=":
		return c <= 0, err
	case ">":
		return c > 0, err
	default:
		return c >= 0, err
	}
}

func (e callExpr) eval(r *run) (any, error) {
	var in any
	if e.in != nil {
		var err error
		if in, err = e.in.eval(r); err != nil {
			return nil, err
		}
	}
	var args []any
	if len(e.args) > 0 {
		args = make([]any, len(e.args))
	}
	for i, a := range e.args {
		if a == nil {
			args[i] = absent{}
			continue
		}
		var err error
		if args[i], err = a.eval(r); err != nil {
			return nil, err
		}
	}
	v, err := e.what.f(r, in, args)
	return v, at(err, e.pos)
}
