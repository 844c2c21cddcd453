package convention

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
)

// haEntity is one entity of Home Assistant discovery on its way to a Part.
type haEntity struct {
	cfg       map[string]any // long names, "~" replaced
	component string
	part      Part
	name      string // of the entity inside its device, for people; "" it is the device's main one
	setting   bool   // entity_category config: how the device is set up, not what it is for
	// secondary is a setting, or diagnostic: not for the first look.
	secondary bool
	hidden    bool
}

// haDecode makes a Part of one entity, or a Refused if nothing of it is usable. object is its name in the topic.
func haDecode(key, component, object string, cfg map[string]any) Fact {
	e := &haEntity{cfg: cfg, component: component}
	e.part = Part{Convention: "homeassistant", Key: key}
	e.about(object)
	category := str(cfg["entity_category"])
	e.setting = category == "config"
	e.secondary = e.setting || category == "diagnostic"
	e.hidden = !truth(cfg["enabled_by_default"], true)
	what := cmp.Or(e.name, e.part.Name, e.title(component))
	if enc, ok := cfg["encoding"].(string); ok && enc != "" && !strings.EqualFold(enc, "utf-8") && !strings.EqualFold(enc, "utf8") && component != "camera" && component != "image" {
		return Refused{key, what, "its messages are not encoded as UTF-8 but as " + quote(clean(enc, MaxWord))}
	}
	haComponents[component](e)
	e.availability()
	p := &e.part
	if len(p.Readings)+len(p.Triggers)+len(p.Commands) == 0 {
		reason := "it has nothing to show and nothing to do"
		if len(p.Refused) > 0 {
			reason = p.Refused[0].Reason
		}
		return Refused{key, what, reason}
	}
	if e.secondary {
		for i := range p.Readings {
			p.Readings[i].Diagnostic = true
		}
		p.Kind, p.Alarms = Other, nil
	}
	if e.hidden {
		for i := range p.Readings {
			p.Readings[i].Hidden = true
		}
	}
	return *p
}

// haComponents decode what is particular to each component.
var haComponents = map[string]func(*haEntity){
	"alarm_control_panel": haAlarmPanel,
	"binary_sensor":       haBinarySensor,
	"button":              haButton,
	"camera":              haCamera,
	"climate":             haClimate,
	"cover":               haCover,
	"device_automation":   haDeviceAutomation,
	"device_tracker":      haDeviceTracker,
	"event":               haEvent,
	"fan":                 haFan,
	"humidifier":          haHumidifier,
	"image":               haImage,
	"lawn_mower":          haMower,
	"light":               haLight,
	"lock":                haLock,
	"notify":              haNotify,
	"number":              haNumber,
	"scene":               haScene,
	"select":              haSelect,
	"sensor":              haSensor,
	"siren":               haSiren,
	"switch":              haSwitch,
	"tag":                 haTag,
	"text":                haText,
	"update":              haUpdate,
	"vacuum":              haVacuum,
	"valve":               haValve,
	"water_heater":        haWaterHeater,
}

// about takes the device and the names.
func (e *haEntity) about(object string) {
	p := &e.part
	d, _ := e.cfg["device"].(map[string]any)
	for _, id := range texts(d["identifiers"], MaxIDs) {
		p.IDs = append(p.IDs, haIdentifiers(id)...)
	}
	for _, c := range list(d["connections"]) {
		pair, ok := c.([]any)
		if !ok || len(pair) != 2 {
			continue
		}
		kind, value := word(str(pair[0])), str(pair[1])
		if kind == "bluetooth" {
			kind = "mac"
		}
		if id := Identifier(kind, value); kind != "" && id != "" {
			p.IDs = append(p.IDs, id)
		}
	}
	if len(p.IDs) == 0 {
		id := str(e.cfg["unique_id"])
		if len(id) < 4 { // too common a name to tie entities of different makers together
			id = e.component + "/" + object
		}
		p.IDs = []string{cmp.Or(Identifier("ha_entity", id), "ha_entity:"+cut(word(object)+"_", MaxWord))}
	}
	slices.Sort(p.IDs)
	p.IDs = slices.Compact(p.IDs)
	p.IDs = p.IDs[:min(len(p.IDs), MaxIDs)]
	p.Name, p.Manufacturer, p.Model = label(str(d["name"])), label(str(d["manufacturer"])), label(str(d["model"]))
	if id := label(str(d["model_id"])); id != "" && p.Model == "" {
		p.Model = id
	}
	p.Software, p.Area = label(str(d["sw_version"])), label(str(d["suggested_area"]))
	if via := str(d["via_device"]); via != "" {
		p.Via = haIdentifiers(via)[0]
	}
	name := label(str(e.cfg["name"]))
	if _, there := e.cfg["name"]; !there && e.component != "device_automation" && e.component != "tag" {
		name = titled(cmp.Or(word(str(e.cfg["device_class"])), haWords[e.component]))
	}
	if len(d) == 0 { // an entity of no device is one
		p.Name, name = cmp.Or(name, label(object)), ""
	} else if rest, ok := strings.CutPrefix(name, p.Name); ok && (rest == "" || rest[0] == ' ') {
		name = strings.TrimSpace(rest) // older software puts the device's name before each entity's
	}
	if word(name) == name { // a name for programs
		name = titled(name)
	}
	e.name = name
	p.Component, p.Label = word(name), name
}

