package simulator

import (
	"math"
	"slices"
	"sync"
	"time"

	"gateline/gateway"
)

// Report is what a scenario found. Its JSON keys are a public contract
// (docs/simulator.md).
type Report struct {
	Scenario string `json:"scenario"`
	Seed     uint64 `json:"seed"`
	// Taps were made, Answered of them got a verdict; Wrong of those were not
	// what the model allows, Lost got none in time. Abandoned are those whose
	// reader lost its power meanwhile.
	Taps      int            `json:"taps"`
	Answered  int            `json:"answered"`
	Wrong     int            `json:"wrong"`
	Lost      int            `json:"lost"`
	Abandoned int            `json:"abandoned"`
	Verdicts  map[string]int `json:"verdicts"` // pass, refuse, manual
	Reasons   map[string]int `json:"reasons"`  // R00 … R26, all of them
	// LatencyUS is from the last byte of the question sent to the last byte of
	// the answer received, as the gate sees it; of a reader, from the card held
	// to it to the last byte of the command that brings the first sign.
	LatencyUS Latency `json:"latency_us"`
	// DecisionUS is from the read that completed a question to its answer
	// handed to the port, inside the box: token, lookup, decision and both
	// frames, without what the kernel does with the answer afterwards.
	DecisionUS struct {
		P50  float64 `json:"p50"`
		P99  float64 `json:"p99"`
		P999 float64 `json:"p999"`
		Max  float64 `json:"max"`
	} `json:"decision_us"`
	// WireUS is the floor under LatencyUS: what the bytes of the median answer
	// cost on the wire.
	WireUS float64 `json:"wire_us"`
	// PropagationMS is from the centre's commit to the box answering by it,
	// while the link is up.
	PropagationMS struct {
		P50 float64 `json:"p50"`
		P99 float64 `json:"p99"`
	} `json:"propagation_ms"`
	// CaughtUp is what the box fetched once the link was back, and how long it
	// took; zeros where it was not cut.
	CaughtUp CaughtUp `json:"caught_up"`
	// Line is what happened on the lines of readers, zeros where there are none.
	Line LineCounts `json:"line"`
	// Returns is how many times a reader was switched on again; FoundMS is from
	// that to its first answer, BackMS from its first answer until it serves.
	Returns int     `json:"returns"`
	FoundMS Typical `json:"found_ms"`
	BackMS  Typical `json:"back_ms"`
	// Equal says that the box's records equal the centre's at the end; in scenario
	// city those of every box.
	Equal bool `json:"equal"`
	// Unmet is what the scenario had to show and did not.
	Unmet []string `json:"unmet,omitempty"`
	// Of the scenarios of those names, nil in others.
	Bootstrap *Bootstrap `json:"bootstrap,omitempty"`
	Repair    *Repair    `json:"repair,omitempty"`
	Partition []Outcome  `json:"partition,omitempty"`
	City      *City      `json:"city,omitempty"`
	Notice    *Notice    `json:"notice,omitempty"`
}

// Latency is how long riders waited, microseconds.
type Latency struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// Typical is the median and the longest of several times, milliseconds.
type Typical struct {
	P50 float64 `json:"p50"`
	Max float64 `json:"max"`
}

// CaughtUp is what a box did after a cut.
type CaughtUp struct {
	Entries uint64  `json:"entries"`
	Records uint64  `json:"records"`
	Seconds float64 `json:"seconds"`
}

// OK reports whether the run found nothing wrong.
func (r *Report) OK() bool { return r.Wrong == 0 && r.Lost == 0 && r.Equal && len(r.Unmet) == 0 }

// need notes what a scenario did not show.
func (r *Report) need(shown bool, otherwise string) {
	if !shown {
		r.Unmet = append(r.Unmet, otherwise)
	}
}

func newReport(scenario string, seed uint64) *Report {
	r := &Report{Scenario: scenario, Seed: seed, Verdicts: map[string]int{}, Reasons: map[string]int{}}
	for _, v := range []gateway.Verdict{gateway.VerdictPass, gateway.VerdictRefuse, gateway.VerdictManual} {
		r.Verdicts[v.String()] = 0
	}
	for _, reason := range gateway.Reasons() {
		r.Reasons[reason.String()] = 0
	}
	return r
}

// addTaps judges the taps and counts them and their times.
func (r *Report) addTaps(m *model, taps []tapRecord, baud int) {
	r.judge(m, taps)
	r.LatencyUS = latencyOf(taps)
	var sizes []int
	for _, t := range taps {
		if t.answered {
			sizes = append(sizes, t.lineBytes)
		}
	}
	slices.Sort(sizes)
	if len(sizes) > 0 {
		r.WireUS = micro(time.Duration(sizes[len(sizes)/2]) * byteTime(baud))
	}
}

// judge judges the taps and counts them.
func (r *Report) judge(m *model, taps []tapRecord) {
	for _, t := range taps {
		r.Taps++
		if t.abandoned {
			r.Abandoned++
			continue
		}
		if !t.answered {
			r.Lost++
			continue
		}
		r.Answered++
		if !m.right(t) {
			r.Wrong++
		}
		r.Verdicts[t.got.verdict.String()]++
		shown, _ := m.explain(t)
		r.Reasons[shown.reason.String()]++
	}
}

// latencyOf returns how long the answers took.
func latencyOf(taps []tapRecord) Latency {
	var all []time.Duration
	for _, t := range taps {
		if t.answered {
			all = append(all, t.received.Sub(t.sent))
		}
	}
	slices.Sort(all)
	return Latency{P50: micro(quantile(all, 0.5)), P90: micro(quantile(all, 0.9)), P99: micro(quantile(all, 0.99)), Max: micro(quantile(all, 1))}
}

// addLines adds what happened on the lines of readers.
func (r *Report) addLines(lines []*readers) {
	var found, back []time.Duration
	for _, l := range lines {
		counts, returned := l.counted()
		r.Line.add(counts)
		found, back = append(found, returned.found...), append(back, returned.back...)
	}
	r.Returns = len(back)
	r.FoundMS, r.BackMS = typicalOf(found), typicalOf(back)
}

func typicalOf(all []time.Duration) Typical {
	slices.Sort(all)
	return Typical{P50: micro(quantile(all, 0.5)) / 1e3, Max: micro(quantile(all, 1)) / 1e3}
}

func (r *Report) addDecisions(all []time.Duration) {
	slices.Sort(all)
	r.DecisionUS.P50, r.DecisionUS.P99 = micro(quantile(all, 0.5)), micro(quantile(all, 0.99))
	r.DecisionUS.P999, r.DecisionUS.Max = micro(quantile(all, 0.999)), micro(quantile(all, 1))
}

func (r *Report) addPropagation(all []time.Duration) {
	slices.Sort(all)
	r.PropagationMS.P50, r.PropagationMS.P99 = micro(quantile(all, 0.5))/1e3, micro(quantile(all, 0.99))/1e3
}

// quantile returns the nearest-rank quantile of sorted values, 0 of none.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}

// micro is d in microseconds, to a tenth.
func micro(d time.Duration) float64 { return math.Round(float64(d)/100) / 10 }

// samples collects durations from several goroutines up to a fixed number;
// those above are left out.
type samples struct {
	mu  sync.Mutex // guards all
	all []time.Duration
}

func newSamples(most int) *samples { return &samples{all: make([]time.Duration, 0, most)} }

func (s *samples) add(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) < cap(s.all) {
		s.all = append(s.all, d)
	}
}

// taken returns what was collected so far; it is the caller's.
func (s *samples) taken() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all)
}
