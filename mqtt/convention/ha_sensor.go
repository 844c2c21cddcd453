package convention

import (
	"cmp"
	"slices"
	"strings"
)

// What entities of Home Assistant discovery tell: sensors, events, places, pictures.

// precision is how many decimals the entity wants to be shown, -1 if it does not say.
func (e *haEntity) precision() int {
	return whole(e.cfg["suggested_display_precision"], 0, 10, -1)
}

// unit is the unit of a number.
func (e *haEntity) unit(key string) string { return clean(e.text(key, ""), MaxWord) }

// mainReading is the reading of an entity that has one: its name is that of the entity, or what it measures.
func (e *haEntity) mainReading(kind ReadingKind) Reading {
	class := word(str(e.cfg["device_class"]))
	return Reading{
		Name: cmp.Or(word(e.name), class, haWords[e.component], "state"), Label: e.title(cmp.Or(class, haWords[e.component], "state")), Kind: kind,
		Quantity: class, Expires: whole(e.cfg["expire_after"], 0, 1<<31-1, 0), Precision: -1,
	}
}

func haSensor(e *haEntity) {
	e.part.Kind = Sensor
	r := e.mainReading(Text)
	r.Unit, r.Options = e.unit("unit_of_measurement"), texts(e.cfg["options"], MaxOptions)
	switch {
	case r.Quantity == "timestamp":
		r.Kind = Time
	case r.Quantity == "date":
		r.Kind = Text
	case r.Quantity == "enum" || len(r.Options) > 0:
		r.Kind = Option
	case r.Unit != "" || r.Quantity != "" || e.has("state_class"):
		r.Kind, r.Precision = Number, e.precision()
	}
	e.read(r, "state_topic", "value_template")
}

// haAlarms are the kinds of binary sensors that raise an alarm while they are on, with words for people.
var haAlarms = map[string]string{
	"carbon_monoxide": "Carbon monoxide", "gas": "Gas", "moisture": "Water", "problem": "Problem", "safety": "Not safe", "smoke": "Smoke", "tamper": "Tampering",
}

func haBinarySensor(e *haEntity) {
	e.part.Kind = Sensor
	r := e.mainReading(OnOff)
	r.On, r.Off = e.text("payload_on", "ON"), e.text("payload_off", "OFF")
	r.OffAfter = whole(e.cfg["off_delay"], 0, 1<<31-1, 0)
	if e.read(r, "state_topic", "value_template") {
		if text := haAlarms[r.Quantity]; text != "" {
			if e.name != "" {
				text = e.name
			}
			e.part.Alarms = append(e.part.Alarms, AlarmRule{Name: r.Name, Label: text, Reading: r.Name, Is: []string{r.On}})
		}
	}
}

func haEvent(e *haEntity) {
	e.part.Kind = Remote
	s, ok := e.source(e.title("event"), "state_topic", "value_template")
	if !ok {
		return
	}
	s.Member = "event_type"
	e.part.Triggers = append(e.part.Triggers, Trigger{
		Name: cmp.Or(word(e.name), "event"), Label: e.title("event"), Source: s, Options: texts(e.cfg["event_types"], MaxOptions),
	})
}

func haDeviceAutomation(e *haEntity) {
	e.part.Kind = Remote
	what, which := clean(str(e.cfg["type"]), MaxWord), clean(str(e.cfg["subtype"]), MaxWord)
	title := strings.TrimSpace(titled(which) + " " + strings.ReplaceAll(what, "_", " "))
	if kind := str(e.cfg["automation_type"]); kind != "trigger" {
		e.refuse(title, "it is an automation that is no trigger")
		return
	}
	if s, ok := e.source(title, "topic", "value_template"); ok {
		e.part.Component = word(which + " " + what)
		e.part.Triggers = append(e.part.Triggers, Trigger{Name: cmp.Or(e.part.Component, "trigger"), Label: cmp.Or(title, "Trigger"), Source: s, Match: e.text("payload", "")})
	}
}

func haTag(e *haEntity) {
	e.part.Kind = Remote
	if s, ok := e.source("Tag", "topic", "value_template"); ok {
		e.part.Triggers = append(e.part.Triggers, Trigger{Name: "tag", Label: "Tag", Source: s})
	}
}

// haPlace makes of the attributes of a tracker what a position reads as.
const haPlace = "{{ value_json.latitude }},{{ value_json.longitude }},{{ value_json.gps_accuracy | default(0) }}"

func haDeviceTracker(e *haEntity) {
	e.part.Kind = Tracker
	if s, ok := e.source(e.title("presence"), "state_topic", "value_template"); ok {
		home, away := e.text("payload_home", "home"), e.text("payload_not_home", "not_home")
		e.addReading(Reading{Name: "presence", Label: e.named("presence"), Kind: Text, Quantity: "presence", Source: s, Options: slices.Compact([]string{clean(home, MaxName), clean(away, MaxName)})})
	}
	if e.template("json_attributes_template") != "" {
		e.refuse(e.named("position"), "its position comes by a template, which is not supported")
		return
	}
	if s, ok := e.source(e.title("position"), "json_attributes_topic"); ok {
		s.Template = haPlace
		e.addReading(Reading{Name: "position", Label: e.named("position"), Kind: Place, Source: s})
	}
}

func haCamera(e *haEntity) {
	e.part.Kind = Camera
	e.picture("topic", str(e.cfg["image_encoding"]) == "b64" || str(e.cfg["encoding"]) == "b64")
}

func haImage(e *haEntity) {
	e.part.Kind = Camera
	if e.has("url_topic") {
		e.refuse(e.title("picture"), "the picture would have to be fetched from an address that the device names")
		return
	}
	e.picture("image_topic", str(e.cfg["image_encoding"]) == "b64")
}

func (e *haEntity) picture(topicKey string, base64 bool) {
	kind := Image
	if base64 {
		kind = ImageB64
	}
	e.read(Reading{Name: cmp.Or(word(e.name), "picture"), Label: e.title("picture"), Kind: kind}, topicKey)
}

// haUpdate decodes firmware updates. Without a template the payload is a version, or JSON with installed_version and
// latest_version; with one, what it renders is.
func haUpdate(e *haEntity) {
	name := func(what string) string {
		return cutWord(strings.TrimPrefix(word(e.name)+"_", "_") + what)
	}
	installed, latest := name("installed_version"), name("latest_version")
	own := e.template("value_template")
	if s, ok := e.source(e.title("update"), "state_topic", "value_template"); ok {
		one, two := s, s
		if own == "" {
			one.Template = "{{ value_json.installed_version | default('') if value_json is mapping else value }}"
			two.Template = "{{ value_json.latest_version | default('') if value_json is mapping else '' }}"
		} else {
			one.Member, two.Member = "installed_version", "latest_version"
		}
		e.addReading(Reading{Name: installed, Label: e.named("installed version"), Kind: Text, Diagnostic: true, Source: one})
		if !e.has("latest_version_topic") {
			e.addReading(Reading{Name: latest, Label: e.named("latest version"), Kind: Text, Diagnostic: true, Source: two})
		}
	}
	e.read(Reading{Name: latest, Label: e.named("latest version"), Kind: Text, Diagnostic: true}, "latest_version_topic", "latest_version_template")
	if e.has("payload_install") {
		e.command(Command{
			Name: name("install_update"), Label: e.named("install the update"), Payload: literal(e.text("payload_install", "")), Grade: Dangerous,
		}, "command_topic")
	}
}
