package convention

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Lights of Home Assistant discovery come in three forms, which "schema" tells: a topic for each property (default), JSON,
// and templates.

func haLight(e *haEntity) {
	e.part.Kind = Lamp
	switch schema := e.text("schema", "basic"); schema {
	case "basic", "default":
		e.lightBasic()
	case "json":
		e.lightJSON()
	case "template":
		e.lightTemplate()
	default:
		e.refuse(e.title("light"), "its schema "+quote(clean(schema, MaxWord))+" is unknown")
	}
}

func (e *haEntity) scale(key string) *float64 {
	top := float64(whole(e.cfg[key], 1, 1<<31-1, 255))
	return &top
}

// colourTemperature is the argument for it: in kelvin if the entity says so, else in mireds.
func (e *haEntity) colourTemperature() Arg {
	arg := valueArg(Number, "Colour temperature")
	if truth(e.cfg["color_temp_kelvin"], false) {
		arg.Unit = "K"
		arg.Min, arg.Max, _ = e.bounds("min_kelvin", "max_kelvin", 2000, 6535, "", 0)
		return arg
	}
	arg.Unit = "mired"
	arg.Min, arg.Max, _ = e.bounds("min_mireds", "max_mireds", 153, 500, "", 0)
	return arg
}

// colour is a way to say a colour: the arguments of its command, what they are called in templates, and their bounds.
type haColour struct {
	key  string // of topics and templates: "rgb"
	args []haPart
}

type haPart struct {
	name, title string
	max         float64
}

var haColours = []haColour{
	{"rgb", []haPart{{"red", "Red", 255}, {"green", "Green", 255}, {"blue", "Blue", 255}}},
	{"rgbw", []haPart{{"red", "Red", 255}, {"green", "Green", 255}, {"blue", "Blue", 255}, {"white", "White", 255}}},
	{"rgbww", []haPart{{"red", "Red", 255}, {"green", "Green", 255}, {"blue", "Blue", 255}, {"cold_white", "Cold white", 255}, {"warm_white", "Warm white", 255}}},
	{"hs", []haPart{{"hue", "Hue", 360}, {"sat", "Saturation", 100}}},
	{"xy", []haPart{{"x", "X", 1}, {"y", "Y", 1}}},
}

func (c haColour) arguments() []Arg {
	var out []Arg
	for _, p := range c.args {
		low, high := 0.0, p.max
		out = append(out, Arg{Name: p.name, Label: p.title, Kind: Number, Min: &low, Max: &high})
	}
	return out
}

// list is source for all arguments with sep between.
func (c haColour) list(format string, sep string) string {
	var parts []string
	for _, p := range c.args {
		parts = append(parts, fmt.Sprintf(format, p.name))
	}
	return strings.Join(parts, sep)
}

// command is the name of the command for a colour: "set_color" for the usual way.
func (c haColour) command() string {
	if c.key == "rgb" {
		return "set_color"
	}
	return "set_" + c.key
}

func (e *haEntity) lightBasic() {
	on, off := e.text("payload_on", "ON"), e.text("payload_off", "OFF")
	e.read(Reading{Name: "state", Label: e.named("state"), Kind: OnOff, On: on, Off: off, Quantity: "light"}, "state_topic", "state_value_template", "value_template")
	top := e.scale("brightness_scale")
	e.read(Reading{Name: "brightness", Label: e.named("brightness"), Kind: Number, Precision: -1}, "brightness_state_topic", "brightness_value_template")
	temperature := e.colourTemperature()
	e.read(Reading{Name: "color_temp", Label: e.named("colour temperature"), Kind: Number, Unit: temperature.Unit, Precision: -1}, "color_temp_state_topic", "color_temp_value_template")
	effects := texts(e.cfg["effect_list"], MaxOptions)
	e.read(Reading{Name: "effect", Label: e.named("effect"), Kind: Option, Options: effects}, "effect_state_topic", "effect_value_template")
	e.read(Reading{Name: "color_mode", Label: e.named("colour mode"), Kind: Text, Diagnostic: true}, "color_mode_state_topic", "color_mode_value_template")
	for _, c := range haColours {
		e.read(Reading{Name: "color_" + c.key, Label: e.named("colour (" + c.key + ")"), Kind: Text}, c.key+"_state_topic", c.key+"_value_template")
	}
	if e.text("on_command_type", "last") == "brightness" {
		e.command(Command{Name: "on", Label: e.named("on"), Payload: e.templated(fmt.Sprint(*top), "brightness_command_template"), Confirm: is("state", on)}, "brightness_command_topic")
	} else {
		e.command(Command{Name: "on", Label: e.named("on"), Payload: literal(on), Confirm: is("state", on)}, "command_topic")
	}
	e.command(Command{Name: "off", Label: e.named("off"), Payload: literal(off), Confirm: is("state", off)}, "command_topic")
	level := func(name, what string, top *float64) Command {
		zero := 0.0
		arg := valueArg(Number, what)
		arg.Min, arg.Max, arg.Step = &zero, top, 1
		return Command{Name: name, Label: e.named(what), Args: []Arg{arg}, Payload: haValue}
	}
	bright := level("set_brightness", "brightness", top)
	bright.Confirm = becomes("brightness", "value")
	e.command(bright, "brightness_command_topic", "brightness_command_template")
	e.command(level("set_white", "white", e.scale("white_scale")), "white_command_topic")
	e.command(Command{Name: "set_color_temp", Label: e.named("colour temperature"), Args: []Arg{temperature}, Payload: haValue, Confirm: becomes("color_temp", "value")}, "color_temp_command_topic", "color_temp_command_template")
	e.option("set_effect", e.named("effect"), effects, "effect", "effect_command_topic", "effect_command_template")
	for _, c := range haColours {
		e.command(Command{
			Name: c.command(), Label: e.named("colour (" + c.key + ")"), Args: c.arguments(), Payload: c.list("{{ %s }}", ","), Confirm: &Confirm{Reading: "color_" + c.key},
		}, c.key+"_command_topic", c.key+"_command_template")
	}
}

