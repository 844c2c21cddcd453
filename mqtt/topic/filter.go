package topic

import "strings"

// Filter is a valid topic filter (MQTT 3.1.1 section 4.7). It is comparable; the zero value matches nothing.
type Filter struct{ s string }

// ParseFilter checks s: 1 to 65535 bytes of UTF-8 without NUL, "+" only as a whole level, "#" only as the last level.
func ParseFilter(s string) (Filter, error) {
	if err := validString(s); err != nil {
		return Filter{}, err
	}
	for rest, more := s, true; more; {
		var level string
		level, rest, more = cut(rest)
		switch {
		case level == "#" && more:
			return Filter{}, invalid(s, `"#" may only be the last level`)
		case level == "#", level == "+":
		case strings.ContainsAny(level, "+#"):
			return Filter{}, invalid(s, `"+" and "#" stand for whole levels only`)
		}
	}
	return Filter{s}, nil
}

// String is the filter as it is sent to a broker.
func (f Filter) String() string { return f.s }

// Match tells whether a message published to topic is meant. A filter that begins with a wildcard does not match topics
// that begin with "$" (section 4.7.2). It does not allocate.
func (f Filter) Match(topic string) bool {
	rest := f.s
	if rest == "" || topic == "" || (topic[0] == '$' && wild(rest)) {
		return false
	}
	for {
		level, frest, fmore := cut(rest)
		if level == "#" {
			return true
		}
		name, trest, tmore := cut(topic)
		if level != "+" && level != name {
			return false
		}
		switch {
		case !tmore && !fmore:
			return true
		case !tmore:
			return frest == "#" // "sport/#" means "sport" too
		case !fmore:
			return false
		}
		rest, topic = frest, trest
	}
}

// Covers tells whether f matches every topic that other matches.
func (f Filter) Covers(other Filter) bool {
	a, b := f.s, other.s
	if a == "" || b == "" || (b[0] == '$' && wild(a)) {
		return false
	}
	if b == "#" && a == "+/#" {
		return true // every topic has a first level
	}
	for {
		al, arest, amore := cut(a)
		if al == "#" {
			return true
		}
		bl, brest, bmore := cut(b)
		if bl == "#" || (al != "+" && al != bl) {
			return false
		}
		switch {
		case !bmore && !amore:
			return true
		case !bmore:
			return arest == "#"
		case !amore:
			return false
		}
		a, b = arest, brest
	}
}

// Overlaps tells whether there is a topic that both match. A message to such a topic may be delivered twice to a client
// that has subscribed to both (MQTT 3.1.1 section 3.3.5).
func (f Filter) Overlaps(other Filter) bool {
	a, b := f.s, other.s
	if a == "" || b == "" || (a[0] == '$' && wild(b)) || (b[0] == '$' && wild(a)) {
		return false
	}
	for {
		al, arest, amore := cut(a)
		bl, brest, bmore := cut(b)
		if al == "#" || bl == "#" {
			return true
		}
		if al != "+" && bl != "+" && al != bl {
			return false
		}
		switch {
		case !amore && !bmore:
			return true
		case !amore:
			return brest == "#"
		case !bmore:
			return arest == "#"
		}
		a, b = arest, brest
	}
}

// wild tells whether a filter begins with a wildcard. Only whole levels are wildcards, so its first byte says it.
func wild(filter string) bool { return filter[0] == '+' || filter[0] == '#' }

// Permits tells whether someone who may use what permission matches may use asked: a topic to publish to, or a filter to
// subscribe to, which must be covered as a whole. Of a shared subscription "$share/<group>/<filter>" the filter counts.
// What is malformed is not permitted.
func Permits(permission Filter, asked string) bool {
	if rest, ok := strings.CutPrefix(asked, "$share/"); ok {
		group, filter, more := cut(rest)
		if group == "" || strings.ContainsAny(group, "+#") || !more {
			return false
		}
		asked = filter
	}
	f, err := ParseFilter(asked)
	return err == nil && permission.Covers(f)
}
