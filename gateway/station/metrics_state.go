package station

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gateline/drivers"
	"gateline/replication"
)

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
	descState    = prometheus.NewDesc("gateline_gate_state", "1 for the state that a gate is in, 0 for the others.", []string{"line", "gate", "state"}, nil)
	descTrouble  = prometheus.NewDesc("gateline_gate_trouble", "1 while a gate has the trouble.", []string{"line", "gate", "trouble"}, nil)
	descRound    = prometheus.NewDesc("gateline_gate_round_trip_seconds", "Running mean from the first byte of a question to the last of its answer; missing where the box has not asked.", []string{"line", "gate"}, nil)
	descTaps     = prometheus.NewDesc("gateline_gate_taps_total", "Taps of a gate answered afresh.", []string{"line", "gate"}, nil)
	descAsked    = prometheus.NewDesc("gateline_gate_asked_total", "Times a gate was asked, where the box asks.", []string{"line", "gate"}, nil)
	descMissed   = prometheus.NewDesc("gateline_gate_missed_total", "Times a gate did not answer in time.", []string{"line", "gate"}, nil)
	descDamaged  = prometheus.NewDesc("gateline_gate_damaged_total", "Answers of a gate that were damaged.", []string{"line", "gate"}, nil)
	descRefusals = prometheus.NewDesc("gateline_gate_refusals_total", "Commands that a gate refused.", []string{"line", "gate"}, nil)
	descStale    = prometheus.NewDesc("gateline_gate_stale_reads_total", "Reads from before a gate was heard again, on which nobody acts.", []string{"line", "gate"}, nil)
)

// gateStates are all of them.
func gateStates() [4]drivers.GateState {
	return [...]drivers.GateState{drivers.GateSilent, drivers.GateStarting, drivers.GateServing, drivers.GateRefused}
}

// Describe implements prometheus.Collector.
func (c *stateCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descRecords, descUsable, descAge, descMark, descNumber, descLink, descApplied, descGaps, descRefused, descApplyErr,
		descPolicy, descMode, descClock, descSwitch, descLineUp, descLineErr, descBytes, descRepeats, descHeard,
		descState, descTrouble, descRound, descTaps, descAsked, descMissed, descDamaged, descRefusals, descStale} {
		ch <- d
	}
	describeShards(ch)
}

// Collect implements prometheus.Collector.
func (c *stateCollector) Collect(ch chan<- prometheus.Metric) {
	to, now := sink(ch), c.now()
	c.collectStore(to, now)
	for _, l := range c.lines {
		collectLine(to, now, l)
	}
}

// sink takes metrics of one scrape.
type sink chan<- prometheus.Metric

func (s sink) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (s sink) counter(d *prometheus.Desc, v uint64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

// collectStore reports store, feed, policy, clock and switches.
func (c *stateCollector) collectStore(to sink, now time.Time) {
	position := c.s.position()
	if n, ok := c.records(); ok {
		to.gauge(descRecords, float64(n))
	}
	to.gauge(descUsable, truth(c.s.usable()))
	to.gauge(descMark, float64(position.Watermark)/1e6)
	if position.Watermark != 0 {
		to.gauge(descAge, age(now, position).Seconds())
	}
	to.gauge(descNumber, float64(position.Number))
	to.gauge(descClock, truth(c.s.clock.state.Load().Trusted))
	feed := c.feed()
	to.gauge(descLink, truth(feed.Connected))
	to.counter(descApplied, feed.Applied)
	to.counter(descGaps, feed.Gaps)
	to.counter(descRefused, feed.Refused)
	to.counter(descApplyErr, feed.ApplyErrors)
	collectShards(to, feed)
	schedule := c.s.schedule.Load()
	if schedule == nil {
		to.gauge(descPolicy, 0)
	} else {
		to.gauge(descPolicy, float64(schedule.Version))
	}
	if p := schedule.At(now); p != nil {
		to.gauge(descMode, 1, p.Mode.String())
	}
	switches := c.s.switches.State()
	to.gauge(descSwitch, float64(switches.Station), "")
	for _, name := range c.s.switches.names() {
		to.gauge(descSwitch, float64(switches.Gates[name]), name)
	}
}

func collectLine(to sink, now time.Time, l *drivers.Line) {
	counters := l.Counters()
	to.gauge(descLineUp, truth(l.Up()), l.Name())
	counters.Errors(func(kind string, n uint64) { to.counter(descLineErr, n, l.Name(), kind) })
	to.counter(descBytes, counters.BytesIn.Load(), l.Name(), "in")
	to.counter(descBytes, counters.BytesOut.Load(), l.Name(), "out")
	to.counter(descRepeats, counters.Repeats.Load(), l.Name())
	for _, g := range l.Gates().All() {
		collectGate(to, now, l.Name(), g)
	}
}

func collectGate(to sink, now time.Time, line string, g *drivers.Gate) {
	var at float64
	if heard := g.Heard(); !heard.IsZero() {
		at = float64(heard.UnixMilli()) / 1e3
	}
	to.gauge(descHeard, at, line, g.Name)
	is := g.State(now)
	for _, state := range gateStates() {
		to.gauge(descState, truth(state == is), line, g.Name, state.String())
	}
	troubles := g.Trouble().Names()
	for _, trouble := range drivers.TroubleNames() {
		to.gauge(descTrouble, truth(slices.Contains(troubles, trouble)), line, g.Name, trouble)
	}
	if took := g.RoundTrip(); took > 0 {
		to.gauge(descRound, took.Seconds(), line, g.Name)
	}
	to.counter(descTaps, g.Counters.Taps.Load(), line, g.Name)
	to.counter(descAsked, g.Counters.Asked.Load(), line, g.Name)
	to.counter(descMissed, g.Counters.Missed.Load(), line, g.Name)
	to.counter(descDamaged, g.Counters.Damaged.Load(), line, g.Name)
	to.counter(descRefusals, g.Counters.Refusals.Load(), line, g.Name)
	to.counter(descStale, g.Counters.Stale.Load(), line, g.Name)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
