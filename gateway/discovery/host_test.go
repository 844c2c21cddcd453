package discovery

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/mqtt/convention"
	"github.com/gatepost/gatepost/mqtt/topic"
)

var noon = time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC)

// house is a Host with its clock and its store.
type house struct {
	t     testing.TB
	cfg   Config
	h     *Host
	now   time.Time
	store map[string][]byte
	all   News // what came since the last take
	items []lane.Item
}

func newHouse(t testing.TB, auto bool, names ...string) *house {
	t.Helper()
	if len(names) == 0 {
		names = convention.Names()
	}
	x := &house{t: t, cfg: Config{Auto: auto}, now: noon, store: map[string][]byte{}}
	for _, name := range names {
		c, err := convention.New(name, "")
		if err != nil {
			t.Fatal(err)
		}
		x.cfg.Conventions = append(x.cfg.Conventions, c)
	}
	x.h = New(x.cfg)
	x.h.Start(x.now)
	return x
}

// took keeps what came.
func (x *house) took(n *News) {
	x.all.Touched = append(x.all.Touched, n.Touched...)
	x.all.Readings = append(x.all.Readings, n.Readings...)
	x.all.Events = append(x.all.Events, n.Events...)
	x.all.Alarms = append(x.all.Alarms, n.Alarms...)
	x.all.Positions = append(x.all.Positions, n.Positions...)
	x.all.Media = append(x.all.Media, n.Media...)
	x.all.Answers = append(x.all.Answers, n.Answers...)
	x.all.Publish = append(x.all.Publish, n.Publish...)
	x.all.Admitted = append(x.all.Admitted, n.Admitted...)
	x.all.Changed = append(x.all.Changed, n.Changed...)
	x.all.Gone = append(x.all.Gone, n.Gone...)
	x.all.Asked = x.all.Asked || n.Asked
	x.all.Topics = x.all.Topics || n.Topics
	x.items = x.h.Flush(x.items[:0])
	for _, i := range x.items {
		if i.Space != Space {
			x.t.Fatalf("an item of space %q", i.Space)
		}
		if i.Value == nil {
			delete(x.store, i.Key)
		} else {
			x.store[i.Key] = slices.Clone(i.Value)
		}
	}
}

func (x *house) send(name, payload string) { x.message(name, payload, false) }

func (x *house) message(name, payload string, retained bool) {
	x.took(x.h.Message(topic.Message{Topic: name, Payload: []byte(payload), Retained: retained, Time: x.now}))
}

// wait lets time pass.
func (x *house) wait(d time.Duration) {
	end := x.now.Add(d)
	for at := x.h.Next(); !at.IsZero() && !at.After(end); at = x.h.Next() {
		x.now = at
		x.took(x.h.Tick(at))
	}
	x.now = end
	x.took(x.h.Tick(end))
}

func (x *house) decide(id ids.DeviceID, d Decision) {
	x.t.Helper()
	n, err := x.h.Decide(id, d, "", x.now)
	if err != nil {
		x.t.Fatalf("%s %s: %v", d, id, err)
	}
	x.took(n)
}

func (x *house) take() News {
	n := x.all
	x.all = News{}
	return n
}

// restart makes another Host of what the first one kept.
func (x *house) restart() {
	x.t.Helper()
	x.h = New(x.cfg)
	for k, v := range x.store {
		if err := x.h.Load(k, v); err != nil {
			x.t.Errorf("Load: %v", err)
		}
	}
	x.h.Start(x.now)
	x.all = News{}
	x.took(&News{})
}

// one is the only proposal.
func (x *house) one() Proposal {
	x.t.Helper()
	list := x.h.Proposals()
	if len(list) != 1 {
		x.t.Fatalf("%d proposals, want 1: %+v", len(list), list)
	}
	return list[0]
}

// admitted is the only admitted device.
func (x *house) admitted() *Device {
	x.t.Helper()
	list := x.h.Devices()
	if len(list) != 1 {
		x.t.Fatalf("%d devices, want 1: %v", len(list), list)
	}
	return x.h.Device(list[0])
}

func values(d *Device) string {
	var out []string
	for name, v := range d.Values {
		if v.Known {
			out = append(out, name+"="+v.Text)
		} else {
			out = append(out, name+"=?")
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

const lampConfig = "homeassistant/light/kitchen/config"

func lamp(id, name, base string) string {
	return fmt.Sprintf(`{"~":%q,"name":null,"unique_id":%q,"stat_t":"~/state","cmd_t":"~/set","avty_t":"~/online","dev":{"ids":[%q],"name":%q,"mf":"Acme","mdl":"L1","sa":"Kitchen"}}`, base, id, id, name)
}

func TestALampIsAskedAboutAndAdmitted(t *testing.T) {
	x := newHouse(t, false)
	x.message(lampConfig, lamp("l1", "Lamp", "lamps/1"), true)
	if x.h.Wants("lamps/1/state") {
		t.Error("a device that nobody admitted is listened to")
	}
	x.wait(time.Second)
	if x.take().Asked {
		t.Error("asked before it was silent about itself")
	}
	x.wait(settleTime)
	if n := x.take(); !n.Asked || len(n.Admitted) != 0 {
		t.Errorf("after it settled: %+v", n)
	}
	p := x.one()
	if p.Name != "Lamp" || p.Is.Kind != convention.Lamp || p.Stage != Waiting || len(p.Warnings) != 0 || !slices.Equal(p.Conventions, []string{"homeassistant"}) {
		t.Errorf("proposal %+v", p)
	}
	x.decide(p.ID, Admit)
	if n := x.take(); len(n.Admitted) != 1 || n.Admitted[0] != p.ID || !n.Topics {
		t.Errorf("after admission: %+v", n)
	}
	if !x.h.Wants("lamps/1/state") || !x.h.Wants("lamps/1/online") || x.h.Wants("lamps/1/set") {
		t.Error("wants the wrong topics")
	}
	x.message("lamps/1/state", "ON", true)
	if n := x.take(); len(n.Readings) != 0 || len(n.Touched) != 1 {
		t.Errorf("a retained value: %+v", n)
	}
	x.send("lamps/1/state", "OFF")
	x.send("lamps/1/online", "offline")
	n := x.take()
	if len(n.Readings) != 1 || n.Readings[0].Text != "OFF" || n.Readings[0].ID != p.ID {
		t.Errorf("readings %+v", n.Readings)
	}
	if d := x.admitted(); d.Online != Unreachable || d.ID != p.ID {
		t.Errorf("device %+v", d)
	}
	before := values(x.admitted())
	x.restart()
	if d := x.admitted(); values(d) != before || before == "" || d.Online != Unreachable {
		t.Errorf("after a restart %q %v, before %q", values(d), d.Online, before)
	}
	if !x.h.Wants("lamps/1/state") {
		t.Error("does not listen after a restart")
	}
}
