package convention

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gatepost/gatepost/mqtt/topic"
)

// clean makes a line for people of s: valid UTF-8, white space and control characters as single spaces, nothing that turns
// the direction of writing or is invisible, at most most bytes.
func clean(s string, most int) string {
	if len(s) > 8*most {
		s = s[:8*most]
	}
	var b strings.Builder
	gap := false
	for _, r := range s {
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r):
			gap = b.Len() > 0
			continue
		case r == utf8.RuneError || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Co, r):
			continue
		}
		if gap {
			b.WriteByte(' ')
			gap = false
		}
		b.WriteRune(r)
		if b.Len() > most {
			return strings.TrimSpace(cut(b.String(), most))
		}
	}
	return b.String()
}

// cut shortens s to at most most bytes without breaking a letter.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}

// label is a name for people, "" if nothing is left of s.
func label(s string) string { return clean(s, MaxName) }

// word makes [a-z0-9_]* of s: lower case, one "_" for each run of anything else, at most MaxWord bytes. Letters with marks
// lose them where that is common (ä is a), other letters become "_".
func word(s string) string {
	var b strings.Builder
	gap := false
	for _, r := range strings.ToLower(cut(s, 8*MaxWord)) {
		if plain, ok := unmarked[r]; ok {
			r = plain
		}
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') {
			gap = b.Len() > 0
			continue
		}
		if gap {
			b.WriteByte('_')
			gap = false
		}
		b.WriteRune(r)
		if b.Len() >= MaxWord-1 {
			break
		}
	}
	return b.String()
}

// publishable says why a device may not name t as a topic for what is sent to it, "" if it may: it must be a topic without
// wildcards, and neither the broker's own nor one of announcements, which would let one device make up others.
func publishable(t string) string {
	if why := readable(t); why != "" {
		return why
	}
	levels := strings.Split(t, "/")
	last := levels[len(levels)-1]
	switch {
	case topic.ValidTopic(t) != nil:
		return "its topic is not valid"
	case last == "config" && len(levels) >= 4 && component(levels[len(levels)-3], levels[len(levels)-4]):
		return "its topic is one of announcements"
	case levels[0] == "tasmota" && len(levels) > 1 && levels[1] == "discovery":
		return "its topic is one of announcements"
	case strings.HasPrefix(last, "$") && last != "$target":
		return "its topic is one of announcements"
	case levels[0] == "spBv1.0" && len(levels) > 2 && levels[2] != "NCMD" && levels[2] != "DCMD":
		return "its topic is one of announcements"
	case strings.HasPrefix(t, "zigbee2mqtt/bridge/") && len(levels) > 2 && levels[2] != "request":
		return "its topic is one of announcements"
	}
	return ""
}

// component tells whether one of two levels of a topic is a component of Home Assistant discovery: in
// <prefix>/<component>/[<node>/]<object>/config it is two or three levels before the last.
func component(levels ...string) bool {
	for _, l := range levels {
		if _, ok := components()[l]; ok || l == "device" {
			return true
		}
	}
	return false
}

// readable says why a device may not name t as a topic to listen to, "" if it may: a topic, of which some levels may be "+"
// (gateways that may hear the same sensor do that) and the last "#" behind at least two that are none (so do those whose
// devices have topics of their own), but never all, and not the broker's own.
func readable(t string) string {
	_, err := topic.ParseFilter(t)
	switch {
	case t == "":
		return "its topic is missing"
	case len(t) > MaxTopic:
		return "its topic is too long"
	case err != nil:
		return "its topic is not valid"
	case t[0] == '$':
		return "its topic is the broker's own"
	case strings.Trim(t, "+/#") == "" || strings.Contains(t, "#") && literals(t) < 2:
		return "its topic stands for too many"
	}
	for _, r := range t {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return "its topic has invisible characters in it"
		}
	}
	return ""
}

// literals counts the levels of a filter that are no wildcards.
func literals(filter string) int {
	n := 0
	for level := range strings.SplitSeq(filter, "/") {
		if level != "+" && level != "#" && level != "" {
			n++
		}
	}
	return n
}

// Identifier makes the form of an identifier in which parts can be compared: the kind ("mac", "zigbee", "ha"), a colon, and
// the value without white space and control characters; of hexadecimal addresses only the digits, in lower case. "" if
// nothing is left.
func Identifier(kind, value string) string {
	value = strings.TrimSpace(clean(value, MaxID))
	switch kind {
	case "mac":
		value = hexDigits(value)
		if len(value) != 12 && len(value) != 16 || strings.Trim(value, "0") == "" || strings.Trim(value, "f") == "" {
			return "" // not an address, or one that stands for nobody or everybody
		}
	case "zigbee":
		value = hexDigits(strings.TrimPrefix(strings.ToLower(value), "0x"))
		if len(value) != 16 {
			return ""
		}
		value = "0x" + value
	}
	if value == "" {
		return ""
	}
	return cut(kind+":"+value, MaxID)
}

// hexDigits keeps the hexadecimal digits of an address that is written with - : . or without; "" if there is anything else.
func hexDigits(s string) string {
	s = strings.NewReplacer("-", "", ":", "", ".", "").Replace(strings.ToLower(s))
	if strings.Trim(s, "0123456789abcdef") != "" {
		return ""
	}
	return s
}

// literal is Jinja source that renders to s, whatever is in s.
func literal(s string) string {
	if !strings.Contains(s, "{") && !strings.HasSuffix(s, "\n") && !strings.Contains(s, "\r") {
		return s
	}
	return "{{ " + quote(s) + " }}"
}

// quote is s as a text inside a Jinja expression.
func quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`, "\n", `\n`, "\r", `\r`).Replace(s) + "'"
}

// path is Jinja source for one member of value_json.
func path(keys ...string) string {
	return "{{ " + access(keys...) + " }}"
}

// access is the expression in path.
func access(keys ...string) string {
	var b strings.Builder
	b.WriteString("value_json")
	for _, k := range keys {
		if k != "" && word(k) == k && (k[0] < '0' || k[0] > '9') {
			b.WriteString("." + k)
		} else {
			b.WriteString("[" + quote(k) + "]")
		}
	}
	return b.String()
}

// unmarked is the plain letter of those with marks that are common in names.
var unmarked = map[rune]rune{
	'ä': 'a', 'á': 'a', 'à': 'a', 'â': 'a', 'å': 'a', 'ã': 'a', 'æ': 'a', 'ç': 'c', 'č': 'c', 'ć': 'c', 'ď': 'd', 'é': 'e', 'è': 'e', 'ê': 'e',
	'ë': 'e', 'ě': 'e', 'ę': 'e', 'í': 'i', 'ì': 'i', 'î': 'i', 'ï': 'i', 'ł': 'l', 'ñ': 'n', 'ň': 'n', 'ń': 'n', 'ö': 'o', 'ó': 'o', 'ò': 'o', 'ô': 'o',
	'õ': 'o', 'ø': 'o', 'ř': 'r', 'ß': 's', 'š': 's', 'ś': 's', 'ť': 't', 'ü': 'u', 'ú': 'u', 'ù': 'u', 'û': 'u', 'ů': 'u', 'ý': 'y', 'ž': 'z', 'ź': 'z', 'ż': 'z',
}
