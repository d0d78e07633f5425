package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"gateline/central"
	"gateline/central/fleet"
	"gateline/replication"
)

func TestReceiptsText(t *testing.T) {
	ordered := time.Date(2026, 12, 31, 3, 0, 0, 5000, time.UTC)
	row := func(name string, state fleet.State, p *replication.ReportPurge) fleet.Row {
		return fleet.Row{Station: name, State: state, ReportedS: 7200, Report: &replication.Report{Station: name, Purge: p}}
	}
	page := &central.FleetPage{Purge: &fleet.Order{Epoch: 0xabc, Number: 99, Ordered: ordered}, Stations: []fleet.Row{
		row("a", fleet.OK, &replication.ReportPurge{Epoch: 0xabc, Number: 99, Ordered: ordered}),
		row("b", fleet.OK, &replication.ReportPurge{Epoch: 7, Number: 5, Ordered: ordered}), // heard of it in another epoch
		row("c", fleet.Silent, nil),
		row("d", fleet.Behind, &replication.ReportPurge{Epoch: 0xabc, Number: 12, Ordered: ordered.Add(-time.Hour)}),
		row("e", fleet.Silent, &replication.ReportPurge{Sunset: ordered.Add(-time.Hour)}),
	}}
	r, ordering := receiptsOf(page)
	if !ordering {
		t.Fatal("there is an order")
	}
	want := "ordered 2026-12-31 11:00:00, entry 99 of 0000000000000abc\nerased by 3 of 5 stations, 1 of them by themselves at the sunset\n" +
		"  missing  c  silent, heard 2h00m ago\n  missing  d  behind, heard 2h00m ago"
	if got := r.text(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if page.Purge = nil; page.Purge == nil {
		if _, ordering := receiptsOf(page); ordering {
			t.Error("there is none")
		}
	}
}

// The end of a policy against a real centre, and who has not erased yet.
func TestPolicyPurge(t *testing.T) {
	s, env := startCentral(t, centralConfig(t))
	leafs := s.until(`leafs=(\S+)`)
	policy := writeFile(t, "policy.json", `{"effective":"2022-05-28T00:00:00+08:00","mode":"enforce"}`)
	walk(t, env, []step{
		{args: words("policy purge --yes"), code: 1, err: "E120"},
		{args: words("policy set --yes " + policy), out: "set: enforce"},
		{args: words("card bind --credential ride:1001000000000042 --person ann"), out: "bound"},
		{args: words("policy purge"), code: 2, err: "is erased for good; say --yes if that is meant"},
		{args: words("policy purge never"), code: 2, err: "is not an instant"},
		{args: words("policy purge --yes"), code: 1, err: "E124 策略尚未终止,数据未清除"},
	})
	gateline(t, env, nil, "fleet", "receipts").want(t, 1, "", "nothing was ever ordered to be erased")
	state := func(p *replication.ReportPurge) *replication.Report {
		return &replication.Report{Station: "xizhimen", Usable: true, Mode: "enforce", Clock: replication.ReportClock{Trusted: true}, Purge: p}
	}
	sendState(t, leafs, state(nil), boxStart.UTC())
	walk(t, env, []step{
		{args: words("policy sunset --yes 2022-06-01"), out: "set: "},
		{args: words("policy purge --yes 2022-05-27"), code: 1, err: "the document in force is the one from 2022-05-28T00:00:00+08:00"},
		{args: words("policy purge --yes 2022-05-28"), out: "erased; 'gateline fleet receipts' shows which stations have erased their records (feed number "},
		{args: words("policy purge --yes"), out: "nothing to do: the registry is empty"},
		{args: words("stats"), out: "credentials  0"},
	})
	gateline(t, env, nil, "fleet", "receipts").want(t, 1, "erased by 0 of 1 station\n  missing  xizhimen  ok", "")
	r := gateline(t, env, nil, "fleet", "receipts", "--json")
	var a answer
	if err := json.Unmarshal([]byte(r.out), &a); err != nil || r.code != 1 || a.Receipts == nil || len(a.Receipts.Missing) != 1 || a.Receipts.Order.Number == 0 {
		t.Fatalf("%v, exit code %d\n%s", err, r.code, r.out)
	}
	waited := make(chan result, 1)
	go func() { waited <- gateline(t, env, nil, "fleet", "receipts", "--wait", "2m") }()
	o := a.Receipts.Order
	sendState(t, leafs, state(&replication.ReportPurge{Epoch: o.Epoch, Number: o.Number, Ordered: o.Ordered}), boxStart.UTC().Add(time.Hour))
	(<-waited).want(t, 0, "erased by 1 of 1 station\n", "")
	gateline(t, env, nil, "fleet", "receipts", "--wait", "-1s").want(t, 2, "", "not between")
	if r := gateline(t, env, nil, "fleet", "receipts"); r.code != 0 || strings.Contains(r.out, "missing") {
		t.Errorf("exit code %d\n%s", r.code, r.out)
	}
}
