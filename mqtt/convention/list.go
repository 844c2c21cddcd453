package convention

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gatepost/gatepost/mqtt/topic"
)

// known is a line of the registry.
type known struct {
	name   string
	prefix string // the topics' first levels unless the configuration says otherwise; "" if they are fixed
	make   func(prefix string) Convention
}

// registry lists the conventions there are. Of two that announce the same device the first knows it better: its own
// convention before Home Assistant discovery, which many programs speak beside their own.
func registry() []known {
	return []known{
		{"zigbee2mqtt", "zigbee2mqtt", newZigbee2MQTT},
		{"homie5", "homie", newHomie5},
		{"homie4", "homie", newHomie4},
		{"dji", "", newDJI},
		{"meshtastic", "msh", newMeshtastic},
		{"chirpstack", "application", newChirpStack},
		{"ttn", "v3", newTTN},
		{"sparkplug", "spBv1.0", newSparkplug},
		{"frigate", "frigate", newFrigate},
		{"owntracks", "owntracks", newOwnTracks},
		{"shelly", "", newShelly},
		{"tasmota", "tasmota", newTasmota},
		{"homeassistant", "homeassistant", newHomeAssistant},
	}
}

// Names lists the conventions.
func Names() []string {
	var out []string
	for _, k := range registry() {
		out = append(out, k.name)
	}
	return out
}

// New makes the convention with this name. prefix is where its topics begin; "" is the usual one. A prefix that is no topic,
// or for a convention whose topics are fixed, is an error.
func New(name, prefix string) (Convention, error) {
	i := slices.IndexFunc(registry(), func(k known) bool { return k.name == name })
	if i < 0 {
		return nil, fmt.Errorf("there is no convention %q; there are %s", name, strings.Join(Names(), ", "))
	}
	k := registry()[i]
	switch {
	case prefix == "":
		prefix = k.prefix
	case k.prefix == "":
		return nil, fmt.Errorf("the topics of %s are fixed", name)
	case topic.ValidTopic(prefix) != nil || prefix[0] == '$' || strings.HasSuffix(prefix, "/"):
		return nil, fmt.Errorf("the prefix %q of %s is no beginning of a topic", prefix, name)
	}
	return k.make(prefix), nil
}

// filters parses filters that are known to be good.
func filters(all ...string) []topic.Filter {
	var out []topic.Filter
	for _, s := range all {
		if f, err := topic.ParseFilter(s); err == nil {
			out = append(out, f)
		}
	}
	return out
}
