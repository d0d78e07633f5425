package gateway

import "time"

// clockBackLimit is how far the box's clock may lie behind the watermark
// before it counts as stepped back and is not trusted (IMP-17).
const clockBackLimit = time.Hour

// AgeUnknown is the age of a watermark that a box has never had.
const AgeUnknown = time.Duration(1<<63 - 1)

// Question is everything a decision depends on.
type Question struct {
	Purpose Purpose
	// Readable is false where the gate could not read the credential.
	Readable bool
	// Station and Gate are the local switches; open on either opens.
	Station, Gate Switch
	// Usable is false while the box holds no complete snapshot.
	Usable bool
	// Known reports whether the box holds a record; Record is that record.
	Known  bool
	Record Record
	// Age is now minus the watermark; AgeUnknown without one. It is negative
	// where the centre's clock is ahead of the box's.
	Age time.Duration
	Now time.Time
	// Erased is when the centre ordered that every record be erased, for the last time;
	// zero = never (IMP-10).
	Erased time.Time
	// Reached is an instant that has passed, whatever a clock says: the sunset at which
	// the box erased its records (IMP-11); zero = none.
	Reached time.Time
	// ClockTrusted says that Now is right within Drift either way (IMP-17).
	ClockTrusted bool
	Drift        time.Duration
}

// clockGood reports whether the box's clock may be believed (row 9).
func (q *Question) clockGood() bool { return q.ClockTrusted && q.Age >= -clockBackLimit }

// PolicyTime is the instant by which policy documents begin and end: now, or
// where the clock may not be believed the watermark, the last instant that the
// centre has vouched for, or Reached. A clock that runs ahead must not end a policy,
// and one that a power cut has set back must not bring one back.
func (q *Question) PolicyTime() time.Time {
	at := q.Now
	if q.clockGood() {
		return at
	}
	if q.Age != AgeUnknown {
		at = at.Add(-q.Age)
	}
	if q.Reached.After(at) {
		at = q.Reached
	}
	return at
}

// EndedBy returns the sunset of the document in force where it is certain to have
// passed, else the zero Time: by a clock that may be believed, even if that is ahead by
// Drift, or by what PolicyTime is in place of one (IMP-11).
func (s *Schedule) EndedBy(q *Question) time.Time {
	at := q.PolicyTime()
	switch {
	case q.clockGood():
		at = at.Add(-q.Drift)
	case q.Age == AgeUnknown && q.Reached.IsZero():
		return time.Time{}
	}
	if p := s.At(at); p != nil && p.Ended(at) {
		return p.Sunset
	}
	return time.Time{}
}

// Judge applies the decision table (docs/decision.md), first match wins. p is
// the document in force at q.PolicyTime for this station, nil if there is none.
// It does not allocate.
func Judge(p *Policy, q *Question) Answer {
	a := judge(p, q)
	a.Open = a.Open || a.Verdict == VerdictPass
	a.TTL = DefaultVerdictTTL
	if p != nil {
		a.TTL = time.Duration(p.VerdictTTL)
	}
	a.Lamp = a.Verdict == VerdictPass && q.Purpose != PurposeTopUp && q.Known && q.Record.Flags&FlagConcession != 0
	return a
}

func judge(p *Policy, q *Question) Answer {
	at := q.PolicyTime()
	ended := p != nil && p.Ended(at)
	switch {
	case q.Purpose == PurposeTopUp: // row 0
		return judgeTopUp(p, q)
	case q.Purpose == PurposeExit: // row 1
		return Answer{Verdict: VerdictPass, Reason: R02}
	case q.Station == SwitchOpen || q.Gate == SwitchOpen: // row 2
		return Answer{Verdict: VerdictPass, Reason: R02}
	case ended: // row 3, the policy is over (IMP-11)
		if p.AfterSunset == AfterSunsetPass {
			return Answer{Verdict: VerdictPass, Reason: R02}
		}
		return Answer{Verdict: VerdictManual, Reason: R26}
	case p != nil && p.Mode == ModeOff: // row 3
		return Answer{Verdict: VerdictPass, Reason: R02}
	case p != nil && p.Mode == ModeObserve: // row 3
		verdict, reason := judgeEntry(p, q)
		return Answer{Verdict: VerdictPass, Reason: R02, Observed: true, Would: verdict, WouldReason: reason}
	}
	verdict, reason := judgeEntry(p, q)
	return Answer{Verdict: verdict, Reason: reason, Open: p != nil && p.Mode == ModeAdvisory && !p.expired(at)}
}

