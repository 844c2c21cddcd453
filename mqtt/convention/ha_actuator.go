package convention

import (
	"cmp"
	"slices"
	"strings"
)

// What entities of Home Assistant discovery do, the simple ones: switches, buttons, numbers, texts.

// onOff adds a state reading and the payloads that switch.
func (e *haEntity) onOff(reading Reading, templateKeys ...string) (on, off string) {
	on, off = e.text("payload_on", "ON"), e.text("payload_off", "OFF")
	reading.Kind = OnOff
	reading.On, reading.Off = e.text("state_on", on), e.text("state_off", off)
	e.read(reading, "state_topic", templateKeys...)
	return on, off
}

// templated is the source of a payload that a command_template makes of a fixed value; without one it is the value.
func (e *haEntity) templated(fixed string, keys ...string) string {
	own := e.template(keys...)
	if own == "" {
		return literal(fixed)
	}
	return "{% set value = " + quote(fixed) + " %}" + own
}

func haSwitch(e *haEntity) {
	e.part.Kind = Plug
	r := e.mainReading(OnOff)
	r.Name, r.Expires = "state", 0
	if r.Quantity == "" {
		r.Quantity = "switch"
	}
	if e.setting {
		r.Name = cmp.Or(word(e.name), "state")
	}
	on, off := e.onOff(r, "value_template")
	if e.setting {
		arg := valueArg(OnOff, e.title("switch"))
		arg.On, arg.Off = on, off
		confirm := becomes(r.Name, "value")
		if e.text("state_on", on) != on || e.text("state_off", off) != off {
			confirm = &Confirm{Reading: r.Name}
		}
		e.command(Command{Name: e.setName("state"), Label: e.title("switch"), Args: []Arg{arg}, Payload: haValue, Confirm: confirm}, "command_topic", "command_template")
		return
	}
	e.command(Command{Name: "on", Label: e.named("on"), Payload: e.templated(on, "command_template"), Confirm: is(r.Name, e.text("state_on", on))}, "command_topic")
	e.command(Command{Name: "off", Label: e.named("off"), Payload: e.templated(off, "command_template"), Confirm: is(r.Name, e.text("state_off", off))}, "command_topic")
}

// haDangerousButtons are the kinds of buttons that interrupt what the device does.
var haDangerousButtons = []string{"restart", "update"}

func haButton(e *haEntity) {
	grade := Operate
	class := word(str(e.cfg["device_class"]))
	if slices.Contains(haDangerousButtons, class) {
		grade = Dangerous
	}
	e.command(Command{
		Name: cmp.Or(word(e.name), class, "press"), Label: e.title(cmp.Or(class, "press")), Payload: e.templated(e.text("payload_press", "PRESS"), "command_template"), Grade: grade,
	}, "command_topic")
}

func haScene(e *haEntity) {
	e.command(Command{Name: cmp.Or(word(e.name), "activate"), Label: e.title("activate"), Payload: literal(e.text("payload_on", "ON"))}, "command_topic")
}

func haNotify(e *haEntity) {
	arg := valueArg(Text, "message")
	e.command(Command{Name: cmp.Or(word(e.name), "notify"), Label: e.title("notify"), Args: []Arg{arg}, Payload: haValue}, "command_topic", "command_template")
}

func haNumber(e *haEntity) {
	r := e.mainReading(Number)
	r.Unit = e.unit("unit_of_measurement")
	e.read(r, "state_topic", "value_template")
	arg := valueArg(Number, e.title("value"))
	arg.Unit = r.Unit
	arg.Min, arg.Max, arg.Step = e.bounds("min", "max", 1, 100, "step", 1)
	e.command(Command{Name: e.setName(cmp.Or(r.Quantity, "value")), Label: label("Set " + e.title("value")), Args: []Arg{arg}, Payload: haValue, Confirm: becomes(r.Name, "value")}, "command_topic", "command_template")
}

// bounds are those of a number argument, with what counts where the announcement says nothing. Bounds the wrong way round
// are none.
func (e *haEntity) bounds(minKey, maxKey string, low, high float64, stepKey string, step float64) (from, to *float64, by float64) {
	if f, ok := number(e.cfg[minKey]); ok {
		low = f
	}
	if f, ok := number(e.cfg[maxKey]); ok {
		high = f
	}
	if f, ok := number(e.cfg[stepKey]); ok && f > 0 {
		step = f
	}
	if low > high {
		return nil, nil, step
	}
	return &low, &high, step
}

