package convention

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gatepost/gatepost/mqtt/topic"
)

// shelly reads Shelly devices of the second generation and later. They do not announce themselves: what they are is
// learned from their notifications, <prefix>/events/rpc, and from what they answer when they are asked. A notification holds
// only what changed, so the set of readings grows as components are seen.
type shelly struct{}

const (
	shellyReply      = "gatepost/shelly/" // answers come to <this><prefix>/rpc
	shellyComponents = 64                 // of a device
)

func newShelly(string) Convention { return shelly{} }

func (shelly) Name() string { return "shelly" }

func (shelly) Filters() []topic.Filter {
	return filters("+/events/rpc", "+/status/+", "+/online", shellyReply+"+/rpc")
}

func (shelly) Key(t string) string {
	if rest, ok := strings.CutPrefix(t, shellyReply); ok {
		prefix, what, _ := strings.Cut(rest, "/")
		if what == "rpc" {
			return prefix
		}
		return ""
	}
	prefix, rest, _ := strings.Cut(t, "/")
	switch {
	case prefix == "" || prefix[0] == '$' || len(prefix) > MaxID:
		return ""
	case rest == "events/rpc":
		return prefix
	case rest == "online" || strings.HasPrefix(rest, "status/") && strings.Count(rest, "/") == 1:
		if strings.HasPrefix(prefix, "shelly") { // others use such topics too
			return prefix
		}
	}
	return ""
}

// shellyState is what is known of a device.
type shellyState struct {
	ID         string              `json:"i,omitempty"` // shellyplus1pm-a8032ab12345
	MAC        string              `json:"m,omitempty"`
	Name       string              `json:"n,omitempty"`
	Model      string              `json:"d,omitempty"`
	Version    string              `json:"v,omitempty"`
	Names      map[string]string   `json:"l,omitempty"` // of components, as people call them
	Components map[string][]string `json:"c,omitempty"` // "switch:0": the names of its readings that have been seen
	Asked      bool                `json:"a,omitempty"`
}

func (c shelly) Step(s State, m topic.Message) (State, []Fact) {
	key := c.Key(m.Topic)
	old := recall[shellyState](s)
	d := shellyDevice{key: key, next: old, time: m.Time}
	d.next.Names, d.next.Components = maps.Clone(old.Names), maps.Clone(old.Components)
	switch {
	case strings.HasPrefix(m.Topic, shellyReply):
		d.reply(m)
	case strings.HasSuffix(m.Topic, "/events/rpc"):
		d.notification(m)
	case strings.HasSuffix(m.Topic, "/online"):
		if string(m.Payload) == "true" {
			d.ask()
		}
	default:
		_, component, _ := strings.Cut(m.Topic, "/status/")
		if o, err := object(m.Payload, MaxPayload); err == nil {
			d.status(map[string]any{component: o})
			d.ask()
		}
	}
	if d.next.MAC == "" {
		d.identify(key)
	}
	state := remember(d.next)
	if d.next.MAC != "" && len(d.next.Components) > 0 && !slices.Equal(state, remember(old)) {
		d.facts = append([]Fact{d.part()}, d.facts...)
	}
	if len(d.values) > 0 && d.next.MAC != "" {
		d.facts = append(d.facts, Values{Key: key, Values: d.values[:min(len(d.values), MaxReadings)], Time: d.time})
	}
	return state, d.facts
}

// shellyDevice is a device during one Step.
type shellyDevice struct {
	key    string
	next   shellyState
	values []Value
	facts  []Fact
	time   time.Time

	commandNames unique
}

// identify takes the id of a device apart: its last twelve digits are its address.
func (d *shellyDevice) identify(id string) {
	i := strings.LastIndexByte(id, '-')
	if mac := Identifier("mac", id[i+1:]); i > 0 && strings.HasPrefix(id, "shelly") && len(id) <= MaxWord && mac != "" {
		d.next.ID, d.next.MAC = id, mac
	}
}

// ask requests once what the device is and how all of it stands.
func (d *shellyDevice) ask() {
	if d.next.Asked || publishable(d.key+"/rpc") != "" {
		return
	}
	d.next.Asked = true
	for _, method := range []string{"Shelly.GetDeviceInfo", "Shelly.GetConfig", "Shelly.GetStatus"} {
		d.facts = append(d.facts, Publish{
			Topic:   d.key + "/rpc",
			Payload: []byte(`{"id":"` + method + `","src":` + plainJSON(shellyReply+d.key) + `,"method":"` + method + `"}`),
		})
	}
}

