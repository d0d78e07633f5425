package rules

import (
	"time"

	"gateline/gateway"
)

// helperUnbind is how long a helper may take a binding back (UNB-03).
const helperUnbind = 24 * time.Hour

// Unbind ends a binding (UNB-01). By is who asks: the person bound, or the
// helper within 24 hours of making it. At the hotline By is the caller once
// the identity was checked. The operator's own staff may leave it out.
type Unbind struct {
	Token      gateway.Token
	By         Person
	Identified bool
}

func (Unbind) function() Function { return FunctionUnbind }

func (c Unbind) decide(d *draft) (Answer, *Refusal) {
	if !c.Identified {
		return Answer{}, refuse(CodeIdentity)
	}
	b, bound := d.binding(c.Token)
	if !bound && d.givesUp(c) {
		return done(), nil
	}
	if bound && c.By == (Person{}) && d.channel == ChannelOps {
		c.By = b.Person
	}
	if !bound || !b.mayEnd(c.By, d.now) {
		return Answer{}, refuse(CodeNotBound)
	}
	d.end(b)
	return done(), nil
}

// givesUp closes the case of a new card that its buyer does not want to wait
// for any more (TOP-05).
func (d *draft) givesUp(c Unbind) bool {
	waiting, ok := d.caseOf(c.Token)
	return ok && waiting.Reason == CaseSlot && waiting.Want.Person == c.By && d.close(c.Token)
}

// mayEnd reports whether somebody may end the binding in a channel. Nobody may
// end what the back office has made (UNB-04).
func (b Binding) mayEnd(by Person, now time.Time) bool {
	switch {
	case by == (Person{}) || b.Source.backOffice():
		return false
	case b.Person == by:
		return true
	}
	return b.Helper == by && now.Unix() < b.Since+int64(helperUnbind/time.Second)
}

// Return ends whatever binding a card has, since the card was given back
// (UNB-05). A card without one may be given back too (TOP-03).
type Return struct{ Token gateway.Token }

func (Return) function() Function { return FunctionReturn }

func (c Return) decide(d *draft) (Answer, *Refusal) {
	waited := d.close(c.Token)
	b, bound := d.binding(c.Token)
	if bound {
		d.end(b)
	}
	if !bound && !waited {
		return already(), nil
	}
	return done(), nil
}

// Replace puts a new card in the place of one, on the issuer's word: a card was
// replaced, or a phone's card moved to another phone (IMP-28). No quota is
// asked; source, list and consent stay. The holder who changes cards by himself
// uses Swap.
type Replace struct {
	Old gateway.Token
	New Card
}

func (Replace) function() Function { return FunctionBackOffice }

func (c Replace) decide(d *draft) (Answer, *Refusal) {
	kind, known := d.kind(c.New.Kind)
	old, bound := d.binding(c.Old)
	if !bound {
		// Sent again: the new card stands where the old one did.
		if d.isBound(c.New) {
			return already(), nil
		}
		return Answer{}, refuse(CodeNotBound)
	}
	switch {
	case !known || kind.Medium != old.Medium:
		return Answer{}, refuse(CodeUnsupported)
	case c.Old == c.New.Token:
		return Answer{}, malformed("new card: it is the old one; give another")
	}
	if _, owned := d.owner(c.New); owned {
		return Answer{}, refuse(CodeOtherOwner)
	}
	d.renumber(old, c.New)
	return done(), nil
}

func (d *draft) renumber(old Binding, card Card) {
	d.close(old.Token)
	d.close(card.Token)
	renewed := old
	renewed.Card = card
	h := d.holder(old.Person)
	h.remove(old.Token)
	h.Bindings = append(h.Bindings, renewed)
	d.bindings[old.Token], d.bindings[card.Token] = nil, &renewed
	d.events = append(d.events, Renumbered{Old: old.Token, New: card})
}
