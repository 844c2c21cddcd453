package gateway

import "github.com/gatepost/gatepost/internal/metrics"

type gauges struct {
	messages  *metrics.Counter
	unmatched *metrics.Counter
	repeated  *metrics.Counter
	refused   *metrics.Counter
	batch     *metrics.Histogram
	commands  *metrics.Counter
	reaction  *metrics.Histogram
	lookups   *metrics.Counter
}

func newMetrics(r *metrics.Registry) gauges {
	return gauges{
		messages:  r.Counter("gatepost_mqtt_messages_total", "Messages from (in) and to (out) devices.", "direction"),
		unmatched: r.Counter("gatepost_mqtt_unmatched_total", "Messages that no rule wanted."),
		repeated:  r.Counter("gatepost_mqtt_repeated_total", "Messages not taken again: same packet, same id, or our own echo.", "by"),
		refused:   r.Counter("gatepost_mqtt_refused_total", "Messages that a rule matched but that could be nobody's."),
		batch:     r.Histogram("gatepost_intake_batch_seconds", "From taking a batch of messages to its acknowledgement.", metrics.Seconds),
		commands:  r.Counter("gatepost_commands_total", "Commands that came to a state.", "state"),
		reaction:  r.Histogram("gatepost_command_publish_seconds", "From reading an event with a command to its PUBLISH being written.", metrics.Seconds),
		lookups:   r.Counter("gatepost_matrix_lookups_total", "Unanswered sends looked for in their room.", "result"),
	}
}
