package rules

// Issue is the first top-up of a new card (TOP-04, TOP-05). From the instant
// NewCardFrom it needs the buyer's identity and links the card. Where the buyer
// has one of that medium the sale succeeds, and the binding waits until that
// one is unbound (OQ-06).
type Issue struct {
	Card
	Person     Person
	Identified bool
	// Consent is the version of the text that was agreed to with the purchase;
	// 0 = none was asked for.
	Consent uint16
}

func (Issue) function() Function { return FunctionNewCard }

func (c Issue) decide(d *draft) (Answer, *Refusal) {
	if !begun(d.rules.NewCardFrom, d.now) {
		return done(), nil
	}
	if !c.Identified || c.Person == (Person{}) {
		return Answer{}, refuse(CodeFirstTopUp)
	}
	if c.Consent != 0 {
		if refusal := d.agreed(c.Identified, c.Consent); refusal != nil {
			return Answer{}, refusal
		}
	}
	kind, known := d.kind(c.Kind)
	switch {
	case !known || kind.Upgrade == ByNobody || kind.Medium == MediumRide:
		return Answer{}, refuse(CodeUnsupported)
	case kind.Upgrade != BySelf:
		return done(), nil // its list links it (BO-01, BO-03)
	}
	if owner, owned := d.owner(c.Card); owned {
		return c.known(d, owner)
	}
	h := d.holder(c.Person)
	if len(h.Bindings) >= MaxPerPerson {
		return Answer{}, refuse(CodeTooMany)
	}
	b := Binding{Card: c.Card, Person: c.Person, Medium: kind.Medium, Source: SourceIssue, Slot: !kind.NoSlot,
		Since: d.now.Unix(), Consent: c.Consent}
	if b.Slot && d.quotas().slotFor(h, kind.Medium) != nil {
		if len(h.Cases) >= maxCases {
			return Answer{}, refuse(CodeTooMany)
		}
		d.wait(Case{Reason: CaseSlot, Want: b})
		return Answer{Outcome: Outcome{Result: ResultPending}}, nil
	}
	d.bind(b)
	return done(), nil
}

// maxCases is the largest number of cards that may wait for one person.
const maxCases = 16

// known answers for a card that somebody has already.
func (c Issue) known(d *draft, owner Person) (Answer, *Refusal) {
	switch {
	case owner != c.Person:
		return Answer{}, refuse(CodeOtherOwner)
	case d.isBound(c.Card):
		return already(), nil
	}
	return Answer{Outcome: Outcome{Result: ResultPending}}, nil
}
