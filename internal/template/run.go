package template

import "fmt"

// run is the state of one render: the variables, the result so far, and what has been used of the limits.
type run struct {
	vars   map[string]any
	locals []local
	scope  int // where the innermost scope begins in locals
	out    []byte
	steps  int
	memory int
	turns  int
	// The tables that filters look into by name. They are here so that a table may have a filter that looks into it.
	filters, tests map[string]builtin
}

// local is a variable that the template itself set.
type local struct {
	name  string
	value any
}

// step counts n small pieces of work.
func (r *run) step(n int) error {
	if r.steps += n; r.steps > maxSteps {
		return limitf("this is too much work for one template")
	}
	return nil
}

// text counts a text of n bytes that is about to be made. It comes before the making.
func (r *run) text(n int) error {
	if n > maxResult {
		return limitf("text longer than %d bytes", maxResult)
	}
	return r.use(n)
}

// list counts a list of n items that is about to be made. It comes before the making.
func (r *run) list(n int) error {
	if n > maxItems {
		return limitf("a list of more than %d items", maxItems)
	}
	return r.use(n * itemBytes)
}

func (r *run) use(bytes int) error {
	if r.memory += bytes; r.memory > maxMemory {
		return limitf("one render may make at most %d bytes of text and lists", maxMemory)
	}
	return r.step(1 + bytes/64)
}

// write appends to the result.
func (r *run) write(s string) error {
	if len(r.out)+len(s) > maxResult {
		return limitf("the result is longer than %d bytes", maxResult)
	}
	r.out = append(r.out, s...)
	return nil
}

// lookup finds a variable; ok is false when there is none.
func (r *run) lookup(name string) (v any, ok bool, err error) {
	for i := len(r.locals) - 1; i >= 0; i-- {
		if r.locals[i].name == name {
			return r.locals[i].value, true, nil
		}
	}
	v, ok = r.vars[name]
	if !ok {
		return nil, false, nil
	}
	v, err = r.adopt(v, 0)
	if err != nil {
		err = valuef("the variable %s: %s", name, err)
	}
	return v, true, err
}

// set gives variables a value in the innermost scope, which begins at r.locals[from].
func (r *run) set(from int, names []string, v any) error {
	if len(names) == 1 {
		return r.setOne(from, names[0], v)
	}
	items, err := r.items(v)
	if err != nil {
		return err
	}
	if len(items) != len(names) {
		return valuef("%d variables cannot be set from %d values", len(names), len(items))
	}
	for i, name := range names {
		if err := r.setOne(from, name, items[i]); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) setOne(from int, name string, v any) error {
	for i := from; i < len(r.locals); i++ {
		if r.locals[i].name == name {
			r.locals[i].value = v
			return nil
		}
	}
	if len(r.locals) == maxLocals {
		return limitf("more than %d variables", maxLocals)
	}
	r.locals = append(r.locals, local{name, v})
	return nil
}

func (r *run) nodes(body []node) error {
	for _, n := range body {
		if err := r.step(1); err != nil {
			return at(err, 0)
		}
		if err := n.exec(r); err != nil {
			return err
		}
	}
	return nil
}

func (n textNode) exec(r *run) error { return at(r.write(string(n)), 0) }

func (n outputNode) exec(r *run) error {
	v, err := n.value.eval(r)
	if err == nil {
		r.out, err = r.print(r.out, v)
	}
	if err == nil && len(r.out) > maxResult {
		err = limitf("the result is longer than %d bytes", maxResult)
	}
	return at(err, n.pos)
}

func (n ifNode) exec(r *run) error {
	for i, test := range n.tests {
		v, err := test.eval(r)
		if err != nil {
			return err
		}
		if truth(v) {
			return r.nodes(n.bodies[i])
		}
	}
	if len(n.bodies) > len(n.tests) {
		return r.nodes(n.bodies[len(n.tests)])
	}
	return nil
}

func (n setNode) exec(r *run) error {
	v, err := n.value.eval(r)
	if err == nil {
		err = r.set(r.scope, n.names, v)
	}
	return at(err, n.pos)
}

// loop is the variable of that name inside for.
type loop struct {
	items []any
	i     int
}

func (n *forNode) exec(r *run) error {
	v, err := n.in.eval(r)
	if err != nil {
		return err
	}
	items, err := r.items(v)
	if err != nil {
		return at(err, n.pos)
	}
	outer, mark := r.scope, len(r.locals)
	r.scope = mark
	defer func() { r.scope, r.locals = outer, r.locals[:mark] }()
	if n.where != nil {
		if items, err = n.filter(r, items, mark); err != nil {
			return at(err, n.pos)
		}
	}
	if len(items) == 0 {
		return r.nodes(n.empty)
	}
	for i, item := range items {
		if err := n.turn(r, item, mark); err != nil {
			return at(err, n.pos)
		}
		if err := r.setOne(mark, "loop", loop{items, i}); err != nil {
			return at(err, n.pos)
		}
		if err := r.nodes(n.body); err != nil {
			return err
		}
	}
	return nil
}

// filter keeps the items for which "if" is true, before the first turn, so that loop knows how many there are.
func (n *forNode) filter(r *run, items []any, mark int) ([]any, error) {
	if err := r.list(len(items)); err != nil {
		return nil, err
	}
	var kept []any
	for _, item := range items {
		if err := n.turn(r, item, mark); err != nil {
			return nil, err
		}
		v, err := n.where.eval(r)
		if err != nil {
			return nil, err
		}
		if truth(v) {
			kept = append(kept, item)
		}
	}
	r.locals = r.locals[:mark]
	return kept, nil
}

// turn begins one turn with an empty scope.
func (n *forNode) turn(r *run, item any, mark int) error {
	if r.turns++; r.turns > maxTurns {
		return limitf("more than %d turns of loops", maxTurns)
	}
	r.locals = r.locals[:mark]
	if err := r.step(n.words); err != nil {
		return err
	}
	return r.set(mark, n.names, item)
}

// attr is loop.index and the like.
func (l loop) attr(name string) (any, bool) {
	switch name {
	case "index":
		return int64(l.i + 1), true
	case "index0":
		return int64(l.i), true
	case "revindex":
		return int64(len(l.items) - l.i), true
	case "revindex0":
		return int64(len(l.items) - l.i - 1), true
	case "first":
		return l.i == 0, true
	case "last":
		return l.i == len(l.items)-1, true
	case "length":
		return int64(len(l.items)), true
	case "previtem":
		if l.i > 0 {
			return l.items[l.i-1], true
		}
	case "nextitem":
		if l.i+1 < len(l.items) {
			return l.items[l.i+1], true
		}
	}
	return undefined{fmt.Sprintf("loop.%s", name)}, false
}
