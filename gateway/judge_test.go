package gateway

import (
	"testing"
	"time"
)

func at(s string) time.Time {
	t, err := time.ParseInLocation("2006-01-02 15:04:05", s, Zone)
	if err != nil {
		panic(err)
	}
	return t
}

func day(s string) Day { return DayOf(at(s + " 12:00:00")) }

// noon is the moment of the tests that do not care about one.
var noon = at("2022-05-30 12:00:00")

func testPolicy(edits ...func(*Policy)) *Policy {
	p := DefaultPolicy(at("2022-05-17 00:00:00"))
	for _, edit := range edits {
		edit(&p)
	}
	return &p
}

// testQuestion is a rider with a valid test at noon, with fresh data.
func testQuestion(edits ...func(*Question)) Question {
	q := Question{
		Readable: true, Usable: true, Known: true, Now: noon, ClockTrusted: true,
		Age: time.Second, Record: Record{Anchor: day("2022-05-29")},
	}
	for _, edit := range edits {
		edit(&q)
	}
	return q
}

type answerCase struct {
	name   string
	policy *Policy
	q      Question
	want   Answer
}

func runAnswers(t *testing.T, cases []answerCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := Judge(c.policy, &c.q); got != c.want {
				t.Errorf("got %v %v %+v, want %v %v %+v", got.Verdict, got.Reason, got, c.want.Verdict, c.want.Reason, c.want)
			}
		})
	}
}

func pass(r Reason) Answer {
	return Answer{Verdict: VerdictPass, Reason: r, Open: true, TTL: DefaultVerdictTTL}
}
func refuse(r Reason) Answer {
	return Answer{Verdict: VerdictRefuse, Reason: r, TTL: DefaultVerdictTTL}
}
func manual(r Reason) Answer {
	return Answer{Verdict: VerdictManual, Reason: r, TTL: DefaultVerdictTTL}
}

// opened is an answer that also opens the door.
func opened(a Answer) Answer { a.Open = true; return a }

// lit is an answer that also lights the concession lamp.
func lit(a Answer) Answer { a.Lamp = true; return a }

func observed(v Verdict, r Reason) Answer {
	a := pass(R02)
	a.Observed, a.Would, a.WouldReason = true, v, r
	return a
}

