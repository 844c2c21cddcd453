package convention

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gatepost/gatepost/mqtt/topic"
)

// dji reads the Cloud API of DJI: docks and remote controllers (gateways) and their aircraft publish properties to
// thing/product/<serial>/osd and /state, events and alarms (health management, hms) to /events. Orders go to a gateway's
// /services, and their answers carry the transaction.
type dji struct{}

const (
	djiAlarms  = 64 // of a device at a time
	djiDevices = 16 // behind a gateway
)

func newDJI(string) Convention { return dji{} }

func (dji) Name() string { return "dji" }

func (dji) Filters() []topic.Filter {
	t := "thing/product/+/"
	return filters(t+"osd", t+"state", t+"events", t+"services_reply", "sys/product/+/status")
}

func (dji) Key(t string) string {
	l := strings.Split(t, "/")
	if len(l) != 4 || l[1] != "product" || !homieID(l[2]) {
		return ""
	}
	switch {
	case l[0] == "thing" && slices.Contains([]string{"osd", "state", "events", "services_reply"}, l[3]), l[0] == "sys" && l[3] == "status":
		return l[2]
	}
	return ""
}

// djiState is what is remembered of a device.
type djiState struct {
	Known    bool              `json:"k,omitempty"`
	Model    string            `json:"m,omitempty"`
	Gateway  string            `json:"g,omitempty"` // the serial number of the gateway that speaks for it
	Dock     bool              `json:"d,omitempty"`
	Readings []string          `json:"r,omitempty"`
	Alarms   map[string]string `json:"a,omitempty"` // raised: name to text
	Behind   []string          `json:"b,omitempty"` // of a gateway: the devices connected
}

func (c dji) Step(s State, m topic.Message) (State, []Fact) {
	key := c.Key(m.Topic)
	o, err := object(m.Payload, MaxPayload)
	data := member(o, "data")
	if err != nil || data == nil {
		return s, nil
	}
	d := djiDevice{c: c, key: key, old: recall[djiState](s), time: m.Time}
	d.next = d.old
	d.next.Readings, d.next.Alarms = slices.Clone(d.old.Readings), maps.Clone(d.old.Alarms)
	if at, ok := milliseconds(str(o["timestamp"])); ok {
		d.time = at
	}
	switch last := m.Topic[strings.LastIndexByte(m.Topic, '/')+1:]; last {
	case "osd", "state":
		d.next.Known = true
		if gateway := str(o["gateway"]); homieID(gateway) {
			d.next.Gateway = gateway
		}
		d.properties(data)
	case "events":
		d.event(o, data, m.Retained)
	case "services_reply":
		return s, d.answer(o, data, m.Retained)
	case "status":
		d.status(o, data)
	}
	if d.next.Known && (!d.old.Known || d.next.Gateway != d.old.Gateway || d.next.Model != d.old.Model || d.next.Dock != d.old.Dock || len(d.next.Readings) != len(d.old.Readings)) {
		d.facts = append([]Fact{d.part()}, d.facts...)
	}
	return remember(d.next), d.facts
}

// djiDevice is a device during one Step.
type djiDevice struct {
	c         dji
	key       string
	old, next djiState
	facts     []Fact
	time      time.Time
}

// djiProperty is a property that is shown.
type djiProperty struct {
	path           string // members, with dots
	name, label    string
	kind           ReadingKind
	unit, quantity string
	words          map[string]string // for the numbers that come
}

// properties takes values that came, and the position among them.
func (d *djiDevice) properties(data map[string]any) {
	var values []Value
	for _, k := range []string{"cover_state", "drone_in_dock"} {
		_, ok := data[k]
		d.next.Dock = d.next.Dock || ok
	}
	for _, p := range djiProperties {
		v, ok := dig(data, strings.Split(p.path, ".")...)
		text := clean(str(v), MaxName)
		if _, numeric := number(v); !ok || text == "" || p.kind == Number && !numeric {
			continue
		}
		if p.name == "mode" {
			p.words = djiModes
			if d.next.Dock {
				p.words = djiDockModes
			}
		}
		if p.words != nil {
			text = firstOf(p.words[text], "code "+text)
		}
		if p.kind == OnOff {
			text = map[string]string{"1": "true", "0": "false", "true": "true", "false": "false"}[text]
		}
		if !slices.Contains(d.next.Readings, p.name) {
			d.next.Readings = append(d.next.Readings, p.name)
		}
		values = append(values, Value{p.name, text})
	}
	if len(values) > 0 {
		d.facts = append(d.facts, Values{Key: d.key, Values: values, Time: d.time})
	}
	if p, ok := place(d.key, data); ok {
		p.Altitude, p.HasAltitude = number(data["height"])
		p.Time = d.time
		d.facts = append(d.facts, p)
	}
}

