package convention

import "strings"

// homieDevice is a device of Homie 4 or 5 as both announce it, and homieProperty one of its properties.
type homieDevice struct {
	id, base     string // base: the topic of the device
	name, kind   string
	software     string
	via          string
	ids          []string
	availability []string // topics of $state
	properties   []homieProperty
	refused      []Refusal
}

type homieProperty struct {
	node, id           string
	nodeName, nodeType string
	name               string
	datatype, format   string
	unit               string
	settable, retained bool
}

// homieID tells whether s may be an id: it is a level of a topic. The convention wants [a-z0-9-]; some firmware uses upper
// case and "_" too.
func homieID(s string) bool {
	return s != "" && len(s) <= MaxWord && strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

// homieStates tells for the states of a device whether it can be reached. One that sleeps can, in its time. init is no news.
const homieStates = "{{ {'ready': 'online', 'alert': 'online', 'sleeping': 'online', 'disconnected': 'offline', 'lost': 'offline'}[value] | default('') }}"

// part makes the Part of a device for the convention with this name.
func (d homieDevice) part(convention string) Part {
	p := Part{
		Convention: convention, Key: d.id, IDs: append([]string{Identifier("homie", d.base)}, d.ids...),
		Name: label(d.name), Software: clean(d.software, MaxWord), Via: d.via, Refused: d.refused,
	}
	about := []string{d.kind}
	p.Availability.Mode = All
	for _, t := range d.availability {
		p.Availability.Sources = append(p.Availability.Sources, AvailabilitySource{Source{Topic: t, Template: homieStates}, "online", "offline"})
	}
	count := map[string]int{}
	for _, q := range d.properties {
		count[word(q.id)]++
	}
	h := homieNames{readings: unique{}, triggers: unique{}, commands: unique{}, alarms: unique{}}
	for _, q := range d.properties {
		about = append(about, q.nodeType)
		h.name, h.label = word(q.id), firstOf(label(q.name), spoken(q.id), q.id)
		if count[h.name] > 1 || h.name == "" {
			h.name = word(q.node + "_" + q.id)
		}
		if h.name != word(q.id) || q.name == "" && q.node != d.properties[0].node {
			h.label = label(firstOf(label(q.nodeName), spoken(q.node)) + " " + lowered(h.label))
		}
		q.add(&p, &h, d.base)
	}
	switch p.Kind = kindOf(about...); {
	case len(d.properties) == 0:
		p.Kind = Bridge
	case p.Kind == Sensor:
		for _, q := range d.properties {
			about = append(about, q.node, q.id)
		}
		p.Kind = kindOf(about...)
	}
	return finish(p)
}

func firstOf(all ...string) string {
	for _, s := range all {
		if s != "" {
			return s
		}
	}
	return ""
}

// homieNames are the names given so far, and those of the property at hand.
type homieNames struct {
	readings, triggers, commands, alarms unique
	name, label                          string
}

// add gives p what the property is: a reading, or an event if it is not retained; and commands if it may be set.
func (q homieProperty) add(p *Part, h *homieNames, base string) {
	if len(p.Readings) == MaxReadings || len(p.Commands) >= MaxCommands-1 {
		return
	}
	own := base + "/" + q.node + "/" + q.id
	r := Reading{Label: h.label, Unit: clean(q.unit, MaxWord), Precision: -1, Source: Source{Topic: own}}
	a := Arg{Name: "value", Label: h.label, Unit: r.Unit, Secret: secretWord(q.id)}
	switch q.datatype {
	case "integer", "float":
		r.Kind, r.Quantity = Number, firstOf(quantityOf(word(q.id), r.Unit), quantityOf(word(q.node+"_"+q.id), ""))
		a.Min, a.Max, a.Step = homieRange(q.format)
		a.ordered()
		if a.Step == 0 && q.datatype == "integer" {
			a.Step = 1
		}
	case "percent":
		r.Kind, r.Unit = Number, firstOf(r.Unit, "%")
		a.Unit = r.Unit
	case "boolean":
		r.Kind, r.On, r.Off, r.Quantity = OnOff, "true", "false", zigbeeBinary[word(q.id)]
		a.On, a.Off = "true", "false"
	case "enum":
		for _, o := range strings.Split(strings.ReplaceAll(q.format, ",,", "\x00"), ",") {
			if o = clean(strings.ReplaceAll(o, "\x00", ","), MaxWord); o != "" && len(r.Options) < MaxOptions {
				r.Options = append(r.Options, o)
			}
		}
		r.Kind, a.Options = Option, r.Options
	case "datetime":
		r.Kind = Time
	case "string", "", "color", "duration", "json":
		r.Kind = Text
	default:
		p.Refused = append(p.Refused, Refusal{h.label, "“" + clean(q.datatype, MaxWord) + "” is no kind of value that is known here"})
		return
	}
	a.Kind = r.Kind
	if q.datatype == "color" {
		a.Label = label(h.label + " as " + firstOf(clean(q.format, MaxWord), "rgb"))
	}
	shown := ""
	if q.retained {
		r.Name = h.readings.name(h.name, "value")
		shown = r.Name
		p.Readings = append(p.Readings, r)
		if text := alarmOf(r.Name); text != "" && r.Kind == OnOff && !q.settable {
			p.Alarms = append(p.Alarms, AlarmRule{h.alarms.name(r.Name, "alarm"), text, r.Name, []string{"true"}})
		}
	} else if !q.settable {
		p.Triggers = append(p.Triggers, Trigger{Name: h.triggers.name(h.name, "event"), Label: h.label, Source: Source{Topic: own}, Options: r.Options})
	}
	if q.settable {
		q.commands(p, h, a, own+"/set", shown)
	}
}

// commands of a property that may be set.
func (q homieProperty) commands(p *Part, h *homieNames, a Arg, set, shown string) {
	c := Command{Topic: set, QoS: 0, Grade: gradeOf(q.node, q.nodeType, q.id)}
	switch word(q.id) {
	case "on", "power", "state", "switch", "relay", "light", "onoff", "on_off":
		if q.datatype != "boolean" {
			break
		}
		suffix := ""
		if h.name != word(q.id) {
			suffix = "_" + word(q.node)
		}
		for _, w := range [][3]string{{"on", "Switch on", "true"}, {"off", "Switch off", "false"}} {
			c.Name, c.Label, c.Payload, c.Confirm = h.commands.name(w[0]+suffix, "command"), label(w[1]+" "+lowered(spoken(strings.TrimPrefix(suffix, "_")))), w[2], confirm(shown, w[2])
			p.Commands = append(p.Commands, c)
		}
		return
	}
	c.Name, c.Label, c.Args = h.commands.name("set_"+h.name, "command"), "Set "+lowered(h.label), []Arg{a}
	c.Payload, c.Confirm = "{{ value }}", confirm(shown, "{{ value }}")
	if len(a.Options) == 1 && shown == "" {
		c.Name, c.Label, c.Args, c.Payload = h.commands.name(h.name, "command"), h.label, nil, literal(a.Options[0])
	}
	p.Commands = append(p.Commands, c)
}

// homieRange reads "min:max" or "min:max:step", any of which may be missing.
func homieRange(format string) (low, high *float64, step float64) {
	parts := strings.SplitN(format, ":", 3)
	if len(parts) < 2 {
		return nil, nil, 0
	}
	low, high = bound(parts[0]), bound(parts[1])
	if len(parts) == 3 {
		if f, ok := number(parts[2]); ok && f > 0 {
			step = f
		}
	}
	return low, high, step
}
