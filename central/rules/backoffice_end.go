package rules

import "gateline/gateway"

// EndOfList closes a full delivery of a list: bindings of the list that the
// delivery has not named end (BO-01). Most is how many that may be; a list that
// would end more is taken for a damaged one and refused (IMP-20). At most
// MaxRows end at once: while the answer says More the command is sent again,
// with Most as it was or lower.
type EndOfList struct {
	List uint8
	Run  uint32
	Most int
}

func (EndOfList) function() Function { return FunctionBackOffice }

func (c EndOfList) decide(d *draft) (Answer, *Refusal) {
	if c.List == 0 || c.Run == 0 {
		return Answer{}, malformed("list and run: missing; only a full delivery has an end")
	}
	behind := d.view.Behind(c.List, c.Run)
	if len(behind) > c.Most {
		return Answer{}, malformed("most: %d bindings would end, more than %d; check that the list is whole, then raise it", len(behind), c.Most)
	}
	return d.endAll(behind), nil
}

// Expire ends the bindings whose last day is over (BO-03, IMP-29). It is sent
// once a day, and again while the answer says More.
type Expire struct{}

func (Expire) function() Function { return FunctionBackOffice }

func (Expire) decide(d *draft) (Answer, *Refusal) {
	return d.endAll(d.view.Expired(gateway.DayOf(d.now))), nil
}

// endAll ends the first MaxRows of the given bindings.
func (d *draft) endAll(tokens []gateway.Token) Answer {
	answer := already()
	if answer.More = len(tokens) > MaxRows; answer.More {
		tokens = tokens[:MaxRows]
	}
	for _, t := range tokens {
		if b, bound := d.binding(t); bound {
			d.end(b)
			answer.Ended++
			answer.Result = ResultDone
		}
	}
	return answer
}

// Died ends every binding of a person, and what waits for that person
// (IMP-29).
type Died struct{ Person Person }

func (Died) function() Function { return FunctionBackOffice }

func (c Died) decide(d *draft) (Answer, *Refusal) {
	return d.endPerson(c.Person), nil
}

func (d *draft) endPerson(p Person) Answer {
	h := d.holder(p)
	for len(h.Cases) > 0 {
		d.close(h.Cases[0].Want.Token)
	}
	answer := already()
	for len(h.Bindings) > 0 {
		d.end(h.Bindings[0])
		answer.Ended++
	}
	if len(d.events) > 0 {
		answer.Result = ResultDone
	}
	return answer
}

// WithdrawStudent ends a student's binding at once, by the guardian who has
// authorised it (BO-03).
type WithdrawStudent struct {
	Token    gateway.Token
	Guardian Person
}

func (WithdrawStudent) function() Function { return FunctionGuardian }

func (c WithdrawStudent) decide(d *draft) (Answer, *Refusal) {
	b, bound := d.binding(c.Token)
	if !bound || c.Guardian == (Person{}) || b.Listing.Guardian != c.Guardian {
		return Answer{}, refuse(CodeNotBound)
	}
	d.end(b)
	return done(), nil
}

// Resolve is a human's word on what waits (BO-02). Grant gives the card to the
// person it waits for, ending the binding that is there; else the case is
// closed and all stays as it is.
type Resolve struct {
	Token gateway.Token
	Grant bool
}

func (Resolve) function() Function { return FunctionResolve }

func (c Resolve) decide(d *draft) (Answer, *Refusal) {
	waiting, ok := d.caseOf(c.Token)
	if !ok {
		return already(), nil
	}
	want := waiting.Want
	want.Since = d.now.Unix()
	h := d.holder(want.Person)
	if c.Grant && want.Slot {
		if refusal := d.quotas().slotFor(h, want.Medium); refusal != nil {
			return Answer{}, refusal
		}
	}
	d.close(c.Token)
	if !c.Grant {
		return done(), nil
	}
	have, bound := d.binding(c.Token)
	if bound && have.Person != want.Person {
		d.end(have)
		bound = false
	}
	if _, refusal := d.accept(want, have, bound); refusal != nil {
		return Answer{}, refusal
	}
	return done(), nil
}
