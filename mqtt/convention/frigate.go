package convention

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatepost/gatepost/mqtt/topic"
)

// frigate reads the NVR Frigate (0.12 and later): cameras are known by their switches, <prefix>/<camera>/<switch>/state,
// what they saw comes as reviews (0.14 and later) or, from older ones, as events of objects.
type frigate struct{ prefix string }

const frigateObjects = 64 // kinds of things that a camera counts

func newFrigate(prefix string) Convention { return frigate{prefix} }

func (c frigate) Name() string { return "frigate" }

func (c frigate) Filters() []topic.Filter {
	b := c.prefix + "/"
	return filters(b+"available", b+"events", b+"reviews", b+"+/+", b+"+/+/state", b+"+/+/snapshot")
}

// frigateSwitches are the parts of a camera that can be switched, with their words for people.
var frigateSwitches = []struct{ name, label string }{
	{"enabled", "Camera"},
	{"detect", "Detection"},
	{"recordings", "Recording"},
	{"snapshots", "Snapshots"},
	{"audio", "Audio detection"},
	{"motion", "Motion detection"},
	{"review_alerts", "Alerts"},
	{"review_detections", "Detections to review"},
	{"notifications", "Notifications"},
	{"ptz_autotracker", "Automatic tracking"},
	{"birdseye", "Bird's eye view"},
}

func (c frigate) Key(t string) string {
	rest, ok := strings.CutPrefix(t, c.prefix+"/")
	levels := strings.Split(rest, "/")
	switch {
	case !ok || levels[0] == "" || len(levels[0]) > MaxWord || publishable(t) != "":
		return ""
	case rest == "available":
		return rest
	case rest == "events" || rest == "reviews":
		return "reviews"
	case len(levels) < 2 || levels[0] == "stats" || levels[0] == "notifications":
		return ""
	case len(levels) == 2 && levels[1] != "set":
		return "camera:" + levels[0]
	case len(levels) == 3 && (levels[2] == "state" || levels[2] == "snapshot"):
		return "camera:" + levels[0]
	}
	return ""
}

// frigateCamera is what is remembered of a camera.
type frigateCamera struct {
	Switches []string `json:"s,omitempty"`
	Objects  []string `json:"o,omitempty"` // what it counts
}

func (c frigate) Step(s State, m topic.Message) (State, []Fact) {
	switch c.Key(m.Topic) {
	case "available":
		return s, []Fact{c.bridge()}
	case "reviews":
		return c.happened(s, m)
	}
	levels := strings.Split(strings.TrimPrefix(m.Topic, c.prefix+"/"), "/")
	return c.camera(s, levels, m)
}

// happened tells what cameras saw. Objects are told of only until the first review came: reviews say the same with less noise.
func (c frigate) happened(s State, m topic.Message) (State, []Fact) {
	o, err := object(m.Payload, MaxPayload)
	if err != nil || m.Retained {
		return s, nil
	}
	if strings.HasSuffix(m.Topic, "/reviews") {
		facts := c.review(o)
		if len(facts) > 0 {
			s = State("reviews")
		}
		return s, facts
	}
	if string(s) == "reviews" {
		return s, nil
	}
	return s, c.object(o)
}

func (c frigate) available() Availability {
	return Availability{Mode: Latest, Sources: []AvailabilitySource{{
		Source: Source{Topic: c.prefix + "/available", Template: "{{ 'online' if value == 'online' else 'offline' }}"}, Online: "online", Offline: "offline",
	}}}
}

func (c frigate) bridge() Part {
	return Part{
		Convention: c.Name(), Key: "available", IDs: []string{Identifier("frigate", c.prefix)}, Name: "Frigate", Manufacturer: "Frigate", Kind: Bridge,
		Readings: []Reading{
			{Name: "version", Label: "Version", Kind: Text, Diagnostic: true, Precision: -1, Source: Source{Topic: c.prefix + "/stats", Template: inner("service", "version")}},
			{Name: "uptime", Label: "Running for", Kind: Number, Unit: "s", Quantity: "duration", Diagnostic: true, Precision: -1, Source: Source{Topic: c.prefix + "/stats", Template: inner("service", "uptime")}},
		},
		Commands:     []Command{{Name: "restart", Label: "Restart Frigate", Topic: c.prefix + "/restart", Grade: Dangerous, Payload: "restart"}},
		Availability: c.available(),
	}
}

// camera takes a message of one camera: a switch, a count, or a picture of what it saw.
func (c frigate) camera(s State, levels []string, m topic.Message) (State, []Fact) {
	cam := recall[frigateCamera](s)
	next := frigateCamera{slices.Clone(cam.Switches), slices.Clone(cam.Objects)}
	key := levels[0]
	var facts []Fact
	switch {
	case len(levels) == 3 && levels[2] == "state":
		known := slices.ContainsFunc(frigateSwitches, func(f struct{ name, label string }) bool { return f.name == levels[1] })
		if known && !slices.Contains(next.Switches, levels[1]) {
			next.Switches = append(next.Switches, levels[1])
		}
	case len(levels) == 3:
		if len(m.Payload) > 0 && !m.Retained && len(cam.Switches) > 0 {
			facts = append(facts, Media{Key: key, Name: label(spoken(levels[1]) + " at " + spoken(key)), Data: m.Payload})
		}
	case len(m.Payload) < 8:
		_, err := strconv.ParseUint(string(m.Payload), 10, 32)
		if err == nil && word(levels[1]) != "" && len(levels[1]) <= MaxWord && !slices.Contains(next.Objects, levels[1]) && len(next.Objects) < frigateObjects {
			next.Objects = append(next.Objects, levels[1])
		}
	}
	changed := len(next.Switches) != len(cam.Switches) || len(next.Objects) != len(cam.Objects)
	if changed && len(next.Switches) > 0 {
		facts = append(facts, c.part(key, next))
	}
	if !changed {
		return s, facts
	}
	return remember(next), facts
}

