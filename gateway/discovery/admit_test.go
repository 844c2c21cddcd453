package discovery

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepost/gatepost/internal/ids"
)

func TestAutoHasItsLimit(t *testing.T) {
	x := newHouse(t, true, "homeassistant")
	for i := range autoMost + 10 {
		x.send(fmt.Sprintf("homeassistant/light/l%d/config", i), lamp(fmt.Sprint("l", i), "Lamp", fmt.Sprint("l/", i)))
	}
	x.wait(settleTime)
	if n := len(x.h.Devices()); n != autoMost {
		t.Errorf("%d devices were admitted, want %d", n, autoMost)
	}
	if n := len(x.h.Proposals()); n != 10 || x.h.Untold() != 10 {
		t.Errorf("%d wait", n)
	}
	x.wait(autoTime)
	x.send("homeassistant/light/late/config", lamp("late", "Late", "l/late"))
	x.wait(settleTime)
	if n := len(x.h.Devices()); n != autoMost+1 {
		t.Errorf("%d devices", n)
	}
}

const zigbee = `[{"ieee_address":"0x00158d0001020304","type":"Router","friendly_name":"plug","supported":true,"disabled":false,"interview_completed":true,` +
	`"definition":{"model":"TS011F","vendor":"TuYa","description":"Smart plug","exposes":[{"type":"switch","features":[{"type":"binary","name":"state","label":"State",` +
	`"property":"state","access":7,"value_on":"ON","value_off":"OFF","value_toggle":"TOGGLE"}]}]}}]`

const zigbeeByHA = `{"name":null,"uniq_id":"0x00158d0001020304_switch_zigbee2mqtt","stat_t":"zigbee2mqtt/plug","val_tpl":"{{ value_json.state }}","cmd_t":"zigbee2mqtt/plug/set",` +
	`"dev":{"ids":["zigbee2mqtt_0x00158d0001020304"],"name":"plug"}}`

func TestTwoConventionsAreOneDevice(t *testing.T) {
	for _, auto := range []bool{false, true} {
		x := newHouse(t, auto, "homeassistant", "zigbee2mqtt")
		x.message("zigbee2mqtt/bridge/devices", zigbee, true)
		x.wait(time.Second)
		x.message("homeassistant/switch/0x00158d0001020304/switch/config", zigbeeByHA, true)
		x.wait(settleTime)
		if !auto {
			p := x.one()
			if len(p.Conventions) != 2 || len(p.Is.Commands) == 0 {
				t.Errorf("proposal %+v", p)
			}
			x.decide(p.ID, Admit)
		}
		x.send("zigbee2mqtt/plug", `{"state":"ON"}`)
		if d := x.admitted(); !strings.Contains(values(d), "state=ON") {
			t.Errorf("auto %v: values %q", auto, values(d))
		}
		x.check()
	}
}

func TestAnotherConventionIsAskedAbout(t *testing.T) {
	x := newHouse(t, false, "homeassistant", "zigbee2mqtt")
	x.message("zigbee2mqtt/bridge/devices", zigbee, true)
	x.wait(settleTime)
	x.decide(x.one().ID, Admit)
	before := x.looks()
	x.take()
	x.message("homeassistant/switch/0x00158d0001020304/switch/config", zigbeeByHA, true)
	x.wait(settleTime)
	p := x.one()
	if !x.take().Asked || p.Into == "" || !strings.Contains(strings.Join(p.Warnings, ";"), "through homeassistant now too") {
		t.Errorf("proposal %+v", p)
	}
	x.decide(p.ID, Ignore)
	x.message("homeassistant/switch/0x00158d0001020304/switch/config", strings.Replace(zigbeeByHA, "plug/set", "evil/set", 1), true)
	x.wait(settleTime)
	if x.take().Asked {
		t.Error("asked about what is ignored")
	}
	x.message("homeassistant/switch/0x00158d0001020304/switch/config", "", true)
	x.wait(settleTime)
	if got := x.looks(); got != before {
		t.Errorf("now\n%sbefore\n%s", got, before)
	}
	x.check()
}

