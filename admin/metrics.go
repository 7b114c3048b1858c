package admin

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics are the counters and gauges of a server. All methods may be called concurrently, and on nil, which counts
// nothing.
type Metrics struct {
	registry  *prometheus.Registry
	requests  *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	refused   *prometheus.CounterVec
	busy      *prometheus.CounterVec
	logins    *prometheus.CounterVec
	bytes     *prometheus.CounterVec
	commits   *prometheus.HistogramVec
	held      prometheus.Histogram
	turned    prometheus.Counter
	overflows prometheus.Counter
}

// A Request is the result of a request.
type Request struct {
	Method         string        // one that the server knows, or "other"
	Status         int           // 0: the connection was cut
	Took           time.Duration // until the answer was written
	Received, Sent int64         // bytes of the bodies
	Condition      string        // of a 412: the name of the condition, which is a header field for most
	Busy           string        // of a 503: the pool that was full, such as "uploads"
	Login          string        // why credentials were not taken
}

// seconds are the bounds of histograms, from a small GET to a long upload.
var seconds = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60, 600}

// instants are the bounds of a histogram of work that takes some system calls.
var instants = []float64{.00001, .000025, .00005, .0001, .00025, .0005, .001, .0025, .005, .01, .1, 1}

// NewMetrics returns metrics of a program of this version, and of its process and its runtime.
func NewMetrics(version, runtime string) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: counter("ifmatch_requests_total", "Requests, by method and status; status 0: the connection was cut.",
			"method", "status"),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "ifmatch_request_duration_seconds",
			Help: "How long requests took, bodies included.", Buckets: seconds}, []string{"method"}),
		refused: counter("ifmatch_preconditions_failed_total", "Answers 412, by the condition that was false.", "condition"),
		busy: counter("ifmatch_busy_total", "Requests refused (503) because of too many, by what there were too many of.",
			"what"),
		logins: counter("ifmatch_logins_refused_total", "Credentials that were not taken, by the reason.", "reason"),
		bytes:  counter("ifmatch_body_bytes_total", "Bytes of bodies that were received and sent.", "direction"),
		commits: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "ifmatch_commit_duration_seconds",
			Help:    "How long changes took that were made; of put, from the end of the body.",
			Buckets: seconds}, []string{"operation"}),
		held: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "ifmatch_commit_lock_seconds",
			Help: "For how long the lock of commits was held, each time.", Buckets: instants}),
		turned: prometheus.NewCounter(prometheus.CounterOpts{Name: "ifmatch_connections_refused_total",
			Help: "Connections refused because of too many."}),
		overflows: prometheus.NewCounter(prometheus.CounterOpts{Name: "ifmatch_watch_overflows_total",
			Help: "How often changes by other programs came faster than they were read, so that the tree was searched."}),
	}
	m.registry.MustRegister(m.requests, m.duration, m.refused, m.busy, m.logins, m.bytes, m.commits, m.held, m.turned,
		m.overflows,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	build := map[string]string{"version": version, "goversion": runtime}
	m.Gauge("ifmatch_build_info", "The version of the program.", build, func() float64 { return 1 })
	return m
}

// Request counts a request.
func (m *Metrics) Request(r Request) {
	if m == nil {
		return
	}
	m.requests.WithLabelValues(r.Method, strconv.Itoa(r.Status)).Inc()
	m.duration.WithLabelValues(r.Method).Observe(r.Took.Seconds())
	m.bytes.WithLabelValues("received").Add(float64(r.Received))
	m.bytes.WithLabelValues("sent").Add(float64(r.Sent))
	count(m.refused, r.Condition)
	count(m.busy, r.Busy)
	count(m.logins, r.Login)
}

// count counts where there is something to count.
func count(vec *prometheus.CounterVec, label string) {
	if label != "" {
		vec.WithLabelValues(label).Inc()
	}
}

// Commit counts a change that was made, by the operation of the store.
func (m *Metrics) Commit(operation string, took time.Duration) {
	if m != nil {
		m.commits.WithLabelValues(operation).Observe(took.Seconds())
	}
}

// Held counts a time for which the lock of commits was held.
func (m *Metrics) Held(took time.Duration) {
	if m != nil {
		m.held.Observe(took.Seconds())
	}
}

// ConnectionRefused counts a connection that was refused.
func (m *Metrics) ConnectionRefused() {
	if m != nil {
		m.turned.Inc()
	}
}

// WatchOverflow counts an overflow of the watcher.
func (m *Metrics) WatchOverflow() {
	if m != nil {
		m.overflows.Inc()
	}
}

// Gauge adds a figure that is read each time it is asked for. Its name and labels must be new.
func (m *Metrics) Gauge(name, help string, labels map[string]string, read func() float64) {
	if m != nil {
		m.registry.MustRegister(prometheus.NewGaugeFunc(
			prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, read))
	}
}

// Counter adds a counter that is read each time it is asked for. It may begin anew at 0. Its name and labels must be
// new.
func (m *Metrics) Counter(name, help string, labels map[string]string, read func() float64) {
	if m != nil {
		m.registry.MustRegister(prometheus.NewCounterFunc(
			prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels}, read))
	}
}

// handler tells the metrics. A figure that cannot be read does not hide the others.
func (m *Metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 4, Timeout: 10 * time.Second,
	})
}
