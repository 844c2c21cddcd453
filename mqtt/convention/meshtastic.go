package convention

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/gatepost/gatepost/mqtt/topic"
)

// meshtastic reads the JSON that Meshtastic gateways publish: <prefix>/<region>/2/json/<channel>/!<gateway>, where the region
// may have more levels. A message of the mesh comes once from each gateway that heard it, and counts once.
type meshtastic struct{ prefix string }

const (
	meshNodes   = 512 // of a region
	meshPackets = 128 // ids that are remembered of a region
)

func newMeshtastic(prefix string) Convention { return meshtastic{prefix} }

func (c meshtastic) Name() string { return "meshtastic" }

func (c meshtastic) Filters() []topic.Filter {
	var all []string
	for _, region := range []string{"", "+/", "+/+/", "+/+/+/"} {
		all = append(all, c.prefix+"/"+region+"2/json/+/+")
	}
	return filters(all...)
}

// Key is the region: a packet is told from others by its id whatever channel and gateway it came through.
func (c meshtastic) Key(t string) string {
	root, _, ok := c.parse(t)
	if !ok {
		return ""
	}
	return firstOf(root, "mesh")
}

// parse gives the region, "" if there is none, and the channel of a topic.
func (c meshtastic) parse(t string) (root, channel string, ok bool) {
	rest, ok := strings.CutPrefix(t, c.prefix+"/")
	l := strings.Split(rest, "/")
	n := len(l)
	if !ok || n < 4 || n > 7 || l[n-4] != "2" || l[n-3] != "json" || l[n-2] == "" || !strings.HasPrefix(l[n-1], "!") || len(rest) > MaxID || publishable(t) != "" {
		return "", "", false
	}
	return strings.Join(l[:n-4], "/"), l[n-2], true
}

// meshRegion is what is remembered of a region.
type meshRegion struct {
	Packets []string            `json:"p,omitempty"` // the last ones, oldest first
	Nodes   map[string]meshNode `json:"n,omitempty"` // by id, "!a1b2c3d4"
}

type meshNode struct {
	Name     string `json:"n,omitempty"`
	Hardware string `json:"h,omitempty"`
	Channel  string `json:"c,omitempty"` // where it was first seen
	Readings grown  `json:"r,omitempty"`
}

// meshUnits are the units of what nodes measure.
var meshUnits = map[string]string{
	"battery_level": "%", "voltage": "V", "channel_utilization": "%", "air_util_tx": "%", "uptime_seconds": "s", "temperature": "°C", "relative_humidity": "%",
	"barometric_pressure": "hPa", "gas_resistance": "MΩ", "current": "A", "lux": "lx", "wind_speed": "m/s", "wind_direction": "°", "snr": "dB", "rssi": "dBm",
	"ground_speed": "m/s",
}

func (c meshtastic) Step(s State, m topic.Message) (State, []Fact) {
	root, channel, _ := c.parse(m.Topic)
	o, err := object(m.Payload, MaxPayload)
	from, ok := meshID(o["from"])
	packet := clean(str(o["id"]), 16)
	if err != nil || !ok {
		return s, nil
	}
	state := recall[meshRegion](s)
	if packet != "" && packet != "0" {
		seen := from + " " + packet
		if slices.Contains(state.Packets, seen) {
			return s, nil
		}
		state.Packets = append(slices.Clone(state.Packets), seen)
		state.Packets = state.Packets[max(0, len(state.Packets)-meshPackets):]
	}
	node, known := state.Nodes[from]
	if !known && len(state.Nodes) == meshNodes {
		return remember(state), nil
	}
	if !known {
		node.Channel = cut(label(channel), MaxWord)
	}
	old := node
	payload, _ := o["payload"].(map[string]any)
	at, ok := seconds(o["timestamp"])
	if !ok {
		at = m.Time
	}
	var facts []Fact
	switch o["type"] {
	case "text":
		text := str(o["payload"])
		if payload != nil {
			text = str(payload["text"])
		}
		if text = label(text); text != "" && !m.Retained {
			facts = append(facts, Event{Key: from, Name: "message", Text: text, ID: packet, Time: at})
		}
	case "nodeinfo":
		node.Name = label(firstOf(str(payload["longname"]), str(payload["shortname"])))
		if n := str(payload["hardware"]); n != "" {
			node.Hardware = clean("hardware "+n, MaxWord)
		}
	case "position":
		if p, ok := meshPlace(from, payload); ok {
			p.Time = at
			facts = append(facts, p)
		}
	case "telemetry":
		measured := maps.Clone(payload)
		delete(measured, "time")
		for _, k := range []string{"snr", "rssi"} {
			if v, ok := o[k]; ok && measured != nil {
				measured[k] = v
			}
		}
		var values []Value
		if node.Readings, values, _ = node.Readings.learn(measured); len(values) > 0 {
			facts = append(facts, Values{Key: from, Values: values, Time: at})
		}
	case "detectionsensor":
		if text := label(str(payload["text"])); text != "" && !m.Retained {
			facts = append(facts, Event{Key: from, Name: "detection", Text: text, ID: packet, Time: at})
		}
	}
	if !known || node.Name != old.Name || node.Hardware != old.Hardware || !maps.Equal(node.Readings, old.Readings) {
		gateway, _ := meshID(o["sender"])
		facts = append([]Fact{c.part(from, node, root, gateway)}, facts...)
	}
	state.Nodes = maps.Clone(state.Nodes)
	if state.Nodes == nil {
		state.Nodes = map[string]meshNode{}
	}
	state.Nodes[from] = node
	return remember(state), facts
}

