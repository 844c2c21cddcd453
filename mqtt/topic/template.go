package topic

import (
	"fmt"
	"slices"
	"strings"
)

// Template is a text with {captures}, such as "{site}-{device}", in which a rule says device, name, room, space or the
// topic of a command. Made by ParseTemplate; the zero value is the empty text. Safe for concurrent use.
type Template struct {
	s     string
	parts []part
}

// ParseTemplate reads s, in which only the allowed captures may occur, each as often as is wanted. "{{" and "}}" are the
// literal braces, so "{{x}}" is the text "{x}" and not a Jinja expression; any other lone brace is an error.
func ParseTemplate(s string, allowed []string) (Template, error) {
	parts, err := split(s)
	if err != nil {
		return Template{}, err
	}
	for _, p := range parts {
		if !p.capture || slices.Contains(allowed, p.text) {
			continue
		}
		if len(allowed) == 0 {
			return Template{}, invalid(s, fmt.Sprintf("unknown capture {%s}: the rule's topic captures nothing", p.text))
		}
		return Template{}, invalid(s, fmt.Sprintf("unknown capture {%s}: there are %s", p.text, braced(allowed)))
	}
	return Template{s: s, parts: parts}, nil
}

// ParseTopicTemplate is ParseTemplate for a topic to publish to: its literal text must be fit for one, so that only
// captured values can make ExpandTopic fail.
func ParseTopicTemplate(s string, allowed []string) (Template, error) {
	t, err := ParseTemplate(s, allowed)
	if err != nil {
		return Template{}, err
	}
	var b strings.Builder
	for _, p := range t.parts {
		if p.capture {
			b.WriteByte('x')
		} else {
			b.WriteString(p.text)
		}
	}
	if err := ValidTopic(b.String()); err != nil {
		return Template{}, err
	}
	return t, nil
}

// String is the template as it was written.
func (t Template) String() string { return t.s }

// Expand puts the captures in. One that vars does not have is an error. The values are taken as they are: whoever uses the
// result must be ready for any UTF-8 that a topic level may hold.
func (t Template) Expand(vars map[string]string) (string, error) {
	if len(t.parts) == 1 && !t.parts[0].capture {
		return t.parts[0].text, nil
	}
	var b strings.Builder
	for _, p := range t.parts {
		if !p.capture {
			b.WriteString(p.text)
			continue
		}
		v, ok := vars[p.text]
		if !ok {
			return "", invalid(t.s, fmt.Sprintf("{%s} has no value here", p.text))
		}
		b.WriteString(v)
	}
	return b.String(), nil
}

// ExpandTopic is Expand for a topic to publish to. A value stays within its level: one that is empty or holds "+", "#",
// "/" or NUL is refused, and so is one that would begin the topic with "$". The result is a valid topic.
func (t Template) ExpandTopic(vars map[string]string) (string, error) {
	for i, p := range t.parts {
		if !p.capture {
			continue
		}
		switch v := vars[p.text]; {
		case v == "":
			return "", invalid(t.s, fmt.Sprintf("{%s} has no value here", p.text))
		case strings.ContainsAny(v, "+#/\x00"):
			return "", invalid(t.s, fmt.Sprintf(`the value %q of {%s} may not hold "+", "#", "/" or NUL`, v, p.text))
		case i == 0 && v[0] == '$':
			return "", invalid(t.s, fmt.Sprintf(`the value %q of {%s} may not begin a topic with "$"`, v, p.text))
		}
	}
	s, err := t.Expand(vars)
	if err != nil {
		return "", err
	}
	return s, ValidTopic(s)
}
