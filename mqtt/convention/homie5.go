package convention

import (
	"maps"
	"slices"
	"strings"

	"github.com/gatepost/gatepost/mqtt/topic"
)

// homie5 reads version 5 of the Homie convention: <prefix>/5/<device>/$description says all about a device, $state whether
// it is there, $alert/<id> what is wrong with it.
type homie5 struct{ prefix string }

const maxHomieAlerts = 64 // of a device at a time

func newHomie5(prefix string) Convention { return homie5{prefix} }

func (h homie5) Name() string { return "homie5" }

func (h homie5) Filters() []topic.Filter {
	d := h.prefix + "/5/+/"
	return filters(d+"$state", d+"$description", d+"$alert/+")
}

func (h homie5) Key(t string) string {
	rest, ok := strings.CutPrefix(t, h.prefix+"/5/")
	id, attribute, _ := strings.Cut(rest, "/")
	if !ok || !homieID(id) || attribute != "$state" && attribute != "$description" && !strings.HasPrefix(attribute, "$alert/") {
		return ""
	}
	return id
}

// homie5State is what is remembered of a device.
type homie5State struct {
	Announced bool            `json:"a,omitempty"` // there is a Part or a Refused
	Alerts    map[string]bool `json:"r,omitempty"` // raised, by id
}

func (h homie5) Step(s State, m topic.Message) (State, []Fact) {
	id := h.Key(m.Topic)
	old := recall[homie5State](s)
	next := homie5State{old.Announced, maps.Clone(old.Alerts)}
	attribute := strings.TrimPrefix(m.Topic, h.prefix+"/5/"+id+"/")
	empty := len(m.Payload) == 0
	switch {
	case attribute == "$state" && empty, attribute == "$description" && empty: // it was removed for good
		if !old.Announced {
			return s, nil
		}
		return nil, []Fact{Gone{Key: id}}
	case attribute == "$state":
		return s, nil // the Part names it as a source
	case attribute == "$description":
		next.Announced = true
		o, err := object(m.Payload, MaxPayload)
		if err != nil {
			return remember(next), []Fact{Refused{id, id, "its description cannot be read: " + err.Error()}}
		}
		if v := str(o["homie"]); !strings.HasPrefix(v, "5.") {
			return remember(next), []Fact{Refused{id, id, "its description is not of version 5 of Homie"}}
		}
		return remember(next), []Fact{h.part(id, o)}
	}
	return h.alert(next, id, strings.TrimPrefix(attribute, "$alert/"), m)
}

// alert raises or resolves one. What was raised before is not raised again.
func (h homie5) alert(next homie5State, id, alert string, m topic.Message) (State, []Fact) {
	raised := len(m.Payload) > 0
	if !homieID(alert) || raised == next.Alerts[alert] || raised && len(next.Alerts) == maxHomieAlerts {
		return remember(next), nil
	}
	if next.Alerts == nil {
		next.Alerts = map[string]bool{}
	}
	next.Alerts[alert] = true
	if !raised {
		delete(next.Alerts, alert)
	}
	name := word(alert)
	if name == "" {
		name = "alert"
	}
	return remember(next), []Fact{Alarm{Key: id, Name: name, Text: label(string(m.Payload)), Raised: raised, Time: m.Time}}
}

// part reads a description.
func (h homie5) part(id string, o map[string]any) Part {
	base := h.prefix + "/5/" + id
	d := homieDevice{
		id: id, base: base, name: firstOf(str(o["name"]), id), kind: str(o["type"]),
		availability: []string{base + "/$state"},
	}
	if root := str(o["root"]); homieID(root) && root != id {
		d.availability = append(d.availability, h.prefix+"/5/"+root+"/$state")
	}
	if parent := firstOf(str(o["parent"]), str(o["root"])); homieID(parent) && parent != id {
		d.via = Identifier("homie", h.prefix+"/5/"+parent)
	}
	nodes, _ := o["nodes"].(map[string]any)
	for _, node := range slices.Sorted(maps.Keys(nodes)) {
		n, _ := nodes[node].(map[string]any)
		properties, _ := n["properties"].(map[string]any)
		if !homieID(node) {
			d.refuse(node)
			continue
		}
		for _, prop := range slices.Sorted(maps.Keys(properties)) {
			q, _ := properties[prop].(map[string]any)
			switch {
			case !homieID(prop):
				d.refuse(prop)
			case len(d.properties) < MaxReadings:
				d.properties = append(d.properties, homieProperty{
					node: node, id: prop, nodeName: str(n["name"]), nodeType: str(n["type"]), name: str(q["name"]),
					datatype: str(q["datatype"]), format: str(q["format"]), unit: str(q["unit"]),
					settable: truth(q["settable"], false), retained: truth(q["retained"], true),
				})
			}
		}
	}
	return d.part(h.Name())
}

func (d *homieDevice) refuse(id string) {
	if len(d.refused) < MaxReadings {
		d.refused = append(d.refused, Refusal{firstOf(label(id), "a part without a name"), "its id is not one of Homie"})
	}
}
