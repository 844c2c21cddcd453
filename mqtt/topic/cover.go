package topic

import (
	"slices"
	"strings"
)

// Cover gives the filters to subscribe to for all of wanted so that no message comes twice: a filter that another one
// covers vanishes, and two that overlap are replaced by the smallest filter that covers both, which may match more than
// was wanted. The result is sorted and does not depend on the order of wanted.
//
// Joining never widens a first level that begins with "$", and never makes "#" where nobody asked for it, so $SYS and
// the like are subscribed to only when they are wanted by name. But the smallest filter for both can be a wide one:
// "+" and "a/#" share the topic "a", and only "+/#" covers both.
func Cover(wanted []Filter) []Filter {
	sorted := slices.Clone(wanted)
	slices.SortFunc(sorted, compare)
	var out, exact []Filter
	for _, f := range slices.Compact(sorted) {
		if f.s == "" {
			continue
		}
		if !strings.ContainsAny(f.s, "+#") { // overlaps what covers it, and nothing else; there may be thousands
			exact = append(exact, f)
			continue
		}
		for i := 0; i < len(out); {
			if !out[i].Overlaps(f) {
				i++
				continue
			}
			f = join(f, out[i])
			out = slices.Delete(out, i, i+1)
			i = 0 // a wider f may now reach those it has passed
		}
		out = append(out, f)
	}
	wide := out
	for _, f := range exact {
		if !slices.ContainsFunc(wide, func(w Filter) bool { return w.Match(f.s) }) {
			out = append(out, f)
		}
	}
	slices.SortFunc(out, compare)
	return out
}

// join is the smallest filter that covers a and b, which overlap.
func join(a, b Filter) Filter {
	var out strings.Builder
	x, y := a.s, b.s
	for {
		xl, xrest, xmore := cut(x)
		yl, yrest, ymore := cut(y)
		switch {
		case xl == "#" || yl == "#":
			out.WriteByte('#')
			return Filter{out.String()}
		case xl == yl:
			out.WriteString(xl)
		default:
			out.WriteByte('+')
		}
		if !xmore && !ymore {
			return Filter{out.String()}
		}
		out.WriteByte('/')
		if !xmore || !ymore { // the longer one goes on with "#", else they would not overlap
			out.WriteByte('#')
			return Filter{out.String()}
		}
		x, y = xrest, yrest
	}
}

// Delta tells how to get from the subscriptions old to those of want, both sorted. Subscribe first: for a moment too much
// is better than a gap.
func Delta(old, want []Filter) (subscribe, unsubscribe []Filter) {
	return without(want, old), without(old, want)
}

// without gives what of a is not in b, sorted, each once.
func without(a, b []Filter) []Filter {
	there := make(map[Filter]bool, len(b))
	for _, f := range b {
		there[f] = true
	}
	var out []Filter
	for _, f := range a {
		if !there[f] {
			out = append(out, f)
		}
	}
	slices.SortFunc(out, compare)
	return slices.Compact(out)
}

func compare(a, b Filter) int { return strings.Compare(a.s, b.s) }
