package config

import (
	"fmt"
	"regexp"
	"strings"
)

var nameForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// expand puts the values of environment variables in the place of ${NAME}. "$${" is a literal "${"; a "$" before anything
// else is itself. What comes from the environment is not expanded again.
func expand(s string, env map[string]string) (string, error) {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, "${")
		if !found {
			b.WriteString(s)
			return b.String(), nil
		}
		if strings.HasSuffix(before, "$") {
			b.WriteString(before + "{")
			s = after
			continue
		}
		name, rest, closed := strings.Cut(after, "}")
		if !closed || !nameForm.MatchString(name) {
			return "", fmt.Errorf("%s is not ${NAME} with the name of an environment variable; write $${ for a literal ${", quote("${"+name))
		}
		value, ok := env[name]
		if !ok {
			return "", fmt.Errorf("the environment variable %s is not set", name)
		}
		b.WriteString(before + value)
		s = rest
	}
}

// environment makes a map of "NAME=value" pairs.
func environment(pairs []string) map[string]string {
	env := make(map[string]string, len(pairs))
	for _, pair := range pairs {
		if name, value, ok := strings.Cut(pair, "="); ok {
			env[name] = value
		}
	}
	return env
}
