// Package metrics is the one place that knows the Prometheus client. Every part makes its own metrics from a *Registry and
// owns them; with a nil *Registry, and on nil metrics, every call does nothing, so tests and small tools pass nil.
//
// Names begin with gatepost_, counters end in _total, times in _seconds, sizes in _bytes. Labels come from closed sets:
// never a room, a topic, a user or an address.
package metrics

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Registry holds the metrics of one process. Safe for concurrent use.
type Registry struct{ reg *prometheus.Registry }

// New makes a Registry that also tells about the Go runtime and the process.
func New() *Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return &Registry{reg}
}

// Handler serves the metrics in the Prometheus text format; without a Registry it answers 404.
func (r *Registry) Handler() http.Handler {
	if r == nil {
		return http.NotFoundHandler()
	}
	return promhttp.HandlerFor(r.reg, promhttp.HandlerOpts{})
}

// Counter only goes up. Safe for concurrent use.
type Counter struct{ vec *prometheus.CounterVec }

// Counter makes a counter. A name that exists already panics: it is a mistake in the program.
func (r *Registry) Counter(name, help string, labels ...string) *Counter {
	if r == nil {
		return nil
	}
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	r.reg.MustRegister(v)
	if len(labels) == 0 {
		v.WithLabelValues() // shows as 0 from the start
	}
	return &Counter{v}
}

// Inc adds one; there must be a value for each label.
func (c *Counter) Inc(values ...string) { c.Add(1, values...) }

// Add adds n, which must not be negative.
func (c *Counter) Add(n float64, values ...string) {
	if c != nil {
		c.vec.WithLabelValues(values...).Add(n)
	}
}

// CounterFunc makes a counter that f answers whenever it is read: a number that never goes down. f is called from many
// goroutines. labels are names and values in turn; one name of metric may be made with each of its labels' values.
func (r *Registry) CounterFunc(name, help string, f func() float64, labels ...string) {
	if r == nil {
		return
	}
	fixed := prometheus.Labels{}
	for i := 0; i+1 < len(labels); i += 2 {
		fixed[labels[i]] = labels[i+1]
	}
	r.reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: fixed}, f))
}

// Gauge goes up and down. Safe for concurrent use.
type Gauge struct{ vec *prometheus.GaugeVec }

// Gauge makes a gauge.
func (r *Registry) Gauge(name, help string, labels ...string) *Gauge {
	if r == nil {
		return nil
	}
	v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	r.reg.MustRegister(v)
	return &Gauge{v}
}

// Set puts v in place of the value.
func (g *Gauge) Set(v float64, values ...string) {
	if g != nil {
		g.vec.WithLabelValues(values...).Set(v)
	}
}

// GaugeFunc makes a gauge that f answers whenever it is read. f is called from many goroutines.
func (r *Registry) GaugeFunc(name, help string, f func() float64) {
	if r != nil {
		r.reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f))
	}
}

// Histogram counts values into buckets. Safe for concurrent use.
type Histogram struct{ vec *prometheus.HistogramVec }

// Seconds are buckets from a tenth of a millisecond to 30 s.
var Seconds = []float64{.0001, .0003, .001, .003, .01, .03, .1, .3, 1, 3, 10, 30}

// Histogram makes a histogram with the given upper bounds.
func (r *Registry) Histogram(name, help string, buckets []float64, labels ...string) *Histogram {
	if r == nil {
		return nil
	}
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	r.reg.MustRegister(v)
	return &Histogram{v}
}

// Observe counts v.
func (h *Histogram) Observe(v float64, values ...string) {
	if h != nil {
		h.vec.WithLabelValues(values...).Observe(v)
	}
}
