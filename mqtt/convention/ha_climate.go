package convention

import "strings"

// What of Home Assistant discovery makes the air: climate, fans, humidifiers, water heaters.

// degrees is the unit of temperatures.
func (e *haEntity) degrees() string {
	switch u := e.text("temperature_unit", "C"); u {
	case "F", "°F":
		return "°F"
	case "K":
		return "K"
	default:
		return "°C"
	}
}

// setting is a value that can be read and set: topics <key>_state_topic and <key>_command_topic, templates beside them.
type haSetting struct {
	key     string // of topics and templates
	name    string // of the reading; the command is "set_" and it
	title   string
	stateT  string // the key of the reading's template, "" is <key>_state_template
	options []string
	min     *float64 // a number has them
	max     *float64
	step    float64
	unit    string
	number  bool
	onOff   bool // with payloadOn, payloadOff
	on, off string
	what    string // quantity
}

func (e *haEntity) settable(s haSetting) {
	kind := Option
	switch {
	case s.number:
		kind = Number
	case s.onOff:
		kind = OnOff
	case len(s.options) == 0:
		kind = Text
	}
	if s.stateT == "" {
		s.stateT = s.key + "_state_template"
	}
	r := Reading{Name: s.name, Label: e.named(s.title), Kind: kind, Quantity: s.what, Unit: s.unit, Options: s.options, On: s.on, Off: s.off, Precision: -1}
	e.read(r, s.key+"_state_topic", s.stateT, "value_template")
	arg := valueArg(kind, titled(s.title))
	arg.Options, arg.Min, arg.Max, arg.Step, arg.Unit, arg.On, arg.Off = s.options, s.min, s.max, s.step, s.unit, s.on, s.off
	e.command(Command{
		Name: "set_" + s.name, Label: e.named("set " + s.title), Args: []Arg{arg}, Payload: haValue, Confirm: becomes(s.name, "value"),
	}, s.key+"_command_topic", s.key+"_command_template")
}

// switchable adds on and off with a topic of their own.
func (e *haEntity) switchable(topicKey, reading string, templateKeys ...string) {
	on, off := e.text("payload_on", "ON"), e.text("payload_off", "OFF")
	for _, c := range []struct{ name, payload, title string }{{"on", on, "on"}, {"off", off, "off"}} {
		state := e.text("state_"+c.name, c.payload)
		e.command(Command{Name: c.name, Label: e.named(c.title), Payload: e.templated(c.payload, templateKeys...), Confirm: is(reading, state)}, topicKey)
	}
}

func haClimate(e *haEntity) {
	e.part.Kind = Climate
	unit := e.degrees()
	low, high, step := 7.0, 35.0, 1.0
	if unit == "°F" {
		low, high = 44.6, 95
	}
	from, to, by := e.bounds("min_temp", "max_temp", low, high, "temp_step", step)
	e.read(Reading{Name: "current_temperature", Label: e.named("temperature"), Kind: Number, Quantity: "temperature", Unit: unit, Precision: -1},
		"current_temperature_topic", "current_temperature_template", "value_template")
	e.read(Reading{Name: "current_humidity", Label: e.named("humidity"), Kind: Number, Quantity: "humidity", Unit: "%", Precision: -1},
		"current_humidity_topic", "current_humidity_template", "value_template")
	for _, t := range []struct{ key, name, title string }{
		{"temperature", "target", "target temperature"}, {"temperature_low", "target_low", "lowest temperature"}, {"temperature_high", "target_high", "highest temperature"},
	} {
		e.settable(haSetting{key: t.key, name: t.name, title: t.title, number: true, min: from, max: to, step: by, unit: unit, what: "temperature"})
	}
	humidLow, humidHigh, _ := e.bounds("min_humidity", "max_humidity", 30, 99, "", 0)
	e.settable(haSetting{key: "target_humidity", name: "target_humidity", title: "target humidity", number: true, min: humidLow, max: humidHigh, unit: "%", what: "humidity"})
	options := func(key string, def ...any) []string {
		if v, there := e.cfg[key]; there {
			return texts(v, MaxOptions)
		}
		return texts(def, MaxOptions)
	}
	e.settable(haSetting{key: "mode", name: "mode", title: "mode", options: options("modes", "auto", "off", "cool", "heat", "dry", "fan_only")})
	e.settable(haSetting{key: "fan_mode", name: "fan_mode", title: "fan", options: options("fan_modes", "auto", "low", "medium", "high")})
	e.settable(haSetting{key: "swing_mode", name: "swing_mode", title: "swing", options: options("swing_modes", "on", "off")})
	e.settable(haSetting{key: "swing_horizontal_mode", name: "swing_horizontal_mode", title: "horizontal swing", options: options("swing_horizontal_modes", "on", "off")})
	e.settable(haSetting{key: "preset_mode", name: "preset", title: "preset", stateT: "preset_mode_value_template", options: options("preset_modes")})
	e.read(Reading{Name: "action", Label: e.named("doing"), Kind: Option, Options: []string{"off", "preheating", "heating", "cooling", "drying", "idle", "fan", "defrosting"}},
		"action_topic", "action_template", "value_template")
	if e.has("power_command_topic") {
		e.switchable("power_command_topic", "mode", "power_command_template")
		for i := range e.part.Commands { // the mode says "off" when it is, and something else when it is on
			if c := &e.part.Commands[i]; c.Name == "on" {
				c.Confirm = nil
			} else if c.Name == "off" && c.Confirm != nil {
				c.Confirm = is("mode", "off")
			}
		}
	}
}