func (c frigate) part(key string, cam frigateCamera) Part {
	base := c.prefix + "/" + key + "/"
	p := Part{
		Convention: c.Name(), Key: key, IDs: []string{Identifier("frigate", c.prefix+"/"+key)}, Name: spoken(key), Manufacturer: "Frigate", Kind: Camera,
		Via: Identifier("frigate", c.prefix), Availability: c.available(),
	}
	readings, commands := unique{}, unique{}
	if slices.Contains(cam.Switches, "motion") || slices.Contains(cam.Switches, "detect") {
		p.Readings = append(p.Readings, Reading{
			Name: readings.name("motion_seen", ""), Label: "Motion", Kind: OnOff, On: "ON", Off: "OFF", Quantity: "motion", Precision: -1, Source: Source{Topic: base + "motion"},
		})
	}
	objects := slices.Sorted(slices.Values(cam.Objects))
	for _, object := range objects {
		p.Readings = append(p.Readings, Reading{
			Name: readings.name("seen_"+object, ""), Label: label("Seen now: " + lowered(spoken(object))), Kind: Number, Precision: -1, Hidden: object != "all" && object != "person",
			Source: Source{Topic: base + object},
		})
	}
	for _, f := range frigateSwitches {
		if !slices.Contains(cam.Switches, f.name) {
			continue
		}
		shown := readings.name(f.name, "")
		p.Readings = append(p.Readings, Reading{
			Name: shown, Label: f.label, Kind: OnOff, On: "ON", Off: "OFF", Precision: -1, Diagnostic: f.name != "enabled" && f.name != "detect" && f.name != "recordings",
			Source: Source{Topic: base + f.name + "/state"},
		})
		p.Commands = append(p.Commands, Command{
			Name: commands.name("set_"+f.name, ""), Label: "Switch " + lowered(f.label), Topic: base + f.name + "/set", Payload: "{{ value }}", Grade: Dangerous, // it may blind a guard
			Args: []Arg{{Name: "value", Label: f.label, Kind: OnOff, On: "ON", Off: "OFF"}}, Confirm: confirm(shown, "{{ value }}"),
		})
	}
	return finish(p)
}

// review tells of something to look at: its ID stays the same while it goes on.
func (c frigate) review(o map[string]any) []Fact {
	before, _ := o["before"].(map[string]any)
	after, _ := o["after"].(map[string]any)
	camera, id := str(after["camera"]), clean(str(after["id"]), MaxWord)
	if id == "" || !c.hasCamera(camera) {
		return nil
	}
	describe := func(r map[string]any) string {
		data, _ := r["data"].(map[string]any)
		what := append(texts(data["objects"], 8), texts(data["audio"], 4)...)
		where := texts(data["zones"], 8)
		s := firstOf(spoken(strings.Join(what, ", ")), "Something")
		if len(where) > 0 {
			s += " in " + strings.Join(where, ", ")
		}
		if r["severity"] == "alert" {
			s += " (alert)"
		}
		return label(s)
	}
	text := describe(after)
	switch o["type"] {
	case "new":
	case "update":
		if describe(before) == text {
			return nil
		}
	case "end":
		text = ended(text, after)
	default:
		return nil
	}
	at, _ := seconds(after["start_time"])
	return []Fact{Event{Key: camera, Name: "review", Text: text, ID: id, Time: at}}
}

// ended adds how long it took.
func ended(text string, r map[string]any) string {
	from, ok := number(r["start_time"])
	to, ok2 := number(r["end_time"])
	if took := to - from; ok && ok2 && took >= 0 && took < 1e6 {
		text += ", over after " + time.Duration(math.Round(took)*float64(time.Second)).String()
	}
	return label(text)
}

// object tells of a tracked thing at its beginning and end.
func (c frigate) object(o map[string]any) []Fact {
	after, _ := o["after"].(map[string]any)
	camera, id := str(after["camera"]), clean(str(after["id"]), MaxWord)
	if id == "" || !c.hasCamera(camera) || truth(after["false_positive"], false) {
		return nil
	}
	text := firstOf(spoken(str(after["label"])), "Something")
	if sub := subLabel(after["sub_label"]); sub != "" {
		text += " (" + sub + ")"
	}
	if zones := texts(after["entered_zones"], 8); len(zones) > 0 {
		text += " in " + strings.Join(zones, ", ")
	}
	switch o["type"] {
	case "new":
	case "end":
		text = ended(text, after)
	default:
		return nil
	}
	at, _ := seconds(after["start_time"])
	return []Fact{Event{Key: camera, Name: "object", Text: label(text), ID: id, Time: at}}
}

// subLabel is a name, or a name with a score.
func subLabel(v any) string {
	if l, ok := v.([]any); ok && len(l) > 0 {
		v = l[0]
	}
	return label(str(v))
}

// hasCamera tells whether camera can be one: a level of a topic.
func (c frigate) hasCamera(camera string) bool {
	return camera != "" && !strings.Contains(camera, "/") && c.Key(c.prefix+"/"+camera+"/detect/state") == "camera:"+camera
}
