package convention

import (
	"maps"
	"strings"
)

// loraDevice is what the conventions of LoRaWAN networks remember of a device.
type loraDevice struct {
	EUI      string `json:"e,omitempty"` // Identifier
	Name     string `json:"n,omitempty"`
	Maker    string `json:"b,omitempty"`
	Model    string `json:"m,omitempty"`
	Version  string `json:"v,omitempty"`
	Decoded  bool   `json:"d,omitempty"` // the network reads its payloads
	Readings grown  `json:"r,omitempty"`
	Seen     string `json:"s,omitempty"` // of rssi, snr, battery: those that came, as letters
}

// lora makes the identifier of a device by its EUI.
func lora(eui string) string {
	id := Identifier("zigbee", eui) // the same kind of address
	if id == "" {
		return ""
	}
	return "lorawan:" + strings.TrimPrefix(id, "zigbee:0x")
}

// The readings that the network itself adds.
var loraReadings = map[string]Reading{
	"r": {Name: "lora_rssi", Label: "Signal", Kind: Number, Unit: "dBm", Quantity: "signal_strength", Diagnostic: true, Precision: -1},
	"s": {Name: "lora_snr", Label: "Signal to noise", Kind: Number, Unit: "dB", Diagnostic: true, Precision: -1},
	"b": {Name: "lora_battery", Label: "Battery", Kind: Number, Unit: "%", Quantity: "battery", Precision: -1},
	"p": {Name: "lora_payload", Label: "Payload (base64)", Kind: Text, Diagnostic: true, Precision: -1},
}

// saw notes one of the network's readings and gives its value; nil if v is none.
func (d *loraDevice) saw(letter string, v any) []Value {
	text := clean(str(v), MaxName)
	if _, ok := number(v); !ok && letter != "p" || text == "" {
		return nil
	}
	if !strings.Contains(d.Seen, letter) {
		d.Seen += letter
	}
	return []Value{{loraReadings[letter].Name, text}}
}

// payload takes what the network decoded of a message, or else its bytes.
func (d *loraDevice) payload(decoded any, raw any) []Value {
	o, ok := decoded.(map[string]any)
	if !ok || len(o) == 0 {
		return d.saw("p", raw)
	}
	d.Decoded = true
	var values []Value
	d.Readings, values, _ = d.Readings.learn(o)
	return values
}

// strongest is the best signal of the gateways that heard a message.
func (d *loraDevice) strongest(gateways any) []Value {
	var rssi, snr any
	best := -1e9
	all, _ := gateways.([]any)
	for _, v := range all[:min(len(all), 64)] {
		g, _ := v.(map[string]any)
		if f, ok := number(g["rssi"]); ok && f > best {
			best, rssi, snr = f, g["rssi"], g["snr"]
		}
	}
	return append(d.saw("r", rssi), d.saw("s", snr)...)
}

// same tells whether nothing about the Part has changed.
func (d loraDevice) same(old loraDevice) bool {
	return maps.Equal(d.Readings, old.Readings) && d.EUI == old.EUI && d.Name == old.Name && d.Model == old.Model && d.Version == old.Version &&
		d.Maker == old.Maker && d.Seen == old.Seen && d.Decoded == old.Decoded
}

// part fills in a Part with what is known.
func (d loraDevice) part(p Part) Part {
	if d.EUI != "" {
		p.IDs = append([]string{d.EUI}, p.IDs...)
	}
	p.Name, p.Manufacturer, p.Model, p.Software = firstOf(d.Name, p.Name), d.Maker, d.Model, d.Version
	p.Readings = d.Readings.readings()
	p.Alarms = d.Readings.alarms()
	for _, letter := range []string{"b", "r", "s", "p"} {
		if _, taken := d.Readings[loraReadings[letter].Name]; !taken && strings.Contains(d.Seen, letter) {
			p.Readings = append(p.Readings, loraReadings[letter])
		}
	}
	if !d.Decoded && strings.Contains(d.Seen, "p") {
		p.Refused = append(p.Refused, Refusal{"Its measurements", "the network has no payload formatter for it, so only the bytes are known"})
	}
	if p.Kind = kindOf(p.Name, p.Model); p.Kind == Sensor && d.Readings["latitude"] == Number {
		p.Kind = Tracker
	}
	return finish(p)
}

// place is the position in decoded measurements; false if there is none.
func place(key string, o map[string]any) (Position, bool) {
	first := func(names ...string) (float64, bool) {
		for _, n := range names {
			if f, ok := number(o[n]); ok {
				return f, true
			}
		}
		return 0, false
	}
	lat, ok := first("latitude", "lat")
	lon, ok2 := first("longitude", "lon", "lng", "long")
	if !ok || !ok2 || !inRange(lat, 90) || !inRange(lon, 180) || lat == 0 && lon == 0 {
		return Position{}, false
	}
	p := Position{Key: key, Latitude: lat, Longitude: lon}
	p.Altitude, p.HasAltitude = first("altitude", "alt")
	if acc, ok := first("accuracy", "acc"); ok && acc > 0 {
		p.Accuracy = acc
	}
	return p, true
}

// downlink arguments: bytes as hexadecimal or base64 are hard to type, so that a port and base64 are all there is.
func downlinkArgs() []Arg {
	low, high := 1.0, 223.0
	least, most := 1.0, 400.0
	return []Arg{
		{Name: "port", Label: "Port", Kind: Number, Min: &low, Max: &high, Step: 1},
		{Name: "payload", Label: "Payload as base64", Kind: Text, Min: &least, Max: &most},
	}
}
