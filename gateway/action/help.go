package action

import (
	"fmt"
	"strings"

	"github.com/gatepost/gatepost/mqtt/convention"
)

// Range says in words what an argument may be: "5 to 30 °C", "on or off", "one of auto, heat".
func Range(g *convention.Arg) string {
	unit := ""
	if g.Unit != "" {
		unit = " " + clean(g.Unit)
	}
	switch g.Kind {
	case convention.Number:
		switch {
		case g.Min != nil && g.Max != nil:
			return show(*g.Min) + " to " + show(*g.Max) + unit
		case g.Min != nil:
			return "at least " + show(*g.Min) + unit
		case g.Max != nil:
			return "at most " + show(*g.Max) + unit
		}
		return strings.TrimSpace("a number" + unit)
	case convention.OnOff:
		return "on or off"
	case convention.Time:
		return "a time"
	case convention.Option:
		if len(g.Options) == 0 {
			return "a word"
		}
		return oneOf(g.Options)
	}
	switch {
	case g.Min != nil && g.Max != nil && *g.Min == *g.Max:
		return fmt.Sprintf("a text of %s characters", show(*g.Min))
	case g.Min != nil && g.Max != nil:
		return fmt.Sprintf("a text of %s to %s characters", show(*g.Min), show(*g.Max))
	case g.Max != nil:
		return fmt.Sprintf("a text of at most %s characters", show(*g.Max))
	}
	return "a text"
}

// So many options are listed.
const maxOptions = 12

func oneOf(options []string) string {
	var out []string
	for _, o := range options[:min(len(options), maxOptions)] {
		out = append(out, clean(o))
	}
	if len(options) > maxOptions {
		out = append(out, fmt.Sprintf("and %d more", len(options)-maxOptions))
	}
	return "one of " + strings.Join(out, ", ")
}

// Usage is how an action is typed: "!set target <5 to 30 °C>".
func Usage(a *Action) string {
	out := "!" + a.Words()
	if a.Free && !a.Bare() {
		return out + " …"
	}
	for i := range a.Args {
		g := &a.Args[i]
		word := "<" + Range(g) + ">"
		if len(a.Args) > 1 {
			word = g.Name + "=" + word
		}
		if g.Optional {
			word = "[" + word + "]"
		}
		out += " " + word
	}
	return out
}

// So many actions are listed in one help.
const maxHelp = 40

// Help lists the actions that somebody may ask for, by grade. word, if not "", is what their names or labels have in them.
// more is how many others the device has that this person may not ask for.
func Help(device, word string, may []*Action, more int) string {
	if len(may)+more == 0 {
		return device + " has no commands."
	}
	out := []string{device + " understands:"}
	left := 0
	for _, group := range []struct {
		grade convention.Grade
		title string
	}{
		{convention.Operate, ""},
		{convention.Read, "Only asks, changes nothing:"},
		{convention.Dangerous, "Dangerous, so react to your message with ✅ when I ask:"},
	} {
		titled := false
		for _, a := range may {
			if a.Grade != group.grade || word != "" && !strings.Contains(plain(a.Name+" "+a.Words()+" "+a.Label), plain(word)) {
				continue
			}
			if len(out) >= maxHelp {
				left++
				continue
			}
			if !titled && group.title != "" {
				out, titled = append(out, group.title), true
			}
			line := Usage(a)
			if a.Label != "" && plain(a.Label) != plain(a.Words()) {
				line += ": " + clean(a.Label)
			}
			out = append(out, line)
		}
	}
	switch {
	case len(out) > 1:
	case len(may) == 0:
		return fmt.Sprintf("%s understands nothing from you. %s", device, others(more))
	default:
		return fmt.Sprintf("%s has no command with “%s” in it. “!help” lists them all.", device, clean(word))
	}
	if left > 0 {
		out = append(out, fmt.Sprintf("And %d more: “!help WORD” shows those with the word in them.", left))
	}
	if more > 0 && word == "" {
		out = append(out, others(more))
	}
	return strings.Join(out, "\n")
}

func others(n int) string {
	if n == 1 {
		return "There is 1 more, for people with more power."
	}
	return fmt.Sprintf("There are %d more, for people with more power.", n)
}
