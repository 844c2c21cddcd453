package convention

import (
	"maps"
	"strings"

	"github.com/gatepost/gatepost/mqtt/topic"
)

// homie4 reads versions 3 and 4 of the Homie convention, where each attribute of device, node and property is a retained
// message of its own. A device is announced once all that $nodes and $properties name has come, in whatever order.
type homie4 struct{ prefix string }

func newHomie4(prefix string) Convention { return homie4{prefix} }

func (h homie4) Name() string { return "homie4" }

// homieAttributes are those that matter, by how many levels are before them.
var homieAttributes = [3][]string{
	{"$homie", "$name", "$state", "$nodes", "$mac", "$fw/version"},
	{"$name", "$type", "$properties"},
	{"$name", "$datatype", "$format", "$settable", "$retained", "$unit"},
}

func (h homie4) Filters() []topic.Filter {
	var all []string
	base := h.prefix + "/+/"
	for _, attributes := range homieAttributes {
		for _, a := range attributes {
			all = append(all, base+a)
		}
		base += "+/"
	}
	return filters(all...)
}

func (h homie4) Key(t string) string {
	id, _, ok := h.parse(t)
	if !ok {
		return ""
	}
	return id
}

// parse gives the device and the rest of a topic of an attribute.
func (h homie4) parse(t string) (id, rest string, ok bool) {
	rest, ok = strings.CutPrefix(t, h.prefix+"/")
	if !ok {
		return "", "", false
	}
	id, rest, _ = strings.Cut(rest, "/")
	before, attribute, ok := strings.Cut(rest, "$")
	if !homieID(id) || id == "5" || !ok {
		return "", "", false
	}
	levels := 0
	if before != "" {
		for _, l := range strings.Split(strings.TrimSuffix(before, "/"), "/") {
			if levels++; !homieID(l) {
				return "", "", false
			}
		}
	}
	if levels >= len(homieAttributes) || !strings.HasSuffix("/"+before, "/") {
		return "", "", false
	}
	for _, a := range homieAttributes[levels] {
		if a == "$"+attribute {
			return id, rest, true
		}
	}
	return "", "", false
}

// homie4State is what is remembered of a device: its attributes by their topics below that of the device.
type homie4State struct {
	Attributes map[string]string `json:"a"`
	Announced  bool              `json:"p,omitempty"`
}

func (h homie4) Step(s State, m topic.Message) (State, []Fact) {
	id, rest, _ := h.parse(m.Topic)
	old := recall[homie4State](s)
	value := clean(string(m.Payload[:min(len(m.Payload), 4<<10)]), 4<<10)
	if (rest == "$state" || rest == "$homie") && value == "" { // it was removed for good
		if !old.Announced {
			return nil, nil
		}
		return nil, []Fact{Gone{Key: id}}
	}
	if rest == "$state" {
		value = "known" // what it is, its source says
	}
	known, have := old.Attributes[rest]
	if have && known == value || len(s)+len(rest)+len(value) > MaxState/4 {
		return s, nil
	}
	next := homie4State{maps.Clone(old.Attributes), old.Announced}
	if next.Attributes == nil {
		next.Attributes = map[string]string{}
	}
	next.Attributes[rest] = value
	if value == "" {
		delete(next.Attributes, rest)
	}
	p, whole := h.part(id, next.Attributes)
	if !whole {
		return remember(next), nil
	}
	next.Announced = true
	return remember(next), []Fact{p}
}

// part makes the Part of a device; false as long as something is missing.
func (h homie4) part(id string, a map[string]string) (Part, bool) {
	base := h.prefix + "/" + id
	version, nodes := a["$homie"], a["$nodes"]
	if !strings.HasPrefix(version, "3.") && !strings.HasPrefix(version, "4.") || nodes == "" || a["$state"] == "" || a["$name"] == "" {
		return Part{}, false
	}
	d := homieDevice{id: id, base: base, name: a["$name"], software: a["$fw/version"], availability: []string{base + "/$state"}}
	if mac := Identifier("mac", a["$mac"]); mac != "" {
		d.ids = []string{mac}
	}
	for _, node := range strings.Split(nodes, ",") {
		node = strings.TrimSpace(node)
		if strings.HasSuffix(node, "[]") {
			d.refused = append(d.refused, Refusal{label(node), "arrays of nodes are not supported"})
			continue
		}
		if !homieID(node) {
			d.refuse(node)
			continue
		}
		properties, ok := a[node+"/$properties"]
		if !ok {
			return Part{}, false
		}
		for _, prop := range strings.Split(properties, ",") {
			prop, _, _ = strings.Cut(strings.TrimSpace(prop), ":") // version 2 wrote "power:settable"
			own := node + "/" + prop + "/"
			if !homieID(prop) {
				d.refuse(prop)
				continue
			}
			if _, typed := a[own+"$datatype"]; !typed && strings.HasPrefix(version, "4.") {
				return Part{}, false
			}
			if len(d.properties) == MaxReadings {
				continue
			}
			d.properties = append(d.properties, homieProperty{
				node: node, id: prop, nodeName: a[node+"/$name"], nodeType: a[node+"/$type"], name: a[own+"$name"],
				datatype: a[own+"$datatype"], format: a[own+"$format"], unit: a[own+"$unit"],
				settable: a[own+"$settable"] == "true", retained: a[own+"$retained"] != "false",
			})
		}
	}
	return d.part(h.Name()), true
}
