package gateway

import (
	"testing"

	"github.com/gatepost/gatepost/internal/ids"
)

func TestParseAsk(t *testing.T) {
	one, two := []ids.DeviceID{"door"}, []ids.DeviceID{"a", "b"}
	for _, c := range []struct {
		name, text string
		devices    []ids.DeviceID
		about      ids.DeviceID
		want       ask
		ok         bool
	}{
		{"a command", "!unlock", one, "", ask{device: "door", name: "unlock", args: "", bang: true}, true},
		{"with space in front of its name", "! unlock  now ", one, "", ask{device: "door", name: "unlock", args: "now", bang: true}, true},
		{"no command", "unlock", one, "", ask{}, false},
		{"only a bang", "!", one, "", ask{}, false},
		{"JSON over lines", "!set {\n  \"x\": {\"y\": 1}\n}", one, "", ask{device: "door", name: "set", args: "{\n  \"x\": {\"y\": 1}\n}", bang: true}, true},
		{"JSON on the next line", "!set\n{\"x\": 1}", one, "", ask{device: "door", name: "set", args: `{"x": 1}`, bang: true}, true},
		{"a tab", "!set\tx y", one, "", ask{device: "door", name: "set", args: "x y", bang: true}, true},
		{"the device named", "!door\nunlock  a  b", one, "", ask{device: "door", name: "unlock", args: "a  b", bang: true}, true},
		{"only the device", "!b", two, "", ask{device: "b", name: "help", args: "", bang: true}, true},
		{"of several none", "!on", two, "", ask{device: "", name: "on", args: "", bang: true}, true},
		{"a reply", "on bright", two, "b", ask{device: "b", name: "on", args: "bright", bang: false}, true},
		{"a reply that names another", "a on", two, "b", ask{device: "a", name: "on", args: "", bang: false}, true},
		{"a reply about a device that left", "on", two, "c", ask{device: "", name: "on", args: "", bang: false}, false},
		{"nobody there", "!on", nil, "", ask{}, false},
	} {
		if got, ok := parseAsk(c.text, c.devices, c.about); ok != c.ok || ok && got != c.want {
			t.Errorf("%s: %+v, %v", c.name, got, ok)
		}
	}
}

func FuzzSpoken(f *testing.F) {
	f.Add("> <@a:x> hello\n\n!on", "door")
	f.Add(">\n> \n", "")
	f.Fuzz(func(t *testing.T, body, about string) {
		text := spoken(body, true)
		a, ok := parseAsk(text, []ids.DeviceID{"door", "b"}, ids.DeviceID(about))
		if ok && a.name == "" {
			t.Errorf("%q asks for nothing: %+v", body, a)
		}
	})
}
