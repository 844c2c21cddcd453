package mqtt

import "github.com/gatepost/gatepost/internal/metrics"

// Values of the label reason.
const (
	dropSize    = "size"    // payload above the limit
	dropTopic   = "topic"   // not a valid topic
	dropRefused = "refused" // QoS 0, and it could not be taken
)

// instruments counts what a Client does. Messages are counted by the gateway, the same for every kind of broker.
type instruments struct {
	dropped     *metrics.Counter
	connections *metrics.Counter
	connected   *metrics.Gauge
}

func newInstruments(reg *metrics.Registry, in *intake) instruments {
	reg.GaugeFunc("gatepost_mqtt_in_flight_bytes", "Messages of the outside broker that are not safe yet.",
		func() float64 { return float64(in.bytes()) })
	m := instruments{
		dropped:     reg.Counter("gatepost_mqtt_dropped_total", "MQTT messages of the outside broker that were not delivered.", "reason"),
		connections: reg.Counter("gatepost_mqtt_connections_total", "Connections made to the outside broker."),
		connected:   reg.Gauge("gatepost_mqtt_connected", "1 while connected and subscribed at the outside broker."),
	}
	m.connected.Set(0)
	return m
}
