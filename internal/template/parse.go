package template

import (
	"fmt"
	"slices"
	"strings"
)

// node is a piece of a template that writes to the result.
type node interface {
	exec(r *run) error
}

type (
	textNode   string
	outputNode struct {
		value expr
		pos   int
	}
	ifNode struct {
		tests  []expr
		bodies [][]node // one for each test, and one more for else (may be nil)
	}
	forNode struct {
		names []string // more than one take an item apart
		in    expr
		where expr // nil: all items
		body  []node
		empty []node // for no item at all
		pos   int
		words int // tokens of the whole block: what a turn counts towards maxSteps
	}
	setNode struct {
		names []string
		value expr
		pos   int
	}
)

// parser makes a tree from tokens. What is not on its list of blocks, functions, methods, filters and tests does not get
// into a tree at all, so there is nothing to check later.
type parser struct {
	tokens []token
	i      int
	depth  int
}

func parse(tokens []token) ([]node, error) {
	p := &parser{tokens: tokens}
	body, _, err := p.body()
	return body, err
}

func (p *parser) peek() token { return p.tokens[p.i] }

func (p *parser) take() token {
	t := p.tokens[p.i]
	if t.kind != tokEnd {
		p.i++
	}
	return t
}

func (p *parser) is(k kind, val string) bool {
	t := p.peek()
	return t.kind == k && t.val == val
}

func (p *parser) accept(k kind, val string) bool {
	ok := p.is(k, val)
	if ok {
		p.i++
	}
	return ok
}

func (p *parser) expect(k kind, val string) error {
	if !p.accept(k, val) {
		return syntaxf(p.peek().pos, "%s expected, not %s", val, p.peek())
	}
	return nil
}

// String names a token for a message.
func (t token) String() string {
	switch t.kind {
	case tokEnd:
		return "the end of the template"
	case tokText:
		return "text"
	case tokString:
		return short(t.val)
	default:
		return t.val
	}
}

// deeper counts one more level of nesting; the caller takes it back with p.depth--.
func (p *parser) deeper(pos int) error {
	if p.depth++; p.depth > maxDepth {
		return &fault{pos, fmt.Sprintf("nested more than %d deep", maxDepth), ErrLimit}
	}
	return nil
}

// body takes nodes up to a block that is one of ends, whose name it takes too and returns. Without ends it is the whole
// template.
func (p *parser) body(ends ...string) (out []node, end string, err error) {
	for {
		t := p.take()
		switch t.kind {
		case tokText:
			out = append(out, textNode(t.val))
		case tokOpen:
			value, err := p.tuple(true)
			if err != nil {
				return nil, "", err
			}
			if p.peek().kind != tokClose {
				return nil, "", syntaxf(p.peek().pos, "}} expected, not %s", p.peek())
			}
			p.take()
			out = append(out, outputNode{value, t.pos})
		case tokBegin:
			name := p.take()
			if name.kind != tokName {
				return nil, "", syntaxf(name.pos, "the name of a block expected, not %s", name)
			}
			if slices.Contains(ends, name.val) {
				return out, name.val, nil
			}
			n, err := p.block(name)
			if err != nil {
				return nil, "", err
			}
			out = append(out, n)
		default: // the end: the lexer lets nothing else stand here
			if len(ends) > 0 {
				return nil, "", syntaxf(t.pos, "{%% %s %%} is missing", ends[len(ends)-1])
			}
			return out, "", nil
		}
	}
}

func (p *parser) block(name token) (node, error) {
	if err := p.deeper(name.pos); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	switch name.val {
	case "if":
		return p.ifBlock()
	case "for":
		return p.forBlock(name.pos)
	case "set":
		return p.setBlock(name.pos)
	case "elif", "else", "endif", "endfor":
		return nil, syntaxf(name.pos, "%s belongs to no block that is open here", name.val)
	default:
		return nil, syntaxf(name.pos, "the block %s does not exist here: there are if, for and set", name.val)
	}
}

func (p *parser) finish() error {
	if p.peek().kind != tokFinish {
		return syntaxf(p.peek().pos, "%%} expected, not %s", p.peek())
	}
	p.take()
	return nil
}

func (p *parser) ifBlock() (node, error) {
	var n ifNode
	for end := "elif"; ; {
		if end == "elif" {
			test, err := p.tuple(true)
			if err != nil {
				return nil, err
			}
			n.tests = append(n.tests, test)
		}
		if err := p.finish(); err != nil || end == "endif" {
			return n, err
		}
		ends := []string{"elif", "else", "endif"}
		if end == "else" {
			ends = ends[2:]
		}
		body, next, err := p.body(ends...)
		if err != nil {
			return nil, err
		}
		n.bodies = append(n.bodies, body)
		end = next
	}
}

func (p *parser) forBlock(pos int) (node, error) {
	n := &forNode{pos: pos}
	first := p.i
	var err error
	if n.names, err = p.names(); err != nil {
		return nil, err
	}
	if err = p.expect(tokName, "in"); err != nil {
		return nil, err
	}
	if n.in, err = p.tuple(false); err != nil {
		return nil, err
	}
	if p.accept(tokName, "if") {
		if n.where, err = p.expression(true); err != nil {
			return nil, err
		}
	}
	if err = p.finish(); err != nil {
		return nil, err
	}
	var end string
	if n.body, end, err = p.body("else", "endfor"); err != nil {
		return nil, err
	}
	n.words = p.i - first
	if err = p.finish(); err != nil || end == "endfor" {
		return n, err
	}
	if n.empty, _, err = p.body("endfor"); err != nil {
		return nil, err
	}
	return n, p.finish()
}

func (p *parser) setBlock(pos int) (node, error) {
	names, err := p.names()
	if err != nil {
		return nil, err
	}
	if err := p.expect(tokOp, "="); err != nil {
		return nil, err
	}
	value, err := p.tuple(true)
	if err != nil {
		return nil, err
	}
	return setNode{names, value, pos}, p.finish()
}

// names takes the variables to be set: a, or a, b, or (a, b).
func (p *parser) names() ([]string, error) {
	bracket := p.accept(tokOp, "(")
	var out []string
	for {
		t := p.take()
		if t.kind != tokName || reserved(t.val) {
			return nil, syntaxf(t.pos, "the name of a variable expected, not %s", t)
		}
		out = append(out, t.val)
		if !p.accept(tokOp, ",") {
			break
		}
	}
	if bracket {
		return out, p.expect(tokOp, ")")
	}
	return out, nil
}

func reserved(name string) bool {
	return strings.Contains(" and or not in is if else true false none True False None loop ", " "+name+" ")
}
