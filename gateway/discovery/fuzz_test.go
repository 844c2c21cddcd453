package discovery

import "testing"

// FuzzMessages sends two messages of a stranger's and one decision, and looks whether the books agree and survive a restart.
func FuzzMessages(f *testing.F) {
	f.Add(lampConfig, lamp("l1", "Lamp", "lamps/1"), "lamps/1/state", "ON", true)
	f.Add("zigbee2mqtt/bridge/devices", zigbee, "zigbee2mqtt/plug", `{"state":"ON"}`, false)
	f.Add("homie/5/p/$description", `{"homie":"5.0","version":1,"name":"P","nodes":{"n":{"properties":{"p":{"datatype":"integer"}}}}}`, "homie/5/p/$alert/a", "x", true)
	f.Add("shellyplus1-a8032ab12345/events/rpc", `{"src":"shellyplus1-a8032ab12345","method":"NotifyFullStatus","params":{"ts":1,"switch:0":{"id":0,"output":true}}}`, "shellyplus1-a8032ab12345/online", "true", false)
	f.Add("owntracks/a/b", `{"_type":"location","lat":1,"lon":2,"tst":3,"batt":4}`, "owntracks/a/b/event", `{"_type":"transition","event":"enter","desc":"Home","tst":4}`, false)
	f.Fuzz(func(t *testing.T, name1, payload1, name2, payload2 string, auto bool) {
		x := newHouse(t, auto)
		x.send(name1, payload1)
		x.wait(settleMost)
		for _, p := range x.h.Proposals() {
			x.decide(p.ID, Admit)
		}
		x.send(name2, payload2)
		x.send(name1, payload1)
		x.wait(settleMost)
		x.check()
		before := x.looks()
		x.restart()
		x.check()
		if after := x.looks(); after != before {
			t.Errorf("after a restart\n%sbefore\n%s", after, before)
		}
	})
}