// lightCan tells what a light of the JSON form can: by its colour modes, or by the keys of older software.
func (e *haEntity) lightCan() (bright, temperature bool, colours []string) {
	modes := texts(e.cfg["supported_color_modes"], MaxOptions)
	for _, m := range modes {
		bright = bright || m != "onoff"
		temperature = temperature || m == "color_temp"
		if slices.ContainsFunc(haColours, func(c haColour) bool { return c.key == m }) {
			colours = append(colours, m)
		}
	}
	flag := func(key string) bool { return strings.EqualFold(str(e.cfg[key]), "true") }
	if len(modes) == 0 {
		bright, temperature = flag("brightness"), flag("color_temp")
		for _, c := range haColours {
			if flag(c.key) {
				colours = append(colours, c.key)
			}
		}
	}
	return bright || flag("brightness"), temperature, colours
}

// lightJSON is the form in which everything goes through one topic each way, as JSON.
func (e *haEntity) lightJSON() {
	bright, temperature, colours := e.lightCan()
	top := e.scale("brightness_scale")
	effects := texts(e.cfg["effect_list"], MaxOptions)
	warm := e.colourTemperature()
	// Members that a message leaves out are no news.
	read := func(r Reading, keys ...string) {
		if s, ok := e.source(r.Label, "state_topic"); ok {
			s.Template = "{{ " + access(keys...) + " | default('') }}"
			if len(keys) > 1 {
				s.Template = "{{ (value_json." + keys[0] + " | default({}))." + keys[1] + " | default('') }}"
			}
			r.Source = s
			e.addReading(r)
		}
	}
	read(Reading{Name: "state", Label: e.named("state"), Kind: OnOff, On: "ON", Off: "OFF", Quantity: "light"}, "state")
	var args []Arg
	payload := `{"state":"ON"`
	option := func(a Arg, key, source string) {
		a.Optional = true
		args = append(args, a)
		payload += `{% if ` + a.Name + ` is defined %},"` + key + `":` + source + `{% endif %}`
	}
	set := func(name, title, key, reading string, arg Arg, source string) {
		e.command(Command{
			Name: name, Label: e.named(title), Args: []Arg{arg}, Payload: `{"state":"ON","` + key + `":` + source + `}`, Confirm: becomes(reading, arg.Name),
		}, "command_topic")
	}
	if bright {
		read(Reading{Name: "brightness", Label: e.named("brightness"), Kind: Number, Precision: -1}, "brightness")
		zero := 0.0
		arg := Arg{Name: "brightness", Label: "Brightness", Kind: Number, Min: &zero, Max: top, Step: 1}
		option(arg, "brightness", "{{ brightness }}")
		set("set_brightness", "brightness", "brightness", "brightness", arg, "{{ brightness }}")
	}
	if temperature {
		read(Reading{Name: "color_temp", Label: e.named("colour temperature"), Kind: Number, Unit: warm.Unit, Precision: -1}, "color_temp")
		warm.Name = "color_temp"
		option(warm, "color_temp", "{{ color_temp }}")
		set("set_color_temp", "colour temperature", "color_temp", "color_temp", warm, "{{ color_temp }}")
	}
	for _, c := range haColours {
		if !slices.Contains(colours, c.key) {
			continue
		}
		var members []string
		for _, p := range c.args {
			key := map[string]string{"hue": "h", "sat": "s", "x": "x", "y": "y", "white": "w", "cold_white": "c", "warm_white": "w"}[p.name]
			key = cmp.Or(key, p.name[:1])
			read(Reading{Name: "color_" + p.name, Label: e.named("colour: " + p.title), Kind: Number, Precision: -1}, "color", key)
			members = append(members, `"`+key+`":{{ `+p.name+` }}`)
		}
		confirm := becomes("color_"+c.args[0].name, c.args[0].name)
		e.command(Command{
			Name: c.command(), Label: e.named("colour (" + c.key + ")"), Args: c.arguments(), Payload: `{"state":"ON","color":{` + strings.Join(members, ",") + `} }`, Confirm: confirm,
		}, "command_topic")
	}
	if len(effects) > 0 && truth(e.cfg["effect"], true) {
		read(Reading{Name: "effect", Label: e.named("effect"), Kind: Option, Options: effects}, "effect")
		set("set_effect", "effect", "effect", "effect", Arg{Name: "effect", Label: "Effect", Kind: Option, Options: effects}, "{{ effect | tojson }}")
	}
	fade := ""
	var off []Arg
	if truth(e.cfg["transition"], true) {
		zero := 0.0
		arg := Arg{Name: "transition", Label: "Transition", Kind: Number, Unit: "s", Min: &zero, Optional: true}
		option(arg, "transition", "{{ transition }}")
		off, fade = []Arg{arg}, `{% if transition is defined %},"transition":{{ transition }}{% endif %}`
	}
	e.command(Command{Name: "on", Label: e.named("on"), Args: args, Payload: payload + "}", Confirm: is("state", "ON")}, "command_topic")
	e.command(Command{Name: "off", Label: e.named("off"), Args: off, Payload: `{"state":"OFF"` + fade + "}", Confirm: is("state", "OFF")}, "command_topic")
	e.dedupe()
}

