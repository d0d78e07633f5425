package main

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"gateline/cache"
	"gateline/central"
	"gateline/central/fleet"
	"gateline/gateway"
	"gateline/replication"
)

// stations are some of every kind, the worst first.
func stations() *central.FleetPage {
	page := &central.FleetPage{At: boxStart, Feed: 123456}
	for _, s := range []struct {
		name  string
		state fleet.State
		why   string
	}{
		{"dongzhimen", fleet.Disagrees, "its entry 123400 is not the centre's"},
		{"beijing-west-railway-station-north", fleet.Silent, "no report for 2h0m0s"},
		{"tiantongyuan", fleet.Faulty, "clock not trusted: it is not synchronised, or stepped since it was"},
		{"xizhimen", fleet.Behind, "2345 entries, 1m10s"},
		{"yonghegong", fleet.OK, ""},
	} {
		age, records := 1.25, 1_000_000
		r := &replication.Report{
			Station: s.name, Release: "gateline v1.2.3 go1.26", Records: &records, PolicyVersion: 3, Mode: "enforce", Switch: "auto",
			Clock: replication.ReportClock{Trusted: s.state != fleet.Faulty, Why: "it is not synchronised, or stepped since it was"},
			Gates: replication.ReportGates{Serving: 16}, Lines: replication.ReportLines{Up: 2, Total: 2},
		}
		page.Stations = append(page.Stations, fleet.Row{Station: s.name, State: s.state, Why: s.why, AgeS: &age, ReportedS: 0.25, Report: r})
	}
	silent, behind, well := &page.Stations[1], &page.Stations[3], &page.Stations[4]
	*silent.AgeS, silent.ReportedS = 7201, 7200
	silent.Report.Gates = replication.ReportGates{Serving: 14, Silent: 1, Refused: 1}
	behind.BehindEntries, *behind.AgeS = 2345, 70.25
	well.Report.Switch, well.Report.Switched = "manual", 2
	return page
}

// What an operator sees in a window of 100 columns.
const wantFleet100 = `5 stations  1 disagrees  1 silent  1 faulty  1 behind  1 ok  feed 123456  08:00:00

STATION                            STATE       BEHIND     AGE   GATES   HEARD   RECORDS POLICY     …
dongzhimen                         disagrees        –    1.0s   16/16    0.2s   1000000 3 enforce  …
    ! its entry 123400 is not the centre's
beijing-west-railway-station-north silent           0    1.0s   14/16   2h00m   1000000 3 enforce  …
tiantongyuan                       faulty           0    1.0s   16/16    0.2s   1000000 3 enforce  …
    ! clock not trusted: it is not synchronised, or stepped since it was
xizhimen                           behind        2345   1m10s   16/16    0.2s   1000000 3 enforce  …
    ! 2345 entries, 1m10s
yonghegong                         ok               0    1.0s   16/16    0.2s   1000000 3 enforce  …
    ! the station is switched to manual; 2 gates are not on auto
`

func TestFleetTable(t *testing.T) {
	if got := plain(fleetRows(stations(), 100), 100); got != wantFleet100 {
		t.Errorf("got\n%s\nwant\n%s", got, wantFleet100)
	}
	for _, width := range []int{1, 20, 61, 80, 120} {
		for line := range strings.Lines(plain(fleetRows(stations(), width), width)) {
			if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > width {
				t.Errorf("%d columns in a window of %d: %s", n, width, line)
			}
		}
	}
	if narrow := plain(fleetRows(stations(), 80), 80); !strings.Contains(narrow, "beijing-west-railway-stat… silent           0    1.0s   14/16   2h00m") {
		t.Errorf("in 80 columns\n%s", narrow)
	}
	wide := plain(fleetRows(stations(), 0), 0)
	if !strings.Contains(wide, " 3 enforce  wrong v1.2.3\n") || !strings.Contains(wide, " 3 enforce  ok    v1.2.3\n") || strings.Contains(wide, "…") {
		t.Errorf("without a width\n%s", wide)
	}
	if none := plain(fleetRows(&central.FleetPage{}, 80), 80); !strings.Contains(none, "no station has reported yet") {
		t.Errorf("without a station\n%s", none)
	}
	v := fleetView{ops: &ops{env: environment{plain: true}}, shown: *stations()}
	if part := v.frame(100, 9, false); strings.Count(part, rowEnd) != 8 || !strings.Contains(part, "5 stations  no answer any more  1 disagrees") || !strings.Contains(part, "… 5 more rows: ") {
		t.Errorf("in a window of 9 rows\n%s", part)
	}
}

func TestStationRows(t *testing.T) {
	s := &central.FleetStation{Row: stations().Stations[1], Hours: []replication.Hour{
		{Start: boxStart.Add(-time.Hour).UTC(), Answers: map[string]uint64{"R00": 812, "R10": 3, "R20": 40, "R21": 1, "R77": 9}},
		{Start: boxStart.UTC(), Answers: map[string]uint64{"R02": 5}, Observed: map[string]uint64{"R00": 4, "R12": 1}},
	}}
	s.Report.Feed.Refused = 7
	s.Report.Position = replication.ReportPosition{Epoch: 0xabc, Number: 123}
	text := plain(stationRows(s), 0)
	for _, want := range []string{
		"beijing-west-railway-station-north  silent  no report for 2h0m0s\nnext      power and network",
		"feed      entry 123 of 0000000000000abc, data 2h00m old\n",
		"gates     14 serving, 0 starting, 1 silent, 1 refused; 2 of 2 lines open\n",
		"trouble   7 entries refused, ",
		"HOUR            PASS   REFUSE   MANUAL  reasons\n05-30 08:00        5        0        0  R02 5  (would: R00 4 R12 1)\n05-30 07:00      812        3       41  R00 812 R10 3 R20 40 R21 1\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no\n%s\nin\n%s", want, text)
		}
	}
}

