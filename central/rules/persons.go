package rules

import (
	"slices"

	"gateline/gateway"
)

// Merge makes one person of two pseudonyms, where an identity was corrected
// (IMP-29). Nothing is unbound, even above a quota. From is forgotten, its
// status too, and it is no other name for Into: a wrong identity number may be
// the right one of somebody else, whose status and reports those are. Where
// Into has no report yet, riders go to the manual lane until there is one.
type Merge struct{ From, Into Person }

func (Merge) function() Function { return FunctionPersons }

func (c Merge) decide(d *draft) (Answer, *Refusal) {
	if c.From == c.Into || c.From == (Person{}) || c.Into == (Person{}) {
		return Answer{}, malformed("from and into: two persons are needed; give both")
	}
	from, into := d.holder(c.From), d.holder(c.Into)
	if len(from.Bindings)+len(into.Bindings) > MaxPerPerson {
		return Answer{}, refuse(CodeTooMany)
	}
	if from.empty() {
		return already(), nil
	}
	d.events = append(d.events, Merged(c))
	return done(), nil
}

// empty reports whether the registry knows nothing of a person.
func (h *Holder) empty() bool {
	return h.Revision == 0 && len(h.Bindings) == 0 && len(h.Cases) == 0 && h.HelpedEver == 0
}

// Split gives some bindings of a person to another one, where two persons were
// taken for one (IMP-29). The status stays with the first: a person without a
// report goes to the manual lane until there is one.
type Split struct {
	From, Into Person
	Tokens     []gateway.Token
}

func (Split) function() Function { return FunctionPersons }

func (c Split) decide(d *draft) (Answer, *Refusal) {
	if c.From == c.Into || c.Into == (Person{}) || len(c.Tokens) == 0 || len(c.Tokens) > MaxPerPerson {
		return Answer{}, malformed("from, into and cards: another person and 1 to %d cards are needed; give them", MaxPerPerson)
	}
	for i, t := range c.Tokens {
		b, bound := d.binding(t)
		if !bound || b.Person != c.From || slices.Contains(c.Tokens[:i], t) {
			return Answer{}, refuse(CodeNotBound)
		}
		into := d.holder(c.Into)
		if len(into.Bindings) >= MaxPerPerson {
			return Answer{}, refuse(CodeTooMany)
		}
		d.move(b, into)
	}
	return done(), nil
}

func (d *draft) move(b Binding, into *Holder) {
	if b.Slot {
		d.freed = append(d.freed, b.Person)
	}
	d.holder(b.Person).remove(b.Token)
	b.Person = into.Person
	if b.Helper == b.Person { // an own card, after all (UPG-06)
		b.Helper = Person{}
		into.Helped--
	}
	into.Bindings = append(into.Bindings, b)
	d.bindings[b.Token] = &b
	d.events = append(d.events, Moved{Token: b.Token, To: into.Person})
}

// Delete erases a person: every binding, what waits, status, counters, and
// every mention as helper or guardian (PRV-04). The outcomes of requests that
// are kept name nobody.
type Delete struct{ Person Person }

func (Delete) function() Function { return FunctionPersons }

func (c Delete) decide(d *draft) (Answer, *Refusal) {
	if c.Person == (Person{}) {
		return Answer{}, malformed("person: missing; say who is to be deleted")
	}
	answer := d.endPerson(c.Person)
	d.events = append(d.events, Forgotten(c))
	answer.Result = ResultDone
	return answer, nil
}
