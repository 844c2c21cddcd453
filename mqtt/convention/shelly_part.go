package convention

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// shellyField is a member of a component's status that is a reading.
type shellyField struct {
	path           string // members, with dots
	name           string // "" for what the component is all about
	label          string
	kind           ReadingKind
	unit, quantity string
	diagnostic     bool
}

// The measurements that many components have.
var shellyPower = []shellyField{
	{"apower", "power", "Power", Number, "W", "power", false},
	{"voltage", "voltage", "Voltage", Number, "V", "voltage", false},
	{"current", "current", "Current", Number, "A", "current", false},
	{"pf", "power_factor", "Power factor", Number, "", "power_factor", true},
	{"freq", "frequency", "Frequency", Number, "Hz", "frequency", true},
	{"aenergy.total", "energy", "Energy", Number, "Wh", "energy", false},
	{"ret_aenergy.total", "returned_energy", "Energy returned", Number, "Wh", "energy", false},
	{"temperature.tC", "temperature", "Temperature inside", Number, "°C", "temperature", true},
}

func shellyMeasured(own ...shellyField) []shellyField { return append(own, shellyPower...) }

// shellyFields says what the components of Shelly devices tell.
var shellyFields = map[string][]shellyField{
	"switch": shellyMeasured(shellyField{"output", "", "", OnOff, "", "", false}),
	"light": shellyMeasured(
		shellyField{"output", "", "", OnOff, "", "", false}, shellyField{"brightness", "brightness", "Brightness", Number, "%", "", false}),
	"cct": shellyMeasured(
		shellyField{"output", "", "", OnOff, "", "", false}, shellyField{"brightness", "brightness", "Brightness", Number, "%", "", false},
		shellyField{"ct", "color_temp", "Colour temperature", Number, "K", "", false}),
	"rgb": shellyMeasured(
		shellyField{"output", "", "", OnOff, "", "", false}, shellyField{"brightness", "brightness", "Brightness", Number, "%", "", false},
		shellyField{"rgb", "color", "Colour (red,green,blue)", Text, "", "", false}),
	"rgbw": shellyMeasured(
		shellyField{"output", "", "", OnOff, "", "", false}, shellyField{"brightness", "brightness", "Brightness", Number, "%", "", false},
		shellyField{"rgb", "color", "Colour (red,green,blue)", Text, "", "", false}, shellyField{"white", "white", "White", Number, "", "", false}),
	"cover": shellyMeasured(
		shellyField{"state", "", "", Option, "", "", false}, shellyField{"current_pos", "position", "Position", Number, "%", "position", false}),
	"pm1": shellyPower,
	"input": {
		{"state", "", "", OnOff, "", "", false},
		{"percent", "percent", "Level", Number, "%", "", false},
		{"counts.total", "count", "Count", Number, "", "", false},
	},
	"temperature": {{"tC", "", "", Number, "°C", "temperature", false}},
	"humidity":    {{"rh", "", "", Number, "%", "humidity", false}},
	"illuminance": {{"lux", "", "", Number, "lx", "illuminance", false}},
	"devicepower": {
		{"battery.percent", "battery", "Battery", Number, "%", "battery", false},
		{"battery.V", "voltage", "Battery voltage", Number, "V", "voltage", true},
		{"external.present", "mains", "Mains power", OnOff, "", "plug", true},
	},
	"smoke":     {{"alarm", "", "", OnOff, "", "smoke", false}, {"mute", "mute", "Alarm muted", OnOff, "", "", false}},
	"flood":     {{"alarm", "", "", OnOff, "", "moisture", false}, {"mute", "mute", "Alarm muted", OnOff, "", "", false}},
	"presence":  {{"state", "", "", OnOff, "", "presence", false}},
	"voltmeter": {{"voltage", "", "", Number, "V", "voltage", false}},
	"em": {
		{"total_act_power", "power", "Power", Number, "W", "power", false},
		{"total_aprt_power", "apparent_power", "Apparent power", Number, "VA", "apparent_power", true},
		{"total_current", "current", "Current", Number, "A", "current", false},
		{"a_voltage", "voltage_a", "Voltage A", Number, "V", "voltage", true},
		{"b_voltage", "voltage_b", "Voltage B", Number, "V", "voltage", true},
		{"c_voltage", "voltage_c", "Voltage C", Number, "V", "voltage", true},
		{"a_act_power", "power_a", "Power A", Number, "W", "power", true},
		{"b_act_power", "power_b", "Power B", Number, "W", "power", true},
		{"c_act_power", "power_c", "Power C", Number, "W", "power", true},
	},
	"em1": {
		{"act_power", "power", "Power", Number, "W", "power", false},
		{"voltage", "voltage", "Voltage", Number, "V", "voltage", false},
		{"current", "current", "Current", Number, "A", "current", false},
		{"pf", "power_factor", "Power factor", Number, "", "power_factor", true},
	},
	"emdata": {
		{"total_act", "energy", "Energy", Number, "Wh", "energy", false}, {"total_act_ret", "returned_energy", "Energy returned", Number, "Wh", "energy", false},
	},
	"em1data": {
		{"total_act_energy", "energy", "Energy", Number, "Wh", "energy", false}, {"total_act_ret_energy", "returned_energy", "Energy returned", Number, "Wh", "energy", false},
	},
	"thermostat": {
		{"current_C", "temperature", "Temperature", Number, "°C", "temperature", false},
		{"target_C", "target", "Target temperature", Number, "°C", "temperature", false},
		{"output", "heating", "Heating", OnOff, "", "", false},
		{"enable", "", "", OnOff, "", "", false},
	},
	"boolean": {{"value", "", "", OnOff, "", "", false}},
	"number":  {{"value", "", "", Number, "", "", false}},
	"text":    {{"value", "", "", Text, "", "", false}},
	"enum":    {{"value", "", "", Text, "", "", false}},
	"sys":     {{"uptime", "uptime", "Running for", Number, "s", "duration", true}, {"restart_required", "restart_required", "Restart needed", OnOff, "", "problem", true}},
	"wifi":    {{"rssi", "signal", "Wi-Fi signal", Number, "dBm", "signal_strength", true}},
}

