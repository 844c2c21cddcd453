package convention

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/gatepost/gatepost/mqtt/topic"
)

// tasmota reads Tasmota's native discovery: retained <prefix>/discovery/<MAC>/config says how the device is set up and what
// its topics are, .../sensors what its sensors measure. Values come by templates over its own topics.
type tasmota struct{ prefix string }

// tasmotaMax is the largest announcement in bytes that is read; Tasmota itself cannot send more than some 4 KiB.
const tasmotaMax = 16 << 10

func newTasmota(prefix string) Convention { return tasmota{prefix} }

func (c tasmota) Name() string { return "tasmota" }

func (c tasmota) Filters() []topic.Filter {
	return filters(c.prefix+"/discovery/+/config", c.prefix+"/discovery/+/sensors")
}

func (c tasmota) Key(t string) string {
	rest, ok := strings.CutPrefix(t, c.prefix+"/discovery/")
	mac, what, _ := strings.Cut(rest, "/")
	if !ok || Identifier("mac", mac) == "" || what != "config" && what != "sensors" {
		return ""
	}
	return strings.ToUpper(mac)
}

// tasmotaState keeps both announcements of a device, since either may come first.
type tasmotaState struct {
	Config  json.RawMessage `json:"c,omitempty"`
	Sensors json.RawMessage `json:"s,omitempty"`
}

func (c tasmota) Step(s State, m topic.Message) (State, []Fact) {
	key := c.Key(m.Topic)
	next := recall[tasmotaState](s)
	had := next.Config != nil
	if strings.HasSuffix(m.Topic, "/config") {
		if len(m.Payload) == 0 {
			if !had {
				return s, nil
			}
			return nil, []Fact{Gone{Key: key}}
		}
		if _, err := object(m.Payload, tasmotaMax); err != nil {
			return s, []Fact{Refused{key, key, "its announcement cannot be read: " + err.Error()}}
		}
		next.Config = json.RawMessage(m.Payload)
	} else {
		next.Sensors = nil
		if _, err := object(m.Payload, tasmotaMax); err == nil {
			next.Sensors = json.RawMessage(m.Payload)
		}
	}
	state := remember(next)
	if state == nil || next.Config == nil {
		return state, nil
	}
	facts := c.announce(key, next)
	if p, ok := facts[0].(Part); ok && strings.HasSuffix(m.Topic, "/config") {
		refresh := p.Commands[slices.IndexFunc(p.Commands, func(c Command) bool { return c.Name == "refresh" })]
		facts = append(facts, Publish{Topic: refresh.Topic}) // values come with changes only
	}
	return state, facts
}

// announce makes the Part of a device from what is known of it, or says why not.
func (c tasmota) announce(key string, s tasmotaState) []Fact {
	o, err := object(s.Config, tasmotaMax)
	if err != nil {
		return []Fact{Refused{key, key, "its announcement cannot be read: " + err.Error()}}
	}
	d := tasmotaDevice{
		o: o,
		part: Part{
			Convention: c.Name(), Key: key, IDs: []string{Identifier("mac", key)}, Name: firstOf(label(str(o["dn"])), label(str(o["hn"])), key),
			Manufacturer: "Tasmota", Model: label(str(o["md"])), Software: clean(str(o["sw"]), MaxWord),
		},
		readings: unique{}, commands: unique{}, triggers: unique{},
	}
	if why := d.topics(key); why != "" {
		return []Fact{Refused{key, d.part.Name, why}}
	}
	d.availability()
	d.relays()
	d.buttons()
	if sensors, err := object(s.Sensors, tasmotaMax); err == nil {
		if sn, ok := sensors["sn"].(map[string]any); ok {
			d.sensors(sn)
		}
	}
	d.rest()
	return []Fact{finish(d.part)}
}

// tasmotaDevice is a device while its Part is made.
type tasmotaDevice struct {
	o                            map[string]any
	part                         Part
	cmnd, stat, tele             string // its topics, up to the last level
	state                        string // the topic where its state is told
	readings, commands, triggers unique
}

