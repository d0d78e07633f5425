package station

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"gateline/central"
	"gateline/central/fleet"
	"gateline/gateway"
	"gateline/internal/logtest"
)

// answered returns what the centre knows a station to have answered, over all
// its hours: a test may run across a full one.
func answered(t *testing.T, c *central.Client, station, reason string) (sum uint64) {
	t.Helper()
	s, err := c.FleetStation(t.Context(), station)
	if err != nil {
		return 0
	}
	for _, h := range s.Hours {
		sum += h.Answers[reason]
	}
	return sum
}

// stateOf returns the state of a station, and its row; false where there is none.
func stateOf(t *testing.T, c *central.Client, station string) (fleet.Row, bool) {
	t.Helper()
	page, err := c.Fleet(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range page.Stations {
		if r.Station == station {
			return r, true
		}
	}
	return fleet.Row{}, false
}

func wantState(t *testing.T, c *central.Client, station string, want fleet.State) (row fleet.Row) {
	t.Helper()
	until(t, fmt.Sprintf("%s is %v", station, want), func() bool {
		var there bool
		row, there = stateOf(t, c, station)
		return there && row.State == want
	})
	return row
}

// Two boxes report to one centre. One is cut off and goes on answering; it is
// stopped and started meanwhile; with the link the centre has its latest state
// and exactly what it answered. The log tells of both.
func TestBoxesReport(t *testing.T) {
	var log logtest.Buffer
	c, ops := startCentre(t, func(cfg *central.Config) {
		cfg.Log = log.Logger()
		cfg.Fleet = fleet.Limits{Silent: time.Second, Entries: 1 << 20, Lag: time.Hour, Settle: time.Nanosecond}
	})
	if _, err := ops.SetPolicy(t.Context(), gateway.DefaultPolicy(time.Now().Add(-time.Hour))); err != nil {
		t.Fatal(err)
	}
	road := newRoad(t)
	road.lead(c.LeafAddr())
	west, east := newWire(t), newWire(t)
	o := Options{ReportEvery: 25 * time.Millisecond, Version: "v1.2.3"}
	cut := testConfig(t, road.url(), west)
	b := startBox(t, cut, o)
	other := testConfig(t, "nats-leaf://"+c.LeafAddr(), east)
	other.Station = "dongzhimen"
	startBox(t, other, o)

	row := wantState(t, ops, "xizhimen", fleet.OK)
	wantState(t, ops, "dongzhimen", fleet.OK)
	west.lane(t, gateway.LaneAuto)
	until(t, "the gate is reported", func() bool {
		row, _ = stateOf(t, ops, "xizhimen")
		return row.Report.Gates.Serving == 1
	})
	r := row.Report
	if r.Release != "v1.2.3" || r.Mode != "enforce" || r.PolicyVersion != 1 || r.FreshLimitS != 900 || r.Lines.Up != 1 || r.Records == nil || *r.Records != 0 ||
		r.Switch != "auto" || !r.Clock.Trusted || row.BehindEntries > 100 || row.AgeS == nil {
		t.Errorf("reported %+v in %+v", r, row)
	}

	tap := func(n int) {
		t.Helper()
		for range n {
			west.wants(t, "tunion:3104770000000000001", gateway.VerdictManual, gateway.R20)
		}
	}
	tap(3)
	until(t, "3 taps are known", func() bool { return answered(t, ops, "xizhimen", "R20") == 3 })
	road.lead("")
	tap(4)
	if err := b.Switches().Set("", gateway.SwitchOpen); err != nil {
		t.Fatal(err)
	}
	west.wants(t, "tunion:3104770000000000001", gateway.VerdictPass, gateway.R02)
	wantState(t, ops, "xizhimen", fleet.Silent)
	tells := func(line string) {
		t.Helper()
		until(t, "the log tells: "+line, func() bool { return strings.Contains(log.String(), line) })
	}
	tells(`msg="station is not well" station=xizhimen state=silent `)
	if got := answered(t, ops, "xizhimen", "R20"); got != 3 {
		t.Errorf("cut off, %d taps are known", got)
	}
	b.stop()
	startBox(t, cut, o)
	west.wants(t, "tunion:3104770000000000001", gateway.VerdictPass, gateway.R02)
	road.lead(c.LeafAddr())
	row = wantState(t, ops, "xizhimen", fleet.OK)
	until(t, "every tap is known", func() bool { return answered(t, ops, "xizhimen", "R02") == 2 })
	if got := answered(t, ops, "xizhimen", "R20"); got != 7 || row.Report.Switch != "open" {
		t.Errorf("%d taps are known, the switch is %s", got, row.Report.Switch)
	}
	if got := answered(t, ops, "dongzhimen", "R20"); got != 0 {
		t.Errorf("the other station has %d of them", got)
	}
	tells(`msg="station is well again" station=xizhimen state=ok was=silent`)
	if strings.Contains(log.String(), "3104770") {
		t.Error("the log shows a number")
	}
}

// A box that has followed another feed under the same name of a centre is told
// from one that is merely behind.
func TestBoxOfAnotherFeedDisagrees(t *testing.T) {
	first, _ := startCentre(t)
	road := newRoad(t)
	road.lead(first.LeafAddr())
	startBox(t, testConfig(t, road.url(), newWire(t)), Options{ReportEvery: 25 * time.Millisecond}).reaches(3)
	var log logtest.Buffer
	second, ops := startCentre(t, func(cfg *central.Config) {
		cfg.Log, cfg.Fleet.Settle = log.Logger(), time.Nanosecond
	})
	road.lead(second.LeafAddr())
	row := wantState(t, ops, "xizhimen", fleet.Disagrees)
	if !strings.Contains(row.Why, "another epoch") {
		t.Error(row.Why)
	}
	until(t, "the log tells of it", func() bool { return strings.Contains(log.String(), "state=disagrees was=ok") })
}

// Hourly sums that cannot be read are no reason not to start.
func TestUnreadableHoursBeginAnew(t *testing.T) {
	cfg := testConfig(t, newRoad(t).url(), newWire(t))
	var log logtest.Buffer
	s, err := Open(t.Context(), cfg, Options{Log: log.Logger()})
	if err != nil {
		t.Fatal(err)
	}
	err = s.cache.SaveLocal(hoursName, []byte("{"))
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	if s, err = Open(t.Context(), cfg, Options{Log: log.Logger()}); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if !strings.Contains(log.String(), "hourly sums of the last run cannot be read") || len(s.reports.sums.hours) != 0 {
		t.Errorf("%+v\n%s", s.reports.sums.hours, log.String())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Run(ctx); err != nil {
		t.Error(err)
	}
}
