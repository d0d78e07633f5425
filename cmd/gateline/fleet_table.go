package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"gateline/central"
	"gateline/central/fleet"
	"gateline/gateway"
	"gateline/replication"
)

const (
	leastStation = 8
	// stationColumns is the width of a station's row without its name, up to what
	// may be cut off in a narrow window.
	stationColumns = 54
)

// fleetRows returns the rows that show the stations, in their order, for a window
// of width columns; 0 = as wide as it gets.
func fleetRows(page *central.FleetPage, width int) []row {
	rows := []row{fleetHead(page)}
	if len(page.Stations) == 0 {
		return append(rows, row{{"no station has reported yet", styleFine}})
	}
	name := leastStation
	for _, s := range page.Stations {
		name = max(name, len(s.Station))
	}
	if width > 0 {
		name = max(min(name, width-stationColumns), leastStation)
	}
	rows = append(rows, nil, row{{fmt.Sprintf("%-*s STATE       BEHIND     AGE   GATES   HEARD   RECORDS POLICY     CLOCK VERSION", name, "STATION"), styleFine}})
	for i := range page.Stations {
		s := &page.Stations[i]
		rows = append(rows, fleetRow(s, name))
		if s.State.Alarming() && s.State != fleet.Silent { // HEARD says it
			rows = append(rows, row{{"    ! " + s.Why, styleSoon}})
		}
		if text := switched(s.Report); text != "" {
			rows = append(rows, row{{"    ! " + text, styleSoon}})
		}
	}
	return rows
}

func fleetHead(page *central.FleetPage) (head row) {
	counts := make(map[fleet.State]int)
	for _, s := range page.Stations {
		counts[s.State]++
	}
	what := "stations"
	if len(page.Stations) == 1 {
		what = "station"
	}
	head.add(styleHead, "%d %s", len(page.Stations), what)
	for _, state := range slices.Backward(fleet.States()) {
		if n := counts[state]; n > 0 {
			head.add(stateStyle(state), "  %d %v", n, state)
		}
	}
	head.add(styleNone, "  feed %d  %s", page.Feed, page.At.In(gateway.Zone).Format(time.TimeOnly))
	return head
}

func stateStyle(s fleet.State) style {
	switch {
	case s == fleet.OK:
		return styleWell
	case s == fleet.Behind, !s.Alarming():
		return styleSoon
	}
	return styleBad
}

