package convention

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gatepost/gatepost/mqtt/topic"
)

// homeAssistant decodes Home Assistant's MQTT discovery: retained JSON on <prefix>/<component>/[<node>/]<object>/config, one
// entity each, or on <prefix>/device/[<node>/]<object>/config, a device with its entities (2024.11 and later). An empty
// payload withdraws. Each entity becomes a Part; the State of a device's topic lists its entities. All names that the
// discovery documentation has are known, also the short ones (ha_keys.go).
type homeAssistant struct{ prefix string }

func newHomeAssistant(prefix string) Convention { return homeAssistant{prefix} }

func (h homeAssistant) Name() string { return "homeassistant" }

func (h homeAssistant) Filters() []topic.Filter {
	return filters(h.prefix+"/+/+/config", h.prefix+"/+/+/+/config")
}

func (h homeAssistant) Key(name string) string {
	if _, _, ok := h.levels(name); !ok {
		return ""
	}
	return name
}

// levels takes component and object out of a topic of announcements.
func (h homeAssistant) levels(name string) (component, object string, ok bool) {
	rest, ok := strings.CutPrefix(name, h.prefix+"/")
	if !ok || len(name) > MaxTopic/2 {
		return "", "", false
	}
	levels := strings.Split(rest, "/")
	if n := len(levels); n < 3 || n > 4 || levels[n-1] != "config" {
		return "", "", false
	}
	return levels[0], strings.Join(levels[1:len(levels)-1], "/"), true
}

func (h homeAssistant) Step(s State, m topic.Message) (State, []Fact) {
	component, object, ok := h.levels(m.Topic)
	if !ok {
		return s, nil
	}
	if component == "device" {
		return h.stepDevice(s, m, object)
	}
	name := label(component + " " + object)
	switch supported, known := components()[component]; {
	case !known || !supported:
		if len(bytes.TrimSpace(m.Payload)) == 0 {
			return nil, []Fact{Gone{Key: m.Topic}}
		}
		return nil, []Fact{Refused{m.Topic, name, unsupported(component)}}
	case strings.Trim(strings.ToLower(object), "abcdefghijklmnopqrstuvwxyz0123456789_-/") != "":
		return nil, []Fact{Refused{m.Topic, name, "its topic has other characters than letters, digits, _ and -"}}
	case len(bytes.TrimSpace(m.Payload)) == 0:
		return nil, []Fact{Gone{Key: m.Topic}}
	}
	o, err := haObject(m.Payload)
	if err != nil {
		return nil, []Fact{Refused{m.Topic, name, err.Error()}}
	}
	if truth(o["migrate_discovery"], false) {
		return nil, []Fact{Gone{Key: m.Topic, Moving: true}}
	}
	if base, ok := o["~"].(string); ok {
		haBase(o, base)
	}
	return nil, []Fact{haDecode(m.Topic, component, object, o)}
}

// haObject decodes an announcement and makes its names long.
func haObject(payload []byte) (map[string]any, error) {
	o, err := object(payload, MaxPayload)
	if err != nil {
		return nil, err
	}
	return haLong(o), nil
}

func unsupported(component string) string {
	return "gatepost does not support the component " + quote(clean(component, MaxWord))
}

// haState is the State of the topic of a device.
type haState struct {
	Entities []string `json:"entities"` // their keys in "components", sorted
}

// shared are the keys of a device's message that count for each of its entities that does not have its own.
var haShared = []string{
	"availability", "availability_mode", "availability_topic", "availability_template", "payload_available", "payload_not_available",
	"command_topic", "state_topic", "encoding", "qos", "retain", "device", "origin",
}

// stepDevice decodes a message about a device and its entities. An entity that it does not have any more is gone.
func (h homeAssistant) stepDevice(s State, m topic.Message, object string) (State, []Fact) {
	old := recall[haState](s).Entities
	key := func(entity string) string { return m.Topic + "#" + entity }
	gone := func(moving bool) []Fact {
		facts := []Fact{Gone{Key: m.Topic, Moving: moving}}
		for _, entity := range old {
			facts = append(facts, Gone{Key: key(entity), Moving: moving})
		}
		return facts
	}
	if len(bytes.TrimSpace(m.Payload)) == 0 {
		return nil, gone(false)
	}
	o, err := haObject(m.Payload)
	if err != nil {
		return s, []Fact{Refused{m.Topic, label("device " + object), err.Error()}}
	}
	if truth(o["migrate_discovery"], false) {
		return nil, gone(true)
	}
	entities, ok := o["components"].(map[string]any)
	if !ok {
		return s, []Fact{Refused{m.Topic, label("device " + object), "it has no components"}}
	}
	var facts []Fact
	var now []string
	for _, entity := range slices.Sorted(maps.Keys(entities)) {
		e, ok := entities[entity].(map[string]any)
		if entity == "" || len(entity) > MaxID || clean(entity, MaxID) != entity {
			facts = append(facts, Refused{m.Topic, label("component " + entity), "its name is empty, too long or has invisible characters"})
			continue
		}
		if len(now) == MaxReadings {
			facts = append(facts, Refused{m.Topic, label("device " + object), fmt.Sprintf("it has more than %d components", MaxReadings)})
			break
		}
		e = haLong(e)
		component := str(e["platform"])
		if ok && component != "" && len(e) == 1 {
			continue // what is left of an entity that is withdrawn
		}
		now = append(now, entity)
		if supported := components()[component]; !supported {
			facts = append(facts, Refused{key(entity), label("component " + entity), unsupported(component)})
			continue
		}
		for _, k := range haShared {
			if v, own := e[k]; (!own || v == nil) && o[k] != nil {
				e[k] = shareable(o[k])
			}
		}
		if base, ok := e["~"].(string); ok {
			haBase(e, base)
		} else if base, ok := o["~"].(string); ok {
			haBase(e, base)
		}
		facts = append(facts, haDecode(key(entity), component, entity, e))
	}
	for _, entity := range old {
		if _, there := slices.BinarySearch(now, entity); !there {
			facts = append(facts, Gone{Key: key(entity)})
		}
	}
	return remember(haState{now}), facts
}

// shareable is a copy of v as far as haBase may change it.
func shareable(v any) any {
	list, ok := v.([]any)
	if !ok {
		return v
	}
	out := make([]any, len(list))
	for i, item := range list {
		if o, ok := item.(map[string]any); ok {
			item = maps.Clone(o)
		}
		out[i] = item
	}
	return out
}
