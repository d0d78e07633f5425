package rules

import (
	"fmt"
	"io"
	"time"

	"gateline/gateway"
)

// Report is a person's status as the health source knows it. Revision orders
// the reports of one person: an older one is ignored whenever it comes
// (IMP-12), and a higher one may lower the day or take the test away (IMP-13).
// Somebody without a binding can have a status, so that the next binding
// answers at once.
type Report struct {
	Person Person
	// Revision counts up from 1 for each person; 0 = the one after the last, for
	// reports in the order in which they come.
	Revision uint64
	Class    gateway.Class
	// Anchor is the day from which the test counts, or Result the instant of
	// the result from which that day follows (IMP-16). Neither: no test on
	// record.
	Anchor gateway.Day
	Result time.Time
	// Minute of the anchor day at which the sample was taken, where windows are
	// counted in hours; only with Anchor.
	Minute uint16
	// HoldThrough is the last day on which a pending result keeps the status
	// valid (IMP-15); 0 = none.
	HoldThrough gateway.Day
}

// Format hides the report, whatever the verb: it is a health status.
func (Report) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "report:hidden") }

// MarshalText hides the report from JSON and structured logs.
func (Report) MarshalText() ([]byte, error) { return []byte("report:hidden"), nil }

func (Report) function() Function { return FunctionReport }

func (c Report) decide(d *draft) (Answer, *Refusal) {
	result, refusal := d.report(c)
	switch {
	case refusal != nil:
		return Answer{}, refusal
	case result == ResultOlder:
		return already(), nil
	}
	return Answer{Outcome: Outcome{Result: result}}, nil
}

// report takes one report: it is done, older than what is known, or already so.
func (d *draft) report(c Report) (Result, *Refusal) {
	record, refusal := c.record(d.rules)
	if refusal != nil {
		return "", refusal
	}
	h := d.holder(c.Person)
	if c.Revision == 0 && h.Revision > 0 && record == h.Record {
		return ResultAlready, nil
	}
	if c.Revision == 0 {
		c.Revision = h.Revision + 1
	}
	switch {
	case c.Revision < h.Revision:
		return ResultOlder, nil
	case c.Revision == h.Revision && record == h.Record:
		return ResultAlready, nil
	case c.Revision == h.Revision:
		return "", malformed("revision: another report of this person has it; a correction needs a higher one")
	}
	h.Record, h.Revision = record, c.Revision
	d.events = append(d.events, Reported{Person: c.Person, Record: record, Revision: c.Revision})
	return ResultDone, nil
}

// MaxReports is the largest number of reports in one command.
const MaxReports = 500

// Reports are reports that have nothing to do with each other but that they come
// together: one that is refused is rejected by itself, and the others go on. The
// answer counts those that took effect as Bound, and has a row for each other
// one.
type Reports struct{ Rows []Report }

func (Reports) function() Function { return FunctionReport }

func (c Reports) decide(d *draft) (Answer, *Refusal) {
	if len(c.Rows) == 0 || len(c.Rows) > MaxReports {
		return Answer{}, malformed("reports: %d of them, not 1 … %d; send them in parts", len(c.Rows), MaxReports)
	}
	answer := already()
	for i, r := range c.Rows {
		result, refusal := d.report(r)
		switch {
		case refusal != nil:
			answer.Rejected++
			answer.Rows = append(answer.Rows, RowAnswer{Row: i, Result: ResultRejected, Code: refusal.Code})
		case result == ResultDone:
			answer.Bound++
			answer.Result = ResultDone
		default:
			answer.Rows = append(answer.Rows, RowAnswer{Row: i, Result: result})
		}
	}
	if int(answer.Rejected) == len(c.Rows) {
		answer.Result = ResultRejected
	}
	return answer, nil
}

func (c Report) record(r *Rules) (gateway.Record, *Refusal) {
	record := gateway.Record{Class: c.Class, Anchor: c.Anchor, HoldThrough: c.HoldThrough, AnchorMinute: c.Minute}
	switch {
	case c.Person == (Person{}):
		return record, malformed("person: missing; say whose status it is")
	case !c.Result.IsZero() && (c.Anchor != 0 || c.Minute != 0):
		return record, malformed("result: given beside an anchor day; give one of both")
	case !c.Result.IsZero():
		if record.Anchor = r.AnchorDay(c.Result); record.Anchor <= 0 {
			return record, malformed("result: no rule says how its day is counted; give the anchor day")
		}
	}
	if !record.Valid() {
		return record, malformed("status: a field is out of its range; correct it")
	}
	return record, nil
}
