package convention

import (
	"strings"
	"time"

	"github.com/gatepost/gatepost/mqtt/topic"
)

// chirpstack reads the JSON events of ChirpStack, version 4: <prefix>/<application>/device/<DevEUI>/event/<event>, and sends
// to .../command/down.
type chirpstack struct{ prefix string }

func newChirpStack(prefix string) Convention { return chirpstack{prefix} }

func (c chirpstack) Name() string { return "chirpstack" }

func (c chirpstack) Filters() []topic.Filter {
	d := c.prefix + "/+/device/+/event/"
	return filters(d+"up", d+"status", d+"join", d+"location", d+"log")
}

func (c chirpstack) Key(t string) string {
	rest, ok := strings.CutPrefix(t, c.prefix+"/")
	l := strings.Split(rest, "/")
	if !ok || len(l) != 5 || l[1] != "device" || l[3] != "event" || l[0] == "" || len(l[0]) > MaxWord || lora(l[2]) == "" || publishable(t) != "" {
		return ""
	}
	switch l[4] {
	case "up", "status", "join", "location", "log":
		return l[0] + "/" + strings.ToLower(l[2])
	}
	return ""
}

func (c chirpstack) Step(s State, m topic.Message) (State, []Fact) {
	key := c.Key(m.Topic)
	o, err := object(m.Payload, MaxPayload)
	info := member(o, "deviceInfo")
	if err != nil || info == nil {
		return s, nil
	}
	old := recall[loraDevice](s)
	next := old
	levels := strings.Split(m.Topic, "/")
	eui := levels[len(levels)-3]
	next.EUI, next.Name, next.Model = lora(eui), label(str(info["deviceName"])), label(str(info["deviceProfileName"]))
	at := m.Time
	if t, err := time.Parse(time.RFC3339Nano, str(o["time"])); err == nil {
		at = t.UTC()
	}
	var values []Value
	var facts []Fact
	switch levels[len(levels)-1] {
	case "up":
		values = append(next.payload(o["object"], o["data"]), next.strongest(o["rxInfo"])...)
		if p, ok := place(key, member(o, "object")); ok {
			p.Time = at
			facts = append(facts, p)
		}
	case "status":
		if !truth(o["externalPowerSource"], false) && !truth(o["batteryLevelUnavailable"], false) {
			values = next.saw("b", o["batteryLevel"])
		}
	case "join":
		if !m.Retained {
			facts = append(facts, Event{Key: key, Name: "join", Text: "It joined the network", ID: clean(str(o["deduplicationId"]), MaxWord), Time: at})
		}
	case "location":
		if p, ok := place(key, member(o, "location")); ok {
			p.Time = at
			facts = append(facts, p)
		}
	case "log":
		if text := label(str(o["description"])); text != "" && !m.Retained && o["level"] != "INFO" {
			facts = append(facts, Event{Key: key, Name: "log", Text: text, Time: at})
		}
	}
	if len(values) > 0 {
		facts = append([]Fact{Values{Key: key, Values: values, Time: at}}, facts...)
	}
	if !next.same(old) || s == nil {
		facts = append([]Fact{c.part(key, eui, next, label(str(info["applicationName"])))}, facts...)
	}
	return remember(next), facts
}

func (c chirpstack) part(key, eui string, d loraDevice, application string) Part {
	app, _, _ := strings.Cut(key, "/")
	base := c.prefix + "/" + app + "/device/" + eui + "/"
	send := Command{
		Name: "send", Label: "Send bytes to the device", Args: downlinkArgs(), Topic: base + "command/down", Grade: Dangerous,
		Payload: `{"devEui":` + plainJSON(eui) + `,"confirmed":true,"fPort":{{ port }},"data":{{ payload | tojson }}}`,
		Confirm: &Confirm{Topic: base + "event/ack", Template: "{{ value_json.acknowledged }}"},
	}
	return d.part(Part{Convention: c.Name(), Key: key, Name: eui, Area: application, Commands: []Command{send}})
}