// haWords are what the entities without a name are called; those that are not here are the device's main one.
var haWords = map[string]string{
	"sensor": "value", "binary_sensor": "state", "event": "event", "update": "update", "image": "picture", "camera": "picture",
}

// haIdentifiers are the forms of an identifier in which other conventions may have it too. The first is always there.
func haIdentifiers(id string) []string {
	out := []string{cmp.Or(Identifier("ha", id), "ha:_")}
	if address, ok := strings.CutPrefix(id, "zigbee2mqtt_"); ok {
		if z := Identifier("zigbee", address); z != "" {
			return append(out, z)
		}
	}
	tail := id[strings.LastIndexAny(id, "-_")+1:]
	if len(tail) == 12 || len(id) == 17 {
		if len(id) == 17 {
			tail = id
		}
		if mac := Identifier("mac", tail); mac != "" {
			out = append(out, mac)
		}
	}
	return out
}

// title is what people call the entity.
func (e *haEntity) title(what string) string {
	if e.name != "" {
		return e.name
	}
	return cmp.Or(titled(what), "Entity")
}

// titled makes "current_temperature" to "Current temperature".
func titled(s string) string {
	s = strings.ReplaceAll(s, "_", " ")
	for i, r := range s {
		return string(unicode.ToUpper(r)) + s[i+len(string(r)):]
	}
	return ""
}

// named puts the entity's name before what: "Kitchen: target temperature".
func (e *haEntity) named(what string) string {
	switch {
	case e.name == "":
		return titled(what)
	case strings.EqualFold(e.name, what):
		return e.name
	}
	return label(e.name + ": " + strings.ReplaceAll(what, "_", " "))
}

func (e *haEntity) refuse(what, why string) {
	if len(e.part.Refused) < MaxReadings {
		e.part.Refused = append(e.part.Refused, Refusal{cmp.Or(label(what), "Entity"), why})
	}
}

// text is a key as text, def if it is not there.
func (e *haEntity) text(key, def string) string {
	v, there := e.cfg[key]
	if !there || v == nil {
		return def
	}
	if b, ok := v.(bool); ok { // YAML turns payloads like "on" into a bool, and Python prints them so
		if b {
			return "True"
		}
		return "False"
	}
	return cut(str(v), MaxTemplate)
}

// has tells whether a key is there with something in it.
func (e *haEntity) has(key string) bool { return str(e.cfg[key]) != "" }

// template is the first of the keys that has one.
func (e *haEntity) template(keys ...string) string {
	for _, k := range keys {
		if s, ok := e.cfg[k].(string); ok && strings.TrimSpace(s) != "" {
			return s
		}
	}
	return ""
}

// source is where a value comes from; ok is false if the topic is missing or not usable.
func (e *haEntity) source(what, topicKey string, templateKeys ...string) (Source, bool) {
	t, ok := e.cfg[topicKey].(string)
	if !ok || t == "" {
		return Source{}, false
	}
	s := Source{Topic: t, Template: e.template(templateKeys...)}
	switch why := readable(t); {
	case why != "":
		e.refuse(what, why)
		return Source{}, false
	case len(s.Template) > MaxTemplate:
		e.refuse(what, "its template is too long")
		return Source{}, false
	}
	return s, true
}

