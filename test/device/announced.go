package device

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// The devices here announce themselves, each by a convention of its own, as their firmware does: nobody has written a rule
// for them. Each reports at once and every Every (0 means 1 s), obeys what it offers, and reports what became of it.

// announced is what these devices have in common.
type announced struct {
	broker, id string
	every      time.Duration
	retained   []Message // what it says when it comes, in this order
	listen     []string  // topic filters
	obey       func(m Message) []Message
	report     func(step int) []Message
}

func (d announced) run(ctx context.Context) error {
	heard := make(chan Message, 16)
	cfg := Config{Addr: d.broker, ClientID: d.id, Subscribe: d.listen, OnMessage: func(m Message) {
		select {
		case heard <- m:
		default: // told too much, it forgets the rest
		}
	}}
	return with(ctx, cfg, func(ctx context.Context, c *Client) error {
		say := func(list []Message) error {
			for _, m := range list {
				if err := c.Publish(ctx, m); err != nil {
					return err
				}
			}
			return nil
		}
		if err := say(d.retained); err != nil {
			return err
		}
		if d.every == 0 {
			d.every = time.Second
		}
		tick := time.NewTicker(d.every)
		defer tick.Stop()
		for step := 0; ; step++ {
			if err := say(d.report(step)); err != nil {
				return err
			}
			for waiting := true; waiting; {
				select {
				case m := <-heard:
					if err := say(d.obey(m)); err != nil {
						return err
					}
				case <-tick.C:
					waiting = false
				case <-ctx.Done():
					return nil
				}
			}
		}
	})
}

func lasting(topic, payload string) Message {
	return Message{Topic: topic, Payload: []byte(payload), QoS: 1, Retain: true}
}

func passing(topic, payload string) Message {
	return Message{Topic: topic, Payload: []byte(payload), QoS: 1}
}

// Lamp is a dimmable lamp that speaks Home Assistant discovery (the JSON schema of its MQTT light).
type Lamp struct {
	Broker string
	Name   string // of its topics, and its unique id
	Every  time.Duration
}

// Run serves the lamp until ctx is done.
func (l Lamp) Run(ctx context.Context) error {
	base := "lamps/" + l.Name
	on, brightness := false, 120
	state := func() []Message {
		word := map[bool]string{true: "ON", false: "OFF"}[on]
		return []Message{lasting(base, fmt.Sprintf(`{"state":%q,"brightness":%d}`, word, brightness))}
	}
	return announced{
		broker: l.Broker, id: "lamp-" + l.Name, every: l.Every, listen: []string{base + "/set"},
		retained: []Message{
			lasting("homeassistant/light/"+l.Name+"/config", fmt.Sprintf(`{"name":null,"uniq_id":%q,"schema":"json","~":%q,"cmd_t":"~/set","stat_t":"~",`+
				`"brightness":true,"avty_t":"~/online","dev":{"ids":[%q],"name":"Reading lamp","mf":"Lumen","mdl":"L1","sa":"Living room"}}`, l.Name, base, l.Name)),
			lasting(base+"/online", "online"),
		},
		report: func(int) []Message { return state() },
		obey: func(m Message) []Message {
			text := string(m.Payload)
			if strings.Contains(text, `"ON"`) {
				on = true
			} else if strings.Contains(text, `"OFF"`) {
				on = false
			}
			if _, after, ok := strings.Cut(text, `"brightness":`); ok {
				_, _ = fmt.Sscan(strings.TrimSpace(after), &brightness) // what is no number leaves it as it is
			}
			return state()
		},
	}.run(ctx)
}

// Plug is a plug that measures, behind a Zigbee2MQTT bridge of which it is the only device.
type Plug struct {
	Broker string
	Name   string // its friendly name
	Every  time.Duration
}

// Run serves bridge and plug until ctx is done.
func (p Plug) Run(ctx context.Context) error {
	const base = "zigbee2mqtt/"
	on := true
	state := func(step int) []Message {
		word, power := "OFF", 0
		if on {
			word, power = "ON", 40+step%5
		}
		return []Message{lasting(base+p.Name, fmt.Sprintf(`{"state":%q,"power":%d,"linkquality":120}`, word, power))}
	}
	step := 0
	return announced{
		broker: p.Broker, id: "zigbee2mqtt", every: p.Every, listen: []string{base + p.Name + "/set"},
		retained: []Message{
			lasting(base+"bridge/state", `{"state":"online"}`),
			lasting(base+"bridge/devices", fmt.Sprintf(`[{"ieee_address":"0x00158d0001020304","type":"Router","friendly_name":%q,"supported":true,"disabled":false,`+
				`"interview_completed":true,"definition":{"model":"TS011F","vendor":"TuYa","description":"Smart plug","exposes":[`+
				`{"type":"switch","features":[{"type":"binary","name":"state","label":"State","property":"state","access":7,"value_on":"ON","value_off":"OFF","value_toggle":"TOGGLE"}]},`+
				`{"type":"numeric","name":"power","label":"Power","property":"power","access":1,"unit":"W"},`+
				`{"type":"numeric","name":"linkquality","label":"Linkquality","property":"linkquality","access":1,"unit":"lqi","value_min":0,"value_max":255}]}}]`, p.Name)),
		},
		report: func(n int) []Message { step = n; return state(n) },
		obey: func(m Message) []Message {
			on = strings.Contains(string(m.Payload), "ON")
			return state(step)
		},
	}.run(ctx)
}