// topics makes the topics from the device's pattern, such as "%prefix%/%topic%/".
func (d *tasmotaDevice) topics(key string) string {
	pattern, prefixes := str(d.o["ft"]), list(d.o["tp"])
	name := str(d.o["t"])
	switch {
	case len(prefixes) != 3 || name == "" || strings.ContainsAny(name, "#+"):
		return "its announcement does not say what its topics are"
	case !strings.Contains(pattern, "%prefix%"):
		return "its topics for orders and answers are the same (FullTopic without %prefix%)"
	}
	for i, t := range []*string{&d.cmnd, &d.stat, &d.tele} {
		*t = strings.NewReplacer("%prefix%", str(prefixes[i]), "%topic%", name, "%hostname%", str(d.o["hn"]), "%id%", key[len(key)-6:]).Replace(pattern)
		if !strings.HasSuffix(*t, "/") {
			*t += "/"
		}
		if why := publishable(*t + "STATE"); why != "" {
			return why
		}
	}
	if d.cmnd == d.stat || d.cmnd == d.tele {
		return "its topics for orders and answers are the same"
	}
	d.state = d.stat + "RESULT"
	if d.option("4") {
		d.state = d.tele + "STATE" // SetOption4 spreads answers over many topics
	}
	return ""
}

// option tells whether a SetOption is on.
func (d *tasmotaDevice) option(number string) bool {
	so, _ := d.o["so"].(map[string]any)
	return str(so[number]) == "1"
}

func (d *tasmotaDevice) availability() {
	if str(d.o["dslp"]) == "1" {
		return // it sleeps most of the time and says offline
	}
	d.part.Availability = Availability{Mode: Latest, Sources: []AvailabilitySource{{
		Source: Source{Topic: d.tele + "LWT"},
		Online: firstOf(cut(str(d.o["onln"]), MaxWord), "Online"), Offline: firstOf(cut(str(d.o["ofln"]), MaxWord), "Offline"),
	}}}
}

func (d *tasmotaDevice) reading(r Reading, topicOf, template string) string {
	r.Name, r.Precision = d.readings.name(r.Name, "value"), -1
	r.Source = Source{Topic: topicOf, Template: template}
	d.part.Readings = append(d.part.Readings, r)
	return r.Name
}

func (d *tasmotaDevice) command(c Command, order string) {
	c.Name, c.Topic = d.commands.name(c.Name, "command"), d.cmnd+order
	if c.Grade == "" {
		c.Grade = Operate
	}
	d.part.Commands = append(d.part.Commands, c)
}

// percent is the argument of what goes from 0 to 100.
func percent(name string) Arg {
	low, high := 0.0, 100.0
	return Arg{Name: "value", Label: name, Kind: Number, Unit: "%", Min: &low, Max: &high, Step: 1}
}

