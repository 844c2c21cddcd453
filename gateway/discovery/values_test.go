package discovery

import (
	"strings"
	"testing"
	"time"
)

// sensor announces one entity of the device "s".
func (x *house) sensor(component, object, keys string) {
	x.message("homeassistant/"+component+"/"+object+"/config", `{"name":"`+object+`","uniq_id":"`+object+`",`+keys+`,"dev":{"ids":["s"],"name":"Sensor"}}`, true)
}

func TestValues(t *testing.T) {
	for _, c := range []struct {
		name, component, keys string
		payloads              []string
		want                  string
	}{
		{"plain", "sensor", `"stat_t":"s/x","unit_of_meas":"°C"`, []string{" 21.5 "}, "x=21.5"},
		{"nothing is no news", "sensor", `"stat_t":"s/x","unit_of_meas":"°C"`, []string{"21.5", " "}, "x=21.5"},
		{"no number", "sensor", `"stat_t":"s/x","unit_of_meas":"°C"`, []string{"21.5", "unavailable"}, "x=?"},
		{"not finite", "sensor", `"stat_t":"s/x","unit_of_meas":"°C"`, []string{"NaN"}, "x=?"},
		{"None", "sensor", `"stat_t":"s/x"`, []string{"a", "None"}, "x=?"},
		{"template", "sensor", `"stat_t":"s/x","val_tpl":"{{ value_json.a | round(1) }}"`, []string{`{"a":21.46}`, `{"b":1}`}, "x=21.5"},
		{"payload that is no JSON", "sensor", `"stat_t":"s/x","val_tpl":"{{ value_json.a }}"`, []string{`{"a":1}`, `{`}, "x=1"},
		{"its own state", "sensor", `"stat_t":"s/x","val_tpl":"{{ (this.state | int(0)) + (value | int) }}"`, []string{"2", "3"}, "x=5"},
		{"on", "binary_sensor", `"stat_t":"s/x"`, []string{"ON"}, "x=ON"},
		{"neither on nor off", "binary_sensor", `"stat_t":"s/x"`, []string{"ON", "maybe"}, "x=?"},
		{"too long", "sensor", `"stat_t":"s/x"`, []string{strings.Repeat("ä", 2000)}, "x=" + strings.Repeat("ä", maxText/2)},
		{"not UTF-8", "sensor", `"stat_t":"s/x"`, []string{"a\xffb"}, "x=ab"},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := newHouse(t, true, "homeassistant")
			x.sensor(c.component, "x", c.keys)
			x.wait(settleTime)
			for _, p := range c.payloads {
				x.send("s/x", p)
			}
			if got := values(x.admitted()); got != c.want {
				t.Errorf("values %q, want %q", got, c.want)
			}
		})
	}
}

func TestValuesLapse(t *testing.T) {
	x := newHouse(t, true, "homeassistant")
	x.sensor("sensor", "old", `"stat_t":"s/old","exp_aft":60`)
	x.sensor("binary_sensor", "moving", `"stat_t":"s/moving","off_dly":10`)
	x.wait(settleTime)
	x.send("s/old", "1")
	x.send("s/moving", "ON")
	x.wait(9 * time.Second)
	x.send("s/moving", "ON")
	x.wait(9 * time.Second)
	if got := values(x.admitted()); got != "moving=ON old=1" {
		t.Errorf("values %q", got)
	}
	x.take()
	x.wait(2 * time.Second)
	if got := values(x.admitted()); got != "moving=OFF old=1" {
		t.Errorf("values %q", got)
	}
	if n := x.take(); len(n.Touched) != 1 || len(n.Readings) != 1 || n.Readings[0].Text != "OFF" {
		t.Errorf("news %+v", n)
	}
	x.restart() // the time that is left goes on
	x.wait(41 * time.Second)
	if got := values(x.admitted()); got != "moving=OFF old=?" {
		t.Errorf("values %q", got)
	}
	x.wait(24 * time.Hour)
	if !x.h.Next().IsZero() {
		t.Errorf("something is still due at %v", x.h.Next())
	}
}

