package template

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
)

// The grammar is Jinja's, from the loosest to the tightest:
// inline if, or, and, not, comparison, + -, ~, * / // %, **, sign, postfix (.name [item] (args)), filters and tests.

// tuple takes an expression, or several with commas between them as a list.
func (p *parser) tuple(inlineIf bool) (expr, error) {
	first, err := p.expression(inlineIf)
	if err != nil || !p.is(tokOp, ",") {
		return first, err
	}
	items := []expr{first}
	for p.accept(tokOp, ",") {
		if t := p.peek(); t.kind == tokClose || t.kind == tokFinish || t.kind == tokOp && t.val == ")" {
			break
		}
		e, err := p.expression(inlineIf)
		if err != nil {
			return nil, err
		}
		items = append(items, e)
	}
	return listExpr{items}, nil
}

// expression takes one expression. Where an "if" that follows means something else, there is no inline if.
func (p *parser) expression(inlineIf bool) (expr, error) {
	if err := p.deeper(p.peek().pos); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	e, err := p.or()
	if err != nil || !inlineIf {
		return e, err
	}
	// "a if t else b if u else c" is a chain, not a nesting: the last place to fill is kept.
	root := &e
	for p.accept(tokName, "if") {
		test, err := p.or()
		if err != nil {
			return nil, err
		}
		c := &condExpr{test: test, then: *root, other: constExpr{undefined{"the value of an if without else"}}}
		*root = c
		if p.accept(tokName, "else") {
			if c.other, err = p.or(); err != nil {
				return nil, err
			}
			root = &c.other
		}
	}
	return e, nil
}

func (p *parser) or() (expr, error) {
	left, err := p.and()
	for err == nil && p.accept(tokName, "or") {
		var right expr
		right, err = p.and()
		left = orExpr{left, right}
	}
	return left, err
}

func (p *parser) and() (expr, error) {
	left, err := p.not()
	for err == nil && p.accept(tokName, "and") {
		var right expr
		right, err = p.not()
		left = andExpr{left, right}
	}
	return left, err
}

func (p *parser) not() (expr, error) {
	negate, found := false, false
	for p.accept(tokName, "not") {
		negate, found = !negate, true
	}
	e, err := p.compare()
	if err != nil || !found {
		return e, err
	}
	return notExpr{e, negate}, nil
}

func (p *parser) compare() (expr, error) {
	first, err := p.sum()
	if err != nil {
		return nil, err
	}
	c := compareExpr{first: first}
	for {
		t := p.peek()
		op := ""
		switch {
		case t.kind == tokOp && (t.val == "==" || t.val == "!=" || t.val == "<" || t.val == ">" || t.val == "<=" || t.val == ">="):
			op = t.val
			p.take()
		case p.accept(tokName, "in"):
			op = "in"
		case t.kind == tokName && t.val == "not" && p.tokens[p.i+1].kind == tokName && p.tokens[p.i+1].val == "in":
			op = "not in"
			p.i += 2
		default:
			if len(c.rest) == 0 {
				return first, nil
			}
			return c, nil
		}
		e, err := p.sum()
		if err != nil {
			return nil, err
		}
		c.rest = append(c.rest, operand{op, e, t.pos})
	}
}

// chain takes operands with any of the operators between them, from the left.
func (p *parser) chain(operand func() (expr, error), ops ...string) (expr, error) {
	left, err := operand()
	for err == nil {
		t := p.peek()
		found := false
		for _, op := range ops {
			found = found || t.kind == tokOp && t.val == op
		}
		if !found {
			break
		}
		p.take()
		var right expr
		right, err = operand()
		left = binaryExpr{t.val, left, right, t.pos}
	}
	return left, err
}

func (p *parser) sum() (expr, error)     { return p.chain(p.concat, "+", "-") }
func (p *parser) concat() (expr, error)  { return p.chain(p.product, "~") }
func (p *parser) product() (expr, error) { return p.chain(p.power, "*", "/", "//", "%") }
func (p *parser) power() (expr, error) {
	return p.chain(func() (expr, error) { return p.unary(true) }, "**")
}

func (p *parser) unary(filters bool) (expr, error) {
	t := p.peek()
	var e expr
	var err error
	if t.kind == tokOp && (t.val == "-" || t.val == "+") {
		if err := p.deeper(t.pos); err != nil {
			return nil, err
		}
		p.take()
		e, err = p.unary(false)
		p.depth--
		e = signExpr{t.val == "-", e, t.pos}
	} else if e, err = p.primary(); err == nil {
		e, err = p.postfix(e)
	}
	for err == nil && filters {
		switch {
		case p.accept(tokOp, "|"):
			e, err = p.filter(e)
		case p.accept(tokName, "is"):
			e, err = p.test(e)
		default:
			return e, nil
		}
	}
	return e, err
}

