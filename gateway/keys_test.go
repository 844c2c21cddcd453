package gateway

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/gatepost/gatepost/internal/ids"
)

func TestWhatAKeyRuns(t *testing.T) {
	keyed := door
	keyed.Call = &CallSpec{Media: Media{Announce: "tone:440"}, Keys: map[rune]string{'9': "unlock", '5': "open", '0': "gone"}}
	limit := func(c *Config) { c.People.Limits = []Limit{{Command: "unlock", Grade: Dangerous}} }
	for name, c := range map[string]struct {
		device    ids.DeviceID
		key       rune
		change    func(*Config)
		command   string
		dangerous bool
		err       error
	}{
		"a command":                        {"door", '9', nil, "unlock", false, nil},
		"a dangerous command":              {"door", '5', nil, "open", true, nil},
		"one that a limit makes dangerous": {"door", '9', limit, "unlock", true, nil},
		"a key of nothing":                 {"door", '1', nil, "", false, nil},
		"a command that there is no more":  {"door", '0', nil, "gone", false, ErrNoCommand},
		"a device that there is not":       {"window", '9', nil, "", false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.change = c.change
				w.start([]RuleSpec{keyed})
				command, dangerous, err := w.g.KeyCommand(t.Context(), c.device, c.key)
				if command != c.command || dangerous != c.dangerous || !errors.Is(err, c.err) {
					t.Errorf("%q, dangerous %v, %v", command, dangerous, err)
				}
				if err := w.stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