// What people want to hear nothing of they hear nothing of, by whatever convention it calls.
func TestABlockedDeviceStaysBlockedByAnotherConvention(t *testing.T) {
	byHA := func(x *house) {
		x.message("homeassistant/switch/0x00158d0001020304/switch/config", zigbeeByHA, true)
		x.wait(settleTime)
	}
	byZ2M := func(x *house) {
		x.message("zigbee2mqtt/bridge/devices", zigbee, true)
		x.wait(settleTime)
	}
	for name, say := range map[string][2]func(*house){"the other way": {byHA, byZ2M}, "this way": {byZ2M, byHA}} {
		for _, auto := range []bool{false, true} {
			x := newHouse(t, false, "homeassistant", "zigbee2mqtt")
			say[0](x)
			x.decide(x.one().ID, Block)
			x.take()
			x.cfg.Auto = auto
			x.restart()
			say[1](x)
			if p := x.one(); p.Stage != Blocked || x.take().Asked || len(x.h.Devices()) != 0 {
				t.Errorf("%s: proposal %+v, devices %v", name, p, x.h.Devices())
			}
			x.cfg.Auto = false
			x.restart()
			x.decide(x.one().ID, Admit)
			say[1](x)
			if p := x.one(); p.Stage != Waiting {
				t.Errorf("%s: not blocked any more, but %+v", name, p)
			}
			x.check()
		}
	}
}

// One of the two who announced a device takes it back: what the other said stays, with its values.
func TestOneOfTwoConventionsIsTakenBack(t *testing.T) {
	for _, first := range []bool{false, true} {
		x := newHouse(t, true, "homeassistant", "zigbee2mqtt")
		x.message("zigbee2mqtt/bridge/devices", zigbee, true)
		x.message("homeassistant/switch/0x00158d0001020304/switch/config", zigbeeByHA, true)
		x.wait(settleTime)
		id := x.admitted().ID
		x.send("zigbee2mqtt/plug", `{"state":"ON"}`)
		if first {
			x.message("zigbee2mqtt/bridge/devices", "[]", true)
		} else {
			x.message("homeassistant/switch/0x00158d0001020304/switch/config", "", true)
		}
		x.wait(time.Hour)
		if n := x.take(); len(n.Gone) != 0 {
			t.Errorf("%v: gone", first)
		}
		d := x.admitted()
		if d.ID != id || len(d.Is.Commands) == 0 || !strings.Contains(values(d), "ON") && !strings.Contains(values(d), "on") {
			t.Errorf("%v: %s", first, x.looks())
		}
		x.restart()
		x.send("zigbee2mqtt/plug", `{"state":"OFF"}`)
		if d := x.admitted(); d.ID != id || !strings.Contains(values(d), "OFF") && !strings.Contains(values(d), "off") {
			t.Errorf("%v: after a restart %s", first, x.looks())
		}
		x.check()
	}
}

// While a flood takes all room, an admitted device that wants more leaves nothing half done behind.
func TestMoreIsWantedWhileThereIsNoRoom(t *testing.T) {
	x := newHouse(t, false, "homeassistant")
	x.send(lampConfig, lamp("l1", "Lamp", "lamps/1"))
	x.wait(settleTime)
	id := x.one().ID
	x.decide(id, Admit)
	wants := func(options string) {
		x.send("homeassistant/select/more/config", `{"name":"More","uniq_id":"more","cmd_t":"lamps/1/more","ops":[`+options+`],"dev":{"ids":["l1"],"name":"Lamp"}}`)
		x.wait(settleTime)
		x.check()
	}
	var options []string
	for i := range 128 {
		options = append(options, fmt.Sprintf(`"%060d"`, i))
	}
	big := strings.Join(options, ",")
	for _, first := range []bool{true, false} { // something waits for it already, or not
		if first {
			wants(`"a","b"`)
		}
		for i := 0; x.h.pending+9_000 < maxWaitingBytes && i < maxWaiting; i++ {
			var components []string
			for j := range 1 + 6*min((maxWaitingBytes-x.h.pending)/100_000, 1) {
				components = append(components, fmt.Sprintf(`"c%d":{"p":"select","name":"C","uniq_id":"f%d-%d","cmd_t":"f/%d/%d","ops":[%s]}`, j, i, j, i, j, big))
			}
			x.send(fmt.Sprintf("homeassistant/device/f%d/config", i), fmt.Sprintf(`{"dev":{"ids":["f%d"],"name":"F"},"o":{"name":"x"},"cmps":{%s}}`, i, strings.Join(components, ",")))
		}
		wants(big)
		if p, is := x.h.Proposal(id + moreSuffix); is {
			t.Errorf("waits: %+v", p)
		}
	}
	x.decide(x.h.Proposals()[0].ID, Ignore) // some room
	wants(`"a","b"`)
	x.decide(id+moreSuffix, Block)
	x.check()
	for _, p := range x.h.Proposals() {
		x.decide(p.ID, Block)
	}
	x.check()
	x.restart()
	x.check()
}

