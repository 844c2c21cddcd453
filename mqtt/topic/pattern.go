package topic

import (
	"fmt"
	"slices"
	"strings"
)

// Pattern is the topic of a rule, such as "sensors/{site}/{device}/+" or "zigbee-{id}/#": a filter that gives names to
// what it meets. Made by ParsePattern; the zero value matches nothing. Safe for concurrent use.
type Pattern struct {
	s      string
	filter Filter
	levels []level
	names  []string
}

// level is one level of a pattern. One that captures matches prefix, at least one byte, suffix.
type level struct {
	kind           levelKind
	text           string // of a literal
	prefix, suffix string
}

type levelKind uint8

const (
	literal levelKind = iota
	single            // "+"
	multi             // "#"
	capture
)

// ParsePattern reads a pattern. {name} takes one level or, with literal text around it, a part of one; there is at most
// one in a level, and a name ([a-z_][a-z0-9_]*) occurs once. "+" and a last "#" match without taking. "{{" and "}}" are
// the literal braces.
func ParsePattern(s string) (Pattern, error) {
	if err := validString(s); err != nil {
		return Pattern{}, err
	}
	if strings.HasPrefix(s, "$share/") {
		return Pattern{}, invalid(s, "shared subscriptions cannot be used here")
	}
	p := Pattern{s: s}
	var filter []string
	for rest, more := s, true; more; { // names cannot hold a "/", so levels can be cut before captures are read
		var text string
		text, rest, more = cut(rest)
		l, name, err := parseLevel(s, text)
		if err != nil {
			return Pattern{}, err
		}
		switch l.kind {
		case literal:
			filter = append(filter, l.text)
		case multi:
			filter = append(filter, "#")
		case single:
			filter = append(filter, "+")
		case capture:
			if len(p.levels) == 0 && strings.HasPrefix(l.prefix, "$") {
				return Pattern{}, invalid(s, `a first level that begins with "$" cannot hold a capture: no wildcard matches it`)
			}
			if slices.Contains(p.names, name) {
				return Pattern{}, invalid(s, fmt.Sprintf("{%s} occurs twice", name))
			}
			p.names = append(p.names, name)
			filter = append(filter, "+")
		}
		p.levels = append(p.levels, l)
	}
	var err error
	if p.filter, err = ParseFilter(strings.Join(filter, "/")); err != nil {
		return Pattern{}, fmt.Errorf("pattern %q: %w", s, err)
	}
	return p, nil
}

// parseLevel reads one level of the pattern s.
func parseLevel(s, text string) (l level, name string, err error) {
	switch text {
	case "+":
		return level{kind: single}, "", nil
	case "#":
		return level{kind: multi}, "", nil
	}
	parts, err := split(text)
	if err != nil {
		return level{}, "", err
	}
	var b strings.Builder
	for _, p := range parts {
		switch {
		case !p.capture && strings.ContainsAny(p.text, "+#"):
			return level{}, "", invalid(s, `"+" and "#" stand for whole levels only`)
		case !p.capture:
			b.WriteString(p.text)
		case name != "":
			return level{}, "", invalid(s, fmt.Sprintf("{%s} and {%s} are in one level, which can hold one capture", name, p.text))
		default:
			name = p.text
			l.kind, l.prefix = capture, b.String()
			b.Reset()
		}
	}
	if name == "" {
		l.text = b.String()
	} else {
		l.suffix = b.String()
	}
	return l, name, nil
}

// String is the pattern as it was written.
func (p Pattern) String() string { return p.s }

// Filter is the filter to subscribe to: every level that captures is "+", so it may match more than the pattern.
func (p Pattern) Filter() Filter { return p.filter }

// Captures lists the names that Match gives, in the order of the topic. It is not to be changed.
func (p Pattern) Captures() []string { return p.names }

// Match tells whether topic is meant and what its captures took, each at least one byte. The map is the caller's; with a
// pattern that captures nothing it is nil. What does not match costs no allocation.
func (p Pattern) Match(topic string) (map[string]string, bool) {
	var few [8]string
	taken, ok := p.match(topic, few[:0])
	if !ok || len(taken) == 0 {
		return nil, ok
	}
	m := make(map[string]string, len(taken))
	for i, v := range taken {
		m[p.names[i]] = v
	}
	return m, true
}

// Matches is Match without what the captures took. It costs no allocation with up to eight of them.
func (p Pattern) Matches(topic string) bool {
	var few [8]string
	_, ok := p.match(topic, few[:0])
	return ok
}

// match appends what the captures took to taken.
func (p Pattern) match(topic string, taken []string) ([]string, bool) {
	if topic == "" || len(p.levels) == 0 || (topic[0] == '$' && p.levels[0].kind != literal) {
		return nil, false
	}
	rest, more := topic, true
	for i := range p.levels {
		l := &p.levels[i]
		if l.kind == multi {
			more = false // matches what is left and also, as the level above it has matched, nothing
			break
		}
		if !more {
			return nil, false
		}
		var text string
		text, rest, more = cut(rest)
		switch l.kind {
		case literal:
			if text != l.text {
				return nil, false
			}
		case capture:
			if len(text) <= len(l.prefix)+len(l.suffix) || !strings.HasPrefix(text, l.prefix) || !strings.HasSuffix(text, l.suffix) {
				return nil, false
			}
			taken = append(taken, text[len(l.prefix):len(text)-len(l.suffix)])
		}
	}
	if more {
		return nil, false
	}
	return taken, true
}