// meshID makes the id of a node of its number, or of the id itself; false if v is neither.
func meshID(v any) (string, bool) {
	s := str(v)
	if hex, ok := strings.CutPrefix(s, "!"); ok {
		n, err := strconv.ParseUint(hex, 16, 32)
		return fmt.Sprintf("!%08x", n), err == nil
	}
	n, err := strconv.ParseUint(s, 10, 32)
	return fmt.Sprintf("!%08x", n), err == nil && n != 0
}

// meshPlace reads a position, whose angles are whole numbers of ten millionths of a degree.
func meshPlace(key string, o map[string]any) (Position, bool) {
	lat, ok := number(o["latitude_i"])
	lon, ok2 := number(o["longitude_i"])
	if lat, lon = lat/1e7, lon/1e7; !ok || !ok2 || !inRange(lat, 90) || !inRange(lon, 180) {
		return Position{}, false
	}
	p := Position{Key: key, Latitude: lat, Longitude: lon}
	p.Altitude, p.HasAltitude = number(o["altitude"])
	return p, true
}

func (c meshtastic) part(id string, n meshNode, root, gateway string) Part {
	p := Part{
		Convention: c.Name(), Key: id, IDs: []string{"meshtastic:" + id}, Name: firstOf(n.Name, "Node "+id), Manufacturer: "Meshtastic", Model: n.Hardware,
		Area: n.Channel, Kind: Tracker, Readings: n.Readings.readings(),
	}
	for i := range p.Readings {
		r := &p.Readings[i]
		if u, ok := meshUnits[r.Name]; ok {
			r.Unit = u
			r.Diagnostic = strings.HasPrefix(r.Name, "channel") || strings.HasPrefix(r.Name, "air") || r.Name == "snr" || r.Name == "rssi" || r.Name == "uptime_seconds"
		}
	}
	number, err := strconv.ParseUint(strings.TrimPrefix(gateway, "!"), 16, 32)
	if gateway != "" && err == nil && number != 0 {
		// a gateway sends what comes to its channel "mqtt", in the name of itself only
		if root != "" {
			root += "/"
		}
		to, _ := strconv.ParseUint(strings.TrimPrefix(id, "!"), 16, 32)
		least, most := 1.0, 200.0
		p.Commands = []Command{{
			Name: "send", Label: "Send a message", Args: []Arg{{Name: "text", Label: "Message", Kind: Text, Min: &least, Max: &most}},
			Topic: c.prefix + "/" + root + "2/json/mqtt/", Grade: Operate,
			Payload: jsonObject(field{name: "from", source: strconv.FormatUint(number, 10)}, field{name: "to", source: strconv.FormatUint(to, 10)},
				field{name: "type", source: `"sendtext"`}, field{name: "payload", source: "{{ text | tojson }}"}),
		}}
	}
	return finish(p)
}
