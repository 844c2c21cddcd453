package convention

import (
	"slices"
	"strings"
)

// Access bits of an expose.
const (
	zSeen = 1 << iota // the property is in what the device publishes
	zSet              // it may be set
	zGet              // it may be asked for
)

// exposer turns the exposes of one device into readings, triggers, commands and alarms of part. The generic kinds are
// binary, numeric, enum, text, composite and list; the specific ones (light, switch, lock, cover, climate, fan) hold generic
// features. Of two that describe the same property the first counts.
type exposer struct {
	base  string // <prefix>/<friendly name>
	part  *Part
	about string // what the model is, in lower case
	can   abilities

	readings, triggers, commands, alarms unique
	seen                                 map[string]bool // kind of expose and property
	ask, asked                           string          // the first property that may be asked for, and its reading
	kinds                                map[string]bool // of the exposes at the top
}

// property is what all generic exposes have.
type property struct {
	o      map[string]any
	within string // the specific expose it belongs to, or ""
	keys   []string
	name   string // keys, as one word
	label  string
	access int
	config bool // a setting, or a diagnostic value
}

func (e *exposer) all(exposes []any) {
	e.readings, e.triggers, e.commands, e.alarms = unique{}, unique{}, unique{}, unique{}
	e.seen, e.kinds = map[string]bool{}, map[string]bool{}
	for _, v := range exposes {
		o, _ := v.(map[string]any)
		e.kinds[str(o["type"])] = true
	}
	e.part.Kind = e.kind(exposes)
	for _, v := range exposes {
		if o, ok := v.(map[string]any); ok {
			e.expose(o)
		}
	}
	if e.ask != "" {
		e.command(Command{
			Name: "refresh", Label: "Ask the device for its values", Topic: e.base + "/get", Grade: Read,
			Payload: jsonObject(field{name: e.ask, source: `""`}), Confirm: confirm(e.asked, ""),
		})
	}
}

// kind is what the device is.
func (e *exposer) kind(exposes []any) Kind {
	about := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(e.about, w) })
	}
	valve := about("valve") && !about("radiator", "thermostat")
	switch {
	case e.kinds["lock"] || about("door lock", "smart lock", "deadbolt"):
		return Lock
	case about("siren"):
		return Siren
	case e.kinds["cover"] && valve, e.kinds["switch"] && valve:
		return Valve
	case e.kinds["cover"]:
		return Cover
	case e.kinds["climate"]:
		return Climate
	case e.kinds["fan"]:
		return Fan
	case e.kinds["light"]:
		return Lamp
	case e.kinds["switch"]:
		return Plug
	}
	for _, v := range exposes {
		if o, _ := v.(map[string]any); o["name"] == "action" {
			return Remote
		}
	}
	if len(exposes) > 0 {
		return Sensor
	}
	return Other
}

func (e *exposer) expose(o map[string]any) {
	switch kind := str(o["type"]); kind {
	case "light", "switch", "lock", "cover", "climate", "fan":
		features := map[string]bool{}
		for _, v := range list(o["features"]) {
			if f, ok := v.(map[string]any); ok {
				features[str(f["name"])] = true
				e.generic(f, kind)
			}
		}
		e.ability(kind, features)
	default:
		e.generic(o, "")
	}
}

// ability notes what a group with this device can do.
func (e *exposer) ability(kind string, features map[string]bool) {
	switch kind {
	case "light":
		e.can |= canSwitch
		if features["brightness"] {
			e.can |= canDim
		}
		if features["color_temp"] {
			e.can |= canTemperature
		}
	case "switch":
		e.can |= canSwitch
	case "cover":
		e.can |= canCover
		if features["position"] {
			e.can |= canPosition
		}
	case "lock":
		e.can |= canLock
	}
}

// generic takes an expose that has a property of its own.
func (e *exposer) generic(o map[string]any, within string) {
	prop := str(o["property"])
	if prop == "" {
		prop = str(o["name"])
	}
	kind := str(o["type"])
	id := kind + " " + prop
	if kind == "composite" {
		id += " " + str(o["name"]) // colour as x and y, and as hue and saturation, is one property
	}
	if prop == "" || len(prop) > MaxID || e.seen[id] {
		return
	}
	e.seen[id] = true
	p := property{o: o, within: within, keys: []string{prop}, name: word(prop), access: whole(o["access"], 0, 7, 0)}
	p.label = label(str(o["label"]))
	if p.label == "" || p.name != word(str(o["name"])) {
		p.label = spoken(prop)
	}
	p.config = o["category"] == "config" || o["category"] == "diagnostic" || prop == "linkquality"
	if p.name == "" {
		e.refuse(prop, "its name has no letters")
		return
	}
	switch kind {
	case "binary":
		e.binary(p)
	case "numeric":
		e.numeric(p)
	case "enum":
		e.enum(p)
	case "text":
		e.text(p)
	case "composite":
		e.composite(p)
	case "list":
		e.list(p)
	default:
		e.refuse(p.label, "“"+clean(kind, MaxWord)+"” is no kind of value that is known here")
	}
}