// event reads alarms, and how far a long order has come.
func (d *djiDevice) event(o, data map[string]any, retained bool) {
	switch o["method"] {
	case "hms":
		d.alarms(data["list"])
	case "fly_to_point_progress", "takeoff_to_point_progress", "return_home_info", "flighttask_progress", "device_exit_homing_notify", "flighttask_ready":
		status := clean(str(firstValue(data["status"], member(data, "output")["status"])), MaxWord)
		if retained {
			return
		}
		d.facts = append(d.facts, Event{
			Key: d.key, Name: word(str(o["method"])), Text: label(strings.TrimSuffix(spoken(str(o["method"]))+": "+status, ": ")), ID: clean(str(o["bid"]), MaxWord), Time: d.time,
		})
	}
}

func firstValue(all ...any) any {
	for _, v := range all {
		if v != nil {
			return v
		}
	}
	return nil
}

// alarms replaces those that stand: the list always holds all of them.
func (d *djiDevice) alarms(v any) {
	now := map[string]string{}
	all, ok := v.([]any)
	if !ok {
		return
	}
	for _, v := range all {
		a, _ := v.(map[string]any)
		code := clean(str(a["code"]), MaxWord)
		name := word(code)
		if name == "" || str(a["level"]) == "0" || len(now) == djiAlarms { // 0 is a note, 1 a reminder, 2 a warning
			continue
		}
		text := map[string]string{"1": "Reminder", "2": "Warning"}[str(a["level"])]
		now[name] = firstOf(text, "Alarm") + " " + code
		if str(a["in_the_sky"]) == "1" {
			now[name] += " in flight"
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.old.Alarms)) {
		if _, still := now[name]; !still {
			d.facts = append(d.facts, Alarm{Key: d.key, Name: name, Text: d.old.Alarms[name], Time: d.time})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if _, stood := d.old.Alarms[name]; !stood {
			d.facts = append(d.facts, Alarm{Key: d.key, Name: name, Text: now[name], Raised: true, Time: d.time})
		}
	}
	d.next.Alarms = now
	if len(now) == 0 {
		d.next.Alarms = nil
	}
}

// answer to an order: result 0 is good.
func (d *djiDevice) answer(o, data map[string]any, retained bool) []Fact {
	transaction := clean(str(o["tid"]), MaxWord)
	if retained || transaction == "" {
		return nil
	}
	code := str(data["result"])
	a := Answer{Transaction: transaction, OK: code == "0"}
	if !a.OK {
		a.Reason = label(strings.TrimSpace("error " + code))
	}
	return []Fact{a}
}

// status says which devices a gateway speaks for. It must be answered, else the gateway does not go on.
func (d *djiDevice) status(o, data map[string]any) {
	if o["method"] != "update_topo" {
		return
	}
	d.next.Known = true
	d.next.Model = djiModel(data)
	d.next.Dock = d.next.Dock || strings.HasPrefix(d.next.Model, "Dock")
	d.facts = append(d.facts, Online{Key: d.key, Online: true})
	var behind []string
	for _, v := range list(data["sub_devices"]) {
		sub, _ := v.(map[string]any)
		if sn := str(sub["sn"]); homieID(sn) && len(behind) < djiDevices {
			behind = append(behind, sn)
			d.facts = append(d.facts, Online{Key: sn, Online: true})
		}
	}
	for _, sn := range d.old.Behind {
		if !slices.Contains(behind, sn) {
			d.facts = append(d.facts, Online{Key: sn, Reason: "its gateway does not see it"})
		}
	}
	d.next.Behind = behind
	tid, bid := clean(str(o["tid"]), MaxWord), clean(str(o["bid"]), MaxWord)
	d.facts = append(d.facts, Publish{
		Topic:   "sys/product/" + d.key + "/status_reply",
		Payload: []byte(`{"tid":` + plainJSON(tid) + `,"bid":` + plainJSON(bid) + `,"timestamp":` + millis(d.time) + `,"method":"update_topo","data":{"result":0}}`),
	})
}
