package station

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"gateline/gateway"
)

const (
	// nativeFactor is the growth of a native histogram's buckets.
	nativeFactor = 1.1
	// nativeBuckets bounds their number.
	nativeBuckets = 160
)

// metrics are the box's metrics. What a tap touches is resolved beforehand, so
// that counting it is an atomic addition. No label ever names a credential.
type metrics struct {
	registry     *prometheus.Registry
	decision     prometheus.Histogram
	tapToAnswer  prometheus.Histogram
	lookupErrors prometheus.Counter
	// By reason code; the verdict follows from it.
	answers, observed [256]prometheus.Counter
	// counts are the same for the hourly sums, which a Counter cannot be read
	// for.
	counts counts
}

func newMetrics(version, station string) *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	histogram := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: name, Help: help,
			NativeHistogramBucketFactor: nativeFactor, NativeHistogramMaxBucketNumber: nativeBuckets,
			NativeHistogramMinResetDuration: time.Hour,
		})
	}
	m.decision = histogram("gateline_decision_seconds", "Token, lookup and decision of a tap.")
	m.tapToAnswer = histogram("gateline_tap_answer_seconds", "From the read that completed a tap to its answer written to the port.")
	m.lookupErrors = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gateline_lookup_errors_total", Help: "Lookups that the store could not answer; the rider went to the manual lane."})
	answers := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gateline_answers_total", Help: "Taps answered, by verdict and reason."}, []string{"verdict", "reason"})
	observed := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gateline_observed_total", Help: "What would have been answered, in mode observe."}, []string{"verdict", "reason"})
	for _, r := range gateway.Reasons() {
		labels := prometheus.Labels{"verdict": r.Verdict().String(), "reason": r.String()}
		m.answers[r], m.observed[r] = answers.With(labels), observed.With(labels)
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "gateline_build_info", Help: "Always 1; the labels tell version and station.",
		ConstLabels: prometheus.Labels{"version": version, "station": station}})
	build.Set(1)
	m.registry.MustRegister(m.decision, m.tapToAnswer, m.lookupErrors, answers, observed, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// decided counts one decision.
func (m *metrics) decided(a gateway.Answer, took time.Duration) {
	m.decision.Observe(took.Seconds())
	m.answers[a.Reason].Inc()
	m.counts.answers[a.Reason].Add(1)
	if a.Observed {
		m.observed[a.WouldReason].Inc()
		m.counts.observed[a.WouldReason].Add(1)
	}
}
