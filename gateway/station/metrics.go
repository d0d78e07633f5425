package station

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"gateline/drivers"
	"gateline/gateway"
	"gateline/replication"
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
}

// verdictOf returns the verdict that a reason code stands behind.
func verdictOf(r gateway.Reason) gateway.Verdict {
	switch {
	case r < gateway.R10:
		return gateway.VerdictPass
	case r < gateway.R20:
		return gateway.VerdictRefuse
	}
	return gateway.VerdictManual
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
		labels := prometheus.Labels{"verdict": verdictOf(r).String(), "reason": r.String()}
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
	if a.Observed {
		m.observed[a.WouldReason].Inc()
	}
}

// stateCollector reports at scrape time what the parts of the box know of
// themselves.
type stateCollector struct {
	lines []*drivers.Line
	feed  func() replication.Stats
	// records is cache.Store's.
	records func() (int, bool)
	now     func() time.Time
	s       *shared
}

var (
	descRecords  = prometheus.NewDesc("gateline_records", "Records held; missing while the box is still reading its store.", nil, nil)
	descUsable   = prometheus.NewDesc("gateline_store_usable", "1 once the store has held everything the centre had.", nil, nil)
	descAge      = prometheus.NewDesc("gateline_watermark_age_seconds", "Age of the centre's last word; it decides what a box may still say.", nil, nil)
	descMark     = prometheus.NewDesc("gateline_watermark_timestamp_seconds", "Centre's time in the last entry applied, 0 = none yet.", nil, nil)
	descNumber   = prometheus.NewDesc("gateline_feed_number", "Number of the last feed entry applied.", nil, nil)
	descLink     = prometheus.NewDesc("gateline_link_up", "1 while the link to the centre is up.", nil, nil)
	descApplied  = prometheus.NewDesc("gateline_feed_entries_applied_total", "Feed entries applied.", nil, nil)
	descGaps     = prometheus.NewDesc("gateline_feed_gaps_total", "Live entries that showed that others were missing.", nil, nil)
	descRefused  = prometheus.NewDesc("gateline_feed_refused_total", "Feed entries that do not continue this box's history.", nil, nil)
	descApplyErr = prometheus.NewDesc("gateline_feed_apply_errors_total", "Attempts to apply an entry that failed and were repeated.", nil, nil)
	descPolicy   = prometheus.NewDesc("gateline_policy_version", "Version of the policy documents, 0 = none.", nil, nil)
	descMode     = prometheus.NewDesc("gateline_policy_mode", "1 for the mode in force at this station.", []string{"mode"}, nil)
	descClock    = prometheus.NewDesc("gateline_clock_trusted", "1 while the box's clock is trusted.", nil, nil)
	descSwitch   = prometheus.NewDesc("gateline_switch", "Local switch: 0 auto, 1 manual, 2 open; gate is empty for the station.", []string{"gate"}, nil)
	descLineUp   = prometheus.NewDesc("gateline_line_up", "1 while the line's port is open.", []string{"line"}, nil)
	descLineErr  = prometheus.NewDesc("gateline_line_errors_total", "What went wrong on a line, by kind.", []string{"line", "kind"}, nil)
	descBytes    = prometheus.NewDesc("gateline_line_bytes_total", "Bytes on a line.", []string{"line", "direction"}, nil)
	descRepeats  = prometheus.NewDesc("gateline_line_repeats_total", "Taps asked again and answered with the identical answer.", []string{"line"}, nil)
	descHeard    = prometheus.NewDesc("gateline_gate_heard_timestamp_seconds", "When a gate last sent a good frame, 0 = never.", []string{"line", "gate"}, nil)
)

// Describe implements prometheus.Collector.
func (c *stateCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descRecords, descUsable, descAge, descMark, descNumber, descLink, descApplied, descGaps, descRefused, descApplyErr,
		descPolicy, descMode, descClock, descSwitch, descLineUp, descLineErr, descBytes, descRepeats, descHeard} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *stateCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	now, position := c.now(), c.s.position()
	if n, ok := c.records(); ok {
		gauge(descRecords, float64(n))
	}
	gauge(descUsable, truth(c.s.usable()))
	gauge(descMark, float64(position.Watermark)/1e6)
	if position.Watermark != 0 {
		gauge(descAge, age(now, position).Seconds())
	}
	gauge(descNumber, float64(position.Number))
	gauge(descClock, truth(c.s.clock.state.Load().Trusted))
	feed := c.feed()
	gauge(descLink, truth(feed.Connected))
	counter(descApplied, feed.Applied)
	counter(descGaps, feed.Gaps)
	counter(descRefused, feed.Refused)
	counter(descApplyErr, feed.ApplyErrors)
	schedule := c.s.schedule.Load()
	if schedule == nil {
		gauge(descPolicy, 0)
	} else {
		gauge(descPolicy, float64(schedule.Version))
	}
	if p := schedule.At(now); p != nil {
		gauge(descMode, 1, p.Mode.String())
	}
	switches := c.s.switches.State()
	gauge(descSwitch, float64(switches.Station), "")
	for _, name := range c.s.switches.names() {
		gauge(descSwitch, float64(switches.Gates[name]), name)
	}
	for _, l := range c.lines {
		counters := l.Counters()
		gauge(descLineUp, truth(l.Up()), l.Name())
		counters.Errors(func(kind string, n uint64) { counter(descLineErr, n, l.Name(), kind) })
		counter(descBytes, counters.BytesIn.Load(), l.Name(), "in")
		counter(descBytes, counters.BytesOut.Load(), l.Name(), "out")
		counter(descRepeats, counters.Repeats.Load(), l.Name())
		for _, g := range l.Gates().All() {
			var at float64
			if heard := g.Heard(); !heard.IsZero() {
				at = float64(heard.UnixMilli()) / 1e3
			}
			gauge(descHeard, at, l.Name(), g.Name)
		}
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
