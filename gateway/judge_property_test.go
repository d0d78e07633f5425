package gateway

import (
	"math/rand/v2"
	"testing"
	"time"
)

// oracle restates the two principles without a table: which verdicts may be
// given at all. It knows nothing of rows, reasons or their order.
//
// A refusal needs fresh data; a pass needs only unexpired data. An unknown
// card is never accused.
type oracle struct{ mayPass, mayRefuse bool }

func askOracle(p *Policy, q *Question) oracle {
	if q.Purpose == PurposeExit {
		return oracle{mayPass: true}
	}
	// By a clock that cannot be believed nothing begins or ends after the last
	// word of the centre.
	day := q.Now
	if heard := q.Age != AgeUnknown; heard && (!q.ClockTrusted || q.Age < -time.Hour) {
		day = q.Now.Add(-q.Age)
	}
	if !q.Reached.IsZero() && q.Reached.After(day) && (!q.ClockTrusted || q.Age < -time.Hour) {
		day = q.Reached // no clock brings back what has passed
	}
	over := p != nil && !p.Sunset.IsZero() && !day.Before(p.Sunset)
	if q.Purpose == PurposeTopUp {
		ruleHolds := p != nil && !p.TopUpFrom.IsZero() && !day.Before(p.TopUpFrom)
		ended := p != nil && p.Mode == ModeOff && !q.Erased.IsZero() && q.Erased.Compare(p.Effective) >= 0
		return oracle{mayPass: q.Known || !q.Usable || !ruleHolds || over || ended}
	}
	if q.Station == SwitchOpen || q.Gate == SwitchOpen {
		return oracle{mayPass: true}
	}
	if over {
		return oracle{mayPass: p.AfterSunset == AfterSunsetPass}
	}
	if p != nil && (p.Mode == ModeOff || p.Mode == ModeObserve) {
		return oracle{mayPass: true}
	}
	blind := !q.Readable || !q.Usable || !q.Known || p == nil ||
		q.Station == SwitchManual || q.Gate == SwitchManual ||
		!p.Expires.IsZero() && !day.Before(p.Expires)
	if blind {
		return oracle{}
	}
	if q.Record.Class == ClassRed {
		return oracle{mayRefuse: true} // the one exception to freshness
	}
	if !q.ClockTrusted || q.Age < -time.Hour {
		return oracle{}
	}
	fresh := q.Age <= time.Duration(p.FreshLimit)
	unexpired := q.Age <= time.Duration(p.StalePassLimit)
	return oracle{
		mayPass:   unexpired && q.Record.Class == ClassNormal && testHoldsByTheCalendar(p, q),
		mayRefuse: fresh,
	}
}