func haWaterHeater(e *haEntity) {
	e.part.Kind = Heater
	unit := e.degrees()
	low, high := 43.3, 60.0
	if unit == "°F" {
		low, high = 110, 140
	}
	from, to, _ := e.bounds("min_temp", "max_temp", low, high, "", 0)
	e.read(Reading{Name: "current_temperature", Label: e.named("temperature"), Kind: Number, Quantity: "temperature", Unit: unit, Precision: -1},
		"current_temperature_topic", "current_temperature_template", "value_template")
	e.settable(haSetting{key: "temperature", name: "target", title: "target temperature", number: true, min: from, max: to, unit: unit, what: "temperature"})
	modes := texts(e.cfg["modes"], MaxOptions)
	if _, there := e.cfg["modes"]; !there {
		modes = []string{"off", "eco", "electric", "gas", "heat_pump", "high_demand", "performance"}
	}
	e.settable(haSetting{key: "mode", name: "mode", title: "mode", options: modes})
	if e.has("power_command_topic") {
		e.switchable("power_command_topic", "", "power_command_template")
	}
}

func haHumidifier(e *haEntity) {
	e.part.Kind = Humidifier
	r := Reading{Name: "state", Label: e.named("state"), Quantity: "humidifier", Precision: -1}
	e.onOff(r, "state_value_template", "value_template")
	e.switchable("command_topic", "state", "command_template")
	e.read(Reading{Name: "current_humidity", Label: e.named("humidity"), Kind: Number, Quantity: "humidity", Unit: "%", Precision: -1},
		"current_humidity_topic", "current_humidity_template")
	low, high, _ := e.bounds("min_humidity", "max_humidity", 0, 100, "", 0)
	e.settable(haSetting{key: "target_humidity", name: "target_humidity", title: "target humidity", number: true, min: low, max: high, unit: "%", what: "humidity"})
	e.settable(haSetting{key: "mode", name: "mode", title: "mode", options: texts(e.cfg["modes"], MaxOptions)})
	e.read(Reading{Name: "action", Label: e.named("doing"), Kind: Option, Options: []string{"off", "humidifying", "drying", "idle"}}, "action_topic", "action_template")
}

func haFan(e *haEntity) {
	e.part.Kind = Fan
	e.onOff(Reading{Name: "state", Label: e.named("state"), Quantity: "fan", Precision: -1}, "state_value_template", "value_template")
	e.switchable("command_topic", "state", "command_template")
	// The device counts its speeds in a range of its own, and so do people then: no rounding between.
	low, high, _ := e.bounds("speed_range_min", "speed_range_max", 1, 100, "", 0)
	speed := haSetting{key: "percentage", name: "speed", title: "speed", stateT: "percentage_value_template", number: true, min: low, max: high, step: 1}
	if low != nil && *low == 1 && *high == 100 {
		speed.unit = "%"
		off := 0.0
		speed.min = &off
	}
	e.settable(speed)
	e.settable(haSetting{key: "preset_mode", name: "preset", title: "preset", stateT: "preset_mode_value_template", options: texts(e.cfg["preset_modes"], MaxOptions)})
	e.settable(haSetting{
		key: "oscillation", name: "oscillation", title: "oscillation", stateT: "oscillation_value_template", onOff: true,
		on: e.text("payload_oscillation_on", "oscillate_on"), off: e.text("payload_oscillation_off", "oscillate_off"),
	})
	e.settable(haSetting{key: "direction", name: "direction", title: "direction", stateT: "direction_value_template", options: []string{"forward", "reverse"}})
	if strings.TrimSpace(e.text("speed_command_topic", "")) != "" {
		e.refuse(e.named("speeds by name"), "Home Assistant does not support this any more; the device should announce preset modes")
	}
}