// Devices that never finish announcing themselves do not shut out others for ever, nor are those forgotten that did.
func TestAFloodOfBeginningsMakesRoomAgain(t *testing.T) {
	x := newHouse(t, false, "homie4")
	announced := func(name string) {
		for _, m := range [][2]string{
			{"$homie", "4.0.0"}, {"$name", name}, {"$nodes", "a"}, {"a/$name", "A"}, {"a/$properties", "t"}, {"a/t/$name", "T"}, {"a/t/$datatype", "float"}, {"$state", "ready"},
		} {
			x.message("homie/"+name+"/"+m[0], m[1], true)
		}
		x.wait(settleMost)
	}
	announced("first")
	x.decide(x.one().ID, Admit)
	for i := range maxStates + 10 {
		x.message(fmt.Sprintf("homie/x%d/$name", i), "x", true)
	}
	announced("second")
	if x.one().Name != "second" || len(x.h.states) > maxStates {
		t.Errorf("proposals %+v, %d states", x.h.Proposals(), len(x.h.states))
	}
	x.message("homie/first/$state", "lost", true)
	if d := x.admitted(); d.Online != Unreachable {
		t.Errorf("the first one is forgotten: %+v", d)
	}
	x.check()
	x.restart()
	if len(x.h.states) > maxStates || len(x.h.states) < 2 {
		t.Errorf("%d states after a restart", len(x.h.states))
	}
}

func TestMoreReadingsAreNotAskedAbout(t *testing.T) {
	x := newHouse(t, false, "homeassistant")
	x.sensor("sensor", "x", `"stat_t":"s/x"`)
	x.wait(settleTime)
	x.decide(x.one().ID, Admit)
	x.sensor("sensor", "y", `"stat_t":"s/y"`)
	x.wait(settleTime)
	if d := x.admitted(); len(d.Is.Readings) != 2 || len(x.h.Proposals()) != 0 {
		t.Errorf("readings %+v, proposals %+v", d.Is.Readings, x.h.Proposals())
	}
	x.send("s/y", "1")
	if got := values(x.admitted()); got != "y=1" {
		t.Errorf("values %q", got)
	}
}

func TestADeviceThatComesBack(t *testing.T) {
	x := newHouse(t, false, "homeassistant")
	x.message(lampConfig, lamp("l1", "Lamp", "lamps/1"), true)
	x.wait(settleTime)
	id := x.one().ID
	x.decide(id, Admit)
	x.take()
	x.send(lampConfig, "")
	x.wait(time.Minute)
	x.send(lampConfig, lamp("l1", "Lamp", "lamps/1")) // nobody has to agree again
	x.wait(time.Hour)
	if n := x.take(); len(n.Gone) != 0 || x.admitted().ID != id || len(x.h.Proposals()) != 0 {
		t.Errorf("news %+v, proposals %+v", n, x.h.Proposals())
	}
	x.send(lampConfig, "")
	x.wait(5 * time.Minute)
	x.restart()
	x.wait(6 * time.Minute)
	if n := x.take(); !slices.Equal(n.Gone, []ids.DeviceID{id}) {
		t.Errorf("gone %v", n.Gone)
	}
	if d := x.admitted(); d.Is.Name != "Lamp" || len(d.Is.Commands) != 0 || x.h.Wants("lamps/1/state") {
		t.Errorf("device %+v", d)
	}
	x.check()
}

