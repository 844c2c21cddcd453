package convention

// Part announces a device, or a component of one such as a single sensor. It replaces an earlier Part of the same Convention
// and Key. Merge puts the parts of one physical device together.
type Part struct {
	Convention string // Convention.Name
	Key        string // names it inside its convention
	// IDs are what other parts of the same physical device have too: "mac:…", "zigbee:0x…", "homie:…" (see Identifier).
	// At least one.
	IDs []string
	// Component is the short name of a component inside its device, [a-z0-9_]*, used where two components have readings or
	// commands of one name. "" for a whole device, or its main component.
	Component string
	Label     string // of the component, for people; "" for a whole device, or its main component

	Name         string // of the physical device; "" if this part does not know it
	Manufacturer string
	Model        string
	Software     string
	Area         string // the room of the house that the device suggests
	Via          string // the identifier of the device through which it is connected; "" none
	Kind         Kind

	Readings     []Reading
	Triggers     []Trigger
	Commands     []Command
	Availability Availability
	Alarms       []AlarmRule
	Refused      []Refusal
}

// Kind is what a device is, for its picture and the words about it.
type Kind string

// The kinds, the one that says most about a device first: Merge takes the first.
const (
	Lock       Kind = "lock"
	AlarmPanel Kind = "alarm_panel"
	Siren      Kind = "siren"
	Camera     Kind = "camera"
	Valve      Kind = "valve"
	Cover      Kind = "cover"
	Climate    Kind = "climate"
	Heater     Kind = "water_heater"
	Humidifier Kind = "humidifier"
	Fan        Kind = "fan"
	Vacuum     Kind = "vacuum"
	Mower      Kind = "lawn_mower"
	Lamp       Kind = "lamp"
	Plug       Kind = "plug"
	Drone      Kind = "drone"
	Tracker    Kind = "tracker"
	Remote     Kind = "remote" // buttons that people press
	Sensor     Kind = "sensor"
	Bridge     Kind = "bridge" // what connects others
	Other      Kind = ""
)

// Kinds lists the kinds in their order.
func Kinds() []Kind {
	return []Kind{Lock, AlarmPanel, Siren, Camera, Valve, Cover, Climate, Heater, Humidifier, Fan, Vacuum, Mower, Lamp, Plug, Drone, Tracker, Remote, Sensor, Bridge, Other}
}

// ReadingKind says what the text of a reading's value is.
type ReadingKind string

// The kinds of readings.
const (
	Number   ReadingKind = "number"   // decimal, as JSON writes it
	Text     ReadingKind = "text"     // any
	OnOff    ReadingKind = "on_off"   // Reading.On or Reading.Off; anything else is unknown
	Option   ReadingKind = "option"   // one of Reading.Options, if there are any
	Time     ReadingKind = "time"     // RFC 3339, or seconds since 1970
	Place    ReadingKind = "position" // "latitude,longitude[,accuracy]": degrees, metres
	Image    ReadingKind = "image"    // the payload itself is the picture; only with a Source
	ImageB64 ReadingKind = "image_b64"
)

// Reading is one named value of a device.
type Reading struct {
	Name     string      // [a-z0-9_]+, unique in its Part
	Label    string      // for people: "Temperature"
	Kind     ReadingKind // never ""
	Quantity string      // what is measured: "temperature", "battery", "door"; the device classes of Home Assistant, "" unknown
	Unit     string
	On, Off  string   // OnOff: the values that mean so
	Options  []string // Option
	// Diagnostic is not for the first look: signal strength, firmware, settings.
	Diagnostic bool
	// Hidden is not shown unless somebody asks: the device says it is off by default.
	Hidden bool
	// Precision is how many decimals to show, -1 for as they come.
	Precision int
	// Expires is after how many seconds without news the value is unknown; 0 never.
	Expires int
	// OffAfter is after how many seconds an OnOff goes off by itself, since the device only says when it is on; 0 never.
	OffAfter int
	Source   Source // zero: Step yields Values
}

