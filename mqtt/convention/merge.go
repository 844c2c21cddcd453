package convention

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// Device is one physical device, made of all parts that share an identifier.
type Device struct {
	ID  string   // the first of IDs
	IDs []string // all identifiers of its parts, sorted: what it is known by even when a part comes or goes

	Name         string // "" if no part has one
	Manufacturer string
	Model        string
	Software     string
	Area         string
	Via          string // the identifier of the device through which it is connected; "" none
	Kind         Kind

	Parts    []Origin // of which it is made; Name is ""
	Readings []DeviceReading
	Triggers []DeviceTrigger
	Commands []DeviceCommand
	// Availability has what the parts say, each different one once. The device can be reached if one of them says so.
	Availability []Availability
	Alarms       []DeviceAlarm
	Refused      []Refusal
}

// Origin is where something of a Device comes from.
type Origin struct {
	Convention string
	Key        string // Part.Key
	Name       string // the name there, by which facts speak of it
}

// DeviceReading is a reading of a device. Its Name is unique in the device and may differ from that in its Part.
type DeviceReading struct {
	Reading
	From []Origin // the first is where it comes from, the rest say the same
}

// DeviceTrigger is a trigger of a device, its Name unique there.
type DeviceTrigger struct {
	Trigger
	From Origin
}

// DeviceCommand is a command of a device, its Name unique there; Confirm.Reading names a DeviceReading.
type DeviceCommand struct {
	Command
	From Origin
}

// DeviceAlarm is an alarm rule of a device, its Name unique there; Reading names a DeviceReading.
type DeviceAlarm struct {
	AlarmRule
	From Origin
}