func (e *exposer) refuse(name, reason string) {
	if len(e.part.Refused) < MaxReadings {
		e.part.Refused = append(e.part.Refused, Refusal{label(name), reason})
	}
}

// reading adds one, and gives its name.
func (e *exposer) reading(p property, r Reading) string {
	if len(e.part.Readings) == MaxReadings {
		return ""
	}
	if r.Kind == "" {
		r.Kind = Text
	}
	r.Name = e.readings.name(p.name, "value")
	r.Label, r.Diagnostic, r.Precision = p.label, p.config, -1
	if r.Source.Template == "" {
		r.Source.Template = inner(p.keys...)
	}
	r.Source.Topic = e.base
	e.part.Readings = append(e.part.Readings, r)
	if p.access&zGet != 0 && e.ask == "" && len(p.keys) == 1 {
		e.ask, e.asked = p.keys[0], r.Name
	}
	return r.Name
}

func (e *exposer) command(c Command) {
	if len(e.part.Commands) == MaxCommands {
		return
	}
	c.Name = e.commands.name(c.Name, "command")
	if c.Topic == "" {
		c.Topic = e.base + "/set"
	}
	if c.Grade == "" {
		c.Grade = Operate
	}
	e.part.Commands = append(e.part.Commands, c)
}

// confirm by the reading that shows the property; nil if none does.
func confirm(reading, value string) *Confirm {
	if reading == "" {
		return nil
	}
	return &Confirm{Reading: reading, Value: value}
}

func (e *exposer) binary(p property) {
	on, off := p.o["value_on"], p.o["value_off"]
	shown := ""
	if p.access&zSeen != 0 {
		shown = e.reading(p, Reading{Kind: OnOff, Quantity: zigbeeBinary[p.name], On: cut(rendered(on), MaxWord), Off: cut(rendered(off), MaxWord)})
		if text, ok := zigbeeAlarms[p.name]; ok && shown != "" {
			e.part.Alarms = append(e.part.Alarms, AlarmRule{Name: e.alarms.name(p.name, "alarm"), Label: text, Reading: shown, Is: []string{rendered(on)}})
		}
	}
	if p.access&zSet == 0 {
		return
	}
	if suffix, ok := strings.CutPrefix(p.name, "state"); ok && (p.within == "switch" || p.within == "light" || p.within == "fan" || p.within == "lock") {
		e.state(p, suffix, shown)
		return
	}
	a := Arg{Name: "value", Label: p.label, Kind: OnOff, On: str(on), Off: str(off)}
	value := "{{ value }}"
	if on == true || off == true {
		value = "{{ 'True' if value == 'true' else 'False' }}"
	}
	e.command(Command{
		Name: "set_" + p.name, Label: "Set " + lowered(p.label), Args: []Arg{a}, Grade: e.grade(p),
		Payload: jsonObject(field{name: p.keys[0], source: jsonValue(a)}), Confirm: confirm(shown, value),
	})
}

// state makes the commands of what is switched or locked.
func (e *exposer) state(p property, suffix, shown string) {
	words := [][3]string{{"on", "Switch on", "value_on"}, {"off", "Switch off", "value_off"}, {"toggle", "Switch over", "value_toggle"}}
	if p.within == "lock" {
		words = [][3]string{{"lock", "Lock", "value_on"}, {"unlock", "Unlock", "value_off"}}
	}
	which := spoken(strings.TrimPrefix(suffix, "_"))
	for _, w := range words {
		v, ok := p.o[w[2]]
		if !ok {
			continue
		}
		c := Command{
			Name: w[0] + suffix, Label: strings.TrimSpace(w[1] + " " + which), Payload: jsonObject(field{name: p.keys[0], source: jsonLiteral(v)}),
			Confirm: confirm(shown, literal(rendered(v))),
		}
		switch w[0] {
		case "toggle":
			c.Confirm = confirm(shown, "")
			c.Grade = e.gradeOpening()
		case "unlock":
			c.Grade = Dangerous
		case "on":
			c.Grade = e.gradeOpening()
		}
		e.command(c)
	}
}

// gradeOpening is the grade of what may open a way: water, or into the house.
func (e *exposer) gradeOpening() Grade {
	if e.part.Kind == Valve || e.part.Kind == Siren || e.part.Kind == Lock || strings.Contains(e.about, "garage") || strings.Contains(e.about, "gate ") {
		return Dangerous
	}
	return Operate
}

// grade of a command by what it sets.
func (e *exposer) grade(p property) Grade {
	for _, w := range []string{"alarm", "siren", "warning", "squawk", "pin_code", "unlock", "lock_state", "valve", "trigger", "reset", "factory", "arm_mode", "garage"} {
		if strings.Contains(p.name, w) && !p.config {
			return Dangerous
		}
	}
	return Operate
}