// testHoldsByTheCalendar counts with civil dates and a calendar, not with day
// numbers.
func testHoldsByTheCalendar(p *Policy, q *Question) bool {
	if q.Record.Anchor == 0 {
		return false
	}
	civil := func(d Day) time.Time {
		y, m, dd := time.Unix(0, 0).UTC().AddDate(0, 0, int(d)).Date()
		return time.Date(y, m, dd, 0, 0, 0, 0, Zone)
	}
	early, late := q.Now.Add(-q.Drift).In(Zone), q.Now.Add(q.Drift).In(Zone)
	anchor := civil(q.Record.Anchor)
	if p.Unit == UnitRollingHour {
		anchor = anchor.Add(time.Duration(q.Record.AnchorMinute) * time.Minute)
	}
	if anchor.After(late) {
		return false
	}
	if q.Record.HoldThrough != 0 && early.Before(civil(q.Record.HoldThrough).AddDate(0, 0, 1)) {
		return true
	}
	if p.Unit == UnitRollingHour {
		return !early.After(anchor.Add(time.Duration(p.Window) * 24 * time.Hour))
	}
	return early.Before(anchor.AddDate(0, 0, int(p.Window)+1))
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

func randomQuestion(r *rand.Rand) (*Policy, Question) {
	base := at("2022-06-06 00:00:00")
	p := DefaultPolicy(base.AddDate(0, 0, -20))
	p.Mode = ModeEnforce
	if r.IntN(4) == 0 {
		p.Mode = pick(r, ModeOff, ModeObserve, ModeAdvisory)
	}
	p.Window = uint8(1 + r.IntN(4))
	p.Unit = pick(r, UnitCalendarDay, UnitRollingHour)
	p.RedNeedsPassable = r.IntN(2) == 0
	near := func() time.Time {
		return base.Add(pick(r, 0, time.Second, -time.Second, 10*time.Second, -10*time.Second, time.Duration(r.Int64N(int64(96*time.Hour)))-48*time.Hour))
	}
	now := near()
	p.TopUpFrom = pick(r, time.Time{}, near(), now)
	if r.IntN(8) == 0 {
		p.Expires = pick(r, near(), now)
	}
	if r.IntN(8) == 0 {
		p.Sunset = pick(r, near(), now)
	}
	p.AfterSunset = pick(r, AfterSunsetManual, AfterSunsetPass)
	limit := pick(r, time.Duration(p.FreshLimit), time.Duration(p.StalePassLimit))
	q := Question{
		Purpose:  pick(r, PurposeEntry, PurposeEntry, PurposeEntry, PurposeExit, PurposeTopUp),
		Readable: r.IntN(8) != 0,
		Station:  pick(r, SwitchAuto, SwitchAuto, SwitchAuto, SwitchAuto, SwitchAuto, SwitchAuto, SwitchAuto, SwitchAuto, SwitchManual, SwitchOpen),
		Gate:     pick(r, SwitchAuto, SwitchAuto, SwitchAuto, SwitchAuto, SwitchAuto, SwitchAuto, SwitchAuto, SwitchAuto, SwitchManual, SwitchOpen),
		Usable:   r.IntN(8) != 0,
		Known:    r.IntN(6) != 0,
		Record: Record{
			Class:       pick(r, ClassNormal, ClassNormal, ClassNormal, ClassPopup, ClassYellow, ClassRed, Class(r.IntN(16))),
			Anchor:      pick(r, 0, DayOf(now)+Day(r.IntN(9)-6), DayOf(now)-Day(p.Window), DayOf(now)-Day(p.Window)-1, DayOf(now)-Day(p.Window)-2),
			HoldThrough: pick(r, 0, 0, 0, DayOf(now)+Day(r.IntN(5)-2)),
		},
		Age:          pick(r, 0, time.Second, limit, limit+1, limit-1, AgeUnknown, -time.Minute, -2*time.Hour, time.Duration(r.Int64N(int64(30*time.Hour)))),
		Now:          pick(r, now, now.UTC()),
		ClockTrusted: r.IntN(8) != 0,
		Drift:        pick(r, 0, 0, time.Second, 15*time.Second),
		Erased:       pick(r, time.Time{}, time.Time{}, p.Effective, p.Effective.Add(-1), near()),
		Reached:      pick(r, time.Time{}, time.Time{}, p.Sunset, near()),
	}
	if q.Record.Anchor != 0 && p.Unit == UnitRollingHour {
		q.Record.AnchorMinute = uint16(r.IntN(1440))
	}
	if r.IntN(16) == 0 {
		return nil, q
	}
	return &p, q
}

func TestJudgeKeepsThePrinciples(t *testing.T) {
	const rounds = 400_000
	r := rand.New(rand.NewPCG(20220531, 19))
	var passes, refusals, manuals int
	for i := range rounds {
		p, q := randomQuestion(r)
		got, may := Judge(p, &q), askOracle(p, &q)
		switch got.Verdict {
		case VerdictPass:
			passes++
			if !may.mayPass {
				t.Fatalf("round %d: PASS %v without ground: policy %+v, question %+v, class %d anchor %v hold %v", i, got.Reason, p, q, q.Record.Class, q.Record.Anchor, q.Record.HoldThrough)
			}
		case VerdictRefuse:
			refusals++
			if !may.mayRefuse || !q.Known {
				t.Fatalf("round %d: REFUSE %v without ground: policy %+v, question %+v, class %d anchor %v", i, got.Reason, p, q, q.Record.Class, q.Record.Anchor)
			}
			if may.mayPass {
				t.Fatalf("round %d: REFUSE %v of a rider who may pass: policy %+v, question %+v, class %d anchor %v", i, got.Reason, p, q, q.Record.Class, q.Record.Anchor)
			}
		case VerdictManual:
			manuals++
			if may.mayPass {
				t.Fatalf("round %d: MANUAL %v for a rider who may pass: policy %+v, question %+v", i, got.Reason, p, q)
			}
		}
		if got.Open != (got.Verdict == VerdictPass) && p.Mode != ModeAdvisory {
			t.Fatalf("round %d: door open=%v on %v", i, got.Open, got.Verdict)
		}
	}
	// The generator must reach every kind of answer, or it proves nothing.
	if min(passes, refusals, manuals) < rounds/50 {
		t.Errorf("lopsided rounds: %d pass, %d refuse, %d manual", passes, refusals, manuals)
	}
}
