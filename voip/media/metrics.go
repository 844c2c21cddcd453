package media

import "github.com/gatepost/gatepost/internal/metrics"

// Metrics counts what all calls carried. Made by NewMetrics; nil counts nothing.
type Metrics struct {
	bytes, packets, lost, paths *metrics.Counter
	rtt, jitter                 *metrics.Histogram
}

// NewMetrics registers the metrics; a nil registry makes no-ops.
func NewMetrics(reg *metrics.Registry) *Metrics {
	return &Metrics{
		bytes:   reg.Counter("gatepost_call_media_bytes_total", "Media of calls that are over, in bytes of payload, by direction.", "direction"),
		packets: reg.Counter("gatepost_call_media_packets_total", "RTP packets of calls that are over, by direction.", "direction"),
		lost:    reg.Counter("gatepost_call_media_lost_total", "RTP packets of calls that are over which the receiver did not get, by direction.", "direction"),
		paths:   reg.Counter("gatepost_call_paths_total", "Calls that are over, by the way their media went last.", "local", "remote", "protocol"),
		rtt:     reg.Histogram("gatepost_call_rtt_seconds", "Last round trip of the media's way, of calls that are over.", metrics.Seconds),
		jitter:  reg.Histogram("gatepost_call_jitter_seconds", "Last jitter at the receiver, of the streams of calls that are over, by direction.", metrics.Seconds, "direction"),
	}
}

// ended counts a call that is over.
func (m *Metrics) ended(s Stats) {
	if m == nil || s.Path == (Path{}) {
		return
	}
	m.paths.Inc(s.Path.Local, s.Path.Remote, s.Path.Protocol)
	if s.RTT > 0 {
		m.rtt.Observe(s.RTT.Seconds())
	}
	for direction, list := range map[string][]StreamStats{"out": s.Out, "in": s.In} {
		for _, t := range list {
			m.bytes.Add(float64(t.Bytes), direction)
			m.packets.Add(float64(t.Packets), direction)
			m.lost.Add(float64(t.Lost), direction)
			if t.Packets > 0 {
				m.jitter.Observe(t.Jitter.Seconds(), direction)
			}
		}
	}
}