func (p *parser) primary() (expr, error) {
	t := p.take()
	switch t.kind {
	case tokName:
		switch t.val {
		case "true", "True":
			return constExpr{true}, nil
		case "false", "False":
			return constExpr{false}, nil
		case "none", "None":
			return constExpr{nil}, nil
		}
		if p.is(tokOp, "(") {
			return p.call(t)
		}
		if t.val != "loop" && reserved(t.val) {
			return nil, syntaxf(t.pos, "a value expected, not %s", t)
		}
		return nameExpr{t.val, t.pos}, nil
	case tokString:
		s := t.val
		for p.peek().kind == tokString {
			s += p.take().val
		}
		return constExpr{s}, nil
	case tokInt:
		i, err := strconv.ParseInt(t.val, 0, 64)
		if err != nil {
			i, err = strconv.ParseInt(t.val, 10, 64) // 007
		}
		if err != nil {
			return constExpr{json.Number(t.val)}, nil
		}
		return constExpr{i}, nil
	case tokFloat:
		f, err := strconv.ParseFloat(t.val, 64)
		if err != nil || math.IsInf(f, 0) {
			return nil, syntaxf(t.pos, "%s is too large a number", t.val)
		}
		return constExpr{f}, nil
	case tokOp:
		switch t.val {
		case "(":
			if p.accept(tokOp, ")") {
				return listExpr{}, nil
			}
			e, err := p.tuple(true)
			if err != nil {
				return nil, err
			}
			return e, p.expect(tokOp, ")")
		case "[":
			return p.list()
		case "{":
			return p.dict(t.pos)
		}
	}
	return nil, syntaxf(t.pos, "a value expected, not %s", t)
}

func (p *parser) list() (expr, error) {
	var l listExpr
	for !p.accept(tokOp, "]") {
		if len(l.items) > 0 {
			if err := p.expect(tokOp, ","); err != nil {
				return nil, err
			}
			if p.accept(tokOp, "]") {
				break
			}
		}
		e, err := p.expression(true)
		if err != nil {
			return nil, err
		}
		l.items = append(l.items, e)
	}
	return l, nil
}

func (p *parser) dict(pos int) (expr, error) {
	d := dictExpr{pos: pos}
	for !p.accept(tokOp, "}") {
		if len(d.keys) > 0 {
			if err := p.expect(tokOp, ","); err != nil {
				return nil, err
			}
			if p.accept(tokOp, "}") {
				break
			}
		}
		k, err := p.expression(true)
		if err != nil {
			return nil, err
		}
		if err := p.expect(tokOp, ":"); err != nil {
			return nil, err
		}
		v, err := p.expression(true)
		if err != nil {
			return nil, err
		}
		d.keys, d.values = append(d.keys, k), append(d.values, v)
	}
	return d, nil
}

func (p *parser) postfix(e expr) (expr, error) {
	for hops := 0; ; hops++ {
		t := p.peek()
		if t.kind != tokOp || t.val != "." && t.val != "[" && t.val != "(" {
			return e, nil
		}
		if hops == maxDepth {
			return nil, &fault{t.pos, "more than " + strconv.Itoa(maxDepth) + " steps into one value", ErrLimit}
		}
		p.take()
		var err error
		switch t.val {
		case ".":
			e, err = p.attribute(e)
		case "[":
			e, err = p.subscript(e, t.pos)
		default:
			err = syntaxf(t.pos, "this cannot be called")
		}
		if err != nil {
			return nil, err
		}
	}
}

func (p *parser) attribute(of expr) (expr, error) {
	t := p.take()
	switch t.kind {
	case tokName:
		if p.is(tokOp, "(") {
			b, ok := methods[t.val]
			if !ok {
				return nil, syntaxf(t.pos, "there is no method %s", t.val)
			}
			args, err := p.args("method "+t.val, b, t.pos)
			return callExpr{b, of, args, t.pos}, err
		}
		return attrExpr{of, t.val, t.pos}, nil
	case tokInt:
		i, err := strconv.ParseInt(t.val, 10, 64)
		if err != nil {
			return nil, syntaxf(t.pos, "%s is too large a number", t.val)
		}
		return itemExpr{of, constExpr{i}, t.pos}, nil
	}
	return nil, syntaxf(t.pos, "a name or a number expected behind the dot, not %s", t)
}

func (p *parser) subscript(of expr, pos int) (expr, error) {
	var part [3]expr
	n := 0
	isSlice := false
	for !p.accept(tokOp, "]") {
		if p.accept(tokOp, ":") {
			isSlice = true
			if n++; n > 2 {
				return nil, syntaxf(pos, "a slice has at most three parts")
			}
			continue
		}
		if part[n] != nil {
			return nil, syntaxf(p.peek().pos, "] expected, not %s", p.peek())
		}
		e, err := p.expression(true)
		if err != nil {
			return nil, err
		}
		part[n] = e
	}
	if isSlice {
		return sliceExpr{of, part, pos}, nil
	}
	if part[0] == nil {
		return nil, syntaxf(pos, "an index is missing between [ and ]")
	}
	return itemExpr{of, part[0], pos}, nil
}

