package convention

import (
	"maps"
	"slices"
	"strings"

	"github.com/gatepost/gatepost/mqtt/topic"
)

// zigbee2mqtt reads what Zigbee2MQTT (1.x and 2.x) says about its network: the retained lists bridge/devices and
// bridge/groups, bridge/info, and the answers to requests. What devices measure goes by templates over the devices' own
// topics <prefix>/<friendly name>, where the name may have several levels.
type zigbee2mqtt struct{ prefix string }

const (
	maxZigbeeDevices = 2048 // of one network, so that a State always holds them
	maxZigbeeGroups  = 256
	maxGroupMembers  = 4096 // of all groups together
)

func newZigbee2MQTT(prefix string) Convention { return zigbee2mqtt{prefix} }

func (z zigbee2mqtt) Name() string { return "zigbee2mqtt" }

func (z zigbee2mqtt) Filters() []topic.Filter {
	b := z.prefix + "/bridge/"
	return filters(b+"devices", b+"groups", b+"info", b+"event", b+"response/#")
}

func (z zigbee2mqtt) Key(t string) string {
	rest, ok := strings.CutPrefix(t, z.prefix+"/bridge/")
	switch {
	case !ok:
		return ""
	case rest == "devices" || rest == "groups" || rest == "info":
		return "bridge"
	case rest == "event":
		return "event"
	case strings.HasPrefix(rest, "response/"):
		return "response"
	}
	return ""
}

// zigbeeNetwork is the State of the key "bridge".
type zigbeeNetwork struct {
	Devices     map[string]abilities `json:"d,omitempty"` // by Part.Key
	Groups      []zigbeeGroup        `json:"g,omitempty"`
	Coordinator string               `json:"c,omitempty"` // its address
	Version     string               `json:"v,omitempty"` // of Zigbee2MQTT
}

func (z zigbee2mqtt) Step(s State, m topic.Message) (State, []Fact) {
	switch strings.TrimPrefix(m.Topic, z.prefix+"/bridge/") {
	case "devices":
		return z.devices(s, m.Payload)
	case "groups":
		return z.groups(s, m.Payload)
	case "info":
		return z.info(s, m.Payload)
	case "event":
		return nil, z.event(m)
	}
	return nil, z.response(m)
}

// devices reads the list of all devices. A list that cannot be read changes nothing: the devices are still there.
func (z zigbee2mqtt) devices(s State, payload []byte) (State, []Fact) {
	v, err := decode(payload, MaxInventory)
	all, ok := v.([]any)
	if err != nil || !ok {
		return s, nil
	}
	old := recall[zigbeeNetwork](s)
	next := old
	next.Devices = map[string]abilities{}
	var facts []Fact
	if i := slices.IndexFunc(all, func(v any) bool { d, _ := v.(map[string]any); return d["type"] == "Coordinator" }); i >= 0 {
		next.Coordinator, _ = all[i].(map[string]any)["ieee_address"].(string)
		next.Coordinator = cut(next.Coordinator, MaxWord)
		if p, ok := z.bridge(next); ok {
			facts = append(facts, p)
		}
	}
	names := map[string]bool{}
	for _, v := range all {
		d, _ := v.(map[string]any)
		address := Identifier("zigbee", str(d["ieee_address"]))
		if d == nil || d["type"] == "Coordinator" || address == "" {
			continue
		}
		key := strings.TrimPrefix(address, "zigbee:")
		if _, twice := next.Devices[key]; twice {
			continue
		}
		name := str(d["friendly_name"])
		refuse := func(reason string) { facts = append(facts, Refused{key, label(name), reason}) }
		switch why := z.badName(name); {
		case len(next.Devices) == maxZigbeeDevices:
			refuse("Zigbee2MQTT announces more devices than a network can have")
			return remember(next), facts
		case why != "":
			refuse(why)
		case names[name]:
			refuse("another device has its name already")
		case truth(d["disabled"], false):
			refuse("it is disabled in Zigbee2MQTT")
		case truth(d["interviewing"], false) && d["definition"] == nil:
			refuse("Zigbee2MQTT is still asking it what it is")
		default:
			p, can := z.device(d, key, next.Coordinator)
			facts = append(facts, p)
			next.Devices[key] = can
			names[name] = true
			continue
		}
		next.Devices[key] = 0
	}
	for _, key := range slices.Sorted(maps.Keys(old.Devices)) {
		if _, ok := next.Devices[key]; !ok {
			facts = append(facts, Gone{Key: key})
		}
	}
	return remember(next), append(facts, z.groupParts(next)...)
}

// badName says why a device or group cannot have this name, "" if it can: it is the rest of its topics.
func (z zigbee2mqtt) badName(name string) string {
	levels := strings.Split(name, "/")
	last := levels[len(levels)-1]
	switch {
	case name == "":
		return "it has no name"
	case levels[0] == "bridge":
		return "its name is one of Zigbee2MQTT's own topics"
	case last == "set" || last == "get" || last == "availability":
		return "its name would be a topic of another device"
	}
	return publishable(z.prefix + "/" + name + "/set")
}

