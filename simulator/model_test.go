package simulator

import (
	"math/rand/v2"
	"testing"
	"time"

	"gateline/gateway"
)

// noon is a noon in the city, somewhere.
var noon = time.Date(2026, 6, 10, 12, 0, 0, 0, gateway.Zone)

// quick is a tap on a box that stands at number and heard from the centre that
// long ago.
func quick(credential int, purpose gateway.Purpose, number uint64, now time.Time, age time.Duration) tapRecord {
	at := gateway.Position{Epoch: 1, Number: number, Watermark: now.Add(-age).UnixMicro()}
	return tapRecord{credential: credential, purpose: purpose, answered: true, sent: now, received: now, before: at, after: at}
}

// told returns the tap with an answer as a right box gives it.
func (t tapRecord) told(v gateway.Verdict, r gateway.Reason) tapRecord {
	t.got = outcome{v, r, v == gateway.VerdictPass}
	return t
}

func verdictBeside(r gateway.Reason) gateway.Verdict {
	switch {
	case r < gateway.R10:
		return gateway.VerdictPass
	case r < gateway.R20:
		return gateway.VerdictRefuse
	}
	return gateway.VerdictManual
}

// wantsOnly checks that the model allows these reasons, each with its verdict,
// and nothing else there is.
func wantsOnly(t *testing.T, name string, m *model, tap tapRecord, reasons ...gateway.Reason) {
	t.Helper()
	for _, v := range []gateway.Verdict{gateway.VerdictManual, gateway.VerdictPass, gateway.VerdictRefuse} {
		for _, r := range gateway.Reasons() {
			want := false
			for _, allowed := range reasons {
				want = want || r == allowed && v == verdictBeside(r)
			}
			answer := tap.told(v, r)
			if m.right(answer) != want {
				t.Errorf("%s: %v %v is right: %v, want %v", name, v, r, !want, want)
			}
			if answer.got.open = !answer.got.open; m.right(answer) {
				t.Errorf("%s: %v %v with the door the other way round is right", name, v, r)
			}
			answer.got.open, answer.answered = !answer.got.open, false
			if m.right(answer) {
				t.Errorf("%s: no answer is right", name)
			}
		}
	}
}

// testModel knows a policy from entry 1 on and, at 0, one bound credential.
func testModel(s status) *model {
	m := newModel(newCity(100))
	m.setPolicy(1, policyFacts{effective: noon.Add(-30 * 24 * time.Hour), window: 2, fresh: 15 * time.Minute, stale: 24 * time.Hour})
	m.load(0, s)
	return m
}

// Each rule of the model once, by hand.
func TestModelRules(t *testing.T) {
	today := gateway.DayOf(noon)
	const recent, old, dead = time.Second, 20 * time.Minute, 25 * time.Hour
	valid := status{anchor: today}
	for name, c := range map[string]struct {
		status     status
		credential int
		purpose    gateway.Purpose
		age        time.Duration
		want       gateway.Reason
	}{
		"exit":                      {credential: 1, purpose: gateway.PurposeExit, age: dead, want: gateway.R02},
		"top-up":                    {credential: 1, purpose: gateway.PurposeTopUp, age: dead, want: gateway.R02},
		"exit, red":                 {status: status{class: gateway.ClassRed}, purpose: gateway.PurposeExit, want: gateway.R02},
		"unreadable":                {credential: noCredential, want: gateway.R25},
		"exit, unreadable":          {credential: noCredential, purpose: gateway.PurposeExit, want: gateway.R02},
		"unknown":                   {credential: 100, want: gateway.R20},
		"not bound":                 {status: valid, credential: 5, want: gateway.R20}, // the card of the same person
		"not bound, data dead":      {credential: 5, age: dead, want: gateway.R20},
		"red":                       {status: status{class: gateway.ClassRed, anchor: today}, age: recent, want: gateway.R13},
		"red, data dead":            {status: status{class: gateway.ClassRed}, age: dead, want: gateway.R13},
		"pop-up":                    {status: status{class: gateway.ClassPopup, anchor: today}, age: recent, want: gateway.R11},
		"pop-up, data old":          {status: status{class: gateway.ClassPopup, anchor: today}, age: old, want: gateway.R22},
		"yellow":                    {status: status{class: gateway.ClassYellow}, age: recent, want: gateway.R12},
		"yellow, data old":          {status: status{class: gateway.ClassYellow}, age: old, want: gateway.R22},
		"no test":                   {age: recent, want: gateway.R21},
		"no test, data dead":        {age: dead, want: gateway.R21},
		"tested tomorrow":           {status: status{anchor: today + 1}, age: recent, want: gateway.R23},
		"tested today":              {status: valid, age: recent, want: gateway.R00},
		"tested two days ago":       {status: status{anchor: today - 2}, age: recent, want: gateway.R00},
		"tested three days ago":     {status: status{anchor: today - 3}, age: recent, want: gateway.R10},
		"good, data old":            {status: status{anchor: today - 2}, age: old, want: gateway.R01},
		"good, data dead":           {status: valid, age: dead, want: gateway.R22},
		"too old, data old":         {status: status{anchor: today - 3}, age: old, want: gateway.R22},
		"too old, data dead":        {status: status{anchor: today - 3}, age: dead, want: gateway.R22},
		"held through today":        {status: status{anchor: today - 9, hold: today}, age: recent, want: gateway.R00},
		"held through yesterday":    {status: status{anchor: today - 9, hold: today - 1}, age: recent, want: gateway.R10},
		"held, without a test":      {status: status{hold: today}, age: recent, want: gateway.R21},
		"just fresh":                {status: status{anchor: today - 3}, age: 15 * time.Minute, want: gateway.R10},
		"just not fresh":            {status: status{anchor: today - 3}, age: 15*time.Minute + time.Microsecond, want: gateway.R22},
		"just passable":             {status: valid, age: 24 * time.Hour, want: gateway.R01},
		"just not passable":         {status: valid, age: 24*time.Hour + time.Microsecond, want: gateway.R22},
		"the centre's clock is off": {status: valid, age: -time.Minute, want: gateway.R00},
	} {
		wantsOnly(t, name, testModel(c.status), quick(c.credential, c.purpose, 10, noon, c.age), c.want)
	}
	wantsOnly(t, "before the policy", testModel(valid), quick(0, gateway.PurposeEntry, 0, noon, recent), gateway.R24)
}

