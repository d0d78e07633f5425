package simulator

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"gateline/gateway"
)

// storyConfig is a story of some seconds. Its files are in memory where the
// machine has room there: what is synced thousands of times is not the matter.
func storyConfig(t *testing.T, scenario string) Config {
	const memory, enough = "/dev/shm", 1 << 30
	var s syscall.Statfs_t
	if syscall.Statfs(memory, &s) == nil && s.Bavail*uint64(s.Bsize) >= enough {
		t.Setenv("TMPDIR", memory)
	}
	cfg := smallConfig(scenario)
	cfg.Cards, cfg.Stations, cfg.Span, cfg.Outage = 600, 3, 500*time.Millisecond, 300*time.Millisecond
	return cfg
}

func checkStory(t *testing.T, r *Report, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK() || r.Taps == 0 || r.Answered != r.Taps {
		t.Errorf("%d taps, %d answered, %d wrong, %d lost, equal %v, unmet %q", r.Taps, r.Answered, r.Wrong, r.Lost, r.Equal, r.Unmet)
	}
}

// A new box loads all shards, goes on where it was stopped, and says R24 only
// meanwhile.
func TestBootstrap(t *testing.T) {
	r, err := Run(t.Context(), storyConfig(t, ScenarioBootstrap))
	checkStory(t, r, err)
	if b := r.Bootstrap; b.Records < 500 || b.Seconds <= 0 || b.RecordsPerSecond <= 0 || b.Bytes == 0 || b.SnapshotBytes == 0 ||
		b.KilledAt < gateway.Shards/2 || b.Left == 0 || b.Left > gateway.Shards-b.KilledAt || b.Live == 0 || r.Reasons["R24"] == 0 || r.Reasons["R00"] == 0 {
		t.Errorf("%+v, reasons %v", b, r.Reasons)
	}
}

func TestRepair(t *testing.T) {
	r, err := Run(t.Context(), storyConfig(t, ScenarioRepair))
	if err == nil && r.Repair.Missed > 0 {
		t.Skipf("the machine is too busy: the feed went without %d checkpoints", r.Repair.Missed)
	}
	checkStory(t, r, err)
	if p := *r.Repair; p.Falsified != falsify || p.Found != falsify || p.Mended != falsify || p.Other != 0 || p.MendedMS.Max <= 0 {
		t.Errorf("%+v", p)
	}
}

// All faults but the hole, which takes a box two pings to see; TestLink has it.
func TestPartition(t *testing.T) {
	r, err := newStory(quiet(storyConfig(t, ScenarioPartition))).partition(t.Context(), faultCut, faultThin, faultRestart)
	checkStory(t, r, err)
	for i, kind := range []string{faultCut, faultThin, faultRestart} {
		if len(r.Partition) <= i {
			t.Fatalf("%d faults", len(r.Partition))
		}
		o := r.Partition[i]
		if o.Fault != kind || o.Seconds <= 0 || o.Level < o.Reconnected || (o.Seen > 0) != (kind != faultThin) {
			t.Errorf("%+v", o)
		}
		if kind == faultCut && (o.Behind == 0 || o.Entries < o.Behind || o.Records == 0) {
			t.Errorf("a cut: %+v", o)
		}
	}
}

func TestCityOfStations(t *testing.T) {
	r, err := Run(t.Context(), storyConfig(t, ScenarioCity))
	if err != nil {
		t.Fatal(err)
	}
	c := r.City
	if !r.OK() || c.Stations != 3 || c.Entries == 0 || c.Changes == 0 || c.Leafs != 3*leafsPerStation || len(c.Plans) != 2 || r.PropagationMS.P50 <= 0 {
		t.Errorf("equal %v, propagation %+v, %+v", r.Equal, r.PropagationMS, c)
	}
	// An entry has a signature and a header at the least.
	if m := c.Costs; m.EntriesPerSecond <= 0 || m.EntryBytes < 138 || m.BaseCores <= 0 || m.BaseMB <= 0 {
		t.Errorf("%+v", m)
	}
}

// While a box loads shards a tap may be answered by anything between its position
// and the feed's end, or not at all; afterwards by its position only.
func TestModelWhileLoading(t *testing.T) {
	const bound, unbound = 0, 1
	now := time.Now()
	today := gateway.DayOf(now)
	m := newModel(newCity(100))
	m.setPolicy(1, policyFacts{effective: now.Add(-time.Hour), window: 2, fresh: time.Hour, stale: time.Hour})
	m.load(bound, status{anchor: today})
	m.setStatus(7, 0, status{class: gateway.ClassRed})
	place := gateway.Position{Epoch: 1, Number: 5, Watermark: now.UnixMicro()}
	tap := func(credential int, loading bool, v gateway.Verdict, r gateway.Reason) tapRecord {
		return tapRecord{credential: credential, purpose: gateway.PurposeEntry, answered: true, got: outcome{v, r, v == gateway.VerdictPass},
			sent: now, received: now, before: place, after: place, loading: loading, centre: 8}
	}
	for _, c := range []struct {
		name  string
		tap   tapRecord
		right bool
	}{
		{"as its position says", tap(bound, true, gateway.VerdictPass, gateway.R00), true},
		{"a newer shard", tap(bound, true, gateway.VerdictRefuse, gateway.R13), true},
		{"a newer shard, once it is complete", tap(bound, false, gateway.VerdictRefuse, gateway.R13), false},
		{"not loaded", tap(bound, true, gateway.VerdictManual, gateway.R24), true},
		{"not loaded, once it is complete", tap(bound, false, gateway.VerdictManual, gateway.R24), false},
		{"not bound, though it is", tap(bound, true, gateway.VerdictManual, gateway.R20), false},
		{"not bound", tap(unbound, true, gateway.VerdictManual, gateway.R20), true},
		{"a pass for nobody", tap(unbound, true, gateway.VerdictPass, gateway.R00), false},
	} {
		if m.right(c.tap) != c.right {
			t.Errorf("%s: right is %v", c.name, !c.right)
		}
	}
}

// A shard that has answered and is silent later on is found out.
func TestSilentAgain(t *testing.T) {
	s := newStory(quiet(storyConfig(t, ScenarioBootstrap)))
	s.w = &world{model: newModel(newCity(600))}
	now := time.Now()
	s.w.model.load(0, status{anchor: gateway.DayOf(now)})
	at := func(second int, r gateway.Reason) tapRecord {
		sent := now.Add(time.Duration(second) * time.Second)
		return tapRecord{credential: 0, purpose: gateway.PurposeEntry, answered: true, got: outcome{reason: r}, sent: sent, received: sent}
	}
	for _, c := range []struct {
		taps []tapRecord
		want int
	}{
		{[]tapRecord{at(1, gateway.R24), at(2, gateway.R24), at(3, gateway.R00)}, 0},
		{[]tapRecord{at(3, gateway.R24), at(1, gateway.R24), at(2, gateway.R00)}, 1},
	} {
		s.taps = [][]tapRecord{c.taps}
		if n := newReport("", 1).loadedSilent(s); n != c.want {
			t.Errorf("%d, not %d", n, c.want)
		}
	}
}

// What a scenario had to show and did not makes its report one of a failure.
func TestUnmet(t *testing.T) {
	r := newReport(ScenarioRepair, 1)
	r.Equal = true
	r.need(true, "one")
	if !r.OK() {
		t.Error("nothing is unmet")
	}
	r.need(false, "two")
	if r.OK() || !slices.Equal(r.Unmet, []string{"two"}) {
		t.Errorf("%q", r.Unmet)
	}
}