func TestJudgeRows(t *testing.T) {
	mode := func(m Mode) func(*Policy) { return func(p *Policy) { p.Mode = m } }
	topUpGated := func(p *Policy) { p.TopUpFrom = at("2022-05-30 12:00:00") }
	topUp := func(q *Question) { q.Purpose = PurposeTopUp }
	exit := func(q *Question) { q.Purpose = PurposeExit }
	erased := func(t time.Time) func(*Question) { return func(q *Question) { q.Erased = t } }
	unknown := func(q *Question) { q.Known, q.Record = false, Record{} }
	class := func(c Class) func(*Question) { return func(q *Question) { q.Record.Class = c } }
	age := func(d time.Duration) func(*Question) { return func(q *Question) { q.Age = d } }
	anchor := func(s string) func(*Question) { return func(q *Question) { q.Record.Anchor = day(s) } }
	noTest := func(q *Question) { q.Record.Anchor = 0 }
	unusable := func(q *Question) { q.Usable = false }
	untrusted := func(q *Question) { q.ClockTrusted = false }
	unreadable := func(q *Question) { q.Readable, q.Known = false, false }
	station := func(s Switch) func(*Question) { return func(q *Question) { q.Station = s } }
	gate := func(s Switch) func(*Question) { return func(q *Question) { q.Gate = s } }
	sunset := func(a AfterSunset) func(*Policy) {
		return func(p *Policy) { p.Sunset, p.AfterSunset = noon, a }
	}
	expired := func(p *Policy) { p.Expires = noon }
	fresh, stale, dead := 15*time.Minute, 15*time.Minute+1, 24*time.Hour+1

	runAnswers(t, []answerCase{
		{"row 0 bound", testPolicy(topUpGated), testQuestion(topUp), pass(R02)},
		{"row 0 unbound before the rule", testPolicy(topUpGated), testQuestion(topUp, unknown, func(q *Question) { q.Now = noon.Add(-time.Second) }), pass(R02)},
		{"row 0 unbound from the rule on", testPolicy(topUpGated), testQuestion(topUp, unknown), manual(R20)},
		{"row 0 unbound without a rule", testPolicy(), testQuestion(topUp, unknown), pass(R02)},
		{"row 0 no snapshot", testPolicy(topUpGated), testQuestion(topUp, unknown, unusable), pass(R02)},
		{"row 0 no policy", nil, testQuestion(topUp, unknown), pass(R02)},
		{"row 0 after sunset", testPolicy(topUpGated, sunset(AfterSunsetManual)), testQuestion(topUp, unknown), pass(R02)},
		{"row 0 mode off", testPolicy(topUpGated, mode(ModeOff)), testQuestion(topUp, unknown), manual(R20)},
		{"row 0 mode off, all erased", testPolicy(topUpGated, mode(ModeOff)), testQuestion(topUp, unknown, erased(noon.Add(-time.Hour))), pass(R02)},
		{"row 0 mode off, erased before it", testPolicy(topUpGated, mode(ModeOff)), testQuestion(topUp, unknown, erased(at("2022-05-16 23:59:59"))), manual(R20)},
		{"row 0 erased, and on again", testPolicy(topUpGated), testQuestion(topUp, unknown, erased(noon.Add(-time.Hour))), manual(R20)},
		{"row 0 red is bound", testPolicy(topUpGated), testQuestion(topUp, class(ClassRed)), pass(R02)},
		{"row 0 before switches", testPolicy(topUpGated), testQuestion(topUp, unknown, station(SwitchOpen)), manual(R20)},
		{"row 1", testPolicy(), testQuestion(exit, class(ClassRed), station(SwitchManual)), pass(R02)},
		{"row 1 with nothing at all", nil, Question{Purpose: PurposeExit}, pass(R02)},
		{"row 2 station", testPolicy(), testQuestion(station(SwitchOpen), gate(SwitchManual), class(ClassRed)), pass(R02)},
		{"row 2 gate", testPolicy(), testQuestion(station(SwitchManual), gate(SwitchOpen), unreadable), pass(R02)},
		{"row 2 no policy", nil, testQuestion(station(SwitchOpen), unusable), pass(R02)},
		{"row 3 off", testPolicy(mode(ModeOff)), testQuestion(class(ClassRed)), pass(R02)},
		{"row 3 off, manual", testPolicy(mode(ModeOff)), testQuestion(station(SwitchManual)), pass(R02)},
		{"row 3 off, expired", testPolicy(mode(ModeOff), expired), testQuestion(), pass(R02)},
		{"row 3 observe", testPolicy(mode(ModeObserve)), testQuestion(class(ClassYellow)), observed(VerdictRefuse, R12)},
		{"row 3 observe, unknown", testPolicy(mode(ModeObserve)), testQuestion(unknown), observed(VerdictManual, R20)},
		{"row 3 sunset, pass", testPolicy(sunset(AfterSunsetPass)), testQuestion(class(ClassRed)), pass(R02)},
		{"row 3 sunset, manual", testPolicy(sunset(AfterSunsetManual)), testQuestion(), manual(R26)},
		{"row 3 sunset beats expiry", testPolicy(sunset(AfterSunsetPass), expired), testQuestion(unusable, unknown), pass(R02)},
		{"row 4 station", testPolicy(), testQuestion(station(SwitchManual), unreadable), manual(R26)},
		{"row 4 gate", testPolicy(), testQuestion(gate(SwitchManual), class(ClassRed)), manual(R26)},
		{"row 5", testPolicy(), testQuestion(unreadable, unusable), manual(R25)},
		{"row 6 no snapshot", testPolicy(), testQuestion(unusable, unknown), manual(R24)},
		{"row 6 no snapshot, partial record", testPolicy(), testQuestion(unusable, class(ClassRed)), manual(R24)},
		{"row 6 no policy", nil, testQuestion(), manual(R24)},
		{"row 6 expired policy", testPolicy(expired), testQuestion(), manual(R24)},
		{"row 7", testPolicy(), testQuestion(unknown, untrusted), manual(R20)},
		{"row 8", testPolicy(), testQuestion(class(ClassRed), untrusted, noTest), refuse(R13)},
		{"row 8 stale", testPolicy(), testQuestion(class(ClassRed), age(AgeUnknown)), refuse(R13)},
		{"row 8 stale, flag", testPolicy(func(p *Policy) { p.RedNeedsPassable = true }), testQuestion(class(ClassRed), age(dead)), manual(R22)},
		{"row 8 flag, within the limit", testPolicy(func(p *Policy) { p.RedNeedsPassable = true }), testQuestion(class(ClassRed), age(24*time.Hour)), refuse(R13)},
		{"row 9 clock", testPolicy(), testQuestion(untrusted, class(ClassYellow)), manual(R23)},
		{"row 9 anchor ahead", testPolicy(), testQuestion(anchor("2022-05-31")), manual(R23)},
		{"row 9 clock behind the watermark", testPolicy(), testQuestion(class(ClassPopup), age(-time.Hour-1)), manual(R23)},
		{"row 9 clock a little behind", testPolicy(), testQuestion(class(ClassPopup), age(-time.Hour)), refuse(R11)},
		{"row 10 pop-up", testPolicy(), testQuestion(class(ClassPopup), age(fresh)), refuse(R11)},
		{"row 10 yellow", testPolicy(), testQuestion(class(ClassYellow), age(fresh), noTest), refuse(R12)},
		{"row 11 pop-up", testPolicy(), testQuestion(class(ClassPopup), age(stale)), manual(R22)},
		{"row 11 yellow", testPolicy(), testQuestion(class(ClassYellow), age(AgeUnknown)), manual(R22)},
		{"row 11 no such class", testPolicy(), testQuestion(class(9)), manual(R22)},
		{"row 12", testPolicy(), testQuestion(noTest), manual(R21)},
		{"row 12 hold without a test", testPolicy(), testQuestion(noTest, func(q *Question) { q.Record.HoldThrough = day("2022-06-09") }), manual(R21)},
		{"row 13 fresh", testPolicy(), testQuestion(age(fresh)), pass(R00)},
		{"row 13 stale", testPolicy(), testQuestion(age(stale)), pass(R01)},
		{"row 13 stale to the limit", testPolicy(), testQuestion(age(24 * time.Hour)), pass(R01)},
		{"row 13 too stale", testPolicy(), testQuestion(age(dead)), manual(R22)},
		{"row 13 never heard", testPolicy(), testQuestion(age(AgeUnknown)), manual(R22)},
		{"row 14", testPolicy(), testQuestion(anchor("2022-05-27"), age(fresh)), refuse(R10)},
		{"row 15", testPolicy(), testQuestion(anchor("2022-05-27"), age(stale)), manual(R22)},
		{"advisory refuse", testPolicy(mode(ModeAdvisory)), testQuestion(class(ClassRed)), opened(refuse(R13))},
		{"advisory unknown", testPolicy(mode(ModeAdvisory)), testQuestion(unknown), opened(manual(R20))},
		{"advisory expired", testPolicy(mode(ModeAdvisory), expired), testQuestion(), manual(R24)},
		{"lamp", testPolicy(), testQuestion(func(q *Question) { q.Record.Flags = FlagConcession }), lit(pass(R00))},
		{"no lamp on a refusal", testPolicy(), testQuestion(class(ClassRed), func(q *Question) { q.Record.Flags = FlagConcession }), refuse(R13)},
	})
}

