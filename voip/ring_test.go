package voip

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gatepost/gatepost/internal/ids"
)

func TestRing(t *testing.T) {
	const all, turn = false, true
	for name, c := range map[string]struct {
		people string
		inTurn bool
		events string
		want   string
	}{
		"all at once, one answers":   {"a b c", all, "start answered:b ended:a ended:c ended:b", "call a, call b, call c; stop a answered_elsewhere, stop c answered_elsewhere; ; ; "},
		"all at once, nobody":        {"a b", all, "start ended:a ended:b", "call a, call b; ; missed"},
		"in turn":                    {"a b", turn, "start ended:a answered:b ended:b", "call a; call b; ; "},
		"in turn, nobody":            {"a b", turn, "start ended:a ended:b", "call a; call b; missed"},
		"time is over":               {"a b", turn, "start expired ended:a answered:a", "call a; stop a invite_timeout, missed; ; "},
		"time is over while talking": {"a", all, "start answered:a expired ended:a", "call a; ; ; "},
		"two answer":                 {"a b", all, "start answered:a answered:b", "call a, call b; stop b answered_elsewhere; "},
		"twice named":                {"a a", all, "start", "call a"},
		"nobody to call":             {"", all, "start", "missed"},
		"in turn, too slow":          {"a b", turn, "start turn ended:a turn ended:b turn", "call a; stop a invite_timeout; call b; stop b invite_timeout; missed; "},
		"no turns while talking":     {"a b", turn, "start answered:a turn ended:a", "call a; ; ; "},
		"somebody else":              {"a", all, "start answered:x ended:x", "call a; ; "},
	} {
		t.Run(name, func(t *testing.T) {
			var people []ids.UserID
			for _, p := range strings.Fields(c.people) {
				people = append(people, ids.UserID(p))
			}
			r := NewRing(people, c.inTurn)
			var got []string
			for _, ev := range strings.Fields(c.events) {
				kind, who, _ := strings.Cut(ev, ":")
				var effects []RingEffect
				switch kind {
				case "start":
					effects = r.Start()
				case "answered":
					effects = r.Answered(ids.UserID(who))
				case "ended":
					effects = r.Ended(ids.UserID(who))
				case "expired":
					effects = r.Expired()
				case "turn":
					effects = r.Turn()
				}
				var words []string
				for _, e := range effects {
					switch e := e.(type) {
					case RingCall:
						words = append(words, "call "+string(e.Person))
					case RingStop:
						words = append(words, fmt.Sprintf("stop %s %s", e.Person, e.Reason))
					case RingMissed:
						words = append(words, "missed")
					}
				}
				got = append(got, strings.Join(words, ", "))
			}
			if s := strings.Join(got, "; "); s != c.want {
				t.Errorf("%s\nwant\n%s", s, c.want)
			}
		})
	}
}
