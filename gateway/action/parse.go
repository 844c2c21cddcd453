package action

import (
	"fmt"
	"strings"

	"github.com/gatepost/gatepost/mqtt/convention"
)

// parse reads the arguments that somebody typed: one after the other in the order of Args, or as name=value. A single
// argument is all of the text; of several the last takes the rest when it is a text or a word. "Quotes" keep a text with
// spaces together. The error is a sentence for people.
func (a *Action) parse(typed string) (Values, error) {
	if a.Free {
		return nil, nil
	}
	text := strings.TrimSpace(typed)
	values := Values{}
	switch {
	case len(a.Args) == 0 && text != "":
		return nil, fmt.Errorf("“%s” takes nothing behind it", a.Words())
	case len(a.Args) == 1 && text != "":
		g := &a.Args[0]
		if name, v, ok := strings.Cut(text, "="); ok && plain(strings.TrimSpace(name)) == g.Name {
			text = strings.TrimSpace(v)
		}
		if err := a.take(values, g, unquoted(text)); err != nil {
			return nil, err
		}
	default:
		if err := a.parseMany(values, text); err != nil {
			return nil, err
		}
	}
	for i := range a.Args {
		if g := &a.Args[i]; !g.Optional && values[g.Name] == nil {
			return nil, fmt.Errorf("“%s” needs %s: %s", a.Words(), a.called(g), Usage(a))
		}
	}
	return values, nil
}

func (a *Action) parseMany(values Values, text string) error {
	for text != "" {
		if name, v, ok := strings.Cut(text, "="); ok {
			if g := a.arg(name); g != nil {
				if values[g.Name] != nil {
					return fmt.Errorf("“%s” has %s twice", a.Words(), g.Name)
				}
				var word string
				word, text = a.word(g, v)
				if err := a.take(values, g, word); err != nil {
					return err
				}
				continue
			}
		}
		g, last := a.next(values)
		if g == nil {
			return fmt.Errorf("“%s” takes no more than %s", a.Words(), Usage(a))
		}
		var word string
		if last && (g.Kind == convention.Text || g.Kind == convention.Option) && !a.naming(text) {
			word, text = unquoted(text), ""
		} else {
			word, text = a.word(g, text)
		}
		if err := a.take(values, g, word); err != nil {
			return err
		}
	}
	return nil
}

// arg is the argument of that name.
func (a *Action) arg(name string) *convention.Arg {
	for i := range a.Args {
		if a.Args[i].Name == plain(name) {
			return &a.Args[i]
		}
	}
	return nil
}

// naming says whether a word of text names an argument.
func (a *Action) naming(text string) bool {
	for _, w := range strings.Fields(text) {
		if name, _, ok := strings.Cut(w, "="); ok && a.arg(name) != nil {
			return true
		}
	}
	return false
}

// next is the first argument without a value, and whether it is the last such.
func (a *Action) next(values Values) (first *convention.Arg, last bool) {
	for i := range a.Args {
		switch {
		case values[a.Args[i].Name] != nil:
		case first != nil:
			return first, false
		default:
			first = &a.Args[i]
		}
	}
	return first, true
}

// word takes the next value off text: a quoted text, or a word, with the unit behind it where g has one.
func (a *Action) word(g *convention.Arg, text string) (word, rest string) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, `"`) {
		if v, more, ok := strings.Cut(text[1:], `"`); ok && (more == "" || more[0] == ' ' || more[0] == '\n' || more[0] == '\t') {
			return v, strings.TrimSpace(more)
		}
	}
	word, rest = cut(text)
	if g.Kind == convention.Number && g.Unit != "" {
		if unit, more := cut(rest); unit != "" && sameUnit(unit, g.Unit) {
			return word + unit, more
		}
	}
	return word, rest
}

// unquoted is a text without the quotes around it.
func unquoted(text string) string {
	if len(text) >= 2 && text[0] == '"' && text[len(text)-1] == '"' && !strings.Contains(text[1:len(text)-1], `"`) {
		return text[1 : len(text)-1]
	}
	return text
}

// take checks the value of an argument and keeps it.
func (a *Action) take(values Values, g *convention.Arg, text string) error {
	v, err := check(g, text)
	if err != nil {
		return fmt.Errorf("“%s”: %s", a.Words(), fmt.Sprintf("%s %v", a.called(g), err))
	}
	values[g.Name] = v
	return nil
}

// called is what an argument is called in a sentence.
func (a *Action) called(g *convention.Arg) string {
	if g.Name == "value" || len(a.Args) == 1 {
		return "the value"
	}
	return g.Name
}