// relays are what the device switches: each is a relay (1), a lamp (2) or half of a shutter (3).
func (d *tasmotaDevice) relays() {
	rl, names, states := list(d.o["rl"]), list(d.o["fn"]), list(d.o["state"])
	on, off := "ON", "OFF"
	if len(states) > 1 {
		on, off = firstOf(cut(str(states[1]), MaxWord), on), firstOf(cut(str(states[0]), MaxWord), off)
	}
	count, lamp, halves := 0, false, 0
	for _, v := range rl {
		if str(v) != "0" {
			count++
		}
		lamp = lamp || str(v) == "2"
		if str(v) == "3" {
			halves++
		}
	}
	fan := str(d.o["if"]) == "1"
	for i, v := range rl[:min(len(rl), 32)] {
		kind := str(v)
		if kind != "1" && kind != "2" || fan && i > 0 {
			continue
		}
		order, suffix, template := "POWER"+strconv.Itoa(i+1), "_"+strconv.Itoa(i+1), path("POWER"+strconv.Itoa(i+1))
		if count == 1 {
			order, suffix, template = "POWER", "", "{{ value_json.POWER | default(value_json.POWER1) }}"
		}
		name := ""
		if i < len(names) {
			name = label(str(names[i]))
		}
		what := firstOf(name, strings.TrimSpace("Power "+strings.TrimPrefix(suffix, "_")))
		shown := d.reading(Reading{Name: "power" + suffix, Label: what, Kind: OnOff, On: on, Off: off}, d.state, template)
		grade := Operate
		if gradeOf(d.part.Name, name) == Dangerous {
			grade = Dangerous
		}
		if count == 1 {
			what = ""
		}
		for _, w := range [][3]string{{"on", "Switch on", on}, {"off", "Switch off", off}, {"toggle", "Switch over", ""}} {
			c := Command{Name: w[0] + suffix, Label: strings.TrimSpace(w[1] + " " + what), Payload: strings.ToUpper(w[0]), Confirm: confirm(shown, literal(w[2]))}
			if w[0] != "off" {
				c.Grade = grade
			}
			d.command(c, order)
		}
	}
	switch {
	case halves > 0:
		d.part.Kind = Cover
		d.shutters(halves / 2)
	case fan:
		d.part.Kind = Fan
		d.fan()
	case lamp:
		d.part.Kind = Lamp
		d.lamp()
	case count > 0:
		if d.part.Kind = kindOf(d.part.Name); d.part.Kind == Sensor {
			d.part.Kind = Plug
		}
	default:
		d.part.Kind = Sensor
	}
}

// lamp: lt_st says how many channels there are: 1 white, 2 cold and warm, 3 colour, 4 colour and white, 5 all.
func (d *tasmotaDevice) lamp() {
	channels := whole(d.o["lt_st"], 0, 5, 0)
	if channels >= 1 {
		a := percent("Brightness")
		shown := d.reading(Reading{Name: "dimmer", Label: "Brightness", Kind: Number, Unit: "%"}, d.state, path("Dimmer"))
		d.command(Command{Name: "set_dimmer", Label: "Set the brightness", Args: []Arg{a}, Payload: "{{ value }}", Confirm: confirm(shown, "{{ value }}")}, "Dimmer")
	}
	if channels == 2 || channels == 5 {
		a := percent("Colour temperature")
		low, high := 153.0, 500.0
		a.Unit, a.Min, a.Max = "mired", &low, &high
		shown := d.reading(Reading{Name: "color_temp", Label: "Colour temperature", Kind: Number, Unit: "mired"}, d.state, path("CT"))
		d.command(Command{Name: "set_color_temp", Label: "Set the colour temperature", Args: []Arg{a}, Payload: "{{ value }}", Confirm: confirm(shown, "{{ value }}")}, "CT")
	}
	if channels >= 3 {
		shown := d.reading(Reading{Name: "color", Label: "Colour (hue, saturation, brightness)", Kind: Text}, d.state, path("HSBColor"))
		hue, saturation := percent("Hue"), percent("Saturation")
		full := 360.0
		hue.Name, hue.Unit, hue.Max, saturation.Name = "hue", "°", &full, "saturation"
		brightness := percent("Brightness")
		brightness.Name = "brightness"
		d.command(Command{
			Name: "set_color", Label: "Set the colour", Args: []Arg{hue, saturation, brightness},
			Payload: "{{ hue }},{{ saturation }},{{ brightness }}", Confirm: confirm(shown, "{{ hue }},{{ saturation }},{{ brightness }}"),
		}, "HSBColor")
	}
}

func (d *tasmotaDevice) fan() {
	a := percent("Speed")
	high := 3.0
	a.Unit, a.Max = "", &high
	shown := d.reading(Reading{Name: "fan_speed", Label: "Fan speed", Kind: Number}, d.state, path("FanSpeed"))
	d.command(Command{Name: "set_fan_speed", Label: "Set the fan speed", Args: []Arg{a}, Payload: "{{ value }}", Confirm: confirm(shown, "{{ value }}")}, "FanSpeed")
}