// shellyComponent takes "switch:1" apart: its kind, its number and the name of its readings ("switch_1"). kind is "" for one
// that is not known.
func shellyComponent(s string) (kind string, id int, name string) {
	kind, number, numbered := strings.Cut(s, ":")
	if _, ok := shellyFields[kind]; !ok && kind != "button" && kind != "bthomedevice" {
		return "", 0, ""
	}
	if numbered {
		n, err := strconv.Atoi(number)
		if err != nil || n < 0 || n > 9999 || strconv.Itoa(n) != number {
			return "", 0, ""
		}
		id = n
	}
	if id == 0 {
		return kind, 0, kind
	}
	return kind, id, kind + "_" + strconv.Itoa(id)
}

// shellyName is the name of a reading: of what a device is alone by itself, else after its component.
func shellyName(component, field string) string {
	if field == "" {
		return component
	}
	return component + "_" + field
}

// plainJSON is a text as JSON.
func plainJSON(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return `""` // texts can always be encoded
	}
	return string(b)
}

func (d *shellyDevice) part() Part {
	s := d.next
	d.commandNames = unique{}
	p := Part{
		Convention: shelly{}.Name(), Key: d.key, IDs: []string{s.MAC}, Name: firstOf(s.Name, s.ID, d.key),
		Manufacturer: "Shelly", Model: s.Model, Software: s.Version, Kind: Sensor,
		Availability: Availability{Mode: Latest, Sources: []AvailabilitySource{{Source: Source{Topic: d.key + "/online"}, Online: "true", Offline: "false"}}},
	}
	if _, battery := s.Components["devicepower:0"]; battery {
		p.Availability = Availability{} // it sleeps most of the time
	}
	kinds := map[string]Kind{"cover": Cover, "thermostat": Climate, "light": Lamp, "cct": Lamp, "rgb": Lamp, "rgbw": Lamp, "switch": Plug}
	for _, component := range slices.Sorted(maps.Keys(s.Components)) {
		kind, id, name := shellyComponent(component)
		title := firstOf(s.Names[component], spoken(name))
		if k, ok := kinds[kind]; ok && slices.Index(Kinds(), k) < slices.Index(Kinds(), p.Kind) {
			p.Kind = k
		}
		for _, f := range shellyFields[kind] {
			if !slices.Contains(s.Components[component], f.name) {
				continue
			}
			r := Reading{
				Name: shellyName(name, f.name), Label: title, Kind: f.kind, Unit: f.unit, Quantity: f.quantity, Diagnostic: f.diagnostic, Precision: -1,
			}
			if f.label != "" {
				r.Label = f.label
				if id > 0 || s.Names[component] != "" {
					r.Label = title + " " + lowered(f.label)
				}
			}
			if f.kind == OnOff {
				r.On, r.Off = "true", "false"
			}
			p.Readings = append(p.Readings, r)
			if (kind == "smoke" || kind == "flood") && f.name == "" {
				p.Alarms = append(p.Alarms, AlarmRule{Name: r.Name, Label: map[string]string{"smoke": "Smoke", "flood": "Water leak"}[kind], Reading: r.Name, Is: []string{"true"}})
			}
		}
		d.commands(&p, component, title)
	}
	d.command(&p, Command{Name: "restart", Label: "Restart the device", Grade: Dangerous}, "Shelly.Reboot")
	return finish(p)
}