// Merge makes devices of parts: those that share an identifier, also over others, are one device. What two parts say alike
// (the same value of the same topic; or, of different conventions, the same name) is there once, as the convention says that
// knows it better. The order of parts does not matter; the devices are sorted by ID. The result shares memory with parts,
// which are not changed. A device has at most MaxReadings readings and MaxCommands commands; what is beyond is refused.
//
// Identifiers come from announcements, so a stranger's part can claim those of somebody else's device, or tie two devices
// together: Device.Parts says who takes part, and it is for the caller to ask people before a device grows.
func Merge(parts []Part) []Device {
	var out []Device
	for _, group := range groups(ranked(parts)) {
		out = append(out, mergeOne(group))
	}
	slices.SortFunc(out, func(a, b Device) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// Join makes one device of parts, whatever their identifiers: somebody knows that they belong together. Else it is Merge.
func Join(parts []Part) Device { return mergeOne(ranked(parts)) }

// ranked sorts a copy of parts, those first that say most about a device.
func ranked(parts []Part) []Part {
	sorted := slices.Clone(parts)
	kind, rank := map[Kind]int{}, map[string]int{}
	for i, k := range Kinds() {
		kind[k] = i
	}
	for i, name := range Names() {
		rank[name] = i
	}
	slices.SortStableFunc(sorted, func(a, b Part) int {
		return cmp.Or(rank[a.Convention]-rank[b.Convention], cmp.Compare(a.Convention, b.Convention), kind[a.Kind]-kind[b.Kind], cmp.Compare(a.Key, b.Key))
	})
	return sorted
}

// groups splits parts into those that are connected by identifiers; the order within a group is that of parts.
func groups(parts []Part) [][]Part {
	owner := map[string]int{} // identifier: index of the first part that has it
	root := make([]int, len(parts))
	find := func(i int) int {
		for root[i] != i {
			root[i] = root[root[i]]
			i = root[i]
		}
		return i
	}
	for i, p := range parts {
		root[i] = i
		for _, id := range p.IDs {
			j, ok := owner[id]
			if !ok {
				owner[id] = i
				continue
			}
			a, b := find(i), find(j)
			root[max(a, b)] = min(a, b)
		}
	}
	var order []int // of the groups, by their first parts
	byRoot := make(map[int][]Part)
	for i, p := range parts {
		r := find(i)
		if byRoot[r] == nil {
			order = append(order, r)
		}
		byRoot[r] = append(byRoot[r], p)
	}
	var out [][]Part
	for _, r := range order {
		out = append(out, byRoot[r])
	}
	return out
}

func mergeOne(parts []Part) Device {
	var d Device
	for _, p := range parts {
		d.IDs = append(d.IDs, p.IDs...)
	}
	slices.Sort(d.IDs)
	d.IDs = slices.Compact(d.IDs)
	if len(d.IDs) > 0 {
		d.ID = d.IDs[0]
	}
	kinds := Kinds()
	best := len(kinds) - 1
	for _, p := range parts {
		d.Parts = append(d.Parts, Origin{p.Convention, p.Key, ""})
		d.Name = cmp.Or(d.Name, p.Name)
		d.Manufacturer = cmp.Or(d.Manufacturer, p.Manufacturer)
		d.Model = cmp.Or(d.Model, p.Model)
		d.Software = cmp.Or(d.Software, p.Software)
		d.Area = cmp.Or(d.Area, p.Area)
		if !slices.Contains(d.IDs, p.Via) {
			d.Via = cmp.Or(d.Via, p.Via)
		}
		if i := slices.Index(kinds, p.Kind); i >= 0 {
			best = min(best, i)
		}
		if len(p.Availability.Sources) > 0 && !slices.ContainsFunc(d.Availability, p.Availability.equal) {
			d.Availability = append(d.Availability, p.Availability)
		}
		d.Refused = append(d.Refused, p.Refused...)
	}
	d.Kind = kinds[best]
	for _, p := range parts {
		d.Name = cmp.Or(d.Name, p.Label)
	}
	m := merger{d: &d, readings: map[Origin]int{}}
	m.collect(parts)
	m.rename(parts)
	return d
}

func (a Availability) equal(b Availability) bool {
	return a.Mode == b.Mode && slices.Equal(a.Sources, b.Sources)
}

// merger puts together what parts have.
type merger struct {
	d        *Device
	readings map[Origin]int // index in d.Readings
}

func (m *merger) collect(parts []Part) {
	d := m.d
	var more [2]int
	for _, p := range parts {
		origin := func(name string) Origin { return Origin{p.Convention, p.Key, name} }
		for _, r := range p.Readings {
			o := origin(r.Name)
			if i := slices.IndexFunc(d.Readings, func(have DeviceReading) bool { return same(have, r, o) }); i >= 0 {
				have := &d.Readings[i]
				have.From = append(slices.Clip(have.From), o)
				have.Unit, have.Quantity = cmp.Or(have.Unit, r.Unit), cmp.Or(have.Quantity, r.Quantity)
				m.readings[o] = i
				continue
			}
			if len(d.Readings) == MaxReadings {
				more[0]++
				continue
			}
			m.readings[o] = len(d.Readings)
			d.Readings = append(d.Readings, DeviceReading{r, []Origin{o}})
		}
		for _, t := range p.Triggers {
			if !slices.ContainsFunc(d.Triggers, func(have DeviceTrigger) bool {
				return have.Source == t.Source && have.Match == t.Match
			}) && len(d.Triggers) < MaxReadings {
				d.Triggers = append(d.Triggers, DeviceTrigger{t, origin(t.Name)})
			}
		}
		for _, c := range p.Commands {
			switch {
			case slices.ContainsFunc(d.Commands, func(have DeviceCommand) bool {
				return have.From.Convention != p.Convention && have.Name == c.Name || have.Topic == c.Topic && have.Payload == c.Payload
			}):
			case len(d.Commands) == MaxCommands:
				more[1]++
			default:
				d.Commands = append(d.Commands, DeviceCommand{c, origin(c.Name)})
			}
		}
		for _, a := range p.Alarms {
			if _, ok := m.readings[origin(a.Reading)]; ok {
				d.Alarms = append(d.Alarms, DeviceAlarm{a, origin(a.Name)})
			}
		}
	}
	for i, what := range []string{"readings", "commands"} {
		if more[i] > 0 {
			d.Refused = append(d.Refused, Refusal{strconv.Itoa(more[i]) + " more " + what, "a device may have " + strconv.Itoa(MaxReadings) + " " + what})
		}
	}
}

// same tells whether r, which comes from o, is the reading that we have.
func same(have DeviceReading, r Reading, o Origin) bool {
	if have.From[0].Convention == o.Convention && have.From[0].Key == o.Key {
		return false
	}
	if r.Source.Topic != "" && have.Source.Topic == r.Source.Topic && have.Kind == r.Kind &&
		plain(have.Source.Template) == plain(r.Source.Template) && have.Source.Member == r.Source.Member {
		return true
	}
	return have.From[0].Convention != o.Convention && have.Name == r.Name && have.Kind == r.Kind
}

// plain makes templates equal that take the same member of the payload: white space, the two ways to write a member, and
// what only rounds or converts do not count.
func plain(template string) string {
	inner, ok := strings.CutPrefix(strings.TrimSpace(template), "{{")
	inner, ok2 := strings.CutSuffix(inner, "}}")
	if !ok || !ok2 || strings.Contains(inner, "{{") {
		return template
	}
	terms := strings.Split(inner, "|")
	for _, f := range terms[1:] {
		switch f = strings.TrimSpace(f); {
		case f == "float", f == "int", f == "is_defined", f == "string", strings.HasPrefix(f, "round"):
		default:
			return template
		}
	}
	member := strings.TrimSpace(terms[0])
	member = strings.NewReplacer("['", ".", "']", "", `["`, ".", `"]`, "").Replace(member)
	if strings.ContainsAny(member, " ()+-*/~<>=![]{},'\"") {
		return template
	}
	return member
}

// rename makes the names in d unique. Where parts of several components have the same name, each is called by its component
// too; what then is still the same gets a number. Commands of a device with several components that do something are always
// called by them: nobody should have to guess what of it "on" switches.
func (m *merger) rename(parts []Part) {
	d := m.d
	components := map[Origin]string{}
	for _, p := range parts {
		components[Origin{p.Convention, p.Key, ""}] = p.Component
	}
	unique := func(n int, always bool, name func(i int) *string, from func(i int) Origin) {
		count := map[string]int{}
		for i := range n {
			count[*name(i)]++
		}
		taken := map[string]bool{}
		for i := range n {
			s := name(i)
			o := from(i)
			o.Name = ""
			if c := components[o]; (always || count[*s] > 1) && c != "" && !says(*s, c) {
				*s = cutWord(c + "_" + *s)
			}
			base := *s
			for k := 2; taken[*s]; k++ {
				*s = cutWord(base) + "_" + strconv.Itoa(k)
			}
			taken[*s] = true
		}
	}
	unique(len(d.Readings), false, func(i int) *string { return &d.Readings[i].Name }, func(i int) Origin { return d.Readings[i].From[0] })
	unique(len(d.Triggers), false, func(i int) *string { return &d.Triggers[i].Name }, func(i int) Origin { return d.Triggers[i].From })
	doing := map[string]bool{} // components with commands that do not say whose they are
	for _, c := range d.Commands {
		o := c.From
		o.Name = ""
		if word := components[o]; word != "" && !says(c.Name, word) {
			doing[word] = true
		}
	}
	unique(len(d.Commands), len(doing) > 1, func(i int) *string { return &d.Commands[i].Name }, func(i int) Origin { return d.Commands[i].From })
	unique(len(d.Alarms), false, func(i int) *string { return &d.Alarms[i].Name }, func(i int) Origin { return d.Alarms[i].From })
	named := func(o Origin, reading string) (string, bool) {
		o.Name = reading
		i, ok := m.readings[o]
		if !ok {
			return "", false
		}
		return d.Readings[i].Name, true
	}
	for i := range d.Alarms {
		d.Alarms[i].Reading, _ = named(d.Alarms[i].From, d.Alarms[i].Reading)
	}
	for i := range d.Commands {
		c := &d.Commands[i]
		if c.Confirm == nil || c.Confirm.Reading == "" {
			continue
		}
		confirm := *c.Confirm
		name, ok := named(c.From, confirm.Reading)
		if confirm.Reading = name; ok {
			c.Confirm = &confirm
		} else {
			c.Confirm = nil
		}
	}
}

// says tells whether a name has its component in it already: set_limit of limit.
func says(name, component string) bool {
	return strings.Contains("_"+name+"_", "_"+component+"_")
}

// cutWord leaves room for a number behind a word.
func cutWord(s string) string { return strings.TrimRight(cut(s, MaxWord-4), "_") }