// notification reads NotifyStatus, NotifyFullStatus and NotifyEvent.
func (d *shellyDevice) notification(m topic.Message) {
	o, err := object(m.Payload, MaxPayload)
	params, _ := o["params"].(map[string]any)
	if err != nil || params == nil {
		return
	}
	if d.next.MAC == "" {
		d.identify(str(o["src"]))
	}
	if d.next.MAC == "" {
		return // not a Shelly
	}
	if at, ok := seconds(params["ts"]); ok {
		d.time = at
	}
	switch o["method"] {
	case "NotifyStatus", "NotifyFullStatus":
		d.status(params)
	case "NotifyEvent":
		if !m.Retained {
			d.events(params["events"])
		}
	}
	d.ask()
}

// events tells of buttons.
func (d *shellyDevice) events(v any) {
	all, _ := v.([]any)
	for _, v := range all[:min(len(all), shellyComponents)] {
		e, _ := v.(map[string]any)
		kind, _, name := shellyComponent(str(e["component"]))
		what := clean(str(e["event"]), MaxWord)
		if kind != "input" && kind != "button" && kind != "bthomedevice" || what == "" || what == "btn_down" || what == "btn_up" {
			continue
		}
		at, ok := seconds(e["ts"])
		if !ok {
			at = d.time
		}
		text := label(firstOf(d.next.Names[str(e["component"])], spoken(name)) + ": " + lowered(spoken(what)))
		d.facts = append(d.facts, Event{Key: d.key, Name: name, Text: text, Time: at})
	}
}

// reply reads an answer: to what ask requested, or to a command, whose id is its transaction.
func (d *shellyDevice) reply(m topic.Message) {
	o, err := object(m.Payload, MaxPayload)
	if err != nil || m.Retained {
		return
	}
	result, _ := o["result"].(map[string]any)
	failure, failed := o["error"].(map[string]any)
	switch id := str(o["id"]); id {
	case "Shelly.GetDeviceInfo":
		if mac := Identifier("mac", str(result["mac"])); mac != "" {
			d.next.MAC, d.next.ID = mac, clean(str(result["id"]), MaxWord)
			d.next.Name, d.next.Model = label(str(result["name"])), label(firstOf(str(result["app"]), str(result["model"])))
			d.next.Version = clean(str(result["ver"]), MaxWord)
		}
	case "Shelly.GetConfig":
		d.names(result)
	case "Shelly.GetStatus":
		d.status(result)
	case "":
	default:
		d.facts = append(d.facts, Answer{Transaction: clean(id, MaxWord), OK: !failed, Reason: label(str(failure["message"]))})
	}
}

// names takes what people call the components from the configuration.
func (d *shellyDevice) names(config map[string]any) {
	for _, component := range slices.Sorted(maps.Keys(config)) {
		o, _ := config[component].(map[string]any)
		name := clean(str(o["name"]), MaxWord)
		if kind, _, _ := shellyComponent(component); kind == "" || name == "" || len(d.next.Names) == shellyComponents {
			continue
		}
		if d.next.Names == nil {
			d.next.Names = map[string]string{}
		}
		d.next.Names[component] = name
	}
}

// status overlays what came: each component's members.
func (d *shellyDevice) status(components map[string]any) {
	for _, component := range slices.Sorted(maps.Keys(components)) {
		o, ok := components[component].(map[string]any)
		kind, _, name := shellyComponent(component)
		if !ok || kind == "" {
			continue
		}
		for _, f := range shellyFields[kind] {
			v, ok := dig(o, strings.Split(f.path, ".")...)
			if !ok || v == nil {
				continue
			}
			text := str(v)
			if l, ok := v.([]any); ok {
				text = joined(l)
			}
			if !d.seen(component, f.name) {
				continue
			}
			d.values = append(d.values, Value{shellyName(name, f.name), clean(text, MaxName)})
		}
	}
}

// seen notes a reading; false if the device has too many.
func (d *shellyDevice) seen(component, field string) bool {
	known, ok := d.next.Components[component]
	switch {
	case slices.Contains(known, field):
		return true
	case !ok && len(d.next.Components) == shellyComponents:
		return false
	case d.next.Components == nil:
		d.next.Components = map[string][]string{}
	}
	d.next.Components[component] = append(slices.Clone(known), field)
	return true
}

// dig finds a member inside members.
func dig(v any, keys ...string) (any, bool) {
	for _, k := range keys {
		o, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		if v, ok = o[k]; !ok {
			return nil, false
		}
	}
	return v, true
}

// joined writes a short list of numbers and texts, such as the three parts of a colour.
func joined(l []any) string {
	var out []string
	for _, v := range l[:min(len(l), 8)] {
		out = append(out, str(v))
	}
	return strings.Join(out, ",")
}

// seconds reads a time in seconds since 1970, whole or not; false if it is none between 2000 and 2100.
func seconds(v any) (time.Time, bool) {
	f, ok := number(v)
	if !ok || f < 946684800 || f > 4102444800 {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(f * 1000)).UTC(), true
}