// command adds one that calls a method; params are fields of its JSON.
func (d *shellyDevice) command(p *Part, c Command, method string, params ...field) {
	c.Name, c.Topic, c.Confirm = d.commandNames.name(c.Name, "command"), d.key+"/rpc", &Confirm{Answer: true}
	if c.Grade == "" {
		c.Grade = gradeOf(p.Name, c.Label)
	}
	fields := []field{
		{name: "id", source: `"{{ transaction }}"`}, {name: "src", source: jsonLiteral(shellyReply + d.key)}, {name: "method", source: jsonLiteral(method)},
	}
	if len(params) > 0 {
		fields = append(fields, field{name: "params", source: jsonObject(params...)})
	}
	c.Payload = jsonObject(fields...)
	p.Commands = append(p.Commands, c)
}

// commands of one component.
func (d *shellyDevice) commands(p *Part, component, title string) {
	kind, id, _ := shellyComponent(component)
	suffix := ""
	if id > 0 {
		suffix = "_" + strconv.Itoa(id)
	}
	what := field{name: "id", source: strconv.Itoa(id)}
	set := func(name, text, method string, a Arg, member string) {
		a.Name, a.Label = "value", text
		d.command(p, Command{Name: name + suffix, Label: text + ": " + title, Args: []Arg{a}}, method, what, field{name: member, source: jsonValue(a)})
	}
	limited := func(unit string, low, high float64) Arg { return Arg{Kind: Number, Unit: unit, Min: &low, Max: &high} }
	method := map[string]string{"switch": "Switch", "light": "Light", "cct": "CCT", "rgb": "RGB", "rgbw": "RGBW"}[kind]
	if method != "" {
		d.command(p, Command{Name: "on" + suffix, Label: "Switch on: " + title}, method+".Set", what, field{name: "on", source: "true"})
		d.command(p, Command{Name: "off" + suffix, Label: "Switch off: " + title, Grade: Operate}, method+".Set", what, field{name: "on", source: "false"})
		d.command(p, Command{Name: "toggle" + suffix, Label: "Switch over: " + title}, method+".Toggle", what)
	}
	switch kind {
	case "light", "cct", "rgb", "rgbw":
		set("set_brightness", "Set the brightness", method+".Set", limited("%", 0, 100), "brightness")
		if kind == "cct" {
			set("set_color_temp", "Set the colour temperature", method+".Set", limited("K", 2700, 6500), "ct")
		}
		if strings.HasPrefix(kind, "rgb") {
			part := func(name string) Arg {
				a := limited("", 0, 255)
				a.Name, a.Label, a.Step = name, spoken(name), 1
				return a
			}
			d.command(p, Command{Name: "set_color" + suffix, Label: "Set the colour: " + title, Args: []Arg{part("red"), part("green"), part("blue")}},
				method+".Set", what, field{name: "rgb", source: "[{{ red }},{{ green }},{{ blue }}]"})
		}
	case "cover":
		for _, w := range [][2]string{{"open", "Open"}, {"close", "Close"}, {"stop", "Stop"}} {
			c := Command{Name: w[0] + suffix, Label: w[1] + ": " + title}
			if w[0] != "open" {
				c.Grade = Operate
			}
			d.command(p, c, "Cover."+w[1], what)
		}
		set("set_position", "Move", "Cover.GoToPosition", limited("%", 0, 100), "pos")
	case "thermostat":
		a := limited("°C", 5, 35)
		a.Name, a.Label, a.Step = "value", "Target temperature", 0.5
		d.command(p, Command{Name: "set_target" + suffix, Label: "Set the target temperature: " + title, Args: []Arg{a}}, "Thermostat.SetConfig", what,
			field{name: "config", source: jsonObject(field{name: "target_C", source: jsonValue(a)})})
	case "smoke", "flood":
		d.command(p, Command{Name: "mute" + suffix, Label: "Mute the alarm: " + title, Grade: Dangerous}, spoken(kind)+".Mute", what)
	case "boolean":
		set("set_boolean", "Set", "Boolean.Set", Arg{Kind: OnOff, On: "true", Off: "false"}, "value")
	case "number":
		set("set_number", "Set", "Number.Set", Arg{Kind: Number}, "value")
	case "text":
		set("set_text", "Set", "Text.Set", Arg{Kind: Text}, "value")
	case "enum":
		set("set_enum", "Set", "Enum.Set", Arg{Kind: Text}, "value")
	}
}
