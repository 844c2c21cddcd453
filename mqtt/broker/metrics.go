package broker

import (
	"sync/atomic"

	"github.com/gatepost/gatepost/internal/metrics"
)

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
	quota   *metrics.Counter

	verified  *metrics.Histogram
	committed *metrics.Histogram
}

func newMetrics(reg *metrics.Registry, b *Broker) brokerMetrics {
	reg.GaugeFunc("gatepost_broker_clients", "MQTT clients that are connected to the embedded broker.", func() float64 { return float64(b.connected()) })
	reg.GaugeFunc("gatepost_broker_sessions", "Sessions of the embedded broker, connected or not.", func() float64 { return float64(b.sessions.len()) })
	reg.GaugeFunc("gatepost_broker_retained_messages", "Retained messages of the embedded broker.", func() float64 { return float64(b.retained.len()) })
	reg.GaugeFunc("gatepost_broker_logins_waiting", "Logins that wait for their password to be checked.", func() float64 { return float64(b.verifier.waiting.Load()) })
	const messagesHelp = "PUBLISH packets of the embedded broker's clients (in), and to them (out)."
	reg.CounterFunc("gatepost_broker_messages_total", messagesHelp, counted(&b.stats.messagesIn), "direction", "in")
	reg.CounterFunc("gatepost_broker_messages_total", messagesHelp, counted(&b.stats.messagesOut), "direction", "out")
	const bytesHelp = "Bytes of the embedded broker's clients (in), and to them (out)."
	reg.CounterFunc("gatepost_broker_bytes_total", bytesHelp, counted(&b.stats.bytesIn), "direction", "in")
	reg.CounterFunc("gatepost_broker_bytes_total", bytesHelp, counted(&b.stats.bytesOut), "direction", "out")
	return brokerMetrics{
		refused: reg.Counter("gatepost_broker_refused_total", "Connections refused, by reason.", "reason"),
		panics:  reg.Counter("gatepost_broker_decoder_panics_total", "Connections ended because what they sent made the decoder panic."),
		slow:    reg.Counter("gatepost_broker_slow_clients_total", "Clients dropped because they did not read."),
		dropped: reg.Counter("gatepost_broker_dropped_total", "Messages to a client dropped because its queue was full."),
		failed:  reg.Counter("gatepost_broker_deliver_errors_total", "Messages that could not be taken; their clients were disconnected."),

		quota: reg.Counter("gatepost_broker_no_room_total", "Messages that were not taken, or not retained, for want of room."),

		committed: reg.Histogram("gatepost_broker_commit_seconds", "Time until something was durable in the broker's file, with the time in line.", metrics.Seconds),

		verified: reg.Histogram("gatepost_broker_login_seconds", "Checking one password, without the time in line.", metrics.Seconds),
	}
}

func counted(n *atomic.Int64) func() float64 {
	return func() float64 { return float64(n.Load()) }
}
