package telemetry

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// outcomes are all values of the label outcome. Another one is counted as OTHER.
var outcomes = []string{
	"EXITED", "SIGNALED", "TIMED_OUT", "OUT_OF_MEMORY", "OUTPUT_LIMIT", "DISK_LIMIT", "CANCELLED", "START_FAILED",
	"UNKNOWN", "DENIED", "APPROVAL_REQUIRED", "ERROR", "OTHER",
}

// Metrics are the daemon's figures in the Prometheus format. All children are
// made beforehand: measuring looks nothing up and the number of series is known.
type Metrics struct {
	registry *prometheus.Registry

	stage       [stages][classes]prometheus.Observer
	total       [classes]prometheus.Observer
	calls       map[string]prometheus.Counter // by outcome; never written to again
	replayed    prometheus.Counter
	evaluations prometheus.Observer
	evaluation  [stages]prometheus.Observer // nil of a stage that a decision does not have
	commits     prometheus.Observer
	batches     prometheus.Observer
}

// seconds are the buckets of durations, 50 us to 5 minutes.
var seconds = []float64{
	50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1, 2.5, 5, 10, 30, 60, 300,
}

// NewMetrics returns metrics of which nothing was measured yet.
func NewMetrics() *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), calls: make(map[string]prometheus.Counter, len(outcomes))}
	stageSeconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "sandgate_call_stage_seconds", Buckets: seconds,
		Help: "Time that calls spent in each stage. The stages but receive and reply add up to sandgate_call_seconds.",
	}, []string{"stage", "class"})
	callSeconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "sandgate_call_seconds", Buckets: seconds, Help: "Time of calls from the front to their result.",
	}, []string{"class"})
	calls := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sandgate_calls_total", Help: "Calls by outcome; ERROR did not run.",
	}, []string{"outcome"})
	replayed := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "sandgate_calls_replayed_total", Help: "Calls that got the result of an earlier one with their id.",
	})
	evaluations := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "sandgate_evaluate_seconds", Buckets: seconds, Help: "Time of calls that were only decided.",
	})
	evaluateStage := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "sandgate_evaluate_stage_seconds", Buckets: seconds,
		Help: "Time that calls that were only decided spent in each stage. The stages but receive and reply add up to sandgate_evaluate_seconds.",
	}, []string{"stage"})
	commits := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "sandgate_journal_commit_seconds", Buckets: seconds, Help: "Time of writing a batch of records to the disk.",
	})
	batches := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "sandgate_journal_commit_records", Buckets: prometheus.ExponentialBuckets(1, 2, 9), Help: "Records in a batch.",
	})
	m.replayed, m.evaluations, m.commits, m.batches = replayed, evaluations, commits, batches
	for class := range classes {
		m.total[class] = callSeconds.WithLabelValues(class.String())
		for stage := range stages {
			m.stage[stage][class] = stageSeconds.WithLabelValues(stage.String(), class.String())
		}
	}
	for _, stage := range []Stage{Receive, Validate, Queue, Facts, Decide, Finish, Reply} {
		m.evaluation[stage] = evaluateStage.WithLabelValues(stage.String())
	}
	for _, outcome := range outcomes {
		m.calls[outcome] = calls.WithLabelValues(outcome)
	}
	m.registry.MustRegister(
		stageSeconds, callSeconds, calls, replayed, evaluations, evaluateStage, commits, batches,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// ended takes one call. A stage that a call did not have is not observed.
func (m *Metrics) ended(t *Trace, c Call) {
	if c.Class >= classes {
		return
	}
	var took [stages]time.Duration
	var had [stages]bool
	for _, seg := range t.segments[:t.n] {
		took[seg.stage] += seg.took
		had[seg.stage] = true
	}
	for stage := range stages {
		if had[stage] {
			m.stage[stage][c.Class].Observe(took[stage].Seconds())
		}
	}
	m.total[c.Class].Observe(t.Total().Seconds())
	outcome := c.Outcome
	if c.Class == Error {
		outcome = "ERROR"
	}
	counter, ok := m.calls[outcome]
	if !ok {
		counter = m.calls["OTHER"]
	}
	counter.Inc()
}

// evaluated takes one call that was only decided; its stages come once.
func (m *Metrics) evaluated(t *Trace) {
	for _, seg := range t.segments[:t.n] {
		if o := m.evaluation[seg.stage]; o != nil {
			o.Observe(seg.took.Seconds())
		}
	}
	m.evaluations.Observe(t.Total().Seconds())
}

// Handler serves the metrics at any path.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
}

// Watch makes the metrics tell of the sources as well, which are asked at each
// scrape. It is called once.
func (m *Metrics) Watch(s Sources) { m.registry.MustRegister(&watcher{s}) }
