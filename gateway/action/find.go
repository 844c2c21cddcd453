package action

import (
	"slices"
	"strings"
	"unicode"
)

// Names of more words than this are found only when they are typed as one.
const maxWords = 6

// Find gives the action that somebody means, and what stands behind its name. name is the first word they typed and rest
// what follows it. "set target 21", "set_target 21" and "Set-Target 21" are all the action set_target, and with short so is
// "target 21" when nothing is called target. The longest name counts. Letters outside ASCII are never taken for others that look like
// them. nil: there is no such action.
func Find(list []*Action, name, rest string, short bool) (a *Action, args string) {
	names, rests := []string{name}, []string{rest}
	for len(names) < maxWords {
		word, more := cut(rests[len(rests)-1])
		if word == "" {
			break
		}
		names, rests = append(names, names[len(names)-1]+"_"+word), append(rests, more)
	}
	for i, n := range slices.Backward(names) {
		if a = named(list, n); a != nil {
			return a, rests[i]
		}
	}
	for i, n := range slices.Backward(names) {
		if !short {
			break
		}
		if a = named(list, "set_"+n); a != nil && len(a.Args) > 0 && rests[i] != "" {
			return a, rests[i]
		}
	}
	return nil, ""
}

// named is the action with that name: exactly so, or but for its case.
func named(list []*Action, name string) *Action {
	for _, a := range list {
		if a.Name == name {
			return a
		}
	}
	for _, a := range list {
		if plain(a.Name) == plain(name) {
			return a
		}
	}
	return nil
}

// plain folds case, of ASCII alone, and the signs that join words.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'A' <= r && r <= 'Z':
			return r + 'a' - 'A'
		case r == '-':
			return '_'
		}
		return r
	}, s)
}

// cut takes the first word off.
func cut(s string) (word, rest string) {
	s = strings.TrimSpace(s)
	if i := strings.IndexFunc(s, unicode.IsSpace); i >= 0 {
		return s[:i], strings.TrimSpace(s[i:])
	}
	return s, ""
}

// Suggest gives the action whose name is near to what somebody typed; nil when none is. It is only ever proposed.
func Suggest(list []*Action, name, rest string) *Action {
	word, _ := cut(rest)
	for _, typed := range []string{name + "_" + word, name, "set_" + name} {
		typed = plain(typed)
		if len(typed) > 64 {
			continue
		}
		limit := 2
		if len([]rune(typed)) <= 4 {
			limit = 1
		}
		var best *Action
		for _, a := range list {
			if d := distance([]rune(typed), []rune(plain(a.Name))); d <= limit {
				best, limit = a, d-1
			}
		}
		if best != nil {
			return best
		}
	}
	return nil
}

// distance is how many letters must be put in, left out, changed or swapped with the next to make b of a (optimal string
// alignment).
func distance(a, b []rune) int {
	above2, above, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		above2, above, row = above, row, above2
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], above2[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