func TestAvailability(t *testing.T) {
	const two = `"stat_t":"s/x","avty":[{"t":"s/a"},{"t":"s/b","pl_avail":"up","pl_not_avail":"down"}],"avty_mode":`
	for _, c := range []struct {
		name, keys string
		said       []string // topic=payload
		want       Online
	}{
		{"nobody spoke", two + `"all"`, nil, Unknown},
		{"all, one spoke", two + `"all"`, []string{"s/a=online"}, Reachable},
		{"all, one is off", two + `"all"`, []string{"s/a=online", "s/b=down"}, Unreachable},
		{"all, it came back", two + `"all"`, []string{"s/a=online", "s/b=down", "s/b=up"}, Reachable},
		{"any", two + `"any"`, []string{"s/a=online", "s/b=down"}, Reachable},
		{"any, none", two + `"any"`, []string{"s/a=offline", "s/b=down"}, Unreachable},
		{"latest", two + `"latest"`, []string{"s/a=online", "s/b=down"}, Unreachable},
		{"latest the other way", two + `"latest"`, []string{"s/b=down", "s/a=online"}, Reachable},
		{"words of nobody", two + `"all"`, []string{"s/a=up", "s/b=online"}, Unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := newHouse(t, true, "homeassistant")
			x.sensor("sensor", "x", c.keys)
			x.wait(settleTime)
			for _, s := range c.said {
				name, payload, _ := strings.Cut(s, "=")
				x.send(name, payload)
			}
			if got := x.admitted().Online; got != c.want {
				t.Errorf("online %v, want %v", got, c.want)
			}
			x.sensor("sensor", "y", `"stat_t":"s/y"`) // another entity changes nothing
			x.wait(settleTime)
			if got := x.admitted().Online; got != c.want {
				t.Errorf("after another entity online %v, want %v", got, c.want)
			}
		})
	}
}

func TestAlarms(t *testing.T) {
	x := newHouse(t, true, "homeassistant", "homie5")
	x.sensor("binary_sensor", "smoke", `"stat_t":"s/x","dev_cla":"smoke"`)
	x.wait(settleTime)
	x.take()
	x.message("s/x", "ON", true)
	if n := x.take(); len(n.Alarms) != 0 {
		t.Errorf("a retained value raised %+v", n.Alarms)
	}
	x.send("s/x", "ON")
	x.send("s/x", "OFF")
	n := x.take()
	if len(n.Alarms) != 1 || n.Alarms[0].Raised || len(n.Touched) != 2 || !n.Touched[1].Urgent {
		t.Errorf("news %+v", n)
	}
	x.restart()
	x.send("s/x", "ON")
	if n := x.take(); len(n.Alarms) != 1 || !n.Alarms[0].Raised || !n.Touched[0].Urgent {
		t.Errorf("news %+v", n)
	}
	x.restart() // it is still raised
	x.send("s/x", "ON")
	if n := x.take(); len(n.Alarms) != 0 {
		t.Errorf("raised twice: %+v", n.Alarms)
	}
}

func TestAlarmsThatADeviceRaises(t *testing.T) {
	x := newHouse(t, true, "homie5")
	x.message("homie/5/pump/$description", `{"homie":"5.0","version":1,"name":"Pump","nodes":{"n":{"properties":{"p":{"datatype":"integer"}}}}}`, true)
	x.wait(settleTime)
	x.message("homie/5/pump/$state", "ready", true)
	x.take()
	x.message("homie/5/pump/$alert/dry", "no water", true)
	if n := x.take(); len(n.Alarms) != 0 {
		t.Errorf("a retained alert is news: %+v", n.Alarms)
	}
	x.send("homie/5/pump/$alert/dry", "")
	x.restart()
	x.send("homie/5/pump/$alert/dry", "no water")
	x.restart()
	x.send("homie/5/pump/$alert/dry", "no water at all")
	if n := x.take(); len(n.Alarms) != 0 {
		t.Errorf("raised twice: %+v", n.Alarms)
	}
	if d := x.admitted(); d.Online != Reachable {
		t.Errorf("online %v", d.Online)
	}
}