// LaneAt returns what a gate shows between taps, so that a queue does not form
// before a lane in which nobody can pass (IMP-05). It reads of q what does not
// depend on a rider: the switches, Usable, Age, Now, ClockTrusted, Drift, Erased and Reached.
func LaneAt(p *Policy, q *Question) Lane {
	rider := Question{
		Readable: true, Usable: q.Usable, Known: true, Station: q.Station, Gate: q.Gate,
		Age: q.Age, Now: q.Now, ClockTrusted: q.ClockTrusted, Drift: q.Drift, Erased: q.Erased, Reached: q.Reached,
		Record: Record{Anchor: DayOf(q.Now.Add(-q.Drift))},
	}
	switch {
	case q.Station == SwitchOpen || q.Gate == SwitchOpen:
		return LaneOpen
	case Judge(p, &rider).Open: // somebody tested today could pass
		return LaneAuto
	}
	return LaneManual
}

// judgeTopUp is row 0: money service must not stop for want of data.
func judgeTopUp(p *Policy, q *Question) Answer {
	at := q.PolicyTime()
	gated := p != nil && !p.TopUpFrom.IsZero() && !at.Before(p.TopUpFrom) && !p.TopUpLifted(at, q.Erased)
	if q.Known || !q.Usable || !gated {
		return Answer{Verdict: VerdictPass, Reason: R02}
	}
	return Answer{Verdict: VerdictManual, Reason: R20}
}

// judgeEntry is rows 4 to 15.
func judgeEntry(p *Policy, q *Question) (Verdict, Reason) {
	switch {
	case q.Station == SwitchManual || q.Gate == SwitchManual: // row 4
		return VerdictManual, R26
	case !q.Readable: // row 5
		return VerdictManual, R25
	case !q.Usable || p == nil || p.expired(q.PolicyTime()): // row 6
		return VerdictManual, R24
	case !q.Known: // row 7
		return VerdictManual, R20
	}
	fresh := q.Age <= time.Duration(p.FreshLimit)
	passable := q.Age <= time.Duration(p.StalePassLimit)
	r := &q.Record
	switch {
	case r.Class == ClassRed: // row 8
		if p.RedNeedsPassable && !passable {
			return VerdictManual, R22
		}
		return VerdictRefuse, R13
	case !q.clockGood() || p.anchorAhead(r, q.Now.Add(q.Drift)): // row 9
		return VerdictManual, R23
	case r.Class != ClassNormal && !fresh: // row 11
		return VerdictManual, R22
	case r.Class == ClassPopup: // row 10
		return VerdictRefuse, R11
	case r.Class == ClassYellow: // row 10
		return VerdictRefuse, R12
	case r.Class != ClassNormal: // not a class: it says nothing about the rider
		return VerdictManual, R22
	case r.Anchor == 0: // row 12
		return VerdictManual, R21
	}
	// Within the clock's drift bound of midnight the earlier day counts, the
	// one that favours the rider (IMP-17).
	switch valid := p.testValid(r, q.Now.Add(-q.Drift)); {
	case valid && fresh: // row 13
		return VerdictPass, R00
	case valid && passable: // row 13
		return VerdictPass, R01
	case !valid && fresh: // row 14
		return VerdictRefuse, R10
	}
	return VerdictManual, R22 // rows 13 and 15
}

func (p *Policy) expired(now time.Time) bool {
	return !p.Expires.IsZero() && !now.Before(p.Expires)
}

// anchorAhead reports whether the record's test lies after now, the latest
// moment the clock allows (row 9).
func (p *Policy) anchorAhead(r *Record, now time.Time) bool {
	if p.Unit == UnitRollingHour {
		return r.Anchor != 0 && r.anchorTime().After(now)
	}
	return r.Anchor > DayOf(now)
}

// testValid is the condition of row 13 at now.
func (p *Policy) testValid(r *Record, now time.Time) bool {
	today := DayOf(now)
	if r.HoldThrough != 0 && today <= r.HoldThrough {
		return true
	}
	if p.Unit == UnitRollingHour {
		return !now.After(r.anchorTime().Add(time.Duration(p.Window) * 24 * time.Hour))
	}
	return int(today)-int(r.Anchor) <= int(p.Window)
}

func (r *Record) anchorTime() time.Time {
	return r.Anchor.Start().Add(time.Duration(r.AnchorMinute) * time.Minute)
}
