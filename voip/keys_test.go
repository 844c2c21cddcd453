package voip

import (
	"testing"
	"time"
)

func TestKeys(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	commands := map[rune]KeyCommand{'1': {"light", false}, '9': {"unlock", true}, '8': {"siren", true}}
	type press struct {
		after time.Duration
		digit rune
		want  KeyResult
		name  string
	}
	for name, presses := range map[string][]press{
		"plain":                    {{0, '1', KeyRun, "light"}, {0, '1', KeyRun, "light"}},
		"unknown":                  {{0, '5', KeyNothing, ""}, {0, '#', KeyNothing, ""}},
		"dangerous":                {{0, '9', KeyConfirm, "unlock"}, {time.Second, '#', KeyRun, "unlock"}, {0, '#', KeyNothing, ""}},
		"at the last moment":       {{0, '9', KeyConfirm, "unlock"}, {ConfirmKey, '#', KeyRun, "unlock"}},
		"too late":                 {{0, '9', KeyConfirm, "unlock"}, {ConfirmKey + 1, '#', KeyNothing, ""}},
		"a digit in between":       {{0, '9', KeyConfirm, "unlock"}, {0, '1', KeyRun, "light"}, {0, '#', KeyNothing, ""}},
		"unknown digit in between": {{0, '9', KeyConfirm, "unlock"}, {0, '5', KeyNothing, ""}, {0, '#', KeyNothing, ""}},
		"another dangerous one":    {{0, '9', KeyConfirm, "unlock"}, {0, '8', KeyConfirm, "siren"}, {0, '#', KeyRun, "siren"}},
		"only #":                   {{0, '#', KeyNothing, ""}},
	} {
		t.Run(name, func(t *testing.T) {
			keys, at := Keys{Commands: commands}, now
			for i, p := range presses {
				at = at.Add(p.after)
				if got, command := keys.Press(at, p.digit); got != p.want || command != p.name {
					t.Errorf("press %d, %c: %s %q, want %s %q", i, p.digit, got, command, p.want, p.name)
				}
			}
		})
	}
}
