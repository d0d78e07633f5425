package gateway

import (
	"fmt"
	"time"
)

// Verdict is the answer in one word. The zero Verdict is the manual lane.
type Verdict uint8

const (
	// VerdictManual (NOTFOUND) sends the rider to the manual lane.
	VerdictManual Verdict = 0
	// VerdictPass (PASS) lets the rider through.
	VerdictPass Verdict = 1
	// VerdictRefuse (ABNORMAL) turns the rider back.
	VerdictRefuse Verdict = 2
)

// String returns the verdict's name.
func (v Verdict) String() string {
	switch v {
	case VerdictManual:
		return "manual"
	case VerdictPass:
		return "pass"
	case VerdictRefuse:
		return "refuse"
	}
	return "invalid"
}

// Reason is the internal code behind a verdict. It is counted and, on a staff
// screen only, shown; a gate never shows it (PRV-05).
type Reason uint8

const (
	R00 Reason = 0  // valid
	R01 Reason = 1  // valid, data stale
	R02 Reason = 2  // exit, open, mode off, observe or after sunset; top-up allowed
	R10 Reason = 10 // test too old
	R11 Reason = 11 // pop-up
	R12 Reason = 12 // yellow
	R13 Reason = 13 // red
	R20 Reason = 20 // not bound
	R21 Reason = 21 // bound, no test on record
	R22 Reason = 22 // record too stale to refuse or to pass
	R23 Reason = 23 // clock not trusted
	R24 Reason = 24 // no usable snapshot, or no policy
	R25 Reason = 25 // unsupported medium or unreadable number
	R26 Reason = 26 // switched to manual
)

// Reasons returns every reason code there is, in order.
func Reasons() []Reason {
	return []Reason{R00, R01, R02, R10, R11, R12, R13, R20, R21, R22, R23, R24, R25, R26}
}

// Verdict returns the verdict that the reason stands behind.
func (r Reason) Verdict() Verdict {
	switch {
	case r < R10:
		return VerdictPass
	case r < R20:
		return VerdictRefuse
	}
	return VerdictManual
}

// String returns the code as R00 … R26.
func (r Reason) String() string { return fmt.Sprintf("R%02d", uint8(r)) }

// Answer is what a gate is told. The zero Answer keeps the door shut and sends
// the rider to the manual lane.
type Answer struct {
	Verdict Verdict
	Reason  Reason
	// Open tells the gate to open its door. It is true on every pass, and in
	// advisory mode on every verdict.
	Open bool
	// Lamp asks the gate to light its concession lamp (GATE-10).
	Lamp bool
	// TTL is how long the answer is good for. A repeat of the same question
	// within it gets the identical answer; a gate does not act on it later
	// (GATE-07, IMP-24).
	TTL time.Duration
	// Observed is true in mode observe; Would and WouldReason are then what
	// the answer would have been.
	Observed    bool
	Would       Verdict
	WouldReason Reason
}

// Lane is what a gate shows between taps. The zero Lane is the manual one.
type Lane uint8

const (
	// LaneManual: the automatic lane is of no use now, riders go to the staff.
	LaneManual Lane = 0
	// LaneAuto: riders tap.
	LaneAuto Lane = 1
	// LaneOpen: the door stays open.
	LaneOpen Lane = 2
)

// String returns the lane's name.
func (l Lane) String() string {
	switch l {
	case LaneManual:
		return "manual"
	case LaneAuto:
		return "auto"
	case LaneOpen:
		return "open"
	}
	return "invalid"
}

// Text returns what the gate shows for the answer: nothing on a pass, because
// a pass looks like any ordinary tap.
func (t *Texts) Text(a Answer, p Purpose) Text {
	switch {
	case a.Verdict == VerdictPass:
		return Text{}
	case a.Verdict == VerdictRefuse:
		return t.Refuse
	case p == PurposeTopUp:
		return t.TopUp
	case a.Reason == R26:
		return t.Manual
	}
	return t.NotFound
}
