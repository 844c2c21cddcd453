package convention

import (
	"slices"
	"strconv"
)

// What of Home Assistant discovery moves: covers, valves, vacuum cleaners, lawn mowers.

// haGates are the kinds of covers that people go through, or drive.
var haGates = []string{"door", "garage", "gate"}

func haCover(e *haEntity) {
	e.part.Kind = Cover
	opens := Operate
	if class := word(str(e.cfg["device_class"])); slices.Contains(haGates, class) {
		opens = Dangerous
	}
	states := texts([]any{e.text("state_open", "open"), e.text("state_opening", "opening"), e.text("state_closed", "closed"), e.text("state_closing", "closing"), e.text("state_stopped", "stopped")}, MaxOptions)
	e.read(Reading{Name: "state", Label: e.named("state"), Kind: Option, Quantity: "cover", Options: states}, "state_topic", "value_template")
	positionKeys := []string{"position_template"}
	if !e.has("state_topic") { // then value_template is the position's
		positionKeys = append(positionKeys, "value_template")
	}
	closed, open := e.text("position_closed", "0"), e.text("position_open", "100")
	position := Reading{Name: "position", Label: e.named("position"), Kind: Number, Precision: -1}
	if closed == "0" && open == "100" {
		position.Unit = "%"
	}
	e.read(position, "position_topic", positionKeys...)
	done := func(state, position string) *Confirm {
		if e.reads("state") {
			return is("state", state)
		}
		return is("position", position)
	}
	do := func(name, payloadKey, payload string, grade Grade, confirm *Confirm) {
		if v, there := e.cfg[payloadKey]; there && v == nil {
			return // null: it can not
		}
		e.command(Command{Name: name, Label: e.named(name), Payload: literal(e.text(payloadKey, payload)), Grade: grade, Confirm: confirm}, "command_topic")
	}
	do("open", "payload_open", "OPEN", opens, done(e.text("state_open", "open"), open))
	do("close", "payload_close", "CLOSE", Operate, done(e.text("state_closed", "closed"), closed))
	do("stop", "payload_stop", "STOP", Operate, nil)
	low, high := span(closed, open)
	arg := valueArg(Number, "Position")
	arg.Min, arg.Max, arg.Unit = low, high, position.Unit
	payload := haValue
	if e.template("set_position_template") != "" {
		payload = "{% set position = value %}" + e.template("set_position_template")
	}
	e.command(Command{Name: "set_position", Label: e.named("position"), Args: []Arg{arg}, Payload: payload, Grade: opens, Confirm: becomes("position", "value")}, "set_position_topic")
	e.tilt()
}

// tilt adds the slats of a cover.
func (e *haEntity) tilt() {
	low, high := span(e.text("tilt_min", "0"), e.text("tilt_max", "100"))
	e.read(Reading{Name: "tilt", Label: e.named("tilt"), Kind: Number, Precision: -1}, "tilt_status_topic", "tilt_status_template")
	arg := valueArg(Number, "Tilt")
	arg.Min, arg.Max = low, high
	payload := haValue
	if own := e.template("tilt_command_template"); own != "" {
		payload = "{% set tilt_position = value %}" + own
	}
	e.command(Command{Name: "set_tilt", Label: e.named("tilt"), Args: []Arg{arg}, Payload: payload, Confirm: becomes("tilt", "value")}, "tilt_command_topic")
}

// span are two bounds in order, nil if one is no number.
func span(a, b string) (low, high *float64) {
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	if errX != nil || errY != nil || x != x || y != y {
		return nil, nil
	}
	x, y = min(x, y), max(x, y)
	return &x, &y
}