// TestJudgeVectors is T1–T15 of docs/decision.md.
func TestJudgeVectors(t *testing.T) {
	type vector struct {
		name   string
		anchor string
		sched  *Schedule
		moment string
		edit   func(*Question)
		want   Answer
	}
	schedule := func(ps ...Policy) *Schedule { return &Schedule{Version: 1, Policies: ps} }
	n := func(effective string, window uint8) Policy {
		p := DefaultPolicy(at(effective))
		p.Window = window
		return p
	}
	n2, n3 := schedule(n("2022-05-17 00:00:00", 2)), schedule(n("2022-05-17 00:00:00", 3))
	longer := schedule(n("2022-05-17 00:00:00", 2), n("2022-06-06 00:00:00", 3))
	shorter := schedule(n("2022-05-17 00:00:00", 3), n("2022-11-24 00:00:00", 2))
	rolling := n("2022-05-17 00:00:00", 2)
	rolling.Unit = UnitRollingHour
	hours := schedule(rolling)
	stale := func(q *Question) { q.Age = 16 * time.Minute }
	sampled := func(minute uint16) func(*Question) {
		return func(q *Question) { q.Record.AnchorMinute = minute }
	}
	hold := func(s string) func(*Question) {
		return func(q *Question) { q.Record.HoldThrough = day(s) }
	}
	for _, v := range []vector{
		{"T1", "2022-05-28", n2, "2022-05-30 23:59:59", nil, pass(R00)},
		{"T2 fresh", "2022-05-28", n2, "2022-05-31 00:00:00", nil, refuse(R10)},
		{"T2 stale", "2022-05-28", n2, "2022-05-31 00:00:00", stale, manual(R22)},
		{"T3", "2022-06-03", longer, "2022-06-05 12:00:00", nil, pass(R00)},
		{"T4", "2022-06-03", longer, "2022-06-06 05:00:00", nil, pass(R00)},
		{"T4 without the change", "2022-06-03", n2, "2022-06-06 05:00:00", nil, refuse(R10)},
		{"T5 before", "2022-11-21", shorter, "2022-11-23 23:59:00", nil, pass(R00)},
		{"T5 after", "2022-11-21", shorter, "2022-11-24 00:00:00", nil, refuse(R10)},
		{"T6 last second", "2022-07-01", n3, "2022-07-04 23:59:59", nil, pass(R00)},
		{"T6 after", "2022-07-01", n3, "2022-07-05 00:00:00", nil, refuse(R10)},
		{"T7 held", "2022-06-30", n3, "2022-07-04 08:00:00", hold("2022-07-04"), pass(R00)},
		{"T7 without hold", "2022-06-30", n3, "2022-07-04 08:00:00", nil, refuse(R10)},
		{"T7 hold over", "2022-06-30", n3, "2022-07-05 00:00:00", hold("2022-07-04"), refuse(R10)},
		{"T7 result in", "2022-07-03", n3, "2022-07-04 08:00:00", nil, pass(R00)},
		{"T8", "2022-06-01", n2, "2022-05-31 12:00:00", nil, manual(R23)},
		{"T9", "2022-05-28", n2, "2022-05-31 00:30:00", func(q *Question) { q.Now = q.Now.UTC() }, refuse(R10)},
		{"T10 last second", "2022-05-28", hours, "2022-05-30 09:30:00", sampled(9*60 + 30), pass(R00)},
		{"T10 after", "2022-05-28", hours, "2022-05-30 09:30:01", sampled(9*60 + 30), refuse(R10)},
		{"T10 sample ahead", "2022-05-28", hours, "2022-05-28 09:29:59", sampled(9*60 + 30), manual(R23)},
		{"T11", "2022-05-30", n3, "2022-05-30 12:00:00", func(q *Question) { q.Record.Class = ClassPopup }, refuse(R11)},
		{"T12", "2022-05-29", n2, "2022-05-30 12:00:00", func(q *Question) { q.Purpose = PurposeExit }, pass(R02)},
		{"T13", "2022-05-29", n2, "2022-05-30 12:00:00", func(q *Question) { q.Known, q.Record = false, Record{} }, manual(R20)},
		{"T14", "2022-05-29", n2, "2022-05-30 12:00:00", func(q *Question) { q.Age = 25 * time.Hour }, manual(R22)},
		{"T15", "2022-05-20", n2, "2022-05-30 12:00:00", stale, manual(R22)},
	} {
		t.Run(v.name, func(t *testing.T) {
			q := testQuestion(func(q *Question) { q.Now, q.Record.Anchor = at(v.moment), day(v.anchor) })
			if v.edit != nil {
				v.edit(&q)
			}
			if got := Judge(v.sched.At(q.Now), &q); got != v.want {
				t.Errorf("got %v %v, want %v %v", got.Verdict, got.Reason, v.want.Verdict, v.want.Reason)
			}
		})
	}
}

