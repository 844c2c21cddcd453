package discovery

import (
	"fmt"
	"testing"

	"github.com/gatepost/gatepost/mqtt/topic"
)

// filled is a Host with n admitted sensors, each of the shape of a Zigbee2MQTT device through Home Assistant discovery: three
// readings of one JSON payload.
func filled(t testing.TB, n int) *house {
	x := newHouse(t, false)
	for i := range n {
		for _, what := range []string{"temperature", "humidity", "battery"} {
			x.message(fmt.Sprintf("homeassistant/sensor/s%d/%s/config", i, what),
				fmt.Sprintf(`{"name":%q,"uniq_id":"s%d_%s","dev_cla":%q,"stat_t":"z/s%d","val_tpl":"{{ value_json.%s }}","dev":{"ids":["s%d"],"name":"Sensor %d"}}`, what, i, what, what, i, what, i, i), true)
		}
	}
	x.wait(settleMost)
	for _, p := range x.h.Proposals() {
		x.decide(p.ID, Admit)
	}
	if got := len(x.h.Devices()); got != n {
		t.Fatalf("%d devices, want %d", got, n)
	}
	x.take()
	return x
}

// BenchmarkMessage is one message of one of 1000 sensors, with the JSON decoded and three templates rendered.
func BenchmarkMessage(b *testing.B) { benchmarkMessage(b, true) }

// BenchmarkDecodeAndRender is the part of BenchmarkMessage that any gateway has: decoding and rendering alone.
func BenchmarkDecodeAndRender(b *testing.B) { benchmarkMessage(b, false) }

func benchmarkMessage(b *testing.B, whole bool) {
	x := filled(b, 1000)
	d := x.h.byID[x.h.Devices()[500]]
	name := d.dev.Is.Readings[0].Source.Topic
	payloads := [][]byte{[]byte(`{"temperature":21.5,"humidity":40,"battery":97}`), []byte(`{"temperature":21.6,"humidity":41,"battery":96}`)}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		m := topic.Message{Topic: name, Payload: payloads[i%2], Time: x.now}
		if whole {
			x.h.Message(m)
			if i%256 == 0 {
				x.items = x.h.Flush(x.items[:0])
			}
			continue
		}
		renderAll(x.h, d, m)
	}
}

// renderAll decodes m once and renders all readings of a group.
func renderAll(h *Host, g *group, m topic.Message) {
	h.begin(m)
	for i := range g.reads {
		h.render(&g.reads[i], g, "", m)
	}
}