func haSelect(e *haEntity) {
	r := e.mainReading(Option)
	r.Options = texts(e.cfg["options"], MaxOptions)
	e.read(r, "state_topic", "value_template")
	e.option(e.setName("option"), "Set "+e.title("option"), r.Options, r.Name, "command_topic", "command_template")
}

// option adds a command with one argument that is one of options.
func (e *haEntity) option(name, title string, options []string, reading, topicKey, templateKey string) {
	if !e.has(topicKey) {
		return
	}
	if len(options) == 0 {
		e.refuse(title, "it has no options")
		return
	}
	arg := valueArg(Option, title)
	arg.Options = options
	e.command(Command{Name: name, Label: title, Args: []Arg{arg}, Payload: haValue, Confirm: becomes(reading, "value")}, topicKey, templateKey)
}

func haText(e *haEntity) {
	secret := str(e.cfg["mode"]) == "password"
	r := e.mainReading(Text)
	confirm := becomes(r.Name, "value")
	if !secret { // a password is not shown
		e.read(r, "state_topic", "value_template")
	}
	arg := valueArg(Text, e.title("text"))
	arg.Min, arg.Max, _ = e.bounds("min", "max", 0, 255, "", 0)
	arg.Secret = secret
	if e.has("pattern") {
		arg.Label = label(arg.Label + " (like " + clean(str(e.cfg["pattern"]), MaxWord) + ")")
	}
	e.command(Command{Name: e.setName("text"), Label: label("Set " + e.title("text")), Args: []Arg{arg}, Payload: haValue, Confirm: confirm}, "command_topic", "command_template")
}

func haSiren(e *haEntity) {
	e.part.Kind = Siren
	// Without a template a siren is told what to do in JSON.
	on, off := e.text("payload_on", "ON"), e.text("payload_off", "OFF")
	r := Reading{Name: "state", Label: e.named("siren"), Kind: OnOff, On: e.text("state_on", on), Off: e.text("state_off", off), Quantity: "siren"}
	if s, ok := e.source(r.Label, "state_topic", "state_value_template"); ok {
		if s.Template == "" { // plain text, or JSON
			s.Template = "{{ value_json.state | default('') if value_json is mapping else value }}"
		}
		r.Source = s
		e.addReading(r)
	}
	var args []Arg
	payload := `{"state":` + jsonLiteral(on)
	add := func(a Arg) {
		a.Optional = true
		args = append(args, a)
		payload += `{% if ` + a.Name + ` is defined %},"` + a.Name + `":{{ ` + a.Name + ` | tojson }}{% endif %}`
	}
	if tones := texts(e.cfg["available_tones"], MaxOptions); len(tones) > 0 {
		add(Arg{Name: "tone", Label: "Tone", Kind: Option, Options: tones})
	}
	low, high := 0.0, 1.0
	if truth(e.cfg["support_duration"], true) {
		add(Arg{Name: "duration", Label: "Duration", Kind: Number, Unit: "s", Min: &low})
	}
	if truth(e.cfg["support_volume_set"], true) {
		add(Arg{Name: "volume_level", Label: "Volume from 0 to 1", Kind: Number, Min: &low, Max: &high})
	}
	if own := e.template("command_template"); own != "" {
		payload = "{% set state = " + quote(on) + " %}{% set value = state %}" + own
	} else {
		payload += "}"
	}
	stop := `{"state":` + jsonLiteral(off) + `}`
	if own := e.template("command_off_template", "command_template"); own != "" {
		stop = "{% set state = " + quote(off) + " %}{% set value = state %}" + own
	}
	e.command(Command{Name: "on", Label: e.named("sound the siren"), Args: args, Payload: payload, Grade: Dangerous, Confirm: is("state", r.On)}, "command_topic")
	e.command(Command{Name: "off", Label: e.named("silence the siren"), Payload: stop, Confirm: is("state", r.Off)}, "command_topic")
}