// Near midnight, within the clock's drift bound, the day that favours the
// rider counts (IMP-17).
func TestJudgeDriftFavoursTheRider(t *testing.T) {
	drift := func(q *Question) { q.Drift = 5 * time.Second }
	for _, c := range []struct {
		name, anchor, moment string
		want                 Answer
	}{
		{"just past midnight the old day still counts", "2022-05-28", "2022-05-31 00:00:04", pass(R00)},
		{"beyond the bound it does not", "2022-05-28", "2022-05-31 00:00:05", refuse(R10)},
		{"just before midnight tomorrow's test counts", "2022-05-31", "2022-05-30 23:59:55", pass(R00)},
		{"earlier it does not", "2022-05-31", "2022-05-30 23:59:54", manual(R23)},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := testQuestion(drift, func(q *Question) { q.Now, q.Record.Anchor = at(c.moment), day(c.anchor) })
			if got := Judge(testPolicy(), &q); got != c.want {
				t.Errorf("got %v %v, want %v %v", got.Verdict, got.Reason, c.want.Verdict, c.want.Reason)
			}
		})
	}
}

// A clock that runs ahead, or has stepped back to 1970, ends and begins no
// policy: the centre's last word decides which one is in force.
func TestPolicyTime(t *testing.T) {
	off := DefaultPolicy(noon.AddDate(0, 0, 3))
	off.Mode = ModeOff
	sched := &Schedule{Policies: []Policy{*testPolicy(func(p *Policy) { p.Sunset = noon.AddDate(0, 0, 20) }), off}}
	for _, c := range []struct {
		name string
		now  time.Time
		want Reason
	}{
		{"ahead of a sunset", noon.AddDate(0, 0, 30), R13},
		{"ahead of a policy to come", noon.AddDate(0, 0, 4), R13},
		{"in 1970", time.Unix(0, 0), R13},
	} {
		q := testQuestion(func(q *Question) {
			q.Record.Class, q.ClockTrusted, q.Now, q.Age = ClassRed, false, c.now, c.now.Sub(noon)
		})
		if got := Judge(sched.At(q.PolicyTime()), &q); got.Reason != c.want {
			t.Errorf("%s: red is answered %v", c.name, got.Reason)
		}
		q.Record.Class = ClassNormal
		if got := Judge(sched.At(q.PolicyTime()), &q); got.Reason != R23 {
			t.Errorf("%s: a rider with a test is answered %v", c.name, got.Reason)
		}
	}
	sched.Policies = []Policy{*testPolicy(func(p *Policy) { p.Mode = ModeOff })}
	q := testQuestion(func(q *Question) { q.ClockTrusted, q.Now, q.Age = false, time.Unix(0, 0), time.Unix(0, 0).Sub(noon) })
	if got := Judge(sched.At(q.PolicyTime()), &q); got.Reason != R02 {
		t.Errorf("mode off in 1970: %v", got.Reason)
	}
}