// The day turns at midnight in the city, and a policy at its instant.
func TestModelInstants(t *testing.T) {
	midnight := gateway.DayOf(noon).Start()
	m := testModel(status{anchor: gateway.DayOf(noon) - 3})
	wantsOnly(t, "before midnight", m, quick(0, gateway.PurposeEntry, 10, midnight.Add(-time.Microsecond), 0), gateway.R00)
	wantsOnly(t, "at midnight", m, quick(0, gateway.PurposeEntry, 10, midnight, 0), gateway.R10)
	across := quick(0, gateway.PurposeEntry, 10, midnight.Add(-time.Millisecond), 0)
	across.received = midnight.Add(time.Millisecond)
	wantsOnly(t, "across midnight", m, across, gateway.R00, gateway.R10)

	m.setPolicy(11, policyFacts{effective: noon, window: 3, fresh: 15 * time.Minute, stale: 24 * time.Hour})
	wantsOnly(t, "published, not in force", m, quick(0, gateway.PurposeEntry, 11, noon.Add(-time.Microsecond), 0), gateway.R10)
	wantsOnly(t, "in force", m, quick(0, gateway.PurposeEntry, 11, noon, 0), gateway.R00)
	wantsOnly(t, "in force, the box does not know", m, quick(0, gateway.PurposeEntry, 10, noon, 0), gateway.R10)
}

// A change counts from its entry on; while the box applies it, both answers
// are right.
func TestModelChanges(t *testing.T) {
	today := gateway.DayOf(noon)
	m := testModel(status{anchor: today})
	m.setBound(20, 0, false)
	m.setBound(30, 0, true)
	m.setStatus(40, 0, status{class: gateway.ClassRed})
	m.setStatus(50, 0, status{anchor: today - 3})
	for _, c := range []struct {
		before, after uint64
		want          []gateway.Reason
	}{
		{19, 19, []gateway.Reason{gateway.R00}},
		{20, 20, []gateway.Reason{gateway.R20}},
		{19, 20, []gateway.Reason{gateway.R00, gateway.R20}},
		{29, 30, []gateway.Reason{gateway.R20, gateway.R00}},
		{30, 39, []gateway.Reason{gateway.R00}},
		{40, 49, []gateway.Reason{gateway.R13}},
		{39, 50, []gateway.Reason{gateway.R00, gateway.R13, gateway.R10}},
		{19, 60, []gateway.Reason{gateway.R00, gateway.R20, gateway.R13, gateway.R10}},
	} {
		tap := quick(0, gateway.PurposeEntry, c.before, noon, 0)
		tap.after.Number = c.after
		wantsOnly(t, "a change", m, tap, c.want...)
	}
	// A word of the centre during the tap makes old data fresh.
	tap := quick(0, gateway.PurposeEntry, 30, noon, time.Hour)
	tap.after.Watermark = noon.UnixMicro()
	wantsOnly(t, "a heartbeat", m, tap, gateway.R00, gateway.R01)
}

// For everything that happens in a simulation, the model and the decision
// agree: two that were written apart.
func TestModelAndJudge(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		s := someStatus(r, gateway.DayOf(noon))
		now := noon.Add(time.Duration(r.Int64N(int64(4*24*time.Hour))) - 2*time.Hour)
		age := time.Duration(r.ExpFloat64() * float64(time.Hour) * float64(1+r.IntN(30)))
		purpose := gateway.Purpose(r.IntN(3))
		credential := r.IntN(2) * 5 // bound, or not
		tap := quick(credential, purpose, 10, now, age)
		m := testModel(s)
		policy := gateway.DefaultPolicy(noon.Add(-30 * 24 * time.Hour))
		a := gateway.Judge(&policy, &gateway.Question{
			Purpose: purpose, Readable: true, Usable: true, Known: credential == 0, ClockTrusted: true,
			Record: gateway.Record{Class: s.class, Anchor: s.anchor, HoldThrough: s.hold}, Age: now.Sub(tap.before.Time()), Now: now,
		})
		tap.got = outcome{a.Verdict, a.Reason, a.Open}
		if !m.right(tap) {
			t.Fatalf("%v at %v, data %v old: the decision is %v, the model allows %v", purpose, now, age, tap.got, m.allowed(tap))
		}
	}
}
