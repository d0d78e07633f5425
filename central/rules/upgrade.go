package rules

import "gateline/gateway"

// Upgrade binds a card or a phone's card to its holder (UPG-01).
type Upgrade struct {
	Card
	Person     Person
	Identified bool
	// Consent is the version of the text that the person has agreed to; 0 =
	// none (E111).
	Consent uint16
}

func (Upgrade) function() Function { return FunctionUpgrade }

func (c Upgrade) decide(d *draft) (Answer, *Refusal) {
	return d.upgrade(c)
}

// Help binds a physical card to the person it belongs to, on a helper's word
// (UPG-05). Identified and Consent speak of that person.
type Help struct {
	Card
	Person     Person
	Helper     Person
	Identified bool
	Consent    uint16
}

func (Help) function() Function { return FunctionHelp }

func (c Help) decide(d *draft) (Answer, *Refusal) {
	if c.Helper == (Person{}) {
		return Answer{}, malformed("helper: missing; say who is logged in")
	}
	own := Upgrade{Card: c.Card, Person: c.Person, Identified: c.Identified, Consent: c.Consent}
	if c.Helper == c.Person {
		return d.upgrade(own) // own cards never count as help (UPG-06)
	}
	if kind, known := d.kind(c.Kind); known && kind.Medium != MediumPhysical {
		return Answer{}, refuse(CodeHelpPhysical)
	}
	b, answer, refusal := d.upgradable(own)
	if refusal != nil || answer.Result == ResultAlready {
		return answer, refusal
	}
	if refusal := d.quotas().helperFor(d.holder(c.Helper)); refusal != nil {
		return Answer{}, refusal
	}
	b.Source, b.Helper = SourceHelper, c.Helper
	d.bind(b)
	return done(), nil
}

// Swap ends the binding of one card and binds another in its place, both or
// neither (QTA-03, QTA-07).
type Swap struct {
	Old        gateway.Token
	New        Card
	Person     Person
	Identified bool
	Consent    uint16
}

// A swap is an upgrade, and needs the right to unbind as well.
func (Swap) function() Function { return FunctionUpgrade }

func (c Swap) decide(d *draft) (Answer, *Refusal) {
	if !d.rules.Channels.At(d.now).allows(d.channel, FunctionUnbind) {
		return Answer{}, refuse(CodeChannel)
	}
	if c.Old == c.New.Token {
		return Answer{}, malformed("new card: it is the old one; give another")
	}
	old, bound := d.binding(c.Old)
	if made, ok := d.binding(c.New.Token); !bound && ok && made.Person == c.Person {
		return already(), nil // sent again
	}
	if !bound || old.Person != c.Person || old.Source.backOffice() {
		return Answer{}, refuse(CodeNotBound)
	}
	d.end(old)
	return d.upgrade(Upgrade{Card: c.New, Person: c.Person, Identified: c.Identified, Consent: c.Consent})
}

func (d *draft) upgrade(c Upgrade) (Answer, *Refusal) {
	b, answer, refusal := d.upgradable(c)
	if refusal != nil || answer.Result == ResultAlready {
		return answer, refusal
	}
	d.bind(b)
	return done(), nil
}

// upgradable returns the binding that an upgrade would make, as one of the
// person's own; or ResultAlready where the pair is bound (UPG-01).
func (d *draft) upgradable(c Upgrade) (Binding, Answer, *Refusal) {
	kind, refusal := d.mayUpgrade(c)
	if refusal != nil {
		return Binding{}, Answer{}, refusal
	}
	switch owner, owned := d.owner(c.Card); {
	case owned && owner != c.Person:
		return Binding{}, Answer{}, refuse(CodeOtherOwner)
	case owned && d.isBound(c.Card):
		return Binding{}, already(), nil
	}
	h := d.holder(c.Person)
	if !kind.NoSlot {
		if refusal := d.quotas().slotFor(h, kind.Medium); refusal != nil {
			return Binding{}, Answer{}, refusal
		}
	}
	if len(h.Bindings) >= MaxPerPerson {
		return Binding{}, Answer{}, refuse(CodeTooMany)
	}
	return Binding{Card: c.Card, Person: c.Person, Medium: kind.Medium, Source: SourceSelf, Slot: !kind.NoSlot,
		Since: d.now.Unix(), Consent: c.Consent}, Answer{}, nil
}

// mayUpgrade asks what does not depend on anybody's bindings: form, identity,
// consent (UPG-02) and kind.
func (d *draft) mayUpgrade(c Upgrade) (Kind, *Refusal) {
	if c.Person == (Person{}) {
		return Kind{}, malformed("person: missing; say whose card it is")
	}
	if refusal := d.agreed(c.Identified, c.Consent); refusal != nil {
		return Kind{}, refusal
	}
	kind, known := d.kind(c.Kind)
	if refusal := kind.selfUpgradable(known, d.channel); refusal != nil {
		return Kind{}, refusal
	}
	if kind.Medium == MediumRide {
		return Kind{}, refuse(CodeUnsupported) // a ride code is authorised (RC-01)
	}
	return kind, nil
}

// agreed refuses where identity or consent is missing (UPG-02). A version of
// the text that is not in force is no consent.
func (d *draft) agreed(identified bool, consent uint16) *Refusal {
	if !identified {
		return refuse(CodeIdentity)
	}
	for _, v := range d.rules.Consents.At(d.now) {
		if v == consent && v != 0 {
			return nil
		}
	}
	return refuse(CodeConsent)
}

// owner returns who has a card: by a binding, or by having bought it while it
// waits for a slot (TOP-05). A list's claim that waits for a human gives
// nothing.
func (d *draft) owner(c Card) (Person, bool) {
	if b, bound := d.binding(c.Token); bound {
		return b.Person, true
	}
	if waiting, ok := d.caseOf(c.Token); ok && waiting.Reason == CaseSlot {
		return waiting.Want.Person, true
	}
	return Person{}, false
}

func (d *draft) isBound(c Card) bool {
	_, bound := d.binding(c.Token)
	return bound
}