// A box that was cut off and off across the sunset, whose clock begins in 1970, answers
// as the document says; and what is certain to have ended.
func TestSunsetReached(t *testing.T) {
	sunset := noon.Add(time.Hour)
	sched := &Schedule{Policies: []Policy{*testPolicy(func(p *Policy) { p.Sunset = sunset })}}
	epoch := time.Unix(0, 0)
	for _, c := range []struct {
		name   string
		q      Question
		reason Reason
		ended  bool
	}{
		{"before it", testQuestion(), R00, false},
		{"at it", testQuestion(func(q *Question) { q.Now = sunset }), R02, true},
		{"at it by less than the drift", testQuestion(func(q *Question) { q.Now, q.Drift = sunset, time.Second }), R02, false},
		{"at it by a clock that is not trusted", testQuestion(func(q *Question) { q.Now, q.ClockTrusted, q.Age = sunset, false, time.Hour }), R23, false},
		{"by the centre's word", testQuestion(func(q *Question) { q.Now, q.ClockTrusted, q.Age = epoch, false, epoch.Sub(sunset) }), R02, true},
		{"in 1970, heard of before", testQuestion(func(q *Question) { q.Now, q.ClockTrusted, q.Age, q.Reached = epoch, false, epoch.Sub(noon), sunset }), R02, true},
		{"in 1970, never heard of the centre", testQuestion(func(q *Question) { q.Now, q.ClockTrusted, q.Age, q.Reached = epoch, false, AgeUnknown, sunset }), R02, true},
		{"never heard of the centre", testQuestion(func(q *Question) { q.Now, q.ClockTrusted, q.Age = sunset, false, AgeUnknown }), R02, false},
		{"a clock that was ahead and is right again", testQuestion(func(q *Question) { q.Reached = sunset }), R00, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Judge(sched.At(c.q.PolicyTime()), &c.q); got.Reason != c.reason {
				t.Errorf("answered %v, want %v", got.Reason, c.reason)
			}
			if lane := LaneAt(sched.At(c.q.PolicyTime()), &c.q); (lane == LaneAuto) != (c.reason != R23) {
				t.Errorf("lane %v", lane)
			}
			if got := sched.EndedBy(&c.q); got.IsZero() == c.ended || c.ended && !got.Equal(sunset) {
				t.Errorf("ended: %v", got)
			}
		})
	}
	q := testQuestion()
	if got := (*Schedule)(nil).EndedBy(&q); !got.IsZero() {
		t.Errorf("without a schedule: %v", got)
	}
}