func (d *tasmotaDevice) shutters(n int) {
	opening := gradeOf(d.part.Name)
	for i := 1; i <= min(n, 16); i++ {
		number, suffix := strconv.Itoa(i), ""
		if n > 1 {
			suffix = "_" + number
		}
		what := strings.TrimSpace("shutter " + strings.TrimPrefix(suffix, "_"))
		shown := d.reading(Reading{Name: "position" + suffix, Label: spoken(what), Kind: Number, Unit: "%", Quantity: "position"}, d.state, inner("Shutter"+number, "Position"))
		for _, w := range []struct {
			name, order, value string
			grade              Grade
		}{{"open", "Open", "100", opening}, {"close", "Close", "0", Operate}, {"stop", "Stop", "", Operate}} {
			d.command(Command{Name: w.name + suffix, Label: w.order + " the " + what, Grade: w.grade, Confirm: confirm(shown, w.value)}, "Shutter"+w.order+number)
		}
		d.command(Command{
			Name: "set_position" + suffix, Label: "Move the " + what, Args: []Arg{percent("Position")}, Payload: "{{ value }}", Grade: opening,
			Confirm: confirm(shown, "{{ value }}"),
		}, "ShutterPosition"+number)
		if tilts := list(d.o["sht"]); i <= len(tilts) {
			if r := list(tilts[i-1]); len(r) >= 2 && str(r[0]) != str(r[1]) {
				a := Arg{Name: "value", Label: "Tilt", Kind: Number, Unit: "°", Min: bound(r[0]), Max: bound(r[1]), Step: 1}
				tilt := d.reading(Reading{Name: "tilt" + suffix, Label: spoken(what + " tilt"), Kind: Number, Unit: "°"}, d.state, inner("Shutter"+number, "Tilt"))
				d.command(Command{Name: "set_tilt" + suffix, Label: "Tilt the " + what, Args: []Arg{a}, Payload: "{{ value }}", Confirm: confirm(tilt, "{{ value }}")}, "ShutterTilt"+number)
			}
		}
	}
}

// buttons and switches tell what is done to them if SetOption73 and SetOption114 say so.
func (d *tasmotaDevice) buttons() {
	add := func(kind string, i int, name string) {
		member := kind + strconv.Itoa(i+1)
		d.part.Triggers = append(d.part.Triggers, Trigger{
			Name: d.triggers.name(member, "button"), Label: firstOf(name, kind+" "+strconv.Itoa(i+1)),
			Source: Source{Topic: d.stat + "RESULT", Template: inner(member, "Action")},
		})
	}
	if d.option("73") {
		for i, v := range list(d.o["btn"])[:min(len(list(d.o["btn"])), 32)] {
			if str(v) != "0" {
				add("Button", i, "")
			}
		}
	}
	names := list(d.o["swn"])
	if d.option("114") {
		for i, v := range list(d.o["swc"])[:min(len(list(d.o["swc"])), 32)] {
			if mode, ok := number(v); ok && mode >= 0 {
				name := ""
				if i < len(names) {
					name = label(str(names[i]))
				}
				add("Switch", i, name)
			}
		}
	}
}

// sensors reads what tele/SENSOR will hold: numbers and texts, in objects one for each sensor.
func (d *tasmotaDevice) sensors(sn map[string]any) {
	units := map[string]string{"Temperature": "°C", "DewPoint": "°C"}
	if str(sn["TempUnit"]) == "F" {
		units["Temperature"], units["DewPoint"] = "°F", "°F"
	}
	units["Pressure"] = firstOf(clean(str(sn["PressureUnit"]), MaxWord), "hPa")
	units["SeaPressure"] = units["Pressure"]
	for _, k := range slices.Sorted(maps.Keys(sn)) {
		if k != "Time" && !strings.HasSuffix(k, "Unit") {
			d.sensor(sn[k], units, k)
		}
	}
}

func (d *tasmotaDevice) sensor(v any, units map[string]string, keys ...string) {
	last := keys[len(keys)-1]
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			if len(keys) < 4 && k != "Id" {
				d.sensor(v[k], units, append(slices.Clone(keys), k)...)
			}
		}
	case []any:
		for i, item := range v[:min(len(v), 8)] {
			if _, ok := number(item); ok {
				d.measure(units, keys, guarded(keys, "["+strconv.Itoa(i)+"]"), " "+strconv.Itoa(i+1), Number)
			}
		}
	case json.Number:
		d.measure(units, keys, guarded(keys, ""), "", Number)
	case string:
		if last != "TotalStartTime" {
			d.measure(units, keys, guarded(keys, ""), "", Text)
		}
	}
}