// read adds a reading if its topic is there. Name, Label and Kind of r must be set; nothing else need be.
func (e *haEntity) read(r Reading, topicKey string, templateKeys ...string) bool {
	s, ok := e.source(r.Label, topicKey, templateKeys...)
	if !ok {
		return false
	}
	r.Source = s
	e.addReading(r)
	return true
}

func (e *haEntity) addReading(r Reading) {
	if r.Precision == 0 && r.Kind != Number {
		r.Precision = -1
	}
	e.part.Readings = append(e.part.Readings, r)
}

// reads tells whether the part has this reading.
func (e *haEntity) reads(name string) bool {
	return slices.ContainsFunc(e.part.Readings, func(r Reading) bool { return r.Name == name })
}

// command adds a command if its topic is there and may be published to. Payload is the source already; the command's own
// template in the announcement, if it has one of templateKeys, takes its place. c.Confirm is dropped if there is no such
// reading.
//
// All is published with QoS 0, whatever the announcement says: the device's answer is the proof, and no broker may deliver a
// command later. retain is as announced, since some devices sleep, but never for what is dangerous.
func (e *haEntity) command(c Command, topicKey string, templateKeys ...string) {
	t, ok := e.cfg[topicKey].(string)
	if !ok || t == "" {
		return
	}
	c.Label = label(c.Label)
	if own := e.template(templateKeys...); own != "" {
		c.Payload = own
	}
	if c.Confirm != nil && !e.reads(c.Confirm.Reading) {
		c.Confirm = nil
	}
	if c.Grade == "" {
		c.Grade = Operate
	}
	if c.Payload != haValue && !strings.Contains(c.Payload, "tojson") && !strings.Contains(c.Payload, "to_json") {
		c.Args = slices.Clone(c.Args)
		for i := range c.Args {
			c.Args[i].Plain = c.Args[i].Kind == Text
		}
	}
	c.Topic, c.Retain = t, c.Grade != Dangerous && truth(e.cfg["retain"], false)
	switch why := publishable(t); {
	case why != "":
		e.refuse(c.Label, why)
	case len(c.Payload) > MaxTemplate:
		e.refuse(c.Label, "its template is too long")
	default:
		e.part.Commands = append(e.part.Commands, c)
	}
}

// is confirms a command: the reading has this value then.
func is(reading, value string) *Confirm { return &Confirm{Reading: reading, Value: literal(value)} }

// becomes confirms a command whose argument is what the reading then says.
func becomes(reading, arg string) *Confirm {
	return &Confirm{Reading: reading, Value: "{{ " + arg + " }}"}
}

// haValue is source for an argument alone.
const haValue = "{{ value }}"

// valueArg is the one argument of a command that sets something; templates of announcements call it value.
func valueArg(kind ReadingKind, what string) Arg {
	return Arg{Name: "value", Label: label(what), Kind: kind}
}

// setName is the name of the command that sets something: the entity's name, or what it is.
func (e *haEntity) setName(what string) string {
	return cutWord("set_" + cmp.Or(word(e.name), what))
}

// availability takes the topics that say whether the device can be reached.
func (e *haEntity) availability() {
	a := &e.part.Availability
	add := func(cfg map[string]any, topicKey, templateKey string) {
		sub := &haEntity{cfg: cfg}
		s, ok := sub.source("Availability", topicKey, templateKey)
		e.part.Refused = append(e.part.Refused, sub.part.Refused...)
		if !ok {
			return
		}
		if len(a.Sources) == MaxSources {
			e.refuse("Availability", "it has too many topics")
			return
		}
		a.Sources = append(a.Sources, AvailabilitySource{s, sub.text("payload_available", "online"), sub.text("payload_not_available", "offline")})
	}
	add(e.cfg, "availability_topic", "availability_template")
	for _, item := range list(e.cfg["availability"]) {
		if o, ok := item.(map[string]any); ok && len(a.Sources) <= MaxSources {
			add(o, "topic", "value_template")
		}
	}
	if len(a.Sources) == 0 {
		return
	}
	switch mode := AvailabilityMode(e.text("availability_mode", string(Latest))); mode {
	case All, Any, Latest:
		a.Mode = mode
	default:
		a.Mode = Latest
		e.refuse("Availability", "its mode is none of all, any and latest")
	}
	if len(a.Sources) == 1 {
		a.Mode = Latest
	}
}