func (p *parser) call(name token) (expr, error) {
	b, ok := functions[name.val]
	if !ok {
		return nil, syntaxf(name.pos, "there is no function %s", name.val)
	}
	args, err := p.args("function "+name.val, b, name.pos)
	return callExpr{b, nil, args, name.pos}, err
}

func (p *parser) filter(of expr) (expr, error) {
	name := p.take()
	b, ok := filters[name.val]
	if name.kind != tokName || !ok {
		return nil, syntaxf(name.pos, "there is no filter %s", name)
	}
	args, err := p.args("filter "+name.val, b, name.pos)
	if err == nil {
		err = checkArgs(name, args)
	}
	return callExpr{b, of, args, name.pos}, err
}

// checkArgs refuses by name, when a template is compiled, what a filter could only fail at later: the name of a test or
// filter that is not there, and the local time.
func checkArgs(name token, args []expr) error {
	text := func(i int) (string, bool) {
		if i >= len(args) {
			return "", false
		}
		c, _ := args[i].(constExpr)
		s, ok := c.value.(string)
		return s, ok
	}
	tested := 0
	switch name.val {
	case "map":
		if s, ok := text(0); ok {
			if _, known := filters[s]; !known {
				return syntaxf(name.pos, "there is no filter %s", s)
			}
		}
	case "selectattr", "rejectattr":
		tested = 1
		fallthrough
	case "select", "reject":
		if s, ok := text(tested); ok {
			if _, known := tests[s]; !known {
				return syntaxf(name.pos, "there is no test %s", s)
			}
		}
	case "timestamp_custom":
		if c, ok := args[1].(constExpr); !ok || c.value != false {
			return syntaxf(name.pos, "timestamp_custom cannot give the local time, which is not known here; with false behind the format it gives UTC")
		}
	}
	return nil
}

func (p *parser) test(of expr) (expr, error) {
	negate := p.accept(tokName, "not")
	name := p.take()
	b, ok := tests[name.val]
	if name.kind != tokName || !ok {
		return nil, syntaxf(name.pos, "there is no test %s", name)
	}
	var args []expr
	var err error
	if t := p.peek(); !p.is(tokOp, "(") && len(b.params) > 0 && startsValue(t) {
		var e expr // "is divisibleby 3": one argument without brackets
		if e, err = p.primary(); err == nil {
			e, err = p.postfix(e)
		}
		args = []expr{e}
	} else {
		args, err = p.args("test "+name.val, b, name.pos)
	}
	if err != nil {
		return nil, err
	}
	var e expr = callExpr{b, of, args, name.pos}
	if negate {
		e = notExpr{e, true}
	}
	return e, nil
}

func startsValue(t token) bool {
	switch t.kind {
	case tokName:
		return t.val == "true" || t.val == "false" || t.val == "none" || !reserved(t.val)
	case tokString, tokInt, tokFloat:
		return true
	case tokOp:
		return t.val == "[" || t.val == "{"
	}
	return false
}

// args takes the arguments in brackets, if there are any, and puts each where its parameter is; nil stands for one that
// was left out. what names the callee in messages.
func (p *parser) args(what string, b builtin, pos int) ([]expr, error) {
	args := make([]expr, len(b.params))
	n := 0
	if p.accept(tokOp, "(") {
		for first := true; !p.accept(tokOp, ")"); first = false {
			if !first {
				if err := p.expect(tokOp, ","); err != nil {
					return nil, err
				}
				if p.accept(tokOp, ")") {
					break
				}
			}
			at, i := p.peek(), n
			if at.kind == tokName && p.tokens[p.i+1].kind == tokOp && p.tokens[p.i+1].val == "=" {
				i = slices.Index(b.params, at.val)
				if i < 0 {
					return nil, syntaxf(at.pos, "the %s has no argument %s", what, at.val)
				}
				p.i += 2
			} else {
				n++
			}
			e, err := p.expression(true)
			switch {
			case err != nil:
				return nil, err
			case i < len(args) && args[i] == nil:
				args[i] = e
			case i >= len(args) && b.variadic:
				args = append(args, e)
			case i < len(args):
				return nil, syntaxf(at.pos, "the %s has its argument %s twice", what, b.params[i])
			default:
				return nil, syntaxf(at.pos, "the %s takes at most %d arguments", what, len(b.params))
			}
		}
	}
	for i := range b.need {
		if args[i] == nil {
			return nil, syntaxf(pos, "the %s needs its argument %s", what, b.params[i])
		}
	}
	return args, nil
}
