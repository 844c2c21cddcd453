package device

import (
	"context"
	"strings"
	"testing"
	"time"
)

// Each says what it is, then how it is, and then obeys.
func TestAnnouncedDevices(t *testing.T) {
	const often = 50 * time.Millisecond
	for name, tc := range map[string]struct {
		run          func(broker string) func(context.Context) error
		announcement string // topic
		command      Message
		answer       Message // topic, and what is in the payload
	}{
		"lamp": {
			func(b string) func(context.Context) error { return Lamp{Broker: b, Name: "reading", Every: often}.Run },
			"homeassistant/light/reading/config",
			Message{Topic: "lamps/reading/set", Payload: []byte(`{"state": "ON", "brightness": 7}`)},
			Message{Topic: "lamps/reading", Payload: []byte(`{"state":"ON","brightness":7}`)},
		},
		"plug": {
			func(b string) func(context.Context) error { return Plug{Broker: b, Name: "plug", Every: often}.Run },
			"zigbee2mqtt/bridge/devices",
			Message{Topic: "zigbee2mqtt/plug/set", Payload: []byte(`{"state":"OFF"}`)},
			Message{Topic: "zigbee2mqtt/plug", Payload: []byte(`"state":"OFF","power":0`)},
		},
		"thermostat": {
			func(b string) func(context.Context) error {
				return Thermostat{Broker: b, Name: "hall", Every: often}.Run
			},
			"homie/5/hall/$description",
			Message{Topic: "homie/5/hall/heating/target/set", Payload: []byte("22.5")},
			Message{Topic: "homie/5/hall/heating/target", Payload: []byte("22.5")},
		},
		"switch": {
			func(b string) func(context.Context) error { return Switch{Broker: b, Name: "coffee", Every: often}.Run },
			"tasmota/discovery/DC4F22010203/config",
			Message{Topic: "cmnd/coffee/Power1", Payload: []byte("TOGGLE")},
			Message{Topic: "stat/coffee/RESULT", Payload: []byte(`{"POWER":"ON"}`)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScripted(t)
			background(t, tc.run(s.addr()))
			p := s.accept(0)
			p.suback()
			await := func(topic, payload string) Message {
				for range 100 {
					m, id := p.publish()
					p.puback(id)
					if m.Topic == topic && strings.Contains(string(m.Payload), payload) {
						return m
					}
				}
				t.Fatalf("no %s with %s", topic, payload)
				return Message{}
			}
			if m := await(tc.announcement, ""); !m.Retain {
				t.Error("the announcement is not retained")
			}
			p.send(publishPacket(tc.command, 0))
			await(tc.answer.Topic, string(tc.answer.Payload))
		})
	}
}
