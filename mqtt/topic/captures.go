package topic

import (
	"fmt"
	"slices"
	"strings"
)

// part is a piece of a pattern or a template: literal text, or the name of a capture.
type part struct {
	text    string
	capture bool
}

// split reads s as literal text with {captures}. "{{" and "}}" are the literal braces.
func split(s string) ([]part, error) {
	var parts []part
	var text strings.Builder
	flush := func() {
		if text.Len() > 0 {
			parts = append(parts, part{text: text.String()})
			text.Reset()
		}
	}
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case (c == '{' || c == '}') && i+1 < len(s) && s[i+1] == c:
			text.WriteByte(c)
			i += 2
		case c == '}':
			return nil, invalid(s, `"}" without "{" (write "}}" for the brace itself)`)
		case c == '{':
			end := strings.IndexByte(s[i:], '}')
			if end < 0 {
				return nil, invalid(s, `"{" without "}" (write "{{" for the brace itself)`)
			}
			name := s[i+1 : i+end]
			if !validName(name) {
				return nil, invalid(s, fmt.Sprintf("{%s}: the name of a capture begins with a-z or _ and goes on with a-z, 0-9 or _", name))
			}
			flush()
			parts = append(parts, part{text: name, capture: true})
			i += end + 1
		default:
			text.WriteByte(c)
			i++
		}
	}
	flush()
	return parts, nil
}

func validName(name string) bool {
	for i := 0; i < len(name); i++ {
		c := name[i]
		if c != '_' && (c < 'a' || c > 'z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

// braced lists names for an error text: "{site}, {device}".
func braced(names []string) string {
	names = slices.Clone(names)
	for i, n := range names {
		names[i] = "{" + n + "}"
	}
	return strings.Join(names, ", ")
}