// TestValuesFollowTheirReading: a reading is called otherwise when another component has one of that name.
func TestValuesFollowTheirReading(t *testing.T) {
	x := newHouse(t, true, "homeassistant")
	one := `{"cmps":{"a":{"p":"light","uniq_id":"a","name":"A","stat_t":"s/a","cmd_t":"c/a"}},"dev":{"ids":["s"],"name":"Two"},"o":{"name":"x"}}`
	two := `{"cmps":{"a":{"p":"light","uniq_id":"a","name":"A","stat_t":"s/a","cmd_t":"c/a"},"b":{"p":"light","uniq_id":"b","name":"B","stat_t":"s/b","cmd_t":"c/b"}},"dev":{"ids":["s"],"name":"Two"},"o":{"name":"x"}}`
	x.message("homeassistant/device/s/config", one, true)
	x.wait(settleTime)
	x.send("s/a", "ON")
	before := values(x.admitted())
	x.message("homeassistant/device/s/config", two, true)
	x.wait(settleTime)
	d := x.admitted()
	if len(d.Is.Readings) != 2 || len(d.Values) != 1 {
		t.Fatalf("readings %+v, values %v", d.Is.Readings, d.Values)
	}
	for _, r := range d.Is.Readings {
		if v, ok := d.Values[r.Name]; ok != (r.Source.Topic == "s/a") || ok && v.Text != "ON" {
			t.Errorf("%s of %s is %+v; it was %s", r.Name, r.Source.Topic, v, before)
		}
	}
	now := values(d)
	x.restart()
	if got := values(x.admitted()); got != now {
		t.Errorf("after a restart %q, before %q", got, now)
	}
}

func TestTriggersMakeEvents(t *testing.T) {
	x := newHouse(t, true, "homeassistant")
	x.message("homeassistant/device_automation/b/config", `{"atype":"trigger","type":"button_short_press","stype":"button_1","t":"s/press","pl":"single","dev":{"ids":["s"],"name":"Button"}}`, true)
	x.wait(settleTime)
	x.take()
	x.send("s/press", "single")
	x.send("s/press", "double")
	x.message("s/press", "single", true)
	if n := x.take(); len(n.Events) != 1 || n.Events[0].Text == "" {
		t.Errorf("events %+v", n.Events)
	}
}

func TestPictures(t *testing.T) {
	x := newHouse(t, true, "homeassistant")
	x.sensor("camera", "cam", `"t":"s/cam"`)
	x.wait(settleTime)
	x.take()
	x.message("s/cam", "\xff\xd8\xff old", true)
	x.send("s/cam", "\xff\xd8\xff picture")
	if n := x.take(); len(n.Media) != 1 || string(n.Media[0].Data) != "\xff\xd8\xff picture" || n.Media[0].Reading == "" {
		t.Errorf("media %+v", n.Media)
	}
}

// TestWhatAConventionDecodes: values that came before a device was admitted are not lost.
func TestWhatAConventionDecodes(t *testing.T) {
	x := newHouse(t, false, "shelly")
	status := `{"src":"shellyplus1-a8032ab12345","dst":"shellyplus1-a8032ab12345/events","method":"NotifyStatus","params":{"ts":1631186595.43,"switch:0":{"id":0,"output":true}}}`
	x.send("shellyplus1-a8032ab12345/events/rpc", strings.Replace(status, "NotifyStatus", "NotifyFullStatus", 1))
	x.wait(settleMost)
	x.decide(x.one().ID, Admit)
	if got := values(x.admitted()); !strings.Contains(got, "true") {
		t.Errorf("values %q", got)
	}
	x.take()
	x.send("shellyplus1-a8032ab12345/events/rpc", strings.Replace(status, `"output":true`, `"output":false`, 1))
	if n := x.take(); len(n.Readings) == 0 {
		t.Errorf("news %+v", n)
	}
	if got := values(x.admitted()); !strings.Contains(got, "false") {
		t.Errorf("values %q", got)
	}
}