// Thermostat is a thermostat that speaks Homie 5.
type Thermostat struct {
	Broker string
	Name   string // its Homie id
	Every  time.Duration
}

// Run serves the thermostat until ctx is done.
func (t Thermostat) Run(ctx context.Context) error {
	base := "homie/5/" + t.Name + "/"
	return announced{
		broker: t.Broker, id: t.Name, every: t.Every, listen: []string{base + "heating/target/set"},
		retained: []Message{
			lasting(base+"$state", "init"),
			lasting(base+"$description", `{"homie":"5.0","version":1,"name":"Thermostat","type":"thermostat","nodes":{"heating":{"name":"Heating","properties":{`+
				`"current":{"name":"Temperature","datatype":"float","unit":"°C"},`+
				`"target":{"name":"Target temperature","datatype":"float","unit":"°C","format":"5:30:0.5","settable":true}}}}}`),
			lasting(base+"heating/target", "20"),
			lasting(base+"$state", "ready"),
		},
		report: func(step int) []Message {
			return []Message{lasting(base+"heating/current", fmt.Sprintf("%.1f", 19+float64(step%20)/10))}
		},
		obey: func(m Message) []Message { return []Message{lasting(base+"heating/target", string(m.Payload))} },
	}.run(ctx)
}

// Switch is a relay with Tasmota's firmware.
type Switch struct {
	Broker string
	Name   string // of its topics
	Every  time.Duration
}

// Run serves the switch until ctx is done.
func (s Switch) Run(ctx context.Context) error {
	power := "OFF"
	telemetry := func(int) []Message {
		return []Message{passing("tele/"+s.Name+"/STATE", fmt.Sprintf(`{"Time":"2026-02-01T10:00:00","Uptime":"0T00:10:00","POWER":%q,"Wifi":{"RSSI":80}}`, power))}
	}
	return announced{
		broker: s.Broker, id: "tasmota-" + s.Name, every: s.Every, listen: []string{"cmnd/" + s.Name + "/+"},
		retained: []Message{
			lasting("tasmota/discovery/DC4F22010203/config", fmt.Sprintf(`{"ip":"192.0.2.7","dn":"Coffee machine","fn":["Coffee machine"],"hn":%q,"mac":"DC4F22010203","md":"Sonoff Basic","ty":0,"if":0,`+
				`"ofln":"Offline","onln":"Online","state":["OFF","ON","TOGGLE","HOLD"],"sw":"14.1.0","t":%q,"ft":"%%prefix%%/%%topic%%/","tp":["cmnd","stat","tele"],"rl":[1],"swc":[-1],"swn":[null],"btn":[0],"so":{"4":0},"lk":0,"lt_st":0,"ver":1}`, s.Name, s.Name)),
			lasting("tasmota/discovery/DC4F22010203/sensors", `{"sn":{"Time":"2026-02-01T10:00:00"},"ver":1}`),
			lasting("tele/"+s.Name+"/LWT", "Online"),
		},
		report: telemetry,
		obey: func(m Message) []Message {
			switch command := m.Topic[strings.LastIndexByte(m.Topic, '/')+1:]; {
			case strings.EqualFold(command, "state"):
				return []Message{passing("stat/"+s.Name+"/RESULT", fmt.Sprintf(`{"POWER":%q}`, power))}
			case strings.EqualFold(command, "power"), strings.EqualFold(command, "power1"):
				switch word := strings.ToUpper(string(m.Payload)); word {
				case "ON", "OFF":
					power = word
				case "TOGGLE":
					power = map[string]string{"ON": "OFF", "OFF": "ON"}[power]
				}
				return []Message{passing("stat/"+s.Name+"/RESULT", fmt.Sprintf(`{"POWER":%q}`, power)), passing("stat/"+s.Name+"/POWER", power)}
			}
			return nil
		},
	}.run(ctx)
}
