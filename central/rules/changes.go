package rules

import "gateline/gateway"

// change is what a box learns of a binding: the person's status, and the lamp
// where the card has one (BO-04: the status is the person's, the lamp the
// card's).
func (b *Binding) change(person gateway.Record) gateway.Change {
	if b.Lamp {
		person.Flags |= gateway.FlagConcession
	}
	return gateway.Change{Token: b.Token, Record: person}
}

// Changes appends the record changes that an event means for boxes. The view is
// the state before the event. There are at most MaxPerPerson of them and at
// most one for a token, so that a person's change reaches all of that person's
// credentials in one entry (IMP-27). An event that does not fit the state
// means none; Apply then says so.
func Changes(view View, e Event, changes []gateway.Change) []gateway.Change {
	switch e := e.(type) {
	case Bound:
		return append(changes, e.Binding.change(view.Holder(e.Binding.Person).Record))
	case Marked:
		return append(changes, e.Binding.change(view.Holder(e.Binding.Person).Record))
	case Ended:
		return append(changes, gateway.Change{Token: e.Token, Delete: true})
	case Renumbered:
		if b, bound := view.Binding(e.Old); bound {
			b.Card = e.New
			changes = append(changes, gateway.Change{Token: e.Old, Delete: true}, b.change(view.Holder(b.Person).Record))
		}
	case Moved:
		if b, bound := view.Binding(e.Token); bound {
			changes = append(changes, b.change(view.Holder(e.To).Record))
		}
	case Reported:
		// A higher revision that says the same is nothing to a box.
		if h := view.Holder(e.Person); h.Record != e.Record {
			return appendAll(changes, h.Bindings, e.Record)
		}
	case Merged:
		return appendAll(changes, view.Holder(e.From).Bindings, view.Holder(e.Into).Record)
	}
	return changes
}

func appendAll(changes []gateway.Change, bindings []Binding, person gateway.Record) []gateway.Change {
	for i := range bindings {
		changes = append(changes, bindings[i].change(person))
	}
	return changes
}
