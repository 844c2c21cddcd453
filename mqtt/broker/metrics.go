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

	verified *metrics.Histogram
}

func newMetrics(reg *metrics.Registry, b *Broker) brokerMetrics {
	info := b.server.Info
	reg.GaugeFunc("gatepost_broker_clients", "MQTT clients that are connected to the embedded broker.", func() float64 { return float64(b.connected()) })
	reg.GaugeFunc("gatepost_broker_sessions", "Sessions of the embedded broker, connected or not.", func() float64 { return float64(b.server.Clients.Len()) })
	reg.GaugeFunc("gatepost_broker_logins_waiting", "Logins that wait for their password to be checked.", func() float64 { return float64(b.verifier.waiting.Load()) })
	reg.GaugeFunc("gatepost_broker_retained_messages", "Retained messages of the embedded broker.", func() float64 { return float64(b.retainedCount()) })
	const messagesHelp = "PUBLISH packets of the embedded broker's clients (in), and to them (out)."
	reg.CounterFunc("gatepost_broker_messages_total", messagesHelp, counted(&info.MessagesReceived), "direction", "in")
	reg.CounterFunc("gatepost_broker_messages_total", messagesHelp, counted(&info.MessagesSent), "direction", "out")
	const bytesHelp = "Bytes of the embedded broker's clients (in), and to them (out)."
	reg.CounterFunc("gatepost_broker_bytes_total", bytesHelp, counted(&info.BytesReceived), "direction", "in")
	reg.CounterFunc("gatepost_broker_bytes_total", bytesHelp, counted(&info.BytesSent), "direction", "out")
	return brokerMetrics{
		refused: reg.Counter("gatepost_broker_refused_total", "Connections refused, by reason.", "reason"),
		panics:  reg.Counter("gatepost_broker_decoder_panics_total", "Connections ended because what they sent made the decoder panic."),
		slow:    reg.Counter("gatepost_broker_slow_clients_total", "Clients dropped because they did not read."),
		dropped: reg.Counter("gatepost_broker_dropped_total", "Messages to a client dropped because its queue was full."),
		failed:  reg.Counter("gatepost_broker_deliver_errors_total", "Messages that could not be taken; their clients were disconnected."),

		verified: reg.Histogram("gatepost_broker_login_seconds", "Checking one password, without the time in line.", metrics.Seconds),
	}
}

// counted reads one of the library's counters.
func counted(n *int64) func() float64 {
	return func() float64 { return float64(atomic.LoadInt64(n)) }
}
