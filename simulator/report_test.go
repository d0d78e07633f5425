package simulator

import (
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"gateline/gateway"
)

// keys returns the keys of an object with those of the objects in it.
func keys(prefix string, object map[string]any) (all []string) {
	for k, v := range object {
		all = append(all, prefix+k)
		if inner, ok := v.(map[string]any); ok {
			all = append(all, keys(prefix+k+".", inner)...)
		}
	}
	return all
}

// The keys of a report are a public contract: these and no other.
func TestReportKeys(t *testing.T) {
	text, err := json.Marshal(newReport("rush", 7))
	if err != nil {
		t.Fatal(err)
	}
	var object map[string]any
	if err := json.Unmarshal(text, &object); err != nil {
		t.Fatal(err)
	}
	want := []string{"scenario", "seed", "taps", "answered", "wrong", "lost", "equal", "wire_us",
		"verdicts", "verdicts.pass", "verdicts.refuse", "verdicts.manual", "reasons",
		"latency_us", "latency_us.p50", "latency_us.p90", "latency_us.p99", "latency_us.max",
		"decision_us", "decision_us.p50", "decision_us.p99", "decision_us.p999", "decision_us.max",
		"propagation_ms", "propagation_ms.p50", "propagation_ms.p99",
		"caught_up", "caught_up.entries", "caught_up.records", "caught_up.seconds",
		"abandoned", "returns", "found_ms", "found_ms.p50", "found_ms.max", "back_ms", "back_ms.p50", "back_ms.max",
		"line", "line.questions", "line.retries", "line.unanswered", "line.damaged", "line.collided", "line.babbled"}
	for _, r := range []string{"R00", "R01", "R02", "R10", "R11", "R12", "R13", "R20", "R21", "R22", "R23", "R24", "R25", "R26"} {
		want = append(want, "reasons."+r)
	}
	got := keys("", object)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the keys are\n%q, want\n%q", got, want)
	}
	if object["scenario"] != "rush" || object["seed"] != 7.0 || object["equal"] != false {
		t.Errorf("got %s", text)
	}
}

func TestReportOK(t *testing.T) {
	for name, c := range map[string]struct {
		r    Report
		want bool
	}{
		"well": {Report{Equal: true}, true}, "wrong": {Report{Equal: true, Wrong: 1}, false},
		"lost": {Report{Equal: true, Lost: 1}, false}, "differ": {Report{}, false},
	} {
		if c.r.OK() != c.want {
			t.Errorf("%s: %v", name, c.r.OK())
		}
	}
}

// Taps are judged one by one and counted, and times are what they were.
func TestAddTaps(t *testing.T) {
	m := testModel(status{anchor: gateway.DayOf(noon)})
	var taps []tapRecord
	for i := range 100 {
		tap := quick(0, gateway.PurposeEntry, 10, noon, 0).told(gateway.VerdictPass, gateway.R00)
		tap.received, tap.lineBytes = noon.Add(time.Duration(i+1)*time.Millisecond), 15
		taps = append(taps, tap)
	}
	taps[7] = taps[7].told(gateway.VerdictRefuse, gateway.R10) // wrong
	taps[99].answered = false                                  // lost
	taps = append(taps, tapRecord{abandoned: true})            // neither
	r := newReport("rush", 1)
	r.addTaps(m, taps, 1_000_000)
	if r.Taps != 101 || r.Abandoned != 1 || r.Answered != 99 || r.Wrong != 1 || r.Lost != 1 {
		t.Errorf("%d taps, %d answered, %d wrong, %d lost", r.Taps, r.Answered, r.Wrong, r.Lost)
	}
	if r.Verdicts["pass"] != 98 || r.Verdicts["refuse"] != 1 || r.Reasons["R00"] != 98 || r.Reasons["R10"] != 1 {
		t.Errorf("verdicts %v, reasons %v", r.Verdicts, r.Reasons)
	}
	if l := r.LatencyUS; l.P50 != 50_000 || l.P90 != 90_000 || l.P99 != 99_000 || l.Max != 99_000 || r.WireUS != 150 {
		t.Errorf("latency %+v, wire %v", l, r.WireUS)
	}
	var ms []time.Duration
	for i := range 1000 {
		ms = append(ms, time.Duration(1000-i)*time.Millisecond)
	}
	r.addDecisions(slices.Clone(ms))
	r.addPropagation(ms)
	if d := r.DecisionUS; d.P50 != 500_000 || d.P99 != 990_000 || d.P999 != 999_000 || d.Max != 1_000_000 {
		t.Errorf("decisions %+v", d)
	}
	if r.PropagationMS.P50 != 500 || r.PropagationMS.P99 != 990 {
		t.Errorf("propagation %+v", r.PropagationMS)
	}
	empty := newReport("rush", 1)
	empty.addTaps(m, nil, 9600)
	empty.addDecisions(nil)
	empty.addPropagation(nil)
	if again := newReport("rush", 1); empty.LatencyUS != again.LatencyUS || empty.DecisionUS != again.DecisionUS || !maps.Equal(empty.Reasons, again.Reasons) {
		t.Errorf("of nothing: %+v", empty)
	}
}

// Samples come from several goroutines, up to a number, and may be taken while
// others still come.
func TestSamples(t *testing.T) {
	s := newSamples(100)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				s.add(time.Second)
				slices.Sort(s.taken())
			}
		})
	}
	wg.Wait()
	if got := s.taken(); len(got) != 100 || got[99] != time.Second {
		t.Errorf("%d samples", len(got))
	}
}
