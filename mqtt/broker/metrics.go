package broker

import "github.com/gatepost/gatepost/internal/metrics"

// Why a connection was refused: the label of refused.
const (
	refusedConnections = "connections"
	refusedAddress     = "address"
	refusedSessions    = "sessions"
	refusedLogin       = "login"
	refusedLoginRate   = "login_rate"
	refusedLoginBusy   = "login_busy"
	refusedWill        = "will"
	refusedProtocol    = "protocol"
)

type brokerMetrics struct {
	refused *metrics.Counter
	panics  *metrics.Counter
	slow    *metrics.Counter
	dropped *metrics.Counter
	failed  *metrics.Counter

	verified *metrics.Histogram
}

func newMetrics(reg *metrics.Registry, clients, sessions func() float64) brokerMetrics {
	reg.GaugeFunc("gatepost_broker_clients", "MQTT clients that are connected to the embedded broker.", clients)
	reg.GaugeFunc("gatepost_broker_sessions", "Sessions of the embedded broker, connected or not.", sessions)
	return brokerMetrics{
		refused: reg.Counter("gatepost_broker_refused_total", "Connections refused, by reason.", "reason"),
		panics:  reg.Counter("gatepost_broker_decoder_panics_total", "Connections ended because what they sent made the decoder panic."),
		slow:    reg.Counter("gatepost_broker_slow_clients_total", "Clients dropped because they did not read."),
		dropped: reg.Counter("gatepost_broker_dropped_total", "Messages to a client dropped because its queue was full."),
		failed:  reg.Counter("gatepost_broker_deliver_errors_total", "Messages that could not be taken; their clients were disconnected."),

		verified: reg.Histogram("gatepost_broker_login_seconds", "Checking one password, without the time in line.", metrics.Seconds),
	}
}
