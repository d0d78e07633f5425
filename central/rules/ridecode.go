package rules

import "gateline/gateway"

// Authorise links a ride-code account, an issuer's code with the account's
// number, to its person: one consent and no card number (RC-01). It takes no
// slot (QTA-06).
type Authorise struct {
	Account    Card
	Person     Person
	Identified bool
	Consent    uint16
}

func (Authorise) function() Function { return FunctionRideCode }

func (c Authorise) decide(d *draft) (Answer, *Refusal) {
	if c.Person == (Person{}) {
		return Answer{}, malformed("person: missing; say whose account it is")
	}
	if refusal := d.agreed(c.Identified, c.Consent); refusal != nil {
		return Answer{}, refusal
	}
	kind, known := d.kind(c.Account.Kind)
	if refusal := kind.selfUpgradable(known, d.channel); refusal != nil {
		return Answer{}, refusal
	}
	if kind.Medium != MediumRide {
		return Answer{}, refuse(CodeUnsupported)
	}
	if b, bound := d.binding(c.Account.Token); bound {
		if b.Person != c.Person {
			return Answer{}, refuse(CodeOtherOwner)
		}
		return already(), nil
	}
	if len(d.holder(c.Person).Bindings) >= MaxPerPerson {
		return Answer{}, refuse(CodeTooMany)
	}
	d.bind(Binding{Card: c.Account, Person: c.Person, Medium: MediumRide, Source: SourceRide, Since: d.now.Unix(), Consent: c.Consent})
	return done(), nil
}

// Withdraw takes the authorisation of a ride-code account back, which is the
// same as an unbind (RC-04).
type Withdraw struct {
	Account gateway.Token
	Person  Person
}

func (Withdraw) function() Function { return FunctionRideCode }

func (c Withdraw) decide(d *draft) (Answer, *Refusal) {
	b, bound := d.binding(c.Account)
	if !bound || b.Medium != MediumRide || b.Person != c.Person {
		return Answer{}, refuse(CodeNotBound)
	}
	d.end(b)
	return done(), nil
}