// Source says where a value comes from without Step.
type Source struct {
	Topic string // to subscribe to; some levels may be "+", the last "#", but never all
	// Template is Jinja over value (the payload as text) and value_json; "" takes the payload as it is. White space around
	// what it renders does not count; nothing is no news, and "None" means that the value is not known.
	Template string
	// Member is the member of a JSON object that counts of the rendered text; "" the text itself. A text that is not such an
	// object is no news.
	Member string
}

// Trigger makes an event of messages: a button, a tag. Retained messages make none.
type Trigger struct {
	Name    string // [a-z0-9_]+, unique in its Part
	Label   string // for people
	Source  Source
	Match   string   // what the rendered text must be; "" anything but nothing, which is then the event's text
	Options []string // what texts may come; empty: any
}

// Grade says how much a command may do, and so who may ask for it.
type Grade string

// The grades.
const (
	Read      Grade = "read"
	Operate   Grade = "operate"
	Dangerous Grade = "dangerous" // opens, unlocks, disarms, sounds, restarts
)

// Command is one thing that a device can be asked to do.
type Command struct {
	Name  string // [a-z0-9_]+, unique in its Part: "on", "set_brightness"
	Label string // for people
	Args  []Arg
	Topic string // to publish to; no wildcards
	// Payload is Jinja over the arguments by their names (one left out is undefined) and transaction, a text of
	// [a-z0-9]{1,32} that is new for each command. Numbers are numbers, all else is text.
	Payload string
	QoS     byte // 0 or 1
	Retain  bool
	Grade   Grade
	Confirm *Confirm // nil: that it was published is all one can know
}

// Arg is an argument of a Command.
type Arg struct {
	Name     string      // [a-z0-9_]+
	Label    string      // for people
	Kind     ReadingKind // Number, Text, OnOff, Option or Time
	Unit     string
	Min, Max *float64 // Number: bounds, nil none. Text: of its length in characters
	Step     float64  // Number: 0 any
	Options  []string // Option
	On, Off  string   // OnOff: what the template gets
	Optional bool
	Secret   bool // a code: never shown or logged
	// Plain text may hold no quotes, backslashes, braces and control characters: the device's own template puts it into a
	// payload as it is, where those would say more than was asked for. The gateway refuses them.
	Plain bool
}

// Confirm says how to see that a command was done: exactly one of Reading, Topic and Answer is set.
type Confirm struct {
	Reading string // the Reading of the same Part that shows it
	// Value is Jinja over the arguments: what the reading's value then is (numbers compare as numbers). "" any news of it.
	Value string
	Topic string // an answer on this topic
	// Template is Jinja over value, value_json, the arguments and transaction, for Topic: true, false (it failed), or nothing
	// (not our answer).
	Template string
	Answer   bool // Step yields an Answer with the transaction
}

// Availability says how it is known whether a device can be reached. Without sources, and without Online facts, nobody knows.
type Availability struct {
	Mode    AvailabilityMode
	Sources []AvailabilitySource
}

// AvailabilityMode says how several sources count.
type AvailabilityMode string

// The modes.
const (
	Latest AvailabilityMode = "latest" // the last that spoke; also with one source
	All    AvailabilityMode = "all"    // online if all are
	Any    AvailabilityMode = "any"    // online if one is
)

// AvailabilitySource is one topic that says so.
type AvailabilitySource struct {
	Source
	Online, Offline string // the rendered texts that mean so
}

// AlarmRule says that a reading raises an alarm while its value is one of Is.
type AlarmRule struct {
	Name    string // [a-z0-9_]+, unique in its Part
	Label   string // for people: "Smoke"
	Reading string
	Is      []string
}

// Refusal is something of a Part that is not supported.
type Refusal struct {
	Name   string // what it would have been, as people would call it
	Reason string // in plain words
}