// guarded is source for a member deep inside value_json, and what is behind it, where any on the way may be missing.
func guarded(keys []string, behind string) string {
	if behind == "" && len(keys) < 3 {
		return inner(keys...)
	}
	var there []string
	for i := range keys {
		if i < len(keys)-1 || behind != "" {
			there = append(there, access(keys[:i+1]...))
		}
	}
	return "{% if " + strings.Join(there, " and ") + " %}{{ " + access(keys...) + behind + " }}{% endif %}"
}

// tasmotaUnits are the units of Tasmota's sensors where no setting changes them, and what they are about.
var tasmotaUnits = map[string][2]string{
	"Humidity": {"%", "humidity"}, "Illuminance": {"lx", "illuminance"}, "CarbonDioxide": {"ppm", "carbon_dioxide"}, "eCO2": {"ppm", "carbon_dioxide"},
	"TVOC": {"ppb", "volatile_organic_compounds_parts"}, "PM2.5": {"µg/m³", "pm25"}, "PM10": {"µg/m³", "pm10"}, "PM1": {"µg/m³", "pm1"},
	"Total": {"kWh", "energy"}, "Today": {"kWh", "energy"}, "Yesterday": {"kWh", "energy"}, "ExportActive": {"kWh", "energy"},
	"Power": {"W", "power"}, "ApparentPower": {"VA", "apparent_power"}, "ReactivePower": {"var", "reactive_power"}, "Factor": {"", "power_factor"},
	"Voltage": {"V", "voltage"}, "Current": {"A", "current"}, "Frequency": {"Hz", "frequency"}, "Distance": {"cm", "distance"}, "Moisture": {"%", "moisture"},
	"Weight": {"kg", "weight"}, "Temperature": {"", "temperature"}, "DewPoint": {"", "temperature"}, "Pressure": {"", "atmospheric_pressure"}, "SeaPressure": {"", "atmospheric_pressure"},
}

func (d *tasmotaDevice) measure(units map[string]string, keys []string, template, suffix string, kind ReadingKind) {
	last := keys[len(keys)-1]
	known := tasmotaUnits[last]
	words := strings.Join(keys[:len(keys)-1], " ") + " " + lowered(uncamel(last))
	if keys[0] == "ENERGY" && len(keys) > 1 {
		words = "Energy " + lowered(uncamel(last))
		if known[1] != "energy" {
			words = uncamel(last)
		}
	}
	words = strings.TrimSpace(words + suffix)
	d.reading(Reading{Name: words, Label: spoken(words), Kind: kind, Unit: firstOf(units[last], known[0]), Quantity: known[1]}, d.tele+"SENSOR", template)
}

// uncamel parts words that are written together: "DewPoint" is "Dew point".
func uncamel(s string) string {
	for i := 2; i < len(s); i++ {
		if s[i] >= 'A' && s[i] <= 'Z' && s[i-1] >= 'a' && s[i-1] <= 'z' {
			return s[:i] + " " + lowered(uncamel(s[i:]))
		}
	}
	return s
}

// rest is what every device has.
func (d *tasmotaDevice) rest() {
	d.reading(Reading{Name: "wifi_signal", Label: "Wi-Fi signal", Kind: Number, Unit: "%", Diagnostic: true}, d.tele+"STATE", inner("Wifi", "RSSI"))
	d.reading(Reading{Name: "uptime", Label: "Running for (days, time)", Kind: Text, Diagnostic: true}, d.tele+"STATE", path("Uptime"))
	d.command(Command{Name: "refresh", Label: "Ask the device for its values", Grade: Read}, "STATE")
	d.command(Command{Name: "restart", Label: "Restart the device", Grade: Dangerous, Payload: "1"}, "Restart")
}