func TestWhatCanNotBeSupportedIsRefusedByName(t *testing.T) {
	x := newHouse(t, false, "homeassistant")
	x.sensor("sensor", "good", `"stat_t":"s/good"`)
	x.sensor("sensor", "bad", `"stat_t":"s/bad","val_tpl":"{{ states('sensor.x') }}"`)
	x.wait(settleTime)
	p := x.one()
	if len(p.Is.Readings) != 1 || len(p.Is.Refused) != 1 || p.Is.Refused[0].Name != "Bad" || !strings.Contains(p.Is.Refused[0].Reason, "states") {
		t.Errorf("readings %+v, refused %+v", p.Is.Readings, p.Is.Refused)
	}
	x.send("homeassistant/nonsense/x/config", `{"name":"x"}`)
	if got := x.h.Refused(); len(got) != 1 {
		t.Errorf("refused %+v", got)
	}
}

func TestDecideSaysWhatIsWrong(t *testing.T) {
	x := newHouse(t, false, "homeassistant")
	x.send(lampConfig, lamp("l1", "Lamp", "lamps/1"))
	x.wait(settleTime)
	p := x.one()
	if _, err := x.h.Decide("nobody", Admit, "", x.now); !errors.Is(err, ErrNone) {
		t.Errorf("nobody: %v", err)
	}
	if _, err := x.h.Decide(p.ID, Admit, "v0", x.now); !errors.Is(err, ErrChanged) {
		t.Errorf("another version: %v", err)
	}
	if _, err := x.h.Decide(p.ID, Admit, p.Version, x.now); err != nil {
		t.Errorf("admit: %v", err)
	}
	if _, err := x.h.Decide(p.ID, Block, "", x.now); !errors.Is(err, ErrNone) {
		t.Errorf("an admitted one: %v", err)
	}
	if err := x.h.Remove("nobody"); !errors.Is(err, ErrNone) {
		t.Errorf("remove nobody: %v", err)
	}
}

func TestDamagedRecordsAreSetAside(t *testing.T) {
	x := newHouse(t, false, "homeassistant")
	x.message(lampConfig, lamp("l1", "Lamp", "lamps/1"), true)
	x.message("homeassistant/light/two/config", lamp("l2", "Lamp 2", "lamps/2"), true)
	x.wait(settleTime)
	for _, p := range x.h.Proposals() {
		x.decide(p.ID, Admit)
	}
	x.send("lamps/1/state", "ON")
	x.send("lamps/2/state", "ON")
	whole := x.store
	for key := range whole {
		for _, bad := range []string{"", "x", "{}", "null", `{"id":"other"}`, "\xff\x00"} {
			h := New(x.cfg)
			for k, v := range whole {
				if k == key {
					v = []byte(bad)
				}
				if err := h.Load(k, v); (err != nil) != (k == key) {
					t.Errorf("%s as %q: %v", k, bad, err)
				}
			}
			h.Start(x.now)
			x.h, x.store = h, map[string][]byte{}
			for k, v := range whole {
				x.store[k] = v
			}
			x.took(&News{})
			delete(x.store, key) // set aside
			x.wait(time.Hour)
			n := len(x.h.Devices()) + len(x.h.Proposals())
			if n < 1 || n > 2 {
				t.Errorf("%s as %q: %s", key, bad, x.looks())
			}
		}
	}
}

func TestAConventionThatIsOff(t *testing.T) {
	x := newHouse(t, true, "homeassistant")
	x.message(lampConfig, lamp("l1", "Lamp", "lamps/1"), true)
	x.wait(settleTime)
	id := x.admitted().ID
	on := x.cfg
	x.cfg.Conventions = nil
	x.restart()
	x.wait(time.Hour)
	if d := x.admitted(); d.Is.Name != "Lamp" || x.h.Wants("lamps/1/state") || len(x.take().Gone) != 0 {
		t.Errorf("device %+v", d)
	}
	x.cfg = on
	x.restart()
	if d := x.admitted(); d.ID != id || len(d.Is.Commands) == 0 || !x.h.Wants("lamps/1/state") {
		t.Errorf("device %+v", d)
	}
}
