package convention

import (
	"strings"
	"time"

	"github.com/gatepost/gatepost/mqtt/topic"
)

// ttn reads the MQTT server of The Things Stack, version 3: v3/<application>[@<tenant>]/devices/<device>/up and its like.
// What a message means the network's payload formatter says.
type ttn struct{ prefix string }

func newTTN(prefix string) Convention { return ttn{prefix} }

func (c ttn) Name() string { return "ttn" }

func (c ttn) Filters() []topic.Filter {
	d := c.prefix + "/+/devices/+/"
	return filters(d+"up", d+"join", d+"location/solved", d+"down/ack", d+"down/nack", d+"down/sent", d+"down/failed")
}

func (c ttn) Key(t string) string {
	rest, ok := strings.CutPrefix(t, c.prefix+"/")
	l := strings.SplitN(rest, "/", 4)
	if !ok || len(l) != 4 || l[1] != "devices" || l[0] == "" || l[2] == "" || len(l[0])+len(l[2]) > MaxID-16 || publishable(t) != "" {
		return ""
	}
	switch l[3] {
	case "up", "join", "location/solved", "down/ack", "down/nack", "down/sent", "down/failed":
		return l[0] + "/" + l[2]
	}
	return ""
}

func (c ttn) Step(s State, m topic.Message) (State, []Fact) {
	key := c.Key(m.Topic)
	o, err := object(m.Payload, MaxPayload)
	if err != nil {
		return s, nil
	}
	old := recall[loraDevice](s)
	next := old
	ids, _ := o["end_device_ids"].(map[string]any)
	next.EUI = firstOf(lora(str(ids["dev_eui"])), old.EUI)
	at := m.Time
	if t, err := time.Parse(time.RFC3339Nano, str(o["received_at"])); err == nil {
		at = t.UTC()
	}
	var facts []Fact
	switch what := strings.SplitN(strings.TrimPrefix(m.Topic, c.prefix+"/"), "/", 4)[3]; what {
	case "up":
		up, _ := o["uplink_message"].(map[string]any)
		if up == nil {
			return s, nil
		}
		facts = c.up(key, &next, up, at)
	case "join":
		if !m.Retained && o["join_accept"] != nil {
			facts = append(facts, Event{Key: key, Name: "join", Text: "It joined the network", Time: at})
		}
	case "location/solved":
		l, _ := o["location_solved"].(map[string]any)
		if p, ok := place(key, member(l, "location")); ok {
			p.Time = at
			facts = append(facts, p)
		}
	default:
		return s, c.answer(what, o, m)
	}
	if !next.same(old) || s == nil {
		facts = append([]Fact{c.part(key, next)}, facts...)
	}
	return remember(next), facts
}

// member is a member that is an object; nil if it is none.
func member(o map[string]any, name string) map[string]any {
	m, _ := o[name].(map[string]any)
	return m
}

func (c ttn) up(key string, d *loraDevice, up map[string]any, at time.Time) []Fact {
	if v := member(up, "version_ids"); v != nil {
		d.Maker, d.Model, d.Version = label(str(v["brand_id"])), label(str(v["model_id"])), clean(str(v["firmware_version"]), MaxWord)
	}
	values := d.payload(up["decoded_payload"], up["frm_payload"])
	values = append(values, d.strongest(up["rx_metadata"])...)
	values = append(values, d.saw("b", member(up, "last_battery_percentage")["value"])...)
	var facts []Fact
	if len(values) > 0 {
		facts = append(facts, Values{Key: key, Values: values, Time: at})
	}
	p, ok := place(key, member(up, "decoded_payload"))
	if !ok {
		p, ok = place(key, member(member(up, "locations"), "user"))
	}
	if ok {
		p.Time = at
		facts = append(facts, p)
	}
	return facts
}

// answer tells what became of a downlink, which carries our transaction as a correlation id.
func (c ttn) answer(what string, o map[string]any, m topic.Message) []Fact {
	name := "downlink_" + strings.TrimPrefix(what, "down/")
	body := member(o, name)
	ids := append(list(o["correlation_ids"]), list(body["correlation_ids"])...)
	ids = append(ids, list(member(body, "downlink")["correlation_ids"])...)
	for _, id := range ids {
		transaction, ok := strings.CutPrefix(str(id), "gatepost:")
		if !ok || m.Retained || what == "down/sent" && truth(body["confirmed"], true) {
			continue // sent is the end of what the device need not confirm
		}
		a := Answer{Transaction: clean(transaction, MaxWord), OK: what != "down/nack" && what != "down/failed"}
		switch {
		case what == "down/nack":
			a.Reason = "the device did not confirm it"
		case !a.OK:
			a.Reason = label(firstOf(str(member(body, "error")["message_format"]), "the network could not send it"))
		}
		return []Fact{a}
	}
	return nil
}

func (c ttn) part(key string, d loraDevice) Part {
	app, device, _ := strings.Cut(key, "/")
	send := Command{
		Name: "send", Label: "Send bytes to the device", Args: downlinkArgs(), Topic: c.prefix + "/" + app + "/devices/" + device + "/down/push", Grade: Dangerous,
		Payload: `{"downlinks":[{"f_port":{{ port }},"frm_payload":{{ payload | tojson }},"confirmed":true,"priority":"NORMAL","correlation_ids":["gatepost:{{ transaction }}"]}]}`,
		Confirm: &Confirm{Answer: true},
	}
	return d.part(Part{
		Convention: c.Name(), Key: key, IDs: []string{Identifier("ttn", key)}, Name: firstOf(spoken(device), device), Commands: []Command{send},
	})
}