// device makes the Part of a device that Zigbee2MQTT knows.
func (z zigbee2mqtt) device(d map[string]any, key, coordinator string) (Part, abilities) {
	def, _ := d["definition"].(map[string]any)
	name := str(d["friendly_name"])
	p := Part{
		Convention: z.Name(), Key: key, IDs: []string{"zigbee:" + key},
		Name: label(name), Software: clean(str(d["software_build_id"]), MaxWord), Via: Identifier("zigbee", coordinator),
		Manufacturer: label(str(d["manufacturer"])), Model: label(str(d["model_id"])),
		Availability: z.availability(z.prefix + "/" + name + "/availability"),
	}
	if def == nil {
		p.Refused = []Refusal{{"device", "Zigbee2MQTT does not support this model"}}
		return p, 0
	}
	p.Manufacturer, p.Model = label(str(def["vendor"])), label(str(def["model"]))
	exposes, _ := def["exposes"].([]any)
	e := exposer{base: z.prefix + "/" + name, part: &p, about: strings.ToLower(cut(str(def["description"]), MaxName))}
	e.all(exposes)
	return finish(p), e.can
}

// availability of a device: its own topic, where Zigbee2MQTT watches devices, and that of Zigbee2MQTT.
func (z zigbee2mqtt) availability(own ...string) Availability {
	a := Availability{Mode: All}
	for _, t := range append(own, z.prefix+"/bridge/state") {
		a.Sources = append(a.Sources, AvailabilitySource{
			// before version 2 it was plain text
			Source: Source{Topic: t, Template: "{{ value_json.state if value_json is mapping else value }}"},
			Online: "online", Offline: "offline",
		})
	}
	return a
}

func (z zigbee2mqtt) info(s State, payload []byte) (State, []Fact) {
	o, err := object(payload, MaxInventory)
	if err != nil {
		return s, nil
	}
	next := recall[zigbeeNetwork](s)
	next.Version = clean(str(o["version"]), MaxWord)
	if c, ok := o["coordinator"].(map[string]any); ok {
		next.Coordinator = cut(str(c["ieee_address"]), MaxWord)
	}
	p, ok := z.bridge(next)
	if !ok {
		return s, nil
	}
	return remember(next), []Fact{p}
}

// bridge makes the Part of Zigbee2MQTT itself.
func (z zigbee2mqtt) bridge(n zigbeeNetwork) (Part, bool) {
	id := Identifier("zigbee", n.Coordinator)
	if id == "" {
		return Part{}, false
	}
	topicOf := func(what string) string { return z.prefix + "/bridge/" + what }
	answer := &Confirm{Answer: true}
	low, high := 0.0, 254.0
	return Part{
		Convention: z.Name(), Key: "bridge", IDs: []string{id},
		Name: "Zigbee2MQTT", Manufacturer: "Zigbee2MQTT", Model: "Bridge", Software: n.Version, Kind: Bridge,
		Availability: z.availability(),
		Readings: []Reading{{
			Name: "permit_join", Label: "Lets new devices join", Kind: OnOff, On: "True", Off: "False", Precision: -1,
			Source: Source{Topic: topicOf("info"), Template: path("permit_join")},
		}},
		Commands: []Command{
			{
				Name: "permit_join", Label: "Let new devices join", Topic: topicOf("request/permit_join"), Grade: Dangerous, Confirm: answer,
				Args:    []Arg{{Name: "time", Label: "For how long (0 ends it)", Kind: Number, Unit: "s", Min: &low, Max: &high, Step: 1}},
				Payload: `{"time":{{ time }},"transaction":"{{ transaction }}"}`,
			},
			{
				Name: "restart", Label: "Restart Zigbee2MQTT", Topic: topicOf("request/restart"), Grade: Dangerous, Confirm: answer,
				Payload: `{"transaction":"{{ transaction }}"}`,
			},
		},
	}, true
}

// event tells what happened in the network.
func (z zigbee2mqtt) event(m topic.Message) []Fact {
	o, err := object(m.Payload, MaxPayload)
	if err != nil || m.Retained {
		return nil
	}
	data, _ := o["data"].(map[string]any)
	name := label(str(data["friendly_name"]))
	texts := map[string]string{
		"device_joined": "A new device joined: ", "device_leave": "A device left the network: ",
	}
	kind := str(o["type"])
	if texts[kind] == "" || name == "" {
		return nil
	}
	return []Fact{Event{Key: "bridge", Name: kind, Text: texts[kind] + name, Time: m.Time}}
}

// response reads <prefix>/bridge/response/...: the transaction is the one of our request.
func (z zigbee2mqtt) response(m topic.Message) []Fact {
	o, err := object(m.Payload, MaxPayload)
	transaction := clean(str(o["transaction"]), MaxWord)
	if err != nil || m.Retained || transaction == "" {
		return nil
	}
	return []Fact{Answer{Transaction: transaction, OK: o["status"] == "ok", Reason: label(str(o["error"]))}}
}
