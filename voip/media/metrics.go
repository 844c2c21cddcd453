package media

import (
	"sync"

	"github.com/gatepost/gatepost/internal/metrics"
)

// Metrics counts what all calls carry. Made by NewMetrics; nil counts nothing. Safe for concurrent use.
type Metrics struct {
	lost, paths                  *metrics.Counter
	rtt, jitter, loss, bandwidth *metrics.Histogram

	mu   sync.Mutex
	over map[string]StreamStats // by direction: of calls that are over
	live map[*Leg]bool
}

// The directions of media: the label of most metrics.
const (
	directionOut = "out" // to the person
	directionIn  = "in"
)

// NewMetrics registers the metrics; a nil registry makes no-ops.
func NewMetrics(reg *metrics.Registry) *Metrics {
	m := &Metrics{
		lost:   reg.Counter("gatepost_call_media_lost_total", "RTP packets of calls that are over which the receiver did not get, by direction.", "direction"),
		paths:  reg.Counter("gatepost_call_paths_total", "Calls that are over, by the way their media went last.", "local", "remote", "protocol"),
		rtt:    reg.Histogram("gatepost_call_rtt_seconds", "Last round trip of the media's way, of calls that are over.", metrics.Seconds),
		jitter: reg.Histogram("gatepost_call_jitter_seconds", "Last jitter at the receiver, of the streams of calls that are over, by direction.", metrics.Seconds, "direction"),
		loss: reg.Histogram("gatepost_call_loss_ratio", "The part of a call's packets that the receiver did not get, of calls that are over, by direction.",
			[]float64{0, .0001, .001, .003, .01, .03, .1, .3}, "direction"),
		bandwidth: reg.Histogram("gatepost_call_bandwidth_bytes_per_second", "Payload of a call by the time that media could flow, of calls that are over, by direction.",
			[]float64{100, 1000, 3000, 10e3, 30e3, 100e3, 300e3, 1e6, 3e6}, "direction"),
		over: map[string]StreamStats{}, live: map[*Leg]bool{},
	}
	for _, direction := range []string{directionOut, directionIn} {
		reg.CounterFunc("gatepost_call_media_bytes_total", "Media of calls, in bytes of payload, by direction.",
			func() float64 { return float64(m.sum(direction).Bytes) }, "direction", direction)
		reg.CounterFunc("gatepost_call_media_packets_total", "RTP packets of calls, by direction.",
			func() float64 { return float64(m.sum(direction).Packets) }, "direction", direction)
	}
	return m
}

// sum is what all calls carried in a direction so far.
func (m *Metrics) sum(direction string) StreamStats {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := []StreamStats{m.over[direction]}
	for l := range m.live {
		list = append(list, l.Stats().of(direction)...)
	}
	return total(list)
}

func (s Stats) of(direction string) []StreamStats {
	if direction == directionOut {
		return s.Out
	}
	return s.In
}

// begun counts a call from now on.
func (m *Metrics) begun(l *Leg) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.live[l] = true
}

// ended counts a call that is over, of which nothing changes any more.
func (m *Metrics) ended(l *Leg) {
	if m == nil {
		return
	}
	s := l.Stats()
	m.mu.Lock()
	delete(m.live, l)
	for _, direction := range []string{directionOut, directionIn} {
		m.over[direction] = total(append(s.of(direction), m.over[direction]))
	}
	m.mu.Unlock()
	if s.Path == (Path{}) {
		return
	}
	m.paths.Inc(s.Path.Local, s.Path.Remote, s.Path.Protocol)
	if s.RTT > 0 {
		m.rtt.Observe(s.RTT.Seconds())
	}
	for _, direction := range []string{directionOut, directionIn} {
		for _, t := range s.of(direction) {
			if t.Packets > 0 {
				m.jitter.Observe(t.Jitter.Seconds(), direction)
			}
		}
		all := total(s.of(direction))
		m.lost.Add(float64(all.Lost), direction)
		if all.Expected > 0 {
			m.loss.Observe(float64(all.Lost)/float64(all.Expected), direction)
		}
		if s.Flowed > 0 {
			m.bandwidth.Observe(float64(all.Bytes)/s.Flowed.Seconds(), direction)
		}
	}
}