// sendReport lets a box send one report, and hourly sums, over a leaf node.
func sendReport(t *testing.T, centre, station string) {
	t.Helper()
	sendHours(t, centre, station, boxStart.UTC())
}

// sendHours is sendReport with the sums of certain hours.
func sendHours(t *testing.T, centre, station string, starts ...time.Time) {
	t.Helper()
	r := &replication.Report{Station: station, Usable: station != "dongzhimen", Mode: "enforce", Clock: replication.ReportClock{Trusted: true}}
	sendState(t, centre, r, starts...)
}

// sendState lets a box send a report, and hourly sums.
func sendState(t *testing.T, centre string, r *replication.Report, starts ...time.Time) {
	t.Helper()
	station := r.Station
	store, err := cache.Open(t.TempDir(), cache.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	box, err := replication.OpenBox(replication.BoxConfig{
		Station: station, CentreURL: "nats-leaf://" + centre, Store: store, Keys: []gateway.FeedKey{testFeedSecret.Public()}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	sender, err := box.OpenReporter()
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	sums := &replication.Hours{Station: station}
	for _, start := range starts {
		hour := replication.Hour{Start: start, Answers: map[string]uint64{"R00": 41}}
		if len(starts) > 1 {
			hour.Observed = map[string]uint64{"R10": 2}
		}
		sums.Hours = append(sums.Hours, hour)
	}
	hours, err := sums.Encode()
	if err != nil {
		t.Fatal(err)
	}
	poll(t, func() bool { return sender.Hours(t.Context(), hours) == nil }, func() string { return "the centre does not take the hours" })
	if err := sender.Report(r); err != nil {
		t.Fatal(err)
	}
	// A second message on the same way comes after the first.
	if err := sender.Hours(t.Context(), hours); err != nil {
		t.Fatal(err)
	}
}

// The command against a real centre.
func TestFleet(t *testing.T) {
	s, env := startCentral(t, centralConfig(t))
	leafs := s.until(`leafs=(\S+)`)
	gateline(t, env, nil, "fleet").want(t, 0, "0 stations", "")
	sendReport(t, leafs, "xizhimen")
	var r result
	poll(t, func() bool {
		r = gateline(t, env, nil, "fleet")
		return strings.Contains(r.out, "xizhimen")
	}, func() string { return r.out + r.err })
	r.want(t, 0, "1 station  1 ok  feed ", "")

	sendReport(t, leafs, "dongzhimen")
	poll(t, func() bool {
		r = gateline(t, env, nil, "fleet")
		return strings.Contains(r.out, "dongzhimen")
	}, func() string { return r.out + r.err })
	r.want(t, 1, "2 stations  1 loading  1 ok", "") // which a script notices
	if strings.Index(r.out, "dongzhimen") > strings.Index(r.out, "xizhimen") {
		t.Errorf("the worst is not first:\n%s", r.out)
	}
	r = gateline(t, env, nil, "fleet", "--json")
	var a answer
	if err := json.Unmarshal([]byte(r.out), &a); err != nil || r.code != 1 || !a.OK || len(a.Fleet.Stations) != 2 || a.Fleet.Stations[0].State != fleet.Loading {
		t.Errorf("%v, exit code %d\n%s", err, r.code, r.out)
	}
	gateline(t, env, nil, "fleet", "show", "xizhimen").want(t, 0, "05-30 08:00       41        0        0  R00 41", "")
	gateline(t, env, nil, "fleet", "show", "xizhimen", "--json").want(t, 0, `"hours":[{"start":"2022-05-30T00:00:00Z","answers":{"R00":41}}]`, "")
	gateline(t, env, nil, "fleet", "show", "xidan").want(t, 1, "", "E123 没有收到过该车站的报告")
	gateline(t, env, nil, "fleet", "forget", "dongzhimen").want(t, 2, "", "say --yes")
	gateline(t, env, nil, "fleet", "forget", "dongzhimen", "--yes").want(t, 0, "forgotten: dongzhimen", "")
	gateline(t, env, nil, "fleet", "forget", "dongzhimen", "--yes").want(t, 1, "", "E123")
	gateline(t, env, nil, "fleet").want(t, 0, "1 station  1 ok", "")

	for _, c := range []struct{ args, err string }{
		{"fleet frob", "unknown command"}, {"fleet show", "accepts 1 arg"}, {"fleet show Xi", `"Xi" is not a station`}, {"fleet --interval 1ms", "not between"},
	} {
		gateline(t, env, nil, words(c.args)...).want(t, 2, "", c.err)
	}
	gateline(t, environment{server: "nats://127.0.0.1:1"}, nil, "fleet").want(t, 1, "", "no centre answers at nats://127.0.0.1:1")
	gateline(t, environment{server: "nats://127.0.0.1:1"}, nil, "fleet", "--json").want(t, 1, `"ok":false,"error":"no centre answers`, "no centre answers")
}