func (e *exposer) numeric(p property) {
	unit := clean(str(p.o["unit"]), MaxWord)
	shown := ""
	if p.access&zSeen != 0 {
		shown = e.reading(p, Reading{Kind: Number, Unit: unit, Quantity: quantityOf(p.name, unit)})
	}
	if p.access&zSet != 0 {
		a := numberArg(p, unit)
		e.command(Command{
			Name: "set_" + p.name, Label: "Set " + lowered(p.label), Args: []Arg{a}, Grade: e.gradePosition(p),
			Payload: jsonObject(field{name: p.keys[0], source: jsonValue(a)}), Confirm: confirm(shown, "{{ value }}"),
		})
	}
}

// gradePosition: moving a valve or a gate is as dangerous as opening it.
func (e *exposer) gradePosition(p property) Grade {
	if p.within == "cover" {
		return e.gradeOpening()
	}
	return e.grade(p)
}

func numberArg(p property, unit string) Arg {
	a := Arg{Name: "value", Label: p.label, Kind: Number, Unit: unit, Min: bound(p.o["value_min"]), Max: bound(p.o["value_max"])}
	if step, ok := number(p.o["value_step"]); ok && step > 0 {
		a.Step = step
	}
	a.ordered()
	return a
}

func (e *exposer) enum(p property) {
	options := texts(p.o["values"], MaxOptions+1)
	if len(options) > MaxOptions {
		options = nil // any text: the device says no to what it does not know
	}
	if p.name == "action" || p.name == "click" {
		e.part.Triggers = append(e.part.Triggers, Trigger{
			Name: e.triggers.name(p.name, "action"), Label: p.label, Source: Source{Topic: e.base, Template: path(p.keys...)}, Options: options,
		})
		return
	}
	shown := ""
	if p.access&zSeen != 0 {
		shown = e.reading(p, Reading{Kind: Option, Options: options})
	}
	if p.access&zSet == 0 {
		return
	}
	if p.within == "cover" && strings.HasPrefix(p.name, "state") {
		e.cover(p, strings.TrimPrefix(p.name, "state"), shown, options)
		return
	}
	a := Arg{Name: "value", Label: p.label, Kind: Option, Options: options}
	if len(options) == 0 {
		a.Kind = Text
	}
	c := Command{Name: "set_" + p.name, Label: "Set " + lowered(p.label), Grade: e.grade(p), Confirm: confirm(shown, "{{ value }}")}
	if len(options) == 1 && shown == "" { // a button
		c.Name, c.Label, c.Payload = p.name, p.label, jsonObject(field{name: p.keys[0], source: jsonLiteral(options[0])})
	} else {
		c.Args, c.Payload = []Arg{a}, jsonObject(field{name: p.keys[0], source: jsonValue(a)})
	}
	e.command(c)
}

// cover makes open, close and stop.
func (e *exposer) cover(p property, suffix, shown string, options []string) {
	for _, w := range []struct{ name, label, value string }{{"open", "Open", "OPEN"}, {"close", "Close", "CLOSE"}, {"stop", "Stop", "STOP"}} {
		if !slices.Contains(options, w.value) {
			continue
		}
		c := Command{
			Name: w.name + suffix, Label: strings.TrimSpace(w.label + " " + spoken(strings.TrimPrefix(suffix, "_"))),
			Payload: jsonObject(field{name: p.keys[0], source: jsonLiteral(w.value)}), Confirm: confirm(shown, w.value),
		}
		if w.value == "OPEN" {
			c.Grade = e.gradeOpening()
		}
		e.command(c)
	}
}

func (e *exposer) text(p property) {
	shown, secret := "", secretWord(p.name)
	if p.access&zSeen != 0 && !secret {
		shown = e.reading(p, Reading{Kind: Text})
	}
	if p.access&zSet != 0 {
		a := Arg{Name: "value", Label: p.label, Kind: Text, Secret: secret}
		e.command(Command{
			Name: "set_" + p.name, Label: "Set " + lowered(p.label), Args: []Arg{a}, Grade: e.grade(p),
			Payload: jsonObject(field{name: p.keys[0], source: jsonValue(a)}), Confirm: confirm(shown, "{{ value }}"),
		})
	}
}

// list is a text for the eye; a list cannot be set in a line of chat.
func (e *exposer) list(p property) {
	if p.access&zSeen != 0 {
		e.reading(p, Reading{Kind: Text, Source: Source{Template: "{% if " + access(p.keys...) + " is defined %}{{ " + access(p.keys...) + " | tojson }}{% endif %}"}})
	}
	if p.access&zSet != 0 {
		e.refuse(p.label, "a list can be seen here, but not set")
	}
}
