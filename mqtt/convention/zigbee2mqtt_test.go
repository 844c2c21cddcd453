package convention

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/gatepost/gatepost/mqtt/topic"
)

const modelsFile = "testdata/zigbee2mqtt-models.txtar"

// TestZigbeeModels decodes a sample of real models. -update rewrites what they become.
func TestZigbeeModels(t *testing.T) {
	a, err := txtar.ParseFile(modelsFile)
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	n := 0
	for line := range bytes.Lines(section(a, "in")) {
		n++
		got.WriteString(modelSummary(modelPart(t, line)) + "\n")
	}
	if n != 50 {
		t.Errorf("%d models", n)
	}
	if *update {
		setSection(a, "want", []byte(got.String()))
		if err := os.WriteFile(modelsFile, txtar.Format(a), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	compare(t, "want", string(section(a, "want")), got.String())
}

// modelPart decodes one device as if it were the only one of its network. All promises of the suite are checked.
func modelPart(t *testing.T, device []byte) Part {
	t.Helper()
	p := newPlayer(t, made(t, "zigbee2mqtt", ""))
	facts := p.play(topic.Message{Topic: "zigbee2mqtt/bridge/devices", Payload: bytes.Join([][]byte{[]byte("["), device, []byte("]")}, nil)})
	if len(facts) != 1 {
		t.Fatalf("%d facts of %.200s", len(facts), device)
	}
	part, ok := facts[0].(Part)
	if !ok {
		t.Fatalf("%s of %.200s", dump(facts[0]), device)
	}
	return part
}

func modelSummary(p Part) string {
	words := []string{p.Model + ":", string(p.Kind)}
	for _, r := range p.Readings {
		words = append(words, r.Name)
	}
	for _, tr := range p.Triggers {
		words = append(words, "!"+tr.Name)
	}
	for _, c := range p.Commands {
		w := ">" + c.Name
		if c.Grade == Dangerous {
			w += "(dangerous)"
		}
		words = append(words, w)
	}
	for _, r := range p.Refused {
		words = append(words, "?"+word(r.Name))
	}
	return strings.Join(words, " ")
}

// TestZigbeeAlarms: what is dangerous while it is on raises an alarm, also where a model says so the other way round.
func TestZigbeeAlarms(t *testing.T) {
	p := modelPart(t, []byte(`{"ieee_address":"0x00158d0000000001","friendly_name":"a","definition":{"model":"m","exposes":[
		{"type":"binary","name":"smoke","property":"smoke","access":1,"value_on":true,"value_off":false},
		{"type":"binary","name":"water_leak","property":"water_leak_1","access":1,"value_on":"Leak","value_off":"Dry"},
		{"type":"binary","name":"contact","property":"contact","access":1,"value_on":false,"value_off":true}]}}`))
	if len(p.Alarms) != 1 || p.Alarms[0].Reading != "smoke" || p.Alarms[0].Is[0] != "True" {
		t.Errorf("alarms: %+v", p.Alarms)
	}
	if r := p.Readings[2]; r.Quantity != "door" || r.On != "False" {
		t.Errorf("an open door is a contact that is not closed: %+v", r)
	}
}

// TestZigbeeInventoryIsKept: a list that cannot be read takes no device away, a shorter one does.
func TestZigbeeInventoryIsKept(t *testing.T) {
	device := `{"ieee_address":"0x00158d0000000001","friendly_name":"a","definition":{"model":"m","exposes":[]}}`
	p := newPlayer(t, made(t, "zigbee2mqtt", ""))
	send := func(payload string) string {
		return dumpAll(p.play(topic.Message{Topic: "zigbee2mqtt/bridge/devices", Payload: []byte(payload)}))
	}
	send("[" + device + "]")
	for _, bad := range []string{"", "{}", "[" + device, `"x"`} {
		if got := send(bad); got != "" || len(p.parts) != 1 {
			t.Errorf("%q: %s", bad, got)
		}
	}
	if got := send("[]"); got != "gone 0x00158d0000000001\n" {
		t.Errorf("an empty list: %q", got)
	}
}

// TestZigbeeFlood: a list of more devices and groups than a network can have is cut, said so, and still remembered.
func TestZigbeeFlood(t *testing.T) {
	var devices, groups, members []string
	for i := range 3000 {
		devices = append(devices, fmt.Sprintf(`{"ieee_address":"0x%016x","friendly_name":"d%d","definition":{"model":"m","exposes":[{"type":"switch","features":[{"type":"binary","name":"state","property":"state","access":7,"value_on":"ON","value_off":"OFF"}]}]}}`, i+1, i))
		members = append(members, fmt.Sprintf(`{"ieee_address":"0x%016x","endpoint":1}`, i+1))
	}
	for i := range 1000 {
		groups = append(groups, fmt.Sprintf(`{"id":%d,"friendly_name":"%s%d","members":[%s]}`, i, strings.Repeat("g", 200), i, strings.Join(members[:20], ",")))
	}
	c := made(t, "zigbee2mqtt", "")
	state, facts := c.Step(nil, topic.Message{Topic: "zigbee2mqtt/bridge/devices", Payload: []byte("[" + strings.Join(devices, ",") + "]")})
	if _, refused := facts[len(facts)-1].(Refused); !refused || len(facts) != maxZigbeeDevices+1 {
		t.Fatalf("%d facts, the last one is %s", len(facts), dump(facts[len(facts)-1]))
	}
	state, facts = c.Step(state, topic.Message{Topic: "zigbee2mqtt/bridge/groups", Payload: []byte("[" + strings.Join(groups, ",") + "]")})
	if n := len(state); n == 0 || n > MaxState {
		t.Fatalf("the state has %d bytes", n)
	}
	if len(facts) == 0 || len(facts) > maxZigbeeGroups {
		t.Fatalf("%d groups", len(facts))
	}
}
