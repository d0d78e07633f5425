package rules

import (
	"time"

	"gateline/gateway"
)

// Term is a value that is in force from an instant on (TIME-05: inclusive),
// until the next term of its list begins.
type Term[T any] struct {
	From  time.Time `json:"from"`
	Value T         `json:"value"`
}

// Terms are the successive values of one subject, in ascending order of their
// instants. Before the first of them the zero value is in force.
type Terms[T any] []Term[T]

// At returns the value in force at now.
func (t Terms[T]) At(now time.Time) T {
	for i := len(t) - 1; i >= 0; i-- {
		if !t[i].From.After(now) {
			return t[i].Value
		}
	}
	var none T
	return none
}

// After returns the terms that are not in force yet at now: those that are
// pre-staged.
func (t Terms[T]) After(now time.Time) Terms[T] {
	for i := range t {
		if t[i].From.After(now) {
			return t[i:]
		}
	}
	return nil
}

// Rules is what may change without a new program (QTA-05, CH-R2). The zero
// Rules entitles nobody to anything.
type Rules struct {
	Quotas   Terms[Quotas]   `json:"quotas"`
	Kinds    Terms[[]Kind]   `json:"kinds"`
	Channels Terms[Matrix]   `json:"channels"`
	Consents Terms[[]uint16] `json:"consents"`
	// DayRules are the versions of how a result's anchor day is counted.
	DayRules Terms[DayRule] `json:"day_rules"`
	// TopUpFrom is the instant from which a top-up needs an upgraded card
	// (TOP-01); zero = never.
	TopUpFrom time.Time `json:"top_up_from,omitzero"`
	// NewCardFrom is the instant from which a new card's first top-up needs an
	// identity and links the card (TOP-04, TOP-05); zero = never.
	NewCardFrom time.Time `json:"new_card_from,omitzero"`
}

// begun reports whether an instant of Rules has come.
func begun(from, now time.Time) bool { return !from.IsZero() && !now.Before(from) }

// DayRule says how a result's anchor day follows from its instant (IMP-16).
type DayRule uint8

const (
	// DayRuleResult counts from the day of the result.
	DayRuleResult DayRule = 1
	// DayRuleNight counts a result from 00:00 up to 06:00 as one of the day
	// before.
	DayRuleNight DayRule = 2
)

const nightEnds = 6 * time.Hour

// AnchorDay returns the anchor day of a result, by the rule that was in force
// when the result came: older results keep theirs (IMP-16). It is 0 where no
// rule was in force.
func (r *Rules) AnchorDay(result time.Time) gateway.Day {
	switch r.DayRules.At(result) {
	case DayRuleResult:
		return gateway.DayOf(result)
	case DayRuleNight:
		day := gateway.DayOf(result)
		if result.Sub(day.Start()) < nightEnds {
			day--
		}
		return day
	}
	return 0
}