func TestLaneAt(t *testing.T) {
	policy := func(m Mode) *Policy { return testPolicy(func(p *Policy) { p.Mode = m }) }
	for _, c := range []struct {
		name string
		p    *Policy
		edit func(*Question)
		want Lane
	}{
		{"all well", policy(ModeEnforce), func(*Question) {}, LaneAuto},
		{"stale but passable", policy(ModeEnforce), func(q *Question) { q.Age = 24 * time.Hour }, LaneAuto},
		{"too stale", policy(ModeEnforce), func(q *Question) { q.Age = 25 * time.Hour }, LaneManual},
		{"too stale, off", policy(ModeOff), func(q *Question) { q.Age = 25 * time.Hour }, LaneAuto},
		{"too stale, advisory", policy(ModeAdvisory), func(q *Question) { q.Age = 25 * time.Hour }, LaneAuto},
		{"no snapshot", policy(ModeEnforce), func(q *Question) { q.Usable = false }, LaneManual},
		{"no policy", nil, func(*Question) {}, LaneManual},
		{"clock", policy(ModeEnforce), func(q *Question) { q.ClockTrusted = false }, LaneManual},
		{"switched to manual", policy(ModeEnforce), func(q *Question) { q.Gate = SwitchManual }, LaneManual},
		{"switched to open", nil, func(q *Question) { q.Station = SwitchOpen }, LaneOpen},
		{"exit purpose does not matter", nil, func(q *Question) { q.Purpose = PurposeExit }, LaneManual},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := testQuestion(c.edit)
			if got := LaneAt(c.p, &q); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestJudgeDoesNotAllocate(t *testing.T) {
	s := &Schedule{Policies: []Policy{*testPolicy()}}
	q := testQuestion()
	if n := testing.AllocsPerRun(100, func() { Judge(s.At(q.Now), &q) }); n != 0 {
		t.Errorf("Judge allocates %v times", n)
	}
}

func BenchmarkJudge(b *testing.B) {
	s := &Schedule{Policies: []Policy{*testPolicy()}}
	q := testQuestion()
	b.ReportAllocs()
	for b.Loop() {
		if Judge(s.At(q.Now), &q).Verdict != VerdictPass {
			b.Fatal("not a pass")
		}
	}
}