// code adds the argument for a code where the device asks for one.
func (e *haEntity) code(needed bool) []Arg {
	return []Arg{{Name: "code", Label: "Code", Kind: Text, Secret: true, Optional: !needed}}
}

func haLock(e *haEntity) {
	e.part.Kind = Lock
	locked, unlocked := e.text("state_locked", "LOCKED"), e.text("state_unlocked", "UNLOCKED")
	e.read(Reading{Name: "state", Label: e.named("lock"), Kind: Option, Quantity: "lock", Options: texts([]any{
		locked, unlocked, e.text("state_locking", "LOCKING"), e.text("state_unlocking", "UNLOCKING"), e.text("state_jammed", "JAMMED"),
	}, MaxOptions)}, "state_topic", "value_template")
	if e.reads("state") {
		e.part.Alarms = append(e.part.Alarms, AlarmRule{Name: "jammed", Label: e.named("jammed"), Reading: "state", Is: []string{e.text("state_jammed", "JAMMED")}})
	}
	var args []Arg
	if e.has("code_format") {
		args = e.code(false)
	}
	do := func(name, title, payload string, grade Grade, confirm *Confirm) {
		e.command(Command{Name: name, Label: e.named(title), Args: args, Payload: e.templated(payload, "command_template"), Grade: grade, Confirm: confirm}, "command_topic")
	}
	do("lock", "lock", e.text("payload_lock", "LOCK"), Operate, is("state", locked))
	do("unlock", "unlock", e.text("payload_unlock", "UNLOCK"), Dangerous, is("state", unlocked))
	if e.has("payload_open") {
		do("open", "open the door", e.text("payload_open", ""), Dangerous, nil)
	}
}

// haPanelActions are what an alarm panel can be asked to do: command, feature, key and default of the payload, state after it.
var haPanelActions = []struct{ name, feature, key, payload, state string }{
	{"arm_home", "arm_home", "payload_arm_home", "ARM_HOME", "armed_home"},
	{"arm_away", "arm_away", "payload_arm_away", "ARM_AWAY", "armed_away"},
	{"arm_night", "arm_night", "payload_arm_night", "ARM_NIGHT", "armed_night"},
	{"arm_vacation", "arm_vacation", "payload_arm_vacation", "ARM_VACATION", "armed_vacation"},
	{"arm_custom_bypass", "arm_custom_bypass", "payload_arm_custom_bypass", "ARM_CUSTOM_BYPASS", "armed_custom_bypass"},
	{"disarm", "", "payload_disarm", "DISARM", "disarmed"},
	{"trigger", "trigger", "payload_trigger", "TRIGGER", "triggered"},
}

func haAlarmPanel(e *haEntity) {
	e.part.Kind = AlarmPanel
	states := []string{"disarmed", "armed_home", "armed_away", "armed_night", "armed_vacation", "armed_custom_bypass", "pending", "arming", "disarming", "triggered"}
	if e.read(Reading{Name: "state", Label: e.named("alarm panel"), Kind: Option, Options: states}, "state_topic", "value_template") {
		e.part.Alarms = append(e.part.Alarms, AlarmRule{Name: "triggered", Label: e.named("alarm"), Reading: "state", Is: []string{"triggered"}})
	}
	var features []string
	if _, there := e.cfg["supported_features"]; there {
		features = texts(e.cfg["supported_features"], MaxOptions)
		features = append(features, "")
	}
	remote := strings.HasPrefix(str(e.cfg["code"]), "REMOTE_CODE")
	for _, a := range haPanelActions {
		if features != nil && !slices.Contains(features, a.feature) {
			continue
		}
		grade, need := Operate, "code_arm_required"
		switch a.name {
		case "disarm":
			grade, need = Dangerous, "code_disarm_required"
		case "trigger":
			grade, need = Dangerous, "code_trigger_required"
		}
		var args []Arg
		if remote {
			args = e.code(truth(e.cfg[need], true))
		}
		payload := literal(e.text(a.key, a.payload))
		if own := e.template("command_template"); own != "" {
			payload = "{% set action = " + quote(e.text(a.key, a.payload)) + " %}" + own
		}
		e.command(Command{Name: a.name, Label: e.named(a.name), Args: args, Payload: payload, Grade: grade, Confirm: is("state", a.state)}, "command_topic")
	}
}
