package convention

import (
	"encoding/json"
	"strconv"
)

// abilities are what a group can do if all its members can.
type abilities uint8

const (
	canSwitch abilities = 1 << iota
	canDim
	canCover
	canPosition
	canLock
	canTemperature // of white light
)

// zigbeeGroup is a group as it is remembered: its members' abilities come from the list of devices.
type zigbeeGroup struct {
	ID      int      `json:"i"`
	Name    string   `json:"n"`
	Members []string `json:"m,omitempty"` // Part.Key
}

func (g zigbeeGroup) key() string { return "group:" + strconv.Itoa(g.ID) }

// groups reads the list of groups.
func (z zigbee2mqtt) groups(s State, payload []byte) (State, []Fact) {
	v, err := decode(payload, MaxInventory)
	all, ok := v.([]any)
	if err != nil || !ok {
		return s, nil
	}
	next := recall[zigbeeNetwork](s)
	gone := map[string]bool{}
	for _, g := range next.Groups {
		gone[g.key()] = true
	}
	old := next.Groups
	next.Groups = nil
	members := 0
	for _, v := range all {
		o, _ := v.(map[string]any)
		g := zigbeeGroup{ID: whole(o["id"], 0, 1<<16-1, -1), Name: str(o["friendly_name"])}
		if g.ID < 0 || len(g.Name) > MaxName || z.badName(g.Name) != "" || len(next.Groups) == maxZigbeeGroups {
			continue
		}
		for _, v := range list(o["members"]) {
			member, _ := v.(map[string]any)
			if id := Identifier("zigbee", str(member["ieee_address"])); id != "" && members < maxGroupMembers {
				members++
				g.Members = append(g.Members, id[len("zigbee:"):])
			}
		}
		delete(gone, g.key())
		next.Groups = append(next.Groups, g)
	}
	var facts []Fact
	for _, g := range old {
		if gone[g.key()] {
			facts = append(facts, Gone{Key: g.key()})
		}
	}
	return remember(next), append(facts, z.groupParts(next)...)
}

// groupParts makes the Parts of all groups with members whose abilities are known.
func (z zigbee2mqtt) groupParts(n zigbeeNetwork) []Fact {
	var facts []Fact
	for _, g := range n.Groups {
		can, known := ^abilities(0), len(g.Members) > 0
		for _, m := range g.Members {
			a, ok := n.Devices[m]
			known = known && ok
			can &= a
		}
		if !known || can == 0 {
			continue
		}
		p := Part{
			Convention: z.Name(), Key: g.key(), IDs: []string{Identifier("zigbee-group", z.prefix+"/"+strconv.Itoa(g.ID))},
			Name: label(g.Name), Manufacturer: "Zigbee2MQTT", Model: "Group", Via: Identifier("zigbee", n.Coordinator),
			Availability: z.availability(z.prefix + "/" + g.Name + "/availability"),
		}
		e := exposer{base: z.prefix + "/" + g.Name, part: &p}
		e.all(can.exposes())
		facts = append(facts, finish(p))
	}
	return facts
}

// exposes says what a group with these abilities would expose.
func (a abilities) exposes() []any {
	all := json.Number("7") // seen, set and asked for
	onOff := map[string]any{"type": "binary", "name": "state", "property": "state", "value_on": "ON", "value_off": "OFF", "value_toggle": "TOGGLE", "access": all}
	ranged := func(name, unit string, high json.Number) map[string]any {
		return map[string]any{"type": "numeric", "name": name, "property": name, "unit": unit, "value_min": json.Number("0"), "value_max": high, "access": all}
	}
	var out []any
	add := func(kind string, features ...any) {
		out = append(out, map[string]any{"type": kind, "features": features})
	}
	switch {
	case a&canDim != 0:
		features := []any{onOff, ranged("brightness", "", "254")}
		if a&canTemperature != 0 {
			t := ranged("color_temp", "mired", "500")
			t["value_min"] = json.Number("150")
			features = append(features, t)
		}
		add("light", features...)
	case a&canSwitch != 0:
		add("switch", onOff)
	}
	if a&canCover != 0 {
		features := []any{map[string]any{"type": "enum", "name": "state", "property": "state", "values": []any{"OPEN", "CLOSE", "STOP"}, "access": json.Number("3")}}
		if a&canPosition != 0 {
			features = append(features, ranged("position", "%", "100"))
		}
		add("cover", features...)
	}
	if a&canLock != 0 {
		add("lock", map[string]any{"type": "binary", "name": "state", "property": "state", "value_on": "LOCK", "value_off": "UNLOCK", "access": all})
	}
	return out
}