func fleetRow(s *fleet.Row, name int) (text row) {
	shown, r := s.Station, s.Report
	if len(shown) > name {
		shown = cut(shown, name)
	}
	text.add(styleNone, "%-*s ", name, shown)
	text.add(stateStyle(s.State), "%-9s", s.State)
	behind, age, records := "–", "–", "–"
	if s.State != fleet.Disagrees { // two histories have no distance
		behind = fmt.Sprint(s.BehindEntries)
	}
	if s.AgeS != nil {
		age = ago(seconds(max(*s.AgeS-s.ReportedS, 0))) // as it reported, like the distance
	}
	if r.Records != nil {
		records = fmt.Sprint(*r.Records)
	}
	text.add(styleNone, " %8s %7s", behind, age)
	look := styleNone
	if r.Gates.Serving < r.Gates.Total() {
		look = styleSoon
	}
	text.add(look, " %7s", fmt.Sprintf("%d/%d", r.Gates.Serving, r.Gates.Total()))
	text.add(styleNone, " %7s %9s %-10s", ago(seconds(s.ReportedS)), records, policyOf(r))
	if r.Clock.Trusted {
		text.add(styleNone, " ok   ")
	} else {
		text.add(styleBad, " wrong")
	}
	text.add(styleFine, " %s", release(r.Release))
	return text
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// policyOf returns the version of the policy documents and the mode in force.
func policyOf(r *replication.Report) string {
	if r.PolicyVersion == 0 {
		return "none"
	}
	return fmt.Sprintf("%d %s", r.PolicyVersion, cmp.Or(r.Mode, "–"))
}

// release returns the version out of what gateline --version says.
func release(text string) string {
	text = strings.TrimPrefix(text, "gateline ")
	text, _, _ = strings.Cut(text, " ")
	return text
}

// switched says what staff have switched by hand; empty = nothing.
func switched(r *replication.Report) string {
	var parts []string
	if r.Switch != "" && r.Switch != gateway.SwitchAuto.String() {
		parts = append(parts, "the station is switched to "+r.Switch)
	}
	if r.Switched > 0 {
		parts = append(parts, fmt.Sprintf("%d gates are not on auto", r.Switched))
	}
	return strings.Join(parts, "; ")
}

// stationRows returns the rows that show one station.
func stationRows(s *central.FleetStation) []row {
	r := s.Report
	var rows []row
	field := func(look style, name, format string, args ...any) {
		rows = append(rows, row{{fmt.Sprintf("%-9s ", name), styleFine}, {fmt.Sprintf(format, args...), look}})
	}
	var head row
	head.add(styleHead, "%s", s.Station)
	head.add(stateStyle(s.State), "  %v", s.State)
	if s.Why != "" {
		head.add(styleNone, "  %s", s.Why)
	}
	rows = append(rows, head)
	if next := s.State.Next(); next != "" {
		field(styleSoon, "next", "%s", next)
	}
	if text := switched(r); text != "" {
		field(styleSoon, "switch", "%s", text)
	}
	field(styleNone, "reported", "%s ago, up %s, %s", ago(seconds(s.ReportedS)), ago(time.Duration(r.UptimeS)*time.Second), cmp.Or(release(r.Release), "version unknown"))
	age := "no data"
	if s.AgeS != nil {
		age = "data " + ago(seconds(*s.AgeS)) + " old"
	}
	field(styleNone, "feed", "entry %d of %016x, %s", r.Position.Number, r.Position.Epoch, age)
	if r.Records != nil {
		field(styleNone, "records", "%d", *r.Records)
	}
	field(styleNone, "policy", "%s", policyOf(r))
	field(styleNone, "gates", "%d serving, %d starting, %d silent, %d refused; %d of %d lines open",
		r.Gates.Serving, r.Gates.Starting, r.Gates.Silent, r.Gates.Refused, r.Lines.Up, r.Lines.Total)
	if !r.Clock.Trusted {
		field(styleBad, "clock", "not trusted: %s", r.Clock.Why)
	}
	if f := r.Feed; f != (replication.ReportFeed{}) {
		field(styleNone, "trouble", "%d entries refused, %d gaps, %d failed attempts to apply, since the box's start", f.Refused, f.Gaps, f.ApplyErrors)
	}
	return append(rows, hourRows(s.Hours)...)
}

// hourRows shows what was answered, the last hour first.
func hourRows(hours []replication.Hour) []row {
	rows := []row{nil}
	if len(hours) == 0 {
		return append(rows, row{{"no answers known", styleFine}})
	}
	rows = append(rows, row{{"HOUR            PASS   REFUSE   MANUAL  reasons", styleFine}})
	for _, h := range slices.Backward(hours) {
		verdicts, reasons := sums(h.Answers)
		text := strings.Join(reasons, " ")
		if _, would := sums(h.Observed); len(would) > 0 {
			text += "  (would: " + strings.Join(would, " ") + ")"
		}
		rows = append(rows, row{{fmt.Sprintf("%s %8d %8d %8d  %s", h.Start.In(gateway.Zone).Format("01-02 15:00"),
			verdicts[gateway.VerdictPass], verdicts[gateway.VerdictRefuse], verdicts[gateway.VerdictManual], text), styleNone}})
	}
	return rows
}

// sums returns counts by verdict, and by reason as text in the order of reasons.
// A reason that this program does not know is not counted for a verdict.
func sums(counts map[string]uint64) (verdicts [3]uint64, reasons []string) {
	for _, r := range gateway.Reasons() {
		if n := counts[r.String()]; n > 0 {
			verdicts[r.Verdict()] += n
			reasons = append(reasons, fmt.Sprintf("%v %d", r, n))
		}
	}
	return verdicts, reasons
}