func haValve(e *haEntity) {
	e.part.Kind = Valve
	closed, open := e.text("position_closed", "0"), e.text("position_open", "100")
	if truth(e.cfg["reports_position"], false) {
		s, ok := e.source(e.named("position"), "state_topic", "value_template")
		if ok {
			if s.Template == "" { // a number, or JSON with position
				s.Template = "{{ value_json.position | default('') if value_json is mapping else value }}"
			}
			e.addReading(Reading{Name: "position", Label: e.named("position"), Kind: Number, Unit: "%", Precision: -1, Source: s})
		}
		low, high := span(closed, open)
		arg := valueArg(Number, "Position")
		arg.Min, arg.Max, arg.Unit = low, high, "%"
		set := func(name, fixed string, grade Grade) {
			e.command(Command{Name: name, Label: e.named(name), Payload: e.templated(fixed, "command_template"), Grade: grade, Confirm: is("position", fixed)}, "command_topic")
		}
		set("open", open, Dangerous)
		set("close", closed, Operate)
		e.command(Command{Name: "set_position", Label: e.named("position"), Args: []Arg{arg}, Payload: haValue, Grade: Dangerous, Confirm: becomes("position", "value")}, "command_topic", "command_template")
	} else {
		states := texts([]any{e.text("state_open", "open"), e.text("state_opening", "opening"), e.text("state_closed", "closed"), e.text("state_closing", "closing")}, MaxOptions)
		s, ok := e.source(e.named("state"), "state_topic", "value_template")
		if ok {
			if s.Template == "" {
				s.Template = "{{ value_json.state | default('') if value_json is mapping else value }}"
			}
			e.addReading(Reading{Name: "state", Label: e.named("state"), Kind: Option, Quantity: "valve", Options: states, Source: s})
		}
		do := func(name, payload string, grade Grade, confirm *Confirm) {
			e.command(Command{Name: name, Label: e.named(name), Payload: e.templated(payload, "command_template"), Grade: grade, Confirm: confirm}, "command_topic")
		}
		do("open", e.text("payload_open", "OPEN"), Dangerous, is("state", e.text("state_open", "open")))
		do("close", e.text("payload_close", "CLOSE"), Operate, is("state", e.text("state_closed", "closed")))
	}
	if e.has("payload_stop") {
		e.command(Command{Name: "stop", Label: e.named("stop"), Payload: e.templated(e.text("payload_stop", ""), "command_template")}, "command_topic")
	}
}

// haVacuumActions are what a vacuum cleaner can be asked to do: command, feature, key and default of the payload.
var haVacuumActions = []struct{ name, feature, key, payload string }{
	{"start", "start", "payload_start", "start"},
	{"pause", "pause", "payload_pause", "pause"},
	{"stop", "stop", "payload_stop", "stop"},
	{"return_to_base", "return_home", "payload_return_to_base", "return_to_base"},
	{"clean_spot", "clean_spot", "payload_clean_spot", "clean_spot"},
	{"locate", "locate", "payload_locate", "locate"},
}

func haVacuum(e *haEntity) {
	e.part.Kind = Vacuum
	features := []string{"start", "stop", "return_home", "status", "battery", "clean_spot"}
	if _, there := e.cfg["supported_features"]; there {
		features = texts(e.cfg["supported_features"], MaxOptions)
	}
	speeds := texts(e.cfg["fan_speed_list"], MaxOptions)
	if s, ok := e.source(e.named("state"), "state_topic"); ok {
		member := func(name, title string, kind ReadingKind, key, quantity, unit string, options []string) {
			s.Template = "{{ " + access(key) + " | default('') }}"
			e.addReading(Reading{Name: name, Label: e.named(title), Kind: kind, Quantity: quantity, Unit: unit, Options: options, Precision: -1, Source: s})
		}
		member("state", "state", Option, "state", "", "", []string{"cleaning", "docked", "paused", "idle", "returning", "error"})
		if slices.Contains(features, "battery") {
			member("battery", "battery", Number, "battery_level", "battery", "%", nil)
		}
		if slices.Contains(features, "fan_speed") {
			member("fan_speed", "fan speed", Option, "fan_speed", "", "", speeds)
		}
		e.part.Alarms = append(e.part.Alarms, AlarmRule{Name: "error", Label: e.named("error"), Reading: "state", Is: []string{"error"}})
	}
	after := map[string]string{"start": "cleaning", "pause": "paused", "return_to_base": "returning"}
	for _, a := range haVacuumActions {
		if !slices.Contains(features, a.feature) {
			continue
		}
		c := Command{Name: a.name, Label: e.named(a.name), Payload: literal(e.text(a.key, a.payload))}
		if state := after[a.name]; state != "" {
			c.Confirm = is("state", state)
		}
		e.command(c, "command_topic")
	}
	if slices.Contains(features, "fan_speed") {
		e.option("set_fan_speed", e.named("fan speed"), speeds, "fan_speed", "set_fan_speed_topic", "")
	}
	if slices.Contains(features, "send_command") {
		arg := valueArg(Text, "Command")
		e.command(Command{Name: "send_command", Label: e.named("send a command"), Args: []Arg{arg}, Payload: haValue}, "send_command_topic")
	}
}

func haMower(e *haEntity) {
	e.part.Kind = Mower
	if e.read(Reading{Name: "state", Label: e.named("state"), Kind: Option, Options: []string{"mowing", "paused", "docked", "returning", "error"}}, "activity_state_topic", "activity_value_template") {
		e.part.Alarms = append(e.part.Alarms, AlarmRule{Name: "error", Label: e.named("error"), Reading: "state", Is: []string{"error"}})
	}
	for _, a := range []struct{ name, after string }{{"start_mowing", "mowing"}, {"pause", "paused"}, {"dock", "docked"}} {
		e.command(Command{
			Name: a.name, Label: e.named(a.name), Payload: e.templated(a.name, a.name+"_command_template"), Confirm: is("state", a.after),
		}, a.name+"_command_topic")
	}
}