// dedupe drops readings of the same name, which two ways to say a colour share.
func (e *haEntity) dedupe() {
	seen := map[string]bool{}
	e.part.Readings = slices.DeleteFunc(e.part.Readings, func(r Reading) bool {
		twice := seen[r.Name]
		seen[r.Name] = true
		return twice
	})
}

// lightTemplate is the form in which templates make and read all payloads.
func (e *haEntity) lightTemplate() {
	read := func(r Reading, key string) {
		if e.template(key) != "" {
			e.read(r, "state_topic", key)
		}
	}
	warm := e.colourTemperature()
	warm.Name = "color_temp"
	if warm.Unit == "K" {
		warm.Name = "color_temp_kelvin"
	}
	effects := texts(e.cfg["effect_list"], MaxOptions)
	read(Reading{Name: "state", Label: e.named("state"), Kind: OnOff, On: "on", Off: "off", Quantity: "light"}, "state_template")
	read(Reading{Name: "brightness", Label: e.named("brightness"), Kind: Number, Precision: -1}, "brightness_template")
	read(Reading{Name: "color_temp", Label: e.named("colour temperature"), Kind: Number, Unit: warm.Unit, Precision: -1}, "color_temp_template")
	read(Reading{Name: "effect", Label: e.named("effect"), Kind: Option, Options: effects}, "effect_template")
	for _, c := range []string{"red", "green", "blue"} {
		read(Reading{Name: "color_" + c, Label: e.named("colour: " + c), Kind: Number, Precision: -1}, c+"_template")
	}
	zero, top := 0.0, 255.0
	optional := func(a Arg) Arg { a.Optional = true; return a }
	transition := Arg{Name: "transition", Label: "Transition", Kind: Number, Unit: "s", Min: &zero, Optional: true}
	level := Arg{Name: "brightness", Label: "Brightness", Kind: Number, Min: &zero, Max: &top, Step: 1}
	turnOn := e.template("command_on_template")
	if turnOn == "" || e.template("command_off_template") == "" {
		e.refuse(e.title("light"), "it has no templates for on and off")
		return
	}
	turnOn = "{% set state = 'on' %}" + turnOn
	var args []Arg
	add := func(name, title, templateKey string, command []Arg, confirm *Confirm) {
		if e.template(templateKey) == "" {
			return
		}
		for _, a := range command {
			args = append(args, optional(a))
		}
		e.command(Command{Name: name, Label: e.named(title), Args: command, Payload: turnOn, Confirm: confirm}, "command_topic")
	}
	add("set_brightness", "brightness", "brightness_template", []Arg{level}, becomes("brightness", "brightness"))
	add("set_color_temp", "colour temperature", "color_temp_template", []Arg{warm}, becomes("color_temp", warm.Name))
	add("set_color", "colour", "red_template", haColours[0].arguments(), becomes("color_red", "red"))
	if len(effects) > 0 {
		add("set_effect", "effect", "effect_template", []Arg{{Name: "effect", Label: "Effect", Kind: Option, Options: effects}}, becomes("effect", "effect"))
	}
	e.command(Command{Name: "on", Label: e.named("on"), Args: append(args, transition), Payload: turnOn, Confirm: is("state", "on")}, "command_topic")
	e.command(Command{Name: "off", Label: e.named("off"), Args: []Arg{transition}, Payload: "{% set state = 'off' %}" + e.template("command_off_template"), Confirm: is("state", "off")}, "command_topic")
}
