package rules

import "gateline/gateway"

// MaxRows is the largest number of rows in one command of the back office.
const MaxRows = gateway.MaxChanges

// Row is one card of a list.
type Row struct {
	Card
	Person Person
	// ValidTo is the card's last day; 0 = no end.
	ValidTo gateway.Day
	// Guardian has authorised a student's card; else nobody.
	Guardian Person
}

// Concessions is a part of a list of concession cards (BO-01). Sending rows
// again changes nothing. A row that cannot be taken is rejected or put before a
// human by itself; the others go on.
type Concessions struct {
	// List is the list's number, from 1.
	List uint8
	// Run numbers the full deliveries of the list, from 1; 0 = an incremental
	// one, in which a missing card means nothing. A full one is closed by
	// EndOfList; no incremental one comes between its parts.
	Run  uint32
	Rows []Row
}

func (Concessions) function() Function { return FunctionBackOffice }

func (c Concessions) decide(d *draft) (Answer, *Refusal) {
	return d.list(c.Rows, listTerms{list: c.List, run: c.Run, source: SourceList,
		may: func(k Kind, _ Row) *Refusal {
			if !k.listed() {
				return refuse(CodeUnsupported)
			}
			return nil
		}})
}

// Students is a part of a school's batch of physical student cards (BO-03).
// A row without a guardian has no authorisation and is rejected (E111).
type Students struct {
	List uint8
	Run  uint32
	Rows []Row
}

func (Students) function() Function { return FunctionBackOffice }

func (c Students) decide(d *draft) (Answer, *Refusal) {
	return d.list(c.Rows, listTerms{list: c.List, run: c.Run, source: SourceStudents,
		may: func(k Kind, r Row) *Refusal {
			switch {
			case k.Upgrade != ByStudents:
				return refuse(CodeUnsupported)
			case r.Guardian == Person{}:
				return refuse(CodeConsent)
			}
			return nil
		}})
}

// listTerms is what all rows of a command share.
type listTerms struct {
	list   uint8
	run    uint32
	source Source
	may    func(Kind, Row) *Refusal
}

func (d *draft) list(rows []Row, terms listTerms) (Answer, *Refusal) {
	switch {
	case terms.list == 0:
		return Answer{}, malformed("list: missing; number the lists from 1")
	case len(rows) == 0 || len(rows) > MaxRows:
		return Answer{}, malformed("rows: %d of them, not 1 … %d; send the list in parts", len(rows), MaxRows)
	}
	answer := already()
	var seen []gateway.Token
	for i, row := range rows {
		result, refusal := d.row(row, terms)
		switch {
		case refusal != nil:
			answer.Rejected++
			answer.Rows = append(answer.Rows, RowAnswer{Row: i, Result: ResultRejected, Code: refusal.Code})
		case result == ResultConflict:
			answer.Conflicts++
			answer.Rows = append(answer.Rows, RowAnswer{Row: i, Result: ResultConflict})
		case result == ResultDone:
			answer.Bound++
		}
		if d.names(row.Token, terms) {
			seen = append(seen, row.Token)
		}
	}
	if len(seen) > 0 {
		d.events = append(d.events, Seen{Run: terms.run, Tokens: seen})
	}
	if len(d.events) > 0 {
		answer.Result = ResultDone
	}
	return answer, nil
}

// names reports whether a full delivery has to note that it names a card of its
// list. So has a row that is rejected or goes before a human: the card is not
// missing, and what is bound keeps working.
func (d *draft) names(t gateway.Token, terms listTerms) bool {
	b, bound := d.binding(t)
	if !bound || b.Listing.List != terms.list || b.Listing.Run >= terms.run {
		return false
	}
	b.Listing.Run = terms.run
	d.replace(b)
	return true
}

// row takes one card of a list.
func (d *draft) row(row Row, terms listTerms) (Result, *Refusal) {
	kind, known := d.kind(row.Kind)
	if !known {
		return "", refuse(CodeUnsupported)
	}
	if row.Person == (Person{}) || row.ValidTo < 0 {
		return "", refuse(CodeMalformed)
	}
	if refusal := terms.may(kind, row); refusal != nil {
		return "", refusal
	}
	want := Binding{Card: row.Card, Person: row.Person, Medium: kind.Medium, Source: terms.source, Lamp: kind.Lamp, Since: d.now.Unix(),
		Listing: Listing{List: terms.list, Run: terms.run, ValidTo: row.ValidTo, Guardian: row.Guardian}}
	if gateway.DayOf(d.now) > row.ValidTo && row.ValidTo != 0 {
		return "", refuse(CodeUnsupported) // it would end the same day
	}
	have, bound := d.binding(row.Token)
	if bound && have.Person != row.Person {
		if _, waits := d.caseOf(row.Token); !waits && len(d.holder(row.Person).Cases) >= maxCases {
			return "", refuse(CodeTooMany)
		}
		d.wait(Case{Reason: CaseOwner, Want: want})
		return ResultConflict, nil
	}
	return d.accept(want, have, bound)
}

// accept makes a binding of the back office where nobody else has the card: a
// new one, or the marking of the one that is there, whose time and consent stay
// (BO-02).
func (d *draft) accept(want, have Binding, bound bool) (Result, *Refusal) {
	if !bound {
		if len(d.holder(want.Person).Bindings) >= MaxPerPerson {
			return "", refuse(CodeTooMany)
		}
		d.bind(want)
		return ResultDone, nil
	}
	want.Since, want.Consent = have.Since, have.Consent
	same := want
	same.Listing.Run = have.Listing.Run
	if same == have {
		d.close(want.Token) // an earlier claim of the list for another person
		return ResultAlready, nil
	}
	if want.Listing.Run == 0 && want.Listing.List == have.Listing.List {
		want.Listing.Run = have.Listing.Run
	}
	d.mark(have, want)
	return ResultDone, nil
}
