package phone

import (
	"time"

	"github.com/gatepost/gatepost/internal/metrics"
	"github.com/gatepost/gatepost/voip"
)

// Metrics counts the calls of all phones. Made by NewMetrics; nil counts nothing.
type Metrics struct {
	calls *metrics.Counter
	setup *metrics.Histogram
}

// NewMetrics registers the metrics; a nil registry makes no-ops.
func NewMetrics(reg *metrics.Registry) *Metrics {
	return &Metrics{
		calls: reg.Counter("gatepost_calls_total", "Calls that are over, by who placed them and how they ended.", "direction", "outcome"),
		setup: reg.Histogram("gatepost_call_setup_seconds", "Time from the invitation to the answer.", metrics.Seconds),
	}
}

func (m *Metrics) answered(after time.Duration) {
	if m != nil {
		m.setup.Observe(after.Seconds())
	}
}

// The outcomes are a closed set: reasons that peers make up are "other".
func (m *Metrics) ended(s voip.Summary) {
	if m == nil {
		return
	}
	direction := "in"
	if s.Role == voip.Caller {
		direction = "out"
	}
	outcome := "other"
	switch {
	case s.Talked > 0:
		outcome = "answered"
	case s.Reason == voip.InviteTimeout:
		outcome = "missed"
	case s.Reason == voip.UserBusy:
		outcome = "busy"
	case s.Reason == voip.UserHangup || s.Reason == voip.Rejection || s.Reason == voip.Elsewhere || s.Reason == voip.Left:
		outcome = "refused"
	case s.Reason == voip.MediaFailed || s.Reason == voip.UnknownError:
		outcome = "failed"
	}
	m.calls.Inc(direction, outcome)
}
